"""Means over repetitions: against scipy, against simulation, and what stays undefined."""

import numpy as np
import pytest
from scipy import stats

from diffshare.stats.summary import paired_difference, t_interval, t_test


@pytest.mark.parametrize(("n", "level"), [(2, 0.95), (3, 0.95), (10, 0.8)])
def test_equals_scipys_interval(n, level):
    values = np.random.default_rng(n).normal(3, 2, n)
    found = t_interval(values.tolist(), level)
    low, high = stats.t.interval(level, n - 1, values.mean(), stats.sem(values))
    assert found.mean == pytest.approx(values.mean(), abs=1e-12)
    assert (found.low, found.high, found.n) == (pytest.approx(low), pytest.approx(high), n)


def test_holds_as_often_as_it_claims():
    draws = np.random.default_rng(0).normal(1, 2, (4000, 3))
    found = [t_interval(row.tolist(), 0.9) for row in draws]
    held = np.mean([f.low <= 1 <= f.high for f in found])
    assert abs(held - 0.9) < 4 * np.sqrt(0.9 * 0.1 / 4000)


def test_pairing_takes_out_what_pairs_share():
    rng = np.random.default_rng(1)
    shared, effect = rng.normal(0, 5, 6), rng.normal(1, 0.1, 6)
    found = paired_difference((shared + effect).tolist(), shared.tolist())
    alone = t_interval(effect.tolist())
    assert (found.mean, found.low, found.high) == pytest.approx(
        (alone.mean, alone.low, alone.high), abs=1e-9
    )
    swapped = paired_difference(shared.tolist(), (shared + effect).tolist())
    assert (swapped.mean, swapped.low, swapped.high) == pytest.approx(
        (-found.mean, -found.high, -found.low)
    )


def test_what_is_undefined_stays_undefined():
    assert t_interval([]) == (None, None, None, 0)
    assert t_interval([0.5]) == (0.5, None, None, 1)
    assert t_interval([0.5, None, 0.7]) == (None, None, None, 3)
    assert paired_difference([0.5, None], [0.1, 0.2]) == (None, None, None, 2)
    assert t_interval([0.5]).json() == {"mean": 0.5, "interval": None, "n": 1}
    assert t_interval([1.0, 1.0]).json() == {"mean": 1.0, "interval": [1.0, 1.0], "n": 2}


def test_refusals():
    with pytest.raises(ValueError, match="level 1"):
        t_interval([1.0], 1)
    with pytest.raises(ValueError, match="no pairs"):
        paired_difference([1.0], [])


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_the_test_rejects_where_the_interval_leaves_0_out(level):
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = rng.normal(0.7, 1, 4).tolist()
        interval = t_interval(values, level)
        assert (t_test(values) < 1 - level) == (not interval.low <= 0 <= interval.high)


def test_p_values_of_what_does_not_vary_or_is_unknown():
    values = np.random.default_rng(1).normal(0.3, 1, 6).tolist()
    assert t_test(values) == pytest.approx(float(stats.ttest_1samp(values, 0).pvalue))
    assert (t_test([0.0, 0.0]), t_test([0.2, 0.2])) == (1, 0)
    assert t_test([0.1]) is None
    assert t_test([0.1, None, 0.2]) is None
