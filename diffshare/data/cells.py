"""The cells of a table's columns: text to float32 values, gathered block by block (see ``diffshare.data.table``)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from diffshare.classes import listed
from diffshare.data.coding import MAX_CLASSES, Coder
from diffshare.data.csvfile import Block
from diffshare.data.source import Attribute
from diffshare.errors import UserError

Kind = Literal["numeric", "categorical"]
_LARGEST = float(np.finfo(np.float32).max)


class Parsed(NamedTuple):
    """A whole column.

    Attributes:
        kind: ``"numeric"`` or ``"categorical"``.
        values: float32, N; the codes of a categorical column.
        categories: names of the codes 0..K-1 of a categorical column, a missing cell's own category among them.
        integer: all known values of a numeric column are whole numbers.
        attribute: a categorical column as an attribute of the index; None of a numeric one.
    """

    kind: Kind
    values: np.ndarray
    categories: tuple[str, ...] = ()
    integer: bool = False
    attribute: Attribute | None = None


class NumericCells:
    """Cells of a numeric column, gathered block by block."""

    def __init__(self, name: str, missing: str) -> None:
        self.name, self.missing = name, missing
        self._values: list[np.ndarray] = []

    def add(self, block: Block, cells: Sequence[str]) -> None:
        """Parse further cells.

        Raises:
            UserError: one is no finite number that float32 can hold.
        """
        known = [cell for cell in cells if cell != self.missing]
        try:
            values = np.array(list(map(float, known)))
            fits = bool(np.all(np.abs(values) <= _LARGEST)) and "_" not in "".join(known)
        except ValueError:
            fits = False
        if not fits:
            row = next(row for row, cell in enumerate(cells) if cell != self.missing and not _is_number(cell))
            where = f"{block.where(row)}, column '{self.name}'"
            raise UserError(f"{where}: {cells[row]!r:.60} is no finite number (missing cells are '{self.missing}')")
        column = np.full(len(cells), np.nan, np.float32)
        column[[cell != self.missing for cell in cells] if len(known) < len(cells) else slice(None)] = values
        self._values.append(column)

    def finish(self) -> Parsed:
        """All cells as values; NaN is a missing one."""
        values = np.concatenate(self._values)
        known = values[~np.isnan(values)]
        return Parsed("numeric", values, integer=bool(np.all(known == np.floor(known))))


class CategoricalCells:
    """Cells of a categorical column, gathered block by block."""

    def __init__(self, name: str, missing: str, declared: list[str] | None) -> None:
        self.name, self.missing, self.declared = name, missing, declared
        self._allowed = {*(declared or ()), missing}
        self._coder = Coder(missing)

    def add(self, block: Block, cells: Sequence[str]) -> None:
        """Code further cells.

        Raises:
            UserError: one is none of the declared categories, or there are too many different ones.
        """
        if self.declared is not None and not self._allowed.issuperset(cells):
            row = next(row for row, cell in enumerate(cells) if cell not in self._allowed)
            where = f"{block.where(row)}, column '{self.name}'"
            raise UserError(f"{where}: {cells[row]!r:.60} is no declared category: {listed(self.declared)}")
        self._coder.add(cells)
        if self._coder.overflow:
            what = "call it numeric" if self._coder.numeric() else "leave it out"
            raise UserError(f"{block.file}: column '{self.name}' has more than {MAX_CLASSES} categories: {what}")

    def finish(self) -> Parsed:
        """All cells as codes, and the attribute that they make."""
        attribute = self._coder.attribute(self.declared)
        unknown = attribute.codes < 0
        categories = (*attribute.classes, self.missing) if unknown.any() else attribute.classes
        values = np.where(unknown, len(attribute.classes), attribute.codes).astype(np.float32)
        return Parsed("categorical", values, categories, attribute=attribute)


def _is_number(cell: str) -> bool:
    """Whether the cell is a number within float32's range; NaN, infinities and Python's ``1_000`` are none."""
    try:
        return abs(float(cell)) <= _LARGEST and "_" not in cell
    except ValueError:
        return False


def parser_of(name: str, kind: Kind | list[str], missing: str) -> NumericCells | CategoricalCells:
    """What parses a column's cells.

    Args:
        name: of the column.
        kind: ``"numeric"``, ``"categorical"`` or the list of its categories.
        missing: the mark of a missing cell.
    """
    if kind == "numeric":
        return NumericCells(name, missing)
    return CategoricalCells(name, missing, kind if isinstance(kind, list) else None)
