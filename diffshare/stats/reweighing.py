"""Weights that give the groups of a class the shares they should have, where a classifier that errs reads the group.

Reweighing gives a record of group s in class y the weight r(s|y) / q(s|y), r the share wanted and q the share there is
(Kamiran & Calders 2012, "Data preprocessing techniques for classification without discrimination", for r(s|y) = p(s)).
With an estimated group that under-corrects: a record that is read wrongly gets the other group's weight. Here the
weight is a sum over the posteriors, w(x) = sum_k a_k post_k(x), whose coefficients are solved for so that the mass of
every *true* group comes out right in expectation:

    q(s) E[w | s] = q(s) sum_k a_k m_sk = r(s)   for all s,   so   a = m^-1 (r / q),

m_sk the mean posterior of group k among calibration records of group s (and of that class). With a group that is known
m is the identity, and a = r / q.
"""

import numpy as np

from diffshare.errors import UserError


def coefficients(means: np.ndarray, shares: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The coefficients a of the weights of one class.

    Args:
        means: mean posterior of each group (columns) among records of each true group (rows), K x K; the identity
            where the group is known.
        shares: q, shares of the groups that there are, > 0, K.
        wanted: r, shares of the groups that there should be, >= 0, K.

    Returns:
        float64, K.

    Raises:
        UserError: shares or a classifier with which no weight can be computed.
    """
    means, shares, wanted = (np.asarray(v, np.float64) for v in (means, shares, wanted))
    if (shares <= 0).any():
        raise UserError(
            f"group {int(shares.argmin())} has no share to be weighted: draw samples that hold it"
        )
    if abs(np.linalg.det(means)) < 1e-9:
        raise UserError(
            "the classifier does not tell the groups apart: weights cannot be computed from its scores"
        )
    return np.linalg.solve(means, wanted / shares)


def bounded(weights: np.ndarray, most: float) -> tuple[np.ndarray, float]:
    """Weights in [0, most] with mean 1, and the share of them that had to be cut.

    Cutting leaves a part of the imbalance: the share that is returned says how many weights it touched.

    Args:
        weights: float, N, N >= 1.
        most: largest weight, in units of the mean, > 1.

    Raises:
        UserError: no weight is above 0.
    """
    weights = np.asarray(weights, np.float64)
    if not (weights > 0).any():
        raise UserError(
            "no sample has a weight above 0: the classifier's scores say nothing of these samples"
        )
    low = np.maximum(weights, 0)
    low = low / low.mean()
    cut = np.minimum(low, most)
    return cut / cut.mean(), float(np.mean((weights < 0) | (low > most)))


def effective_size(weights: np.ndarray) -> float:
    """Kish's effective sample size (sum w)^2 / sum w^2: as many equally weighted records tell as much; 0 of none."""
    weights = np.asarray(weights, np.float64)
    return float(weights.sum() ** 2 / np.square(weights).sum()) if weights.any() else 0.0


def systematic(weights: np.ndarray) -> np.ndarray:
    """As many positions as there are weights, each as often as its weight says, to less than one. int64, N.

    Args:
        weights: >= 0, one of them above, N.
    """
    if not len(weights):
        return np.zeros(0, np.int64)
    ends = np.cumsum(weights)
    points = (np.arange(len(weights)) + 0.5) / len(weights) * ends[-1]
    return np.searchsorted(ends, points)
