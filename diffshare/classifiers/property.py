"""A classifier of a property, cross-fitted and calibrated: every score that is used comes from an unseen record.

The records are cut into F folds. Fold f's model is trained on the other folds, then scores fold f. Queries are scored
by the models of all folds, so that both sides average over the same models; see
:class:`diffshare.stats.calibration.Calibration`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from diffshare.classifiers.recipe import Recipe, Scorer
from diffshare.errors import UserError
from diffshare.stats.calibration import LEAST_PER_CELL, Calibration

HELD_BACK = 10  # one in so many of a fold's training records is kept for the scaling of its logits
HELD_OUT = 5  # one in so many records is held out from a single model: 4,000 of 20,000 in the paper


@dataclass(frozen=True)
class Platt:
    """Platt scaling for K classes: softmax(scale * logits + shift), the shift of class 0 being 0.

    Source: Platt 1999 (two classes); Guo et al. 2017, a temperature, here with a shift of each class.
    """

    scale: float
    shift: np.ndarray

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Posteriors, N x K."""
        return softmax(self.scale * logits + self.shift, axis=1)


def fit_platt(logits: np.ndarray, labels: np.ndarray) -> Platt:
    """The scale and shift of greatest likelihood, with a weak pull to 1 and 0 that a separable set needs.

    Args:
        logits: N x K.
        labels: int64 in 0..K-1, N.
    """
    k = logits.shape[1]

    def loss(values: np.ndarray) -> float:
        log_p = log_softmax(np.exp(values[0]) * logits + np.append(0, values[1:]), axis=1)
        return float(-log_p[np.arange(len(labels)), labels].sum() + 0.5 * (values**2).sum())

    best = minimize(
        loss, np.zeros(k), method="L-BFGS-B", bounds=[(-5, 5)] + [(None, None)] * (k - 1)
    ).x
    return Platt(float(np.exp(best[0])), np.append(0, best[1:]))


@dataclass(frozen=True)
class PropertyClassifier:
    """Models of F folds and what they say of the records that they were not trained on.

    Attributes:
        scorers: of each fold, records to logits.
        scalings: of each fold, logits to posteriors.
        calibration: held-out posteriors of the N records, with labels and folds.
    """

    scorers: tuple[Scorer, ...]
    scalings: tuple[Platt, ...]
    calibration: Calibration

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Posteriors of records by every fold's model, float64, F x M x K."""
        pairs = zip(self.scorers, self.scalings, strict=True)
        return np.stack([scaling(scorer(x).astype(np.float64)) for scorer, scaling in pairs])

    @property
    def accuracy(self) -> float:
        """Share of held-out records whose most probable class is the true one."""
        return float((self.calibration.scores.argmax(1) == self.calibration.labels).mean())


def cross_fit(
    x: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    recipe: Recipe,
    *,
    folds: int = 5,
    seed: int = 0,
    categorical: Sequence[int] = (),
    augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> PropertyClassifier:
    """Train the models of all folds and score every record with the one that has not seen it.

    Args:
        x: uint8 N x H x W x C, or float32 N x D.
        labels: int64 in 0..K-1, N.
        names: of the K classes.
        recipe: how to train one model.
        folds: F, at least 2.
        seed: of the folds and the training.
        categorical: positions of the columns of a table that hold codes.
        augment: makes further training records of training records; no record that is scored is ever changed.
        progress: wraps the loop over the folds.

    Raises:
        UserError: a class is missing or has too few records for F folds (says how many are needed).
    """
    if folds < 2:
        raise UserError(
            f"`folds` is {folds}: a record must be scored by a model that has not seen it, use at least 2 (1 is for a "
            "classifier that only counts: method cc)"
        )
    check_enough(labels, names, folds)
    rng = np.random.default_rng([seed, folds])
    groups = stratified_folds(labels, folds, rng)
    scores = np.zeros((len(x), len(names)))
    models: list[tuple[Scorer, Platt]] = []
    for fold in progress(range(folds)):
        inside = rng.permutation(np.flatnonzero(groups != fold))
        # for the scaling of this model's logits
        back = stratified_folds(labels[inside], HELD_BACK, rng) == 0
        fitted, kept = inside[~back], inside[back]
        records, targets = x[fitted], labels[fitted]
        if augment is not None:
            records, targets = np.concatenate([records, augment(records, rng)]), np.tile(targets, 2)
        scorer = recipe.train(records, targets, len(names), seed * 1000 + fold, categorical)
        scaling = fit_platt(scorer(x[kept]).astype(np.float64), labels[kept])
        scores[groups == fold] = scaling(scorer(x[groups == fold]).astype(np.float64))
        models.append((scorer, scaling))
    scorers, scalings = zip(*models, strict=True)
    return PropertyClassifier(scorers, scalings, Calibration(scores, labels, groups))


def single_fit(
    x: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    recipe: Recipe,
    *,
    seed: int = 0,
    categorical: Sequence[int] = (),
    augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
) -> PropertyClassifier:
    """One model, to count with and nothing else, as in Luo et al. 2024 (arXiv 2402.18607).

    It is trained on four fifths of the records and its logits are left as they are; the calibration
    is of the held-out fifth. A correction would need the errors of more than one model.

    Args:
        x: uint8 N x H x W x C, or float32 N x D.
        labels: int64 in 0..K-1, N.
        names: of the K classes.
        recipe: how to train it.
        seed: of the cut and the training.
        categorical: positions of the columns of a table that hold codes.
        augment: makes further training records of training records.

    Raises:
        UserError: a class is missing or has too few records.
    """
    check_enough(labels, names, 1, portion=1 / HELD_OUT)
    rng = np.random.default_rng([seed, 1])
    held = stratified_folds(labels, HELD_OUT, rng) == 0
    records, targets = x[~held], labels[~held]
    if augment is not None:
        records, targets = np.concatenate([records, augment(records, rng)]), np.tile(targets, 2)
    scorer = recipe.train(records, targets, len(names), seed * 1000, categorical)
    plain = Platt(1.0, np.zeros(len(names)))
    scores = plain(scorer(x[held]).astype(np.float64))
    return PropertyClassifier(
        (scorer,), (plain,), Calibration(scores, labels[held], np.zeros(held.sum(), np.int64))
    )


def check_enough(
    labels: np.ndarray, names: Sequence[str], folds: int, portion: float = 1.0
) -> None:
    """Refuse records that cannot calibrate a classifier.

    Args:
        labels: int64 in 0..K-1, N.
        names: of the K classes.
        folds: of the classifier.
        portion: of the records that it gets, in (0, 1].

    Raises:
        UserError: a class without records, or with fewer than the folds need.
    """
    counts = np.bincount(labels, minlength=len(names))
    # twice what Calibration insists on: an interval from 5 records is no interval
    needed = math.ceil(2 * LEAST_PER_CELL * folds / portion)
    rarest = int(counts.argmin())
    if np.count_nonzero(counts) < 2:
        only = names[int(counts.argmax())]
        raise UserError(
            f"all {len(labels)} auxiliary records are '{only}': a classifier needs records of every class, at least "
            f"{needed} of each"
        )
    if counts[rarest] < needed:
        raise UserError(
            f"the auxiliary records hold {counts[rarest]} of '{names[rarest]}', too few to calibrate a classifier: at "
            f"least {needed} of each class are needed for {folds} folds (more records, or fewer folds)"
        )


def stratified_folds(labels: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """A fold for each record, the counts of a class in two folds never more than one apart. int64, N."""
    groups = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        groups[members] = (np.arange(len(members)) + rng.integers(folds)) % folds
    return groups
