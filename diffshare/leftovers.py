"""What writers that were killed have left beside a place, and the lock that tells the dead from the living.

While a file or folder NAME is written, ``.NAME.diffshare-XXXXXXXX.part`` lies beside it; where another folder has to
make way, that is ``.NAME.diffshare-XXXXXXXX.old`` for an instant. Whoever writes holds ``.NAME.lock``: where nobody
does, they are leftovers.
"""

import contextlib
import hashlib
import os
import re
import shutil
from pathlib import Path

from diffshare.locks import hold

MOST_BYTES = 255  # of a name, on all common file systems
_ROOM = 40  # bytes that a temporary name adds
_MARK = "diffshare-"
_TEMPORARY = re.compile(rf"\.(.+)\.{_MARK}[a-z0-9_]{{8}}\.(part|old)", re.DOTALL)
_OF_A_RUN = re.compile(rf"\.(.+)\.(?:(?:{_MARK})?[a-z0-9_]+\.(?:part|old)|lock)", re.DOTALL)


def stem(path: Path) -> str:
    """What the names of temporary files for ``path`` begin with: its own name, or a hash where that is long."""
    raw = os.fsencode(path.name)
    return path.name if len(raw) <= MOST_BYTES - _ROOM else hashlib.sha256(raw).hexdigest()


def prefix(path: Path) -> str:
    """What the name of a temporary file or folder for ``path`` begins with."""
    return f".{stem(path)}.{_MARK}"


def lock_of(path: Path) -> Path:
    """The lock's file of whoever writes ``path``."""
    return path.with_name(f".{stem(path)}.lock")


def tidy(path: Path) -> None:
    """Do away with the leftovers of a place whose lock is held.

    A folder is moved aside only for one that is whole: where both are there and the place is empty, the whole one
    takes it; where only the one that was moved aside is there, it comes back.
    """
    # what was moved aside comes first
    for leftover, kind in sorted(_leftovers(path), key=lambda one: one[1]):
        whole = leftover.with_suffix(".part")
        if kind == "old" and not os.path.lexists(path):
            (whole if whole.is_dir() else leftover).rename(path)
        if os.path.lexists(leftover):
            _remove(leftover)


def restore(path: Path) -> None:
    """Finish what a writer was killed at between moving a folder aside and putting another in its place."""
    if os.path.lexists(path) or not any(kind == "old" for _, kind in _leftovers(path)):
        return
    with contextlib.suppress(OSError), hold(lock_of(path)) as mine:
        if mine:
            tidy(path)


def sweep(folder: Path) -> None:
    """Do away with what killed writers left in a run's folder, which is diffshare's own, those of earlier versions too.

    What somebody writes there now is left alone.
    """
    for path in sorted(folder.glob(".*")):
        match = _OF_A_RUN.fullmatch(path.name)
        if match is None:
            continue
        with contextlib.suppress(OSError), hold(folder / f".{match[1]}.lock") as mine:
            if mine:
                tidy(folder / match[1])
                _remove(path)


def _leftovers(path: Path) -> list[tuple[Path, str]]:
    """Temporary files and folders of this place: ``part`` was being written, ``old`` was moved aside."""
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        matches = [(Path(entry.path), _TEMPORARY.fullmatch(entry.name)) for entry in entries]
        return [
            (leftover, match[2]) for leftover, match in matches if match and match[1] == stem(path)
        ]
    return []


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
