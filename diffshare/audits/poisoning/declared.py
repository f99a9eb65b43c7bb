"""A table of groups and classes that somebody declares: the sharer in a card, or who knows the population."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffshare.classes import Joined, differing, join, listed, quoted
from diffshare.errors import UserError
from diffshare.received import is_number, parse_json, read_regular
from diffshare.release.card import Card, parse_card
from diffshare.settings import parse_yaml

_CELL = re.compile(r"s(\d{1,4})y(\d{1,4})")
LIMIT = 1 << 20  # bytes of a declaration


class Declared(NamedTuple):
    """A declared table.

    Attributes:
        table: float64, groups x classes, all above 0.
        notes: which of its groups or classes were told by their positions.
    """

    table: np.ndarray
    notes: tuple[str, ...] = ()


def read_declared(path: Path, groups: Sequence[str], classes: Sequence[str]) -> Declared:
    """The table of a file.

    Args:
        path: a release's ``diffshare.json``; or JSON or YAML with a number for each cell, by name as
            ``Female: {"<=50K": 10, ...}`` or by number as ``s0y0: 10``; ``declared:`` or ``counts:`` may stand
            above it.
        groups: names of the groups by code.
        classes: names of the classes by code.

    Raises:
        UserError: no such file, a card that declares nothing, or cells that are missing, empty or no numbers.
    """
    value = _parsed(path)
    if isinstance(value, dict) and "format" in value and "files" in value:
        card = parse_card(value, str(path))
        if card.declared is None:
            raise UserError(
                f"{path} declares no table of groups and classes: audit against labelled records instead"
            )
        return table_of_card(card, groups, classes, str(path))
    if isinstance(value, dict):
        value = value.get("declared", value.get("counts", value))
    if not isinstance(value, dict) or not value:
        raise UserError(
            f"{path} is no table: expected a number for each cell, for instance 's0y0: 10'"
        )
    if all(isinstance(row, dict) for row in value.values()):
        return Declared(_by_name(value, groups, classes, str(path)))
    return _by_number(value, _sides(((), ()), (groups, classes), str(path)), str(path))


def table_of_card(
    card: Card, groups: Sequence[str], classes: Sequence[str], where: str
) -> Declared:
    """The table that a card declares, by the names that it gives its numbers.

    Args:
        card: with ``declared``.
        groups: names of the groups by code.
        classes: names of the classes by code.
        where: of the card, for messages.

    Raises:
        UserError: names or numbers that do not fit.
    """
    assert card.declared is not None
    told = card.declared_names
    names = ((), card.labels) if told is None else (told.groups, told.classes)
    return _by_number(
        card.declared, _sides(names, (groups, classes), f"the card of {where}"), where
    )


def _sides(
    theirs: Sequence[Sequence[str]], ours: Sequence[Sequence[str]], who: str
) -> list[Joined]:
    """Groups and classes of a declaration as the audit numbers them."""
    sides = zip(("groups", "classes"), theirs, ours, strict=True)
    return [join(a, b, who, "the audit", kind=kind) for kind, a, b in sides]


def _by_name(
    value: dict[str, Any], groups: Sequence[str], classes: Sequence[str], where: str
) -> np.ndarray:
    table = np.full((len(groups), len(classes)), np.nan)
    for key, row in value.items():
        s = _place(str(key), groups, "group", where)
        for label, number in row.items():
            y = _place(str(label), classes, "class", where)
            table[s, y] = _number(number, groups[s], classes[y], where)
    return _whole(table, groups, classes, where)


def _by_number(value: Mapping[str, Any], sides: Sequence[Joined], where: str) -> Declared:
    s, y = sides
    table = np.full((len(s.ours), len(y.ours)), np.nan)
    for key, number in value.items():
        cell = _CELL.fullmatch(str(key))
        if cell is None or int(cell[1]) >= len(s.codes) or int(cell[2]) >= len(y.codes):
            raise UserError(
                f"{where}: '{str(key)[:60]}' is no cell: expected s0y0 to s{len(s.codes) - 1}y{len(y.codes) - 1}, s "
                "the group and y the class"
            )
        place = s.codes[int(cell[1])], y.codes[int(cell[2])]
        for code, side, position in zip(place, (s, y), (cell[1], cell[2]), strict=True):
            if code < 0:
                raise side.refusal(side.theirs[int(position)])
        table[place] = _number(number, s.ours[place[0]], y.ours[place[1]], where)
    notes = tuple(side.note for side in (s, y) if side.note is not None)
    return Declared(_whole(table, s.ours, y.ours, where), notes)


def _number(number: Any, group: str, label: str, where: str) -> float:
    if not is_number(number) or number <= 0:
        raise UserError(
            f"{where}: the cell of '{group}' and '{label}' must be a number above 0, not {number!r:.40}: an empty cell "
            "has no association to compare with"
        )
    return float(number)


def _whole(
    table: np.ndarray, groups: Sequence[str], classes: Sequence[str], where: str
) -> np.ndarray:
    if np.isnan(table).any():
        s, y = np.argwhere(np.isnan(table))[0]
        raise UserError(
            f"{where} has no cell of '{groups[s]}' and '{classes[y]}' (s{s}y{y}): give every cell"
        )
    return table


def _place(name: str, names: Sequence[str], kind: str, where: str) -> int:
    if name not in names:
        twin = next((f", but '{ours}' is" for _, ours in differing([name], names)), "")
        raise UserError(f"{where}: {quoted(name)} is no {kind}{twin}: they are {listed(names)}")
    return list(names).index(name)


def _parsed(path: Path) -> Any:
    data = read_regular(path, LIMIT)
    if path.suffix == ".json":
        return parse_json(data, str(path))
    try:
        return parse_yaml(data.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is no YAML: write one number for each cell, for instance 's0y0: 10'"
        ) from error
