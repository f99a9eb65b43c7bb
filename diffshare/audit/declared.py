"""A table of groups and classes that somebody declares: the sharer in a card, or who knows the population."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffshare.errors import UserError
from diffshare.release.card import parse_card
from diffshare.release.received import is_number, parse_json, read_regular
from diffshare.release.yamlfile import parse_yaml

_CELL = re.compile(r"s(\d{1,4})y(\d{1,4})")
LIMIT = 1 << 20  # bytes of a declaration


def read_declared(path: Path, groups: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """The table of a file.

    Args:
        path: a release's ``diffshare.json``; or JSON or YAML with a number for each cell, as ``s0y0: 10`` by code or as
            ``Female: {"<=50K": 10, ...}`` by name; ``declared:`` or ``counts:`` may stand above it.
        groups: names of the groups by code.
        classes: names of the classes by code.

    Returns:
        float64, groups x classes, all above 0.

    Raises:
        UserError: no such file, a card that declares nothing, or cells that are missing, empty or no numbers.
    """
    value = _parsed(path)
    if isinstance(value, dict) and "format" in value and "files" in value:
        value = parse_card(value, str(path)).declared
        if value is None:
            raise UserError(f"{path} declares no table of groups and classes: audit against --reference instead")
    if isinstance(value, dict):
        value = value.get("declared", value.get("counts", value))
    if not isinstance(value, dict) or not value:
        raise UserError(f"{path} is no table: expected a number for each cell, for instance 's0y0: 10'")
    return declared_table(value, groups, classes, str(path))


def declared_table(value: dict[str, Any], groups: Sequence[str], classes: Sequence[str], where: str) -> np.ndarray:
    """The table of a declaration that was read; see :func:`read_declared`."""
    named = all(isinstance(row, dict) for row in value.values())
    table = np.full((len(groups), len(classes)), np.nan)
    for key, row in value.items():
        for label, number in (row if named else {"": row}).items():
            s, y = _place(str(key), str(label), groups, classes, where, named=named)
            if not is_number(number) or number <= 0:
                raise UserError(
                    f"{where}: the cell of '{groups[s]}' and '{classes[y]}' must be a number above 0, not "
                    f"{number!r:.40}: an empty cell has no association to compare with"
                )
            table[s, y] = number
    if np.isnan(table).any():
        s, y = np.argwhere(np.isnan(table))[0]
        raise UserError(f"{where} has no cell of '{groups[s]}' and '{classes[y]}' (s{s}y{y}): give every cell")
    return table


def _place(
    key: str, label: str, groups: Sequence[str], classes: Sequence[str], where: str, *, named: bool
) -> tuple[int, int]:
    if named:
        for kind, name, known in (("group", key, groups), ("class", label, classes)):
            if name not in known:
                raise UserError(f"{where}: '{name:.60}' is no {kind}: they are {', '.join(known)[:200]}")
        return list(groups).index(key), list(classes).index(label)
    cell = _CELL.fullmatch(key)
    if cell is None or int(cell[1]) >= len(groups) or int(cell[2]) >= len(classes):
        raise UserError(
            f"{where}: '{key[:60]}' is no cell: expected s0y0 to s{len(groups) - 1}y{len(classes) - 1}, s the group "
            "and y the class"
        )
    return int(cell[1]), int(cell[2])


def _parsed(path: Path) -> Any:
    data = read_regular(path, LIMIT)
    if path.suffix == ".json":
        return parse_json(data, str(path))
    try:
        return parse_yaml(data.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no YAML: write one number for each cell, for instance 's0y0: 10'") from error
