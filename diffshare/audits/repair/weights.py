"""Undoes an association in samples: the groups of each class get the shares that a reference has, or equal ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from diffshare.audits.poisoning.reading import GroupReader
from diffshare.audits.repair.kinds import To, Weights
from diffshare.classifiers.property import fit_platt
from diffshare.errors import UserError
from diffshare.receiver.samples import CodedSamples
from diffshare.stats.calibration import Calibration
from diffshare.stats.reweighing import bounded, coefficients, effective_size, systematic
from diffshare.stats.shares import GroupShares, unmixed_shares

RARE = 0.02  # share of a group below which a classifier's reading may be its errors alone
CLEAR = 0.1  # by how much a share has to differ between what looks like one group and what looks like another


@dataclass(frozen=True)
class Repair:
    """Weights of samples, and what they do.

    Attributes:
        weights: of the M samples, float64 >= 0, with mean 1 in each class.
        cut: share of the weights that were out of bounds.
        before: P(s|y) of the samples, [y][s].
        wanted: P(s|y) that the weights aim at, [y][s].
        after: P(s|y) of the weighted samples by the reader's posteriors, [y][s]. Where a checker reads, both it and
            ``before`` are what that one reads, and the weights were solved for on the same samples.
        parts: of the weights that a checker checked, a(s|y) / m(s|y) to make further weights with; None of others.
    """

    weights: np.ndarray
    cut: float
    before: np.ndarray
    wanted: np.ndarray
    after: np.ndarray
    parts: np.ndarray | None = None

    def json(self, y: np.ndarray) -> dict[str, Any]:
        """Plain values; ``y``: classes of the samples."""
        sizes = [effective_size(self.weights[y == k]) for k in range(len(self.wanted))]
        cells = {
            f"s{s}y{k}": {
                "before": float(np.clip(self.before[k, s], 0, 1)),
                "wanted": float(self.wanted[k, s]),
                "after": float(np.clip(self.after[k, s], 0, 1)),
            }
            for k in range(len(self.wanted))
            for s in range(self.wanted.shape[1])
        }
        largest = float(self.weights.max())
        return {
            "cells": cells,
            "effective_sizes": sizes,
            "largest_weight": largest,
            "weights_cut": self.cut,
        }


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


def reweigh(
    reader: GroupReader,
    samples: CodedSamples,
    wanted: np.ndarray,
    most: float = 10.0,
    weights: Weights = "density",
    checker: GroupReader | None = None,
    parts: np.ndarray | None = None,
) -> Repair:
    """Weights that give the groups of each class the wanted shares.

    ``density`` weighs by p_wanted(x|y) / p_samples(x|y) = sum_s (r/q)(s|y) P(s | x, y): what a classifier sees is then
    distributed as wanted, and a sample whose group cannot be read keeps a weight near 1. P(s | x, y) is the reader's
    score, calibrated anew within each class (Platt 1999) and moved to the samples' shares (Saerens et al. 2002).
    ``mass`` gives every *true* group the wanted mass (:mod:`diffshare.stats.reweighing`): with a weak reader its
    coefficients are extreme, and the weights differ within a group by whatever makes a sample look like one group.
    With a group that is known the two are the same. ``checked`` is for samples of a generator, which a classifier of
    records reads less surely than it says: weights of the form of ``density``, sum_s (a / m)(s|y) P(s | x, y) with m
    the mean posterior, of which a second reader of other records reads the wanted shares.

    Args:
        reader: of the group.
        samples: what is repaired.
        wanted: P(s|y) to aim at, [y][s].
        most: largest weight, in units of the mean of its class.
        weights: ``density``, ``mass`` or ``checked``.
        checker: of the same group, from records that the reader has not; only for ``checked``, and not needed there
            where the group is known.
        parts: those of other samples of the same generator, which hold for these; solved for where None.

    Raises:
        UserError: a classifier too weak, a class without samples, a group that is wanted in a class and not there, or a
            reader that finds nothing that the checker sees.
    """
    there = reader.shares(samples)
    _refuse_lacking(reader, there, wanted)
    before = _clipped(there)
    first, second = (
        None if one is None or one.classifier is None else one.scores(samples)
        for one in (reader, checker)
    )
    weighed, after, cut = np.ones(len(samples.y)), np.zeros_like(before), 0.0
    targets = wanted / before
    for label, shares in enumerate(before.copy()):
        mine = samples.y == label
        if first is None:
            posteriors = _known(samples.groups[reader.name][mine], len(shares))
        else:
            calibration, scores = reader.calibrations()[label], first[:, mine].mean(0)
            posteriors = _posteriors(calibration, scores, shares)
        if checker is None or second is None:
            raw = posteriors @ targets[label]
            if weights == "mass" and first is not None:
                raw = scores @ coefficients(
                    calibration.class_means(calibration.scores), shares, wanted[label]
                )
            weighed[mine], out = bounded(raw, most)
            after[label] = (weighed[mine, None] * posteriors).mean(0)
        else:
            seen = second[:, mine]
            targets[label] = (
                _target(checker, label, seen, posteriors, wanted[label])
                if parts is None
                else parts[label]
            )
            weighed[mine], out = bounded(posteriors @ targets[label], most)
            before[label], after[label] = (
                _reading(checker, label, seen, w) for w in (np.ones(mine.sum()), weighed[mine])
            )
        cut += out * mine.mean()
    return Repair(weighed, float(cut), before, wanted, after, None if second is None else targets)


def _refuse_lacking(reader: GroupReader, there: GroupShares, wanted: np.ndarray) -> None:
    """Refuse samples that lack a group that is wanted: no weight makes what is not there.

    Where a classifier reads the group, it lacks where its share cannot be told from 0 and is read as below ``RARE``.
    """
    for label, row in enumerate(there.shares):
        for group, share in enumerate(row):
            counted = reader.classifier is None
            lacks = (
                share.estimate <= 0
                if counted
                else share.estimate < RARE and share.interval(0.95).low <= 0
            )
            if lacks and wanted[label][group] > 0:
                name, of = reader.attribute.classes[group], reader.reference.classes[label]
                seen = "has" if counted else "can be told to have"
                raise UserError(
                    f"no sample of class '{of}' {seen} the {reader.name} '{name}', which is wanted in "
                    f"{wanted[label][group]:.0%} of them: weights cannot make it; draw more samples, or ask for "
                    "another model"
                )


def _reading(
    checker: GroupReader, label: int, scores: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """P(s) that the checker reads in weighted samples of one class, K; their scores are F x N x K."""
    shares = unmixed_shares(
        [checker.calibrations()[label]], [scores[:, systematic(weights)]]
    ).shares[0]
    # not cut to [0, 1], which would bias a mixture's ends
    return np.array([share.estimate for share in shares])


def _target(
    checker: GroupReader, label: int, scores: np.ndarray, posteriors: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """What a sample of each group weighs, a / m, so that the checker reads the wanted shares; K.

    Raises:
        UserError: it reads nearly the same in what looks like one group and in what looks like another.
    """
    read = np.array([_reading(checker, label, scores, weights) for weights in posteriors.T])
    if np.ptp(read, axis=0).max() < CLEAR:
        raise UserError(
            f"what one reader of '{checker.name}' takes for different groups looks alike to a second reader: more "
            "records or a stronger classifier are needed"
        )
    return _mixed(read, wanted) / posteriors.mean(0)


def _mixed(read: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Parts a >= 0, sum 1, of a mixture in which the checker reads what is wanted, as nearly as there is one; K.

    Args:
        read: what it reads in each part, K x K.
        wanted: shares, K.
    """
    sure = 1e3  # the weight of the equation that they add up to 1
    parts, _ = nnls(np.vstack([read.T, np.full(len(read), sure)]), np.append(wanted, sure))
    return parts / parts.sum()


def accept(repair: Repair, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions of samples that are kept with a probability in proportion to their weight, int64 in rising order.

    The same proportion in every class, so that the classes stay as frequent as they are: sample i is kept with
    probability w_i over the largest weight of all, and of a class whose probabilities add up to k just k rounded down
    or up are kept (systematic sampling in a random order; Madow, "On the theory of systematic sampling, II", Annals of
    Mathematical Statistics 20, 1949).

    Args:
        repair: of these samples.
        y: their classes.
        rng: decides.
    """
    kept = np.zeros(len(y), bool)
    for label in range(len(repair.wanted)):
        mine = rng.permutation(np.flatnonzero(y == label))
        start = rng.random()
        passed = np.floor(start + np.cumsum(repair.weights[mine]) / repair.weights.max())
        kept[mine[np.diff(passed, prepend=0.0) > 0]] = True
    return np.flatnonzero(kept)


def quotas(y: np.ndarray, count: int, classes: int) -> np.ndarray:
    """How many of ``count`` samples are of each class, as frequent as among ``y``: int64, C, by largest remainder."""
    exact = count * np.bincount(y, minlength=classes) / len(y)
    sizes = np.floor(exact).astype(np.int64)
    sizes[np.argsort(sizes - exact, kind="stable")[: count - sizes.sum()]] += 1
    return sizes


def at_most(
    rows: np.ndarray, y: np.ndarray, most: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Those of ``rows`` that are left where no class may have more than ``most`` of them: chance decides; rising.

    Args:
        rows: positions in ``y``.
        y: classes.
        most: of each class, C.
        rng: decides.
    """
    order = rng.permutation(rows)
    return np.sort(
        np.concatenate([order[y[order] == label][:n] for label, n in enumerate(most.tolist())])
    )


def _known(codes: np.ndarray, groups: int) -> np.ndarray:
    """Groups that are known as posteriors, N x K; one that is not weighs as the mean."""
    return np.where(codes[:, None] >= 0, np.eye(groups)[codes], 1 / groups)


def _posteriors(calibration: Calibration, scores: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """P(s | x, y) of samples of one class, N x K, for the shares of the groups among them."""
    platt = fit_platt(_logarithm(calibration.scores), calibration.labels)
    posteriors = platt(_logarithm(scores)) * (shares / calibration.prior)
    return posteriors / posteriors.sum(1, keepdims=True)


def _logarithm(scores: np.ndarray) -> np.ndarray:
    return np.log(np.clip(scores, 1e-6, 1))


def _clipped(shares: GroupShares) -> np.ndarray:
    """P(s|y) as probabilities, [y][s]."""
    probabilities = np.array([[share.clipped() for share in row] for row in shares.shares])
    return probabilities / probabilities.sum(1, keepdims=True)
