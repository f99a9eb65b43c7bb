"""The process in which steps run: started once, so that the seconds of importing torch are spent once."""

import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from diffshare.errors import UserError
from diffshare.study.engine.folder import Job
from diffshare.study.engine.step import function_of
from diffshare.terminal import say, say_traceback


class Reply(NamedTuple):
    """What became of a job.

    Attributes:
        status: 0 where all went well, else as of a command.
        seconds: wall-clock time.
    """

    status: int
    seconds: float


def serve(connection: Connection) -> None:
    """Run jobs from ``connection`` until it closes.

    The process is its own session: a terminal's Ctrl-C reaches the parent alone, which passes it on once. It ends with
    the parent, however that ended.
    """
    if hasattr(os, "setsid"):
        os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        with contextlib.suppress(BrokenPipeError):
            connection.send(carry_out(job))


def carry_out(job: Job) -> Reply:
    """Call the function of a job, its output (that of C libraries too) going to its log."""
    started = time.perf_counter()
    environment = dict(os.environ)
    try:
        with _output_to(job.log):
            say(f"$ {job.function} {json.dumps(job.arguments, default=str)}", flush=True)
            status = 0
            try:
                function_of(job.function)(**job.arguments)
            except UserError as error:
                say(f"diffshare: {error}", error=True)
                status = 2
            except KeyboardInterrupt:
                status = 130
            except SystemExit as stop:
                status = stop.code if isinstance(stop.code, int) else 1
            except BaseException:
                say_traceback()
                status = 1
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()  # what a run sets (its seed, its folder) is not the next one's
        os.environ.update(environment)
        gc.collect()
    return Reply(status, time.perf_counter() - started)


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Within the block, file descriptors 1 and 2 are the end of ``log``."""
    before = [os.dup(1), os.dup(2)]
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        for descriptor in (1, 2):
            os.dup2(target, descriptor)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, old in zip((1, 2), before, strict=True):
            os.dup2(old, descriptor)
            os.close(old)
        os.close(target)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody is left to write down that the step is done
