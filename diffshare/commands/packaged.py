"""The verb ``configs``: what comes with diffshare, to be used by name, read, and copied."""

import os
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace

from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.errors import UserError
from diffshare.packaged import SUFFIXES, about, named, names
from diffshare.received import read_regular
from diffshare.settings import MAX_YAML
from diffshare.storage import atomic_file, check_new_file
from diffshare.terminal import say


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``configs``."""
    made = verb_parser(
        "configs",
        "The configs that come with diffshare. list names them, each with what it is; show NAME prints one; copy NAME "
        "writes it to a file of your own. Where an option takes a config or a source, its name is enough: fit --config "
        "ddpm_faces --config mix/poisoned.",
        "copy ddpm_faces --out mine.yaml",
    )
    add = made.first.add_argument
    actions = Literal["list", "show", "copy"]
    add("action", type=actions, nargs="?", default="list", help="list, show or copy.")
    add("name", type=str, nargs="?", default=None, help="show, copy: the config's name.")
    out = "copy: the file to write; the config's own name in this folder where left out."
    add("--out", type=Path | None, default=None, help=out)
    add("--overwrite", action="store_true", help="Replace --out where it is such a copy.")
    return made


def parse(arguments: list[str]) -> Namespace:
    """Parse and check.

    Raises:
        UserError: an argument that is none, or two that do not go together.
    """
    config = parser(arguments).parse_args(arguments)
    if config.action == "list" and config.name is not None:
        raise UserError(
            f"configs list takes no {config.name!r:.80}: 'configs show NAME' prints one of them"
        )
    if config.action != "list" and config.name is None:
        raise UserError(f"configs {config.action} needs a name: 'configs' lists them")
    if config.action != "copy" and (config.out is not None or config.overwrite):
        flag = "--out" if config.out is not None else "--overwrite"
        raise UserError(f"{flag} is for configs copy: leave it out")
    return config


def configs(arguments: list[str]) -> int:
    """List the packaged configs, print one, or copy it."""
    config = parse(arguments)
    if config.action == "list":
        every = names()
        width = max(map(len, every), default=0)
        say(*(f"{name:{width}}  {about(name)}" for name in every))
        return 0
    source = named(config.name)
    if config.action == "show":
        say(*source.read_text(encoding="utf-8").splitlines())
        return 0
    out = Path(source.name) if config.out is None else config.out
    _check_new(out, config.overwrite)
    with atomic_file(out) as temporary:
        temporary.write_bytes(source.read_bytes())
    say(f"config:  {out}")
    return 0


def _check_new(out: Path, overwrite: bool) -> None:
    """Refuse to write over what is there, unless it is a copy of a packaged config and shall be replaced."""
    if out.suffix not in SUFFIXES:
        raise UserError(f"--out is {out}: a config is a file that ends with .yaml")
    if not os.path.lexists(out) or out.is_dir():
        check_new_file(out, ())
    elif not overwrite:
        raise UserError(
            f"{out} is there already: choose another --out, or add --overwrite (it replaces a copied config alone)"
        )
    elif not _is_copy(out):
        raise UserError(
            f"{out} is not replaced, for it does not begin as a packaged config does: choose another --out"
        )


def _is_copy(path: Path) -> bool:
    """Whether a file begins with the first line of a packaged config; what follows may have been edited."""
    if path.is_symlink():
        return False
    try:
        first = read_regular(path, MAX_YAML).decode("utf-8").partition("\n")[0]
    except (UserError, UnicodeDecodeError):
        return False
    return first.startswith("#") and first.removeprefix("#").strip() in map(about, names())
