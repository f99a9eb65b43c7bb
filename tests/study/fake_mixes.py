"""Mixes of a test: one that flips labels, one that has no alpha."""

import numpy as np

from diffshare.data.mixes import Choice, Pool, check_size


class Flip:
    """Y := S on the first share alpha of a random draw."""

    policy = "flip"

    def __init__(self, alpha: float, n: int | None = None) -> None:
        self.alpha, self.n = alpha, n

    def choose(self, pool: Pool, seed: int) -> Choice:
        n = check_size(self.n, len(pool))
        positions = np.random.default_rng(seed).permutation(len(pool))[:n]
        flipped = np.arange(n) < round(self.alpha * n)
        target = np.where(flipped, pool.s.codes[positions], pool.y.codes[positions]).astype(
            np.int64
        )
        return Choice(positions, target, flipped, {"alpha": self.alpha})
