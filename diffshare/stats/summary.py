"""What repeated runs say together: means with t intervals, plain and of paired differences."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Estimate(NamedTuple):
    """A mean over repetitions.

    Attributes:
        mean: None where a repetition is undefined or there is none.
        low: lower end of the interval; None where fewer than two repetitions leave it undefined.
        high: upper end.
        n: number of repetitions.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int

    def json(self) -> dict[str, object]:
        """``mean``, ``interval`` ([low, high] or null) and ``n``."""
        return {
            "mean": self.mean,
            "interval": None if self.low is None else [self.low, self.high],
            "n": self.n,
        }


def t_interval(values: Sequence[float | None], level: float = 0.95) -> Estimate:
    """Mean with Student's interval: mean +- t(n - 1, (1 + level) / 2) * s / sqrt(n), s with n - 1 in its denominator.

    Source: Student, "The probable error of a mean", Biometrika 6 (1908). Exact for normal values; with three
    repetitions t is 4.30, so that the interval is honest about how little three say.

    Args:
        values: one value a repetition; None where it is undefined, which leaves the mean undefined as well: a mean over
            the rest would silently speak of other repetitions.
        level: of the interval, in (0, 1).

    Raises:
        ValueError: level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level} must lie between 0 and 1")
    n = len(values)
    defined = np.array([v for v in values if v is not None], np.float64)
    if not n or len(defined) < n:
        return Estimate(None, None, None, n)
    mean = float(defined.mean())
    if n < 2:
        return Estimate(mean, None, None, n)
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * defined.std(ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half, mean + half, n)


def t_test(values: Sequence[float | None]) -> float | None:
    """Two-sided p-value of Student's test that the mean is 0: 2 P(T_{n-1} > |mean| sqrt(n) / s).

    It is below 1 - level exactly where the interval of :func:`t_interval` at that level leaves 0 out.

    Args:
        values: one value a repetition; None where it is undefined.

    Returns:
        None where a value is undefined or there are fewer than two; values that are all alike give 1 where they are
        0 and 0 elsewhere.
    """
    defined = np.array([v for v in values if v is not None], np.float64)
    if len(defined) < len(values) or len(defined) < 2:
        return None
    error = float(defined.std(ddof=1) / np.sqrt(len(defined)))
    if not error:
        return float(defined.mean() == 0)
    return float(2 * stats.t.sf(abs(defined.mean()) / error, len(defined) - 1))


def paired_difference(
    treated: Sequence[float | None], control: Sequence[float | None], level: float = 0.95
) -> Estimate:
    """Mean of treated[i] - control[i] with Student's interval of the differences.

    Pairs (here: the same seed) share what they have in common, which cancels, so that this interval is narrower than
    one of two independent means.

    Args:
        treated: one value a pair; None where undefined.
        control: one value a pair, in the same order.
        level: of the interval.

    Raises:
        ValueError: the two are of different length.
    """
    if len(treated) != len(control):
        raise ValueError(f"{len(treated)} treated and {len(control)} control values are no pairs")
    pairs = zip(treated, control, strict=True)
    return t_interval([None if a is None or b is None else a - b for a, b in pairs], level)
