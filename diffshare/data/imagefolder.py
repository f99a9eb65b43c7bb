"""A folder of JPEG and PNG files with a table of their attributes: the convention of Hugging Face's imagefolder."""

import os
import stat
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np

from diffshare.data.coding import MAX_CLASSES, Coder
from diffshare.data.csvfile import Block, no_column, read_blocks, read_header
from diffshare.data.images import Framing, read_images
from diffshare.data.probe import probe_files
from diffshare.data.rows import ChosenRows, csv_cells
from diffshare.data.source import Attribute, Index, check_shares
from diffshare.errors import UserError, one_of
from diffshare.storage import as_path

FILE, SPLIT = "file_name", "split"
# in source.PARTS
_PARTS = {
    "sharer": 0,
    "train": 0,
    "auxiliary": 1,
    "validation": 1,
    "valid": 1,
    "val": 1,
    "test": 2,
}


class ImageFolder(ChosenRows):
    """Images in a folder, listed in a CSV file (``metadata.csv``) that gives their attributes.

    The column ``file_name`` holds paths inside the folder, with ``/`` between folders. Each other column is an
    attribute: its different cells are the classes, numbers by value (``-1``, ``2``, ``10``), else in natural order; an
    empty cell is unknown.
    An optional column ``split`` gives the parts: ``sharer`` (or ``train``), ``auxiliary`` (or ``validation``,
    ``valid``, ``val``), ``test``. Files that are not listed are ignored.

    Args:
        root: the folder.
        image_size: side of the decoded images in pixels, 1 to 1024.
        crop: side in pixels of the centred square that is cut out and resized; null for the largest that fits.
        attributes: columns to keep as attributes; null for all that have 1 to 1000 classes.
        metadata: the CSV file, relative to ``root``.
        shares: shares of the sharer's, the auxiliary and the test part where there is no column ``split``.
        on_bad_image: ``error`` stops at an image that is missing or cannot be decoded, ``skip`` leaves it out and
            counts it.
        rows: derived attributes, the choice of records and their groups, see :class:`diffshare.data.rows.ChosenRows`.

    Raises:
        UserError: an option that makes no sense.
    """

    modality: Literal["image", "table"] = "image"

    def __init__(
        self,
        root: str,
        image_size: int = 64,
        crop: int | None = None,
        attributes: list[str] | None = None,
        metadata: str = "metadata.csv",
        shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
        on_bad_image: Literal["error", "skip"] = "error",
        **rows: Any,
    ) -> None:
        super().__init__(**rows)
        self.root = as_path(root)
        self.framing = Framing(image_size, crop)
        self.attributes = attributes
        self.metadata = self.root / metadata
        self.shares = check_shares(shares)
        self.on_bad_image: Literal["error", "skip"] = on_bad_image

    def decoding(self) -> str:
        """Crop, filter and size, as text."""
        return f"ImageFolder: {self.framing}"

    def _read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Decode the images at these positions.

        Returns:
            uint8, n x image_size x image_size x 3.

        Raises:
            BadRecord: an image is missing, truncated, no JPEG or PNG, or smaller than the crop.
        """
        paths = [os.path.join(self.root, name) for name in self._index.names[positions].tolist()]
        return read_images(paths, positions, self.framing, out)

    def _cells(self, column: str) -> np.ndarray | None:
        return csv_cells(self.metadata, column)

    @cached_property
    def _index(self) -> Index:
        if not self.root.is_dir():
            raise UserError(f"no folder {self.root}: check root")
        if not self.metadata.is_file():
            raise UserError(
                f"no {self.metadata}: write one line for each image, with a column {FILE} and attributes"
            )
        header = read_header(self.metadata)
        if FILE not in header:
            raise no_column(self.metadata, FILE, header, remedy="name that of the files so")
        offered = [name for name in header if name not in (FILE, SPLIT)]
        for name in self.attributes or []:
            if name not in offered:
                raise one_of("attribute", name, offered)
        coders = {
            name: Coder(missing="")
            for name in (offered if self.attributes is None else self.attributes)
        }
        position: dict[str, int] = {}
        lines: list[int] = []
        parts: list[np.ndarray] = []
        for block in read_blocks(self.metadata, len(header), header=True):
            cells = dict(zip(header, block.columns, strict=True))
            self._add_names(block, cells[FILE], position, lines)
            for name, coder in coders.items():
                coder.add(cells[name])
            if SPLIT in cells:
                parts.append(_part_codes(block, cells[SPLIT]))
        sizes, stamps = self._scan(position, lines)
        attributes = self._coded(coders)
        official = np.concatenate(parts) if parts else None
        probe = probe_files([os.path.join(self.root, name) for name in position])
        return Index(np.array(list(position)), sizes, attributes, official, stamps, probe)

    def _add_names(
        self, block: Block, names: Sequence[str], position: dict[str, int], lines: list[int]
    ) -> None:
        for row, name in enumerate(names):
            if name in position:
                first = lines[position[name]]
                raise UserError(
                    f"{block.where(row)} lists {name!r:.200} again (first in line {first}): keep one"
                )
            if "\\" in name or "\0" in name or not {"", ".", ".."}.isdisjoint(name.split("/")):
                raise UserError(
                    f"{block.where(row)}: {name!r:.200} is no plain path inside the folder; write some/name.jpg"
                )
            position[name] = len(lines)
            lines.append(block.lines[row])

    def _coded(self, coders: dict[str, Coder]) -> dict[str, Attribute]:
        attributes = {}
        for name, coder in coders.items():
            attribute = None if coder.overflow else coder.attribute()
            if attribute and attribute.classes:
                attributes[name] = attribute
            elif self.attributes is not None:
                kind = "numbers" if coder.numeric() else "cells"
                reason = (
                    f"more than {MAX_CLASSES} different {kind}"
                    if coder.overflow
                    else "empty cells only"
                )
                raise UserError(
                    f"column '{name}' of {self.metadata} has {reason}: give it classes, such as ranges"
                )
        return attributes

    def _scan(self, position: dict[str, int], lines: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Bytes and modification time (ns) of each file from one pass over each folder; 0 where it is missing."""
        inside = os.path.realpath(self.root)
        sizes, stamps = np.full(len(position), -1, np.int64), np.zeros(len(position), np.int64)
        # under two names one record could stand in two parts
        files: dict[tuple[int, int], int] = {}
        for folder in dict.fromkeys(name.rpartition("/")[0] for name in position):
            path = os.path.join(self.root, folder)
            self._refuse_outside(path, inside)
            prefix = f"{folder}/" if folder else ""
            for entry in _entries(path):
                row = position.get(prefix + entry.name)
                if row is None:
                    continue
                if entry.is_symlink():
                    self._refuse_outside(entry.path, inside)
                if status := _regular(entry):
                    sizes[row], stamps[row] = status.st_size, status.st_mtime_ns
                    twin = files.setdefault((status.st_dev, status.st_ino), row)
                    if twin != row:
                        self._refuse_twin(min(twin, row), max(twin, row), position, lines)
        missing = np.flatnonzero(sizes < 0)
        if len(missing) and self.on_bad_image != "skip":
            name = list(position)[missing[0]]
            others = f" ({len(missing)} missing in all)" if len(missing) > 1 else ""
            raise UserError(
                f"{self.metadata}:{lines[missing[0]]} lists {name!r:.200}, which is not in {self.root}{others}: "
                "put it there or set on_bad_image: skip"
            )
        return np.maximum(sizes, 0), stamps

    def _refuse_twin(
        self, first: int, row: int, position: dict[str, int], lines: list[int]
    ) -> None:
        names = list(position)
        raise UserError(
            f"{self.metadata}:{lines[row]}: {names[row]!r:.200} is the same file as {names[first]!r:.200} (line "
            f"{lines[first]}), a link: the parts would overlap; keep one"
        )

    def _refuse_outside(self, path: str, inside: str) -> None:
        if os.path.commonpath([inside, os.path.realpath(path)]) != inside:
            raise UserError(
                f"{path} is a link that leads out of {self.root}: put the files themselves there"
            )


def _entries(path: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            yield from entries  # never a list of them: each keeps its status
    except (FileNotFoundError, NotADirectoryError):
        return  # its files are missing, and reported so
    except OSError as error:
        raise UserError(
            f"cannot read the folder {path}: {error.strerror}; make it readable"
        ) from error


def _regular(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Status of a regular file; None for anything else and for a link to nowhere."""
    try:
        status = entry.stat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _part_codes(block: Block, cells: Sequence[str]) -> np.ndarray:
    unknown = set(cells) - _PARTS.keys()
    if unknown:
        row = next(row for row, cell in enumerate(cells) if cell in unknown)
        raise UserError(
            f"{block.where(row)}, column '{SPLIT}': {cells[row]!r:.60} is none of {', '.join(_PARTS)}"
        )
    return np.array([_PARTS[cell] for cell in cells], np.int8)
