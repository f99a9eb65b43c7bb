"""Files and folders that are either whole or not there: written under a temporary name, then renamed."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffshare.errors import UserError


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is synced and takes ``path``'s name, on error it goes.

    A reader, or a process killed at any moment, sees the old file or the new one, never a part.

    Raises:
        UserError: the folder cannot be written to, or ``path`` is itself a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose a place that is writable") from error
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def check_new_folder(path: Path, *, overwrite: bool = False) -> None:
    """Refuse early what :func:`atomic_folder` would refuse after the work is done.

    Raises:
        UserError: the folder exists and is not empty, or it cannot be made there.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UserError(f"{path} is not a folder: choose another name")
    if not overwrite and path.is_dir() and any(path.iterdir()):
        raise UserError(f"{path} already holds something: choose another folder or add --overwrite")
    _check_above(path)


def check_apart(path: Path, kept: Path, what: str = "release") -> None:
    """Refuse a folder to make that lies in one that is read, or around it: ``--overwrite`` would take it along.

    Args:
        path: to be made.
        kept: is read.
        what: that is.

    Raises:
        UserError: one is, or is in, the other.
    """
    made, read = path.resolve(), kept.resolve()
    if read in (made, *made.parents):
        raise UserError(f"{path} lies in the {what}, which holds its own files alone: choose another folder")
    if made in read.parents:
        raise UserError(f"{path} is where the {what} {kept} lies: choose another folder")


def check_new_file(path: Path) -> None:
    """Refuse early what :func:`atomic_file` would refuse after the work is done.

    Raises:
        UserError: the path is a folder, or the file cannot be made there.
    """
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; choose another name")
    _check_above(path)


def _check_above(path: Path) -> None:
    above = next(p for p in path.absolute().parents if p.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        reason = "is not writable" if above.is_dir() else "is not a folder"
        raise UserError(f"cannot write {path}: {above} {reason}; choose a place that is writable")


@contextlib.contextmanager
def atomic_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success it takes ``path``'s name, on error it goes.

    Args:
        path: the folder to make. An empty folder of that name is taken over.
        overwrite: replace a folder that already holds something.

    Raises:
        UserError: the folder exists and is not empty, or its parent cannot be written to.
    """
    path = Path(path)
    check_new_folder(path, overwrite=overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose a place that is writable") from error
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync(file)
        temporary.chmod(0o777 & ~_umask())
        if path.is_dir():
            old = temporary.with_suffix(".old")
            path.rename(old)  # rename, rename, delete: the name is missing for an instant, never half-filled
            try:
                temporary.rename(path)
            except OSError:
                old.rename(path)
                raise
            shutil.rmtree(old)
        else:
            temporary.rename(path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. NaN and infinities are refused."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | Path, *, limit: int = 16 << 20) -> Any:
    """Read a JSON file of at most ``limit`` bytes.

    Raises:
        UserError: no such file, a pipe or a device, too large, or not JSON.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"cannot read {path}: it is not a regular file")
        if path.stat().st_size > limit:
            raise UserError(f"{path} is larger than {limit} bytes: that is no JSON file of diffshare")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not valid JSON"
        raise UserError(f"cannot read {path}: {reason}") from error
