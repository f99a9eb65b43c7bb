"""A proportion from many scores and a few true labels: no assumption on the scores' errors."""

from typing import NamedTuple

import numpy as np

from diffshare.errors import UserError
from diffshare.stats.intervals import check_level, student_quantile

LEAST = 10  # labels: fewer leave the variance itself unknown


class Powered(NamedTuple):
    """A proportion with the ends of its interval, in [0, 1], and half widths of its parts.

    Attributes:
        estimate: the proportion.
        low: lower end.
        high: upper end.
        of_scores: half width that more scores shrink.
        of_labels: half width that more labels shrink.
    """

    estimate: float
    low: float
    high: float
    of_scores: float
    of_labels: float


def prediction_powered(
    scores: np.ndarray, places: np.ndarray, labels: np.ndarray, level: float = 0.95
) -> Powered:
    """Mean of a label over M records of which a random n were labelled, with the help of scores of all.

    With scores f and labels y, p = mean_rest(w f) + mean_n(y - w f), whatever the scores are; the rest are the
    m = M - n records without a label, so that the two means are independent.
    w = cov(y, f) / ((1 + n / m) var(f)) makes the variance w^2 var(f) / m + var(y - w f) / n least. Scores that say
    nothing, or no rest, leave the plain mean of the labels. Source: Angelopoulos et al. 2023 (Science 382: 669-674);
    Angelopoulos, Duchi & Zrnic 2023 (arXiv 2311.01453, equation 6). Student's quantile with n - 1 degrees stands for
    the normal one. Where all labels are alike, var(y - w f) is that of labels of which one more is different.

    Args:
        scores: any numbers, M.
        places: positions of the labelled records, a random choice without repetition, n.
        labels: 0 or 1, n.
        level: in (0, 1).

    Raises:
        UserError: fewer than ten labels, or labels and places that do not belong together.
    """
    check_level(level)
    f, y, total, n = (
        np.asarray(scores, np.float64),
        np.asarray(labels, np.float64),
        len(scores),
        len(labels),
    )
    if n < LEAST:
        raise UserError(f"{n} labelled samples are too few: at least {LEAST} are needed")
    inside = (
        len(places) == n
        and len(np.unique(places)) == n
        and places.min() >= 0
        and places.max() < total
    )
    if not inside or not np.isin(y, (0, 1)).all():
        raise UserError(
            f"labels must be 0 or 1 of {n} different samples among the {total} there are"
        )
    spread, others = float(f.var(ddof=1)), np.delete(f, places)
    m = len(others)
    weight = float(np.cov(y, f[places])[0, 1]) / ((1 + n / m) * spread) if m and spread > 0 else 0.0
    rest = y - weight * f[places]
    noise = max(
        float(rest.var(ddof=1)), (1 / (n + 1)) * (1 - 1 / (n + 1)) if y.min() == y.max() else 0.0
    )
    quantile = student_quantile(level, n - 1)
    of_scores, of_labels = (
        quantile * (weight**2 * spread / max(m, 1)) ** 0.5,
        quantile * (noise / n) ** 0.5,
    )
    middle = float(rest.mean()) + (weight * float(others.mean()) if m else 0.0)
    half = float(np.hypot(of_scores, of_labels))
    point, low, high = (float(np.clip(v, 0, 1)) for v in (middle, middle - half, middle + half))
    return Powered(point, low, high, of_scores, of_labels)
