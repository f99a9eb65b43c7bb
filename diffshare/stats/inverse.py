"""Inverse regression: a proportion read off a mean whose line over known proportions was measured."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from diffshare.errors import UserError
from diffshare.stats.intervals import check_level, student_quantile
from diffshare.stats.prevalence import FORMS, Method

LEAST = 3  # points that leave a line a residual


class Inverse(NamedTuple):
    """A proportion with the ends of its interval, all in [0, 1], and the points' scatter about the line.

    Attributes:
        estimate: the proportion at which the line has the mean.
        low: lower end.
        high: upper end.
        scatter: standard deviation of the residuals divided by the slope: how far apart two generators of one
            proportion lie, in units of the proportion, the sampling of their means included.
        half_width: Student's quantile of the level, with S - 2 degrees of freedom, times the scatter.
    """

    estimate: float
    low: float
    high: float
    scatter: float
    half_width: float


def inverse_prediction(
    proportions: Sequence[float] | np.ndarray,
    means: Sequence[float] | np.ndarray,
    variances: Sequence[float] | np.ndarray,
    mean: float,
    variance: float,
    level: float = 0.95,
) -> Inverse:
    """The p at which the line through (proportions, means) has ``mean``, with Fieller's interval.

    With the least-squares line m = a + b p of S points and s^2 = RSS / (S - 2), the interval holds every p with

        (mean - a - b p)^2 <= t^2 ( s^2 (1 + 1/S + (p - pbar)^2 / Sxx) + extra ),   t = t(S - 2, (1 + level) / 2),

    extra = max(0, variance - average of variances): what the new mean is less certain than the points were, which s^2
    does not know. Source: Eisenhart 1939 (Annals of Mathematical Statistics 10); Fieller 1954. Each point is one
    generator that was trained at a known proportion, so that s^2 holds what differs between trainings, and the line
    what a generator does to the proportion and to a classifier's errors.

    Args:
        proportions: of the training sets, in [0, 1], S >= 3, not all equal.
        means: mean of a feature over the samples of each of S generators.
        variances: squared standard error of each of these means.
        mean: of the samples in question.
        variance: squared standard error of it.
        level: in (0, 1).

    Raises:
        UserError: fewer than three points, proportions that are none or all equal, or a slope that is not different
            from 0 at this level, so that no interval is bounded.
    """
    check_level(level)
    p, m = np.asarray(proportions, np.float64), np.asarray(means, np.float64)
    refuse_line(p)
    spread = float(((p - p.mean()) ** 2).sum())
    slope = float(((p - p.mean()) * m).sum()) / spread
    residuals = m - m.mean() - slope * (p - p.mean())
    residual = float((residuals**2).sum()) / (len(p) - 2)
    t2 = student_quantile(level, len(p) - 2) ** 2
    lead = slope**2 - t2 * residual / spread  # of the quadratic in p - pbar
    if slope == 0 or lead <= 0:
        raise UserError(
            f"the mean does not follow the proportion: a slope of {slope:.3f} over {len(p)} surrogates is not "
            f"different from 0 at level {level:g}; use a better classifier or more surrogates"
        )
    distance = mean - float(m.mean())
    allowed = t2 * (residual * (1 + 1 / len(p)) + max(0.0, variance - float(np.mean(variances))))
    root = float(np.sqrt(max(0.0, (slope * distance) ** 2 - lead * (distance**2 - allowed))))
    ends = (p.mean() + (slope * distance + sign * root) / lead for sign in (-1, 1))
    low, high, middle = (float(np.clip(v, 0, 1)) for v in (*ends, p.mean() + distance / slope))
    scatter = residual**0.5 / abs(slope)
    return Inverse(middle, min(low, middle), max(high, middle), scatter, t2**0.5 * scatter)


def refuse_line(proportions: Sequence[float] | np.ndarray) -> None:
    """Refuse known proportions that no line can be drawn through.

    Raises:
        UserError: fewer than three, or proportions that are none or all equal.
    """
    p = np.asarray(proportions, np.float64)
    if len(p) < LEAST or not ((p >= 0) & (p <= 1)).all() or p.min() == p.max():
        raise UserError(
            f"an inverse regression needs {LEAST} generators or more of different proportions in [0, 1], "
            f"got {p.tolist()}: train more surrogates"
        )


def feature_mean(method: Method, scores: np.ndarray, place: int = 1) -> tuple[float, float]:
    """Mean of a method's feature of a class over samples, each averaged over the folds' models, and its variance.

    Args:
        method: one of those with a feature (``acc``, ``pacc``).
        scores: posteriors of the samples by every fold's model, F x M x K.
        place: the class, 0..K-1.

    Raises:
        UserError: fewer than two samples, which have no spread.
    """
    if np.shape(scores)[1] < 2:
        raise UserError(
            f"a mean of {np.shape(scores)[1]} samples has no error to be told: draw 2 at least"
        )
    feature = FORMS[method].features(scores)[..., place].mean(0)
    return float(feature.mean()), float(feature.var(ddof=1)) / len(feature)
