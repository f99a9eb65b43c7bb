"""Kernel inception distance between sets of features, and the difference of two of them with an interval.

The kernel is that of Binkowski et al. 2018 (arXiv 1801.01401): k(a, b) = (a.b / d + 1)^3, the distance the unbiased
estimate of the squared maximum mean discrepancy (their equation 4).
"""

from typing import NamedTuple

import numpy as np

from diffshare.errors import UserError


class Difference(NamedTuple):
    """A difference with its confidence interval."""

    estimate: float
    low: float
    high: float


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _within(kernel: np.ndarray) -> float:
    """Mean of the off-diagonal entries."""
    n = len(kernel)
    return float(kernel.sum() - np.trace(kernel)) / (n * (n - 1))


def _within_without(kernel: np.ndarray) -> np.ndarray:
    """The same with each record left out, N."""
    n = len(kernel)
    rows = kernel.sum(1) - np.diag(kernel)
    return (rows.sum() - 2 * rows) / ((n - 1) * (n - 2))


def _between(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the entries with each row left out, and with each column left out."""
    n, m = kernel.shape
    total = kernel.sum()
    return (total - kernel.sum(1)) / ((n - 1) * m), (total - kernel.sum(0)) / (n * (m - 1))


def _checked(least: int, *sets: np.ndarray) -> list[np.ndarray]:
    """Features as float64, at least so many of each set, all of one width.

    Raises:
        UserError: says how many of what there are.
    """
    widths = {features.shape[1] if features.ndim == 2 else 0 for features in sets}
    if len(widths) > 1 or 0 in widths or min(map(len, sets)) < least:
        shapes = ", ".join("x".join(map(str, features.shape)) for features in sets)
        raise UserError(
            f"a kernel distance needs {least} records or more of each set, with as many features: {shapes}"
        )
    return [features.astype(np.float64) for features in sets]


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy of two sets of features.

    Args:
        a: features, float, N x d, N >= 2.
        b: features, float, M x d, M >= 2.

    Raises:
        UserError: fewer than two records of a set, or features that do not belong together.
    """
    a, b = _checked(2, a, b)
    return _within(_kernel(a, a)) + _within(_kernel(b, b)) - 2 * float(_kernel(a, b).mean())


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

    Raises:
        UserError: fewer than three records of a set, sets that are no pairs, or features that do not belong together.

    Returns:
        estimate and interval; a positive difference means that ``first`` is farther from the reference.
    """
    first, second, reference = _checked(3, first, second, reference)
    if len(first) != len(second):
        raise UserError(f"{len(first)} and {len(second)} records are no pairs")
    of_first, of_second = _kernel(first, first), _kernel(second, second)
    f, s, f_out, s_out = (
        _within(of_first),
        _within(of_second),
        _within_without(of_first),
        _within_without(of_second),
    )
    to_first, to_second = _kernel(first, reference), _kernel(second, reference)
    (fr_out, fr_ref), (sr_out, sr_ref) = _between(to_first), _between(to_second)
    # what the reference has within itself cancels
    estimate = f - s - 2 * float(to_first.mean() - to_second.mean())
    variance = _jackknife(f_out - s_out - 2 * (fr_out - sr_out)) + _jackknife(
        f - s - 2 * (fr_ref - sr_ref)
    )
    half = z * float(np.sqrt(variance))
    return Difference(estimate, estimate - half, estimate + half)


def _jackknife(left_out: np.ndarray) -> float:
    n = len(left_out)
    return float((n - 1) / n * np.sum((left_out - left_out.mean()) ** 2))
