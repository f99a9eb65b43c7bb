"""Makes samples safe to train on: the groups of each class get the shares that a reference has, or equal ones."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from diffshare.audit.material import SampledRecords
from diffshare.audit.reading import GroupReader
from diffshare.stats.reweighing import bounded, coefficients, effective_size
from diffshare.stats.shares import GroupShares

To = Literal["reference", "equal", "independent"]


@dataclass(frozen=True)
class Repair:
    """Weights of samples, and what they do.

    Attributes:
        weights: of the M samples, float64 >= 0, with mean 1 in each class.
        cut: share of the weights that were out of bounds.
        before: P(s|y) of the samples, [y][s].
        wanted: P(s|y) that the weights aim at, [y][s].
        after: P(s|y) of the weighted samples by the reader's posteriors, for the shares ``before``, [y][s].
    """

    weights: np.ndarray
    cut: float
    before: np.ndarray
    wanted: np.ndarray
    after: np.ndarray

    def json(self, y: np.ndarray) -> dict[str, Any]:
        """Plain values; ``y``: classes of the samples."""
        sizes = [effective_size(self.weights[y == k]) for k in range(len(self.wanted))]
        cells = {
            f"s{s}y{k}": {
                "before": float(self.before[k, s]),
                "wanted": float(self.wanted[k, s]),
                "after": float(self.after[k, s]),
            }
            for k in range(len(self.wanted))
            for s in range(self.wanted.shape[1])
        }
        largest = float(self.weights.max())
        return {"cells": cells, "effective_sizes": sizes, "largest_weight": largest, "weights_cut": self.cut}


def wanted_shares(table: np.ndarray, to: To) -> np.ndarray:
    """P(s|y) to aim at, [y][s].

    Args:
        table: counts of the reference, K x C.
        to: ``reference``: as there; ``independent``: P(s) of the reference in every class; ``equal``: 1 / K.
    """
    table = np.asarray(table, np.float64)
    if to == "equal":
        return np.full(table.T.shape, 1 / len(table))
    if to == "independent":
        return np.tile(table.sum(1) / table.sum(), (table.shape[1], 1))
    return (table / table.sum(0)).T


def reweigh(reader: GroupReader, samples: SampledRecords, wanted: np.ndarray, most: float = 10.0) -> Repair:
    """Weights that give the groups of each class the wanted shares.

    Args:
        reader: of the group; its classifier's errors are unmixed class by class.
        samples: what is repaired.
        wanted: P(s|y) to aim at, [y][s].
        most: largest weight, in units of the mean of its class.

    Raises:
        UserError: a classifier too weak, or a class without samples.
    """
    shares = reader.shares(samples)
    posteriors, means = _posteriors(reader, samples)
    before = _clipped(shares)
    prior = (reader.table / reader.table.sum(0)).T
    weights, cut = np.ones(len(samples.y)), 0.0
    after = np.zeros_like(before)
    for label in range(shares.classes):
        mine = samples.y == label
        raw = posteriors[mine] @ coefficients(means[label], before[label], wanted[label])
        weights[mine], out = bounded(raw, most)
        cut += out * mine.mean()
        after[label] = (weights[mine, None] * _adjusted(posteriors[mine], prior[label], before[label])).mean(0)
    return Repair(weights, float(cut), before, wanted, after)


def accept(repair: Repair, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions of samples that are kept with a probability in proportion to their weight, int64 in rising order.

    Args:
        repair: of these samples.
        y: their classes.
        rng: decides.
    """
    kept = np.zeros(len(y), bool)
    for label in range(len(repair.wanted)):
        mine = np.flatnonzero(y == label)
        kept[mine] = rng.random(len(mine)) * repair.weights[mine].max() < repair.weights[mine]
    return np.flatnonzero(kept)


def _posteriors(reader: GroupReader, samples: SampledRecords) -> tuple[np.ndarray, list[np.ndarray]]:
    """Posteriors of the samples' groups, M x K, and for each class the mean posteriors of the groups, K x K."""
    groups = len(reader.attribute.classes)
    if reader.classifier is None:
        codes = samples.groups[reader.name]
        known = np.where(codes[:, None] >= 0, np.eye(groups)[codes], 1 / groups)  # an unknown group weighs as the mean
        return known, [np.eye(groups)] * len(reader.reference.classes)
    scores = reader.scores(samples).mean(0)
    return scores, [calibration.class_means(calibration.scores) for calibration in reader.calibrations()]


def _adjusted(posteriors: np.ndarray, prior: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Posteriors, N x K, for other shares of the groups than those of the calibration records (Saerens et al. 2002)."""
    found = posteriors * (shares / prior)
    return found / found.sum(1, keepdims=True)


def _clipped(shares: GroupShares) -> np.ndarray:
    """P(s|y) as probabilities, [y][s]."""
    found = np.array([[share.clipped() for share in row] for row in shares.shares])
    return found / found.sum(1, keepdims=True)
