"""Runs the steps of a study on this machine, a few processes at a time."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from diffshare.errors import check_number
from diffshare.provenance import code_revision, versions
from diffshare.study.engine.folder import Job, StudyFolder
from diffshare.study.engine.worker import Reply, serve

PATIENCE = 120.0  # seconds that interrupted steps have to save their state


@dataclass(frozen=True)
class Failure:
    """A step that failed.

    Attributes:
        step: its name.
        log: file that holds its output.
        reason: the last line of the log, or how its process ended.
    """

    step: str
    log: Path
    reason: str


class Watcher:
    """Is told what happens, and does nothing about it; a subclass shows it."""

    def begun(self, total: int, done: int) -> None:
        """A study of so many steps begins, of which some were done before."""

    def started(self, name: str) -> None:
        """A step begins."""

    def finished(self, name: str, seconds: float) -> None:
        """A step is done."""

    def failed(self, failure: Failure) -> None:
        """A step has failed."""

    def ended(self) -> None:
        """No further step begins."""


class Runner(Protocol):
    """Carries out what is left to do of a study; a cluster's runner is one more class with this method."""

    def run(self, folder: StudyFolder, watcher: Watcher) -> list[Failure]:
        """Run all steps that are not done and whose needs are; mark each that ends well with ``folder.finish``.

        Raises:
            KeyboardInterrupt: stopped by Ctrl-C, after the steps under way have saved what they can.
        """
        ...


class LocalRunner:
    """Some long-lived processes on this machine.

    Args:
        workers: processes at once.
        threads: threads of each; the cores, shared out, where None. Results depend on it in the last bits of a sum,
            so it is recorded with each step.
    """

    def __init__(self, workers: int = 1, threads: int | None = None) -> None:
        check_number("`workers`", workers, 1)
        check_number("`threads`", threads, 1)
        self.workers = workers
        self.threads = threads or max(1, _cores() // workers)

    def run(self, folder: StudyFolder, watcher: Watcher) -> list[Failure]:
        """See :class:`Runner`."""
        record = {"threads": self.threads, "revision": code_revision(), "versions": versions()}
        waiting = [name for name in folder.steps if not folder.is_done(name)]
        failures: list[Failure] = []
        idle: list[_Worker] = []
        busy: list[_Worker] = []

        def collect(timeout: float | None = None) -> None:
            ready = wait([worker.connection for worker in busy], timeout)
            for worker in [worker for worker in busy if worker.connection in ready]:
                busy.remove(worker)
                job, reply = worker.result()
                if isinstance(reply, Reply):
                    idle.append(worker)
                if isinstance(reply, Reply) and reply.status == 0:
                    folder.finish(job.name, reply.seconds, record)
                    watcher.finished(job.name, reply.seconds)
                else:
                    failures.append(Failure(job.name, job.log, _reason(job, reply)))
                    watcher.failed(failures[-1])

        try:
            while True:
                for name in [
                    name for name in waiting if all(map(folder.is_done, folder.steps[name].needs))
                ]:
                    if len(busy) == self.workers:
                        break
                    waiting.remove(name)
                    worker = idle.pop() if idle else _Worker(self.threads)
                    busy.append(worker)
                    watcher.started(name)
                    worker.start(folder.begin(name))
                if not busy:
                    return failures
                collect()
        except KeyboardInterrupt:
            self._wind_up(busy, collect)
            raise
        finally:
            for worker in idle + busy:
                worker.end()

    @staticmethod
    def _wind_up(busy: "list[_Worker]", collect: Callable[[float], None]) -> None:
        """Pass a stop on once and give the steps time to save their state; a second one does not wait."""
        deadline = time.monotonic() + PATIENCE
        for worker in busy:
            worker.interrupt()
        while busy and time.monotonic() < deadline:
            collect(1.0)


class _Worker:
    """One process and the line to it."""

    def __init__(self, threads: int) -> None:
        # a fork of a process that has torch's threads may hang
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.job: Job | None = None
        with _threads(threads):
            self.process: BaseProcess = context.Process(target=serve, args=(theirs,), daemon=False)
            self.process.start()
        theirs.close()  # so that the end of the process is seen as the end of the line

    def start(self, job: Job) -> None:
        self.job = job
        with contextlib.suppress(BrokenPipeError):  # dead already: result() says so
            self.connection.send(job)

    def result(self) -> tuple[Job, Reply | int]:
        """The job and its reply, or the exit code of the process where it died over it."""
        assert self.job is not None
        try:
            return self.job, self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return self.job, self.process.exitcode or 1

    def interrupt(self) -> None:
        if self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGINT)

    def end(self) -> None:
        self.connection.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _reason(job: Job, reply: Reply | int) -> str:
    if isinstance(reply, int):
        if reply == -9:
            return "its process was killed (signal 9): out of memory? Try fewer `workers`"
        return f"its process died ({f'signal {-reply}' if reply < 0 else f'exit status {reply}'})"
    if reply.status in (130, 143):
        return "stopped by Ctrl-C" if reply.status == 130 else "stopped by SIGTERM or SIGHUP"
    lines = job.log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return last.removeprefix("diffshare: ") or f"exit status {reply.status}"


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Within the block, a process that starts computes with so many threads (torch reads this when it is imported)."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
