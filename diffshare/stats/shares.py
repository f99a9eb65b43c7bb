"""The share of each group within each class of a set of samples, and how uncertain it is.

Where the group is a column of the samples it is counted. Where it is not, a classifier that errs reads it, and the mean
scores of a class are unmixed with error rates calibrated on records of *that class*: a classifier of the group may err
differently on the two classes, and a hard or soft count of its scores over- or understates a disparity (Chen et al.
2019, "Fairness under unawareness", arXiv 1811.11154).

Symbols: K groups, C classes, M samples of a class, F cross-fitted models.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from diffshare.errors import UserError
from diffshare.stats.calibration import Calibration
from diffshare.stats.intervals import ERRORS, SEPARATION, Interval, normal_quantile
from diffshare.stats.prevalence import separation


class Share(NamedTuple):
    """An unbiased estimate of a proportion p with the variance (p (1 - p) + queries) / n + calibration.

    The binomial part depends on the p that is asked about, so that an interval stays honest near 0 and 1.

    Attributes:
        estimate: as it was solved for; errors of a classifier may leave it outside [0, 1].
        n: samples.
        queries: variance of one sample's unmixed score beyond the binomial one; 0 where the group is known.
        calibration: variance that no further sample removes; 0 where the group is known.
    """

    estimate: float
    n: float
    queries: float = 0.0
    calibration: float = 0.0

    def variance(self, p: np.ndarray | float) -> np.ndarray:
        """Variance of the estimate where the truth is ``p``, in [0, 1], of any shape."""
        p = np.asarray(p, np.float64)
        return (p * (1 - p) + self.queries) / self.n + self.calibration

    def clipped(self) -> float:
        """The estimate moved into [1 / (2 n + 2), 1 - 1 / (2 n + 2)]: half a sample at each end."""
        least = 1 / (2 * self.n + 2)
        return float(np.clip(self.estimate, least, 1 - least))

    def interval(self, level: float) -> Interval:
        """Score interval: all p with |estimate - p| <= z sd(p), by Wilson (1927) where the group is known.

        Args:
            level: of confidence, in (0, 1).

        Returns:
            the estimate, cut to [0, 1], and the ends.
        """
        z2 = normal_quantile(level) ** 2 / self.n
        rest = (self.queries / self.n + self.calibration) * normal_quantile(level) ** 2
        middle = self.estimate + z2 / 2  # (1 + z2) p^2 - 2 middle p + estimate^2 - rest = 0
        root = np.sqrt(max(middle**2 - (1 + z2) * (self.estimate**2 - rest), 0.0))
        low, high = ((middle + sign * root) / (1 + z2) for sign in (-1, 1))
        point = min(max(self.estimate, 0.0), 1.0)
        return Interval(point, min(max(low, 0.0), point), max(min(high, 1.0), point))


class GroupShares(NamedTuple):
    """P(s|y) of samples: ``shares[y][s]``, and the samples of each class."""

    shares: tuple[tuple[Share, ...], ...]

    @property
    def groups(self) -> int:
        """Number of groups K."""
        return len(self.shares[0])

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return len(self.shares)

    def pooled(self, group: int, weights: np.ndarray) -> Share:
        """The share of a group in a mixture of classes, taken as independent: each has its own samples.

        Args:
            group: 0..K-1.
            weights: of the classes, sum 1, float, C.
        """
        parts = [(w, row[group]) for w, row in zip(weights, self.shares, strict=True) if w > 0]
        n = 1 / sum(w**2 / part.n for w, part in parts)
        queries = n * sum(w**2 * part.queries / part.n for w, part in parts)
        calibration = sum(w**2 * part.calibration for w, part in parts)
        return Share(sum(w * part.estimate for w, part in parts), n, queries, calibration)


def counted_shares(counts: np.ndarray) -> GroupShares:
    """Shares where the group of every sample is known.

    Args:
        counts: integers, K x C.

    Raises:
        UserError: a class without samples.
    """
    totals = np.asarray(counts).sum(0)
    if (totals == 0).any():
        raise UserError(
            f"no sample of class {int(totals.argmin())} has a known group: draw samples of every class"
        )
    rows = [
        [Share(float(n / total), float(total)) for n in column]
        for column, total in zip(counts.T, totals, strict=True)
    ]
    return GroupShares(tuple(map(tuple, rows)))


def unmixed_shares(
    calibrations: Sequence[Calibration], queries: Sequence[np.ndarray]
) -> GroupShares:
    """Shares where a classifier reads the group: its mean scores, unmixed class by class.

    Within a class the mean posterior vector is q = A^T p with A_k the mean posterior of calibration records of group k,
    so p = A^-T q (Bella et al. 2010; PACC, not cut to the simplex). With the covariance of a sample's score (averaged
    over the models) and of the calibration scores of each fold and group, both independent,

        cov p = A^-T ( cov(q) / M + sum_k p_k^2 sum_f cov_fk / (F^2 n_fk) ) A^-1,

    conditional on the trained models: what a bootstrap over samples and calibration records gives, to first order.

    Args:
        calibrations: held-out scores of records of each class with their groups, C.
        queries: scores of the samples of each class by every fold's model, F x M_c x K, C.

    Raises:
        UserError: a class without samples, or a classifier that cannot tell the groups of a class apart.
    """
    rows = []
    for label, (calibration, scores) in enumerate(zip(calibrations, queries, strict=True)):
        if not np.size(scores):
            raise UserError(f"there are no samples of class {label}: draw samples of every class")
        refuse_weak(calibration, label)
        rows.append(_unmixed(calibration, calibration.queries(scores).mean(0)))
    return GroupShares(tuple(rows))


def refuse_weak(calibration: Calibration, label: int) -> None:
    """Refuse a classifier of the group whose errors within a class cannot be undone.

    Raises:
        UserError: a separation of mean scores below 0.02 or three of its standard errors; says how weak it is.
    """
    value, error = separation(calibration, lambda scores: scores)
    least = max(SEPARATION, ERRORS * error)
    if value < least:
        raise UserError(
            f"the classifier of the group is too weak to audit with: among records of class {label} the mean scores of "
            f"two groups are {value:.3f} apart (standard error {error:.3f}), at least {least:.3f} is needed; give more "
            "auxiliary records, larger images or a stronger classifier"
        )


def _unmixed(calibration: Calibration, scores: np.ndarray) -> tuple[Share, ...]:
    """Shares of one class. ``scores``: M x K, averaged over the models."""
    solve = np.linalg.inv(calibration.class_means(calibration.scores)).T
    p = solve @ scores.mean(0)
    n = len(scores)
    of_query = np.diag(solve @ np.cov(scores.T, bias=True) @ solve.T)
    clipped = np.clip(p, 0, 1)
    spread = np.zeros((len(p), len(p)))
    assert calibration.groups is not None
    for fold in range(calibration.folds):
        for group in range(calibration.classes):
            cell = calibration.scores[(calibration.groups == fold) & (calibration.labels == group)]
            spread += (
                clipped[group] ** 2
                * np.cov(cell.T, bias=True)
                / (calibration.folds**2 * (len(cell) - 1))
            )
    of_calibration = np.diag(solve @ spread @ solve.T)
    excess = np.maximum(of_query - clipped * (1 - clipped), 0)
    parts = zip(p.tolist(), excess.tolist(), of_calibration.tolist(), strict=True)
    return tuple(Share(estimate, n, queries, constant) for estimate, queries, constant in parts)
