"""CelebA in the layout of its authors: aligned JPEGs, a table of attributes, the official partition."""

import functools
import os
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffshare.data.images import Framing, read_images
from diffshare.data.probe import probe_files
from diffshare.data.rows import ChosenRows
from diffshare.data.source import Attribute, Index, check_shares, open_data
from diffshare.errors import UserError, one_of
from diffshare.storage import as_path

IMAGES, ATTRIBUTES, PARTITION = (
    "img_align_celeba",
    "list_attr_celeba.txt",
    "list_eval_partition.txt",
)
IDENTITIES = "identity_CelebA.txt"
_BY_HAND = (
    f"CelebA is never downloaded (its automatic download has failed for years): put {IMAGES}/ (unpacked from "
    f"{IMAGES}.zip), {ATTRIBUTES} and {PARTITION}, from the project page of CelebA, there by hand"
)
_PARSED_BYTES = 1 << 19


class CelebA(ChosenRows):
    """Faces with binary attributes, in CelebA's official layout.

    The folder holds ``img_align_celeba/*.jpg`` (178 x 218 pixels), ``list_attr_celeba.txt`` (number of records, names
    of the attributes, then one line a record with a value -1 or 1 for each) and ``list_eval_partition.txt`` (0, 1 or 2
    for each record). Any set of attributes will do. The official training partition is the sharer's part, the
    validation partition the auxiliary part, the test partition the test part. Where ``identity_CelebA.txt`` is there
    too (a person's number for each record), no person may stand in two of them.

    Args:
        root: the folder.
        image_size: side of the decoded images in pixels, 1 to 1024.
        crop: side in pixels of the centred square that is cut out and resized; null for the largest that fits.
        attributes: names of the attributes to keep; null for all.
        shares: unused here, since the partition is official; three numbers that sum to 1.
        on_bad_image: ``error`` stops at an image that is missing or cannot be decoded, ``skip`` leaves it out and
            counts it.
        rows: derived attributes, the choice of records and their groups, see :class:`diffshare.data.rows.ChosenRows`.
    """

    modality: Literal["image", "table"] = "image"

    def __init__(
        self,
        root: str | Path,
        image_size: int = 64,
        crop: int | None = 178,
        attributes: list[str] | None = None,
        shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
        on_bad_image: Literal["error", "skip"] = "error",
        **rows: Any,
    ) -> None:
        super().__init__(**rows)
        self.root = as_path(root)
        self.framing = Framing(image_size, crop)
        self.attributes = attributes
        self.shares = check_shares(shares)
        self.on_bad_image: Literal["error", "skip"] = on_bad_image

    def decoding(self) -> str:
        """Crop, filter and size, as text."""
        return f"CelebA: {self.framing}"

    def _read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Decode the images at these positions.

        Returns:
            uint8, n x image_size x image_size x 3.

        Raises:
            BadRecord: an image is missing, truncated, no picture, or smaller than the crop.
        """
        folder = self.root / IMAGES
        paths = [os.path.join(folder, name) for name in self._index.names[positions].tolist()]
        return read_images(paths, positions, self.framing, out)

    @functools.cached_property
    def _index(self) -> Index:
        self._check_layout()
        names, attributes = read_attributes(self.root / ATTRIBUTES)
        if self.attributes is not None:
            for name in self.attributes:
                if name not in attributes:
                    raise one_of("attribute", name, attributes)
            attributes = {name: attributes[name] for name in self.attributes}
        parts = read_partition(self.root / PARTITION, names)
        sizes, stamps = self._sizes_and_stamps(names)
        probe = probe_files([os.path.join(self.root, IMAGES, name) for name in names])
        identities = self.root / IDENTITIES
        groups = read_identities(identities, names) if identities.is_file() else None
        return Index(np.array(names), sizes, attributes, parts, stamps, probe, groups=groups)

    def _check_layout(self) -> None:
        if not self.root.is_dir():
            raise UserError(f"no folder {self.root}: {_BY_HAND}")
        missing = [name for name in (ATTRIBUTES, PARTITION) if not (self.root / name).is_file()]
        if not (self.root / IMAGES).is_dir():
            missing.insert(0, f"{IMAGES}/")
        if missing:
            raise UserError(
                f"{self.root} is not CelebA's layout, it has no {', '.join(missing)}: {_BY_HAND}"
            )

    def _sizes_and_stamps(self, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Bytes and modification time (ns) of each image from one pass over the folder; 0 where it is missing."""
        found = _scan(self.root / IMAGES)
        missing = [name for name in names if name not in found]
        if missing and self.on_bad_image != "skip":
            others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise UserError(
                f"{self.root / IMAGES / missing[0]} is listed in {ATTRIBUTES} but missing{others}: "
                "put it there or set on_bad_image: skip"
            )
        table = np.array([found.get(name, (0, 0)) for name in names], np.int64)
        return table[:, 0], table[:, 1]


def read_attributes(path: Path) -> tuple[list[str], dict[str, Attribute]]:
    """Read ``list_attr_celeba.txt``.

    Returns:
        The N names of the records and, by name, the attributes: code 0 where the file says -1, 1 where it says 1.

    Raises:
        UserError: a count that is wrong, a line with too few or too many values, a value other than -1 or 1, a name
            that comes twice.
    """
    head, _, rest = _read_bytes(path).partition(b"\n")
    if not head.strip().isdigit() or not int(head):
        raise UserError(
            f"{path}, line 1: '{_text(head[:40])}' is not the number of records; restore the official file"
        )
    line, _, body = rest.partition(b"\n")
    columns = _text(line).split()
    if not columns:
        raise UserError(f"{path}, line 2: no attribute is named; restore the official file")
    _refuse_twins(path, "attribute", columns)
    names, codes = _parse(path, body, 3, len(columns), {b"-1": 0, b"1": 1})
    if len(names) != int(head):
        raise UserError(
            f"{path} says {int(head)} records but holds {len(names)}; restore the official file"
        )
    table = np.ascontiguousarray(codes.T, np.int16)
    return names, {
        name: Attribute(column, (f"not {name}", name))
        for name, column in zip(columns, table, strict=True)
    }


def read_partition(path: Path, names: list[str]) -> np.ndarray:
    """Read ``list_eval_partition.txt``.

    Args:
        path: the file.
        names: the N records of the attribute table.

    Returns:
        int8, N: the partition of each of them, 0 training, 1 validation, 2 test.

    Raises:
        UserError: a malformed line, a record that is missing here, that comes twice or that has no attributes.
    """
    listed, codes = _parse(path, _read_bytes(path), 1, 1, {b"0": 0, b"1": 1, b"2": 2})
    parts = codes[:, 0]
    if listed == names:
        return parts
    row = {name: position for position, name in enumerate(listed)}
    missing = [name for name in names if name not in row]
    if missing:
        raise UserError(
            f"{path} has no line for {missing[0]} ({len(missing)} missing in all); add its partition"
        )
    if len(listed) != len(names):
        known = set(names)
        extra = next(name for name in listed if name not in known)
        raise UserError(
            f"{path}, line {row[extra] + 1}: {extra} is not in {ATTRIBUTES}; restore the official files"
        )
    return parts[[row[name] for name in names]]


def read_identities(path: Path, names: list[str]) -> np.ndarray:
    """Read ``identity_CelebA.txt``: the person in each picture.

    Args:
        path: the file, a name and a number a line.
        names: the N records of the attribute table.

    Returns:
        numpy str, N; empty where the file has no line for a record.

    Raises:
        UserError: a line that is not a name and a number.
    """
    person: dict[str, str] = {}
    for number, line in enumerate(_read_bytes(path).splitlines(), 1):
        words = _text(line).split()
        if words and (len(words) != 2 or not words[1].isdecimal()):
            raise UserError(
                f"{path}, line {number}: expected a file name and the number of a person; restore the official file"
            )
        if words:
            person[words[0]] = words[1]
    return np.array([person.get(name, "") for name in names])


def _parse(
    path: Path, body: bytes, first_line: int, columns: int, codes: Mapping[bytes, int]
) -> tuple[list[str], np.ndarray]:
    """Parse lines of a name and ``columns`` values, each of which is one of a few short words.

    Args:
        path: the file, for messages.
        body: its lines.
        first_line: number of the first of them, for messages.
        columns: number of values a line.
        codes: the words (one or two bytes) and their codes.

    Returns:
        The N names, and int8, N x columns: the codes.
    """
    body = body.rstrip() + b"\n"
    names: list[str] = []
    tables = []
    start = 0
    while start < len(body):  # block by block: what is worked on stays in the processor's cache
        end = body.find(b"\n", min(start + _PARSED_BYTES, len(body) - 1)) + 1
        block, table = _parse_block(path, body[start:end], first_line + len(names), columns, codes)
        names += block
        tables.append(table)
        start = end
    _refuse_twins(path, "record", names)
    return names, np.concatenate(tables)


def _parse_block(
    path: Path, block: bytes, first_line: int, columns: int, codes: Mapping[bytes, int]
) -> tuple[list[str], np.ndarray]:
    """Parse whole lines, all at once: no step of Python's own for a value."""
    raw = b"\n" + block
    data = np.frombuffer(raw, np.uint8)
    white = np.isin(data, np.frombuffer(b" \t\r\n", np.uint8))
    # a word begins, it ends, the next begins, ...
    edges = np.flatnonzero(white[1:] != white[:-1]) + 1
    starts, ends = edges[0::2], edges[1::2]
    words = np.diff(np.searchsorted(starts, np.flatnonzero(data == ord("\n"))))  # of each line
    wrong = np.flatnonzero(words != columns + 1)
    if len(wrong):
        raise UserError(
            f"{path}, line {first_line + wrong[0]}: {words[wrong[0]]} fields instead of a file name and "
            f"{columns} value{'s' * (columns > 1)}; restore the official file"
        )
    starts, ends = starts.reshape(-1, columns + 1), ends.reshape(-1, columns + 1)
    first, length = starts[:, 1:], ends[:, 1:] - starts[:, 1:]
    letter, second = data[first], np.where(length > 1, data[first + 1], 0)
    table = np.full(first.shape, -1, np.int8)
    for word, code in codes.items():
        table[(length == len(word)) & (letter == word[0]) & (second == (word[1:] or b"\0")[0])] = (
            code
        )
    bad = np.argwhere(table < 0)
    if len(bad):
        line, column = bad[0]
        value = _text(raw[starts[line, column + 1] : ends[line, column + 1]][:40])
        choices = ", ".join(word.decode() for word in codes)
        raise UserError(
            f"{path}, line {first_line + line}: value '{value}' is not one of {choices}; mend that line"
        )
    return [
        _text(raw[a:b]) for a, b in zip(starts[:, 0].tolist(), ends[:, 0].tolist(), strict=True)
    ], table


def _scan(folder: Path) -> dict[str, tuple[int, int]]:
    """Size in bytes and modification time in ns of each file of a folder."""
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    status = entry.stat()
                except FileNotFoundError:  # a link to nowhere
                    continue
                if stat.S_ISREG(status.st_mode):
                    found[entry.name] = (status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise UserError(
            f"cannot read the folder {folder}: {error.strerror}; make it readable"
        ) from error
    return found


def _read_bytes(path: Path) -> bytes:
    with open_data(path, "make it readable") as stream:
        return stream.read()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace").strip()


def _refuse_twins(path: Path, kind: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        name, times = Counter(names).most_common(1)[0]
        raise UserError(f"{path} has {times} entries for {kind} '{name}'; keep one")
