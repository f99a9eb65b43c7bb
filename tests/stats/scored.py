"""Scores of a classifier whose truth is known: normal densities, posteriors by Bayes' rule at equal prior."""

import numpy as np

MEANS = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])


def labels(rng: np.random.Generator, n: int, shares: list[float]) -> np.ndarray:
    """Exact shares in random order."""
    counts = np.rint(np.array(shares) * n).astype(int)
    return rng.permutation(np.repeat(np.arange(len(shares)), counts))


def scores(
    rng: np.random.Generator, y: np.ndarray, classes: int, distance: float = 1.0, shift: float = 0.0
) -> np.ndarray:
    """Posteriors of points around the means of their classes, N x K."""
    means = MEANS[:classes] * distance
    x = means[y] + rng.normal(size=(len(y), 2)) + shift
    density = np.exp(-((x[:, None] - means) ** 2).sum(-1) / 2)
    return density / density.sum(1, keepdims=True)
