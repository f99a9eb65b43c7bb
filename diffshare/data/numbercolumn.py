"""A whole column of a table file, and what float32 makes of one of numbers."""

from typing import NamedTuple

import numpy as np

from diffshare.data.cells import Kind
from diffshare.data.coding import MAX_CLASSES
from diffshare.data.source import Attribute
from diffshare.errors import UserError
from diffshare.release.table import MOST_DECIMALS

_WHOLE = float(1 << 53)  # from here on float64, as which numbers come, rounds whole ones


class Column32(NamedTuple):
    """A whole column.

    Attributes:
        kind: ``"numeric"`` or ``"categorical"``; None where it is neither, and ``reason`` says why.
        values: float32, N: numbers, or codes of the categories; empty where it is neither.
        categories: names of the codes 0..K-1, the mark of a missing cell last if one is missing.
        attribute: the column as an attribute; None where it has too many or other than whole numbers.
        numbers: exact numbers, float64, N, NaN where missing; None where ``values`` and ``decimals`` give them, and of
            categories.
        integer: all known numbers are whole.
        decimals: that all known numbers have at most; None where they have no such number.
        missing: cells that are missing.
        reason: why it is no column of the table, in words that follow its name.
        notes: what was decided on it, in words that follow its name.
    """

    kind: Kind | None
    values: np.ndarray
    categories: tuple[str, ...] = ()
    attribute: Attribute | None = None
    numbers: np.ndarray | None = None
    integer: bool = False
    decimals: int | None = None
    missing: int = 0
    reason: str = ""
    notes: tuple[str, ...] = ()


def numeric_column(
    name: str,
    exact: np.ndarray,
    attribute: Attribute | None,
    notes: tuple[str, ...],
    *,
    asked: bool,
) -> Column32:
    """A column of numbers as float32, if float32 tells them apart.

    Args:
        name: of the column.
        exact: float64, N, NaN where missing.
        attribute: its different numbers as classes, where there are few.
        notes: on it.
        asked: it was asked for by name, so that what does not fit is refused and not left out.

    Raises:
        UserError: float32 does not hold the numbers, and it was asked for.
    """
    with np.errstate(over="ignore"):
        values = exact.astype(np.float32)
    gone = np.isnan(exact)
    missing = int(gone.sum())
    known, held = (exact[~gone], values[~gone]) if missing else (exact, values)
    integer = bool((known == np.floor(known)).all())
    decimals = _decimals(known, held)
    # where rounding gives the numbers back none of them fell together
    reason = "" if decimals is not None else _unheld(known, held, integer)
    if integer and len(known) and np.abs(known).max() > _WHOLE:
        reason = "has whole numbers beyond 2**53"
    if reason and asked:
        raise UserError(f"column '{name}' {reason}: leave it out, or give it in larger units")
    if reason:
        return Column32(None, np.zeros(0, np.float32), (), attribute, exact, integer, reason=reason)
    told = decimals is not None or np.array_equal(held, known)
    kept = None if told else exact
    return Column32("numeric", values, (), attribute, kept, integer, decimals, missing, notes=notes)


def restored(values: np.ndarray, decimals: int | None) -> np.ndarray:
    """The numbers, float64, that were rounded to float32, where they have so few decimals; else as they are."""
    exact = values.astype(np.float64)
    return exact if decimals is None else exact.round(decimals)


def _unheld(known: np.ndarray, held: np.ndarray, integer: bool) -> str:
    if not np.isfinite(held).all():
        return "has numbers beyond float32's range"
    if np.array_equal(held, known):
        return ""
    if integer:
        first = known[held != known][0]
        return f"has whole numbers that float32 rounds, such as {first:.0f}"
    apart = len(np.unique(held))
    if 2 * apart >= len(known):
        return ""
    left = apart / len(np.unique(known))
    return "" if left >= 0.5 else f"has numbers of which float32 keeps only {left:.0%} apart"


def _decimals(known: np.ndarray, held: np.ndarray) -> int | None:
    """The least decimals, at most six, to which what float32 holds is rounded to the numbers themselves; else None."""
    for decimals in range(MOST_DECIMALS + 1):
        # a few tell soon that it is not enough
        if np.array_equal(known[:1000].round(decimals), known[:1000]) and np.array_equal(
            restored(held, decimals), known
        ):
            return decimals
    return None


def whole_attribute(numbers: np.ndarray) -> Attribute | None:
    """Numbers by their different ones, if these are whole and at most 1000; else None.

    Args:
        numbers: float64, N, NaN where not known.
    """
    known = np.unique(numbers[~np.isnan(numbers)])
    if not 0 < len(known) <= MAX_CLASSES or not (known == np.floor(known)).all():
        return None
    codes = np.searchsorted(known, numbers)
    codes[np.isnan(numbers)] = -1
    return Attribute(codes.astype(np.int16), tuple(f"{value:.0f}" for value in known))
