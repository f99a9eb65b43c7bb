"""Records that are in memory already: arrays of images or numbers, and data frames, as sources."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from numbers import Real
from typing import Any, Literal

import numpy as np

from diffshare.classes import in_order, listed
from diffshare.data.coding import MAX_CLASSES
from diffshare.data.csvfile import BLOCK, Block
from diffshare.data.rows import ChosenRows
from diffshare.data.source import Attribute, Index
from diffshare.data.table import Kind, TableSource, assemble
from diffshare.errors import UserError

MISSING = "?"  # what a missing cell is written as, where no cell is this text
Labels = np.ndarray | Sequence[Any]


def attribute_of(labels: Labels, name: str, count: int | None = None) -> Attribute:
    """Labels as an attribute: numbers are ordered by value, texts naturally.

    Args:
        labels: integers, booleans or texts, N; None or NaN where not known.
        name: what they are called, for messages.
        count: N, where it is known.

    Raises:
        UserError: they are not one-dimensional, of another length, fractions, or more than 1000 different ones.
    """
    values = np.asarray(labels, object) if not isinstance(labels, np.ndarray) else labels
    if values.ndim != 1:
        raise UserError(f"{name} has the shape {values.shape}: give one label a record, N")
    if count is not None and len(values) != count:
        raise UserError(
            f"{name} has {len(values)} labels, there are {count} records: give one label a record"
        )
    texts = [_text(value, name) for value in values.tolist()]
    classes = tuple(in_order(sorted({text for text in texts if text is not None})))
    if len(classes) > MAX_CLASSES:
        raise UserError(
            f"{name} has {len(classes)} different labels, more than {MAX_CLASSES}: they are to be classes, not names "
            "or amounts"
        )
    place: dict[str | None, int] = {text: code for code, text in enumerate(classes)} | {None: -1}
    return Attribute(np.array([place[text] for text in texts], np.int16), classes)


def _text(value: Any, name: str) -> str | None:
    if is_missing(value):
        return None
    if isinstance(value, float):
        if not value.is_integer():
            raise UserError(f"{name} holds {value!r}: labels are whole numbers or texts")
        value = int(value)
    return str(value)


def count_of(x: Any) -> int:
    """Number of records of an array, a data frame or a mapping of columns."""
    return len(next(iter(x.values()), ())) if isinstance(x, Mapping) else len(x)


class ImagesInMemory(ChosenRows):
    """Images in an array.

    Args:
        x: uint8, N x H x W x C with C 1 or 3, N >= 1.
        attributes: name to its codes, N.
        rows: derived attributes, the choice of records and their groups, see :class:`diffshare.data.rows.ChosenRows`.

    Raises:
        UserError: an array that is none of images.
    """

    modality: Literal["image", "table"] = "image"
    on_bad_image: Literal["error", "skip"] = "error"
    shares = (0.0, 1.0, 0.0)

    def __init__(
        self, x: np.ndarray, attributes: Mapping[str, Attribute] | None = None, **rows: Any
    ) -> None:
        super().__init__(**rows)
        if x.ndim != 4 or x.dtype != np.uint8 or x.shape[3] not in (1, 3) or not len(x):
            raise UserError(
                f"x is {x.dtype} of the shape {x.shape}: images are uint8, N x height x width x channels with 1 or 3 "
                "channels"
            )
        self._x, self.attributes = x, attributes or {}

    @property
    def _index(self) -> Index:
        return _index(len(self._x), self.attributes)

    def decoding(self) -> str:
        """Nothing is decoded."""
        return "memory"

    def _read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        return np.take(self._x, positions, axis=0, out=out)

    @cached_property
    def x(self) -> np.ndarray:
        """All chosen images, uint8, N x H x W x C."""
        rows = self._chosen.rows
        return self._x if rows is None else self._x[rows]


class TableInMemory(TableSource):
    """A data frame or a two-dimensional array.

    Numbers are numeric columns, everything else (texts, booleans, categories) is categorical.

    Args:
        x: a data frame (anything with ``columns`` and ``x[name]``), a mapping of names to columns, or an
            array N x D, whose columns are then called ``0``, ``1``, ...
        attributes: further attributes of the records, which are no columns.
        kinds: column name to its kind, or the list of its categories, over what the types say.
        rows: derived attributes, the choice of records and their groups, see :class:`diffshare.data.rows.ChosenRows`.

    Raises:
        UserError: no column or record, two columns of one name, a column of the name of an attribute, or
            a cell that does not fit.
    """

    shares = (0.0, 1.0, 0.0)

    def __init__(
        self,
        x: Any,
        attributes: Mapping[str, Attribute] | None = None,
        kinds: Mapping[str, Kind | list[str]] | None = None,
        **rows: Any,
    ) -> None:
        super().__init__(**rows)
        self.cells, own = columns_of(x)
        self.attributes = attributes or {}
        if twice := sorted({*self.cells} & {*self.attributes}):
            raise UserError(
                f"'{twice[0]}' is a column of x and is given beside it as well: leave one out, or rename the column"
            )
        self.kinds: dict[str, Kind | list[str]] = {**own, **(kinds or {})}
        self.missing = _mark(self.cells)

    def of_kinds(self, kinds: Mapping[str, Kind | list[str]], missing: str) -> "TableInMemory":
        """The columns that ``kinds`` names, read as these.

        Raises:
            UserError: a cell is the text ``missing``, though it says something.
        """
        table = TableInMemory.__new__(TableInMemory)
        table.cells = {name: self.cells[name] for name in kinds if name in self.cells}
        table.attributes, table.kinds, table.missing = self.attributes, dict(kinds), missing
        if taken := [name for name, values in table.cells.items() if _holds(values, missing)]:
            raise UserError(
                f"column '{taken[0]}' holds the text '{missing}', which is the reference's mark of a missing cell: "
                "give None where a cell is missing, or call the category otherwise"
            )
        return table

    def _load(self) -> Any:
        schema = {name: self.kinds[name] for name in self.cells}
        texts = [
            _texts(values, self.missing, whole=self.kinds[name] != "numeric")
            for name, values in self.cells.items()
        ]
        table = assemble(_blocks(texts), schema, self.missing)
        if not self.attributes:
            return table
        attributes = {**table.index.attributes, **self.attributes}
        index = replace(_index(len(table.index), attributes), numbers=table.index.numbers)
        return type(table)(table.columns, table.values, index)

    @cached_property
    def x(self) -> np.ndarray:
        """All chosen rows, float32, N x D."""
        rows = self._chosen.rows
        return self._table.values if rows is None else self._table.values[rows]


def columns_of(x: Any) -> tuple[dict[str, np.ndarray], dict[str, Kind]]:
    """The columns of a data frame or a two-dimensional array by name, and their kinds.

    Raises:
        UserError: no record or column, an array of another shape, or two columns of one name.
    """
    if isinstance(x, Mapping):
        x = {
            name: values if hasattr(values, "dtype") else np.asarray(values)
            for name, values in x.items()
        }
    if isinstance(x, Mapping) or (hasattr(x, "columns") and not isinstance(x, np.ndarray)):
        names = list(x) if isinstance(x, Mapping) else list(x.columns)
        if len(set(map(str, names))) < len(names):
            raise UserError("two columns of the data frame have the same name: rename one")
        cells = {str(name): np.array(x[name]) for name in names}
        kinds = {str(name): _kind(x[name]) for name in names}
    else:
        array = np.asarray(x)
        if array.ndim != 2:
            raise UserError(f"x has the shape {array.shape}: rows of a table are N x columns")
        cells = {str(i): array[:, i].copy() for i in range(array.shape[1])}
        kinds = {name: _kind(values) for name, values in cells.items()}
    if not cells or not len(next(iter(cells.values()))):
        raise UserError("the table has no record or no column: give at least one of each")
    sizes = {name: len(values) for name, values in cells.items()}
    if len(set(sizes.values())) > 1:
        raise UserError(
            f"the columns have different lengths: {listed([f'{n} ({c})' for n, c in sizes.items()])}"
        )
    return cells, kinds


def _kind(values: Any) -> Kind:
    """By the type; of objects, as pandas has where a number may be missing, by the values."""
    kind = getattr(values.dtype, "kind", np.asarray(values).dtype.kind)
    if kind == "O":
        present = [value for value in np.asarray(values, object).tolist() if not is_missing(value)]
        numbers = bool(present) and all(
            isinstance(value, Real) and not isinstance(value, bool | np.bool_) for value in present
        )
        return "numeric" if numbers else "categorical"
    return "numeric" if kind in "iuf" else "categorical"


def _texts(values: np.ndarray, missing: str, *, whole: bool) -> list[str]:
    """Cells as text; ``whole``: 1.0 is written 1, as it is where no cell is missing."""
    texts = []
    for value in values.tolist():
        if whole and isinstance(value, float) and value.is_integer():
            value = int(value)
        texts.append(missing if is_missing(value) else str(value))
    return texts


def _holds(values: np.ndarray, text: str) -> bool:
    """Whether a cell is this text; numbers are none."""
    return values.dtype.kind in "OUT" and text in {str(value) for value in values.tolist()}


def _mark(cells: Mapping[str, np.ndarray]) -> str:
    """A mark of missing cells that no cell is: ``?``, else ``?`` in as many brackets as it takes."""
    mark = MISSING
    while any(_holds(values, mark) for values in cells.values()):
        mark = f"<{mark}>"
    return mark


def is_missing(value: Any) -> bool:
    """Whether a cell says that nothing is there: None, NaN, and what pandas has for it."""
    return (
        value is None
        or type(value).__name__ in ("NAType", "NaTType")
        or (isinstance(value, float) and value != value)
    )


class _Rows(Block):
    """Rows that are in memory, numbered from 0."""

    def where(self, row: int) -> str:
        """For instance ``row 17``."""
        return f"{self.file} {self.lines[row]}"


def _blocks(texts: Sequence[Sequence[str]]) -> Iterable[Block]:
    count = len(texts[0])
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        yield _Rows(
            "row",
            [column[start:stop] for column in texts],
            range(start, stop),
            [0] * (stop - start),
            0,
        )


def _index(count: int, attributes: Mapping[str, Attribute]) -> Index:
    return Index(np.arange(count).astype(str), np.zeros(count, np.int64), attributes)


InMemory = ImagesInMemory | TableInMemory
