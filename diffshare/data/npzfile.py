"""Images and their labels in one NPZ file: MedMNIST's keys, or images with labels beside them."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffshare.classes import listed
from diffshare.data.coding import MAX_CLASSES
from diffshare.data.imagearrays import as_images
from diffshare.data.images import LARGEST, resize
from diffshare.data.labeltable import Column, column_of, text_of
from diffshare.data.probe import probe_files
from diffshare.data.rows import ChosenRows
from diffshare.data.source import Attribute, Index, check_shares
from diffshare.errors import UserError, one_of
from diffshare.release.npz import Stored, npz_headers, read_npz
from diffshare.storage import as_path

IMAGES = ("x", "images", "samples", "arr_0")
LABELS = ("y", "labels", "label", "arr_1")
# of MedMNIST, in the order of source.PARTS
_PARTS = ("train", "val", "test")


class NPZ(ChosenRows):
    """Images in an NPZ file, as ``numpy.savez`` writes it; nothing in it is unpickled.

    Understood are MedMNIST's keys (``train_images``, ``train_labels`` and the same of ``val`` and ``test``, which are
    the sharer's, the auxiliary and the test part), or images in ``x``, ``images``, ``samples`` or ``arr_0``, their
    labels in ``y``, ``labels``, ``label`` or ``arr_1``, and any other array of one value for each image as an
    attribute. See :func:`diffshare.data.imagearrays.as_images` for the images, which are kept in memory.

    Args:
        path: the file.
        image_size: side of the images in pixels, 1 to 1024: the largest centred square is resized; null leaves
            them as they are stored.
        label: name of the labels' attribute; labels of several columns are called ``NAME0``, ``NAME1``, ...
        classes: names of the labels 0, 1, and so on; null leaves them as they are.
        images: name of the array of the images, where it is none of the above.
        shares: shares of the sharer's, the auxiliary and the test part, where the file has none.
        rows: derived attributes, the choice of records and their groups, see :class:`diffshare.data.rows.ChosenRows`.

    Raises:
        UserError: an option that makes no sense.
    """

    modality: Literal["image", "table"] = "image"
    on_bad_image: Literal["error", "skip"] = "error"

    def __init__(
        self,
        path: str,
        image_size: int | None = None,
        label: str = "label",
        classes: list[str] | None = None,
        images: str | None = None,
        shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
        **rows: Any,
    ) -> None:
        super().__init__(**rows)
        if image_size is not None and not 1 <= image_size <= LARGEST:
            raise UserError(
                f"image_size {image_size} makes no sense: choose 1 to {LARGEST} pixels, or null"
            )
        self.path = as_path(path)
        self.image_size, self.label, self.classes, self.images = image_size, label, classes, images
        self.shares = check_shares(shares)

    def decoding(self) -> str:
        """The size, as text."""
        return f"NPZ: size {self.image_size or 'as stored'}"

    def _read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The images at these positions, uint8, n x H x W x C."""
        taken = self._pixels[positions]
        if self.image_size is not None:
            taken = resize(taken, self.image_size)
        if out is None:
            return taken
        out[:] = taken
        return out

    @cached_property
    def _headers(self) -> dict[str, Stored]:
        return npz_headers(_there(self.path))

    @cached_property
    def _keys(self) -> list[tuple[str, str | None]]:
        """Names of the arrays of images, each with that of its labels, in the order of the records."""
        headers = self._headers
        if self.images is not None:
            if self.images not in headers:
                raise one_of("array", self.images, headers)
            return [(self.images, _first(LABELS, headers))]
        if parts := [part for part in _PARTS if f"{part}_images" in headers]:
            return [(f"{p}_images", _first([f"{p}_labels"], headers)) for p in parts]
        names = [name for name in IMAGES if name in headers and len(headers[name].shape) > 2]
        if not names:
            names = [name for name, header in headers.items() if len(header.shape) in (3, 4)]
        if len(names) != 1:
            what = f"several arrays of images, {listed(names)}" if names else "no array of images"
            raise UserError(
                f"{self.path} has {what} (it holds {listed(list(headers))}): say which in images, expected "
                f"{', '.join(IMAGES)} with labels in {', '.join(LABELS)}, or train_images and train_labels"
            )
        return [(names[0], _first([name for name in LABELS if name != names[0]], headers))]

    @cached_property
    def _pixels(self) -> np.ndarray:
        """All images, uint8, N x H x W x C."""
        names = [images for images, _ in self._keys]
        arrays = self._arrays(names)
        pixels = [as_images(arrays[name], f"{name} of {self.path}") for name in names]
        if len({array.shape[1:] for array in pixels}) > 1:
            raise UserError(
                f"{self.path}: {listed(names)} hold images of different shapes: split it"
            )
        return pixels[0] if len(pixels) == 1 else np.concatenate(pixels)

    def _arrays(self, names: list[str]) -> dict[str, np.ndarray]:
        kinds = {name: self._headers[name].dtype.str for name in names}
        return read_npz(self.path, kinds, others="leave")

    @cached_property
    def _index(self) -> Index:
        counts = [self._headers[images].shape[0] for images, _ in self._keys]
        names = [
            f"{self.path.name}:{images + ':' if len(counts) > 1 else ''}{row}"
            for (images, _), count in zip(self._keys, counts, strict=True)
            for row in range(count)
        ]
        if not names:
            raise UserError(f"{self.path} holds no image: expected at least one")
        columns = self._columns(counts)
        attributes: dict[str, Attribute] = {}
        numbers: dict[str, np.ndarray] = {}
        for name, column in columns.items():
            if attribute := column.attribute():
                attributes[name] = self._named(attribute) if name == self.label else attribute
            if (values := column.numbers()) is not None:
                numbers[name] = values
        shape = self._headers[self._keys[0][0]].shape[1:]
        parts = None
        if self._keys[0][0].endswith("_images") and self.images is None and len(counts) > 1:
            codes = [_PARTS.index(images.removesuffix("_images")) for images, _ in self._keys]
            parts = np.repeat(np.array(codes, np.int8), counts)
        stamp = self.path.stat().st_mtime_ns
        return Index(
            np.array(names),
            np.full(len(names), int(np.prod(shape)), np.int64),
            attributes,
            parts,
            np.full(len(names), stamp, np.int64),
            probe_files([self.path]),
            numbers,
        )

    def _columns(self, counts: list[int]) -> dict[str, Column]:
        """Labels, and every other array of one value for each image."""
        used = {name for pair in self._keys for name in pair if name}
        beside = {
            name: name
            for name, header in self._headers.items()
            if len(counts) == 1 and name not in used and header.shape == (counts[0],)
        }
        arrays = self._arrays([*(y for _, y in self._keys if y), *beside])
        pieces = []
        for (images, labels), count in zip(self._keys, counts, strict=True):
            if labels is None:
                continue
            y = arrays[labels]
            if y.ndim not in (1, 2) or len(y) != count:
                raise UserError(
                    f"{self.path}: {labels} has the shape {y.shape}, {images} holds {count} images: give one label for "
                    "each"
                )
            pieces.append(y.reshape(count, -1))
        columns = {name: _column(arrays[name]) for name in beside}
        if not pieces:
            return columns
        if len(pieces) < len(counts) or len({piece.shape[1] for piece in pieces}) > 1:
            raise UserError(
                f"{self.path}: each part needs labels of the same columns; add those that lack"
            )
        table = np.concatenate(pieces)
        if table.shape[1] > MAX_CLASSES:
            raise UserError(
                f"{self.path}: labels of {table.shape[1]} columns are none: give one for each image"
            )
        called = (
            [self.label]
            if table.shape[1] == 1
            else [f"{self.label}{i}" for i in range(table.shape[1])]
        )
        return {name: _column(table[:, i]) for i, name in enumerate(called)} | columns

    def _named(self, attribute: Attribute) -> Attribute:
        """The labels with the names that ``classes`` gives to 0, 1, and so on."""
        if self.classes is None:
            return attribute
        place = {str(code): code for code in range(len(self.classes))}
        if unnamed := [name for name in attribute.classes if name not in place]:
            raise UserError(
                f"{self.path}: label {unnamed[0]!r:.60} is none of 0 to {len(self.classes) - 1}; name all labels in "
                "classes"
            )
        codes = np.array([*(place[name] for name in attribute.classes), -1], np.int16)
        return Attribute(codes[attribute.codes], tuple(self.classes))


def _there(path: Path) -> Path:
    """The file itself; a link to it is followed, since its name is the reader's own."""
    if not path.is_file():
        raise UserError(f"no file {path}: check its name")
    return path


def _first(names: Sequence[str], headers: dict[str, Stored]) -> str | None:
    return next((name for name in names if name in headers), None)


def _column(values: np.ndarray) -> Column:
    if values.dtype.kind not in "biufUS":
        raise UserError(f"labels of type {values.dtype} are none: give whole numbers or texts")
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    different, places = np.unique(values, return_inverse=True)
    column = column_of([text_of(value) for value in different.tolist()])
    return Column(column.codes[places.reshape(-1)], column.cells)
