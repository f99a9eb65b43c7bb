"""Locks between processes: one holds a place, and its lock goes with it, however it ends."""

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

# what a file system says that knows no locks
_NONE = (
    errno.ENOLCK,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
)
_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def hold(path: Path, *, waiting: str | None = None, patience: float = 0) -> Iterator[bool]:
    """Hold the lock ``path`` within the block; the file is gone afterwards.

    The lock is the operating system's: a process that is killed holds none, and no child of a holder does. Where a file
    system has no such locks, the file names its process, and one that is dead on this machine counts for nothing.

    Args:
        path: of the lock's file; its folder exists.
        waiting: what to tell the user where another process holds it, before waiting for that one; do not wait
            where None.
        patience: seconds to try for before that.

    Yields:
        whether it is held: False only where it is not waited for.

    Raises:
        OSError: the file cannot be made, or belongs to another user.
    """
    lock = _taken(path, FileLock, patience)
    if lock is None and waiting is not None:
        _logger.warning("%s: waiting for it", waiting)
        lock = FileLock(path, mode=0o600, thread_local=False)
        lock.acquire(poll_interval=0.1)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            # while it is held: whoever opened it meanwhile sees that it has no name
            with contextlib.suppress(OSError):
                os.unlink(path)
            lock.release()


def _taken(path: Path, kind: type[BaseFileLock], patience: float) -> BaseFileLock | None:
    """The lock, held; None where another has it."""
    lock = kind(path, mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        return None
    except OSError as error:
        if error.errno not in _NONE or kind is SoftFileLock:
            raise
        return _taken(path, SoftFileLock, patience)
    return lock
