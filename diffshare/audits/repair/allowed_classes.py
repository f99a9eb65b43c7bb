"""Blocks of ``class_path`` and ``init_args`` that somebody else wrote: which classes they may name, and what they set.

A class of diffshare is harmless in itself; with three hundred million faces or a million steps it is not.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from diffshare.errors import UserError
from diffshare.received import is_number, shown

SOURCES = frozenset(
    f"diffshare.data.{name}"
    for name in (
        "celeba.CelebA",
        "cifar10.CIFAR10",
        "idx.IDX",
        "imagefolder.ImageFolder",
        "npzfile.NPZ",
        "parquetimages.ParquetImages",
        "rendered.RenderedFaces",
        "table.Adult",
        "table.CSVTable",
        "tablefile.TableFile",
    )
)
RECIPES = frozenset(
    {
        f"diffshare.classifiers.recipes.{kind}Recipe"
        for kind in ("Kernel", "Network", "TableNetwork", "Trees")
    }
    | {f"diffshare.nets.classifiers.{kind}" for kind in ("LeNet", "SmallResNet", "TableMLP")}
)
MOST = {  # of whole numbers by the name of the setting; what is not here may be 10,000
    "count": 200_000,
    "image_size": 512,
    "steps": 20_000,
    "batch_size": 4096,
    "trees": 5000,
    "components": 2000,
    "width": 512,
    "seed": 1 << 62,
}
SIZE = "the length of a list or a mapping"
OTHERS = 10_000
LARGEST = 1e6  # magnitude of a number with a point
LONGEST = 4096  # characters of a text
PIXELS = 4 << 30  # bytes of rendered faces
PARAMETERS = 50_000_000  # of a classifier's network


def check_block(block: Any, allowed: frozenset[str], where: str, option: str) -> None:
    """Refuse a block that names another class, or sets a number, a text or a list out of reason.

    Args:
        block: parsed JSON.
        allowed: ``SOURCES`` or ``RECIPES``; every text of a recipe is the name of a class.
        where: its file, for the message.
        option: by which the reader can name the class himself.

    Raises:
        UserError: names the class, or the setting with what it may be.
    """
    named = [block.get("class_path") if isinstance(block, dict) else block]
    named += [
        v
        for k, v in _leaves(block)
        if k == "class_path" or (allowed is RECIPES and isinstance(v, str))
    ]
    for path in named:
        if not isinstance(path, str) or path not in allowed:
            raise UserError(
                f"{where} names {shown(path)} for the {option}, which is no class of diffshare that may stand there, "
                f"and is not imported from an audit's file: name it yourself with `{option}`"
            )
    for key, value in _values(block):
        if (expected := _expected(key, value)) is not None:
            raise UserError(
                f"{where}, {option}: {shown(key)} must be {expected}, not {shown(value)}"
            )
    settings = block.get("init_args") if isinstance(block, dict) else None
    if isinstance(settings, dict):
        count, side = settings.get("count", 0), settings.get("image_size", 0)
        if is_number(count) and is_number(side) and 3 * count * side**2 > PIXELS:
            raise UserError(
                f"{where}, {option}: {count} images of {side} pixels are more than {PIXELS >> 30} GiB"
            )


def _leaves(block: Any) -> Iterator[tuple[str, Any]]:
    """Every plain value with the nearest key above it."""
    pending: list[tuple[str, Any]] = [("", block)]
    while pending:
        key, value = pending.pop()
        if isinstance(value, dict):
            pending += value.items()
        elif isinstance(value, list):
            pending += [(key, item) for item in value]
        else:
            yield key, value


def _values(block: Any) -> Iterator[tuple[str, Any]]:
    """The same, and the keys and the sizes of lists and mappings as well."""
    yield from _leaves(block)
    pending: list[Any] = [block]
    while pending:
        value = pending.pop()
        if isinstance(value, dict | list):
            yield SIZE, len(value)
            pending += value.values() if isinstance(value, dict) else value
        if isinstance(value, dict):
            yield from (("a name", name) for name in value)


def _expected(key: str, value: Any) -> str | None:
    """What a value should be; None where it is that."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        fits = len(value) <= LONGEST and value.isprintable()
        return None if fits else f"at most {LONGEST} printable characters"
    if key == "dropout":
        return None if 0 <= value < 1 else "a probability below 1"
    if isinstance(value, int):
        most, least = (MOST.get(key, OTHERS), 0 if key == "seed" else -1)
        return None if least <= value <= most else f"from {least} to {most}"
    return None if abs(value) <= LARGEST else f"a number within {LARGEST:g}"


def check_recipe(recipe: Any, where: str) -> None:
    """Refuse a recipe whose network cannot be built or is out of reason: it is built without memory.

    Args:
        recipe: of :mod:`diffshare.classifiers.recipes`.
        where: its file, for the message.
    """
    make = getattr(recipe, "network", None)
    if make is None:
        return
    try:
        with torch.device("meta"):
            network: nn.Module = make(2, 3) if type(recipe).__name__ == "NetworkRecipe" else make(2)
    # a constructor may raise anything when its settings do not fit together
    except Exception as error:
        raise UserError(
            f"{where}: the network of its classifier cannot be built: {shown(str(error))}"
        ) from error
    total = sum(parameter.numel() for parameter in network.parameters())
    if total > PARAMETERS:
        raise UserError(
            f"{where}: the network of its classifier has {total} parameters, more than {PARAMETERS}"
        )
