"""Readers of table files: columns as arrays of Arrow, some records at a time, so that memory does not follow the file.

Each reader has the same few members, see :class:`Reader`. What a cell means is told by ``gathered.py``.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol

from diffshare.data.csvfile import MAX_RECORD, check_delimiter, read_records
from diffshare.data.dialect import MAX_COLUMNS, sniff
from diffshare.data.tablebytes import Looked, Watched, open_binary, open_text
from diffshare.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 1 << 16  # records of parquet
_ROWS = 5000  # records that are read one by one
_CELLS = 4 << 20  # of a batch of a wide table
_REMEDY = "save it as UTF-8, or name its encoding (for instance latin-1 or cp1252)"
_NESTED = "holds lists or objects, which are no cells of a table"


class Cells(NamedTuple):
    """Consecutive cells of one column.

    Attributes:
        array: of texts, numbers or a dictionary of them; null where nothing is there.
        typed: the file says that they are text: digits among them need not be numbers.
    """

    array: "pa.Array"
    typed: bool = False


class Batch(NamedTuple):
    """Some consecutive records.

    Attributes:
        rows: how many.
        columns: position of a column to its cells; what is absent has none in these records.
    """

    rows: int
    columns: dict[int, Cells]


class Doubt(Exception):
    """What the fast reader made of a file is not to be trusted: read it strictly, which finds the line."""


class Reader(Protocol):
    """A table file that was opened.

    Attributes:
        names: of the columns, which may repeat or be empty; of JSON lines they come while it is read.
        unreadable: position of a column to why its cells cannot be read.
        strict: read slowly and strictly.
    """

    names: list[str]
    unreadable: dict[int, str]
    strict: bool

    def batches(self, positions: Sequence[int] | None) -> Iterator[Batch]:
        """The records of these columns; of all that can be read where None.

        Raises:
            UserError: the file is malformed; the message names the line.
            Doubt: it is to be read again, strictly.
        """
        ...

    def where(self, row: int) -> str:
        """File and line of a record (from 0)."""
        ...


class CSVReader:
    """Text with delimiters.

    Args:
        path: the file.
        looked: what it is.
        delimiter: None where it is to be told by looking.
        header: the first record holds the names.
        width: of the records, where there is no header.
    """

    def __init__(
        self, path: Path, looked: Looked, delimiter: str | None, header: bool, names: Sequence[str]
    ) -> None:
        self._path, self._looked, self._header = path, looked, header
        self.delimiter = check_delimiter(
            sniff(path, looked.start) if delimiter is None else delimiter
        )
        self.strict = False
        self.unreadable: dict[int, str] = {}
        first = next((cells for cells, _ in self._records()), None)
        if first is None:
            raise UserError(
                f"{path} is empty: expected a line of column names and a line for each record"
            )
        if header:
            self.names = [name.strip() for name in first]
        else:
            self.names = list(names) or [str(i) for i in range(len(first))]
            if len(self.names) != len(first):
                raise UserError(
                    f"{path} has {len(first)} columns and no header: name all of them in their order, not "
                    f"{len(self.names)}"
                )
        check_width(path, len(self.names))

    def _records(self) -> Iterator[tuple[list[str], int]]:
        with open_text(self._path, self._looked) as stream:
            strip = self.delimiter != " "
            for cells, line, _ in read_records(
                self._path, stream, self.delimiter, strip=strip, remedy=_REMEDY
            ):
                yield cells, line

    def _rows(self) -> Iterator[tuple[list[str], int]]:
        records = self._records()
        if self._header:
            next(records)
        for cells, line in records:
            if len(cells) != len(self.names):
                raise UserError(
                    f"{self._path}:{line} has {len(cells)} cells, expected {len(self.names)}: mend or remove this line"
                )
            yield cells, line

    def where(self, row: int) -> str:
        """File and line at which a record (from 0) begins."""
        lines = (line for i, (_, line) in enumerate(self._rows()) if i == row)
        return f"{self._path}:{next(lines)}"

    def batches(self, positions: Sequence[int] | None) -> Iterator[Batch]:
        """See :class:`Reader`."""
        chosen = range(len(self.names)) if positions is None else positions
        return self._strictly(chosen) if self.strict else self._fast(chosen)

    def _fast(self, chosen: Sequence[int]) -> Iterator[Batch]:
        import pyarrow as pa
        from pyarrow import csv

        numbers = [str(i) for i in range(len(self.names))]
        with (
            open_text(self._path, self._looked) as text,
            Watched(text, self.delimiter) as watched,
        ):
            if watched.doubtful:
                raise Doubt
            try:
                reader = csv.open_csv(
                    watched,
                    csv.ReadOptions(
                        block_size=MAX_RECORD,
                        column_names=numbers,
                        skip_rows_after_names=int(self._header),
                    ),
                    csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                    csv.ConvertOptions(
                        column_types=dict.fromkeys(numbers, pa.string()),
                        include_columns=[str(i) for i in chosen],
                    ),
                )
                with reader:
                    for batch in reader:
                        if watched.doubtful:
                            raise Doubt
                        yield Batch(
                            len(batch), {i: Cells(batch.column(k)) for k, i in enumerate(chosen)}
                        )
            except pa.ArrowException as error:
                raise Doubt from error
            if watched.read(1) or watched.doubtful:
                raise Doubt

    def _strictly(self, chosen: Sequence[int]) -> Iterator[Batch]:
        import pyarrow as pa

        rows: list[list[str]] = []
        most = max(1, min(_ROWS, _CELLS // len(self.names)))

        def batch() -> Batch:
            columns = list(zip(*rows, strict=True))
            return Batch(len(rows), {i: Cells(pa.array(columns[i], pa.string())) for i in chosen})

        for cells, _ in self._rows():
            rows.append(cells)
            if len(rows) == most:
                yield batch()
                rows.clear()
        if rows:
            yield batch()


class ParquetReader:
    """Parquet: numbers are numbers, texts are texts, whatever they look like.

    Dates and times are texts as ISO writes them, truth values ``True`` and ``False``, decimals the nearest float64.
    """

    strict = False

    def __init__(self, path: Path, looked: Looked) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._path = path
        self._stream: BinaryIO = open_binary(path, looked, tempfile.TemporaryFile)
        try:
            schema = parquet.read_schema(self._stream)
            self._kinds = [field.type for field in schema]
            coded = [
                field.name
                for field in schema
                if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
            ]
            # a text that a hostile file repeats a million times is then held once
            self._file = parquet.ParquetFile(
                self._stream, read_dictionary=coded, buffer_size=1 << 20
            )
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error
        self.names = [name.strip() for name in schema.names]
        check_width(path, len(self.names))
        self._plain = schema.names
        self.unreadable = {
            i: reason for i, kind in enumerate(self._kinds) if (reason := _unreadable(kind))
        }

    def _damaged(self, error: Exception) -> UserError:
        return UserError(f"{self._path} is a damaged parquet file ({error}): get it again")

    def where(self, row: int) -> str:
        """File and number of a record (from 1)."""
        return f"{self._path}, row {row + 1}"

    def batches(self, positions: Sequence[int] | None) -> Iterator[Batch]:
        """See :class:`Reader`."""
        import pyarrow as pa

        everything = range(len(self.names))
        chosen = [
            i for i in (everything if positions is None else positions) if i not in self.unreadable
        ]
        if not chosen:
            yield Batch(self._file.metadata.num_rows, {})
            return
        # names choose by their paths, and a name may stand twice
        unique = len(set(self._plain)) == len(self._plain)
        names = (
            [self._plain[i] for i in chosen] if unique and len(chosen) < len(everything) else None
        )
        size = max(1, min(_BATCH, _CELLS // len(self.names)))
        try:
            for batch in self._file.iter_batches(size, columns=names):
                places = (
                    {i: i for i in chosen}
                    if names is None
                    else {i: batch.schema.get_field_index(self._plain[i]) for i in chosen}
                )
                yield Batch(len(batch), {i: _plain(batch.column(k)) for i, k in places.items()})
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error


class FrameReader:
    """A data frame, or a two-dimensional array."""

    strict = False

    def __init__(self, frame: Any) -> None:
        import pandas as pd

        frame = frame if isinstance(frame, pd.DataFrame) else pd.DataFrame(frame)
        if not len(frame) or not len(frame.columns):
            raise UserError("the table has no record or no column: give at least one of each")
        self.names = [str(name).strip() for name in frame.columns]
        check_width(Path("the data frame"), len(self.names))
        self._frame = frame
        self.unreadable: dict[int, str] = {}
        self._arrays: dict[int, Cells] = {}
        for i in range(len(self.names)):
            cells = _column_of(frame.iloc[:, i])
            if isinstance(cells, str):
                self.unreadable[i] = cells
            else:
                self._arrays[i] = cells

    def where(self, row: int) -> str:
        """Position of a record (from 0)."""
        return f"row {row} of the data frame"

    def batches(self, positions: Sequence[int] | None) -> Iterator[Batch]:
        """See :class:`Reader`."""
        chosen = self._arrays if positions is None else positions
        count = len(self._frame)
        for start in range(0, count, _BATCH):
            columns = {
                i: Cells(self._arrays[i].array.slice(start, _BATCH), self._arrays[i].typed)
                for i in chosen
            }
            yield Batch(min(_BATCH, count - start), columns)


def _column_of(series: Any) -> Cells | str:
    """A column of a data frame, or why it is none."""
    import pyarrow as pa

    try:
        array = pa.Array.from_pandas(series)
    except (pa.ArrowException, TypeError, OverflowError):
        # values of several types: as texts, each as it is written
        values = ["" if value is None or value != value else str(value) for value in series]
        array = pa.array(values, pa.string())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return _unreadable(array.type) or _plain(array)


def _unreadable(kind: "pa.DataType") -> str:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _unreadable(kind.value_type)
    if pa.types.is_nested(kind):
        return _NESTED
    readable = (
        pa.types.is_primitive(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_null(kind)
    )
    return "" if readable else f"holds {kind}, which are no cells of a table"


def _plain(array: "pa.Array") -> Cells:
    """Cells of a typed column as texts or numbers."""
    import pyarrow as pa
    from pyarrow import compute

    kind = array.type
    if pa.types.is_dictionary(kind):
        inner = _plain(array.dictionary)
        return Cells(pa.DictionaryArray.from_arrays(array.indices, inner.array), inner.typed)
    if pa.types.is_boolean(kind):
        texts = pa.array(["False", "True"], pa.string())
        return Cells(texts.take(compute.cast(array, pa.int8())), typed=True)
    if pa.types.is_integer(kind) or pa.types.is_float64(kind):
        return Cells(array)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Cells(compute.cast(array, pa.float64(), safe=False))
    if pa.types.is_null(kind):
        return Cells(pa.nulls(len(array), pa.string()))
    return Cells(compute.cast(array, pa.string()), typed=True)


def check_width(path: Path, width: int) -> None:
    """Refuse a table of very many columns."""
    if width > MAX_COLUMNS:
        raise UserError(
            f"{path} has {width:,} columns, more than {MAX_COLUMNS:,}: write those that are needed"
        )


def modified(path: Path) -> int:
    """When a file was changed, in ns."""
    return os.stat(path).st_mtime_ns
