"""Arguments as the flags of the command line, by which most steps call a verb; light, for the parsers use it too."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# a flag of Lightning's; those with a dot keep their names as well
UNDERSCORED = ("seed_everything",)


def flag(name: str) -> str:
    """The flag of an argument: words are joined by hyphens, but for the names that Lightning's parser makes."""
    return f"--{name if '.' in name or name in UNDERSCORED else name.replace('_', '-')}"


def flags(options: Mapping[str, Any]) -> Iterator[str]:
    """Options by name as the words of a command; each entry of the list ``config`` is a flag of its own."""
    for name, value in options.items():
        for one in value if name == "config" else [value]:
            yield flag(name)
            yield str(one) if isinstance(one, str | Path) else json.dumps(one, sort_keys=True)
