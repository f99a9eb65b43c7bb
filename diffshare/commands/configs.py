"""Looks at config files before a parser does, so that a file that is none is named."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonargparse
import yaml
from jsonargparse.typing import register_type

from diffshare.errors import UserError
from diffshare.settings import dump_yaml, load_argument, read_yaml
from diffshare.storage import as_path

# of every argument and setting that is a path
register_type(Path, str, as_path, fail_already_registered=False)


def read_plainly() -> None:
    """From here on every parser reads and writes YAML as :mod:`diffshare.settings` does, wherever a file was named."""
    jsonargparse.set_loader("yaml", load_argument, (yaml.YAMLError,))
    jsonargparse.set_dumper("yaml", dump_yaml)


def check_configs(arguments: Sequence[str]) -> None:
    """Refuse a ``--config`` that is no YAML file of settings.

    Raises:
        UserError: names the file and, where there is one, the line.
    """
    for name in _named(arguments):
        content = _content(name)
        if not isinstance(content, dict | None):
            raise UserError(f"{name} holds no settings: a config is YAML of the form 'key: value'")


def with_files(arguments: Sequence[str], option: str) -> list[str]:
    """The arguments, where ``option FILE`` names a YAML file of a class with the file's content in its place.

    Raises:
        UserError: there is no such file, or it names no class.
    """
    found: list[str] = []
    for argument in arguments:
        name, value = (
            argument.split("=", 1) if argument.startswith(f"{option}=") else (option, argument)
        )
        follows = bool(found) and found[-1] == option
        if (follows or argument.startswith(f"{option}=")) and value.endswith((".yaml", ".yml")):
            content = _content(value)
            if not isinstance(content, dict) or "class_path" not in content:
                raise UserError(
                    f"{value} names no class: a source file is YAML with class_path and init_args"
                )
            word = json.dumps(content)
            found.append(word if follows else f"{name}={word}")
        else:
            found.append(argument)
    return found


def _content(name: str) -> Any:
    path = as_path(name)
    if not path.is_file():
        raise UserError(f"there is no config file {name}: give the path of a YAML file")
    return read_yaml(path, aliases=True)


def _named(arguments: Sequence[str]) -> Iterator[str]:
    for i, argument in enumerate(arguments):
        if argument in ("--config", "-c") and i + 1 < len(arguments):
            yield arguments[i + 1]
        elif argument.startswith("--config="):
            yield argument.partition("=")[2]
