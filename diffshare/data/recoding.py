"""Rows in another table's columns and codes: categories meet by their texts."""

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from diffshare.data.attribute import Attribute
from diffshare.errors import UserError

_logger = logging.getLogger(__name__)
_KINDS = ("numbers", "categories")


class NamedColumn(Protocol):
    """What must be known of a column to read its codes."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def categories(self) -> tuple[str, ...]: ...  # noqa: D102


def recode(
    x: np.ndarray, columns: Sequence[NamedColumn], wanted: Sequence[NamedColumn]
) -> np.ndarray:
    """Rows in another table's columns and codes.

    Args:
        x: float32, N x columns.
        columns: what they are.
        wanted: the columns of the other table.

    Returns:
        float32, N x wanted; NaN for a category that the other table does not know.

    Raises:
        UserError: a wanted column is not there, or holds numbers in one table and categories in the other.
    """
    places = {column.name: i for i, column in enumerate(columns)}
    made = np.empty((len(x), len(wanted)), np.float32)
    for j, column in enumerate(wanted):
        if column.name not in places:
            raise UserError(
                f"the samples have no column '{column.name}', which the auxiliary source has: leave it out of the "
                f"auxiliary source or add `withhold` '{column.name}'"
            )
        values, mine = x[:, places[column.name]], columns[places[column.name]]
        if bool(mine.categories) != bool(column.categories):
            raise UserError(
                f"column '{column.name}' holds {_KINDS[bool(mine.categories)]} in the samples and "
                f"{_KINDS[bool(column.categories)]} in the source: describe it there as the samples have it"
            )
        if column.categories:
            codes = {text: code for code, text in enumerate(column.categories)}
            table = np.array([codes.get(text, np.nan) for text in mine.categories], np.float32)
            values = np.where(
                np.isnan(values), np.nan, table[np.nan_to_num(values).astype(np.int64)]
            )
        made[:, j] = values
    return made


def columns_as(
    columns: Sequence[NamedColumn], x: np.ndarray
) -> tuple[dict[str, Attribute], dict[str, np.ndarray]]:
    """The columns of rows as attributes and as numbers, by name, which others are derived from.

    Args:
        columns: what they are.
        x: float32, N x columns.
    """
    attributes, numbers = {}, {}
    for column, values in zip(columns, x.T, strict=True):
        if column.categories:
            codes = np.where(np.isnan(values), -1, values).astype(np.int16)
            attributes[column.name] = Attribute(codes, tuple(column.categories))
        else:
            numbers[column.name] = decimal(values)
    return attributes, numbers


def decimal(values: np.ndarray) -> np.ndarray:
    """Numbers of float32 as they are written in decimals: 0.7, not 0.699999988; float64."""
    unique, places = np.unique(values, return_inverse=True)
    return np.array([float(str(value)) for value in unique])[places.reshape(values.shape)]


def log_unknown(x: np.ndarray, columns: Sequence[NamedColumn], where: str) -> None:
    """Log how many cells of which columns :func:`recode` took as unknown.

    Args:
        x: float32, N x columns.
        columns: what they are.
        where: the file's name.
    """
    counts = {c.name: int(np.isnan(x[:, j]).sum()) for j, c in enumerate(columns) if c.categories}
    if some := [f"{name} ({count})" for name, count in counts.items() if count]:
        _logger.warning(
            "%s: cells with a category that the source lacks are taken as unknown, of %d rows in column %s",
            where,
            len(x),
            ", ".join(some)[:200],
        )
