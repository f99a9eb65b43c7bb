"""The two attributes that matter of each record: the class Y and the group S."""

from dataclasses import dataclass

import numpy as np

from diffshare.data.mixes import balanced
from diffshare.data.source import PARTS, Index, Part
from diffshare.errors import UserError


@dataclass(frozen=True)
class Roles:
    """Which attribute is what.

    Attributes:
        target: attribute that is the class Y.
        sensitive: attribute that is the group S; None where there is none.
        prefix: of the settings in messages.
    """

    target: str
    sensitive: str | None = None
    prefix: str = "data"

    def __post_init__(self) -> None:
        if self.sensitive == self.target:
            raise UserError(
                f"{self.prefix}.sensitive and {self.prefix}.target are both '{self.target}': name two attributes"
            )

    @property
    def names(self) -> list[str]:
        """The attributes, sensitive first."""
        return [name for name in (self.sensitive, self.target) if name is not None]

    def check_known(self, index: Index, rows: np.ndarray, part: Part) -> None:
        """Refuse records without a class or a group.

        Args:
            index: of the whole source.
            rows: the records of the part.
            part: its name, for the message.

        Raises:
            UserError: there are no records, an attribute has one class only, or is unknown for some records.
        """
        if not len(rows):
            raise UserError(
                f"the {part} part of the source holds no records: change the source's shares or its files"
            )
        for role, name in (("target", self.target), ("sensitive", self.sensitive)):
            if name is None:
                continue
            attribute = index.attribute(name)
            if len(attribute.classes) < 2:
                raise UserError(
                    f"{self.prefix}.{role} '{name}' has one class only ({attribute.classes}): choose another attribute"
                )
            if unknown := int(np.sum(attribute.codes[rows] < 0)):
                raise UserError(
                    f"{self.prefix}.{role} '{name}' is unknown for {unknown} {part} records: fill it in or drop them"
                )

    def rows_of(
        self, index: Index, parts: np.ndarray, part: Part, *, balance: bool, seed: int
    ) -> np.ndarray:
        """The records of a part, cut down to equal S x Y cells where ``balance`` asks for it; int64."""
        rows = np.flatnonzero(parts == PARTS.index(part))
        if balance and len(rows):
            self.check_known(index, rows, part)
            rows = rows[balanced(index.take(rows), self.names, seed)]
        return rows

    def codes(self, index: Index, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Class and group of each of these records, int64; the group is -1 where none is named."""
        target = index.attribute(self.target).codes[rows].astype(np.int64)
        if self.sensitive is None:
            return target, np.full(len(rows), -1, np.int64)
        return target, index.attribute(self.sensitive).codes[rows].astype(np.int64)

    def groups(self, index: Index) -> tuple[str, ...]:
        """Names of the groups; none where no sensitive attribute is named."""
        return () if self.sensitive is None else index.attribute(self.sensitive).classes
