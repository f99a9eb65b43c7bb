"""CIFAR-10 in its binary version. The Python version is a pickle, which can run code when opened: it is refused."""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from diffshare.data.coding import check_official_shares, label_attributes, parts_beside_test
from diffshare.data.images import LARGEST
from diffshare.data.probe import probe_files
from diffshare.data.rows import ChosenRows
from diffshare.data.source import Index
from diffshare.errors import UserError
from diffshare.storage import as_path

_BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
_NAMES = "batches.meta.txt"
_SIDE = 32
_RECORD = np.dtype([("label", np.uint8), ("pixels", np.uint8, (3, _SIDE, _SIDE))])
_BINARY = "get the binary version, cifar-10-binary.tar.gz, and give its folder cifar-10-batches-bin as root"


class CIFAR10(ChosenRows):
    """CIFAR-10 in its binary version (folder ``cifar-10-batches-bin``), 32 x 32 pixels in ten classes.

    The records of ``test_batch.bin`` are the test part; those of the five training batches are split between sharer
    and auxiliary by the hash of their names. Records are named ``FILE:POSITION``, counted from 0.

    Args:
        root: the folder.
        groups: name of a binary attribute to the classes it holds, each by its name or its number, for instance
            ``animal: [bird, cat, deer, dog, frog, horse]``.
        image_size: side of the images in pixels; other sizes than the stored 32 are resized to.
        shares: shares of the sharer's and the auxiliary part among the training batches; the third must be 0.
        rows: derived attributes, the choice of records and their groups, see :class:`diffshare.data.rows.ChosenRows`.

    Raises:
        UserError: a third share that is not 0, or a size that makes no sense.
    """

    modality: Literal["image", "table"] = "image"
    on_bad_image: Literal["error", "skip"] = "error"

    def __init__(
        self,
        root: str,
        groups: dict[str, list[int | str]] | None = None,
        image_size: int = _SIDE,
        shares: tuple[float, float, float] = (0.5, 0.5, 0.0),
        **rows: Any,
    ) -> None:
        super().__init__(**rows)
        if not 1 <= image_size <= LARGEST:
            raise UserError(f"image_size {image_size} makes no sense: choose 1 to {LARGEST} pixels")
        self.root, self.image_size = as_path(root), image_size
        self.groups = groups or {}
        self.shares = check_official_shares(shares, "test_batch.bin")

    def decoding(self) -> str:
        """The size, as text."""
        return (
            "CIFAR-10: as stored"
            if self.image_size == _SIDE
            else f"CIFAR-10: bicubic to {self.image_size}"
        )

    def _read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The images at these positions, uint8, n x image_size x image_size x 3."""
        size = self.image_size
        result = np.empty((len(positions), size, size, 3), np.uint8) if out is None else out
        batch = np.searchsorted(self._starts, positions, side="right") - 1
        for number in np.unique(batch).tolist():
            rows = np.flatnonzero(batch == number)
            planes = self._batches[number]["pixels"][positions[rows] - self._starts[number]]
            result[rows] = _resized(planes.transpose(0, 2, 3, 1), size)
        return result

    @cached_property
    def _batches(self) -> list[np.ndarray]:
        """The files, memory-mapped, each an array of ``_RECORD``."""
        if not (self.root / _BATCHES[0]).is_file():
            for place in (self.root, self.root / "cifar-10-batches-py"):
                if (place / "data_batch_1").exists():
                    raise UserError(
                        f"{place} is CIFAR-10's Python version, pickles that can run code: {_BINARY}"
                    )
        missing = [name for name in (*_BATCHES, _NAMES) if not (self.root / name).is_file()]
        if missing:
            raise UserError(f"{self.root} has no {missing[0]}: {_BINARY}")
        return [_mapped(self.root / name) for name in _BATCHES]

    @cached_property
    def _starts(self) -> np.ndarray:
        """Position of the first record of each file."""
        return np.cumsum([0, *map(len, self._batches[:-1])])

    @cached_property
    def _index(self) -> Index:
        labels = np.concatenate([batch["label"] for batch in self._batches])
        sizes = np.full(len(labels), _RECORD.itemsize, np.int64)
        lengths = list(map(len, self._batches))
        names = [
            f"{name}:{row}"
            for name, count in zip(_BATCHES, lengths, strict=True)
            for row in range(count)
        ]
        stamps = np.repeat([(self.root / name).stat().st_mtime_ns for name in _BATCHES], lengths)
        attributes = label_attributes("class", labels, self._classes(), self.groups)
        index = Index(np.array(names), sizes, attributes, stamps=stamps)
        return Index(
            index.names,
            index.sizes,
            index.attributes,
            parts_beside_test(index, np.arange(len(labels)) >= self._starts[-1], self.shares),
            index.stamps,
            probe_files([self.root / name for name in _BATCHES]),
        )

    def _classes(self) -> list[str]:
        path = self.root / _NAMES
        try:
            classes = path.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read {path}: {_BINARY}") from error
        if len(classes) != 10 or len(set(classes)) != 10:
            raise UserError(
                f"{path} names {len(set(classes))} classes, expected 10, one a line: {_BINARY}"
            )
        return classes


def _resized(images: np.ndarray, size: int) -> np.ndarray:
    """Images n x 32 x 32 x 3 at another size, with an antialiasing bicubic filter."""
    if size == _SIDE:
        return images
    square = (size, size)
    return np.stack(
        [
            np.asarray(Image.fromarray(image).resize(square, Image.Resampling.BICUBIC))
            for image in images
        ]
    )


def _mapped(path: Path) -> np.ndarray:
    """A batch file as a read-only memory map of ``_RECORD``, checked."""
    size = path.stat().st_size
    if not size or size % _RECORD.itemsize:
        raise UserError(
            f"{path} has {size} bytes, which is no multiple of {_RECORD.itemsize}: {_BINARY}"
        )
    try:
        batch = np.memmap(path, _RECORD, "r")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; make it readable") from error
    if batch["label"].max() > 9:
        row = int(np.argmax(batch["label"] > 9))
        raise UserError(
            f"{path}: label {batch['label'][row]} of record {row} is none of 0 to 9: {_BINARY}"
        )
    return batch
