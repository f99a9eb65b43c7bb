"""What a study is: steps, and what is made of their results. A new study is one class, named in YAML."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from diffshare.study.engine.step import Place, Step

Row = dict[str, Any]
Find = Callable[[Place], Path | None]


class Study(ABC):
    """A grid of whole experiments.

    The signature of ``__init__`` is the schema of its YAML. The methods below ``steps`` are called when nothing is left
    to run; with steps that failed, they make what can be made of the others.
    """

    @abstractmethod
    def steps(self) -> list[Step]:
        """All steps of the grid; they run in this order where what they need allows it."""

    @abstractmethod
    def rows(self, find: Find) -> list[Row]:
        """One row a cell of the grid, of plain JSON values, for ``results.json`` and ``results.csv``.

        Args:
            find: path of what a step left, or None where that step is not done.
        """

    @abstractmethod
    def summary(self, rows: Sequence[Row]) -> list[Row]:
        """What the rows say together, with intervals; plain JSON values."""

    @abstractmethod
    def tables(self, rows: Sequence[Row], summary: Sequence[Row]) -> list[Table]:
        """Tables for the terminal."""

    @abstractmethod
    def figures(self, rows: Sequence[Row], summary: Sequence[Row], folder: Path) -> list[Path]:
        """Draw into ``folder``; the files made."""
