"""Numbers made normal by their ranks, and back: the quantile transform of a table's numeric columns."""

import numpy as np
from scipy.special import ndtr, ndtri

LEAST, MOST = 10, 1000  # quantiles that are kept
RECORDS_EACH = 30  # records that stand behind a quantile, where there are enough (Kotelnikov et al. 2023)
EDGE = 1e-7  # ranks are kept this far from 0 and 1, normal scores within 5.2


def fit_quantiles(values: np.ndarray) -> np.ndarray:
    """Equally spaced quantiles: one for 30 values, at least 10 and at most 1000.

    The first and the last are the smallest and the largest value.

    Args:
        values: finite, N >= 1.

    Returns:
        float64, rising (not strictly: a value that is frequent stands several times).
    """
    count = int(np.clip(len(values) // RECORDS_EACH, LEAST, MOST))
    return np.maximum.accumulate(np.quantile(values.astype(np.float64), np.linspace(0, 1, count)))


def to_normal(values: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Normal score of each value: the standard normal quantile of its rank.

    A value that spans several quantiles has the middle of its ranks. This is scikit-learn's ``QuantileTransformer``
    with ``output_distribution="normal"`` but for a frequent smallest or largest value, which that class puts at the
    very edge (-5.2 or 5.2), far from its neighbours; here it too has its middle rank.

    Args:
        values: finite, N.
        quantiles: of :func:`fit_quantiles`.

    Returns:
        float64 in [-5.2, 5.2], N.
    """
    ranks = np.linspace(0, 1, len(quantiles))
    first = np.searchsorted(quantiles, values, side="left")
    last = np.searchsorted(quantiles, values, side="right") - 1
    known = first <= last  # the value is itself a quantile, from number `first` to number `last`
    middle = (ranks[np.minimum(first, len(ranks) - 1)] + ranks[np.maximum(last, 0)]) / 2
    rank = np.where(known, middle, np.interp(values, quantiles, ranks))
    return ndtri(np.clip(rank, EDGE, 1 - EDGE))


def from_normal(scores: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """The value of each normal score, between the smallest and the largest quantile. float64, N."""
    return np.interp(ndtr(scores), np.linspace(0, 1, len(quantiles)), quantiles)
