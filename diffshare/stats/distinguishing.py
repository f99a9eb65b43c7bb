"""The game "was the training set's proportion p0 or p1?": accuracy, AUROC and the records that a guess is worth."""

import numpy as np
from scipy.stats import rankdata

from diffshare.errors import UserError
from diffshare.stats.intervals import Interval, normal_quantile


def n_leaked(accuracy: float, p0: float, p1: float) -> float:
    """Records of the training set that, seen directly, would tell p0 from p1 as well.

    Suri & Evans 2022 (Formalizing and Estimating Distribution Inference Risks, PoPETs 2022(4), theorem 4.1): n
    records tell two proportions apart with an accuracy of at most 1/2 + 1/2 sqrt(1 - r^n),
    r = max( min(p0, p1) / max(p0, p1), min(1-p0, 1-p1) / max(1-p0, 1-p1) ). Solved for n:

        n = log( 4 accuracy (1 - accuracy) ) / log(r).

    Args:
        accuracy: of a balanced game, in [0, 1]; 0.5 and below leaks nothing.
        p0: proportion in [0, 1].
        p1: another proportion in [0, 1].

    Returns:
        >= 0; infinite for an accuracy of 1.

    Raises:
        UserError: proportions or accuracy outside [0, 1], or equal proportions.
    """
    for name, value in (("accuracy", accuracy), ("p0", p0), ("p1", p1)):
        if not 0 <= value <= 1:
            raise UserError(f"{name} {value} is outside [0, 1]")
    if p0 == p1:
        raise UserError(
            f"p0 and p1 are both {p0}: two different proportions are needed to tell them apart"
        )
    low, high = sorted((p0, p1))
    ratio = max(low / high, (1 - high) / (1 - low))
    advantage = max(0.0, 2 * accuracy - 1)
    if advantage == 1:
        return float("inf")
    if ratio == 0:  # one record tells the two apart for certain
        return 0.0 if advantage == 0 else 1.0
    return float(np.log1p(-(advantage**2)) / np.log(ratio))


def auroc(first: np.ndarray, second: np.ndarray, level: float = 0.95) -> Interval:
    """P(an estimate at p1 is above one at p0), ties half, with DeLong's interval on the logit scale.

    DeLong, DeLong & Clarke-Pearson 1988. Where the two sets do not overlap the variance is 0 and the end of the
    interval comes from one pair of m n that might be out of order, a rule of three: 1 - 3 / min(m, n).

    Args:
        first: estimates or scores where p0 is true, m >= 2.
        second: the same where p1 is true, n >= 2.
        level: in (0, 1).

    Raises:
        UserError: fewer than two numbers on a side, numbers that are not finite, or a level outside (0, 1).
    """
    z = normal_quantile(level)
    first, second = np.asarray(first, np.float64).ravel(), np.asarray(second, np.float64).ravel()
    m, n = len(first), len(second)
    if min(m, n) < 2 or not np.isfinite(first).all() or not np.isfinite(second).all():
        raise UserError(f"AUROC needs two finite numbers at least on each side, got {m} and {n}")
    ranks = rankdata(np.concatenate([second, first]))
    above = (ranks[:n] - rankdata(second)) / m  # of each of `second`, the share of `first` below it
    below = 1 - (ranks[n:] - rankdata(first)) / n
    area = float(above.mean())
    variance = above.var(ddof=1) / n + below.var(ddof=1) / m
    if variance == 0 or area in (0.0, 1.0):
        slack = min(1.0, 3 / min(m, n))
        return Interval(area, max(0.0, area - slack), min(1.0, area + slack))
    half = z * np.sqrt(variance) / (area * (1 - area))
    logit = np.log(area / (1 - area))
    low, high = (float(1 / (1 + np.exp(-(logit + sign * half)))) for sign in (-1, 1))
    return Interval(area, low, high)
