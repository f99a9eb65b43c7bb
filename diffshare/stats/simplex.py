"""Mixture proportions: least squares, least Hellinger distance and greatest likelihood over the probability simplex.

Every function works on R problems at once (bootstrap resamples). Two classes have one unknown and are solved in closed
form or by Newton's method on a falling derivative, kept between two ends that close in; more classes by an iteration
that never leaves the simplex.
"""

from collections.abc import Callable

import numpy as np

STEPS, CLOSE = 100, 1e-11  # of Newton's method, two classes
LEAST = 1e-12  # of a mixture that is divided by
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

        def slope(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            mixed = np.maximum(classes[:, 0] + t[:, None] * step, LEAST)
            pull = np.sqrt(query / mixed) * step
            return pull.sum(-1), -(pull * step / mixed).sum(-1) / 2

        return _pair(_root(slope, len(query)))
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

        def slope(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            pull = step / np.maximum(classes[:, 0] + t[:, None] * step, LEAST)
            return np.einsum("rd,rd->r", query, pull), -np.einsum("rd,rd,rd->r", query, pull, pull)

        return _pair(_root(slope, len(query)))
    return _climb(lambda mixed: _ratio(query, mixed), classes, power=1, rows=len(query))


def _pair(second: np.ndarray) -> np.ndarray:
    return np.stack([1 - second, second], -1)


def _ratio(query: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """Query over mixture; 0 where the query is 0, large where the mixture alone is 0."""
    return query / np.maximum(mixed, LEAST)


def _root(slope: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], rows: int) -> np.ndarray:
    """Where each row's falling ``slope`` (value and derivative) crosses 0 within [0, 1], else the end it points to."""
    low, high = np.zeros(rows), np.ones(rows)
    at_low, at_high = slope(low)[0] <= 0, slope(high)[0] >= 0
    t = np.full(rows, 0.5)
    for _ in range(STEPS):
        value, rate = slope(t)
        low, high = np.where(value > 0, t, low), np.where(value > 0, high, t)
        newton = t - value / np.minimum(rate, -LEAST)
        new = np.where((newton > low) & (newton < high), newton, (low + high) / 2)
        moved, t = np.abs(new - t), new
        if (moved < CLOSE)[~(at_low | at_high)].all():
            break
    return np.where(at_low, 0.0, np.where(at_high, 1.0, t))


def _climb(
    weigh: Callable[[np.ndarray], np.ndarray],
    classes: np.ndarray,
    power: int,
    rows: int | None = None,
) -> np.ndarray:
    p = np.full((rows or len(classes), classes.shape[1]), 1 / classes.shape[1])
    shared = len(classes) == 1
    for _ in range(ROUNDS):
        mixed = p @ classes[0] if shared else np.einsum("rk,rkd->rd", p, classes)
        weight = weigh(mixed)
        gain = weight @ classes[0].T if shared else np.einsum("rd,rkd->rk", weight, classes)
        new = p * gain**power
        total = new.sum(-1, keepdims=True)
        # a query where no class is tells nothing
        new = np.divide(new, total, out=p.copy(), where=total > 0)
        moved, p = np.abs(new - p).max(), new
        if moved < TOLERANCE:
            break
    return p
