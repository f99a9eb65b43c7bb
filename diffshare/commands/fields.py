"""Arguments that are choices of a library's function: type, default and sentence stand in the dataclass alone."""

import re
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import docstring_parser

from diffshare.study.steps.flags import flag


def add_fields(group: Any, kind: type, *names: str, **changes: Any) -> None:
    """Add arguments that are fields of a dataclass.

    A truth value becomes a flag without a value, a tuple an argument that takes several.

    Args:
        group: a parser or a group of one.
        kind: the dataclass, whose docstring has ``Attributes:``.
        names: of the fields.
        changes: what is other than there, for instance ``help``; for all of them.
    """
    hints, defaults = get_type_hints(kind), {field.name: field.default for field in fields(kind)}
    for name in names:
        hint, default = hints[name], defaults[name]
        options: dict[str, Any] = {"type": hint, "default": default}
        if hint is bool:
            options = {"action": "store_true"}
        elif get_origin(hint) is tuple:
            options = {"type": get_args(hint)[0], "nargs": "+", "default": []}
        elif default is MISSING:
            options = {"type": hint, "required": True}
        group.add_argument(flag(name), **options | {"help": sentence(kind, name)} | changes)


@cache
def _described(kind: type) -> dict[str, str]:
    described = docstring_parser.parse(
        kind.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE
    ).params
    return {one.arg_name: " ".join((one.description or "").split()) for one in described}


def sentence(kind: type, name: str) -> str:
    """What the docstring of a dataclass says of a field, as a sentence of a help."""
    text = re.sub(r"\bwhere None\b", "where left out", _described(kind)[name]).rstrip(".")
    begins = text if text.startswith("`") else text[:1].upper() + text[1:]
    own = _described(kind).keys()
    named = re.sub(r"``(\w+)``", lambda word: flag(word[1]) if word[1] in own else word[1], begins)
    return f"{named}."


RECIPES = ("classifier", "downstream")  # classes, which are built after the checks


def choices(kind: type, config: Any) -> dict[str, Any]:
    """The values of a dataclass's fields among parsed arguments, but for those that are recipes."""
    names = (field.name for field in fields(kind))
    return {name: config[name] for name in names if name not in RECIPES}
