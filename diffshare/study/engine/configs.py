"""Reads the configs that a study builds on, as the command line will merge them, and writes words for it."""

import importlib
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffshare.errors import UserError
from diffshare.settings import read_yaml


def merged(paths: Iterable[Path]) -> dict[str, Any]:
    """Configs merged base first; where a ``class_path`` changes, the arguments of the former class go.

    Raises:
        UserError: a file is not there, or is no YAML of settings.
    """
    result: dict[str, Any] = {}
    for path in paths:
        if not path.is_file():
            raise UserError(f"there is no config file {path}: give the path of a YAML file")
        content = read_yaml(path, aliases=True)
        if not isinstance(content, dict):
            raise UserError(f"{path} holds no settings: a config is YAML of the form 'key: value'")
        result = _merge(result, content)
    return result


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    other_class = "class_path" in over and over["class_path"] != base.get("class_path", over["class_path"])
    result = {} if other_class else dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def flat(overrides: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Overrides, nested or with dotted keys, as (dotted key, value); a block with a ``class_path`` is one value."""
    for key, value in overrides.items():
        if isinstance(value, Mapping) and "class_path" not in value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def words(overrides: Iterable[tuple[str, Any]]) -> list[str]:
    """``--key value`` for each override."""
    return [word for key, value in overrides for word in (f"--{key}", as_word(value))]


def as_word(value: Any) -> str:
    """A value as the command line reads it.

    Raises:
        UserError: a class that a block of overrides names was built by the parser.
    """
    try:
        return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    except TypeError as error:
        raise UserError(
            f"an override is the object {type(value).__name__}: name a class as text, "
            '\'{"model.network": "diffshare.nets.classifiers.LeNet"}\', or in a config file of its own'
        ) from error


def named_class(class_path: object, where: str) -> type:
    """The class that ``class_path`` names.

    Args:
        class_path: what the user wrote.
        where: where, for the message.

    Raises:
        UserError: there is no such class.
    """
    module, _, name = str(class_path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{where}: there is no class {class_path}; mend the class_path") from error
    if not inspect.isclass(found):
        raise UserError(f"{where}: {class_path} is no class; mend the class_path")
    return found


def check_axis(name: str, values: Sequence[Any]) -> None:
    """Refuse an axis of a grid that is empty or has a value twice.

    Raises:
        UserError: names the axis and the value.
    """
    if not values:
        raise UserError(f"{name} is empty: the grid needs at least one value")
    if twice := [value for i, value in enumerate(values) if value in values[:i]]:
        raise UserError(f"{name} has {twice[0]} twice: give each value once")
