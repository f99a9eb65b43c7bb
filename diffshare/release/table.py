"""What a release says of the table that its model makes: ``table/schema.json``, checked before it is used.

The schema holds what turns the model's numbers into cells: names, categories, and for each numeric column quantiles
of the training values. Those are facts of the training data (the smallest and the largest value among them) that the
release gives away as they stand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from diffshare.errors import UserError
from diffshare.received import Fields, is_name, is_number, parse_json
from diffshare.release.card import MAX_LABELS
from diffshare.release.folder import Release
from diffshare.release.generator import Generator
from diffshare.stats.quantiles import MOST, fit_quantiles

SCHEMA = "table/schema.json"
MAX_SCHEMA = 64 << 20  # bytes: a thousand quantiles for each of some thousand columns
MOST_DECIMALS = 6  # of a numeric column's cells
MAX_FEATURES = 8192  # numbers in a row as the network sees it


@dataclass(frozen=True)
class TableColumn:
    """One column.

    Attributes:
        name: its name, different from those of the other columns.
        kind: ``"numeric"`` or ``"categorical"``.
        categories: texts of the codes 0..K-1 of a categorical column.
        integer: all values of a numeric column are whole numbers.
        missing: a numeric column has missing cells.
        quantiles: of the known values of a numeric column, rising; see :func:`diffshare.stats.quantiles.fit_quantiles`.
            Empty where no value is known.
        decimals: decimals of a numeric column's cells, 0 to 6; None where they are not fixed.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    categories: tuple[str, ...] = ()
    integer: bool = False
    missing: bool = False
    quantiles: tuple[float, ...] = ()
    decimals: int | None = None

    @property
    def constant(self) -> bool:
        """Whether all known values are the same: a model has nothing to learn of the column but where it is missing."""
        if self.kind == "categorical":
            return len(self.categories) == 1
        return not self.quantiles or self.quantiles[0] == self.quantiles[-1]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        named = {"name": self.name, "kind": self.kind}
        if self.kind == "categorical":
            return named | {"categories": list(self.categories)}
        fixed = {} if self.decimals is None else {"decimals": self.decimals}
        return named | {"integer": self.integer, "missing": self.missing, "quantiles": list(self.quantiles)} | fixed


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


def fit_schema(rows: np.ndarray, columns: Sequence[SourceColumn], target: str, mark: str) -> TableSchema:
    """The schema of these rows. A category that none of them has is left out: the model can never make it.

    A constant column, also one without any known value, is kept: what the model makes has it too.

    Args:
        rows: the training records, float32, N x columns: values (NaN where missing) and codes of the source.
        columns: what the source says of each column.
        target: name of the column of the class.
        mark: the text of a missing cell.

    Raises:
        UserError: no such categorical column, or one that is constant (names it).
    """
    fitted = tuple(_fit_column(rows[:, i], column) for i, column in enumerate(columns))
    schema = TableSchema(fitted, target, mark)
    if target not in schema.names or schema.target_column.kind != "categorical":
        raise UserError(f"data.target '{target}' is no categorical column of the table: choose one of its columns")
    if schema.target_column.constant:
        raise UserError(
            f"data.target '{target}' is constant, {schema.target_column.categories[0]!r:.60} in all {len(rows)} "
            "training records: choose another mix or another target"
        )
    return parse_schema(schema.to_json(), "the table")  # what a receiver would refuse is refused before the training


def _fit_column(values: np.ndarray, column: SourceColumn) -> TableColumn:
    known = values[~np.isnan(values)]
    if column.kind == "categorical":
        seen = np.unique(known.astype(np.int64))
        return TableColumn(column.name, "categorical", tuple(column.categories[code] for code in seen))
    quantiles = tuple(fit_quantiles(known).tolist()) if len(known) else ()
    missing = len(known) < len(values)
    return TableColumn(column.name, "numeric", (), column.integer, missing, quantiles, column.decimals)


def parse_schema(value: Any, where: str = SCHEMA) -> TableSchema:
    """Check every field of a received schema.

    Raises:
        UserError: a field of a wrong type, size or range (names it and says what was expected).
    """
    fields = Fields(value, where)
    entries = fields.value.get("columns")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_LABELS:
        fields.refuse("columns", f"a list of 1 to {MAX_LABELS} columns")
    columns = tuple(_parse_column(Fields(entry, f"{where}, column {i}")) for i, entry in enumerate(entries))
    if len({column.name for column in columns}) < len(columns):
        raise UserError(f"{where}: two columns have the same name: rename one")
    mark = fields.value.get("mark")
    if mark != "" and not is_name(mark):
        fields.refuse("mark", "a text of at most 100 printable characters")
    schema = TableSchema(columns, fields.text("target"), mark)
    if schema.target not in schema.names or len(schema.target_column.categories) < 2:
        fields.refuse("target", "the name of a categorical column with two categories or more")
    features = sum(len(column.categories) or 1 + 2 * column.missing for column in columns)
    if features > MAX_FEATURES:
        raise UserError(
            f"{where} takes {features} numbers a row (one a numeric column, one a category), more than {MAX_FEATURES}: "
            "leave out a column with many categories"
        )
    return schema


def _parse_column(fields: Fields) -> TableColumn:
    name, kind = fields.text("name"), fields.value.get("kind")
    if kind == "categorical":
        categories: Any = fields.value.get("categories")
        fits = isinstance(categories, list) and 1 <= len(categories) <= MAX_FEATURES
        if not fits or not all(text == "" or is_name(text) for text in categories):
            fields.refuse("categories", f"1 to {MAX_FEATURES} texts of at most 100 printable characters")
        if len(set(categories)) < len(categories):
            fields.refuse("categories", "a list without repetitions")
        return TableColumn(name, "categorical", tuple(categories))
    if kind != "numeric":
        fields.refuse("kind", '"numeric" or "categorical"')
    quantiles: Any = fields.value.get("quantiles")
    largest = float(np.finfo(np.float32).max)
    unknown = quantiles == [] and fields.value.get("missing") is True  # no known value at all
    fits = isinstance(quantiles, list) and (unknown or 2 <= len(quantiles) <= MOST)
    if not fits or not all(is_number(q) and abs(q) <= largest for q in quantiles):
        fields.refuse("quantiles", f"2 to {MOST} numbers that float32 can hold")
    if not all(a <= b for a, b in zip(quantiles, quantiles[1:], strict=False)):
        fields.refuse("quantiles", "rising numbers")
    flags: Mapping[str, Any] = {key: fields.value.get(key) for key in ("integer", "missing")}
    for key, flag in flags.items():
        if not isinstance(flag, bool):
            fields.refuse(key, "true or false")
    decimals = fields.integer("decimals", 0, MOST_DECIMALS) if fields.value.get("decimals") is not None else None
    return TableColumn(name, "numeric", quantiles=tuple(map(float, quantiles)), decimals=decimals, **flags)


def load_schema(release: Release) -> TableSchema:
    """The schema of a release, checked against its card.

    Raises:
        UserError: there is none, it is malformed, or its columns and classes are not those of the card.
    """
    where = f"{release.folder / SCHEMA}"
    schema = parse_schema(parse_json(release.read(SCHEMA, MAX_SCHEMA), where), where)
    card = release.card
    if schema.names != card.columns:
        raise UserError(f"{where} names other columns than the card: get the release again")
    if card.labels and card.labels != schema.target_column.categories:
        raise UserError(f"{where}: the categories of '{schema.target}' are not the labels of the card")
    return schema
