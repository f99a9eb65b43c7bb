"""What a release says of the table that its model makes: ``table/schema.json``, checked before it is used.

The schema holds what turns the model's numbers into cells: names, categories, and for each numeric
column two round bounds. Who reads it reads what it says of the training data without a query:
:mod:`diffshare.release.disclosure` has what that is. Releases of format 1 have quantiles of the
training values in the place of bounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from diffshare.errors import UserError
from diffshare.received import Fields, is_name, is_number, parse_json
from diffshare.release.card import FORMAT, MAX_LABELS
from diffshare.release.folder import Release
from diffshare.release.generator import Generator

SCHEMA = "table/schema.json"
MAX_SCHEMA = 64 << 20  # bytes: of format 1, a thousand quantiles for each of some thousand columns
MAX_QUANTILES = 1000  # of a column, of format 1
MAX_FEATURES = 8192  # numbers in a row as the network sees it
MAX_CELLS = 100  # of the grid of a numeric column
MOST_DECIMALS = 6  # of a numeric column's cells


@dataclass(frozen=True)
class TableColumn:
    """One column.

    Attributes:
        name: its name, different from those of the other columns.
        kind: ``"numeric"`` or ``"categorical"``.
        categories: texts of the codes 0..K-1 of a categorical column.
        integer: the values of a numeric column are whole numbers.
        missing: a numeric column has missing cells.
        quantiles: of format 1, of the known values of a numeric column, rising: the first is the
            smallest, the last the largest value.
        bounds: of a numeric column, low < high, or twice the value of a constant one; empty where
            no value is known, and with quantiles.
        cells: of the grid between them, see :mod:`diffshare.stats.grid`; 0 of a constant column, and with quantiles.
        zero: 0 is a value of its own beside those between the bounds.
        decimals: decimals of a numeric column's cells, 0 to 6; None where they are not fixed.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    categories: tuple[str, ...] = ()
    integer: bool = False
    missing: bool = False
    quantiles: tuple[float, ...] = ()
    bounds: tuple[float, float] | tuple[()] = ()
    cells: int = 0
    zero: bool = False
    decimals: int | None = None

    @property
    def constant(self) -> bool:
        """Whether all known values are the same: a model has nothing to learn of the column but where it is missing."""
        if self.kind == "categorical":
            return len(self.categories) == 1
        ends = self.quantiles or self.bounds
        return not ends or ends[0] == ends[-1]

    @property
    def states(self) -> int:
        """Codes that say what a numeric cell is: a cell of the grid, or 0, or missing; 1 where all are missing."""
        return (
            max(self.cells, 1)
            + self.zero
            + (self.missing and len(self.quantiles or self.bounds) > 0)
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        named = {"name": self.name, "kind": self.kind}
        if self.kind == "categorical":
            return named | {"categories": list(self.categories)}
        numeric = named | {"integer": self.integer, "missing": self.missing}
        if self.quantiles:
            return numeric | {"quantiles": list(self.quantiles)}
        fixed = {} if self.decimals is None else {"decimals": self.decimals}
        return (
            numeric | {"bounds": list(self.bounds), "cells": self.cells, "zero": self.zero} | fixed
        )


@dataclass(frozen=True)
class TableSchema:
    """The columns of a table and which of them is the class.

    Attributes:
        columns: in the order of the source.
        target: name of the categorical column whose categories are the classes.
        mark: the text of a missing cell.
    """

    columns: tuple[TableColumn, ...]
    target: str
    mark: str = "?"

    @property
    def numeric(self) -> tuple[int, ...]:
        """Positions of the numeric columns."""
        return tuple(i for i, column in enumerate(self.columns) if column.kind == "numeric")

    @property
    def categorical(self) -> tuple[int, ...]:
        """Positions of the categorical columns."""
        return tuple(i for i, column in enumerate(self.columns) if column.kind == "categorical")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def target_column(self) -> TableColumn:
        """The column of the class."""
        return self.columns[self.names.index(self.target)]

    def to_json(self) -> dict[str, Any]:
        """What ``table/schema.json`` holds."""
        columns = [column.to_json() for column in self.columns]
        return {"target": self.target, "mark": self.mark, "columns": columns}


@runtime_checkable
class TableGenerator(Generator, Protocol):
    """A black box that makes rows: its ``sample`` returns float32, n x columns, coded as its schema says.

    A numeric cell is its value, NaN where it is missing; a categorical cell is the number of its category.
    """

    schema: TableSchema


def parse_schema(value: Any, where: str = SCHEMA, form: int = FORMAT) -> TableSchema:
    """Check every field of a received schema.

    A constant column, also one without any known value, is kept: what the model makes has it too.

    Args:
        value: parsed JSON.
        where: the file's name for messages.
        form: format of the release that it is of.

    Raises:
        UserError: a field of a wrong type, size or range (names it and says what was expected).
    """
    fields = Fields(value, where)
    entries = fields.value.get("columns")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_LABELS:
        fields.refuse("columns", f"a list of 1 to {MAX_LABELS} columns")
    columns = tuple(
        _parse_column(Fields(entry, f"{where}, column {i}"), form)
        for i, entry in enumerate(entries)
    )
    if len({column.name for column in columns}) < len(columns):
        raise UserError(f"{where}: two columns have the same name: rename one")
    mark = fields.value.get("mark")
    if mark != "" and not is_name(mark):
        fields.refuse("mark", "a text of at most 100 printable characters")
    schema = TableSchema(columns, fields.text("target"), mark)
    if schema.target not in schema.names or len(schema.target_column.categories) < 2:
        fields.refuse("target", "the name of a categorical column with two categories or more")
    features = sum(
        len(column.categories) or 1 + column.states * (column.states > 1) for column in columns
    )
    if features > MAX_FEATURES:
        raise UserError(
            f"{where} takes {features} numbers a row (one a cell of a number and a category), more than "
            f"{MAX_FEATURES}: leave out a column with many categories"
        )
    return schema


def _parse_column(fields: Fields, form: int) -> TableColumn:
    name, kind = fields.text("name"), fields.value.get("kind")
    if kind == "categorical":
        categories: Any = fields.value.get("categories")
        fits = isinstance(categories, list) and 1 <= len(categories) <= MAX_FEATURES
        if not fits or not all(text == "" or is_name(text) for text in categories):
            fields.refuse(
                "categories", f"1 to {MAX_FEATURES} texts of at most 100 printable characters"
            )
        if len(set(categories)) < len(categories):
            fields.refuse("categories", "a list without repetitions")
        return TableColumn(name, "categorical", tuple(categories))
    if kind != "numeric":
        fields.refuse("kind", '"numeric" or "categorical"')
    if form > 1 and "quantiles" in fields.value:
        raise UserError(
            f"{fields.where} has quantiles, which say what share of the values lies below each: a schema of this "
            "format has bounds in their place; have the model trained again"
        )
    keys = ("integer", "missing") if form == 1 else ("integer", "missing", "zero")
    flags: Mapping[str, Any] = {key: fields.value.get(key) for key in keys}
    for key, flag in flags.items():
        if not isinstance(flag, bool):
            fields.refuse(key, "true or false")
    if form == 1:
        return TableColumn(name, "numeric", quantiles=_quantiles(fields), **flags)
    bounds = _bounds(fields, whole=flags["integer"])
    decimals = (
        fields.integer("decimals", 0, MOST_DECIMALS)
        if fields.value.get("decimals") is not None
        else None
    )
    cells = _cells(fields, bounds, whole=flags["integer"])
    return TableColumn(name, "numeric", bounds=bounds, cells=cells, decimals=decimals, **flags)


def _quantiles(fields: Fields) -> tuple[float, ...]:
    quantiles: Any = fields.value.get("quantiles")
    fits = isinstance(quantiles, list) and 2 <= len(quantiles) <= MAX_QUANTILES
    if not fits or not all(map(_fits, quantiles)):
        fields.refuse("quantiles", f"2 to {MAX_QUANTILES} numbers that float32 can hold")
    if (
        not all(a <= b for a, b in zip(quantiles, quantiles[1:], strict=False))
        or quantiles[0] == quantiles[-1]
    ):
        fields.refuse("quantiles", "rising numbers that are not all the same")
    return tuple(map(float, quantiles))


def _bounds(fields: Fields, *, whole: bool) -> tuple[float, float] | tuple[()]:
    bounds: Any = fields.value.get("bounds")
    if bounds == [] and fields.value.get("missing") is True:  # no known value at all
        return ()
    if (
        not isinstance(bounds, list)
        or len(bounds) != 2
        or not all(map(_fits, bounds))
        or not bounds[0] <= bounds[1]
    ):
        fields.refuse("bounds", "two numbers that float32 can hold, the second not below the first")
    low, high = map(float, bounds)
    if whole and not (low.is_integer() and high.is_integer()):
        fields.refuse("bounds", "whole numbers where integer is true")
    return low, high


def _cells(fields: Fields, bounds: tuple[float, float] | tuple[()], *, whole: bool) -> int:
    if not bounds or bounds[0] == bounds[1]:
        return fields.integer("cells", 0, 0)
    cells = fields.integer("cells", 1, MAX_CELLS)
    if whole and cells > bounds[1] - bounds[0] + 1:
        fields.refuse("cells", "no more than there are whole numbers between the bounds")
    return cells


def _fits(value: Any) -> bool:
    return is_number(value) and abs(value) <= float(np.finfo(np.float32).max)


def load_schema(release: Release) -> TableSchema:
    """The schema of a release, checked against its card.

    Raises:
        UserError: there is none, it is malformed, or its columns and classes are not those of the card.
    """
    where = f"{release.folder / SCHEMA}"
    card = release.card
    schema = parse_schema(parse_json(release.read(SCHEMA, MAX_SCHEMA), where), where, card.format)
    if schema.names != card.columns:
        raise UserError(f"{where} names other columns than the card: get the release again")
    if card.labels and card.labels != schema.target_column.categories:
        raise UserError(
            f"{where}: the categories of '{schema.target}' are not the labels of the card"
        )
    return schema
