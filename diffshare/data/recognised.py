"""Tables whose columns are told by their cells: the rules, and what every such source does."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from diffshare.classes import listed, quoted
from diffshare.data.cells import Kind
from diffshare.data.coding import MAX_CLASSES
from diffshare.data.csvfile import no_column
from diffshare.data.gathered import Gathered
from diffshare.data.numbercolumn import restored
from diffshare.data.probe import probe_array
from diffshare.data.source import Attribute, Index
from diffshare.data.table import Column, Table, TableSource, check_schema
from diffshare.data.tablereaders import Doubt, Reader
from diffshare.errors import UserError, one_of

MAX_CELLS = 1 << 29  # two gigabytes of float32
_FEW = 4096  # rows


class Numbers(Mapping[str, np.ndarray]):
    """Exact numbers of each numeric column, float64, N, made of the float32 ones where these tell them.

    Args:
        values: float32, N x D.
        places: name to position among the D columns and decimals.
        exact: name to float64, N, of the columns where ``values`` do not tell them.
    """

    def __init__(
        self,
        values: np.ndarray,
        places: Mapping[str, tuple[int, int | None]],
        exact: Mapping[str, np.ndarray],
    ) -> None:
        self._values, self._places, self._exact = values, places, exact

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._exact:
            return self._exact[name]
        place, decimals = self._places[name]
        return restored(self._values[:, place], decimals)

    def __iter__(self) -> Iterator[str]:
        return iter({**self._places, **self._exact})

    def __len__(self) -> int:
        return len({**self._places, **self._exact})


class Recognised(TableSource):
    """A table whose columns are told by their cells.

    The rules, where ``columns`` does not say otherwise:

    - A column is **numbers** if every known cell is one: digits with a sign, a point and an exponent at most. ``007``
      is none, since codes and keys have zeros before them, and neither are texts of Parquet, of JSON or of a data
      frame that look like numbers (unless they are more than 1000 different ones). Everything else is **categories**.
    - A cell is **missing** if it is empty or null; among numbers also if it is ``?``, ``NA``, ``N/A``, ``NaN``,
      ``null``, ``None`` or ``.``, in quotes or not. ``missing`` names the one mark beside the empty cell, for all
      columns.
    - Blanks around a cell or a name are no part of it.
    - Truth values are the categories ``False`` and ``True``, dates and times categories as ISO writes them, decimals
      the nearest float64.
    - Not used, and said: a column of more than 1000 different texts (names, keys, dates), of numbers that float32
      rounds, that numbers its rows, without a known cell, without a name, of a name that stands twice, and one of lists
      or objects. Asked for by its name, such a column is refused.
    - Numbers with at most 1000 different cells, all whole, are an attribute as well: ``0`` and ``1`` can be a group or
      a target.
    """

    missing: str
    _columns: Mapping[str, Kind | list[str]] | None

    def _settings(
        self,
        columns: dict[str, Kind | list[str | int]] | None,
        as_category: Sequence[str],
        as_number: Sequence[str],
        missing: str | None,
    ) -> None:
        self._mark = missing
        self.missing = missing or ""
        self._columns = None if columns is None else check_schema(columns, self.missing)
        self._asked: dict[str, Kind] = dict.fromkeys(as_category, "categorical")
        if both := sorted({*as_category} & {*as_number}):
            raise UserError(f"column '{both[0]}' is to be numbers and categories: choose one")
        self._asked |= dict.fromkeys(as_number, "numeric")
        if self._asked and columns is not None:
            raise UserError("columns says what each column is: leave out as_category and as_number")

    @property
    def file(self) -> str:
        """Name of the file, without its folder."""
        raise NotImplementedError

    def _open(self) -> Reader:
        raise NotImplementedError

    def _stamp(self) -> int:
        return 0

    @cached_property
    def _reader(self) -> Reader:
        return self._open()

    @cached_property
    def _whole_table(self) -> "_Whole":
        reader = self._reader
        kinds, unused = self._choose(reader)
        gathered = _gather(reader, kinds, self._mark, self.file)
        return _whole(gathered, unused, self._stamp(), named=bool(self._columns))

    def _choose(
        self, reader: Reader
    ) -> tuple[dict[int, tuple[str, Kind | list[str] | None]], dict[str, str]]:
        """Name and kind of each column that is read, by its position, and why others are not."""
        times = Counter(reader.names)
        where: dict[str, int] = {name: i for i, name in enumerate(reader.names)}
        wanted: Mapping[str, Any] = self._asked if self._columns is None else self._columns
        for name in wanted:
            if name not in where:
                delimiter = getattr(reader, "delimiter", ",")
                raise no_column(Path(self.file), name, reader.names, delimiter)
            if reason := _unusable(name, where[name], times, reader):
                raise UserError(f"{self.file}: column {quoted(name)} {reason}")
        if self._columns is not None:
            return {where[name]: (name, kind) for name, kind in self._columns.items()}, {}
        unused = {
            name: reason
            for name, i in where.items()
            if (reason := _unusable(name, i, times, reader))
        }
        kinds: dict[int, tuple[str, Kind | list[str] | None]] = {
            i: (name, self._asked.get(name)) for name, i in where.items() if name not in unused
        }
        return kinds, unused

    def _load(self) -> Table:
        return self._whole_table.table

    @property
    def unused(self) -> Mapping[str, str]:
        """Columns that are not read, and why, in words that follow the name."""
        return self._whole_table.unused

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided on columns or left out, a sentence each."""
        return (*self._whole_table.notes, *super().notes)

    def description(self) -> str:
        """What was read, in one line: ``4,000 rows of holdout.csv, 14 columns; 9 read as categories, 5 as numbers``."""
        kinds = Counter(column.kind for column in self.columns)
        width = len(self._reader.names)
        left = width - len(self.columns)
        return (
            f"{len(self.index()):,} rows of {self.file}, {width:,} columns; {kinds['categorical']} read as categories, "
            f"{kinds['numeric']} as numbers" + (f", {left} not used" if left else "")
        )

    def require(self, names: Sequence[str]) -> None:
        """Refuse columns that are no attribute, with the reason.

        Raises:
            UserError: names the first that is none.
        """
        index, columns = self.index(), {column.name for column in self.columns}
        for name in names:
            if name in index.attributes:
                continue
            if name in self.unused:
                raise UserError(f"{self.file}: column {quoted(name)} {self.unused[name]}")
            if name in columns:
                raise UserError(
                    f"{self.file}: column {quoted(name)} is numbers, of which there are more than {MAX_CLASSES} or not "
                    "all are whole: cut it into ranges"
                )
            raise one_of("column", name, [*index.attributes, *columns])

    def _cells(self, column: str) -> np.ndarray | None:
        return self.texts(column) if column in self._reader.names else None

    def texts(self, name: str) -> np.ndarray:
        """The cells of one column as they stand, numpy str, N; empty where missing. It is read once more.

        Raises:
            UserError: there is no such column, or it holds lists or objects.
        """
        reader = self._open()
        if name not in reader.names:
            raise no_column(Path(self.file), name, reader.names)
        place = reader.names.index(name)
        if reason := _unusable(name, place, Counter(reader.names), reader):
            raise UserError(f"{self.file}: column {quoted(name)} {reason}")
        reader.strict = self._reader.strict
        try:
            return _texts(reader, place)
        except Doubt:
            reader.strict = True
            return _texts(reader, place)


class _Whole:
    """What was read: a table, and notes."""

    def __init__(self, table: Table, notes: Sequence[str], unused: Mapping[str, str]) -> None:
        self.table, self.notes, self.unused = table, tuple(notes), unused


def _unusable(name: str, place: int, times: Mapping[str, int], reader: Reader) -> str:
    if not name:
        return "has no name"
    if times[name] > 1:
        return f"stands {times[name]} times: rename all but one"
    return reader.unreadable.get(place, "")


def _gather(
    reader: Reader,
    kinds: Mapping[int, tuple[str, Kind | list[str] | None]],
    missing: str | None,
    file: str,
) -> tuple[dict[str, Gathered], int]:
    """Read all records of these columns."""
    gathered = {i: Gathered(name, kind, missing, reader.where) for i, (name, kind) in kinds.items()}
    rows = 0
    try:
        for batch in reader.batches(list(kinds)):
            rows += batch.rows
            if rows * len(kinds) > MAX_CELLS:
                raise UserError(
                    f"{file} has more than {MAX_CELLS:,} cells: give a part of it, or name the columns that are needed"
                )
            for i, cells in batch.columns.items():
                gathered[i].add(*cells)
    except Doubt:
        if reader.strict:
            raise
        reader.strict = True
        return _gather(reader, kinds, missing, file)
    if not rows:
        raise UserError(f"{file} holds no records: expected a line for each")
    return {kinds[i][0]: one for i, one in gathered.items()}, rows


def _whole(
    read: tuple[dict[str, Gathered], int], unused: dict[str, str], stamp: int, *, named: bool
) -> _Whole:
    gathered, rows = read
    notes: list[str] = []
    attributes: dict[str, Attribute] = {}
    exact: dict[str, np.ndarray] = {}
    columns: list[Column] = []
    kept: list[np.ndarray] = []
    for name in list(gathered):
        column = gathered.pop(name).finish()
        if column.kind == "numeric" and not named and _is_counted(column.values):
            column = column._replace(kind=None, reason="numbers its rows")
        if column.attribute is not None:
            attributes[name] = column.attribute
        if column.numbers is not None:
            exact[name] = column.numbers
        if column.kind is None:
            unused[name] = column.reason
            continue
        notes += [f"column {quoted(name)} {words}" for words in column.notes]
        columns.append(
            Column(name, column.kind, column.categories, column.integer, column.decimals)
        )
        kept.append(column.values)
    constant = [c.name for c, k in zip(columns, kept, strict=True) if _is_constant(k)]
    values = _side_by_side(kept, rows)
    numbers = Numbers(
        values,
        {c.name: (i, c.decimals) for i, c in enumerate(columns) if c.kind == "numeric"},
        exact,
    )
    index = Index(
        row_names(rows),
        np.zeros(rows, np.int64),
        attributes,
        stamps=np.broadcast_to(np.int64(stamp), rows),
        probe=probe_array(values),
        numbers=numbers,
    )
    if constant:
        notes.append(f"the same in all rows: {listed(constant)}")
    notes += _unused_notes(unused)
    return _Whole(Table(tuple(columns), values, index), notes, unused)


def _unused_notes(unused: Mapping[str, str]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, reason in unused.items():
        reasons.setdefault(reason, []).append(name)
    return [
        f"not used: {listed(names)} ({reason.removeprefix('has ')})"
        for reason, names in reasons.items()
    ]


def _is_counted(values: np.ndarray) -> bool:
    """Whether a column numbers its rows, from 0 or 1; three rows may do so by chance."""
    return (
        len(values) > 10
        and values[0] in (0, 1)
        and values[-1] == values[0] + len(values) - 1
        and bool((np.diff(values) == 1).all())
    )


def _is_constant(values: np.ndarray) -> bool:
    return bool(values[0] == values[-1] and (values == values[0]).all())


def _side_by_side(columns: list[np.ndarray], rows: int) -> np.ndarray:
    """Columns as float32, N x D; the list is emptied. A few rows at a time stay in the processor's cache."""
    values = np.empty((rows, len(columns)), np.float32)
    for start in range(0, rows, _FEW):
        for place, column in enumerate(columns):
            values[start : start + _FEW, place] = column[start : start + _FEW]
    columns.clear()
    return values


def _texts(reader: Reader, place: int) -> np.ndarray:
    parts: list[str] = []
    for batch in reader.batches([place]):
        cells = batch.columns[place].array.to_pylist()
        parts += ["" if cell is None else str(cell).strip() for cell in cells]
    return np.array(parts, np.str_)


def row_names(count: int) -> np.ndarray:
    """``1``, ``2``, ... as texts, numpy str, count; by arithmetic, for a million of them."""
    width = len(str(count))
    names = np.zeros((count, width), np.uint32)
    for digits in range(1, width + 1):
        first, last = 10 ** (digits - 1), min(10**digits - 1, count)
        left = np.arange(first, last + 1)
        for place in reversed(range(digits)):
            left, whole = left // 10, left
            names[first - 1 : last, place] = whole - 10 * left + ord("0")
    return names.view(f"<U{width}").ravel() if count else np.zeros(0, "<U1")
