"""How often each group stands among the samples of a class, by the count of a classifier: functions that steps run."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser
from safetensors.torch import load_file, save_file

from diffshare.classifiers.attribute import AttributeClassifier
from diffshare.classifiers.quick import fit_quickly, probabilities
from diffshare.data.module import MixDataModule
from diffshare.errors import UserError
from diffshare.nets.classifiers import SmallResNet
from diffshare.release.info import class_names
from diffshare.release.samples import read_samples
from diffshare.stats.information import contingency
from diffshare.storage import atomic_file, read_json, write_json


def train(arguments: list[str]) -> int:
    """Train a classifier of the group S on auxiliary records; leaves ``reader.safetensors`` and ``reader.json``.

    ``reader.json`` has its accuracy on auxiliary records that it has not seen, altogether and by class of Y.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(MixDataModule, "data", required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    config = parser.parse_args(arguments)
    data: MixDataModule = parser.instantiate(config).data
    groups = len(data.classes)
    torch.manual_seed(config.seed)
    reader = fit_quickly(SmallResNet(classes=groups), data, steps=config.steps, seed=config.seed)
    held = data.sets["val"]
    right = probabilities(reader, held.x[held.rows]).argmax(1) == held.target
    by_class = {str(y): float(right[held.sensitive == y].mean()) for y in np.unique(held.sensitive)}
    config.out.mkdir(parents=True, exist_ok=True)
    with atomic_file(config.out / "reader.safetensors") as temporary:
        save_file(reader.network.state_dict(), temporary)
    write_json(
        config.out / "reader.json",
        {
            "groups": groups,
            "names": list(data.classes),
            "accuracy": float(right.mean()),
            "accuracy_by_class": by_class,
            "held_out": len(right),
        },
    )
    return 0


def count(arguments: list[str]) -> int:
    """Count the groups in a samples folder; leaves a JSON file with ``counts`` ([y][s]) and ``shares`` (P(s|y))."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--reader", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    config = parser.parse_args(arguments)
    info = read_json(config.reader / "reader.json")
    network = SmallResNet(classes=info["groups"])
    network.load_state_dict(load_file(config.reader / "reader.safetensors"))
    samples = read_samples(config.samples)
    if (samples.y < 0).any():
        raise UserError(f"{config.samples} has samples without a class: draw them with --labels balanced")
    s = probabilities(AttributeClassifier(network).eval(), samples.x).argmax(1)
    counts = contingency(samples.y, s, int(samples.y.max()) + 1, info["groups"])
    names = list(class_names(samples.info, config.samples))
    write_json(config.out, {"counts": counts.tolist(), "shares": shares(counts), "classes": names, "reader": info})
    return 0


def shares(counts: Any) -> list[list[float | None]]:
    """P(s | y) of counts[y][s]; None for a class without records."""
    table = np.asarray(counts)
    return [[float(n) / row.sum() if row.sum() else None for n in row] for row in table]
