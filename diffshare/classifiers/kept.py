"""A cross-fitted property classifier on disk: trained once, read for every generator that it is turned on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.torch import load_file, save_file
from torch import nn

from diffshare.classifiers.attribute import AttributeClassifier
from diffshare.classifiers.property import Platt, PropertyClassifier, cross_fit
from diffshare.classifiers.quick import probabilities
from diffshare.classifiers.recipes import NetworkRecipe, Scorer
from diffshare.nets.classifiers import SmallResNet
from diffshare.stats.calibration import Calibration
from diffshare.storage import atomic_folder, read_json, write_json

CARD, SCORES = "classifier.json", "calibration.npz"
_LEAST = 1e-30  # of a probability whose logarithm is taken


class Kept(NamedTuple):
    """A classifier read back: the models of the folds with their networks, and names of the classes."""

    classifier: PropertyClassifier
    networks: tuple[SmallResNet, ...]
    classes: tuple[str, ...]


def train_and_keep(
    folder: Path,
    x: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    steps: int = 400,
    folds: int = 5,
    seed: int = 0,
    augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
) -> None:
    """Cross-fit a :class:`SmallResNet` and write networks, scalings and held-out scores.

    Args:
        folder: where to; it must be new or empty.
        x: uint8, N x H x W x C.
        labels: int64 in 0..K-1, N.
        classes: their names, K.
        steps: training steps of each fold's network.
        folds: number of folds.
        seed: of the folds and the training.
        augment: see :func:`cross_fit`.

    Raises:
        UserError: too few records of a class, no image, or a folder that cannot be made.
    """
    networks: list[SmallResNet] = []

    def new(count: int, channels: int) -> nn.Module:
        networks.append(SmallResNet(count, channels))
        return networks[-1]

    recipe = NetworkRecipe(new, steps)
    made = cross_fit(x, labels, classes, recipe, folds=folds, seed=seed, augment=augment)
    with atomic_folder(folder) as temporary:
        for fold, network in enumerate(networks):
            save_file(network.state_dict(), temporary / f"fold{fold}.safetensors")
        held = made.calibration
        assert held.groups is not None  # cross_fit names the fold of each record
        np.savez(temporary / SCORES, scores=held.scores, labels=held.labels, groups=held.groups)
        scalings = [{"scale": s.scale, "shift": s.shift.tolist()} for s in made.scalings]
        card = {"classes": list(classes), "channels": x.shape[-1], "scalings": scalings, "records": len(x)}
        write_json(temporary / CARD, card | {"accuracy": made.accuracy})


def read_kept(folder: Path) -> Kept:
    """Read what :func:`train_and_keep` wrote; its scores are those of the classifier that was trained."""
    card = read_json(folder / CARD)
    networks = []
    for fold in range(len(card["scalings"])):
        network = SmallResNet(len(card["classes"]), card["channels"]).eval()
        network.load_state_dict(load_file(folder / f"fold{fold}.safetensors"))
        networks.append(network)
    with np.load(folder / SCORES) as held:
        calibration = Calibration(held["scores"], held["labels"], held["groups"])
    scalings = tuple(Platt(s["scale"], np.array(s["shift"])) for s in card["scalings"])
    classifier = PropertyClassifier(tuple(map(_scorer, networks)), scalings, calibration)
    return Kept(classifier, tuple(networks), tuple(card["classes"]))


def _scorer(network: SmallResNet) -> Scorer:
    module = AttributeClassifier(network).eval()
    # log-probabilities are logits up to a number that all classes of a record share, which no softmax sees
    return lambda x: np.log(np.maximum(probabilities(module, x), _LEAST))
