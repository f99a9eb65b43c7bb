"""The README.md of a release: the card for people."""

import json
from pathlib import Path

from diffshare.release.card import Card


def readme(card: Card, folder: Path) -> str:
    """Markdown: what the model makes, what its sharer declares of its data, and how to sample it.

    Args:
        card: what is said of the model.
        folder: where the parts were saved; their classes are read from their configurations.
    """
    size = (
        f"{card.image_size} x {card.image_size} pixels"
        if card.image_size
        else f"{len(card.columns or ())} columns"
    )
    of_target = f" of {card.target}" if card.target else ""
    return "\n".join(
        [
            f"# A {card.family} model",
            "",
            f"- makes: {card.modality}s of {size}",
            f"- classes{of_target}: {', '.join(card.labels) or 'none (unconditional)'}",
            f"- default sampling steps: {card.steps}",
            "",
            "## What its sharer declares",
            "",
            f"- class frequencies: {_said(card.label_frequencies)}",
            f"- training records by sensitive group (s) and target (y): {_said(card.declared)}{_cells(card)}",
            f"- protections: {', '.join(card.protections) or 'none'}",
            f"- epsilon of differential privacy: {'none' if card.epsilon is None else f'{card.epsilon:g}'}",
            "",
            *_private(card),
            "These are claims: nothing in this folder proves them.",
            "",
            *_beside(card),
            "## How to sample it",
            "",
            "```",
            "diffshare sample --model . --count 64 --out ../samples",
            "```",
            "",
            "Parts that load with diffusers alone:",
            "",
            "```python",
            *_loading(folder),
            "```",
            "",
        ]
    )


def _cells(card: Card) -> str:
    names = card.declared_names
    if names is None:
        return ""
    return f" (s: {names.sensitive}, {', '.join(names.groups)}; y: {names.target}, {', '.join(names.classes)})"


def _private(card: Card) -> list[str]:
    """What epsilon is of."""
    said = card.privacy
    if said is None:
        return []
    numbers = {
        "adjacency": said.adjacency,
        "noise multiplier": f"{said.noise_multiplier:g}",
        "norm": f"{said.max_grad_norm:g}",
        "sampling rate": f"{said.sampling_rate:g} (rounded up)",
        "steps": str(said.steps),
        "delta": f"{said.delta:g}",
        "accountant": said.accountant,
    }
    lines = [
        f"Epsilon is of {said.mechanism}:",
        "",
        *(f"- {name}: {value}" for name, value in numbers.items()),
        "",
    ]
    return [*lines, "It does not bound:", "", *(f"- {what}" for what in said.outside), ""]


def _beside(card: Card) -> list[str]:
    """What the folder says of its training data beside what is declared, without a sample."""
    lines = [
        "## What the folder gives away without a query",
        "",
        "Names of the classes, what is declared above, and the weights: who opens the networks is not held to samples.",
    ]
    if card.modality == "table":
        lines += [
            "`table/schema.json` names columns, categories and round bounds of numbers. A category, the value 0, a "
            "missing cell or a step of a bound stands there where at least a few records have it (5 to 20, or one in a "
            "thousand), or because the sharer gave it; how many have it is not there. Of a column that is the same in "
            "nearly all records it has the value.",
        ]
    return [*lines, "`diffshare audit --as sharer` lists all of it.", ""]


def _said(value: object) -> str:
    return "not declared" if value is None else json.dumps(value)


def _loading(folder: Path) -> list[str]:
    import diffusers  # here: whoever opens a release, or asks what one is, needs no torch

    lines = []
    for config in sorted(folder.glob("*/*config.json")):
        name = json.loads(config.read_text(encoding="utf-8")).get("_class_name")
        if hasattr(diffusers, str(name)):
            lines.append(
                f'{config.parent.name} = diffusers.{name}.from_pretrained(".", subfolder="{config.parent.name}")'
            )
    return ["import diffusers", "", *lines]
