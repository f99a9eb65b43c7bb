"""Grey images in MNIST's IDX format, plain or gzipped: MNIST, Fashion-MNIST, KMNIST and their like, also coloured."""

import gzip
import math
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from PIL import Image

from diffshare.data.coding import label_attributes
from diffshare.data.images import LARGEST
from diffshare.data.probe import probe_array
from diffshare.data.rows import ChosenRows
from diffshare.data.source import Attribute, Index, check_shares, open_data
from diffshare.errors import UserError, one_of
from diffshare.storage import as_path

COLOUR = "Colour"
_IMAGES, _LABELS = 0x0803, 0x0801  # unsigned bytes (08) in three dimensions, in one
_KINDS = {_IMAGES: "images", _LABELS: "labels"}
_LARGEST = 4 << 30  # bytes of an array
_GZIP_RATIO = 1032  # deflate cannot compress better


@dataclass(frozen=True)
class Colouring:
    """Gives each record a colour, red (0) or green (1), as the attribute ``Colour``.

    The counts are exact: of the n records of a class of ``follows``, round(n * share) are green, and as near to that
    share as whole numbers allow within each label. So without ``follows`` colour and label are independent.

    Attributes:
        green: share of green records in [0, 1]; with ``follows``, a list of one share for each of its classes.
        follows: the attribute that the colour depends on, a group or the label itself; null for none.
        seed: fixes which records are green.
    """

    green: float | list[float] = 0.5
    follows: str | None = None
    seed: int = 0

    def codes(self, labels: np.ndarray, given: Attribute) -> np.ndarray:
        """Draw the colours.

        Args:
            labels: of the records, integers, N.
            given: the attribute called ``follows``; one class for all where there is none.

        Returns:
            int16, N: 0 red, 1 green.

        Raises:
            UserError: a share outside [0, 1], or not as many as ``given`` has classes.
        """
        shares = self.green if isinstance(self.green, list) else [self.green]
        if len(shares) != len(given.classes):
            remedy = (
                f"one for each class of '{self.follows}'"
                if self.follows
                else "or name an attribute in follows"
            )
            raise UserError(
                f"coloured.green has {len(shares)} shares, expected {len(given.classes)}, {remedy}"
            )
        if not all(0 <= share <= 1 for share in shares):
            raise UserError(f"coloured.green {self.green} must lie between 0 and 1")
        order = np.random.default_rng(self.seed).permutation(len(labels))
        order = order[np.argsort(labels[order], kind="stable")]  # by label, at random within each
        codes = np.zeros(len(labels), np.int16)
        for code, share in enumerate(shares):
            rows = order[given.codes[order] == code]
            # green ones among the first 0, 1, .. of the rows
            due = np.floor(share * np.arange(len(rows) + 1) + 0.5)
            codes[rows] = np.diff(due)
        return codes


class IDX(ChosenRows):
    """Grey images and their labels from a pair of IDX files, plain or gzipped.

    Records are named ``FILE:POSITION``, counted from 0. The arrays are kept in memory (47 MB for MNIST's training
    set).

    Args:
        images: IDX file of N images, unsigned bytes.
        labels: IDX file of their N labels.
        image_size: side of the images in pixels: larger ones are framed in black, smaller ones are shrunk; null
            leaves them as they are stored.
        label: name of the labels' attribute.
        classes: names of the labels 0, 1, and so on; null for the ten digits.
        groups: name of a binary attribute to the labels it holds, each by its number or its name, for instance
            ``below5: [0, 1, 2, 3, 4]``.
        coloured: colours the images and makes ``Colour`` an attribute; null leaves them grey.
        shares: shares of the sharer's, the auxiliary and the test part.
        rows: derived attributes, the choice of records and their groups, see :class:`diffshare.data.rows.ChosenRows`.

    Raises:
        UserError: an option that makes no sense.
    """

    modality: Literal["image", "table"] = "image"
    on_bad_image: Literal["error", "skip"] = "error"

    def __init__(
        self,
        images: str,
        labels: str,
        image_size: int | None = None,
        label: str = "digit",
        classes: list[str] | None = None,
        groups: dict[str, list[int | str]] | None = None,
        coloured: Colouring | None = None,
        shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
        **rows: Any,
    ) -> None:
        super().__init__(**rows)
        if image_size is not None and not 1 <= image_size <= LARGEST:
            raise UserError(
                f"image_size {image_size} makes no sense: choose 1 to {LARGEST} pixels, or null"
            )
        self.images, self.labels = as_path(images), as_path(labels)
        self.image_size = image_size
        self.label = label
        self.classes = tuple("0123456789" if classes is None else classes)
        if len(set(self.classes)) < len(self.classes):
            raise UserError("classes names one label twice: give each its own name")
        self.groups = groups or {}
        self.coloured = coloured
        self.shares = check_shares(shares)

    def decoding(self) -> str:
        """Size and colouring, as text."""
        return f"IDX: size {self.image_size or 'as stored'}, {self.coloured or 'grey'}"

    def _read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The images at these positions.

        Returns:
            uint8, n x H x W x 1; n x H x W x 3 where coloured, with the grey value in the channel of the colour.
        """
        grey = _framed(self._pixels[positions], self.image_size)
        channels = 1 if self.coloured is None else 3
        result = np.empty((*grey.shape, channels), np.uint8) if out is None else out
        if self.coloured is None:
            result[..., 0] = grey
        else:
            result[:] = 0
            result[np.arange(len(grey)), :, :, self._index.attributes[COLOUR].codes[positions]] = (
                grey
            )
        return result

    @cached_property
    def _pixels(self) -> np.ndarray:
        """All images as stored, uint8, N x H x W."""
        pixels = read_idx(self.images, _IMAGES)
        if not pixels.size:
            raise UserError(
                f"{self.images} holds no images (its dimensions are {'x'.join(map(str, pixels.shape))})"
            )
        return pixels

    @cached_property
    def _index(self) -> Index:
        count, height, width = self._pixels.shape
        labels = read_idx(self.labels, _LABELS)
        if len(labels) != count:
            raise UserError(
                f"{self.labels} holds {len(labels)} labels for the {count} images of {self.images}: take both files "
                "from one set"
            )
        if labels.max() >= len(self.classes):
            first = int(np.argmax(labels >= len(self.classes)))
            raise UserError(
                f"{self.labels}: label {labels[first]} of record {first} is none of 0 to {len(self.classes) - 1}; "
                "name all labels in classes"
            )
        stem = self.images.name.removesuffix(".gz")
        stamp = max(self.images.stat().st_mtime_ns, self.labels.stat().st_mtime_ns)
        return Index(
            names=np.array([f"{stem}:{position}" for position in range(count)]),
            sizes=np.full(count, height * width, np.int64),
            attributes=self._attributes(labels),
            stamps=np.full(count, stamp, np.int64),
            probe=probe_array(self._pixels),
        )

    def _attributes(self, labels: np.ndarray) -> dict[str, Attribute]:
        attributes = label_attributes(self.label, labels, self.classes, self.groups)
        if self.coloured is None:
            return attributes
        if COLOUR in attributes:
            raise UserError(
                f"'{COLOUR}' is the name of the colour's attribute: choose another for your own"
            )
        follows = self.coloured.follows
        if follows is not None and follows not in attributes:
            raise one_of("attribute", follows, attributes)
        alone = Attribute(np.zeros(len(labels), np.int16), ("all",))
        codes = self.coloured.codes(labels, alone if follows is None else attributes[follows])
        return {**attributes, COLOUR: Attribute(codes, ("red", "green"))}


def _framed(grey: np.ndarray, size: int | None) -> np.ndarray:
    """Black around the images up to a square, then shrunk where they are larger than ``size``; n x H x W."""
    count, height, width = grey.shape
    if size is None:
        return grey
    side = max(height, width, size)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((count, side, side), np.uint8)
    square[:, top : top + height, left : left + width] = grey
    if side == size:
        return square
    small = [
        np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
        for image in square
    ]
    return np.stack(small) if small else square[:, :size, :size]


def read_idx(path: Path, magic: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes; a gzipped one is told by its first bytes.

    The header says how long the data must be. A file that could not hold as much is refused before anything is
    allocated, and never more than one byte beyond is unpacked.

    Args:
        path: the file.
        magic: the number at its start: 0x0803 for images, 0x0801 for labels.

    Returns:
        uint8, read-only, of the shape in the header.

    Raises:
        UserError: no such file, another magic number, or another length than declared.
    """
    try:
        with open_data(path) as stream:
            packed = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            holds = os.fstat(stream.fileno()).st_size * (_GZIP_RATIO if packed else 1)
            body: IO[bytes] = gzip.GzipFile(fileobj=stream) if packed else stream  # type: ignore[assignment]
            shape = _shape(path, body.read(4 + 4 * (magic & 0xFF)), magic)
            declared = math.prod(shape)
            if declared > min(holds, _LARGEST):
                raise UserError(
                    f"{path} declares {declared} bytes of data, more than it can hold: {_AGAIN}"
                )
            data = body.read(declared + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is a damaged gzip file: {_AGAIN}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path") from error
    if len(data) != declared:
        found = "more" if len(data) > declared else str(len(data))
        raise UserError(f"{path} declares {declared} bytes of data but holds {found}: {_AGAIN}")
    return np.frombuffer(data, np.uint8).reshape(shape)


_AGAIN = "restore the file from its origin"


def _shape(path: Path, head: bytes, magic: int) -> Sequence[int]:
    found = int.from_bytes(head[:4], "big")
    if len(head) < 4 or found != magic:
        what = f" (that of {_KINDS[found]})" if found in _KINDS else ""
        raise UserError(
            f"{path} begins with the number {found}{what}, expected {magic} of IDX {_KINDS[magic]}: check which file "
            "this is"
        )
    if len(head) < 4 + 4 * (magic & 0xFF):
        raise UserError(f"{path} ends within its header: {_AGAIN}")
    return struct.unpack(f">{magic & 0xFF}I", head[4:])
