"""Steps that take a moment: they write, fail, die or wait as their words say. Run in a study's worker processes."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from diffshare.errors import UserError
from diffshare.study.engine.base import Find, Row, Study
from diffshare.study.engine.step import Place, Step


def act(words: list[str]) -> int:
    """``write FILE TEXT``, ``join FILE SOURCE...``, ``fail TEXT``, ``die``, ``wait FILE``, ``threads FILE``."""
    verb, *rest = words
    if verb == "write":
        with Path(rest[0]).open("a") as stream:
            stream.write(rest[1])
    elif verb == "join":
        Path(rest[0]).write_text("".join(Path(p).read_text() for p in rest[1:]))
    elif verb == "threads":
        Path(rest[0]).write_text(f"{os.environ['OMP_NUM_THREADS']} {os.getpid()}")
    elif verb == "fail":
        print(f"first line\n{rest[0]}", file=sys.stderr)
        return 2
    elif verb == "raise":
        raise ValueError("a fault of the program")
    elif verb == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif verb == "wait":
        Path(rest[0]).write_text("half")
        time.sleep(60)
    return 0


def fake(name: str, *commands: Sequence[str | Place], **more: object) -> Step:
    """A step of :func:`act`."""
    return Step(name, tuple(map(tuple, commands)), run="fake_steps:act", **more)  # type: ignore[arg-type]


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
        found = []
        for letter in self.letters:
            out = Place(letter, "out.txt")
            words = {"fail": ("fail", "told you so"), "wait": ("wait", out)}.get(letter, ("write", out, letter))
            found.append(fake(letter, words))
        return found

    def rows(self, find: Find) -> list[Row]:
        paths = {letter: find(Place(letter, "out.txt")) for letter in self.letters}
        return [{"letter": k, "nested": {"text": p.read_text(), "two": [1, None]}} for k, p in paths.items() if p]

    def summary(self, rows: Sequence[Row]) -> list[Row]:
        return [{"count": len(rows)}]

    def tables(self, rows: Sequence[Row], summary: Sequence[Row]) -> list[Table]:
        table = Table("letters")
        table.add_row(str(summary[0]["count"]))
        return [table]

    def figures(self, rows: Sequence[Row], summary: Sequence[Row], folder: Path) -> list[Path]:
        return []
