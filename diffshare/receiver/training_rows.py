"""How many rows of a table a classifier is trained on: more take time and teach little."""

import numpy as np

MOST_ROWS = 20_000
_STREAM = 14  # of a seed


def training_rows(count: int, seed: int) -> np.ndarray:
    """Positions of the rows that are trained on, ascending, int64: all, or 20,000 that the seed draws.

    Args:
        count: rows there are.
        seed: of the draw.
    """
    if count <= MOST_ROWS:
        return np.arange(count)
    rng = np.random.default_rng([seed, _STREAM])
    return np.sort(rng.choice(count, MOST_ROWS, replace=False))


def training_note(count: int, whose: str) -> str:
    """That not all rows are trained on, a sentence; empty where all are.

    Args:
        count: rows there are.
        whose: they are, in words.
    """
    if count <= MOST_ROWS:
        return ""
    return f"classifiers are trained on {MOST_ROWS:,} of the {count:,} rows of {whose}, drawn at random"
