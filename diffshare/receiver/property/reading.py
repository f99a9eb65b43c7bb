"""Samples as a property classifier takes them, and properties that need none: columns of the samples themselves."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from diffshare.classes import join, listed
from diffshare.data.derived import Derivation
from diffshare.data.recoding import columns_as, recode
from diffshare.errors import UserError
from diffshare.receiver.property.inference import Asked, Inferred, counted
from diffshare.receiver.property.queries import Queries
from diffshare.receiver.records import Labelled


def reader(
    auxiliary: Labelled, queries: Queries, option: str = "auxiliary"
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from samples to records in the auxiliary source's columns and codes.

    It raises UserError for samples of another kind, size or number of channels, naming the argument ``option``.
    """

    def ready(x: np.ndarray) -> np.ndarray:
        if bool(queries.columns) != bool(auxiliary.columns):
            kinds = ("images", "rows of a table")
            raise UserError(
                f"the samples are {kinds[bool(queries.columns)]}, the {option} records "
                f"{kinds[bool(auxiliary.columns)]}: both must be of one kind"
            )
        if auxiliary.columns:
            return recode(x, queries.columns, auxiliary.columns)
        if x.shape[1:] != auxiliary.x.shape[1:]:
            raise UserError(
                f"the samples are {_size(x)}, the {option} images {_size(auxiliary.x)}: add `{option}.image_size` "
                f"{x.shape[1]} (or name a source of as many channels)"
            )
        return x

    return ready


def _size(x: np.ndarray) -> str:
    return " x ".join(map(str, x.shape[1:]))


def is_column(name: str, queries: Queries, derivation: Derivation | None = None) -> bool:
    """Whether the samples have the property as a column, or the columns that it is derived from."""
    names = [column.name for column in queries.columns]
    return name in names or (derivation is not None and {*derivation.reads}.issubset(names))


def counted_column(
    what: Asked, queries: Queries, x: np.ndarray, derivation: Derivation | None = None
) -> Inferred:
    """Read a property off its own column.

    Args:
        what: the property, a column of the samples.
        queries: where the samples are from.
        x: the samples, float32, n x columns.
        derivation: how it is derived from other columns, where it is.

    Raises:
        UserError: no cell has one of the property's classes.
    """
    names = [column.name for column in queries.columns]
    if derivation is not None and what.name not in names:
        codes = derivation.apply(*columns_as(queries.columns, x)).codes
        if not (known := codes[codes >= 0]).size:
            raise UserError(
                f"'{what.name}' is known of none of the samples: fill in {listed(derivation.reads)}"
            )
        left = f"{len(codes) - len(known)} samples left out: a cell is missing or of another value"
        of = f"counted in the samples' own {listed(derivation.reads)}: no classifier, no auxiliary record was used"
        notes = [of, *([left] if len(known) < len(codes) else [])]
        return replace(counted(what, known.astype(np.int64), "column"), notes=tuple(notes))
    place = names.index(what.name)
    column, values = queries.columns[place], x[:, place]
    if not column.categories:
        raise UserError(
            f"the column '{what.name}' of the samples holds numbers, not the classes {listed(what.classes)}"
        )
    who, whose = f"the samples' column '{what.name}'", f"'{what.name}' of the auxiliary source"
    joined = join(column.categories, what.classes, who, whose, kind="values", by_position=False)
    codes = np.where(np.isnan(values), -1, joined.codes[np.nan_to_num(values).astype(np.int64)])
    told = codes[codes >= 0]
    if not len(told):
        raise UserError(
            f"no cell of {who} has one of the classes {listed(what.classes)}: draw more samples"
        )
    notes = [
        f"counted in the column '{what.name}' of the samples: no classifier, no auxiliary record was used"
    ]
    if len(told) < len(codes):
        others = f" ({listed(joined.beyond)})" if joined.beyond else ""
        notes.append(
            f"{len(codes) - len(told)} samples left out: the cell is missing or of another category{others}"
        )
    return replace(counted(what, told, "column"), notes=tuple(notes))
