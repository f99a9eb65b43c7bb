"""Numbers of their normal scores: the quantile transform by which releases of format 1 code numeric columns."""

import numpy as np
from scipy.special import ndtr


def from_normal(scores: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """The value of each normal score, between the smallest and the largest quantile.

    Args:
        scores: N.
        quantiles: equally spaced in rank, rising.

    Returns:
        float64, N.
    """
    return np.interp(ndtr(scores), np.linspace(0, 1, len(quantiles)), quantiles)
