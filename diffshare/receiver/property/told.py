"""What a release's schema says of a share by itself, read as an attacker reads it: without a query.

A schema of format 1 has quantiles of the training records: the share above any threshold lies
between two ranks, and the number of quantiles is a thirtieth of the number of records. A schema of
format 2 has names and round bounds: that few records (5 to 20, or one in a thousand) have what is
not named, and nothing of what is.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from diffshare.errors import UserError, one_of
from diffshare.receiver.property.inference import Asked, Assumption, Inferred
from diffshare.release.table import MAX_QUANTILES, TableColumn, TableSchema

FEW = (
    0.02  # share that 20 records are of 1,000: what is not named has less, where there are as many
)
# records that stand behind a quantile of format 1; quantiles that there are at least
EACH, LEAST = (
    30,
    10,
)
_THRESHOLD = re.compile(
    r"(?P<name>.+?)\s*(?P<sign>>=|<=|>|<)\s*(?P<number>[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)"
)


@dataclass(frozen=True)
class Told:
    """What the schema says of a share.

    Attributes:
        low: the share is at least this.
        high: and at most this.
        said: why, a sentence.
    """

    low: float
    high: float
    said: str

    @property
    def tells(self) -> bool:
        """Whether it says anything."""
        return (self.low, self.high) != (0.0, 1.0)


class Threshold(NamedTuple):
    """A property of a number, such as ``age>=40``."""

    name: str
    sign: str
    number: float


def threshold(text: str) -> Threshold | None:
    """The threshold that a property's name stands for; None where it is no such name."""
    match = _THRESHOLD.fullmatch(text)
    return (
        None if match is None else Threshold(match["name"], match["sign"], float(match["number"]))
    )


def read_threshold(schema: TableSchema, asked: Threshold) -> Told:
    """The share of known values on one side of a threshold.

    Raises:
        UserError: no such numeric column.
    """
    numeric = {schema.columns[i].name: schema.columns[i] for i in schema.numeric}
    if asked.name not in numeric:
        raise one_of("numeric column", asked.name, numeric)
    column = numeric[asked.name]
    strict = asked.sign in (">", "<=")  # a value that is the threshold lies below
    low, high, said = _below(column, asked.number, strict=strict)
    if asked.sign in (">", ">="):
        low, high = 1 - high, 1 - low
    return Told(low, high, said)


def _below(column: TableColumn, number: float, *, strict: bool) -> tuple[float, float, str]:
    """Share of values below a number (or, ``strict``, up to it): its ends, and why."""
    if column.quantiles:
        quantiles = np.array(column.quantiles)
        last = len(quantiles) - 1
        below = int(np.searchsorted(quantiles, number, side="right" if strict else "left"))
        return (
            max(below - 1, 0) / last if below <= last else 1.0,
            min(below / last, 1.0),
            f"it has {last + 1} quantiles of '{column.name}', {below} of them on this side of {number:g}",
        )
    if len(column.bounds) != 2:
        return 0.0, 1.0, f"it has no value of '{column.name}'"
    low, high = column.bounds
    said = (
        f"it has the value {low:g} of '{column.name}' alone"
        if column.constant
        else f"it has the bounds {low:g} and {high:g} of '{column.name}'"
    )
    if number < low or (number == low and not strict):
        zero = column.zero and (number > 0 or (number == 0 and strict))
        return (0.0, 1.0, said) if zero else (0.0, FEW, f"{said}: few values lie below")
    if number > high or (number == high and strict):
        zero = column.zero and (number < 0 or (number == 0 and not strict))
        return (0.0, 1.0, said) if zero else (1 - FEW, 1.0, f"{said}: few values lie above")
    return 0.0, 1.0, f"{said}, and does not say what lies between them"


def read_category(schema: TableSchema, name: str, value: str) -> Told:
    """The share of a category.

    Raises:
        UserError: no such categorical column.
    """
    categorical = {schema.columns[i].name: schema.columns[i] for i in schema.categorical}
    if name not in categorical:
        raise one_of("categorical column", name, categorical)
    named = categorical[name].categories
    if value in named:
        if len(named) == 1:
            return Told(1 - FEW, 1.0, f"it names no other category of '{name}'")
        return Told(
            0.0,
            1.0,
            f"it names '{value}' among the categories of '{name}', and not how many have it",
        )
    first = any(schema.columns[i].quantiles for i in schema.numeric)
    few = 0.0 if first else FEW
    return Told(
        0.0,
        few,
        f"it does not name '{value}' among the categories of '{name}': {'no' if first else 'few'} records have it",
    )


def read_records(schema: TableSchema) -> tuple[int, int | None] | None:
    """Number of training records that a schema of format 1 gives away: least and most; None where it says nothing."""
    counts = [
        len(schema.columns[i].quantiles) for i in schema.numeric if schema.columns[i].quantiles
    ]
    if not counts:
        return None
    most = max(counts)
    whole = [
        len(schema.columns[i].quantiles) for i in schema.numeric if not schema.columns[i].missing
    ]
    upper = EACH * (max(whole) + 1) - 1 if whole and max(whole) < MAX_QUANTILES else None
    return (EACH * most if most > LEAST else 1), upper


def told_beside(schema: TableSchema, name: str, value: str) -> list[str]:
    """What the schema says of a property that was read off samples, and of the number of records: sentences."""
    notes = []
    if name in {schema.columns[i].name for i in schema.categorical}:
        told = read_category(schema, name, value)
        if told.tells:
            ends = f"between {100 * told.low:.1f} and {100 * told.high:.1f} %"
            notes.append(
                f"the release's schema says by itself that the share lies {ends}: {told.said}"
            )
    return notes + said_records(schema)


def said_records(schema: TableSchema) -> list[str]:
    """The number of records that the schema gives away, a sentence; none where it says nothing."""
    if (records := read_records(schema)) is None:
        return []
    most = f"to {records[1]:,}" if records[1] else "or more"
    return [
        f"the release's schema gives away the number of training records: {records[0]:,} {most}"
    ]


def infer_told(schema: TableSchema, name: str, value: str | None, level: float) -> Inferred:
    """The share of a property as the schema alone tells it.

    Args:
        schema: of the release.
        name: ``COLUMN>=NUMBER`` (or another of ``> <= <``) of a number, else a categorical column.
        value: the category whose share is asked for; of two, the second where left out.
        level: stands in the result; what the schema says holds whatever it is.

    Raises:
        UserError: no such column, or a category that is not named and must be.
    """
    asked = threshold(name)
    if asked is None or (asked.name not in schema.names and name in schema.names):
        column = next(
            (c for c in schema.columns if c.name == name and c.kind == "categorical"), None
        )
        if column is None:
            raise UserError(
                f"the property {name}: the schema tells of a categorical column with its `value`, or of a number and a "
                f"threshold, such as 'age>=40'; its columns are {', '.join(schema.names)!r:.200}"
            )
        if value is None and len(column.categories) != 2:
            raise UserError(
                f"the property {name} has {len(column.categories)} categories: name one with `value`"
            )
        value = column.categories[1] if value is None else value
        told = read_category(schema, name, value)
    else:
        value, told = name, read_threshold(schema, asked)
    what = Asked(name, ("not", value), 1, level)
    middle, half = (told.low + told.high) / 2, (told.high - told.low) / 2
    notes = [f"read in the release's schema, without a query: {told.said}", *said_records(schema)]
    return Inferred(
        name=name,
        value=value,
        method="schema",
        estimate=middle,
        low=told.low,
        high=told.high,
        level=level,
        naive=middle,
        queries=0,
        sampling=half,
        classifier=0.0,
        assumption=Assumption(ok=True),
        shares=what.named(np.array([1 - middle, middle])),
        notes=tuple(notes),
    )
