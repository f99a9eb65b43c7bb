"""Choices that a person gives by name, as an object with a default for each."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from diffshare.errors import one_of

Choices = TypeVar("Choices")


def choose(kind: type[Choices], options: Mapping[str, Any]) -> Choices:
    """A dataclass of choices, where those that are left out have their defaults.

    Args:
        kind: a dataclass whose fields all have defaults; those with an empty tuple take several values.
        options: some of its fields by name; a text or another single value stands for one of several.

    Raises:
        UserError: an option that is none (names those there are).
    """
    several = {field.name: field.default == () for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := [name for name in options if name not in several]:
        raise one_of("option", unknown[0], several)
    return kind(**{name: as_tuple(v) if several[name] else v for name, v in options.items()})


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Several values as a tuple; a text or another single value is one of them."""
    return tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
