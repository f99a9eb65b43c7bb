"""Random numbers that are a function of (seed, index, position): drawn for any rows in any order, at array speed."""

import numpy as np

_STEP = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio, odd
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _mix(z: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64 (Steele, Lea & Flood 2014), variant 13 of Stafford. uint64 to uint64."""
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


class RowStreams:
    """A stream of uniform numbers for each row.

    Row i has the SplitMix64 stream whose start is mixed from the seed and i; number k of the stream is computed
    directly, so that nothing depends on which rows are drawn together.

    Args:
        seed: >= 0.
        indices: number of each row within the seed, int64, >= 0, n.
    """

    def __init__(self, seed: int, indices: np.ndarray) -> None:
        key = np.random.SeedSequence(seed).generate_state(1, np.uint64)
        self._start = _mix(
            key + _mix((np.asarray(indices).astype(np.uint64) + np.uint64(1)) * _STEP)
        )[:, None]

    def uniform(self, first: int, count: int) -> np.ndarray:
        """Numbers ``first`` to ``first + count`` of each stream.

        Returns:
            float64 in (0, 1), n x count: odd multiples of 2^-53, so that neither 0 nor 1 occurs.
        """
        position = np.arange(first + 1, first + count + 1, dtype=np.uint64)
        bits = _mix(self._start + position * _STEP) >> np.uint64(12)
        return (bits + 0.5) * 2.0**-52
