"""The arguments of ``audit --as sharer``, and those that it has no use for."""

from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from diffshare.errors import UserError

OF_RECEIVER = (
    "sensitive",
    "candidates",
    "clusters",
    "prompts",
    "clip",
    "margin",
    "margin_from",
    "alpha",
    "power",
    "pool",
    "sequential",
    "declared",
    "downstream",
    "withhold",
    "gap_repeats",
    "out",
)


def add_leak(group: Any) -> None:
    """Add to a group what the sharer's audit has beyond the receiver's."""
    add = group.add_argument
    kinds = "NAME, or NAME:CLASS"
    add("--properties", type=str, nargs="+", default=[], help=f"Sharer: attributes to attack, {kinds}; all by default.")
    add("--write-card", action="store_true", help="Sharer: put what can be read, without the values, into README.md.")


def changed(config: Namespace, parser: ArgumentParser, names: Sequence[str]) -> list[str]:
    """Those of these arguments that are not as they are by default, as flags without ``--``."""
    return [name.replace("_", "-") for name in names if config[name] != parser.get_default(name)]


def check_leak(config: Namespace, parser: ArgumentParser) -> None:
    """Refuse what does not go together with the role.

    Args:
        config: the arguments.
        parser: which knows their defaults.

    Raises:
        UserError: an argument of the other role, or none that says what to attack with.
    """
    if config["as"] == "receiver":
        if config.properties or config.write_card:
            flag = "properties" if config.properties else "write-card"
            raise UserError(f"--{flag} is for a sharer who audits the own release: add --as sharer, or leave it out")
        return
    if given := changed(config, parser, OF_RECEIVER):
        raise UserError(f"--{given[0]} is for a receiver's audit, --as sharer has no use for it: leave it out")
    if config.reference is None:
        raise UserError("--as sharer attacks with labelled records that were not trained on: add --reference FILE")
    if config.write_card and config.model is None:
        raise UserError("--write-card writes into a release: name it with --model instead of --samples")
