"""The error of a paired difference between two trained classifiers, over test records, training sets and seeds.

Classifier A is trained on one set, classifier B on another, both with the same recipe, and both decide on the same test
records. What is estimated is the difference of a mean of their decisions, for instance of the selection rates of two
groups, in expectation over training sets of this size. B's set is cut into K folds; each fold is decided by a B that
has not seen it, so that every record of it is a test record once.

Three things make the estimate err, and each has a variance of its own:

- the test records: the variance of a mean of d = a(x) - b(x), within each group;
- A's training set and seed: the variance of the means over classifiers that were trained on bootstrap resamples of it,
  less what the finite test set adds to it (half of the mean noise of the difference of two of them);
- B's training set and seed: the same from pairs of classifiers of the same fold.

Where a training takes n of A's N records, K trainings on different draws share only part of their error: the variance
of one training is multiplied by f + (1 - f) / K with f = n / N. B's trainings share most of their records, since each
leaves out one fold alone; their variance is taken whole, which is a little too much.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit


@dataclass(frozen=True)
class Paired:
    """Means of G groups of records, of a difference between two classifiers, and how far they may be off.

    Attributes:
        means: of each group, G.
        of_test: variance of each mean over test records, G; different groups are independent.
        of_a: covariance over training sets of A, G x G.
        of_b: covariance over training sets of B, G x G.
        freedom_a: degrees of freedom of ``of_a``.
        freedom_b: degrees of freedom of ``of_b``.
    """

    means: np.ndarray
    of_test: np.ndarray
    of_a: np.ndarray
    of_b: np.ndarray
    freedom_a: int
    freedom_b: int

    def contrast(self, weights: np.ndarray) -> "Estimate":
        """A weighted sum of the means, for instance (-1, 1) for group 1 minus group 0.

        Args:
            weights: float64, G.
        """
        a, b = (max(float(weights @ v @ weights), 0.0) for v in (self.of_a, self.of_b))
        test = float(weights**2 @ self.of_test)
        total = a + b + test
        spread = a**2 / self.freedom_a + b**2 / self.freedom_b
        freedom = total**2 / spread if spread > 0 else np.inf  # Satterthwaite 1946
        return Estimate(float(weights @ self.means), total**0.5, freedom, (test, a, b))


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes:
        value: the number.
        error: its standard error.
        freedom: degrees of freedom of the error, may be infinite.
        variances: over test records, over A's training sets, over B's.
    """

    value: float
    error: float
    freedom: float
    variances: tuple[float, float, float]

    def interval(self, level: float) -> tuple[float, float]:
        """Value -+ t error at a confidence level in (0, 1)."""
        half = float(stdtrit(self.freedom, (1 + level) / 2)) * self.error
        return self.value - half, self.value + half

    def p_beyond(self, margin: float) -> float:
        """p-value of |truth| <= margin: small where the number is shown to be beyond it."""
        away = abs(self.value) - margin
        if not self.error:
            return float(away <= 0)
        # both tails: at margin 0 this is the usual two-sided test
        tails = stdtr(self.freedom, -away / self.error)
        return float(min(1.0, tails + stdtr(self.freedom, -(away + 2 * margin) / self.error)))

    def p_within(self, margin: float) -> float:
        """p-value of |truth| >= margin, by two one-sided tests (Schuirmann 1987): small where it is inside."""
        inside = margin - abs(self.value)
        if not self.error:
            return float(inside <= 0)
        return float(stdtr(self.freedom, -inside / self.error))


def paired(
    difference: np.ndarray,
    weights: np.ndarray,
    again_a: np.ndarray,
    again_b: list[tuple[np.ndarray, np.ndarray]],
    *,
    folds: int,
    used: float,
) -> Paired:
    """Means of a cross-fitted difference and their error.

    Args:
        difference: a(x) - b(x) of each test record, decided by classifiers that have not seen it, float, N.
        weights: of the records in each group's mean, G x N; each row sums to 1.
        again_a: decisions of classifiers that were trained on resamples of A's set, R x N, R >= 2.
        again_b: for each fold, its records (positions) and the decisions on them of two or more classifiers that were
            trained on resamples of the other folds, r x n.
        folds: K.
        used: share of A's set that one training takes, in (0, 1].
    """
    groups = len(weights)
    means_a = again_a @ weights.T
    noise_a = np.mean([noise(q, weights) for q in np.diff(again_a, axis=0)], axis=0) / 2
    of_a = np.cov(means_a, rowvar=False, ddof=1).reshape(groups, groups) - np.diag(noise_a)
    pairs = []
    for rows, decisions in again_b:
        here = weights[:, rows]
        total = here.sum(1, keepdims=True)
        if (total <= 0).any():
            continue  # a group without a record in this fold
        here = here / total
        for q in np.diff(decisions, axis=0):
            mean = here @ q
            pairs.append((np.outer(mean, mean) - np.diag(noise(q, here))) / 2)
    of_b = np.mean(pairs, axis=0) if pairs else np.zeros((groups, groups))
    return Paired(
        weights @ difference,
        noise(difference, weights),
        of_a * (used + (1 - used) / folds),
        of_b,
        len(again_a) - 1,
        max(len(pairs), 1),
    )


def noise(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Variance of weighted means over records: sum of w^2 (v - mean)^2 n / (n - 1), G.

    Args:
        values: one a record, float, N.
        weights: G x N; each row sums to 1.
    """
    count = (weights > 0).sum(1)
    around = values[None] - (weights @ values)[:, None]
    return (weights**2 * around**2).sum(1) * count / np.maximum(count - 1, 1)
