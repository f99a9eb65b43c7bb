"""How far a verb is: a bar on a terminal; elsewhere an estimate early on, then one line a minute.

What an inner loop has done is a part of an item of the outer one. Lines go to stdout: on stderr, what is wrong stands
alone.
"""

import multiprocessing
import sys
import time
from typing import Any

from diffshare.commands.flags import in_flags
from diffshare.progress import Loop, shown_by
from diffshare.terminal import cell_text, console, say

FIRST, EVERY = 10.0, 60.0  # seconds: to the estimate, and from one line to the next


def begin() -> None:
    """From now on something is done for the user: the first minute of silence starts here."""
    shown_by(Shown(time.monotonic()))


class Shown:
    """Shows the loops that are under way, the outermost first."""

    def __init__(self, quiet_since: float | None = None) -> None:
        self.loops: list[Loop] = []
        self.quiet_since = quiet_since  # the last line, or the start of the work
        self.bars: Any = None

    def enter(self, loop: Loop) -> None:
        """See :class:`diffshare.progress.Display`."""
        if not self.loops:
            if self.quiet_since is None:
                self.quiet_since = loop.began
            self._open_bars()
        self.loops.append(loop)
        if self.bars is not None:
            loop.task = self.bars.add_task(
                cell_text(loop.title), total=loop.total, completed=loop.done
            )

    def leave(self, loop: Loop) -> None:
        """See :class:`diffshare.progress.Display`."""
        if loop not in self.loops:
            return
        for inner in self.loops[self.loops.index(loop) :]:  # one that was left by an exception, too
            if self.bars is not None:
                self.bars.remove_task(inner.task)
        del self.loops[self.loops.index(loop) :]
        if not self.loops and self.bars is not None:
            self.bars.stop()
            self.bars = None

    def advance(self, loop: Loop, count: float) -> None:
        """See :class:`diffshare.progress.Display`."""
        loop.done += count
        if self.bars is not None:
            self.bars.update(loop.task, completed=loop.done)
        elif multiprocessing.parent_process() is None:  # the parent counts what its workers do
            self._say_if_due(time.monotonic())

    def tell(self, line: str) -> None:
        """See :class:`diffshare.progress.Display`."""
        say(in_flags(line), flush=True)

    def _open_bars(self) -> None:
        if sys.stderr.isatty():
            from rich.progress import Progress

            self.bars = Progress(console=console(stderr=True), transient=True)
            self.bars.start()

    def _say_if_due(self, now: float) -> None:
        outer = self.loops[0]
        left = self._left(now)
        early = (
            not outer.announced
            and now - outer.began >= FIRST
            and left is not None
            and left >= FIRST
        )
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
            f"{one.title} {min(one.done, one.total):.0f} of {one.total:.0f}"
            for one in inner
            if one.total > 1
        )
        text = f"{outer.title}: {min(outer.done, outer.total):.0f} of {outer.total:.0f}"
        text += f" ({parts})" if parts else ""
        text += f", {duration(now - outer.began)}"
        return text if left is None else f"{text}, about {duration(left)} left"


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``40 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
