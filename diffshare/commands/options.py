"""Arguments that several verbs have, each written once, and the checks of them.

Nothing heavy is imported here: a parser is built, asked for help and refuses before torch is there.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

import diffshare.data.table  # noqa: F401  its sources can be given by the name of the class alone
from diffshare.data.source import Source
from diffshare.errors import UserError, check_number
from diffshare.receiver.sampling import check_device
from diffshare.release.tables import ESCAPE_HELP
from diffshare.study.steps.flags import flag

OPTIONS: dict[str, dict[str, Any]] = {
    "--seed": {"type": int, "default": 0},
    "--json": {"type": Path | None, "default": None, "help": "File for the result."},
    "--overwrite": {"action": "store_true", "help": "Replace --out where it holds something."},
    "--out": {"type": Path, "required": True, "help": "Folder to make."},
    # samples
    "--model": {"type": Path, "required": True, "help": "Release folder."},
    "--samples": {
        "type": Path | None,
        "default": None,
        "help": "Samples folder, in place of a model.",
    },
    "--count": {"type": int, "required": True, "help": "Number of samples."},
    "--labels": {
        "type": str,  # not "or None": that would read a class called null as left out
        "default": None,
        "help": "As for the verb sample: balanced, natural, none or one class.",
    },
    "--steps": {
        "type": int | None,
        "default": None,
        "help": "Network calls a sample; the card's default.",
    },
    "--guidance": {
        "type": float,
        "default": 1.0,
        "help": "guidance_scale; 1 is plain conditional sampling.",
    },
    "--batch-size": {"type": int | None, "default": None, "help": "Samples a pass."},
    "--device": {"default": "cpu", "help": "Where to sample: cpu, cuda, cuda:1, ..."},
    "--escape-formulas": {"action": "store_true", "help": ESCAPE_HELP},
    # labelled records
    "--reference": {"type": Source, "sub_configs": True},
    "--auxiliary": {"type": Source, "sub_configs": True},
    "--part": {
        "type": Literal["auxiliary", "test", "all"],
        "default": "auxiliary",
        "help": "Part of the reference to use.",
    },
    "--split-seed": {
        "type": int,
        "default": 0,
        "help": "data.seed of the model's training, where both share a source.",
    },
    "--manifest": {
        "type": Path | None,
        "default": None,
        "help": "The sharer's mix: checked to be disjoint (for auditors).",
    },
    "--folds": {
        "type": int,
        "default": 5,
        "help": "Models of it, each for the records it has not seen.",
    },
}
# of diffshare.classifiers.recipes
RECIPES = (
    "NetworkRecipe",
    "TableNetworkRecipe",
    "TreesRecipe",
    "KernelRecipe",
)


def add(group: Any, *names: str, **changes: Any) -> None:
    """Add arguments of ``OPTIONS``.

    Args:
        group: a parser or a group of one.
        names: flags.
        changes: what is other than there, for instance ``help``; for all of them.
    """
    for name in names:
        group.add_argument(name, **OPTIONS[name] | changes)


def add_recipe(group: Any, name: str, arguments: Sequence[str], help: str) -> None:
    """Add an argument that is a recipe; the classes, which need torch, are imported where it is given.

    Args:
        group: a parser or a group of one.
        name: flag.
        arguments: that will be parsed.
        help: what the recipe is of.
    """
    kind: Any = str
    if any(word.split("=")[0].split(".")[0] == name for word in arguments):
        from diffshare.classifiers.recipes import Recipe

        kind = Recipe
    group.add_argument(
        name,
        type=kind | None,
        default=None,
        help=f"{help} One of {', '.join(RECIPES)}, or your own.",
    )


def changed(config: Namespace, parser: ArgumentParser, names: Iterable[str]) -> list[str]:
    """Flags of those of these arguments that are not as they are by default."""
    return [flag(name) for name in names if config[name] != parser.get_default(name)]


def check_one(config: Namespace) -> None:
    """Refuse a model and samples, or neither."""
    if (config.model is None) == (config.samples is None):
        raise UserError(
            "give either --model (a release folder) or --samples (a samples folder), one of them"
        )


def check_asking(config: Namespace) -> None:
    """Refuse numbers with which no model is asked, and a device that cannot be used here."""
    check_number("steps", config.steps, 1)
    check_number("batch_size", config.batch_size, 1)
    check_device(config.device)
