"""Shows how far a study is: a bar on a terminal, one line a step elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from diffshare.study.engine.local import Failure, Watcher
from diffshare.terminal import cell_text, printable


class StudyProgress(Watcher):
    """Steps done, steps under way, and about how long the rest takes.

    Args:
        console: where to show it.
    """

    def __init__(self, console: Console) -> None:
        self.console, self.total, self.before, self.done = console, 0, 0, 0
        self.began = time.monotonic()
        self.under_way: list[str] = []
        columns = (
            TextColumn("{task.description}"),
            BarColumn(20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self.bar = Progress(*columns, TextColumn("{task.fields[left]}"), console=console)
        self.task = self.bar.add_task("study", left="")

    def begun(self, total: int, done: int) -> None:
        """A study begins."""
        self.total, self.before, self.done, self.began = total, done, done, time.monotonic()
        self.bar.update(self.task, total=total, completed=done)
        if self.console.is_terminal:
            self.bar.start()
        elif done:
            self._line(f"{done} of {total} steps are done already")

    def ended(self) -> None:
        """No further step begins."""
        self.bar.stop()

    def started(self, name: str) -> None:
        """A step begins."""
        self.under_way.append(name)
        self._show()

    def finished(self, name: str, seconds: float) -> None:
        """A step is done."""
        self.under_way.remove(name)
        self.done += 1
        if not self.console.is_terminal:
            left = f", {self.left()}" if self.left() else ""
            self._line(f"[{self.done}/{self.total}] {name}: {seconds:.1f} s{left}")
        self._show()

    def failed(self, failure: Failure) -> None:
        """A step has failed."""
        self.under_way.remove(failure.step)
        self._line(f"failed: {failure.step}: {failure.reason} (log: {failure.log})")
        self._show()

    def left(self) -> str:
        """About how long the rest takes, from the mean of the steps done in this call; empty before the first."""
        fresh = self.done - self.before
        if not fresh or self.done == self.total:
            return ""
        seconds = (time.monotonic() - self.began) / fresh * (self.total - self.done)
        return (
            f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"
        )

    def _line(self, text: str) -> None:
        self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def _show(self) -> None:
        self.bar.update(
            self.task,
            completed=self.done,
            description=cell_text(", ".join(self.under_way) or "study"),
            left=self.left(),
        )
