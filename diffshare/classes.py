"""What a class is called, and how two sides that speak of classes are brought together.

Arrays hold a class as a number, a position in a list of names. Two lists may have two orders, so that a number says
nothing across them. The rule, for every place where two sides meet:

1. Names are matched first, and exactly. ``1`` is the class called ``1``, wherever it stands in a list; ``male`` is not
   ``Male``.
2. Positions count only where no name fits: one side has no names, or none of them stands on the other side and both
   have equally many. That is always said, in a note that is printed or recorded.
3. What contradicts itself is refused: names that differ in case, blanks or the writing of a number alone, names of
   which none fits and that are not equally many, and records of a class that the other side does not have.
4. Where nobody declares an order, it is by value if all names are numbers (``-1``, ``0``, ``1``, ``2``, ``10``), else
   the natural one: case does not count (``no``, ``Yes``), numbers inside names count as numbers (``a2``, ``a10``).
5. ``balanced``, ``natural`` and ``none`` are words of the command line. Where a class has that name the word alone is
   refused: ``class:none`` is the class, ``mode:none`` the word.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from diffshare.errors import UserError

_NUMBER = re.compile(
    r"[-+]?(?:[0-9]{1,50}(?:\.[0-9]{0,50})?|\.[0-9]{1,50})(?:[eE][-+]?[0-9]{1,3})?"
)
_SHOWN, _LONGEST = 8, 40  # names in a message, characters of one


class Place(NamedTuple):
    """Where a class stands in a list of names.

    Attributes:
        code: its position, 0..K-1.
        note: that it was told by its position; None where by its name.
    """

    code: int
    note: str | None = None


class Joined(NamedTuple):
    """The classes of one side as the other numbers them.

    Attributes:
        theirs: names of the one side; empty where it has none.
        codes: number on the other side of each class of the one side, int64, K; -1 where it is none there.
        who: the one side, in words.
        whose: the other side, in words.
        ours: names of the other side.
        kind: what they are, in the plural: ``classes``, ``groups``.
        note: that they are joined by position; None where by name.
    """

    theirs: tuple[str, ...]
    codes: np.ndarray
    who: str
    whose: str
    ours: tuple[str, ...]
    kind: str = "classes"
    note: str | None = None

    @property
    def beyond(self) -> tuple[str, ...]:
        """Names of the one side that the other does not have."""
        return tuple(
            name for name, code in zip(self.theirs, self.codes.tolist(), strict=False) if code < 0
        )

    @property
    def lacking(self) -> tuple[str, ...]:
        """Names of the other side that the one does not have."""
        return tuple(name for code, name in enumerate(self.ours) if code not in self.codes)

    def recode(self, y: np.ndarray) -> np.ndarray:
        """Classes of records as the other side numbers them; -1, no class, stays.

        Args:
            y: as the one side numbers them, integers >= -1, N.

        Returns:
            int64, N.

        Raises:
            UserError: a number beyond the names, or a class that the other side does not have.
        """
        y = np.asarray(y, np.int64)
        if len(y) and y.max() >= len(self.codes):
            raise UserError(
                f"{self.who} hold records of class {y.max()}, but {self.whose} has the {len(self.ours)} classes "
                f"{listed(self.ours)}: name the attribute that the classes stand for"
                if not self.theirs
                else f"{self.who} hold records of class {y.max()}, but name {len(self.theirs)} classes, "
                f"{listed(self.theirs)}: one of the two is wrong"
            )
        codes = np.append(self.codes, -1)[y]
        if len(wrong := np.flatnonzero((codes < 0) & (y >= 0))):
            raise self.refusal(self.theirs[int(y[wrong[0]])])
        return codes

    def refusal(self, name: str) -> UserError:
        """That the other side does not have a class of the one side."""
        return UserError(
            f"the {self.kind} of {self.who} have {quoted(name)} among them, those of {self.whose} are only "
            f"{listed(self.ours)}: leave those records out, or name the right attribute"
        )


def in_order(names: Iterable[str]) -> list[str]:
    """Names of classes in the order of rule 4 of the module."""
    names = list(names)
    if all(map(is_number, names)):
        return sorted(names, key=lambda name: (Decimal(name), _natural(name)))
    return sorted(names, key=_natural)


def is_number(name: str) -> bool:
    """Whether a name is a number: decimal digits with a sign, a point and an exponent at most."""
    return _NUMBER.fullmatch(name) is not None


def _natural(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Sort key of the natural order; the exact text decides between names that it does not tell apart."""
    # text and digits alternate, so that only like is compared with like
    parts = re.split(r"([0-9]+)", name.casefold())
    digits = [part.lstrip("0") for part in parts[1::2]]
    key: list[str | tuple[int, str]] = list(parts)
    key[1::2] = [(len(number), number) for number in digits]
    return key, name


def place_of(said: int | str, names: Sequence[str], what: str = "class") -> Place:
    """The class that somebody names: by its name, else by its position.

    Args:
        said: a name, or a position from 0.
        names: of the K classes.
        what: is named, for messages.

    Raises:
        UserError: no such class.
    """
    text = str(said)
    if text in names:
        return Place(list(names).index(text))
    if twins := [name for name in names if _alike(name) == _alike(text)]:
        raise UserError(
            f"unknown {what} {quoted(text)}: write it as it is, {listed(twins)} (names must agree exactly)"
        )
    if re.fullmatch("[0-9]{1,9}", text) and int(text) < len(names):
        note = f"{what} {quoted(text)} is no name: read as a position, it is {quoted(names[int(text)])}"
        return Place(int(text), note)
    numbers = f", or a number from 0 to {len(names) - 1}" if names else ""
    raise UserError(f"unknown {what} {quoted(text)}: choose one of {listed(names)}{numbers}")


def join(
    theirs: Sequence[str],
    ours: Sequence[str],
    who: str,
    whose: str,
    *,
    kind: str = "classes",
    by_position: bool = True,
) -> Joined:
    """Bring the classes of two sides together; see the module.

    Args:
        theirs: names of the one side by number; empty where it has none.
        ours: names of the other side by number.
        who: the one side in words: ``the samples in out``.
        whose: the other side in words: ``'Smiling' of the reference``.
        kind: what they are, in the plural.
        by_position: whether positions may count where no name fits.

    Raises:
        UserError: the two contradict each other.
    """
    theirs, ours = tuple(theirs), tuple(ours)
    place = {name: code for code, name in enumerate(ours)}
    codes = np.array([place.get(name, -1) for name in theirs], np.int64)
    told = f"the {kind} of {who} are {listed(theirs)}, those of {whose} {listed(ours)}"
    if twins := differing(theirs, ours):
        differ = " and ".join(f"{quoted(a)} is not {quoted(b)}" for a, b in twins[:3])
        raise UserError(f"{told}: {differ}, names must agree exactly; rename those of one side")
    if (codes >= 0).any():
        return Joined(theirs, codes, who, whose, ours, kind)
    if not by_position or (theirs and len(theirs) != len(ours)):
        raise UserError(f"{told}: no name fits; is it the right attribute?")
    note = f"{told}: no name fits, they are taken for the same in this order (is it the right attribute?)"
    if not theirs:
        note = f"the {kind} of {who} have no names: 0, 1, ... are taken for {listed(ours)} of {whose}, in this order"
    return Joined(theirs, np.arange(len(ours)), who, whose, ours, kind, note)


def another_attribute(theirs: str | None, ours: str, who: str) -> str | None:
    """A note where the classes of one side are known to be of an attribute of another name; None where they are not.

    Two attributes may have the same names of classes, such as ``-1`` and ``1``.

    Args:
        theirs: name of the attribute that the classes of the one side are of; None where it is not known.
        ours: name of the attribute on the other side.
        who: the one side in words, in the plural.
    """
    if theirs is None or theirs == ours:
        return None
    return f"the classes of {who} are of {quoted(theirs)}, here they are taken for those of {quoted(ours)}"


def differing(theirs: Sequence[str], ours: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names, one of each side, that differ in case, blanks or the writing of a number alone."""
    there, here = set(theirs), set(ours)  # a received table may have a hundred thousand columns
    left = {_alike(name): name for name in ours if name not in there}
    return [
        (name, left[_alike(name)]) for name in theirs if name not in here and _alike(name) in left
    ]


def listed(names: Sequence[str]) -> str:
    """Names in a message: quoted, not too long, not too many."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(quoted, names[:_SHOWN])) + more if names else "none"


def quoted(name: str) -> str:
    """A name in a message."""
    return f"'{name}'" if len(name) <= _LONGEST else f"'{name[:_LONGEST]}...'"


def _alike(name: str) -> object:
    """What is left of a name without its case, its blanks and the way that letters and numbers are written."""
    bare = " ".join(unicodedata.normalize("NFKC", name).split())
    return Decimal(bare) if is_number(bare) else bare.casefold()
