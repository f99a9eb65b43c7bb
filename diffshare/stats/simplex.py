"""Mixture proportions: least squares, least Hellinger distance and greatest likelihood over the probability simplex.

Every function works on R problems at once (bootstrap resamples). Two classes have one unknown and are solved in closed
form or by bisection of a monotone derivative; more classes by an iteration that never leaves the simplex.
"""

from collections.abc import Callable

import numpy as np

HALVINGS = 36  # of [0, 1]: 1.5e-11
ROUNDS, TOLERANCE = 3000, 1e-8  # of the iterations for three classes and more


def project(points: np.ndarray) -> np.ndarray:
    """Nearest point of the probability simplex (Duchi et al. 2008, figure 1). float64, ... x K to ... x K."""
    falling = -np.sort(-points, axis=-1)
    excess = (np.cumsum(falling, axis=-1) - 1) / np.arange(1, points.shape[-1] + 1)
    last = (falling > excess).sum(-1, keepdims=True) - 1
    return np.maximum(points - np.take_along_axis(excess, last, -1), 0)


def least_squares(query: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The p of the simplex that minimises |sum_k p_k classes_k - query|^2.

    Args:
        query: mean features of the queries, float64, R x D.
        classes: mean features of each class, float64, R x K x D.

    Returns:
        float64, R x K. With two classes t = clip((q - a0).(a1 - a0) / |a1 - a0|^2, 0, 1).
    """
    if classes.shape[1] == 2:
        step = classes[:, 1] - classes[:, 0]
        size = np.maximum((step**2).sum(-1), np.finfo(np.float64).tiny)
        return _pair(np.clip(((query - classes[:, 0]) * step).sum(-1) / size, 0, 1))
    gram = np.einsum("rkd,rjd->rkj", classes, classes)
    target = np.einsum("rkd,rd->rk", classes, query)
    rate = 1 / np.linalg.eigvalsh(gram)[:, -1:]
    p = ahead = np.full(target.shape, 1 / target.shape[1])
    momentum = 1.0
    for _ in range(ROUNDS):  # FISTA (Beck & Teboulle 2009)
        new = project(ahead - rate * (np.einsum("rkj,rj->rk", gram, ahead) - target))
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / following * (new - p)
        moved, p, momentum = np.abs(new - p).max(), new, following
        if moved < TOLERANCE / 10:
            break
    return p


def least_hellinger(query: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The p of the simplex that maximises sum_b sqrt(q_b m_b), m = sum_k p_k classes_k: least Hellinger distance.

    More than two classes: p_k <- p_k g_k^2, g_k = sum_b classes_kb sqrt(q_b / m_b), normalised, which never lowers the
    sum (the square root is concave: Jensen's inequality at the current shares).

    Args:
        query: histogram of the queries, float64, R x D.
        classes: histogram of each class, float64, R x K x D.

    Returns:
        float64, R x K.
    """
    if classes.shape[1] == 2:
        step = classes[:, 1] - classes[:, 0]

        def slope(t: np.ndarray) -> np.ndarray:
            mixed = classes[:, 0] + t[:, None] * step
            return (np.sqrt(_ratio(query, mixed)) * step).sum(-1)

        return _pair(_bisect(slope, len(query)))
    return _climb(lambda mixed: np.sqrt(_ratio(query, mixed)), classes, power=2)


def most_likely(query: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The p of the simplex that maximises sum_b q_b log m_b, m = sum_k p_k classes_k: greatest likelihood.

    More than two classes by expectation and maximisation: p_k <- p_k sum_b q_b classes_kb / m_b.

    Args:
        query: weight of each point or bin, sum 1, float64, R x D.
        classes: likelihood of each point or bin in each class up to a factor of the bin, float64, R or 1 x K x D.

    Returns:
        float64, R x K.
    """
    if classes.shape[1] == 2:
        step = classes[:, 1] - classes[:, 0]

        def slope(t: np.ndarray) -> np.ndarray:
            mixed = classes[:, 0] + t[:, None] * step
            return np.einsum("rd,rd->r", _ratio(query, mixed), np.broadcast_to(step, mixed.shape))

        return _pair(_bisect(slope, len(query)))
    return _climb(lambda mixed: _ratio(query, mixed), classes, power=1, rows=len(query))


def _pair(second: np.ndarray) -> np.ndarray:
    return np.stack([1 - second, second], -1)


def _ratio(query: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """Query over mixture; 0 where the query is 0, large where the mixture alone is 0."""
    return query / np.maximum(mixed, 1e-12)


def _bisect(slope: Callable[[np.ndarray], np.ndarray], rows: int) -> np.ndarray:
    """Where each row's falling ``slope`` crosses 0 within [0, 1], else the end that it points to."""
    low, high = np.zeros(rows), np.ones(rows)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        up = slope(middle) > 0
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    middle = (low + high) / 2
    end = 0.5**HALVINGS
    return np.where(middle < end, 0.0, np.where(middle > 1 - end, 1.0, middle))


def _climb(
    weigh: Callable[[np.ndarray], np.ndarray], classes: np.ndarray, power: int, rows: int | None = None
) -> np.ndarray:
    p = np.full((rows or len(classes), classes.shape[1]), 1 / classes.shape[1])
    shared = len(classes) == 1
    for _ in range(ROUNDS):
        mixed = p @ classes[0] if shared else np.einsum("rk,rkd->rd", p, classes)
        weight = weigh(mixed)
        gain = weight @ classes[0].T if shared else np.einsum("rd,rkd->rk", weight, classes)
        new = p * gain**power
        new /= new.sum(-1, keepdims=True)
        moved, p = np.abs(new - p).max(), new
        if moved < TOLERANCE:
            break
    return p
