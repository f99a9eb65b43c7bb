"""Pools in memory: pictures or rows of a table, with chosen S and Y."""

import numpy as np

from diffshare.data.mixes import Pool
from diffshare.data.source import Attribute, Index


def pool(
    s: np.ndarray,
    y: np.ndarray,
    x: np.ndarray | None = None,
    auxiliary: Pool | None = None,
    first: int = 0,
) -> Pool:
    """A pool of these groups and classes; the records are called ``first``, ``first + 1`` and so on."""
    n = len(s)
    coded = {
        name: Attribute(
            np.asarray(codes, np.int16),
            tuple(f"{name} {k}" for k in range(max(2, int(codes.max()) + 1))),
        )
        for name, codes in (("S", np.asarray(s)), ("Y", np.asarray(y)))
    }
    names = np.array([f"{first + i}" for i in range(n)])
    read = None if x is None else lambda positions: x[positions]
    return Pool(Index(names, np.zeros(n, np.int64), coded), "Y", "S", read, auxiliary)


def pictures(s: np.ndarray, y: np.ndarray, seed: int = 0, size: int = 8) -> np.ndarray:
    """uint8, N x size x size x 1: noise, whose left half is brighter by the class and right half by the group."""
    x = np.random.default_rng(seed).integers(0, 120, (len(s), size, size, 1))
    x[:, :, : size // 2] += 60 * np.asarray(y)[:, None, None, None]
    x[:, :, size // 2 :] += 60 * np.asarray(s)[:, None, None, None]
    return x.clip(0, 255).astype(np.uint8)


def even(n: int, groups: int = 2, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Groups and classes of n records in equal cells."""
    return np.arange(n) % groups, np.arange(n) // groups % classes
