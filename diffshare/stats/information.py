"""Mutual information of discrete variables, in nats."""

import numpy as np
from numpy.typing import ArrayLike


def mutual_information(counts: np.ndarray) -> float:
    """Plug-in estimate of I(S;Y) of a table of counts.

    I(S;Y) = sum_sy p(s,y) log( p(s,y) / (p(s) p(y)) ), with 0 log 0 = 0: the quantity that fairness poisoning
    maximises (Luo et al. 2024, arXiv 2402.18607, objective of the attack).

    Args:
        counts: non-negative integers, S x Y.

    Returns:
        nats, >= 0; 0.0 for an empty table.
    """
    counts = np.asarray(counts, dtype=np.float64)
    total = counts.sum()
    if total == 0:
        return 0.0
    joint = counts / total
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return max(0.0, float(np.sum(joint[seen] * np.log(joint[seen] / independent[seen]))))


def contingency(sensitive: np.ndarray, target: np.ndarray, groups: int, classes: int) -> np.ndarray:
    """Counts of each pair (s, y).

    Args:
        sensitive: integers in 0..groups-1, N. Records with a negative code (unknown) are not counted: whoever
            calls says how many there are.
        target: integers in 0..classes-1, N.
        groups: number of groups.
        classes: number of classes.

    Returns:
        int64, groups x classes.
    """
    labelled = (sensitive >= 0) & (target >= 0)
    cells = sensitive[labelled].astype(np.int64) * classes + target[labelled]
    return np.bincount(cells, minlength=groups * classes).reshape(groups, classes)


def donsker_varadhan(critic: np.ndarray, target: np.ndarray) -> float:
    """Lower bound of I(X;Y) by a critic T, with the product of marginals summed exactly over the discrete Y.

    I_DV = mean_i T(x_i, y_i) - log( mean_i sum_k p(k) exp T(x_i, k) ), p(k) the share of class k (Donsker & Varadhan
    1975; Belghazi et al. 2018, MINE, arXiv 1801.04062, equation 10, who shuffle Y instead of summing). A constant
    added to T cancels.

    Args:
        critic: T(x_i, k), float, N x K.
        target: classes y_i, integers in 0..K-1, N.

    Returns:
        nats; negative where the critic does worse than a constant; 0.0 for an empty set.
    """
    if not len(target):
        return 0.0
    critic = np.asarray(critic, np.float64)
    shares = np.bincount(target, minlength=critic.shape[1]) / len(target)
    present = shares > 0
    # the largest exponential that counts is 1: none overflows, the sum is not 0
    shift = critic[:, present].max()
    product = np.exp(critic[:, present] - shift) @ shares[present]
    return float(critic[np.arange(len(target)), target].mean() - shift - np.log(product.mean()))


def row_shares(counts: ArrayLike) -> list[list[float | None]]:
    """P(column | row) of a table of counts, by row; None in a row without records."""
    table = np.asarray(counts)
    return [[float(n) / row.sum() if row.sum() else None for n in row] for row in table]
