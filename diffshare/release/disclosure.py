"""The schema of a table's release, fitted so that it says little of the records.

A schema must say how the model's numbers become cells, and whoever reads it reads that without a
single query. So it has no quantile, no mean and no extreme value: a numeric column is coded by a
grid between two round bounds (:mod:`diffshare.stats.grid`), and the shares are left to the model to
learn. What is left is of one kind: that at least so many records have something (a category, the
value 0, a missing cell, a decimal, a value beyond a bound), or that fewer do not have what all
others have (a constant). How many that takes is 5 to 20 (5 to 10 where there are 250, for instance,
or much would be lost), or one in a thousand where that is more. It is drawn, and so is by how much
a bound is taken further than it need be, from a hash of the records: the same records make the same
schema, and nobody else knows the draw. Without it, who knows the shares of a population exactly
would tell the number of records by what was named, and a number that moves with a share would tell
it by crossing a round one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol

import numpy as np

from diffshare.errors import UserError
from diffshare.release.table import MAX_FEATURES, TableColumn, TableSchema, parse_schema
from diffshare.stats.grid import CELLS, coarse_bounds

LEAST, MOST = 5, 20  # records that it takes to name something, by the hash of the records
PART = 25  # it takes no more than one in so many of them, but the least
SHARE = 1e-3  # of the records that it takes where they are many
# what rare categories are called where they have more than this share of the records
OTHER, MANY = (
    "other",
    0.05,
)


class SourceColumn(Protocol):
    """What a source says of a column."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> Literal["numeric", "categorical"]: ...  # noqa: D102
    @property
    def categories(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def integer(self) -> bool: ...  # noqa: D102
    @property
    def decimals(self) -> int | None: ...  # noqa: D102


def secret_of(rows: np.ndarray) -> np.random.Generator:
    """Draws that are the same for the same records (float32, N x columns), and that nobody can make without them."""
    digest = hashlib.sha256(np.ascontiguousarray(rows).tobytes()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def rarest(count: int, secret: np.random.Generator) -> int:
    """How many of so many records must have something before it is named."""
    most = min(max(count / PART, LEAST), MOST)
    return max(round(LEAST * (most / LEAST) ** secret.random()), int(np.ceil(SHARE * count)))


def fit_schema(
    rows: np.ndarray,
    columns: Sequence[SourceColumn],
    target: str,
    mark: str,
    secret: np.random.Generator | None = None,
) -> TableSchema:
    """The schema of these rows.

    A category of too few records is not named: it goes to the missing cells where the column has
    some, else to a category ``other`` where that is not rare itself; else records with it are no
    part of the training. The classes, which the card names as well, are all named. A numeric column
    that is constant but for too few records has the constant alone, one of too few known values none:
    what the model makes has them too.

    Args:
        rows: the training records, float32, N x columns: values (NaN where missing) and codes of
            the source.
        columns: what the source says of each column.
        target: name of the column of the class.
        mark: the text of a missing cell.
        secret: of what is drawn; a hash of the rows where left out.

    Raises:
        UserError: no such categorical column, or one that is constant; a column of which nothing can
            be named (names it).
    """
    secret = secret_of(rows) if secret is None else secret
    least = rarest(len(rows), secret)
    fitted = []
    for i, column in enumerate(columns):
        if column.kind == "categorical":
            fitted.append(
                _categorical(rows[:, i], column, 1 if column.name == target else least, mark)
            )
        else:
            dither = tuple(secret.random(3).tolist())
            fitted.append(_numeric(rows[:, i], column, least, dither))
    schema = with_cells(TableSchema(tuple(fitted), target, mark))
    if target not in schema.names or schema.target_column.kind != "categorical":
        raise UserError(
            f"data.target '{target}' is no categorical column of the table: choose one of its columns"
        )
    if schema.target_column.constant:
        raise UserError(
            f"data.target '{target}' is constant, {schema.target_column.categories[0]!r:.60} in all {len(rows)} "
            "training records: choose another mix or another target"
        )
    # what a receiver would refuse is refused before the training
    return parse_schema(schema.to_json(), "the table")


def with_cells(schema: TableSchema) -> TableSchema:
    """The schema with 25 cells for each numeric column that is not constant.

    There are fewer where there is no room, or where there are fewer whole numbers.
    """
    numeric = [schema.columns[i] for i in schema.numeric if not schema.columns[i].constant]
    named = sum(len(column.categories) for column in schema.columns)
    room = max(1, (MAX_FEATURES - named) // max(len(numeric), 1) - 3)
    changed = {
        column.name: replace(
            column, cells=min(CELLS, room, *_whole_numbers(column.bounds, column.integer))
        )
        for column in numeric
    }
    return replace(
        schema, columns=tuple(changed.get(column.name, column) for column in schema.columns)
    )


def _whole_numbers(bounds: tuple[float, ...], whole: bool) -> list[int]:
    return [int(bounds[1] - bounds[0]) + 1] if whole else []


def _categorical(values: np.ndarray, column: SourceColumn, least: int, mark: str) -> TableColumn:
    counts = np.bincount(values.astype(np.int64), minlength=len(column.categories))
    named = [
        text
        for text, count in zip(column.categories, counts.tolist(), strict=True)
        if count >= least
    ]
    kept = set(named) - {mark}
    rare = int(counts[(counts > 0) & (counts < least)].sum())
    if rare and mark in column.categories and mark not in named and rare >= least:
        named.append(mark)
    elif rare > max(least, MANY * len(values)) and mark not in named and OTHER not in named:
        named.append(OTHER)
    if not kept and (mark not in named or rare >= least):
        raise UserError(
            f"column '{column.name}' has no category with enough of the {len(values)} training records: a release "
            "would name single records by it; put categories together or leave it out"
        )
    return TableColumn(column.name, "categorical", tuple(named))


def _numeric(
    values: np.ndarray, column: SourceColumn, least: int, dither: tuple[float, float, float]
) -> TableColumn:
    present = values[~np.isnan(values)]
    if len(present) < least:
        return TableColumn(column.name, "numeric", missing=True)
    missing = len(values) - len(present) >= least
    decimals = _decimals(present, least, column.decimals)
    whole = decimals == 0 or _differ(present, 0) < least
    zero = least <= int((present == 0).sum()) <= len(present) - least
    if (value := _constant(present, least)) is not None:
        bounds, zero = (value, value), False
    else:
        bounds = coarse_bounds(
            present[present != 0] if zero else present, least, dither, whole=whole
        )
    return TableColumn(
        column.name, "numeric", (), whole, missing, bounds=bounds, zero=zero, decimals=decimals
    )


def _constant(present: np.ndarray, least: int) -> float | None:
    """The value that all but too few of them have, on either side; None where there is none."""
    place = min(least, (len(present) + 1) // 2) - 1
    ordered = np.sort(present)
    first, last = float(ordered[place]), float(ordered[-1 - place])
    return first if first == last else None


def _decimals(present: np.ndarray, least: int, most: int | None) -> int | None:
    """Decimals that all but too few of them have at most; None where the source has no fixed number of them."""
    if most is None:
        return None
    return next((places for places in range(most) if _differ(present, places) < least), most)


def _differ(present: np.ndarray, places: int) -> int:
    """How many have more decimals than so many."""
    return int((np.round(present.astype(np.float64), places).astype(np.float32) != present).sum())
