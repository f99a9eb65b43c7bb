"""Options by name: each is checked by the type that the function or dataclass says it has."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from diffshare.errors import UserError, one_of

Choices = TypeVar("Choices")


def choose(kind: type[Choices], options: Mapping[str, Any]) -> Choices:
    """A dataclass of choices, where those that are left out have their defaults.

    Args:
        kind: a dataclass whose fields all have defaults.
        options: some of its fields by name; a text or another single value stands for one of several.

    Raises:
        UserError: an option that is none (names those there are), or a value of another type.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if unknown := [name for name in options if name not in names]:
        raise one_of("option", unknown[0], names)
    return kind(**checked(kind, options))


def checked(kind: type | Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a dataclass or a function takes them.

    Args:
        kind: whose annotations are the types.
        options: values by name; those of a ``tuple`` or ``Sequence`` may be a single one, a path a text.

    Raises:
        UserError: a value of another type; a fraction for a whole number; NaN or infinity (names the option, what it
            is and what was expected).
    """
    hints = get_type_hints(kind)
    return {name: as_option(name, value, hints[name]) for name, value in options.items()}


def as_option(name: str, value: Any, hint: Any) -> Any:
    """One value as an option of a type: see :func:`checked`."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    for kind in kinds:
        if get_origin(kind) in (tuple, Sequence):
            return tuple(as_option(name, one, get_args(kind)[0]) for one in as_tuple(value))
        if kind is Any or _is_a(value, kind):
            return Path(value) if kind is Path else value
    if isinstance(value, str) and all(get_origin(k) is Literal or k is NoneType for k in kinds):
        raise one_of(name, value, words)
    *first, last = (_IN_WORDS.get(kind) or _named(kind) for kind in kinds)
    expected = f"{', '.join(first)} or {last}" if first else last
    raise UserError(f"`{name}` is {value!r:.60}: give {expected}")


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Several values as a tuple; a text or another single value is one of them."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)


def names_of(name: str, value: Any) -> tuple[str, ...]:
    """Names of columns or attributes; a number, as a data frame may call a column, is its text.

    Raises:
        UserError: what is neither a text nor a number.
    """
    return tuple(str(as_option(name, one, str | int)) for one in as_tuple(value))


_IN_WORDS = {
    NoneType: "None",
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a text",
    Path: "a path",
}


def _named(kind: Any) -> str:
    return ", ".join(get_args(kind)) if get_origin(kind) is Literal else f"a {kind.__name__}"


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value is of a type; numpy's numbers are numbers, true and false are none."""
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind in (int, float):
        number = isinstance(value, Integral if kind is int else Real)
        return number and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, str | Path if kind is Path else kind)
