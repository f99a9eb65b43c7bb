"""What the documentation's tables are made of: kept results, and figures that print themselves with their interval."""

import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from diffshare.storage import read_json  # noqa: E402

RESULTS = ROOT / "docs" / "results"


@cache
def kept(name: str) -> Any:
    """The content of ``docs/results/NAME.json``."""
    return read_json(RESULTS / f"{name}.json", limit=1 << 28)


@dataclass(frozen=True)
class Estimate:
    """A number with an interval, for templates.

    ``{x:.2f}`` is ``0.28 (0.14 to 0.41)``; ``{x:.0f %}`` has the unit once, ``28 % (14 to 41)``; ``{x.mean:.2f}``,
    ``{x.low:.2f}`` and ``{x.high:.2f}`` are single numbers. What is not known is ``undefined``, an unknown interval
    left out.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None

    def __format__(self, spec: str) -> str:
        number, _, unit = spec.partition(" ")
        if self.mean is None:
            return "undefined"
        text = f"{self.mean:{number}}{' ' if unit else ''}{unit}"
        ends = "" if self.low is None else f" ({self.low:{number}} to {self.high:{number}})"
        return text + ends

    def times(self, factor: float) -> "Estimate":
        """Each number multiplied; a negative factor turns the interval."""
        if self.mean is None:
            return self
        if self.low is None or self.high is None:
            return Estimate(self.mean * factor)
        return Estimate(self.mean * factor, *sorted((self.low * factor, self.high * factor)))


def estimate(entry: Mapping[str, Any], value: str = "mean", interval: str = "interval") -> Estimate:
    """An entry of a summary: its value and its interval ([low, high] or null)."""
    return Estimate(entry[value], *(entry[interval] or (None, None)))


def one(entries: Iterable[Mapping[str, Any]], **wanted: Any) -> Any:
    """The only entry with these values.

    Raises:
        LookupError: there is none, or more than one.
    """
    matching = [
        entry
        for entry in entries
        if all(entry.get(name) == value for name, value in wanted.items())
    ]
    if len(matching) != 1:
        raise LookupError(f"{len(matching)} entries have {wanted}")
    return matching[0]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def rounded(value: float, digits: int) -> str:
    """A number with so many significant digits, thousands set apart: 12,581 with 3 digits is 12,600."""
    return f"{float(f'{value:.{digits}g}'):,.0f}"


def wrapped(text: str) -> str:
    """Text in lines of the documentation's width; the lines of a list item are set in."""
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(
        text, 118, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
