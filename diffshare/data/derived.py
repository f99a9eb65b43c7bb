"""Attributes that are derived from others: settled once on some records, then applied to any.

What an expression leaves open (the edges of quantiles, the order of the classes of a column that is
crossed) is settled where it is resolved, on the records that the receiver or the sharer owns. On
other records, samples for instance, the same edges and classes hold.
"""

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from diffshare.classes import is_number, listed, quoted
from diffshare.data.attribute import MAX_CLASSES, Attribute
from diffshare.data.grammar import (
    CROSS,
    GRAMMAR,
    SIGNS,
    Bins,
    Crossed,
    Expression,
    Is,
    Merged,
    Plain,
    Quantiles,
    Single,
    Threshold,
    parse,
    shown,
)
from diffshare.errors import UserError, one_of

Attributes = Mapping[str, Attribute]
Numbers = Mapping[str, np.ndarray]
_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = dict(
    zip(
        SIGNS,
        (operator.ge, operator.le, operator.eq, operator.ne, operator.gt, operator.lt),
        strict=True,
    )
)
_OPPOSITE = dict(zip(SIGNS, ("<", ">", "!=", "==", "<=", ">="), strict=True))


@dataclass(frozen=True)
class Derivation:
    """A derived attribute with nothing left open.

    Attributes:
        name: what it is called.
        expression: how it is derived; no quantiles are in it.
        classes: names of its K classes, in the order of their codes.
        known: classes of the columns that are taken as they are, by their name.
        numeric: those of the columns that hold numbers.
    """

    name: str
    expression: Expression
    classes: tuple[str, ...]
    known: Mapping[str, tuple[str, ...]]
    numeric: frozenset[str]

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the columns that it is derived from."""
        return tuple(dict.fromkeys(part.name for part in _parts(self.expression)))

    def apply(self, attributes: Attributes, numbers: Numbers) -> Attribute:
        """The attribute of N records.

        A value that is not known, or that no class takes, is unknown.

        Args:
            attributes: of the records, by name.
            numbers: of the records, by name, float64, N, NaN where not known.

        Raises:
            UserError: the records lack a column that it is derived from.
        """
        codes: np.ndarray | None = None
        for part in _parts(self.expression):
            own = _codes(part, self.known, attributes, numbers)
            if codes is None:
                codes = own
                continue
            size = len(_classes(part, self.known))
            codes = np.where((codes < 0) | (own < 0), -1, codes * size + own)
        assert codes is not None
        return Attribute(codes.astype(np.int16), self.classes)


def resolve(
    name: str, attributes: Attributes, numbers: Numbers, derived: Mapping[str, str] | None = None
) -> Derivation:
    """Settle what a name stands for.

    Args:
        name: one of ``derived``, or an expression of the grammar.
        attributes: of the records, by name.
        numbers: of the records, by name, float64, N, NaN where not known.
        derived: name to expression of further attributes; each may use those before it.

    Raises:
        UserError: an expression that cannot be read, an unknown column, numbers where values are needed or the
            reverse, or ranges that cannot be told apart.
    """
    expression = _spelled(name, {*attributes, *numbers}, derived or {})
    parts = tuple(_settled(part, attributes, numbers) for part in _parts(expression))
    known = {part.name: attributes[part.name].classes for part in parts if isinstance(part, Plain)}
    classes: list[str] = [""]
    for number, part in enumerate(parts):
        mark = CROSS if number else ""
        own = _classes(part, known)
        if len(classes) * len(own) > MAX_CLASSES:
            raise UserError(
                f"'{name}' has more than {MAX_CLASSES} classes: cross fewer attributes, or ranges of them"
            )
        classes = [f"{first}{mark}{second}" for first in classes for second in own]
    if len(set(classes)) < len(classes):
        raise UserError(
            f"two classes of '{name}' would have the same name: merge under other names"
        )
    settled = parts[0] if len(parts) == 1 else Crossed(parts)
    numeric = frozenset(part.name for part in parts if part.name in numbers)
    return Derivation(name, settled, tuple(classes), known, numeric)


def columns_read(
    name: str, columns: Collection[str]
) -> dict[str, Literal["numeric", "categorical"]]:
    """What a name takes of a table whose columns are not read yet: the columns and their kinds.

    Args:
        name: a column, or an expression of the grammar.
        columns: names of the table's columns.

    Raises:
        UserError: an expression that cannot be read.
    """
    return {
        part.name: "numeric" if isinstance(part, Threshold | Quantiles | Bins) else "categorical"
        for part in _parts(parse(name, columns))
    }


def _spelled(name: str, columns: set[str], derived: Mapping[str, str]) -> Expression:
    """The expression of a name, with no derived name left in it."""
    earlier = dict(derived)
    while earlier and name in earlier:  # what is declared may use what is declared before it
        if earlier.popitem()[0] == name:
            break
    expression = parse(derived.get(name, name), {*columns, *earlier})
    parts: list[Single] = []
    for part in _parts(expression):
        if isinstance(part, Plain) and part.name not in columns and part.name in earlier:
            parts += _parts(_spelled(part.name, columns, earlier))
        else:
            parts.append(part)
    return parts[0] if len(parts) == 1 else Crossed(tuple(parts))


def _parts(expression: Expression) -> tuple[Single, ...]:
    return expression.parts if isinstance(expression, Crossed) else (expression,)


def _settled(part: Single, attributes: Attributes, numbers: Numbers) -> Single:
    """One part with its edges, and the refusal of what does not fit the column."""
    if part.name not in attributes and part.name not in numbers:
        raise one_of("attribute", part.name, {*attributes, *numbers})
    if isinstance(part, Plain):
        if part.name not in attributes:
            raise UserError(
                f"'{part.name}' is a column of numbers: make classes of it, {part.name}>=NUMBER, "
                f"{part.name}:quantiles(4) or {part.name}:bins(NUMBER,...)"
            )
        return part
    if isinstance(part, Is | Merged):
        _check_values(part, attributes, numbers)
        return part
    values = _numbers(part.name, attributes, numbers)
    if isinstance(part, Quantiles):
        return Bins(part.name, _edges(part, values))
    return part


def _edges(part: Quantiles, values: np.ndarray) -> tuple[float, ...]:
    """The least value of each range but the first: each is one that occurs."""
    values = values[~np.isnan(values)]
    if not len(values):
        raise UserError(f"'{part}': no number of '{part.name}' is known")
    shares = np.arange(1, part.count) / part.count
    edges = np.quantile(values, shares, method="higher")
    whole = np.concatenate([[values.min()], edges])
    if tied := np.flatnonzero(np.diff(whole) <= 0).tolist():
        number = float(edges[tied[0]])
        raise UserError(
            f"'{part}': {np.mean(values == number):.0%} of the records have {part.name} {shown(number)}, so that "
            f"{part.count} ranges of equally many cannot be told apart: ask for fewer, or write "
            f"{part.name}:bins(NUMBER,...) or a threshold"
        )
    return tuple(map(float, edges))


def _check_values(part: Is | Merged, attributes: Attributes, numbers: Numbers) -> None:
    """Refuse values that no record can have: a slip would make an empty class."""
    values = (part.value,) if isinstance(part, Is) else sum((v for _, v in part.groups), ())
    if part.name in attributes:
        classes = attributes[part.name].classes
        if absent := [value for value in values if value not in classes]:
            raise UserError(
                f"'{part.name}' has no value {quoted(absent[0])}, its values are {listed(classes)}; {GRAMMAR}"
            )
        return
    if absent := [value for value in values if not is_number(value)]:
        raise UserError(
            f"'{part.name}' is a column of numbers, {quoted(absent[0])} is none; {GRAMMAR}"
        )


def _classes(part: Single, known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Names of the classes of one part, in the order of their codes."""
    name = part.name
    if isinstance(part, Plain):
        return known[name]
    if isinstance(part, Threshold):
        number = shown(part.number)
        return f"{name}{_OPPOSITE[part.sign]}{number}", f"{name}{part.sign}{number}"
    if isinstance(part, Is):
        return f"{name}!={part.value}", f"{name}={part.value}"
    if isinstance(part, Merged):
        rest = () if part.rest is None else (part.rest,)
        return tuple(dict.fromkeys((*(label for label, _ in part.groups), *rest)))
    assert isinstance(part, Bins)
    edges = list(map(shown, part.edges))
    between = (f"{low}<={name}<{high}" for low, high in zip(edges, edges[1:], strict=False))
    return f"{name}<{edges[0]}", *between, f"{name}>={edges[-1]}"


def _codes(
    part: Single,
    known: Mapping[str, tuple[str, ...]],
    attributes: Attributes,
    numbers: Numbers,
) -> np.ndarray:
    """Codes of one part, int64, N; -1 where unknown."""
    name = part.name
    if isinstance(part, Threshold | Bins):
        values = _numbers(name, attributes, numbers)
        with np.errstate(invalid="ignore"):
            codes = (
                _COMPARE[part.sign](values, part.number).astype(np.int64)
                if isinstance(part, Threshold)
                else np.searchsorted(np.array(part.edges), values, side="right")
            )
        return np.where(np.isnan(values), -1, codes)
    classes = _classes(part, known)
    if isinstance(part, Plain):
        places = {value: code for code, value in enumerate(classes)}
        rest = -1
    elif isinstance(part, Is):
        places, rest = {part.value: 1}, 0
    else:
        assert isinstance(part, Merged)
        places = {v: classes.index(label) for label, values in part.groups for v in values}
        rest = -1 if part.rest is None else classes.index(part.rest)
    if name in attributes:
        one = attributes[name]
        table = np.array([places.get(value, rest) for value in one.classes] + [-1], np.int64)
        return table[one.codes]
    values = _numbers(name, attributes, numbers)
    codes = np.full(len(values), rest, np.int64)
    for value, code in places.items():
        codes[values == float(value)] = code
    return np.where(np.isnan(values), -1, codes)


def _numbers(name: str, attributes: Attributes, numbers: Numbers) -> np.ndarray:
    """The numbers of a column, or of an attribute whose classes are numbers; float64, N."""
    if name in numbers:
        return np.asarray(numbers[name], np.float64)
    if name not in attributes:
        raise one_of("column", name, {*attributes, *numbers})
    one = attributes[name]
    if wrong := [value for value in one.classes if not is_number(value)]:
        raise UserError(
            f"'{name}' holds no numbers but values such as {quoted(wrong[0])}: ranges are of numbers; {GRAMMAR}"
        )
    return np.array([*map(float, one.classes), np.nan])[one.codes]
