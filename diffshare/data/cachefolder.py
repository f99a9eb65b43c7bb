"""The folder of the caches: whose it is, what lies in it, and what goes first where it is to stay small.

It holds ``KEY/`` (decoded records), ``samples/KEY/`` (samples that were drawn for a classifier) and ``limit.json``.
What else lies there is somebody's, and is never touched.
"""

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from diffshare.errors import UserError
from diffshare.layout import Layout, json_object
from diffshare.locks import hold
from diffshare.release.info import INFO, SAMPLES
from diffshare.storage import write_json

ARRAY, CARD, LIMIT, DRAWN = "x.npy", "cache.json", "limit.json", "samples"
ENTRY = Layout("cache", lambda folder: (ARRAY, CARD))
_KEY = re.compile(r"[0-9a-f]{32,64}")
_LEFTOVER = re.compile(r"\.[0-9a-f]{32,64}\..+\.(part|old)")


@dataclass(frozen=True)
class Cached:
    """One entry of the folder.

    Attributes:
        folder: where it lies.
        kind: ``records`` (decoded from a source) or ``samples`` (drawn from a release).
        what: of what, as far as it says so.
        count: records or samples; None where it does not say.
        bytes: that it takes.
        used: when it was last opened, seconds since the epoch.
    """

    folder: Path
    kind: Literal["records", "samples"]
    what: str
    count: int | None
    bytes: int
    used: float


def default_cache_dir() -> Path:
    """``$DIFFSHARE_CACHE``, else ``$XDG_CACHE_HOME/diffshare``, else ``~/.cache/diffshare``."""
    if chosen := os.environ.get("DIFFSHARE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diffshare"


def refuse_foreign(path: Path, status: os.stat_result | None = None) -> None:
    """Refuse a link, and what belongs to another user, in a folder that several may write to; nothing there is fine.

    Args:
        path: in the cache.
        status: of the open file, where it is open; of the name where None.

    Raises:
        UserError: says how to get a cache of one's own.
    """
    try:
        status = os.lstat(path) if status is None else status
    except OSError:
        return
    mine = os.geteuid() if hasattr(os, "geteuid") else status.st_uid
    if stat.S_ISLNK(status.st_mode) or status.st_uid != mine:
        whose = (
            "is a link"
            if stat.S_ISLNK(status.st_mode)
            else f"belongs to another user (uid {status.st_uid})"
        )
        raise UserError(
            f"{path} in the cache {whose}: set DIFFSHARE_CACHE to a folder that is yours alone"
        )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file of the cache to read: no link, and this user's own."""
    with open(path, "rb", opener=_no_link) as stream:
        refuse_foreign(path, os.fstat(stream.fileno()))
        yield stream


def _no_link(name: str, flags: int) -> int:
    return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0))


@contextlib.contextmanager
def building(folder: Path) -> Iterator[None]:
    """Hold the lock of one entry; another process that builds it is waited for.

    Raises:
        UserError: the cache cannot be written to, or the lock is another user's.
    """
    lock = folder.with_suffix(".lock")
    with contextlib.ExitStack() as held:
        try:
            if not lock.parent.exists():
                held.callback(_remove_if_empty, lock.parent)
            lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_foreign(lock)
            held.enter_context(
                hold(lock, waiting=f"another process is building the cache {folder}")
            )
        except OSError as error:
            raise UserError(
                f"cannot write the cache {folder}: {error.strerror}; set DIFFSHARE_CACHE to a folder that is writable"
            ) from error
        yield


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def note_use(folder: Path) -> None:
    """Remember that an entry was opened now: what was not opened for longest goes first."""
    for name in (CARD, INFO):
        with contextlib.suppress(OSError):
            os.utime(folder / name, follow_symlinks=False)


def entries(root: Path) -> list[Cached]:
    """What lies in the cache, the one that was not used for longest first; nothing of another user."""
    found = []
    for folder in [*_folders(root), *_folders(root / DRAWN)]:
        drawn = folder.parent.name == DRAWN
        mark, layout = folder / (INFO if drawn else CARD), SAMPLES if drawn else ENTRY
        if not mark.is_file() or layout.stranger(folder):
            continue
        card = json_object(mark) or {}
        shape = card.get("shape")
        count = (
            card.get("count") if drawn else shape[0] if isinstance(shape, list) and shape else None
        )
        model = card.get("model")
        what = (
            (model.get("name") if isinstance(model, dict) else None)
            if drawn
            else card.get("source")
        )
        size = sum(file.stat().st_size for file in folder.iterdir())
        used = mark.stat().st_mtime
        kind: Literal["records", "samples"] = "samples" if drawn else "records"
        found.append(
            Cached(folder, kind, ascii(str(what or ""))[1:-1][:120], _number(count), size, used)
        )
    return sorted(found, key=lambda one: (one.used, one.folder.name))


def _number(value: object) -> int | None:
    return value if type(value) is int else None


def _folders(root: Path) -> list[Path]:
    try:
        return [
            path
            for path in root.iterdir()
            if _KEY.fullmatch(path.name) and path.is_dir() and _is_own(path)
        ]
    except OSError:
        return []


def _is_own(path: Path) -> bool:
    try:
        refuse_foreign(path)
    except UserError:
        return False
    return True


def remove(one: Cached) -> bool:
    """Delete an entry, unless another process builds it right now; whoever has it mapped keeps what is mapped."""
    with contextlib.suppress(OSError), hold(one.folder.with_suffix(".lock")) as mine:
        if mine:
            shutil.rmtree(one.folder, ignore_errors=True)
            return not one.folder.exists()
    return False


def sweep_leftovers(root: Path) -> None:
    """Delete what builders have left that were killed."""
    for place in (root, root / DRAWN):
        for path in place.glob(".*"):
            match = _LEFTOVER.fullmatch(path.name)
            if match is None or not path.is_dir() or not _is_own(path):
                continue
            key = path.name[1:].split(".")[0]
            with contextlib.suppress(OSError), hold(place / f"{key}.lock") as mine:
                if mine:
                    shutil.rmtree(path, ignore_errors=True)


def limit_of(root: Path) -> int | None:
    """Most bytes that the cache is to take; None where no limit is set."""
    card = json_object(root / LIMIT)
    value = None if card is None else _number(card.get("bytes"))
    return value if value is not None and value >= 0 else None


def set_limit(root: Path, limit: int | None) -> None:
    """Set the limit, or take it away."""
    if limit is None:
        (root / LIMIT).unlink(missing_ok=True)
        return
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(root / LIMIT, {"bytes": limit})


def keep_within(root: Path, keep: Path | None = None) -> list[Cached]:
    """Delete what was not used for longest until the cache is within its limit.

    Args:
        root: of the cache.
        keep: an entry that stays, for it is needed now.

    Returns:
        what was deleted.
    """
    limit = limit_of(root)
    if limit is None:
        return []
    there, gone = entries(root), []
    total = sum(one.bytes for one in there)
    for one in there:
        if total <= limit:
            break
        if one.folder != keep and remove(one):
            gone.append(one)
            total -= one.bytes
    return gone
