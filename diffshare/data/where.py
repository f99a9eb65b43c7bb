"""Which records are used: a condition on columns and attributes, read as Python reads it and never run.

``age >= 18 and sex != 'Male' and not (race in ['Black', 'Other'])``: comparisons with numbers and
texts, ``in`` a list of them, ``and``, ``or``, ``not``. A name with other characters than letters,
digits and ``_`` stands between backticks. An attribute alone holds where its class has its name.
A record is chosen where the condition is known to hold: a comparison with what is not known is
neither true nor false.
"""

import ast
import operator
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from diffshare.classes import differing, is_number, listed, quoted
from diffshare.data.source import Index
from diffshare.errors import UserError, one_of

LONGEST = 2000  # characters of a condition
MOST_NODES = 400  # of its tree
HOW = "write it as in age >= 18 and not (race in ['Black', 'Other']), odd names between backticks"
_NAMED = re.compile(r"`((?:[^`]|``)+)`|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_STAND_IN = re.compile(r"_column_([0-9]+)_")
_ORDER: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class Holds(NamedTuple):
    """Of which records a condition is true, and of which it is false, bool, N; of others it is not known."""

    true: np.ndarray
    false: np.ndarray


class _Values(NamedTuple):
    """The values of a column: numbers (float64, NaN where not known) or texts (empty where not known), N."""

    name: str
    values: np.ndarray

    @property
    def known(self) -> np.ndarray:
        return self.values != "" if self.values.dtype.kind == "U" else ~np.isnan(self.values)


def rows_where(
    index: Index, condition: str, cells: Callable[[str], np.ndarray | None] = lambda name: None
) -> np.ndarray:
    """The records of which a condition holds.

    Args:
        index: of the records.
        condition: see the module.
        cells: texts of a further column of the source, N, empty where not known; None where it has none of that name.

    Returns:
        bool, N, not all false.

    Raises:
        UserError: a condition that cannot be read, an unknown column, a comparison that makes no sense, or no record
            of which it holds (how many records each clause keeps).
    """
    tree, names = _parsed(condition)
    reader = _Reader(index, names, cells)
    chosen = reader.holds(tree).true
    if not chosen.any():
        clauses = (
            tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
        )
        told = ", ".join(
            f"{_text(clause, names)} keeps {int(reader.holds(clause).true.sum()):,}"
            for clause in clauses
        )
        raise UserError(f"where keeps none of the {len(index):,} records ({told}): change it")
    return chosen


def _parsed(condition: str) -> tuple[ast.expr, list[str]]:
    """The tree, with stand-ins for the names between backticks, and those names."""
    if len(condition) > LONGEST:
        raise UserError(f"where has {len(condition)} characters, at most {LONGEST} are read: {HOW}")
    names: list[str] = []

    def stand_in(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        names.append(match[1].replace("``", "`"))
        return f"_column_{len(names) - 1}_"

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(_NAMED.sub(stand_in, condition).strip(), mode="eval").body
        nodes = sum(1 for _ in ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"cannot read where {quoted(condition)}: {HOW}") from error
    if nodes > MOST_NODES:
        raise UserError(f"where {quoted(condition)} has too many parts: {HOW}")
    return tree, names


def _text(node: ast.AST, names: list[str]) -> str:
    return _STAND_IN.sub(lambda match: f"`{names[int(match[1])]}`", ast.unparse(node))


class _Reader:
    """Evaluates the few kinds of nodes that a condition may have; anything else is refused."""

    def __init__(
        self, index: Index, names: list[str], cells: Callable[[str], np.ndarray | None]
    ) -> None:
        self.index, self.names, self.cells = index, names, cells

    def holds(self, node: ast.expr) -> Holds:
        """Where a condition is true, and where false."""
        if isinstance(node, ast.BoolOp):
            parts = [self.holds(part) for part in node.values]
            return _every(parts) if isinstance(node.op, ast.And) else _not(_every(map(_not, parts)))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return _not(self.holds(node.operand))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            return _every(
                self._compared(left, sign, right)
                for (left, right), sign in zip(pairwise(sides), node.ops, strict=True)
            )
        if isinstance(node, ast.Name):
            column = self._column(node)
            if column.values.dtype.kind == "U" and column.name in column.values:
                return self._equal(column, column.name)
        raise self._refusal(node, "it is no comparison")

    def _compared(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> Holds:
        if isinstance(sign, ast.In | ast.NotIn):
            found = self._within(self._column(left), right)
        elif isinstance(sign, ast.Eq | ast.NotEq):
            found = self._equals(left, right)
        elif type(sign) in _ORDER:
            found = self._ordered(left, _ORDER[type(sign)], right)
        else:
            raise self._refusal(left, "'is' compares nothing here")
        return _not(found) if isinstance(sign, ast.NotIn | ast.NotEq) else found

    def _within(self, column: _Values, node: ast.expr) -> Holds:
        if not isinstance(node, ast.List | ast.Tuple | ast.Set) or not node.elts:
            raise self._refusal(node, "behind 'in' stands a list, as in ['Black', 'Other']")
        parts = [self._equal(column, self._constant(one)) for one in node.elts]
        true = np.stack([part.true for part in parts]).any(0)
        return _decided(true, column.known)

    def _equals(self, left: ast.expr, right: ast.expr) -> Holds:
        if not isinstance(left, ast.Name):
            left, right = right, left
        column = self._column(left)
        if not isinstance(right, ast.Name):
            return self._equal(column, self._constant(right))
        other = self._column(right)
        if column.values.dtype.kind != other.values.dtype.kind:
            raise self._refusal(right, f"'{column.name}' and '{other.name}' are not of one kind")
        known = column.known & other.known
        same = column.values == other.values
        return _decided(same, known)

    def _equal(self, column: _Values, value: str | float) -> Holds:
        if column.values.dtype.kind == "U":
            text = value if isinstance(value, str) else repr(value).removesuffix(".0")
            if twins := differing([text], np.unique(column.values[column.known]).tolist()):
                raise UserError(
                    f"where: '{column.name}' has no value {quoted(text)}, write {quoted(twins[0][1])}"
                )
            same = column.values == text
        else:
            same = column.values == self._number(column, value)
        return _decided(same, column.known)

    def _ordered(
        self, left: ast.expr, compare: Callable[[Any, Any], Any], right: ast.expr
    ) -> Holds:
        sides: list[Any] = []
        known = np.ones(len(self.index), bool)
        for node in (left, right):
            if not isinstance(node, ast.Name):
                sides.append(self._constant(node))
                continue
            column = self._column(node)
            if column.values.dtype.kind == "U":
                values = listed(np.unique(column.values[column.known]).tolist())
                raise UserError(
                    f"where: '{column.name}' holds texts ({values}), which have no order: compare it with == or in"
                )
            known &= column.known
            sides.append(column.values)
        if any(isinstance(side, str) for side in sides):
            raise self._refusal(right, "greater and less are of numbers")
        true = np.broadcast_to(compare(*sides), known.shape)
        return _decided(true, known)

    def _column(self, node: ast.expr) -> _Values:
        if not isinstance(node, ast.Name):
            raise self._refusal(node, "it is no name of a column")
        match = _STAND_IN.fullmatch(node.id)
        name = self.names[int(match[1])] if match and int(match[1]) < len(self.names) else node.id
        if name in self.index.numbers:
            return _Values(name, np.asarray(self.index.numbers[name], np.float64))
        if name in self.index.attributes:
            attribute = self.index.attributes[name]
            return _valued(name, np.array([*attribute.classes, ""])[attribute.codes])
        cells = self.cells(name)
        if cells is None:
            raise one_of("column of where", name, {*self.index.attributes, *self.index.numbers})
        return _valued(name, cells)

    def _constant(self, node: ast.expr) -> str | float:
        sign = 1.0
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            node, sign = node.operand, -1.0
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
            return sign * value
        if isinstance(value, str) and sign > 0:
            return value
        raise self._refusal(node, "it is no number and no text between quotes")

    def _number(self, column: _Values, value: str | float) -> float:
        if isinstance(value, str) and not is_number(value):
            raise UserError(
                f"where: '{column.name}' holds numbers, {quoted(value)} is none: compare it with a number"
            )
        return float(value)

    def _refusal(self, node: ast.AST, reason: str) -> UserError:
        return UserError(f"where: cannot read {quoted(_text(node, self.names))}, {reason}: {HOW}")


def _not(condition: Holds) -> Holds:
    return Holds(condition.false, condition.true)


def _every(parts: Iterable[Holds]) -> Holds:
    true, false = zip(*parts, strict=True)
    return Holds(np.logical_and.reduce(true), np.logical_or.reduce(false))


def _decided(true: Any, known: np.ndarray) -> Holds:
    return Holds(np.asarray(true & known), np.asarray(~true & known))


def _valued(name: str, texts: np.ndarray) -> _Values:
    """Texts as numbers where all that are known are numbers."""
    unique, places = np.unique(texts, return_inverse=True)
    known = [text for text in unique.tolist() if text]
    if known and all(map(is_number, known)):
        numbers = np.array([float(text) if text else np.nan for text in unique.tolist()])
        return _Values(name, numbers[places.reshape(-1)])
    return _Values(name, np.asarray(texts, np.str_))
