"""Where records come from: a source names its records, says their attributes and decodes them.

A source is opened in two moves. ``index()`` is cheap (no image is read); ``read()`` decodes chosen records. What
stands between, the decoded cache and the disjoint parts, is the same for every source: see ``cache.py`` and
``split`` below.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, runtime_checkable

import numpy as np

from diffshare.data.attribute import Attribute
from diffshare.data.derived import Derivation, resolve
from diffshare.errors import UserError

Part = Literal["sharer", "auxiliary", "test"]
PARTS: tuple[Part, ...] = ("sharer", "auxiliary", "test")


@dataclass(frozen=True)
class Index:
    """What is known of a source without decoding it: N records in the source's own order.

    Attributes:
        names: the source's own name of each record (a file name, a row number), numpy str, N, all different.
        sizes: bytes of each record as it is stored (0 where a record has no size of its own), int64, N.
        attributes: attribute name to its codes.
        parts: position in ``PARTS`` of each record where the source has an official partition (int8, N), else None.
        stamps: modification times in ns where records are files (int64, N), else None. They are part of the cache's
            key, not of the source's hash: a copied folder is the same source.
        probe: hash of a sample of the stored bytes (see ``probe.py``), of the cache's key as well; empty where records
            are not stored.
        numbers: column name to the numbers that the source knows of each record, float64 (float32
            where that holds them exactly), N, NaN where not known: what attributes are derived from. No part of the
            source's hash.
        groups: name of the person, household or folder that each record belongs to, numpy str, N; empty for a record
            that belongs to none. None where the source names no groups.
        derived: name to expression of the attributes that the source derives from the others (``grammar.py``). No part
            of the hash: they say nothing new.
        origin: the index that this one was taken from; what is derived is settled there.
    """

    names: np.ndarray
    sizes: np.ndarray
    attributes: Mapping[str, Attribute]
    parts: np.ndarray | None = None
    stamps: np.ndarray | None = None
    probe: str = ""
    numbers: Mapping[str, np.ndarray] = field(default_factory=dict)
    groups: np.ndarray | None = None
    derived: Mapping[str, str] = field(default_factory=dict)
    origin: "Index | None" = field(default=None, repr=False)
    _derivations: dict[str, Derivation] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def attribute(self, name: str) -> Attribute:
        """The attribute called ``name``, else the derived one, else the one that ``name`` spells out.

        Raises:
            UserError: there is none of that name (the message lists those there are), or it cannot be derived.
        """
        derivation = self.derivation(name)
        if derivation is None:
            return self.attributes[name]
        return derivation.apply(self.attributes, self.numbers)

    def derivation(self, name: str) -> Derivation | None:
        """How an attribute is derived, the same for all indexes taken from one; None where it is one of the source.

        Raises:
            UserError: see :meth:`attribute`.
        """
        if name in self.attributes:
            return None
        home = self.origin or self
        if name not in home._derivations:
            home._derivations[name] = resolve(name, home.attributes, home.numbers, home.derived)
        return home._derivations[name]

    def has(self, name: str) -> bool:
        """Whether there is an attribute of that name, or one can be derived."""
        try:
            self.derivation(name)
        except UserError:
            return False
        return True

    def columns_of(self, name: str) -> tuple[str, ...]:
        """Columns that tell an attribute: its own, or those that it is derived from."""
        derivation = self.derivation(name)
        return (name,) if derivation is None else derivation.reads

    def take(self, positions: np.ndarray) -> "Index":
        """The index of these records alone (integer positions or a boolean mask, N)."""
        return replace(
            self,
            names=self.names[positions],
            sizes=self.sizes[positions],
            attributes={
                k: Attribute(a.codes[positions], a.classes) for k, a in self.attributes.items()
            },
            parts=None if self.parts is None else self.parts[positions],
            stamps=None if self.stamps is None else self.stamps[positions],
            numbers={name: values[positions] for name, values in self.numbers.items()},
            groups=None if self.groups is None else self.groups[positions],
            origin=self.origin or self,
        )

    def sha256(self) -> str:
        """Hash of the sorted record names, their sizes and the attribute table; the order of records is no part."""
        order = np.argsort(self.names, kind="stable")
        digest = hashlib.sha256()
        digest.update("\n".join(self.names[order].tolist()).encode())
        digest.update(self.sizes[order].astype("<i8").tobytes())
        for name in sorted(self.attributes):
            attribute = self.attributes[name]
            digest.update("\0".join((name, *attribute.classes)).encode())
            digest.update(attribute.codes[order].astype("<i2").tobytes())
        return digest.hexdigest()


@runtime_checkable
class Source(Protocol):
    """Records with attributes. A new kind of data is one class with these members, named in YAML by ``class_path``.

    One that inherits from :class:`diffshare.data.rows.ChosenRows` takes rows to choose, groups and derived attributes.

    Attributes:
        modality: ``"image"`` or ``"table"``.
        shares: shares of the sharer's, the auxiliary and the test part (they sum to 1); used only where
            the index has no official ``parts``.
        on_bad_image: ``"error"`` stops at a record that cannot be decoded, ``"skip"`` leaves it out and counts it.
    """

    modality: Literal["image", "table"]
    shares: tuple[float, float, float]
    on_bad_image: Literal["error", "skip"]

    def index(self) -> Index:
        """Names, sizes and attributes of all records.

        Raises:
            UserError: the place is not such a source, or a file of it is malformed (which, where and how to mend it).
        """
        ...

    def decoding(self) -> str:
        """All that ``read`` depends on besides the stored bytes (class, size, crop), as text: part of the cache's key.

        Two sources with the same text and the same index decode to the same arrays.
        """
        ...

    def read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Decode the records at these positions of ``index()``.

        Args:
            positions: int64, n.
            out: where to write, of the result's shape and type; a new array where None.

        Returns:
            uint8, n x H x W x C for images; float32, n x columns for tables.

        Raises:
            BadRecord: a record cannot be decoded.
        """
        ...


def open_data(path: Path, remedy: str = "check the path") -> BinaryIO:
    """Open a file of a source. A pipe or a device, which may have no end, is refused and not waited for.

    Args:
        path: the file; a link is followed.
        remedy: what to do where it cannot be read, for the message.

    Raises:
        UserError: no such file, or not a regular one.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"cannot read {path}: it is not a regular file; {remedy}")
        return path.open("rb")
    except (OSError, ValueError) as error:  # a null character in a name is a ValueError
        raise UserError(
            f"cannot read {path}: {getattr(error, 'strerror', error)}; {remedy}"
        ) from error


class BadRecord(UserError):
    """A record that cannot be decoded.

    Attributes:
        position: its position in the source's index.
    """

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position


def check_shares(shares: tuple[float, float, float]) -> tuple[float, float, float]:
    """Refuse shares of the three parts that are negative or do not sum to 1."""
    # NaN fails each comparison
    if not (len(shares) == 3 and min(shares) >= 0 and abs(sum(shares) - 1) <= 1e-6):
        raise UserError(
            f"shares {list(shares)} of {', '.join(PARTS)} must be three numbers >= 0 that sum to 1"
        )
    return shares


def split(index: Index, shares: tuple[float, float, float], seed: int) -> np.ndarray:
    """The part of each record: the source's official one, or one drawn by a hash of the record's own name.

    A record's part depends on nothing but its name, the shares and the seed: it stays the same when other records come
    or go, so two users who give one source the same shares and seed cannot meet in the same record. Where the source
    names groups, the name of a record's group takes the place of its own: all records of a group fall into one part.

    Returns:
        int8, N: positions in ``PARTS``.
    """
    if index.parts is not None:
        return index.parts
    check_shares(shares)
    key = seed.to_bytes(16, "little", signed=True)
    names = index.names.tolist()
    if index.groups is not None:
        # the mark keeps a group apart from a record of the same name
        names = [
            f"group\0{group}" if group else name
            for group, name in zip(index.groups.tolist(), names, strict=True)
        ]
    raw = b"".join(
        hashlib.blake2b(name.encode(), digest_size=8, key=key).digest() for name in names
    )
    uniform = np.frombuffer(raw, "<u8") / 2.0**64
    return np.searchsorted(np.cumsum(shares)[:2], uniform, side="right").astype(np.int8)


def portion(part: Part | Literal["all"], used: int, total: int) -> str:
    """How many records of a source are used, in words: ``auxiliary part: 400 of 2,000 records``."""
    return (
        f"all {total:,} records" if part == "all" else f"{part} part: {used:,} of {total:,} records"
    )
