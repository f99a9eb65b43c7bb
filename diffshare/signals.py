"""What asks a process to stop: Ctrl-C, what a cluster sends before it takes a machine, a terminal that closes."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_NAMES = {signal.SIGINT: "Ctrl-C"}
TERMINATING = tuple(
    signal.Signals[name] for name in ("SIGTERM", "SIGHUP") if name in signal.Signals.__members__
)


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: whoever tidies up after Ctrl-C tidies up after these as well."""


def exit_status(signum: int) -> int:
    """130 for Ctrl-C, 143 for the others."""
    return 130 if signum == signal.SIGINT else 143


def name_of(signum: int) -> str:
    """What a person calls the signal."""
    return _NAMES.get(signal.Signals(signum), signal.Signals(signum).name)


def heeded() -> list[signal.Signals]:
    """Ctrl-C and the terminating signals, without those that this process was started to ignore (``nohup``)."""
    return [s for s in (signal.SIGINT, *TERMINATING) if signal.getsignal(s) != signal.SIG_IGN]


def leave_dead_terminal() -> None:
    """Let output go nowhere where it went to a terminal that has closed: each print would be an error."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


@contextlib.contextmanager
def stoppable() -> Iterator[list[int]]:
    """Within the block a terminating signal raises :class:`Terminated` as Ctrl-C raises KeyboardInterrupt.

    Both unwind: files that are half-written go. Handlers are as they were afterwards. In another thread than the main
    one, which no signal reaches, nothing is changed.

    Yields:
        numbers of the signals that came: a library may turn the exception into one of its own.
    """
    came: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        came.append(signum)
        leave_dead_terminal()
        raise KeyboardInterrupt if signum == signal.SIGINT else Terminated

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {s: signal.signal(s, stop) for s in heeded()}
    try:
        yield came
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
