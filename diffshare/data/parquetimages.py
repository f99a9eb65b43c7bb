"""Pictures inside parquet files, in the layout of Hugging Face's data sets; memory does not grow with the files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffshare.classes import listed
from diffshare.data.folder import PART_WORDS
from diffshare.data.images import Framing, read_images
from diffshare.data.labeltable import Column, column_of
from diffshare.data.parquetfile import (
    class_names,
    damaged,
    image_columns,
    open_parquet,
    parquet_cells,
    picture_bytes,
    plain_columns,
)
from diffshare.data.probe import probe_files
from diffshare.data.rows import ChosenRows
from diffshare.data.source import Attribute, BadRecord, Index, check_shares
from diffshare.errors import UserError, one_of
from diffshare.storage import as_path

_BATCH = 64  # pictures in memory at once
MAX_PICTURE = 256 << 20  # bytes of one


@dataclass(frozen=True)
class _Group:
    """Records of one row group: they are read together.

    Attributes:
        file: position of the file.
        number: of the row group in it.
        start: position of the first record in the index.
        count: number of records.
        size: bytes of a picture, on average.
    """

    file: int
    number: int
    start: int
    count: int
    size: int


class ParquetImages(ChosenRows):
    """Pictures in a column of parquet files, their labels in the columns beside it.

    The column of the pictures is a struct with ``bytes`` (as Hugging Face's ``Image`` is stored) or plain bytes. All
    other columns of plain values are attributes; a class of Hugging Face's ``ClassLabel`` has its name. The files of a
    folder are read in the order of their names. Where all are called as parts (``train-00000-of-00002.parquet``, or in
    a folder ``train``), these are the parts.

    Args:
        path: a file, or a folder of them.
        image_size: side of the decoded images in pixels, 1 to 1024.
        crop: side in pixels of the centred square that is cut out and resized; null for the largest that fits.
        image_column: the column of the pictures; null to find it.
        attributes: columns to keep as attributes; null for all that have 1 to 1000 classes.
        shares: shares of the sharer's, the auxiliary and the test part where the names of the files say none.
        rows: derived attributes, the choice of records and their groups, see :class:`diffshare.data.rows.ChosenRows`.
        on_bad_image: ``error`` stops at a picture that is missing or cannot be decoded, ``skip`` leaves it out and
            counts it.

    Raises:
        UserError: an option that makes no sense.
    """

    modality: Literal["image", "table"] = "image"

    def __init__(
        self,
        path: str,
        image_size: int = 64,
        crop: int | None = None,
        image_column: str | None = None,
        attributes: list[str] | None = None,
        shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
        on_bad_image: Literal["error", "skip"] = "error",
        **rows: Any,
    ) -> None:
        super().__init__(**rows)
        self.path = as_path(path)
        self.framing = Framing(image_size, crop)
        self.image_column, self.attributes = image_column, attributes
        self.shares = check_shares(shares)
        self.on_bad_image: Literal["error", "skip"] = on_bad_image
        self._cursor: _Cursor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cursor": None}

    def decoding(self) -> str:
        """Crop, filter and size, as text."""
        return f"ParquetImages: {self.framing}, column {self._column}"

    def _read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Decode the pictures at these positions; ascending ones are read in one pass.

        Returns:
            uint8, n x image_size x image_size x 3.

        Raises:
            BadRecord: a picture is missing or cannot be decoded.
        """
        size = self.framing.image_size
        result = np.empty((len(positions), size, size, 3), np.uint8) if out is None else out
        order = np.argsort(positions, kind="stable")
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            at = positions[rows]
            data = [self._bytes(int(position)) for position in at]
            names = self._index.names[at].tolist()
            result[rows] = read_images(names, at, self.framing, data=data)
        return result

    def _bytes(self, position: int) -> bytes:
        if self._cursor is None or not self._cursor.reaches(position):
            starts = [group.start for group in self._row_groups]
            group = self._row_groups[int(np.searchsorted(starts, position, side="right")) - 1]
            self._cursor = _Cursor(self._files[group.file], group, self._column)
        data = self._cursor.take(position)
        if not isinstance(data, bytes) or len(data) > MAX_PICTURE:
            what = "has no bytes" if not isinstance(data, bytes) else f"has {len(data)} bytes"
            raise BadRecord(
                position,
                f"the picture {self._index.names[position]} {what}: replace it or set on_bad_image: skip",
            )
        return data

    @cached_property
    def _files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        if not self.path.is_dir():
            raise UserError(f"no file or folder {self.path}: check path")
        files = sorted(self.path.rglob("*.parquet"))
        if not files:
            raise UserError(f"{self.path} holds no file that ends with .parquet: check path")
        return files

    @cached_property
    def _column(self) -> str:
        file = open_parquet(self._files[0])
        names = image_columns(file)
        if self.image_column is not None:
            if self.image_column not in names:
                raise one_of("image_column", self.image_column, names)
            return self.image_column
        if len(names) != 1:
            what = f"pictures in {listed(names)}" if names else "no column of pictures"
            raise UserError(
                f"{self._files[0]} has {what}: say which in image_column, expected a struct with bytes, or bytes"
            )
        return names[0]

    @cached_property
    def _row_groups(self) -> list[_Group]:
        groups: list[_Group] = []
        start = 0
        for number, path in enumerate(self._files):
            file = open_parquet(path)
            if self._column not in file.schema_arrow.names:
                raise UserError(
                    f"{path} has no column '{self._column}', {self._files[0]} has: sort them out"
                )
            for row_group in range(file.metadata.num_row_groups):
                meta = file.metadata.row_group(row_group)
                size = picture_bytes(path, meta, self._column)
                groups.append(_Group(number, row_group, start, meta.num_rows, size))
                start += meta.num_rows
        return [group for group in groups if group.count]

    @cached_property
    def _index(self) -> Index:
        groups = self._row_groups
        counts = np.zeros(len(self._files), np.int64)
        for group in groups:
            counts[group.file] += group.count
        if not counts.sum():
            raise UserError(f"{self.path} holds no records: expected at least one row")
        base = self.path if self.path.is_dir() else self.path.parent
        called = [path.relative_to(base).as_posix() for path in self._files]
        names = [
            f"{name}:{row}"
            for name, count in zip(called, counts.tolist(), strict=True)
            for row in range(count)
        ]
        columns = self._columns()
        for name in self.attributes or []:
            if name not in columns:
                raise one_of("attribute", name, columns)
        attributes: dict[str, Attribute] = {}
        for name in columns if self.attributes is None else self.attributes:
            if attribute := columns[name].attribute():
                attributes[name] = attribute
            elif self.attributes is not None:
                raise UserError(
                    f"column '{name}' of {self.path} has no cell or more than 1000 different ones: give it classes"
                )
        numbers = {name: column.numbers() for name, column in columns.items()}
        parts = [_part(name) for name in called]
        stamps = [path.stat().st_mtime_ns for path in self._files]
        return Index(
            np.array(names),
            np.repeat([group.size for group in groups], [group.count for group in groups]),
            attributes,
            None if None in parts else np.repeat(np.array(parts, np.int8), counts),
            np.repeat(np.array(stamps, np.int64), counts),
            probe_files(self._files),
            {name: values for name, values in numbers.items() if values is not None},
        )

    def _columns(self) -> dict[str, Column]:
        """The plain columns, with the names of classes where the files say them."""
        wanted = plain_columns(open_parquet(self._files[0]))
        if not wanted:
            return {}
        texts: dict[str, list[str]] = {name: [] for name in wanted}
        for path in self._files:
            file = open_parquet(path)
            if lacking := [name for name in wanted if name not in file.schema_arrow.names]:
                raise UserError(
                    f"{path} has no column '{lacking[0]}', {self._files[0]} has: sort them out"
                )
            if not file.metadata.num_rows:
                continue
            for columns, _ in parquet_cells(path, wanted):
                for name, cells in columns.items():
                    texts[name] += cells
        classes = class_names(open_parquet(self._files[0]))
        columns_ = {name: column_of(cells) for name, cells in texts.items()}
        return {
            name: column.renamed(classes[name]) if name in classes else column
            for name, column in columns_.items()
        }


class _Cursor:
    """Pictures of a row group in their order: going on from where it stands costs nothing twice."""

    def __init__(self, path: Path, group: _Group, column: str) -> None:
        self.path, self.group = path, group
        self.next = group.start
        self.batch: list[Any] = []
        self.begin = group.start  # position of the first picture of the batch
        self.batches = self._read(open_parquet(path), column)

    def reaches(self, position: int) -> bool:
        """Whether the position lies ahead, or in the batch at hand."""
        return self.begin <= position < self.group.start + self.group.count

    def take(self, position: int) -> Any:
        """The bytes at a position that is reached; None where there are none."""
        import pyarrow as pa

        while position >= self.begin + len(self.batch):
            self.begin += len(self.batch)
            try:
                self.batch = next(self.batches)
            except StopIteration:
                raise damaged(self.path, ValueError("it ends too early")) from None
            except (pa.ArrowException, OSError, ValueError) as error:
                raise damaged(self.path, error) from error
        return self.batch[position - self.begin]

    def _read(self, file: Any, column: str) -> Iterator[list[Any]]:
        groups = [self.group.number]
        for batch in file.iter_batches(
            _BATCH, row_groups=groups, columns=[column], use_threads=False
        ):
            values = batch.column(0)
            if hasattr(values, "field"):
                values = values.field("bytes")
            yield values.to_pylist()


def _part(name: str) -> int | None:
    """The part that a file's name or its folders say."""
    *folders, last = name.casefold().split("/")
    for word in (re.split(r"[-_.]", last)[0], *reversed(folders)):
        if word in PART_WORDS:
            return PART_WORDS[word]
    return None
