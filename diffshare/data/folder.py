"""The files of a folder, looked at in one pass and not opened, and the files that the cells of a table name."""

import os
import stat
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from diffshare.data.images import SUFFIXES
from diffshare.errors import UserError

# names of parts, as data sets call them; positions in source.PARTS
PART_WORDS = {
    "sharer": 0,
    "train": 0,
    "auxiliary": 1,
    "validation": 1,
    "valid": 1,
    "val": 1,
    "test": 2,
}
_SAMPLE = 64  # cells by which it is decided how a column names files


@dataclass(frozen=True)
class Files:
    """The regular files below a folder, N of them.

    Attributes:
        root: the folder.
        names: their paths inside it, with ``/`` between folders.
        sizes: bytes of each, N.
        stamps: modification time of each in ns, N.
        nodes: device and inode of each as one number, N: two names of one file have the same.
        links: positions of those that are links.
    """

    root: Path
    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    links: set[int] = field(default_factory=set)

    def add(self, name: str, status: os.stat_result) -> int:
        """Take in a file; its position."""
        self.names.append(name)
        self.sizes.append(status.st_size)
        self.stamps.append(status.st_mtime_ns)
        self.nodes.append(status.st_dev << 64 | status.st_ino)
        return len(self.names) - 1

    @cached_property
    def place(self) -> dict[str, int]:
        """Position of each name."""
        return {name: position for position, name in enumerate(self.names)}

    @cached_property
    def by_last(self) -> dict[str, list[int]]:
        """Positions of the files by the last part of their path, as :func:`plain` writes it."""
        return self._by(lambda name: plain(name.rpartition("/")[2]))

    @cached_property
    def by_stem(self) -> dict[str, list[int]]:
        """The same without the ending of a picture."""
        return self._by(lambda name: plain(without_suffix(name.rpartition("/")[2])))

    def _by(self, key: Callable[[str], str]) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = {}
        for position, name in enumerate(self.names):
            groups.setdefault(key(name), []).append(position)
        return groups

    def images(self, but: Collection[int] = ()) -> list[int]:
        """Positions of the pictures (by the ending), in the order of their names; hidden ones are left out.

        Args:
            but: positions of files that are left out too.
        """
        chosen = [
            position
            for position, name in enumerate(self.names)
            if position not in but and _is_picture(name)
        ]
        return sorted(chosen, key=self.names.__getitem__)


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and name[0] != "." and "/." not in name


def check_inside(root: Path, path: str) -> None:
    """Refuse a path that leads out of the folder by a link."""
    inside = os.path.realpath(root)
    if os.path.commonpath([inside, os.path.realpath(path)]) != inside:
        raise UserError(
            f"{path} is a link that leads out of {root}: put the files themselves there"
        )


def walk(root: Path) -> Files:
    """All regular files below a folder; linked folders are not entered.

    Raises:
        UserError: no such folder, or one that cannot be read.
    """
    if not root.is_dir():
        raise UserError(f"no folder {root}: check root")
    files = Files(root)
    add, pending = files.add, [""]
    while pending:
        prefix = pending.pop()
        path = os.path.join(root, prefix)
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    linked = entry.is_symlink()
                    if not linked and entry.is_dir(follow_symlinks=False):
                        pending.append(f"{prefix}{entry.name}/")
                    elif status := _status(entry):
                        add(prefix + entry.name, status)
                        if linked:
                            files.links.add(len(files.names) - 1)
        except OSError as error:
            raise UserError(
                f"cannot read the folder {path}: {error.strerror}; make it readable"
            ) from error
    return files


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Status of a regular file; None for anything else and for a link to nowhere."""
    try:
        status = entry.stat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def beyond_links(files: Files, name: str) -> int | None:
    """Position of a file that lies in a linked folder, which the walk did not enter; None where there is none.

    Raises:
        UserError: the folder leads out of the root.
    """
    path = os.path.join(files.root, name)
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    check_inside(files.root, os.path.dirname(path))
    return files.add(name, status)


def plain(name: str) -> str:
    """A name with its accents composed: file systems write them in two ways."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def without_suffix(name: str) -> str:
    """A path without the ending of a picture."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix.lower() in SUFFIXES else name


@dataclass(frozen=True)
class Naming:
    """How the cells of a column name files.

    Attributes:
        strip: what every cell begins with that is no part of the path inside the folder.
        suffix: whether cells have the ending of their file.
        tail: whether a cell is the end of a path inside the folder, not all of it.
        within: the folder that cells are paths inside of, with its last ``/``; empty for the whole folder.
    """

    strip: str = ""
    suffix: bool = True
    tail: bool = False
    within: str = ""

    def find(self, files: Files, cells: Sequence[str]) -> list[int]:
        """Position of the file that each cell names; -1 where there is none.

        Raises:
            UserError: a cell names two files.
        """
        if self == Naming(within=self.within):
            return [files.place.get(self.within + cell, -1) for cell in cells]
        start = len(self.strip)
        return [self._one(files, cell[start:]) for cell in cells]

    def _one(self, files: Files, cell: str) -> int:
        key = plain(cell if self.suffix else without_suffix(cell))
        table = files.by_last if self.suffix else files.by_stem
        hits = [
            hit
            for hit in table.get(key.rpartition("/")[2], [])
            if self._fits(files.names[hit], key)
        ]
        if len(hits) > 1:
            first, second = sorted(files.names[hit] for hit in hits[:2])
            raise UserError(
                f"{cell!r:.200} names both {first!r:.200} and {second!r:.200} in {files.root}: write the path inside "
                "the folder, or name the folder of one of them as root"
            )
        return hits[0] if hits else -1

    def _fits(self, name: str, key: str) -> bool:
        path = plain(name if self.suffix else without_suffix(name))
        return path == key or (self.tail and path.endswith("/" + key))


def naming_of(files: Files, cells: Sequence[str], within: str = "") -> tuple[Naming, float]:
    """How these cells name files, by a sample of them.

    Tried in this order: the path inside the folder, the end of it, the end without what all cells begin with (another
    folder's name, for instance), and the three without the ending of the file.

    Args:
        files: those there are.
        cells: of a column.
        within: folder in which the table lies, with its last ``/``: cells may be paths inside it.

    Returns:
        The first way that fits most of the cells, and the share that it fits.
    """
    chosen = [
        cells[i] for i in np.linspace(0, len(cells) - 1, min(len(cells), _SAMPLE)).astype(int)
    ]
    chosen = [cell for cell in chosen if cell]
    if not chosen:
        return Naming(), 0.0
    for folder in dict.fromkeys((within, "")):
        if all(folder + cell in files.place for cell in chosen):
            return Naming(within=folder), 1.0
    strips = _strips(files.root, cells)
    best, most = Naming(), 0
    for suffix in (True, False):
        for naming in (
            *([Naming(within=within)] if within and suffix else []),
            Naming("", suffix),
            Naming("", suffix, tail=True),
            *(Naming(strip, suffix, tail=True) for strip in strips),
        ):
            try:
                fits = sum(hit >= 0 for hit in naming.find(files, chosen))
            except UserError:
                fits = len(chosen)  # said where all cells are looked up
            if fits > most:
                best, most = naming, fits
        if most:
            break
    return best, most / len(chosen)


def _strips(root: Path, cells: Sequence[str]) -> list[str]:
    """The folders that all cells begin with, each with its last ``/``, from the first one alone to all of them.

    What says which part a file is of (``train/``) is none, unless the folder itself has that name.
    """
    common = os.path.commonprefix([min(cells), max(cells)]).split("/")[:-1]
    own = set(PurePosixPath(root.resolve().as_posix()).parts)
    strips: list[str] = []
    for folder in common[:8]:
        if folder in ("", ".", "..") or (folder.casefold() in PART_WORDS and folder not in own):
            break
        strips.append((strips[-1] if strips else "") + folder + "/")
    return strips
