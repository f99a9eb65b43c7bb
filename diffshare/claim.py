"""A folder that one process works in for long: held by a lock, with a note of who holds it."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffshare.errors import UserError
from diffshare.layout import json_object
from diffshare.locks import hold
from diffshare.storage import write_json

LOCK, HOLDER = ".lock", ".lock.json"
_PATIENCE = (
    1.0  # seconds: another process of the same job may be looking whether the folder is held
)


@contextlib.contextmanager
def claim(folder: Path, busy: str, job: str | None = None) -> Iterator[bool]:
    """Hold a folder for this process within the block; make it where it is not there.

    The lock goes with the process, however that ends. A folder that was made for it and is empty in the end goes too.

    Args:
        folder: to hold.
        busy: what to say where another process holds it; ``{holder}`` in it becomes that process and its host.
        job: name of the job that several processes share, see :func:`check_shared`.

    Yields:
        whether a process that was killed had held it before.

    Raises:
        UserError: another process holds it, or it cannot be written to.
    """
    with contextlib.ExitStack() as held:
        try:
            if not folder.exists():
                held.callback(_remove_if_empty, folder)
            folder.mkdir(parents=True, exist_ok=True)
            mine = held.enter_context(hold(folder / LOCK, patience=_PATIENCE))
        except OSError as error:
            raise UserError(
                f"cannot write {folder}: {error.strerror}; choose a place that is writable"
            ) from error
        if not mine:
            raise UserError(busy.replace("{holder}", _holder(folder)))
        left = (folder / HOLDER).is_file()
        held.callback((folder / HOLDER).unlink, missing_ok=True)
        since, host = time.strftime("%Y-%m-%dT%H:%M:%S%z"), socket.gethostname()
        write_json(
            folder / HOLDER, {"process": os.getpid(), "host": host, "since": since, "job": job}
        )
        yield left


def check_shared(folder: Path, busy: str, job: str | None) -> None:
    """Refuse a folder that another job holds: for those of several processes of a job that do not hold it themselves.

    Args:
        folder: which one process of this job holds, or soon will.
        busy: as for :func:`claim`.
        job: name of this job.

    Raises:
        UserError: a living process on this machine holds it that is neither this one's parent nor of this job.
    """
    noted = _noted(folder)
    if noted is None or noted["host"] != socket.gethostname() or os.name != "posix":
        return
    if (
        noted["process"] == os.getppid()
        or (job is not None and noted["job"] == job)
        or not _lives(noted["process"])
    ):
        return
    with hold(folder / LOCK) as nobody:
        if not nobody:
            raise UserError(busy.replace("{holder}", _holder(folder)))


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _holder(folder: Path) -> str:
    noted = _noted(folder)
    return "another process" if noted is None else f"process {noted['process']} on {noted['host']}"


def _noted(folder: Path) -> dict[str, Any] | None:
    noted = json_object(folder / HOLDER)
    if (
        noted is None
        or type(noted.get("process")) is not int
        or not isinstance(noted.get("host"), str)
    ):
        return None
    return noted


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
