"""Intervals of a prevalence by resampling calibration records and queries together, and the error in its parts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from diffshare.errors import UserError
from diffshare.stats.calibration import Calibration
from diffshare.stats.intervals import check_level, unseen_share
from diffshare.stats.prevalence import (
    FORMS,
    UNCORRECTED,
    Method,
    checked,
    correcting,
    emq,
    estimate,
    separation,
)

CHUNK = 4_000_000  # resampled counts that are held at a time
BLOCK = 50_000  # resampled counts that are made in one go: they stay in the processor's cache
# centres of the bins in which EMQ's resamples are counted (two classes)
LOGITS = np.linspace(-14, 14, 281)


class Estimate(NamedTuple):
    """Prevalence of each class (float64, K) with the ends of its interval, and the resampled estimates (R x K)."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    draws: np.ndarray


def bootstrap(
    method: Method,
    calibration: Calibration,
    query_scores: np.ndarray,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
    resample_calibration: bool = True,
    resample_queries: bool = True,
) -> Estimate:
    """Percentile interval (Efron 1979) of :func:`diffshare.stats.prevalence.estimate`.

    Calibration records are drawn within fold and class, queries over all; a query brings the scores of all folds'
    models with it, so that what the models have in common and what they differ in both enter. The resampling is
    exact but for ``emq`` with two classes, whose scores are rounded to bins of 0.1 in log-odds within a resample
    (measured: below 1e-3), and whose calibration is taken as known: its interval is of the queries alone and holds less
    often than it claims (``docs/estimators.md``).

    An estimate that is cut to 0 in every resample would leave an interval without width. But M queries of which none
    has a class do not tell its share from u = 1 - ((1 - level) / 2)^(1 / M) (Clopper & Pearson 1934, no positive of M),
    and a correction stretches that by the separation J that it divides by (:func:`separation`; 1 without a
    correction). So where queries are resampled, no upper end is below u / J, and no lower end above 1 - u / J.

    Args:
        method: as in ``estimate``.
        calibration: N scores with labels.
        query_scores: M x K (or M), or F x M x K.
        rng: source of the resamples.
        level: in (0, 1).
        resamples: R.
        resample_calibration: False keeps the calibration as it is (sampling error alone).
        resample_queries: False keeps the queries as they are (classifier's error alone).

    Returns:
        estimate, low, high (K) and draws (R x K). The interval is widened to the estimate where it lies outside, and
        at 0 and 1 as said above.

    Raises:
        UserError: what ``estimate`` refuses, a level outside (0, 1), no resample, or one query alone.
    """
    check_level(level)
    if resamples < 1:
        raise UserError(
            f"resamples is {resamples}: expected at least 1, and 1000 or more for an interval to rely on"
        )
    queries = checked(method, calibration, query_scores)
    if resample_queries and queries.shape[1] < 2:
        raise UserError(
            "one query tells nothing of its sampling error: ask for at least 2, and 100 or more to rely on"
        )
    point = estimate(method, calibration, query_scores)
    kept = np.ones((1, queries.shape[1])) / queries.shape[1]
    parts = []
    per_chunk = max(1, CHUNK // max(queries.shape[1], len(calibration.labels)))
    for start in range(0, resamples, per_chunk):
        count = min(per_chunk, resamples - start)
        weights = (
            _drawn(queries.shape[1], count, rng) if resample_queries else np.repeat(kept, count, 0)
        )
        parts.append(
            _resolve(method, calibration, queries, weights, rng if resample_calibration else None)
        )
    draws = np.concatenate(parts)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    if resample_queries:
        unseen = min(1.0, unseen_share(queries.shape[1], level) / _stretch(method, calibration))
        low, high = np.minimum(low, 1 - unseen), np.maximum(high, unseen)
    return Estimate(point, np.minimum(low, point), np.maximum(high, point), draws)


def _stretch(method: Method, calibration: Calibration) -> float:
    """What a correction divides a sampling error by."""
    return 1.0 if method in UNCORRECTED else separation(calibration, correcting(method))[0]


def drift_size(drifts: Sequence[float] | np.ndarray, level: float) -> float:
    """The ``level`` quantile of the sizes of surrogates' drifts.

    Args:
        drifts: estimate minus the known share of the training set, of S >= 1 surrogate generators.
        level: in (0, 1).

    Raises:
        UserError: drifts that are none.
    """
    if not (np.size(drifts) and (np.abs(drifts) <= 1).all()):
        raise UserError(
            f"drifts {np.asarray(drifts).tolist()} are no differences of proportions in [-1, 1]"
        )
    return float(np.quantile(np.abs(drifts), level))


def _drawn(size: int, count: int, rng: np.random.Generator, picks: int | None = None) -> np.ndarray:
    """Shares of ``count`` resamples of ``size`` records, float64, count x size, rows sum to 1."""
    picks = picks or size
    picked = rng.integers(0, size, (count, picks), dtype=np.uint32)
    weights = np.empty((count, size))
    block = max(1, BLOCK // size)
    for start in range(0, count, block):
        rows = picked[start : start + block]
        cells = rows + size * np.arange(len(rows), dtype=np.uint32)[:, None]
        weights[start : start + block] = np.bincount(
            cells.ravel(), minlength=size * len(rows)
        ).reshape(-1, size)
    return weights / picks


def _resolve(
    method: Method,
    calibration: Calibration,
    queries: np.ndarray,
    weights: np.ndarray,
    rng: np.random.Generator | None,
) -> np.ndarray:
    """The estimates of resampled queries (weights, R x M) and, with an rng, resampled calibration. R x K."""
    if method == "emq":
        return _resolve_emq(queries, weights, calibration.prior)
    form = FORMS[method]
    query = weights @ form.features(queries).mean(0)
    features = form.features(calibration.scores)
    if rng is None or method in UNCORRECTED:
        classes = np.repeat(calibration.class_means(features)[None], len(weights), 0)
    else:
        classes = _class_means(calibration, features, len(weights), rng)
    return form.solve(query, classes)


def _class_means(
    calibration: Calibration, features: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Class means of calibration records resampled within fold and class, R x K x D.

    Of n records n - 1 are drawn, which makes the variance of their mean s^2 / n (Rao & Wu 1988): n draws would give
    (n - 1) / n of it, and a fold may hold five records of a class.
    """
    folds = calibration.folds
    means = np.zeros((count, calibration.classes, features.shape[1]))
    groups = calibration.groups
    for fold in range(folds):
        for label in range(calibration.classes):
            cell = features[(groups == fold) & (calibration.labels == label)]
            means[:, label] += _drawn(len(cell), count, rng, len(cell) - 1) @ cell / folds
    return means


def _resolve_emq(queries: np.ndarray, weights: np.ndarray, prior: np.ndarray) -> np.ndarray:
    folds, _, k = queries.shape
    if k > 2:
        return emq(np.tile(weights, folds) / folds, queries.reshape(-1, k), prior)
    clipped = np.clip(queries[..., 1], 1e-6, 1 - 1e-6)
    place = np.rint((np.log(clipped / (1 - clipped)) - LOGITS[0]) / (LOGITS[1] - LOGITS[0])).astype(
        np.int64
    )
    shares = np.zeros((queries.shape[1], len(LOGITS)))
    for one in place:
        shares[np.arange(len(one)), one] += 1 / folds
    positive = 1 / (1 + np.exp(-LOGITS))
    return emq(weights @ shares, np.stack([1 - positive, positive], -1), prior)


class ErrorParts(NamedTuple):
    """Half widths at a level, in units of prevalence, of one class.

    Attributes:
        sampling: of the finite number of queries; shrinks with their square root.
        classifier: of the finite calibration set that corrects the classifier's errors; None where a classifier at
            chance was counted with, and of ``emq``, whose resamples take the calibration as known.
        drift: of surrogates, the estimate minus the share of the training set: what the generator and the classifier's
            other errors on its samples do together, no query removes it; None where no surrogate tells.
    """

    sampling: float
    classifier: float | None
    drift: float | None


def error_parts(
    method: Method,
    calibration: Calibration,
    query_scores: np.ndarray,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 1000,
    drifts: np.ndarray | None = None,
    place: int = 1,
) -> ErrorParts:
    """The error of an estimate in its three parts, which add up to a bound of the whole (triangle inequality).

    Sampling and classifier: half the bootstrap interval with only the queries, or only the calibration records,
    resampled. For a method that does not correct (``cc``, ``pcc``) the classifier's part is its bias instead:
    |sum_k p_k a_k - p| at the corrected estimate (``acc``, ``pacc``). Drift:
    :func:`drift_size`.

    Args:
        method: as in ``estimate``.
        calibration: scores with labels.
        query_scores: as in ``estimate``.
        rng: source of the resamples.
        level: in (0, 1).
        resamples: R.
        drifts: as in ``drift_size``, or None.
        place: the class, 0..K-1.

    Raises:
        UserError: what ``bootstrap`` refuses, or drifts that are none.
    """
    drift = None if drifts is None else drift_size(drifts, level)

    def half(calibrations: bool) -> float:
        interval = bootstrap(
            method,
            calibration,
            query_scores,
            rng,
            level,
            resamples,
            resample_calibration=calibrations,
            resample_queries=not calibrations,
        )
        return float(interval.high[place] - interval.low[place]) / 2

    if method in UNCORRECTED:
        fixed: Method = "acc" if method == "cc" else "pacc"
        try:
            bias = estimate(method, calibration, query_scores) - estimate(
                fixed, calibration, query_scores
            )
            classifier = float(abs(bias[place]))
        except UserError:  # at chance: the count stands, how far off it is nobody can say
            classifier = None
    elif method == "emq":
        classifier = None
    else:
        classifier = half(True)
    return ErrorParts(half(False), classifier, drift)
