"""How many queries? A plan before the first one, and intervals that hold however often one looks at them."""

import numpy as np

from diffshare.errors import UserError
from diffshare.stats.calibration import Calibration
from diffshare.stats.intervals import SEPARATION, Interval, check_level, normal_quantile
from diffshare.stats.prevalence import decisions, refuse_chance


def _width(width: float) -> None:
    if not 0 < width < 0.5:
        raise UserError(
            f"width {width} is no half width of a proportion: expected a number between 0 and 0.5"
        )


def queries_needed(width: float, level: float = 0.95, gap: float = 1.0, spread: float = 0.5) -> int:
    """Queries at which a fixed-size interval of an adjusted count has the half width: n = (z spread / (gap width))^2.

    Args:
        width: half width of the prevalence's interval, in (0, 0.5).
        level: in (0, 1).
        gap: TPR - FPR of the classifier, or the difference of mean posteriors: the correction divides by it.
        spread: standard deviation of a query's score, 0.5 at the most for scores in [0, 1].

    Raises:
        UserError: a width, level or gap that is none.
    """
    z = normal_quantile(level)
    _width(width)
    _gap(gap)
    _spread(spread)
    return int(np.ceil((z * spread / (abs(gap) * width)) ** 2))


def _gap(gap: float) -> None:
    if not SEPARATION <= abs(gap) <= 1:
        what = "no difference of two rates" if abs(gap) > 1 else "too near chance"
        raise UserError(
            f"the classifier is {what}: a gap of {gap:.3f} between the classes is not in {SEPARATION} to 1"
        )


def _spread(spread: float) -> None:
    if not 0 < spread <= 0.5:
        raise UserError(
            f"spread {spread} is no standard deviation of numbers in [0, 1]: expected above 0, up to 0.5"
        )


def confidence_sequence(scores: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Intervals of the mean of numbers in [0, 1] that hold for all n at once: predictable-mixture empirical Bernstein.

    Waudby-Smith & Ramdas 2024 (JRSS B 86: 1-27), theorem 2: with the running mean m_i and variance s_i^2,
    lambda_i = min( sqrt( 2 log(2/alpha) / (s_{i-1}^2 i log(1 + i)) ), 1/2 ), v_i = 4 (x_i - m_{i-1})^2 and
    psi(l) = (-log(1 - l) - l) / 4,

        sum lambda_i x_i / sum lambda_i  -+  ( log(2/alpha) + sum v_i psi(lambda_i) ) / sum lambda_i.

    It adapts to the variance. Looking after each query and stopping at will keeps the level.

    Args:
        scores: x_1..x_n in the order in which they came, each in [0, 1], n >= 1.
        level: in (0, 1).

    Returns:
        float64, n x 2: running intersection of the intervals, within [0, 1]; row i uses the first i + 1 numbers.
        Where the intersection is empty (numbers that drift) a row is its own interval again.

    Raises:
        UserError: numbers outside [0, 1] or NaN.
    """
    check_level(level)
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 1 or not len(x) or not ((x >= 0) & (x <= 1)).all():
        raise UserError("a confidence sequence needs numbers in [0, 1] without NaN, at least one")
    i = np.arange(1, len(x) + 1)
    bound = np.log(2 / (1 - level))
    mean = (0.5 + np.cumsum(x)) / (i + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (i + 1)
    before_mean = np.concatenate([[0.5], mean[:-1]])
    before = np.concatenate([[0.25], variance[:-1]])
    stake = np.minimum(np.sqrt(2 * bound / (before * i * np.log(1 + i))), 0.5)
    total = np.cumsum(stake)
    centre = np.cumsum(stake * x) / total
    half = (bound + np.cumsum((x - before_mean) ** 2 * (-np.log1p(-stake) - stake))) / total
    own = np.stack([np.maximum(centre - half, 0), np.minimum(centre + half, 1)], -1)
    both = np.stack([np.maximum.accumulate(own[:, 0]), np.minimum.accumulate(own[:, 1])], -1)
    return np.where(both[:, :1] > both[:, 1:], own, both)


def adjusted_sequence(
    calibration: Calibration, query_scores: np.ndarray, level: float = 0.95
) -> np.ndarray:
    """Intervals of the prevalence of class 1 that hold for all numbers of queries at once (two classes).

    :func:`confidence_sequence` of each query's count, averaged over the folds' models, through the map of the
    adjusted count (share - FPR) / (TPR - FPR). The error rates are taken as measured: their own uncertainty does not
    shrink with queries and stands in ``bootstrap.error_parts``.

    Returns:
        float64, M x 2, within [0, 1].
    """
    if calibration.classes != 2:
        raise UserError(f"a confidence sequence is of two classes, not of {calibration.classes}")
    queries = calibration.queries(query_scores)
    refuse_chance(calibration)
    fpr, tpr = calibration.class_means(decisions(calibration.scores))[:, 1]
    band = confidence_sequence(decisions(queries)[..., 1].mean(0), level)
    return np.sort(np.clip((band - fpr) / (tpr - fpr), 0, 1), axis=-1)


def enough_queries(band: np.ndarray, width: float) -> int | None:
    """The first number of queries whose interval has at most the half width; None where none has. ``band``: M x 2."""
    _width(width)
    narrow = np.flatnonzero(band[:, 1] - band[:, 0] <= 2 * width)
    return int(narrow[0]) + 1 if len(narrow) else None


def stopped(band: np.ndarray, estimate: float) -> Interval:
    """The last interval of a band with an estimate, moved into it."""
    low, high = map(float, band[-1])
    return Interval(min(max(estimate, low), high), low, high)
