"""YAML that people write, read as they mean it.

YAML 1.1, which PyYAML reads, makes truth values of ``yes``, ``no``, ``on`` and ``off``, dates and numbers of whatever
looks like one. Columns and classes are called so. Here a key is always text, as it stands; ``true`` and ``false`` alone
are truth values; dates, ``1:30`` and ``01`` are text.
"""

import re
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"


class PlainLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader with fewer surprises; see the module."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are text."""
        self.flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = f"{_TAG}str"
        made: dict[Any, Any] = yaml.constructor.BaseConstructor.construct_mapping(self, node, deep)
        return made


_OURS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in (f"{_TAG}null", f"{_TAG}merge")]
    for first, resolvers in PlainLoader.yaml_implicit_resolvers.items()
}
for _kind, (_pattern, _first) in _OURS.items():
    PlainLoader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"^(?:{_pattern})$"), list(_first))


def load_settings(text: str) -> Any:
    """The value of YAML.

    Raises:
        yaml.YAMLError: it is none.
    """
    return yaml.load(text, Loader=PlainLoader)


def load_argument(text: str) -> Any:
    """The value of an argument or of a config file, for jsonargparse; see :func:`load_settings`.

    What holds nothing but keys, such as ``a:`` or ``{a, b}``, is text.
    """
    value, bare = load_settings(text), text.strip()
    if not isinstance(value, dict) or any(v is not None for v in value.values()):
        return value
    keys = {part.strip() for part in bare.strip("{}").split(",")}
    return text if bare == f"{next(iter(value), '')}:" or keys == set(value) else value
