"""The verb ``leak``, which is ``audit --as sharer``: its arguments, and those that it has no use for."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from diffshare.commands.options import add
from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.errors import UserError
from diffshare.release.card import CARD

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


def leak(arguments: list[str]) -> int:
    """What a release, or a folder of samples, gives away before it goes out."""
    parsed = parse(arguments)

    from diffshare.commands.audit import audit

    return audit(*parsed)


def parse(arguments: list[str]) -> tuple[Namespace, Any, Any, Any]:
    """Parse and check; see :func:`diffshare.commands.audit_arguments.parse`.

    Raises:
        UserError: nothing is named first, or nothing to attack with.
    """
    from diffshare.commands import audit_arguments

    if not arguments or arguments[0].startswith("-"):
        if {"-h", "--help", "--help-all"} & {*arguments}:
            parser(arguments).parse_args(arguments)
        raise UserError("name what goes out first: leak SAMPLES_OR_MODEL --against FILE")
    what, *others = arguments
    renamed = [re.sub(r"^--against(?=$|[.=])", "--reference", word) for word in others]
    if renamed == others:
        raise UserError(
            "leak attacks with labelled records that were not trained on: add --against FILE"
        )
    kind = "--model" if (Path(what) / CARD).is_file() else "--samples"
    return audit_arguments.parse(["--as", "sharer", kind, what, *renamed])


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``leak``, for its help: ``audit`` parses."""
    made = verb_parser(
        "leak",
        "What does a release give away? The receiver's attacks on your own model, before it goes out. The same as "
        "audit --as sharer, which has the other arguments.",
        "lightning_logs/faces/release --against source/faces --properties Male --json leak.json",
    )
    first = made.first
    first.add_argument(
        "what", type=Path, help="Release folder, or samples folder, that is to go out."
    )
    first.add_argument(
        "--against", required=True, help="YAML file of labelled records that it was not trained on."
    )
    first.add_argument(
        "--properties",
        type=str,
        nargs="+",
        default=[],
        help="Attributes to attack; all by default.",
    )
    first.add_argument(
        "--queries", type=int | None, default=None, help="Number of samples; 2000 of a model."
    )
    add(first, "--manifest", help="Your mix: the true shares are then known.")
    add(first, "--json")
    add(first, "--seed", help="Of training, samples and resampling.")
    return made


def add_leak(group: Any) -> None:
    """Add to a group what the sharer's audit has beyond the receiver's."""
    add = group.add_argument
    kinds = "NAME, or NAME:CLASS"
    add(
        "--properties",
        type=str,
        nargs="+",
        default=[],
        help=f"Sharer: attributes to attack, {kinds}; all by default.",
    )
    add(
        "--write-card",
        action="store_true",
        help="Sharer: put what can be read, without the values, into README.md.",
    )


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
            raise UserError(
                f"--{flag} is for a sharer who audits the own release: add --as sharer, or leave it out"
            )
        return
    if given := changed(config, parser, OF_RECEIVER):
        raise UserError(
            f"--{given[0]} is for a receiver's audit, --as sharer has no use for it: leave it out"
        )
    if config.reference is None:
        raise UserError(
            "--as sharer attacks with labelled records that were not trained on: add --reference FILE"
        )
    if config.write_card and config.model is None:
        raise UserError(
            "--write-card writes into a release: name it with --model instead of --samples"
        )
