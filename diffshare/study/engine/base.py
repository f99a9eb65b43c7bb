"""What a study is: steps, and what is made of their results. A new study is one class, named in YAML."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from diffshare.storage import read_json
from diffshare.study.engine.step import Place, Step, with_places

Row = dict[str, Any]
Find = Callable[[Place], Path | None]


def left_at(find: Find, place: Place) -> Any:
    """The JSON that a step left at a place; None where the step is not done."""
    path = find(place)
    return None if path is None else read_json(path)


class Study(ABC):
    """A grid of whole experiments.

    The signature of ``__init__`` is the schema of its YAML. The methods below ``steps`` are called when nothing is left
    to run; with steps that failed, they use what the others left.
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


def under(prefix: str, steps: Iterable[Step]) -> list[Step]:
    """The steps of a study that is part of another: ``prefix`` before their names and their places.

    Args:
        prefix: what comes before the names, so that several of one kind stand side by side.
        steps: a study's, all that any of them needs among them.
    """

    def moved(place: Place) -> Place:
        return Place(prefix + place.step, place.path)

    return [
        replace(
            step,
            name=prefix + step.name,
            arguments=with_places(step.arguments, moved),
            after=tuple(prefix + name for name in step.after),
        )
        for step in steps
    ]


def find_under(prefix: str, find: Find) -> Find:
    """A ``find`` for the study whose steps were put under ``prefix``."""
    return lambda place: find(Place(prefix + place.step, place.path))
