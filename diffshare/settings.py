"""YAML, whoever wrote it: bounded before anything is built of it, then read as people mean it.

PyYAML's safe loader runs no code, but it follows aliases: a file of 381 bytes of lists of lists takes gigabytes where
somebody walks through it. Numbers of thousands of digits end in exceptions of their own.

YAML 1.1, which PyYAML reads, makes truth values of ``yes``, ``no``, ``on`` and ``off``, dates and numbers of whatever
looks like one. Columns and classes are called so. Here a key is always text, as it stands; ``true`` and ``false`` alone
are truth values; dates, ``1:30`` and ``01`` are text.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from diffshare.errors import UserError
from diffshare.received import DEEPEST, LONGEST_NUMBER, read_regular, shown

MAX_YAML = 1 << 20  # bytes of a declaration, a source file or a config
NODES = 100_000  # values of a file, those of an alias each time it is used
_TAG = "tag:yaml.org,2002:"
_PLAIN = {
    f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge")
}
_OURS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
_NUMBER = re.compile(f"{_OURS['int'][0]}|{_OURS['float'][0]}")
_BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")
_NUMBERS = (f"{_TAG}int", f"{_TAG}float")


class PlainLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader with fewer surprises; see the module."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are text."""
        self.flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = f"{_TAG}str"
        mapping: dict[Any, Any] = yaml.constructor.BaseConstructor.construct_mapping(
            self, node, deep
        )
        return mapping


class PlainDumper(yaml.SafeDumper):
    """PyYAML's safe dumper that also quotes a text which :class:`PlainLoader` would read as a number, as ``1e3``."""


PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in (f"{_TAG}null", f"{_TAG}merge")]
    for first, resolvers in PlainLoader.yaml_implicit_resolvers.items()
}
for _kind, (_pattern, _first) in _OURS.items():
    for _class in (PlainLoader, PlainDumper):
        _class.add_implicit_resolver(
            f"{_TAG}{_kind}", re.compile(f"^(?:{_pattern})$"), list(_first)
        )


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
    # anchor and count at the beginning of each list and mapping we are in
    opened: list[tuple[str | None, int]] = []
    count = 0
    for event in yaml.parse(text, Loader=PlainLoader):
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
                if len(event.value) > LONGEST_NUMBER and _is_number(event):
                    _refuse(
                        f"a number that is too long, of more than {LONGEST_NUMBER} characters",
                        event,
                    )
            else:
                opened.append((event.anchor, count - 1))
        if len(opened) > DEEPEST:
            _refuse("levels that are too deep", event)
        if count > NODES:
            _refuse(f"more than {NODES} values", event)


def _is_number(event: yaml.ScalarEvent) -> bool:
    """Whether a number is built of it: it is said to be one, or it stands without quotes and looks like one."""
    if event.tag not in (None, "!"):
        return event.tag in _NUMBERS
    return event.style in (None, "") and _NUMBER.fullmatch(event.value) is not None


def _refuse(what: str, event: yaml.Event) -> None:
    raise yaml.MarkedYAMLError(
        problem=f"{what}, which is not allowed here", problem_mark=event.start_mark
    )


def load_yaml(text: str, *, aliases: bool = False) -> Any:
    """The value of YAML; bounds and ``aliases`` as of :func:`check_yaml`.

    Raises:
        yaml.YAMLError: it is no YAML within these bounds.
    """
    try:
        check_yaml(text, aliases=aliases)
        return yaml.load(text, Loader=PlainLoader)
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        # what is not what its tag says, such as !!int x, and halves of surrogate pairs
        raise yaml.YAMLError(str(error)) from error


def load_argument(text: str) -> Any:
    """The value of an argument or of a config file of the user's own, for jsonargparse; see :func:`load_yaml`.

    What holds nothing but keys, such as ``a:`` or ``{a, b}``, is text.
    """
    value, bare = load_yaml(text, aliases=True), text.strip()
    if not isinstance(value, dict) or any(v is not None for v in value.values()):
        return value
    keys = {part.strip() for part in bare.strip("{}").split(",")}
    return text if bare == f"{next(iter(value), '')}:" or keys == set(value) else value


def dump_yaml(value: Any) -> str:
    """YAML of plain values that :func:`load_yaml` reads back as they are; keys keep their order."""
    options: dict[str, Any] = {
        "Dumper": PlainDumper,
        "default_flow_style": False,
        "sort_keys": False,
    }
    text: str = yaml.dump(value, allow_unicode=True, **options)
    # written raw, they would be read as others
    return yaml.dump(value, **options) if _BREAKS.search(text) else text


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
        return load_yaml(text, aliases=aliases)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(
            f"{where}{line} is not valid YAML ({error.problem}): mend that place"
        ) from error
    except yaml.reader.ReaderError as error:
        raise UserError(f"{where} is not a text file: YAML in UTF-8 is expected") from error
    except yaml.YAMLError as error:
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
