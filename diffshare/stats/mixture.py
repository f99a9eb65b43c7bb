"""Do the queries' scores look like a mixture of the calibration records' scores? The assumption of every correction."""

from typing import NamedTuple

import numpy as np

from diffshare.errors import UserError
from diffshare.stats.calibration import Calibration
from diffshare.stats.simplex import least_squares

BINS = 20  # equal shares of the calibration scores


class Fit(NamedTuple):
    """Distance of the queries to the nearest mixture; P(as far or farther | they are one); the mixture's shares (K)."""

    statistic: float
    p_value: float
    prevalence: np.ndarray


def mixture_fit(
    calibration: Calibration,
    query_scores: np.ndarray,
    rng: np.random.Generator,
    resamples: int = 500,
) -> Fit:
    """Goodness of fit of sum_k p_k f_k to the queries' scores, f_k the calibration scores of class k.

    Scores are counted in bins that hold equal shares of the calibration scores (one histogram of P(class 1) for two
    classes, one for each class for more), averaged over the models of the folds. The statistic is the Cramer-von
    Mises distance of cumulative histograms, sum_b (Q_b - sum_k p_k F_kb)^2, at the p that makes it least. Its
    distribution under the assumption: queries and calibration records are both drawn anew from the fitted mixture
    (records whole, with the scores of all models where a query has several), p and the F_k re-estimated each time
    (parametric bootstrap with estimated parameters, Stute, Gonzalez Manteiga & Presedo Quindimil 1993), so that
    neither the estimate of p nor the size of the calibration set makes it optimistic.

    Args:
        calibration: N scores with labels.
        query_scores: M x K (or M), or F x M x K.
        rng: source of the resamples.
        resamples: R >= 1.

    Returns:
        statistic, p-value in [1 / (R + 1), 1], prevalence K.

    Raises:
        UserError: scores that do not fit the calibration, a set of scores that are all equal, or no resample.
    """
    if resamples < 1:
        raise UserError(
            f"resamples is {resamples}: a p-value needs at least 1, and 99 or more to be below 0.01"
        )
    queries = calibration.queries(query_scores)
    edges = _edges(calibration.scores)
    features = _cumulative(queries, edges).mean(0)
    records = _cumulative(calibration.scores, edges)
    statistic, p = _distance(features.mean(0)[None], calibration.class_means(records)[None])
    null = _null(
        calibration, records, p[0], len(features), _spread(features, queries, edges), rng, resamples
    )
    beyond = int((null >= statistic[0] * (1 - 1e-12)).sum())
    return Fit(float(statistic[0]), (1 + beyond) / (1 + resamples), p[0])


def _edges(scores: np.ndarray) -> np.ndarray:
    """Inner edges of the bins of each channel, D' x (BINS - 1)."""
    channels = scores[:, 1:] if scores.shape[1] == 2 else scores
    if (channels.max(0) == channels.min(0)).all():
        raise UserError(
            "all calibration scores are equal: the classifier tells the classes apart by nothing"
        )
    return np.quantile(channels, np.arange(1, BINS) / BINS, axis=0).T


def _cumulative(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Whether each score is up to each edge, ... x K to ... x D."""
    channels = scores[..., 1:] if scores.shape[-1] == 2 else scores
    below = channels[..., None] <= edges
    return below.reshape(*scores.shape[:-1], -1).astype(np.float64)


def _distance(query: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = least_squares(query, classes)
    return ((query - np.einsum("rk,rkd->rd", p, classes)) ** 2).sum(-1), p


def _spread(features: np.ndarray, queries: np.ndarray, edges: np.ndarray) -> float:
    """Variance of a query's features averaged over models, in that of one model's: 1 where there is one model."""
    if len(queries) == 1:
        return 1.0
    single = _cumulative(queries, edges).var(1).sum(-1).mean()
    return float(features.var(0).sum() / single) if single else 1.0


def _null(
    calibration: Calibration,
    records: np.ndarray,
    p: np.ndarray,
    size: int,
    spread: float,
    rng: np.random.Generator,
    resamples: int,
) -> np.ndarray:
    """Statistics of resampled data that are mixtures, R.

    Averaging a query over correlated models shrinks its variance by ``spread``: as many queries more are drawn.
    """
    groups, counts = calibration.groups, calibration.counts
    folds, k = counts.shape
    effective = max(1, round(size / max(spread, 1e-6)))
    drawn = rng.multinomial(effective, np.repeat(p[None], folds, 0).ravel() / folds, size=resamples)
    drawn = drawn.reshape(resamples, folds, k)
    classes = np.zeros((resamples, k, records.shape[1]))
    query = np.zeros((resamples, records.shape[1]))
    for fold in range(folds):
        for label in range(k):
            cell = records[(groups == fold) & (calibration.labels == label)]
            patterns, frequency = np.unique(cell, axis=0, return_counts=True)
            share = frequency / frequency.sum()
            again = rng.multinomial(len(cell), share, size=resamples) @ patterns / len(cell)
            classes[:, label] += again / folds
            query += rng.multinomial(drawn[:, fold, label], share) @ patterns
    return _distance(query / effective, classes)[0]
