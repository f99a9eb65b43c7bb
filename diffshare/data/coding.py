"""From the labels in files to the codes of an ``Index``: categories, groups of classes, parts beside a test set."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from diffshare.classes import in_order, is_number, place_of
from diffshare.data.attribute import MAX_CLASSES
from diffshare.data.source import PARTS, Attribute, Index, check_shares, split
from diffshare.errors import UserError

_logger = logging.getLogger(__name__)


class _Codes(dict[str, int]):
    """Gives each new key the next code."""

    def __missing__(self, cell: str) -> int:
        code = self[cell] = len(self)
        return code


class Coder:
    """The categories of one column, found while its cells stream by.

    Args:
        missing: the mark of a missing cell; it is no category.

    Attributes:
        overflow: the column has more than ``MAX_CLASSES`` categories; it gets no codes.
    """

    def __init__(self, missing: str) -> None:
        self.missing = missing
        self.overflow = False
        self._found = _Codes()
        self._blocks: list[np.ndarray] = []

    def add(self, cells: Sequence[str]) -> None:
        """Take in further cells of the column."""
        if self.overflow:
            return
        codes = np.fromiter(map(self._found.__getitem__, cells), np.int32, len(cells))
        self.overflow = len(self._found) - (self.missing in self._found) > MAX_CLASSES
        if not self.overflow:
            self._blocks.append(codes.astype(np.int16))

    def numeric(self) -> bool:
        """Whether all cells seen (until an overflow) read as numbers: such a column is hardly meant as a class."""
        return all(is_number(cell) for cell in self._found if cell)

    def attribute(self, declared: Sequence[str] | None = None) -> Attribute:
        """Codes of all cells, -1 for missing ones; not to be asked for after an overflow.

        Args:
            declared: the classes in the order of their codes, a superset of those seen; where None, the classes
                that were seen, in the order of :func:`diffshare.classes.in_order`.
        """
        seen = [cell for cell in self._found if cell != self.missing]
        classes = tuple(in_order(seen) if declared is None else declared)
        code = {name: position for position, name in enumerate(classes)}
        table = np.array(
            [-1 if cell == self.missing else code[cell] for cell in self._found], np.int16
        )
        found = np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.int16)
        return Attribute(table[found], classes)


def label_attributes(
    name: str, labels: np.ndarray, classes: Sequence[str], groups: Mapping[str, Sequence[int | str]]
) -> dict[str, Attribute]:
    """The attribute of the labels themselves and a binary one for each group of classes.

    Args:
        name: name of the labels' attribute, for instance ``"digit"``.
        labels: integers in 0..K-1, N.
        classes: the K names.
        groups: group name to the classes it holds, each by its name or, where none is called so, by its number.

    Returns:
        ``name`` with K classes, and each group ``g`` with the classes ``("not g", "g")``.

    Raises:
        UserError: a group has an unknown class, none or all of the classes, or another attribute's name.
    """
    attributes = {name: Attribute(labels.astype(np.int16), tuple(classes))}
    for group, members in groups.items():
        if group in attributes:
            raise UserError(
                f"group '{group}' has the name of another attribute: choose a different name"
            )
        codes = {_code(member, classes, group) for member in members}
        if not 0 < len(codes) < len(classes):
            raise UserError(
                f"group '{group}' must hold at least one and not all of: {', '.join(classes)}"
            )
        within = np.isin(labels, sorted(codes)).astype(np.int16)
        attributes[group] = Attribute(within, (f"not {group}", group))
    return attributes


def _code(member: int | str, classes: Sequence[str], group: str) -> int:
    place = place_of(member, classes)
    if place.note:
        _logger.warning("group '%s': %s", group, place.note)
    return place.code


def check_official_shares(
    shares: tuple[float, float, float], test: str
) -> tuple[float, float, float]:
    """Refuse shares with a test share for a source whose test part is official (``test`` names it)."""
    if check_shares(shares)[2] != 0:
        raise UserError(
            f"shares {list(shares)}: {test} is the test part, so the third share must be 0"
        )
    return shares


def parts_beside_test(
    index: Index, test: np.ndarray, shares: tuple[float, float, float]
) -> np.ndarray:
    """Parts of a source with an official test set and none for sharer and auxiliary.

    The records outside the test set are split by the hash of their names under a fixed seed: like an official
    partition, the result is the same for everybody.

    Args:
        index: the source's index.
        test: the official test records, bool, N.
        shares: of sharer, auxiliary and test among the others; the last is 0.

    Returns:
        int8, N: positions in ``PARTS``.
    """
    drawn = split(replace(index, parts=None), shares, seed=0)
    # where rounding leaves the two shares a hair below 1
    drawn = np.minimum(drawn, PARTS.index("auxiliary"))
    return np.where(test, PARTS.index("test"), drawn).astype(np.int8)
