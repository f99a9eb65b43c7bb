"""How far a long loop is: a bar on a terminal; elsewhere an estimate early on, then one line a minute.

Whatever takes long counts in :func:`counting` or :func:`progress`, loops inside loops as well: what an inner one has
done is a part of an item of the outer one. Lines go to stdout: on stderr, what is wrong stands alone.
"""

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, TypeVar

from diffshare.terminal import cell_text, console, say

Item = TypeVar("Item")
Advance = Callable[..., None]
FIRST, EVERY = 10.0, 60.0  # seconds: to the estimate, and from one line to the next


@dataclass
class _Loop:
    """A loop under way: ``done`` of ``total`` items since ``began``, ``before`` of them before that."""

    title: str
    total: float
    began: float
    before: float = 0
    done: float = 0
    announced: bool = False
    task: Any = None


class _Display:
    """Shows the loops that are under way, the outermost first."""

    def __init__(self) -> None:
        self.loops: list[_Loop] = []
        self.quiet_since: float | None = None  # the last line, or the start of the work
        self.bars: Any = None

    def enter(self, loop: _Loop) -> None:
        if not self.loops:
            if self.quiet_since is None:
                self.quiet_since = loop.began
            self._open_bars()
        self.loops.append(loop)
        if self.bars is not None:
            loop.task = self.bars.add_task(cell_text(loop.title), total=loop.total, completed=loop.done)

    def leave(self, loop: _Loop) -> None:
        if loop not in self.loops:
            return
        for inner in self.loops[self.loops.index(loop) :]:  # one that was left by an exception, too
            if self.bars is not None:
                self.bars.remove_task(inner.task)
        del self.loops[self.loops.index(loop) :]
        if not self.loops and self.bars is not None:
            self.bars.stop()
            self.bars = None

    def advance(self, loop: _Loop, count: float) -> None:
        loop.done += count
        if self.bars is not None:
            self.bars.update(loop.task, completed=loop.done)
        elif multiprocessing.parent_process() is None:  # the parent counts what its workers do
            self._say_if_due(time.monotonic())

    def _open_bars(self) -> None:
        if sys.stderr.isatty():
            from rich.progress import Progress

            self.bars = Progress(console=console(stderr=True), transient=True)
            self.bars.start()

    def _say_if_due(self, now: float) -> None:
        outer = self.loops[0]
        left = self._left(now)
        early = not outer.announced and now - outer.began >= FIRST and left is not None and left >= FIRST
        if early or now - (self.quiet_since or now) >= EVERY:
            outer.announced, self.quiet_since = True, now
            say(self._line(now, left), flush=True)

    def _fraction(self) -> float:
        """Share of the outermost loop that is done, with what the inner ones have done of its present item."""
        share = 0.0
        for loop in reversed(self.loops):
            share = min((loop.done + share) / max(loop.total, 1), 1.0)
        return share

    def _left(self, now: float) -> float | None:
        """Seconds that the outermost loop still takes at its pace so far; None where nothing is done yet."""
        outer, share = self.loops[0], self._fraction()
        done = share - outer.before / max(outer.total, 1)
        return None if done <= 0 else (now - outer.began) * (1 - share) / done

    def _line(self, now: float, left: float | None) -> str:
        outer, *inner = self.loops
        parts = ", ".join(
            f"{one.title} {min(one.done, one.total):.0f} of {one.total:.0f}" for one in inner if one.total > 1
        )
        text = f"{outer.title}: {min(outer.done, outer.total):.0f} of {outer.total:.0f}"
        text += f" ({parts})" if parts else ""
        text += f", {duration(now - outer.began)}"
        return text if left is None else f"{text}, about {duration(left)} left"


_display = _Display()


def begin() -> None:
    """From now on something is done for the user: the first minute of silence starts here."""
    _display.quiet_since = time.monotonic()


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
    loop = _Loop(title, total, time.monotonic(), before, before)
    _display.enter(loop)
    try:
        yield lambda count=1: _display.advance(loop, count)
    finally:
        _display.leave(loop)


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


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``40 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
