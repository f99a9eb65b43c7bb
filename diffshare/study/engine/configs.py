"""Reads the configs that a study builds on, as the command line merges them, and builds what they describe."""

import copy
import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from diffshare.errors import UserError
from diffshare.packaged import located
from diffshare.settings import read_yaml


def merged(paths: Iterable[Path]) -> dict[str, Any]:
    """Configs merged base first; where a ``class_path`` changes, the arguments of the former class go.

    Raises:
        UserError: there is no such file or packaged config, or it is no YAML of settings.
    """
    result: dict[str, Any] = {}
    for path in paths:
        content = read_yaml(located(path), aliases=True)
        if not isinstance(content, dict):
            raise UserError(f"{path} holds no settings: a config is YAML of the form 'key: value'")
        result = _merge(result, content)
    return result


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    other_class = "class_path" in over and over["class_path"] != base.get(
        "class_path", over["class_path"]
    )
    result = {} if other_class else dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = (
            _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
        )
    return result


def flat(overrides: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Overrides, nested or with dotted keys, as (dotted key, value); a block with a ``class_path`` is one value."""
    for key, value in overrides.items():
        if isinstance(value, Mapping) and "class_path" not in value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def with_settings(block: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A block of ``class_path`` and ``init_args`` with dotted settings laid over it, as the command line reads them.

    Args:
        block: JSON values; it is not changed.
        settings: by name below the block: ``{"source.image_size": 8}``.
    """
    result = copy.deepcopy(dict(block))
    for key, value in settings.items():
        *parents, last = key.split(".")
        inner = result
        for name in parents:
            inner = _child(inner, name)
        (inner if last == "class_path" else _arguments(inner))[last] = value
    return result


def _child(block: dict[str, Any], name: str) -> dict[str, Any]:
    arguments = _arguments(block)
    if name == "init_args" and arguments is not block:
        return arguments
    if isinstance(arguments.get(name), str):
        arguments[name] = {"class_path": arguments[name]}
    elif not isinstance(arguments.get(name), dict):
        arguments[name] = {}
    child: dict[str, Any] = arguments[name]
    return child


def _arguments(block: dict[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = (
        block.setdefault("init_args", {}) if "class_path" in block else block
    )
    return arguments


def laid_over(settings: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted settings with others over them; one that is given anew takes those below it away."""
    return {
        k: v for k, v in settings.items() if not any(k.startswith(f"{name}.") for name in more)
    } | dict(more)


def below(prefix: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted settings below a name, without the name in front."""
    return {
        key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)
    }


def built(kind: type, block: Mapping[str, Any]) -> Any:
    """What a block of ``class_path`` and ``init_args`` describes.

    Args:
        kind: class that it is of.
        block: JSON values.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(kind, "block", required=True)
    return parser.instantiate(parser.parse_object({"block": dict(block)})).block


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
        named = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{where}: there is no class {class_path}; mend the class_path") from error
    if not inspect.isclass(named):
        raise UserError(f"{where}: {class_path} is no class; mend the class_path")
    return named
