"""Looks at config files before a parser does, so that a file that is none is named."""

import json
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import jsonargparse
import yaml
from jsonargparse.typing import register_type

from diffshare.errors import UserError
from diffshare.packaged import SUFFIXES, located, packaged
from diffshare.settings import dump_yaml, load_argument, read_yaml
from diffshare.storage import as_path

CONFIG = ("--config", "-c")
# options that take the YAML file of a source
_OF_SOURCES = re.compile(r"source/[\w-]{1,80}")
SOURCE = ("--reference", "--auxiliary", "--against", "--data.source", "--data.test_source")

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
    _replaced(arguments, CONFIG, _check)


def with_configs(arguments: Sequence[str]) -> list[str]:
    """The arguments, with its path in place of each packaged config that ``--config`` names.

    Raises:
        UserError: there is neither such a file nor such a name.
    """
    return _replaced(arguments, CONFIG, lambda name: str(located(name)))


def with_sources(arguments: Sequence[str]) -> list[str]:
    """The arguments, with its path in place of each packaged source; a class, or anything else, stands as it is.

    Raises:
        UserError: ``source/NAME`` is neither packaged nor there.
    """
    return _replaced(arguments, SOURCE, _source)


def _source(name: str) -> str:
    if _OF_SOURCES.fullmatch(name) and not as_path(name).exists():
        return str(located(name))
    return str(packaged(name) or name)


def _replaced(
    arguments: Sequence[str], options: Collection[str], change: Callable[[str], str]
) -> list[str]:
    """The arguments with the value of each of these options changed, be it a word of its own or after ``=``."""
    words: list[str] = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if equals and option in options:
            words.append(f"{option}={change(value)}")
        else:
            words.append(change(argument) if words and words[-1] in options else argument)
    return words


def with_files(arguments: Sequence[str], option: str) -> list[str]:
    """The arguments, with the content of the YAML file of a class, or of a packaged source, that ``option`` names.

    Raises:
        UserError: there is no such file, or it names no class.
    """
    return _replaced(with_sources(arguments), (option,), _as_json)


def _as_json(name: str) -> str:
    if not name.endswith(SUFFIXES):
        return name
    content = _content(name)
    if not isinstance(content, dict) or "class_path" not in content:
        raise UserError(
            f"{name} names no class: a source file is YAML with class_path and init_args"
        )
    return json.dumps(content)


def _check(name: str) -> str:
    if not isinstance(_content(name), dict | None):
        raise UserError(f"{name} holds no settings: a config is YAML of the form 'key: value'")
    return name


def _content(name: str) -> Any:
    return read_yaml(located(name), aliases=True)
