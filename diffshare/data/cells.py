"""The cells of a table's columns: text to float32 values, gathered block by block (see ``diffshare.data.table``)."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from diffshare.classes import listed
from diffshare.data.coding import MAX_CLASSES, Coder
from diffshare.data.csvfile import Block
from diffshare.data.source import Attribute
from diffshare.errors import UserError
from diffshare.release.table import MOST_DECIMALS

Kind = Literal["numeric", "categorical"]
_EXACT = 1 << 24  # float32 holds every whole number up to this one
_WHOLE = re.compile(r"\s*[-+]?\d+(\.0*)?\s*")


class Parsed(NamedTuple):
    """A whole column.

    Attributes:
        kind: ``"numeric"`` or ``"categorical"``.
        values: float32, N; the codes of a categorical column.
        categories: names of the codes 0..K-1 of a categorical column, a missing cell's own category among them.
        integer: all known values of a numeric column are whole numbers.
        decimals: most decimals that a cell of a numeric column has; None where they are not fixed (an exponent, more
            than six, or more than float32 holds).
        attribute: a categorical column as an attribute of the index; None of a numeric one.
        exact: the numbers as they were written, float64, N, or the values themselves where these hold them; None of a
            categorical column.
    """

    kind: Kind
    values: np.ndarray
    categories: tuple[str, ...] = ()
    integer: bool = False
    decimals: int | None = None
    attribute: Attribute | None = None
    exact: np.ndarray | None = None


class NumericCells:
    """Cells of a numeric column, gathered block by block."""

    def __init__(self, name: str, missing: str) -> None:
        self.name, self.missing = name, missing
        self._values: list[np.ndarray] = []
        self._decimals: int | None = 0
        self._inexact = ""  # the first whole number that float32 cannot hold, and where it stands

    def add(self, block: Block, cells: Sequence[str]) -> None:
        """Parse further cells.

        Raises:
            UserError: one is no finite number that float32 can hold.
        """
        known = [cell for cell in cells if cell != self.missing]
        try:
            values = np.array(list(map(float, known)), np.float64)
            fits = bool(np.isfinite(_held(values)).all()) and "_" not in "".join(known)
        except ValueError:
            fits = False
        if not fits:
            row = next(
                row
                for row, cell in enumerate(cells)
                if cell != self.missing and not _is_number(cell)
            )
            where = f"{block.where(row)}, column '{self.name}'"
            raise UserError(
                f"{where}: {cells[row]!r:.60} is no finite number (missing cells are '{self.missing}')"
            )
        column = np.full(len(cells), np.nan)
        column[
            [cell != self.missing for cell in cells] if len(known) < len(cells) else slice(None)
        ] = values
        self._values.append(column)
        self._note_decimals(known)
        if not self._inexact and len(known) and np.abs(values).max() > _EXACT:
            self._note_inexact(block, cells)

    def _note_decimals(self, cells: Sequence[str]) -> None:
        joined = "".join(cells)
        if self._decimals is None or "." not in joined and "e" not in joined and "E" not in joined:
            return
        if "e" in joined or "E" in joined:
            self._decimals = None
            return
        most = max(len(cell.rstrip().partition(".")[2]) for cell in cells)
        self._decimals = max(self._decimals, most) if most <= MOST_DECIMALS else None

    def _note_inexact(self, block: Block, cells: Sequence[str]) -> None:
        for row, cell in enumerate(cells):
            if cell != self.missing and abs(float(cell)) > _EXACT and _WHOLE.fullmatch(cell):
                held = int(np.float32(cell))
                if held != int(cell.partition(".")[0]):
                    self._inexact = f"{block.where(row)}, column '{self.name}': {cell!r:.60} would become {held}"
                    return

    def finish(self) -> Parsed:
        """All cells as values; NaN is a missing one.

        Raises:
            UserError: float32 cannot hold what the column says: it is one of whole numbers with one that is rounded, or
                most of its different values would be the same.
        """
        exact = np.concatenate(self._values)
        self._values.clear()
        values = _held(exact)
        known = exact[~np.isnan(exact)]
        integer = bool(np.all(known == np.floor(known)))
        if integer and self._inexact:
            raise UserError(
                f"{self._inexact}, float32 holds whole numbers up to {_EXACT} alone: leave a key out, give a time or "
                "an amount in a larger unit"
            )
        if (left := _share_left(known)) < 0.5:
            raise UserError(
                f"column '{self.name}': {left:.0%} of its different numbers (such as {float(known[0])!r}) stay "
                "different in float32: give them as differences from a fixed number, or leave the column out"
            )
        return Parsed(
            "numeric",
            values,
            integer=integer,
            decimals=self._fixed_decimals(known),
            exact=values if np.array_equal(values, exact, equal_nan=True) else exact,
        )

    def _fixed_decimals(self, known: np.ndarray) -> int | None:
        """The decimals, if float32 holds all of them: else what is written with so many is another number."""
        if self._decimals is None or not len(known):
            return None
        held = known.astype(np.float32).astype(np.float64)
        return (
            self._decimals
            if np.array_equal(held.round(self._decimals), known.round(self._decimals))
            else None
        )


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
            raise UserError(
                f"{where}: {cells[row]!r:.60} is no declared category: {listed(self.declared)}"
            )
        self._coder.add(cells)
        if self._coder.overflow:
            what = "call it numeric" if self._coder.numeric() else "leave it out"
            raise UserError(
                f"{block.file}: column '{self.name}' has more than {MAX_CLASSES} categories: {what}"
            )

    def finish(self) -> Parsed:
        """All cells as codes, and the attribute that they make."""
        attribute = self._coder.attribute(self.declared)
        unknown = attribute.codes < 0
        categories = (*attribute.classes, self.missing) if unknown.any() else attribute.classes
        values = np.where(unknown, len(attribute.classes), attribute.codes).astype(np.float32)
        return Parsed("categorical", values, categories, attribute=attribute)


def _held(values: np.ndarray) -> np.ndarray:
    """Numbers as float32 holds them; infinite beyond its range."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _share_left(known: np.ndarray) -> float:
    """Share of the different values that are still different in float32."""
    held = known.astype(np.float32)
    if np.array_equal(held, known):
        return 1.0
    return len(np.unique(held)) / len(np.unique(known))


def _is_number(cell: str) -> bool:
    """Whether the cell is a number within float32's range; NaN, infinities and Python's ``1_000`` are none."""
    try:
        return bool(np.isfinite(_held(np.array(float(cell))))) and "_" not in cell
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
