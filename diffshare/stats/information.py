"""Mutual information of discrete variables, in nats."""

import numpy as np


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
        sensitive: integers in 0..groups-1, N. Records with a negative code (unknown) are not counted.
        target: integers in 0..classes-1, N.
        groups: number of groups.
        classes: number of classes.

    Returns:
        int64, groups x classes.
    """
    known = (sensitive >= 0) & (target >= 0)
    cells = sensitive[known].astype(np.int64) * classes + target[known]
    return np.bincount(cells, minlength=groups * classes).reshape(groups, classes)
