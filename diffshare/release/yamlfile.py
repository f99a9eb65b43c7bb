"""YAML that someone else may have written: bounded before anything is built of it.

PyYAML's safe loader runs no code, but it follows aliases: a file of 381 bytes of lists of lists takes gigabytes where
somebody walks through it. Dates, time zones and numbers of thousands of digits end in exceptions of their own.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from diffshare.errors import UserError
from diffshare.release.received import DEEPEST, LONGEST_NUMBER, read_regular, shown

MAX_YAML = 1 << 20  # bytes of a declaration, a source file or a config
NODES = 100_000  # values of a file, those of an alias each time it is used
_TAG = "tag:yaml.org,2002:"
_PLAIN = {f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}
_DIGITS = re.compile(r"[-+.0-9][-+.0-9_:a-fA-FxXoO]*")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader without dates, which no file of diffshare has: they are text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def check_yaml(text: str, *, aliases: bool = False) -> None:
    """Look at YAML before anything is built of it.

    Args:
        text: the file.
        aliases: let ``*name`` pass, as people write it in configs of their own. What it stands for counts each time.

    Raises:
        yaml.YAMLError: it is no YAML, or one of the bounds does not hold: more than 64 levels or 100,000 values, a
            number of more than 40 characters, a tag, an alias.
    """
    sizes: dict[str, int] = {}  # values that an anchor stands for
    opened: list[tuple[str | None, int]] = []  # anchor and count at the beginning of each list and mapping we are in
    count = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            if not aliases or event.anchor not in sizes:
                _refuse("an alias", event)
            count += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            if event.tag is not None and event.tag not in _PLAIN and event.tag != "!":
                _refuse(f"the tag {shown(event.tag, 40)}", event)
            if isinstance(event, yaml.ScalarEvent):
                if event.anchor is not None:
                    sizes[event.anchor] = 1
                if event.style in (None, "") and len(event.value) > LONGEST_NUMBER and _DIGITS.fullmatch(event.value):
                    _refuse("a number that is too long", event)
            else:
                opened.append((event.anchor, count - 1))
        if len(opened) > DEEPEST:
            _refuse("levels that are too deep", event)
        if count > NODES:
            _refuse(f"more than {NODES} values", event)


def _refuse(what: str, event: yaml.Event) -> None:
    raise yaml.MarkedYAMLError(problem=f"{what}, which is not allowed here", problem_mark=event.start_mark)


def parse_yaml(text: str, where: str, *, aliases: bool = False) -> Any:
    """The value of YAML; bounds and ``aliases`` as of :func:`check_yaml`.

    Args:
        text: the file.
        where: its name, for the message.
        aliases: see there.

    Raises:
        UserError: it is no YAML within these bounds (names the line where there is one).
    """
    try:
        check_yaml(text, aliases=aliases)
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{where}{line} is not valid YAML ({error.problem}): mend that place") from error
    except yaml.reader.ReaderError as error:
        raise UserError(f"{where} is not a text file: YAML in UTF-8 is expected") from error
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, KeyError) as error:
        # values that fit their pattern and are none, such as 0b and an empty octal number
        raise UserError(f"{where} is not valid YAML ({shown(str(error))}): mend it") from error


def read_yaml(path: Path, *, aliases: bool = False, limit: int = MAX_YAML) -> Any:
    """The value of a YAML file of at most ``limit`` bytes, in UTF-8; a link is followed, no pipe is waited for.

    Raises:
        UserError: no such file, not a regular one, too large, or not YAML within the bounds.
    """
    try:
        text = read_regular(path, limit, links=True).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file: YAML in UTF-8 is expected") from error
    return parse_yaml(text, str(path), aliases=aliases)
