"""How far a long loop is: whoever shows it is told, and nobody else.

Whatever takes long counts in :func:`counting` or :func:`progress`, loops inside loops as well. Where nobody has asked
to be told (:func:`shown_by`) nothing is shown: the command line shows bars or lines (``diffshare.commands.progress``),
a notebook nothing.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Advance = Callable[..., None]


@dataclass
class Loop:
    """A loop under way: ``done`` of ``total`` items since ``began``, ``before`` of them before that."""

    title: str
    total: float
    began: float
    before: float = 0
    done: float = 0
    announced: bool = False
    task: Any = None


class Display(Protocol):
    """Who shows how far the loops are that are under way."""

    def enter(self, loop: Loop) -> None:
        """A loop begins, inside those that began before."""
        ...

    def advance(self, loop: Loop, count: float) -> None:
        """So many more of its items are done."""
        ...

    def leave(self, loop: Loop) -> None:
        """It has ended, in whichever way."""
        ...

    def tell(self, line: str) -> None:
        """What one should know before long work begins."""
        ...


class _Silent:
    def enter(self, loop: Loop) -> None:
        pass

    def advance(self, loop: Loop, count: float) -> None:
        pass

    def leave(self, loop: Loop) -> None:
        pass

    def tell(self, line: str) -> None:
        pass


SILENT: Display = _Silent()
_display = SILENT


def shown_by(display: Display) -> None:
    """From now on ``display`` is told of all loops of this process; ``SILENT`` shows nothing."""
    global _display
    _display = display


def tell(line: str) -> None:
    """Say what one should know before long work begins, such as how long it takes."""
    _display.tell(line)


@contextlib.contextmanager
def counting(title: str, total: float, before: float = 0) -> Iterator[Advance]:
    """Count what a block does.

    Args:
        title: what it does.
        total: how many items there are.
        before: how many of them were done earlier.

    Yields:
        a function to call after each item, or with a number of them, which may be a fraction.
    """
    display, loop = _display, Loop(title, total, time.monotonic(), before, before)
    display.enter(loop)
    try:
        yield lambda count=1: display.advance(loop, count)
    finally:
        display.leave(loop)


def progress(items: Iterable[Item], title: str, total: int | None = None) -> Iterator[Item]:
    """The items, counted.

    Args:
        items: to go through.
        title: what is done with them.
        total: how many there are; their own length where None.
    """
    if total is None:
        assert isinstance(items, Sized)
        total = len(items)
    with counting(title, total) as advance:
        for item in items:
            yield item
            advance()
