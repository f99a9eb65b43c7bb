"""The error of a paired, cross-fitted difference: against simulation with trained thresholds, and its tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from diffshare.stats.crossfitted import Estimate, noise, paired

FOLDS = 4


def test_noise_of_equal_weights_is_the_variance_of_a_mean():
    values = np.random.default_rng(0).normal(size=50)
    weights = np.zeros((2, 50))
    weights[0, :20], weights[1, 20:] = 1 / 20, 1 / 30
    wanted = [values[:20].var(ddof=1) / 20, values[20:].var(ddof=1) / 30]
    assert np.allclose(noise(values, weights), wanted)


def _once(rng, n=120, m=400):
    """A threshold at the mean of n numbers of A, another of n numbers of B's other folds; decisions on B's records."""
    a, b = rng.normal(0.2, 1, n), rng.normal(0, 1, m)
    fold = rng.permutation(np.arange(m) % FOLDS)
    difference, again_b = np.zeros(m), []
    for k in range(FOLDS):
        test, rest = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        own = b[rng.choice(rest, n, replace=False)].mean()
        difference[test] = (b[test] > a.mean()) * 1.0 - (b[test] > own)
        again = [b[rng.choice(rest, n)].mean() for _ in range(3)]
        again_b.append((test, np.stack([(b[test] > t) * 1.0 for t in again])))
    again_a = np.stack([(b > rng.choice(a, n).mean()) * 1.0 for _ in range(12)])
    weights = np.full((1, m), 1 / m)
    return paired(difference, weights, again_a, again_b, folds=FOLDS, used=1.0).contrast(np.ones(1))


def test_the_error_is_that_of_repeated_experiments_and_rather_too_large():
    estimates = [_once(np.random.default_rng([5, i])) for i in range(400)]
    spread = np.std([e.value for e in estimates])
    error = np.sqrt(np.mean([e.error**2 for e in estimates]))
    assert 0.92 < error / spread < 1.35
    truth = stats.norm.sf(0.2) - 0.5
    low, high = np.array([e.interval(0.95) for e in estimates]).T
    covered = int(np.sum((low <= truth) & (truth <= high)))
    assert stats.binomtest(covered, len(estimates), 0.95, "less").pvalue > 1e-3


def test_two_classifiers_that_always_agree_differ_by_nothing_for_certain():
    weights = np.full((1, 8), 1 / 8)
    decisions = np.tile((np.arange(8) > 3) * 1.0, (4, 1))
    pairs = [(np.arange(4), decisions[:, :4]), (np.arange(4, 8), decisions[:, 4:])]
    result = paired(np.zeros(8), weights, decisions, pairs, folds=2, used=1.0).contrast(np.ones(1))
    assert (result.value, result.error) == (0.0, 0.0)
    assert (result.p_beyond(0.1), result.p_within(0.1)) == (1.0, 0.0)


@given(st.floats(-1, 1), st.floats(0.01, 1), st.floats(2, 500), st.floats(0, 0.5))
def test_the_tests_agree_with_the_intervals(value, error, freedom, margin):
    one = Estimate(value, error, freedom, (0.0, 0.0, 0.0))
    t = stats.t(freedom)
    assert one.p_beyond(0.0) == pytest.approx(2 * t.sf(abs(value) / error), abs=1e-9)
    assert one.p_within(margin) == pytest.approx(t.cdf((abs(value) - margin) / error), abs=1e-9)
    low, high = one.interval(0.9)  # two one-sided tests at 0.05 are an interval at 0.90
    assert (one.p_within(margin) < 0.05) == (-margin < low and high < margin) or margin == 0
    assert one.p_beyond(margin) + 1e-12 >= t.sf((abs(value) - margin) / error)
