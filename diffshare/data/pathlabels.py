"""What the paths of pictures say of them: fields of a pattern, folders that are called as parts or classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffshare.data.coding import MAX_CLASSES
from diffshare.data.folder import PART_WORDS, Files
from diffshare.data.images import SUFFIXES
from diffshare.data.labelled import Records
from diffshare.data.labeltable import KINDS, Table, column_of
from diffshare.data.pathpattern import PathPattern
from diffshare.errors import UserError

SPLIT, CLASS = "split", "class"


def records_of_paths(files: Files, pattern: PathPattern | None) -> Records:
    """Records of the pictures of a folder, in the order of their names.

    Args:
        files: those of the folder.
        pattern: how paths carry labels, pictures of other paths are left out; None to look at the folders.

    Raises:
        UserError: no picture, none of the pattern, or a name that is not UTF-8.
    """
    positions = files.images()
    if not positions:
        raise UserError(
            f"{files.root} holds no picture: expected files that end with {', '.join(SUFFIXES)}, and with them a table "
            f"({', '.join(KINDS)}) in labels, folders that are called as classes, or no labels at all"
        )
    names = [files.names[position] for position in positions]
    for name in names:
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise UserError(f"the name {name!r:.200} in {files.root} is not UTF-8: rename the file")
    columns = _folders(names) if pattern is None else _fields(files.root, names, pattern)
    if pattern is not None:
        kept = [row for row, cell in enumerate(next(iter(columns.values()))) if cell]
        positions, names = [positions[row] for row in kept], [names[row] for row in kept]
        columns = {name: [cells[row] for row in kept] for name, cells in columns.items()}
    table = Table(
        files.root, {name: column_of(c) for name, c in columns.items()}, range(len(names))
    )
    records = Records(files, positions, names, [(table, row) for row in range(len(names))])
    records.columns = dict(table.columns)
    said = ", ".join(f"'{name}'" for name in columns)
    records.notes.append(
        f"{len(names):,} pictures, their paths say {said}"
        if said
        else f"{len(names):,} pictures without labels"
    )
    return records


def add_fields(records: Records, pattern: PathPattern) -> None:
    """Join what the paths of records say to what tables say of them.

    Raises:
        UserError: no path is of the pattern, or one says something else than a table.
    """
    columns = _fields(records.files.root, records.names, pattern)
    lines = range(len(records.names))
    table = Table(
        records.files.root, {name: column_of(cells) for name, cells in columns.items()}, lines
    )
    records.merge(table, np.arange(len(lines)), without="")
    records.notes.append(f"paths say {', '.join(map(repr, columns))}")


def _fields(root: Path, names: Sequence[str], pattern: PathPattern) -> dict[str, list[str]]:
    """Each field's text for each name; empty where a name is not of the pattern."""
    nothing = [""] * len(pattern.fields)
    matches = [pattern.match(name) for name in names]
    if all(match is None for match in matches):
        raise UserError(
            f"no picture in {root} has a name of the pattern {pattern.text!r:.200}; the first is {names[0]!r:.200}"
        )
    cells = zip(*(nothing if match is None else match for match in matches), strict=True)
    return {name: list(texts) for name, texts in zip(pattern.fields, cells, strict=True)}


def _folders(names: Sequence[str]) -> dict[str, list[str]]:
    """What the first folders say: the part, the class, both, or nothing."""
    split = [[*name.split("/")[:-1], "", ""] for name in names]
    tops, below = [folders[0] for folders in split], [folders[1] for folders in split]
    columns: dict[str, list[str]] = {}
    if all(top.casefold() in PART_WORDS for top in tops):
        columns[SPLIT] = [top.casefold() for top in tops]
        tops = below
    if "" not in tops and 1 < len({*tops}) <= MAX_CLASSES:
        columns[CLASS] = tops
    return columns


def tops(names: Sequence[str]) -> list[str]:
    """The first folder of each path, in lower case."""
    return [name.partition("/")[0].casefold() for name in names]
