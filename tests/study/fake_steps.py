"""Steps that take a moment: they write, join, fail, die or wait. Run in a study's worker processes."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from diffshare.errors import UserError
from diffshare.study.engine.base import Find, Row, Study
from diffshare.study.engine.step import Place, Step


def write(out: Path, text: str, **_: Any) -> None:
    """Append a text, whatever else is said."""
    with out.open("a") as stream:
        stream.write(text)


def join(out: Path, sources: Sequence[Path]) -> None:
    """The texts of other steps, one after the other."""
    out.write_text("".join(path.read_text() for path in sources))


def threads(out: Path) -> None:
    """How many threads the process has, and which it is."""
    out.write_text(f"{os.environ['OMP_NUM_THREADS']} {os.getpid()}")


def fail(out: Path) -> None:
    """A mistake of the user, after something was written and said."""
    out.write_text("half")
    print("first line", file=sys.stderr)
    raise UserError("no such thing: mend it")


def leave(status: int) -> None:
    """As a verb that has told what was wrong."""
    print("diffshare: told you so", file=sys.stderr)
    sys.exit(status)


def fault() -> None:
    """A fault of the program."""
    raise ValueError("a fault of the program")


def die() -> None:
    """As if memory had run out."""
    os.kill(os.getpid(), signal.SIGKILL)


def wait(out: Path) -> None:
    """Begin, and take a minute."""
    out.write_text("half")
    time.sleep(60)


def fake(name: str, function: str, *, more: dict[str, Any] | None = None, **arguments: Any) -> Step:
    """A step of one of these functions; ``more`` are fields of the step."""
    return Step(name, f"fake_steps:{function}", arguments, **(more or {}))


class Letters(Study):
    """One step a letter; ``fail`` and ``wait`` do that.

    Args:
        letters: the grid.
    """

    def __init__(self, letters: list[str]) -> None:
        if len(letters) > 3:
            raise UserError("four letters are too many: give three")
        self.letters = letters

    def steps(self) -> list[Step]:
        steps = []
        for letter in self.letters:
            out = Place(letter, "out.txt")
            special = {
                "fail": fake(letter, "leave", status=2),
                "wait": fake(letter, "wait", out=out),
            }
            steps.append(special.get(letter, fake(letter, "write", out=out, text=letter)))
        return steps

    def rows(self, find: Find) -> list[Row]:
        paths = {letter: find(Place(letter, "out.txt")) for letter in self.letters}
        return [
            {"letter": k, "nested": {"text": p.read_text(), "two": [1, None]}}
            for k, p in paths.items()
            if p
        ]

    def summary(self, rows: Sequence[Row]) -> list[Row]:
        return [{"count": len(rows)}]

    def tables(self, rows: Sequence[Row], summary: Sequence[Row]) -> list[Table]:
        table = Table("letters")
        table.add_row(str(summary[0]["count"]))
        return [table]

    def figures(self, rows: Sequence[Row], summary: Sequence[Row], folder: Path) -> list[Path]:
        return []
