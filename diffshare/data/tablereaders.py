"""Readers of table files: columns as arrays of Arrow, some records at a time, so that memory does not follow the file.

Each reader has the same few members, see :class:`Reader`. What a cell means is told by ``gathered.py``.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from diffshare.data.csvfile import MAX_RECORD, check_delimiter, read_records
from diffshare.data.dialect import MAX_COLUMNS, sniff
from diffshare.data.tablebytes import Looked, Watched, open_text
from diffshare.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 5000  # records that are read one by one
BATCH_CELLS = 4 << 20  # of a batch of a wide table
_REMEDY = "save it as UTF-8, or name its encoding (for instance latin-1 or cp1252)"


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
        most = max(1, min(_ROWS, BATCH_CELLS // len(self.names)))

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


def check_width(path: Path, width: int) -> None:
    """Refuse a table of very many columns."""
    if width > MAX_COLUMNS:
        raise UserError(
            f"{path} has {width:,} columns, more than {MAX_COLUMNS:,}: write those that are needed"
        )


def modified(path: Path) -> int:
    """When a file was changed, in ns."""
    return os.stat(path).st_mtime_ns
