"""Kernel inception distance between sets of features, and the difference of two of them with an interval.

The kernel is that of Binkowski et al. 2018 (arXiv 1801.01401): k(a, b) = (a.b / d + 1)^3, the distance the unbiased
estimate of the squared maximum mean discrepancy (their equation 4).
"""

from typing import NamedTuple

import numpy as np


class Difference(NamedTuple):
    """A difference with its confidence interval."""

    estimate: float
    low: float
    high: float


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _within(kernel: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of the off-diagonal entries, and the same with each record left out."""
    n = len(kernel)
    rows = kernel.sum(1) - np.diag(kernel)
    total = rows.sum()
    return total / (n * (n - 1)), (total - 2 * rows) / ((n - 1) * (n - 2))


def _between(kernel: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean of the entries, the same with each row left out, and with each column left out."""
    n, m = kernel.shape
    total = kernel.sum()
    return total / (n * m), (total - kernel.sum(1)) / ((n - 1) * m), (total - kernel.sum(0)) / (n * (m - 1))


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy of two sets of features.

    Args:
        a: features, float, N x d, N >= 2.
        b: features, float, M x d, M >= 2.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    return _within(_kernel(a, a))[0] + _within(_kernel(b, b))[0] - 2 * _between(_kernel(a, b))[0]


def kernel_distance_difference(
    first: np.ndarray, second: np.ndarray, reference: np.ndarray, z: float = 1.96
) -> Difference:
    """Distance of ``first`` to ``reference`` minus that of ``second``, with a jackknife interval.

    Records i of ``first`` and ``second`` belong together (they start from the same noise), so they are left out
    together; reference records are left out one by one. The two variances add up.

    Args:
        first: features, float, N x d.
        second: features, float, N x d.
        reference: features, float, M x d.
        z: quantile of the normal distribution: 1.96 gives 95 %.

    Returns:
        estimate and interval; a positive difference means that ``first`` is farther from the reference.
    """
    first, second, reference = (features.astype(np.float64) for features in (first, second, reference))
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} records are no pairs")
    (f, f_out), (s, s_out) = _within(_kernel(first, first)), _within(_kernel(second, second))
    fr, fr_out, fr_ref = _between(_kernel(first, reference))
    sr, sr_out, sr_ref = _between(_kernel(second, reference))
    estimate = f - s - 2 * (fr - sr)  # what the reference has within itself cancels
    variance = _jackknife(f_out - s_out - 2 * (fr_out - sr_out)) + _jackknife(f - s - 2 * (fr_ref - sr_ref))
    half = z * float(np.sqrt(variance))
    return Difference(float(estimate), float(estimate) - half, float(estimate) + half)


def _jackknife(left_out: np.ndarray) -> float:
    n = len(left_out)
    return float((n - 1) / n * np.sum((left_out - left_out.mean()) ** 2))
