"""Files and folders that are either whole or not there: written under a temporary name, then renamed.

One process at a time writes a place; see :mod:`diffshare.leftovers` for what is left of one that was killed.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from diffshare.errors import UserError
from diffshare.layout import Layout, is_result
from diffshare.leftovers import MOST_BYTES, lock_of, prefix, restore, tidy
from diffshare.locks import hold

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def as_path(text: str | Path) -> Path:
    """The path that a person wrote: ``~`` is the home folder, which no shell puts in after ``=`` or in a file."""
    return Path(os.path.expanduser(text))


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- what may be written ---------------------------------------------------------------------------------------------


def check_new_folder(path: Path, layout: Layout | None = None, *, overwrite: bool = False) -> None:
    """Refuse early what :func:`atomic_folder` would refuse after the work is done.

    Args:
        path: the folder to make.
        layout: of the folders that may be replaced; None where none may.
        overwrite: replace one of them that already holds something.

    Raises:
        UserError: the folder exists and holds anything else, it is the working directory or around it, or it cannot be
            made there.
    """
    _check_name(path)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UserError(f"{path} is not a folder: choose another name")
    with contextlib.suppress(FileNotFoundError):  # a working directory that was deleted
        here = Path.cwd()
        if path.resolve() in (here, *here.parents):
            raise UserError(
                f"{path or '.'} is the working directory or holds it: choose a folder in it"
            )
    if os.path.ismount(path):
        raise UserError(f"{path} is where a disk is mounted: choose a folder in it")
    restore(path)
    if path.is_dir() and any(path.iterdir()):
        if not overwrite:
            hint = f" or add `overwrite` (it replaces a {layout.what} alone)" if layout else ""
            raise UserError(f"{path} already holds something: choose another folder{hint}")
        if foreign := layout.stranger(path) if layout else "it is not known what it holds":
            raise UserError(f"{path} is not replaced, for {foreign}: choose another folder")
    _check_above(path)


def check_apart(path: Path, kept: Path, what: str = "release") -> None:
    """Refuse a folder to make that lies in one that is read, or around it: ``overwrite`` would take it along.

    Args:
        path: to be made.
        kept: is read.
        what: that is.

    Raises:
        UserError: one is, or is in, the other.
    """
    target, read = path.resolve(), kept.resolve()
    if read in (target, *target.parents):
        raise UserError(
            f"{path} lies in the {what}, which holds its own files alone: choose another folder"
        )
    if target in read.parents:
        raise UserError(f"{path} is where the {what} {kept} lies: choose another folder")


def check_new_file(path: Path, fields: Collection[str]) -> None:
    """Refuse early what :func:`write_result` would refuse after the work is done.

    Args:
        path: the file to write.
        fields: of the JSON that this verb writes: a file without them is not replaced.

    Raises:
        UserError: the path is a folder or a link, the file is there and somebody else's, or it cannot be made there.
    """
    _check_name(path)
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; choose another name")
    if os.path.lexists(path) and not is_result(path, fields):
        raise UserError(
            f"{path} is not replaced, for this verb did not write it: choose another name"
        )
    _check_above(path)


def _check_name(path: Path) -> None:
    if any(len(os.fsencode(part)) > MOST_BYTES for part in path.parts):
        raise UserError(
            f"cannot write {str(path)[:60]}...: a name has at most {MOST_BYTES} bytes; choose a shorter one"
        )


def _check_above(path: Path) -> None:
    above = next(p for p in path.absolute().parents if p.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        reason = "is not writable" if above.is_dir() else "is not a folder"
        raise UserError(f"cannot write {path}: {above} {reason}; choose a place that is writable")


# --- writing ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Within the block this process alone writes ``path``, its folder is there, and what dead writers left is gone.

    Where there can be no lock (the file system knows none, it is another user's), nothing is tidied up.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(path, error) from error
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(hold(lock_of(path), waiting=f"another process writes {path}"))
            tidy(path)
        try:
            yield
        except Exception as error:
            if reason := no_room(error):
                raise NoRoom(path, reason) from error
            raise


def _not_writable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror}; choose a place that is writable")


# --- no room ---------------------------------------------------------------------------------------------------------


class NoRoom(UserError):
    """What was to be written does not fit: a full disk, a quota, a limit on the size of files.

    Attributes:
        reason: in the system's words.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"cannot write {path}: {reason}; make room there, or choose another place")
        self.reason = reason


def no_room(error: BaseException | None) -> str | None:
    """What the system said where there was no room: libraries put it into words, or fail again while they tidy up."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        said = re.search(r"\(os error (\d+)\)", str(error))  # safetensors
        number = error.errno if isinstance(error, OSError) else int(said[1]) if said else None
        if number in _FULL:
            return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None


@contextlib.contextmanager
def atomic_file(path: str | Path, *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is synced and takes ``path``'s name, on error it goes.

    A reader, or a process killed at any moment, sees the old file or the new one, never a part.

    Args:
        path: the file.
        private: its owner alone may read it.

    Raises:
        UserError: the folder cannot be written to, there is no room, or ``path`` is itself a folder.
    """
    path = Path(path)
    _check_name(path)
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; choose another name")
    with _claimed(path):
        try:
            descriptor, name = tempfile.mkstemp(
                prefix=prefix(path), suffix=".part", dir=path.parent
            )
        except OSError as error:
            raise _not_writable(path, error) from error
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            _sync(temporary)
            temporary.chmod(0o600 if private else 0o666 & ~_umask())
            temporary.replace(path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(
    path: str | Path,
    layout: Layout | None = None,
    *,
    overwrite: bool = False,
    private: bool = False,
) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success it takes ``path``'s name, on error it goes.

    Args:
        path: the folder to make. An empty folder of that name is taken over.
        layout: of the folders that may be replaced; None where none may.
        overwrite: replace one of them that already holds something.
        private: its owner alone may read it and what it holds.

    Raises:
        UserError: see :func:`check_new_folder`; or there is no room.
    """
    path = Path(path)
    check_new_folder(path, layout, overwrite=overwrite)
    with _claimed(path):
        try:
            temporary = Path(tempfile.mkdtemp(prefix=prefix(path), suffix=".part", dir=path.parent))
        except OSError as error:
            raise _not_writable(path, error) from error
        try:
            yield temporary
            for item in temporary.rglob("*"):
                if private:
                    item.chmod(0o700 if item.is_dir() else 0o600)
                if item.is_file():
                    _sync(item)
            temporary.chmod(0o700 if private else 0o777 & ~_umask())
            if path.is_dir():
                # something may have come in meanwhile
                check_new_folder(path, layout, overwrite=overwrite)
                _exchange(temporary, path)
            else:
                temporary.rename(path)
            _sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _exchange(temporary: Path, path: Path) -> None:
    """Rename, rename, delete: the name is missing for an instant, never half-filled; :func:`restore` mends a kill."""
    old = temporary.with_suffix(".old")
    try:
        path.rename(old)
        temporary.rename(path)
    except BaseException:
        if old.exists() and not os.path.lexists(path):
            old.rename(path)
        raise
    shutil.rmtree(old)


def _sync(path: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


# --- JSON ------------------------------------------------------------------------------------------------------------


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. NaN and infinities are refused."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_result(path: Path, value: Any, fields: Collection[str]) -> None:
    """The same for what the user asked for by ``json``: a file that this verb did not write is not replaced.

    Args:
        path: the file.
        value: what to write.
        fields: see :func:`check_new_file`.

    Raises:
        UserError: see :func:`check_new_file`.
    """
    check_new_file(path, fields)
    write_json(path, value)


def read_text(path: str | Path) -> str:
    """Read a text file.

    Raises:
        UserError: no such file, or no text in UTF-8.
    """
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8: save it as such") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; make it readable") from error


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
            raise UserError(
                f"{path} is larger than {limit} bytes: that is no JSON file of diffshare"
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not valid JSON"
        raise UserError(f"cannot read {path}: {reason}") from error
