"""The verb ``cache``: what lies decoded on this machine, how to be rid of it, and how large it may grow."""

import re
import time
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace
from rich.table import Table

from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.data.cachefolder import (
    Cached,
    default_cache_dir,
    entries,
    keep_within,
    limit_of,
    remove,
    set_limit,
    sweep_leftovers,
)
from diffshare.errors import UserError
from diffshare.terminal import cell_text, console, say

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
SHOWN = 12  # letters of a key


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``cache``."""
    verb = verb_parser(
        "cache",
        "What lies decoded on this machine. list shows it; clear deletes it all, or the entries whose keys are named; "
        "limit SIZE (such as 20GB, or none) deletes what was not used for longest until the rest is within it, now and "
        "whenever more is decoded.",
        "limit 20GB",
    )
    add = verb.first.add_argument
    actions = Literal["list", "clear", "limit"]
    add("action", type=actions, nargs="?", default="list", help="list, clear or limit.")
    add("what", type=str, nargs="*", default=[], help="clear: keys; limit: the size.")
    add(
        "--dir", type=Path | None, default=None, help="The folder; $DIFFSHARE_CACHE where left out."
    )
    return verb


def parse(arguments: list[str]) -> Namespace:
    """Parse."""
    return parser(arguments).parse_args(arguments)


def cache(arguments: list[str]) -> int:
    """List the cache, clear it, or limit it."""
    config = parse(arguments)
    root = default_cache_dir() if config.dir is None else config.dir
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is not a folder: name the folder of the cache")
    if config.action == "limit":
        _limit(root, config.what)
    elif config.action == "clear":
        _clear(root, config.what)
    else:
        _list(root, config.what)
    return 0


def _list(root: Path, what: list[str]) -> None:
    if what:
        raise UserError(f"cache list takes no {what[0]!r:.40}: leave it out")
    there = entries(root)
    table = Table("key", "what", "of", "count", "size", "last used")
    for one in reversed(there):
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.used))
        count = "" if one.count is None else f"{one.count:,}"
        table.add_row(
            one.folder.name[:SHOWN],
            one.kind,
            cell_text(one.what),
            count,
            size_text(one.bytes),
            used,
        )
    if there:
        console().print(table)
    limit = limit_of(root)
    within = "no limit" if limit is None else f"limit {size_text(limit)}"
    say(
        f"cache:   {root} ({len(there)} entries, {size_text(sum(one.bytes for one in there))}, {within})"
    )


def _clear(root: Path, keys: list[str]) -> None:
    there = entries(root)
    for key in keys:
        named = [one for one in there if one.folder.name.startswith(key)]
        if len(named) != 1 or len(key) < 4:
            many = (
                "is no key"
                if not named
                else "names more than one"
                if len(key) >= 4
                else "is too short for a key"
            )
            raise UserError(f"{key!r:.80} {many} of {root}: cache list shows them")
    chosen = [
        one for one in there if not keys or any(one.folder.name.startswith(key) for key in keys)
    ]
    gone = [one for one in chosen if remove(one)]
    if not keys:
        sweep_leftovers(root)
    _tell(root, gone)
    if len(gone) < len(chosen):
        say(
            f"note:    {len(chosen) - len(gone)} entries are being built right now, or cannot be deleted"
        )


def _limit(root: Path, what: list[str]) -> None:
    if len(what) != 1:
        raise UserError("cache limit takes one size: 20GB for instance, or none")
    limit = None if what[0] == "none" else parse_size(what[0])
    set_limit(root, limit)
    _tell(root, keep_within(root))
    say(f"limit:   {'none' if limit is None else size_text(limit)} of {root}")


def _tell(root: Path, gone: list[Cached]) -> None:
    say(f"deleted: {len(gone)} entries, {size_text(sum(one.bytes for one in gone))}, of {root}")


def parse_size(text: str) -> int:
    """Bytes of ``20GB``, ``1.5 GiB`` or ``3000``.

    Raises:
        UserError: it is no size.
    """
    match = re.fullmatch(
        r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?)(i?)B?", text.strip(), re.ASCII | re.IGNORECASE
    )
    if match is None or (match[3] and not match[2]):
        raise UserError(f"{text!r:.40} is no size: write 20GB for instance, or none")
    unit = _UNITS[match[2].upper()]
    return int(
        float(match[1]) * (1024 ** list(_UNITS).index(match[2].upper()) if match[3] else unit)
    )


def size_text(size: int) -> str:
    """Bytes as a person reads them: ``1.5 GB``."""
    for unit in reversed(_UNITS):
        if unit and size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.1f} {unit}B"
    return f"{size} B"
