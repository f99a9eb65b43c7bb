"""Mixes: which of the sharer's records a generator is trained on.

A mix is a class with ``choose``; YAML names it by ``class_path``, so an attack is one more class and the data module
knows none of them. In every mix ``n`` is the number of records, so that an overlay can change the class and keep it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from diffshare.classes import Place, listed, place_of
from diffshare.data.memory import ImagesInMemory, Labels, TableInMemory, attribute_of, count_of
from diffshare.data.source import Attribute, Index
from diffshare.errors import UserError

# streams of a seed that no pass over the data uses (those are numbered from 0)
CHOICE, BALANCE = (
    2**32 - 1,
    2**32 - 2,
)


@dataclass(frozen=True)
class Pool:
    """The sharer's records that a mix may choose from.

    Attributes:
        index: names and attributes of the P records.
        target: name of the attribute that is the class Y.
        sensitive: name of the attribute that is the group S, or None.
        read: decoded records at these positions (int64, n) of the pool, for mixes that look at the records: uint8
            n x H x W x C or float32 n x columns; None where the records are not at hand.
        auxiliary: records of the source's auxiliary part, disjoint from the pool, for features that must be learnt.
        source_sha256: hash of the source that the pool is a part of.
    """

    index: Index
    target: str
    sensitive: str | None
    read: Callable[[np.ndarray], np.ndarray] | None = None
    auxiliary: "Pool | None" = None
    source_sha256: str = ""

    @classmethod
    def of(cls, x: Any, y: Labels, s: Labels) -> Self:
        """A pool of what is in memory.

        Args:
            x: images, uint8, P x H x W x C; or rows, a data frame or an array, P x D.
            y: the class of each, P: integers or texts.
            s: the group of each, P.

        Raises:
            UserError: shapes, types or lengths that do not fit.
        """
        count = count_of(x)
        attributes = {"y": attribute_of(y, "y", count), "s": attribute_of(s, "s", count)}
        images = isinstance(x, np.ndarray) and x.ndim == 4
        source = ImagesInMemory(x, attributes) if images else TableInMemory(x, attributes)
        return cls(source.index(), "y", "s", source.read)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def y(self) -> Attribute:
        """The class of each record."""
        return self.index.attribute(self.target)

    @property
    def s(self) -> Attribute:
        """The group of each record; one group of unknowns (-1) where no sensitive attribute is named."""
        if self.sensitive is None:
            return Attribute(np.full(len(self), -1, np.int16), ("unknown",))
        return self.index.attribute(self.sensitive)


@dataclass(frozen=True)
class Choice:
    """What a mix chose: n records of a pool.

    Attributes:
        positions: which records of the pool, int64, n, no position twice.
        target: the class that each is trained on (a mix may flip labels), int64, n.
        poisoned: True for records that an attack put there, bool, n.
        report: further fields of ``mix.json`` (``alpha``, ``violations``, ``exhausted``, ``mutual_information_xy``).
    """

    positions: np.ndarray
    target: np.ndarray
    poisoned: np.ndarray
    report: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Mix(Protocol):
    """Chooses the training set out of the pool.

    Attributes:
        policy: the mix's name in ``mix.json``.
        n: number of records to choose; None takes as many as there are.
    """

    policy: str
    n: int | None

    def choose(self, pool: Pool, seed: int) -> Choice:
        """Choose records; the same pool and seed give the same records.

        Raises:
            UserError: the pool does not hold enough records for what is asked.
        """
        ...


def check_size(n: int | None, available: int) -> int:
    """The number of records to choose: ``n``, or all where None.

    Raises:
        UserError: n is not positive, or more than there are.
    """
    if n is None:
        return available
    if n < 1:
        raise UserError(f"mix.n is {n}: ask for at least 1 record, or leave it out to take all")
    if n > available:
        raise UserError(
            f"the mix asks for n = {n} records, the pool has {available}: lower data.mix.n or widen the pool"
        )
    return n


class Clean:
    """A random draw from the pool, without replacement.

    Args:
        n: number of records; all of the pool where left out.
    """

    policy = "clean"

    def __init__(self, n: int | None = None) -> None:
        self.n = n

    def choose(self, pool: Pool, seed: int) -> Choice:
        """Draw ``n`` records at random."""
        n = check_size(self.n, len(pool))
        positions = np.random.default_rng([seed, CHOICE]).permutation(len(pool))[:n]
        return Choice(positions, pool.y.codes[positions].astype(np.int64), np.zeros(n, bool))


class Proportion:
    """A draw in which a property has an exact share: what property inference tries to read off.

    Args:
        p: share of the records that have the property, in [0, 1]; ``round(p * n)`` records have it.
        n: number of records; as many as the pool allows at this share where left out.
        property: name of the attribute; the sensitive one where left out.
        value: the class of that attribute that counts as having it, by its name or, where none is called so, by its
            number; the second in their order where left out.
    """

    policy = "proportion"

    def __init__(
        self,
        p: float,
        n: int | None = None,
        property: str | None = None,
        value: int | str | None = None,
    ) -> None:
        if not 0 <= p <= 1:
            raise UserError(f"mix.p is {p}: a share lies in [0, 1]")
        self.p, self.n, self.property, self.value = p, n, property, value

    def choose(self, pool: Pool, seed: int) -> Choice:
        """Draw records with and without the property, each at random."""
        name = self.property or pool.sensitive
        if name is None:
            raise UserError(
                "the mix 'proportion' needs data.mix.property or data.sensitive: name an attribute"
            )
        attribute = pool.index.attribute(name)
        code, note = self._place(name, attribute)
        have = np.flatnonzero(attribute.codes == code)
        # unknown is not lacking
        lack = np.flatnonzero((attribute.codes != code) & (attribute.codes >= 0))
        n = (
            self._most(name, len(have), len(lack))
            if self.n is None
            else check_size(self.n, len(pool))
        )
        wanted = self._share(n)
        if wanted > len(have) or n - wanted > len(lack):
            raise UserError(
                f"a share p = {self.p:g} of '{name}' in n = {n} records needs {wanted} with it and "
                f"{n - wanted} without; the pool has {len(have)} and {len(lack)}: lower data.mix.n or change data.mix.p"
            )
        rng = np.random.default_rng([seed, CHOICE])
        positions = np.concatenate(
            [rng.permutation(have)[:wanted], rng.permutation(lack)[: n - wanted]]
        )
        positions = rng.permutation(positions)
        report = {
            "property": name,
            "share": float(np.mean(attribute.codes[positions] == code)),
            "value": attribute.classes[code],
            "p": self.p,
            **({"notes": [note]} if note else {}),
        }
        return Choice(
            positions, pool.y.codes[positions].astype(np.int64), np.zeros(n, bool), report
        )

    def _place(self, name: str, attribute: Attribute) -> Place:
        """The class that counts as having the property."""
        if self.value is not None:
            return place_of(self.value, attribute.classes, f"value of '{name}'")
        if len(attribute.classes) < 2:
            raise UserError(
                f"'{name}' has one class only, {listed(attribute.classes)}: name it in data.mix.value"
            )
        return Place(1)

    def _share(self, n: int) -> int:
        """How many of n records have the property: p * n rounded, a half upwards."""
        # 0.57 * 50 is 28.499...: the product is rounded first
        return int(np.floor(np.round(self.p * n, 9) + 0.5))

    def _most(self, name: str, have: int, lack: int) -> int:
        """The largest n for which both kinds suffice; a kind that is asked for must not be missing altogether."""
        if (self.p > 0 and not have) or (self.p < 1 and not lack):
            raise UserError(
                f"a share p = {self.p:g} of '{name}' cannot be had: the pool has no record with"
                f"{'out' if have else ''} it ({have} with, {lack} without); change data.mix.p or widen the pool"
            )
        limits = [(have + 0.5) / self.p] if self.p > 0 else []
        limits += [(lack + 0.5) / (1 - self.p)] if self.p < 1 else []
        n = min(int(min(limits)) + 1, have + lack)
        while (k := self._share(n)) > have or n - k > lack:
            n -= 1
        return n


def balanced(index: Index, names: list[str], seed: int) -> np.ndarray:
    """Positions of a random subset in which every combination of these attributes has the same count.

    Raises:
        UserError: a combination is empty (the message gives the counts).
    """
    attributes = [index.attribute(name) for name in names]
    shape = tuple(len(a.classes) for a in attributes)
    cells = np.ravel_multi_index(tuple(a.codes.astype(np.int64) for a in attributes), shape)
    counts = np.bincount(cells, minlength=int(np.prod(shape)))
    if counts.min() == 0:
        table = "; ".join(
            f"{', '.join(a.classes[c] for a, c in zip(attributes, np.unravel_index(i, shape), strict=True))}: {count}"
            for i, count in enumerate(counts)
        )
        raise UserError(
            f"an empty cell of {' x '.join(names)} cannot be balanced ({table}): use data.pool natural"
        )
    order = np.random.default_rng([seed, BALANCE]).permutation(len(index))
    by_cell = order[np.argsort(cells[order], kind="stable")]
    starts = np.cumsum(counts) - counts
    keep = np.concatenate([by_cell[start : start + counts.min()] for start in starts])
    return np.sort(keep)
