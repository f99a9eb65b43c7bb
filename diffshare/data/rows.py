"""What all sources share beside their files: derived attributes, the choice of records, groups of records.

A source that inherits from :class:`ChosenRows` says what it holds in ``_index`` and decodes it in
``_read``; what others see, ``index()`` and ``read()``, are the records that are chosen of it.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from diffshare.data.coding import parts_beside_test
from diffshare.data.csvfile import read_blocks, read_header
from diffshare.data.grammar import shown
from diffshare.data.source import PARTS, BadRecord, Index
from diffshare.data.where import rows_where
from diffshare.errors import UserError, one_of

FOLDER = "folder"
_KEPT_IN = (0, 2, 1)  # the sharer's part goes before the test part, that before the auxiliary one
_TEST = PARTS.index("test")


@dataclass(frozen=True)
class Chosen:
    """The records that are chosen of a source.

    Attributes:
        index: of these.
        rows: their positions in the whole, ascending, int64; None where it is all of them.
        notes: how many they are and why, sentences.
    """

    index: Index
    rows: np.ndarray | None = None
    notes: tuple[str, ...] = ()


class ChosenRows:
    """Base of the sources.

    Args:
        derive: name to expression of further attributes, for instance ``old: "age>=40"``,
            ``band: "age:quantiles(4)"``, ``who: "sex x race"``, ``sex: "code{A91|A93=male,A92=female}"``.
        where: condition on columns and attributes, for instance ``age >= 18 and sex != 'Male'``; records of which it
            does not hold are left out.
        group_column: column or attribute that names the person (patient, household) of a record; all records of one
            fall into one part. ``folder`` is the folder of an image.
        on_shared_group: what becomes of a group that the source's own parts cut: ``error``, or ``drop`` its records
            on the receiver's side.
    """

    derive: Mapping[str, str] = {}
    where: str | None = None
    group_column: str | None = None
    on_shared_group: Literal["error", "drop"] = "error"
    shares: tuple[float, float, float]

    def __init__(
        self,
        derive: dict[str, str] | None = None,
        where: str | None = None,
        group_column: str | None = None,
        on_shared_group: Literal["error", "drop"] = "error",
    ) -> None:
        self.derive, self.where, self.group_column = derive or {}, where, group_column
        self.on_shared_group = on_shared_group

    @property
    def _index(self) -> Index:
        """All that the source holds; read once."""
        raise NotImplementedError

    def _read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Decode records at these positions of ``_index``, as ``read`` does."""
        raise NotImplementedError

    def _cells(self, column: str) -> np.ndarray | None:
        """Texts of a column that is no attribute, N, empty where not known; None where there is none."""
        return None

    def index(self) -> Index:
        """Names, sizes, attributes and parts of the chosen records; nothing is decoded.

        Raises:
            UserError: the place is not such a source, a file of it is malformed, no record is chosen, an attribute
                cannot be derived, or a group stands in two of the source's own parts.
        """
        return self._chosen.index

    def read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Decode the records at these positions of ``index()``; see :class:`diffshare.data.source.Source`."""
        rows = self._chosen.rows
        if rows is None:
            return self._read(positions, out)
        try:
            return self._read(rows[positions], out)
        except BadRecord as error:
            error.position = int(np.searchsorted(rows, error.position))
            raise

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of the source and why, sentences."""
        return self._chosen.notes

    @functools.cached_property
    def _chosen(self) -> Chosen:
        chosen = Chosen(self._index)
        if self.where is not None:
            chosen = choose(
                chosen, rows_where(chosen.index, self.where, self._cells), f"where {self.where}"
            )
        if self.group_column is not None:
            groups = self._groups(self.group_column)
            groups = groups if chosen.rows is None else groups[chosen.rows]
            chosen = replace(chosen, index=replace(chosen.index, groups=groups))
        chosen = self._uncut(chosen)
        if self.derive:
            chosen = replace(chosen, index=with_derived(chosen.index, self.derive))
        return chosen

    def _groups(self, name: str) -> np.ndarray:
        """Name of the group of each record of the whole, empty where it has none."""
        index = self._index
        if name in index.attributes:
            attribute = index.attributes[name]
            return np.array([*attribute.classes, ""])[attribute.codes]
        if name in index.numbers:
            values, places = np.unique(index.numbers[name], return_inverse=True)
            texts = ["" if np.isnan(value) else shown(value) for value in values]
            return np.array(texts)[places.reshape(-1)]
        if (cells := self._cells(name)) is not None:
            return cells
        if name == FOLDER:
            folders = np.array([path.rpartition("/")[0] for path in index.names.tolist()])
            if (folders != "").any():
                return folders
        raise one_of("group_column", name, {*index.attributes, *index.numbers})

    def _uncut(self, chosen: Chosen) -> Chosen:
        """The chosen records with no group in two of the source's own parts."""
        index = chosen.index
        if index.groups is None or index.parts is None:
            return chosen
        parts, test = index.parts, index.parts == _TEST
        # where only the test part is official, the others were drawn by the names of the records
        if self.shares[2] == 0 and np.array_equal(
            parts, parts_beside_test(replace(index, groups=None), test, self.shares)
        ):
            parts = parts_beside_test(index, test, self.shares)
            chosen = replace(chosen, index=replace(index, parts=parts))
        cut = cut_groups(index.groups, parts)
        if not cut.any():
            return chosen
        names = np.unique(index.groups[cut])
        what = f"of '{self.group_column}'" if self.group_column else "(persons)"
        if self.on_shared_group == "error":
            where = " and ".join(
                PARTS[part] for part in np.unique(parts[index.groups == names[0]]).tolist()
            )
            raise UserError(
                f"{len(names)} groups {what} stand in more than one part of the source, the first '{names[0]}' in "
                f"{where}: the parts would not be disjoint; set on_shared_group: drop to leave their records out on "
                "the receiver's side"
            )
        return choose(chosen, ~cut, f"{len(names)} groups {what} stood in more than one part")


def csv_cells(
    path: Path,
    column: str,
    names: Sequence[str] | None = None,
    delimiter: str = ",",
    missing: str = "",
) -> np.ndarray | None:
    """The texts of one column of a CSV file.

    Args:
        path: the file.
        column: name of the column.
        names: of all columns where the file has no header.
        delimiter: one character.
        missing: the mark of a missing cell, which becomes empty.

    Returns:
        numpy str, N; None where the file has no such column.
    """
    header = list(read_header(path, delimiter) if names is None else names)
    if column not in header:
        return None
    place = header.index(column)
    blocks = read_blocks(path, len(header), delimiter=delimiter, header=names is None)
    texts = np.concatenate([np.array(block.columns[place], np.str_) for block in blocks])
    return np.where(texts == missing, "", texts)


def cut_groups(groups: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """The records of groups that parts cut, but for those that stay: on the sharer's side, else in the test part.

    Args:
        groups: name of the group of each record, empty where it has none, N.
        parts: positions in ``PARTS``, N.

    Returns:
        bool, N.
    """
    names, places = np.unique(groups, return_inverse=True)
    places = places.reshape(-1)
    present = np.zeros((len(names), len(PARTS)), bool)
    present[places, parts] = True
    stays = np.array(_KEPT_IN)[present[:, _KEPT_IN].argmax(1)]
    return (groups != "") & (parts != stays[places])


def choose(chosen: Chosen, mask: np.ndarray, why: str) -> Chosen:
    """Of the chosen records those of a mask, bool, N.

    Raises:
        UserError: none is left.
    """
    if not mask.any():
        raise UserError(f"no record is left: {why}")
    kept = np.flatnonzero(mask)
    rows = kept if chosen.rows is None else chosen.rows[kept]
    note = f"{why}: {len(kept):,} of {len(mask):,} records are left"
    # what is derived is settled on the chosen records
    index = replace(chosen.index.take(kept), origin=None)
    return Chosen(index, rows, (*chosen.notes, note))


def with_derived(index: Index, derive: Mapping[str, str]) -> Index:
    """The index with further attributes.

    Args:
        index: of all chosen records.
        derive: name to expression, each may use those before it.

    Raises:
        UserError: a name that is an attribute already, or an expression that does not fit.
    """
    made = replace(index, derived={**index.derived, **{k: str(v) for k, v in derive.items()}})
    for name in derive:
        if name in index.attributes:
            raise UserError(
                f"derive: '{name}' is an attribute of the source already: choose another name"
            )
        made.derivation(name)
    return made
