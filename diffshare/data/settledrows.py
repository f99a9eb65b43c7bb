"""Samples read in the columns and codes of a reference, as ``settling.py`` has matched them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from diffshare.classes import quoted
from diffshare.data.coding import MAX_CLASSES
from diffshare.data.numbercolumn import whole_attribute
from diffshare.data.settling import Match, Settled, match_categories
from diffshare.data.source import Attribute, Index
from diffshare.data.table import Column, TableSource
from diffshare.errors import UserError


class SettledRows(NamedTuple):
    """Samples in the columns and codes of a reference.

    Attributes:
        x: float32, M x D, of the reference's columns in their order; NaN where they are absent or unknown.
        attributes: columns that are attributes of the reference, in its classes; -1 where unknown.
        notes: what was matched, and how many cells are unknown.
    """

    x: np.ndarray
    attributes: dict[str, Attribute]
    notes: tuple[str, ...]


def read_settled(
    source: TableSource,
    settled: Settled,
    columns: Sequence[Column],
    attributes: Mapping[str, Attribute],
) -> SettledRows:
    """Read samples as they were settled.

    Args:
        source: the samples.
        settled: how they are read.
        columns: of the reference.
        attributes: of the reference; of those that are no column of the samples nothing is returned.
    """
    index = source.index()
    x = np.full((len(index), len(columns)), np.nan, np.float32)
    matches = {match.name: match for match in settled.matches}
    notes = list(settled.notes)
    for place, column in enumerate(columns):
        match = matches.get(column.name)
        if match is None:
            continue
        if column.kind == "numeric":
            x[:, place] = _numbers(source, index, match.theirs)
            continue
        codes, missing = _codes(source, index, match)
        x[:, place] = np.where(codes < 0, np.nan, codes)
        last = len(column.categories) - 1
        if match.classes != column.categories:  # the mark of a missing cell is a category more
            x[missing, place] = last
    found = {}
    for name, attribute in attributes.items():
        if name in matches:
            match = matches[name]
            found[name] = _as_attribute(source, index, match, attribute)
    return SettledRows(x, found, tuple(notes))


def _as_attribute(
    source: TableSource, index: Index, match: Match, attribute: Attribute
) -> Attribute:
    if match.kind == "categorical":
        return Attribute(_codes(source, index, match)[0].astype(np.int16), attribute.classes)
    # numbers of the reference that are an attribute too: met by their values
    codes, _ = match_categories(
        match.name, attribute.classes, _coded(source, index, match.theirs).classes, {}
    )
    return _recoded(_coded(source, index, match.theirs), codes, attribute.classes)


def _recoded(coded: Attribute, codes: Mapping[str, int], classes: tuple[str, ...]) -> Attribute:
    table = np.array([*(codes.get(text, -1) for text in coded.classes), -1], np.int16)
    return Attribute(table[coded.codes], classes)


def _codes(source: TableSource, index: Index, match: Match) -> tuple[np.ndarray, np.ndarray]:
    """Code of each record in the reference's classes, -1 where unknown, and which cells are missing."""
    coded = _coded(source, index, match.theirs)
    return _recoded(coded, match.codes, match.classes).codes, coded.codes < 0


def _coded(source: TableSource, index: Index, name: str) -> Attribute:
    if name in index.attributes:
        return index.attributes[name]
    coded = whole_attribute(_numbers(source, index, name))
    if coded is None:
        raise UserError(
            f"column {quoted(name)} of the samples is not of at most {MAX_CLASSES} whole numbers: cut it into ranges"
        )
    return coded


def _numbers(source: TableSource, index: Index, name: str) -> np.ndarray:
    """A column as numbers, float64, N, NaN where missing."""
    if name in index.numbers:
        return index.numbers[name]
    if name in index.attributes:
        attribute = index.attributes[name]
        return np.array([*map(float, attribute.classes), np.nan])[attribute.codes]
    place = next(i for i, column in enumerate(source.columns) if column.name == name)
    return source.read(np.arange(len(index)))[:, place].astype(np.float64)
