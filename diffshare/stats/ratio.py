"""The part of an excess that is gone: a ratio of means over seeds, with Fieller's interval."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats


class Gone(NamedTuple):
    """The part of an excess that a repair removed.

    Attributes:
        share: 1 where all of it is gone, above 1 where the gap is now below the clean one; None where undefined.
        low: lower end of the interval; None where the seeds do not bound it.
        high: upper end.
    """

    share: float | None
    low: float | None
    high: float | None

    def json(self) -> dict[str, Any]:
        """``share`` and ``interval`` ([low, high] or null)."""
        return {
            "share": self.share,
            "interval": None if self.low is None else [self.low, self.high],
        }


def share_gone(
    clean: Sequence[float],
    poisoned: Sequence[float],
    repaired: Sequence[float],
    level: float = 0.95,
) -> Gone:
    """Mean of poisoned[i] - repaired[i] over the mean of poisoned[i] - clean[i], with Fieller's interval.

    A ratio of means: a seed whose excess happens to be near 0 does not blow it up, as it would a mean of ratios. The
    interval holds every ratio r for which Student's interval of u - r v, over the pairs of numerator u and denominator
    v, holds 0. It is unbounded, and none is given, where the excess itself could be 0.

    Source: Fieller, "Some problems in interval estimation", Journal of the Royal Statistical Society B 16 (1954).

    Args:
        clean: gap of each seed's clean set.
        poisoned: gap of its poisoned one.
        repaired: gap after the repair.
        level: of the interval.
    """
    before, after, base = (np.asarray(v, np.float64) for v in (poisoned, repaired, clean))
    u, v = before - after, before - base
    n = len(u)
    if not n or v.mean() == 0:
        return Gone(None, None, None)
    share = float(u.mean() / v.mean())
    if n < 2:
        return Gone(share, None, None)
    errors = np.cov(u, v) * float(stats.t.ppf((1 + level) / 2, n - 1)) ** 2 / n
    a = v.mean() ** 2 - errors[1, 1]
    b = u.mean() * v.mean() - errors[0, 1]
    c = u.mean() ** 2 - errors[0, 0]
    if a <= 0:
        return Gone(share, None, None)
    half = np.sqrt(max(b * b - a * c, 0.0)) / a
    return Gone(share, float(b / a - half), float(b / a + half))
