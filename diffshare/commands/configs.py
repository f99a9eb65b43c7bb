"""Looks at config files before a parser does, so that a file that is none is named."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from diffshare.errors import UserError


def check_configs(arguments: Sequence[str]) -> None:
    """Refuse a ``--config`` that is no YAML file of settings.

    Raises:
        UserError: names the file and, where there is one, the line.
    """
    for name in _named(arguments):
        path = Path(name)
        if not path.is_file():
            raise UserError(f"there is no config file {name}: give the path of a YAML file")
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.MarkedYAMLError as error:
            line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
            raise UserError(f"{name}{line} is not valid YAML ({error.problem}): mend that place") from error
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"{name} is not a text file: a config is YAML in UTF-8") from error
        except OSError as error:
            raise UserError(f"cannot read {name}: {error.strerror}; make it readable") from error
        if not isinstance(content, dict | None):
            raise UserError(f"{name} holds no settings: a config is YAML of the form 'key: value'")


def _named(arguments: Sequence[str]) -> Iterator[str]:
    for i, argument in enumerate(arguments):
        if argument in ("--config", "-c") and i + 1 < len(arguments):
            yield arguments[i + 1]
        elif argument.startswith("--config="):
            yield argument.partition("=")[2]
