"""A cross-fitted property classifier on disk: trained once, read for every generator that it is turned on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from diffshare.classifiers.attribute import AttributeClassifier
from diffshare.classifiers.property import Platt, PropertyClassifier, cross_fit, single_fit
from diffshare.classifiers.quick import probabilities
from diffshare.classifiers.recipes import (
    NetworkRecipe,
    Recipe,
    Scorer,
    TableNetworkRecipe,
    code_rows,
    logits,
)
from diffshare.data.recordsets import scaled
from diffshare.nets.classifiers import SmallResNet, TableMLP
from diffshare.stats.calibration import Calibration
from diffshare.storage import atomic_folder, read_json, write_json

CARD, SCORES = "classifier.json", "calibration.npz"
_LEAST = 1e-30  # of a probability whose logarithm is taken


@dataclass(frozen=True)
class Kept:
    """A classifier read back.

    Attributes:
        classifier: the models of the folds.
        networks: theirs.
        classes: their names.
        seen: positions of a table's columns that the networks see; None for images.
    """

    classifier: PropertyClassifier
    networks: tuple[SmallResNet | TableMLP, ...]
    classes: tuple[str, ...]
    seen: tuple[int, ...] | None = None

    @torch.inference_mode()
    def features(self, x: np.ndarray, batch_size: int = 500) -> np.ndarray:
        """Penultimate activations of the first fold's network, float32, N x width.

        Args:
            x: uint8, N x H x W x C; of a table float32, N x columns, all of them.
            batch_size: records a pass.
        """
        network = self.networks[0]
        parts = []
        for start in range(0, len(x), batch_size):
            part = x[start : start + batch_size]
            if isinstance(network, TableMLP):
                seen = torch.from_numpy(code_rows(part[:, self.seen], network.sizes))
            else:
                seen = scaled(torch.from_numpy(part))
            parts.append(network.features(seen).numpy())
        return np.concatenate(parts)


def train_and_keep(
    folder: Path,
    x: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    steps: int = 400,
    folds: int = 5,
    seed: int = 0,
    categorical: Sequence[int] = (),
    seen: Sequence[int] | None = None,
    augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
) -> None:
    """Cross-fit a :class:`SmallResNet` or a :class:`TableMLP` and write networks, scalings and held-out scores.

    Args:
        folder: where to; it must be new or empty.
        x: uint8, N x H x W x C; of a table float32, N x columns.
        labels: int64 in 0..K-1, N.
        classes: their names, K.
        steps: training steps of each fold's network.
        folds: number of folds; 1 is a single network, to count with (:func:`single_fit`).
        seed: of the folds and the training.
        categorical: positions of the columns of a table that hold codes.
        seen: positions of the columns of a table that the networks see.
        augment: see :func:`cross_fit`.

    Raises:
        UserError: too few records of a class, no image, or a folder that cannot be made.
    """
    networks: list[SmallResNet | TableMLP] = []

    def keep(network: Any) -> Any:
        networks.append(network)
        return network

    recipe: Recipe = NetworkRecipe(
        lambda count, channels: keep(SmallResNet(count, channels)), steps
    )
    if seen is not None:
        recipe = TableNetworkRecipe(lambda count: keep(TableMLP(count)), steps)
        x, categorical = (
            x[:, list(seen)],
            [i for i, position in enumerate(seen) if position in set(categorical)],
        )
    options: dict[str, Any] = {"seed": seed, "categorical": categorical, "augment": augment}
    fit = single_fit if folds == 1 else partial(cross_fit, folds=folds)
    fitted = fit(x, labels, classes, recipe, **options)
    with atomic_folder(folder) as temporary:
        for fold, network in enumerate(networks):
            save_file(network.state_dict(), temporary / f"fold{fold}.safetensors")
        held = fitted.calibration
        assert held.groups is not None  # cross_fit names the fold of each record
        np.savez(temporary / SCORES, scores=held.scores, labels=held.labels, groups=held.groups)
        scalings = [{"scale": s.scale, "shift": s.shift.tolist()} for s in fitted.scalings]
        card: dict[str, Any] = {"classes": list(classes), "scalings": scalings, "records": len(x)}
        if seen is None:
            card["channels"] = x.shape[-1]
        else:
            sizes = [network.sizes for network in networks if isinstance(network, TableMLP)]
            card |= {"seen": list(map(int, seen)), "sizes": sizes}
        write_json(temporary / CARD, card | {"accuracy": fitted.accuracy})


def read_kept(folder: Path) -> Kept:
    """Read what :func:`train_and_keep` wrote; its scores are those of the classifier that was trained."""
    card = read_json(folder / CARD)
    seen = tuple(card["seen"]) if "seen" in card else None
    networks: list[SmallResNet | TableMLP] = []
    for fold in range(len(card["scalings"])):
        network: SmallResNet | TableMLP
        if seen is None:
            network = SmallResNet(len(card["classes"]), card["channels"])
        else:
            network = TableMLP(len(card["classes"]))
            network.fit_rows(np.zeros((1, len(seen)), np.float32), card["sizes"][fold], ())
        network.load_state_dict(load_file(folder / f"fold{fold}.safetensors"))
        networks.append(network.eval())
    with np.load(folder / SCORES) as held:
        calibration = Calibration(held["scores"], held["labels"], held["groups"])
    scalings = tuple(Platt(s["scale"], np.array(s["shift"])) for s in card["scalings"])
    scorers = tuple(_scorer(network, seen) for network in networks)
    return Kept(
        PropertyClassifier(scorers, scalings, calibration),
        tuple(networks),
        tuple(card["classes"]),
        seen,
    )


def _scorer(network: SmallResNet | TableMLP, seen: Sequence[int] | None) -> Scorer:
    if isinstance(network, TableMLP):
        columns = list(seen or ())
        return lambda x: logits(network, code_rows(x[:, columns], network.sizes))
    module = AttributeClassifier(network).eval()
    # log-probabilities are logits up to a number that all classes of a record share, which no softmax sees
    return lambda x: np.log(np.maximum(probabilities(module, x), _LEAST))
