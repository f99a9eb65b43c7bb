"""How diffshare knows what it wrote itself, so that it replaces nothing else: by names and content."""

import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffshare.errors import UserError
from diffshare.received import parse_json, read_regular

MARKER_BYTES = 1 << 20  # of the file that tells what a folder is
RESULT_BYTES = 64 << 20  # of a file of results


@dataclass(frozen=True)
class Layout:
    """What the folders of one kind hold.

    Attributes:
        what: the kind, for messages.
        files: names of all files that a folder of the kind may hold, relative to it and with ``/``; None where the
            folder is not of the kind. It looks at the content of the file that every folder of the kind has.
    """

    what: str
    files: Callable[[Path], Collection[str] | None]

    def stranger(self, folder: Path) -> str | None:
        """Why the folder is not one of the kind, and nothing else: what does not belong there; None where all does.

        Folders of the kind hold regular files and the folders that these lie in: no link, no empty folder.
        """
        own = self.files(folder)
        if own is None:
            return f"it is no {self.what} that diffshare wrote"
        above = {parent.as_posix() for name in own for parent in Path(name).parents}
        for name, entry in _below(folder):
            fits = name in above if entry.is_dir(follow_symlinks=False) else name in own
            if (
                not fits
                or entry.is_symlink()
                or not (entry.is_dir() or entry.is_file(follow_symlinks=False))
            ):
                return f"it holds {ascii(name)[:80]}, which is no part of a {self.what}"
        return None


def _below(folder: Path, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            yield f"{prefix}{entry.name}", entry
            if entry.is_dir(follow_symlinks=False):
                yield from _below(Path(entry.path), f"{prefix}{entry.name}/")


def json_object(path: Path, limit: int = MARKER_BYTES) -> dict[str, Any] | None:
    """The object that a regular JSON file of at most ``limit`` bytes holds; None for anything else."""
    try:
        value = parse_json(read_regular(path, limit), str(path))
    except UserError:
        return None
    return value if isinstance(value, dict) else None


def is_result(path: Path, fields: Collection[str]) -> bool:
    """Whether a file is empty or JSON with these fields, which make it a result of one verb."""
    try:
        if stat.S_ISREG(os.lstat(path).st_mode) and not os.path.getsize(path):
            return True
    except OSError:
        return False
    content = json_object(path, RESULT_BYTES)
    return content is not None and set(fields) <= content.keys()
