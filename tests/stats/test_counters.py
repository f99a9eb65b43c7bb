"""Random numbers by counter: invariances, and that they are uniform and independent."""

import numpy as np
from scipy import stats

from diffshare.stats.counters import RowStreams


def test_a_number_depends_on_seed_index_and_position_alone() -> None:
    whole = RowStreams(3, np.arange(100)).uniform(0, 12)
    order = np.random.default_rng(0).permutation(100)
    np.testing.assert_array_equal(RowStreams(3, order).uniform(0, 12), whole[order])
    np.testing.assert_array_equal(RowStreams(3, np.array([41])).uniform(5, 3), whole[41:42, 5:8])
    assert not np.isin(RowStreams(4, np.arange(100)).uniform(0, 12), whole).any()


def test_all_numbers_differ_and_none_is_0_or_1() -> None:
    numbers = RowStreams(0, np.arange(2000)).uniform(0, 100)
    assert len(np.unique(numbers)) == numbers.size
    assert 0 < numbers.min() < numbers.max() < 1


def test_numbers_are_uniform_along_rows_along_positions_and_in_pairs() -> None:
    numbers = RowStreams(0, np.arange(20_000)).uniform(0, 20)
    for line in (numbers[:, 0], numbers[:, 19], numbers[:1000].ravel()):
        assert stats.kstest(line, "uniform").pvalue > 1e-4
    for first, second in ((numbers[:-1, 0], numbers[1:, 0]), (numbers[:, 0], numbers[:, 1])):
        pairs = np.histogram2d(first, second, bins=10, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(pairs.ravel()).pvalue > 1e-4
