"""The quantile transform against scikit-learn's, and its round trip."""

import numpy as np
import pytest
from sklearn.preprocessing import QuantileTransformer

from diffshare.stats.quantiles import fit_quantiles, from_normal, to_normal


@pytest.fixture
def skewed() -> np.ndarray:
    return np.random.default_rng(0).lognormal(size=9000)


def test_as_many_quantiles_as_there_are_records_for(skewed: np.ndarray) -> None:
    assert [len(fit_quantiles(skewed[:n])) for n in (1, 299, 3000, 9000)] == [10, 10, 100, 300]
    assert len(fit_quantiles(np.tile(skewed, 10))) == 1000
    quantiles = fit_quantiles(skewed)
    assert (quantiles[0], quantiles[-1]) == (skewed.min(), skewed.max())


def test_it_is_scikit_learns_transform(skewed: np.ndarray) -> None:
    skewed[1000:2000] = 1.0  # a frequent value, in the middle of the others
    quantiles = fit_quantiles(skewed)
    reference = QuantileTransformer(n_quantiles=len(quantiles), output_distribution="normal", subsample=None)
    expected = reference.fit_transform(skewed[:, None])[:, 0]
    np.testing.assert_allclose(to_normal(skewed, quantiles), expected, atol=1e-6)
    np.testing.assert_allclose(from_normal(expected, quantiles), skewed, rtol=1e-4)  # ranks end at 1e-7


def test_continuous_values_become_standard_normal(skewed: np.ndarray) -> None:
    scores = to_normal(skewed, fit_quantiles(skewed))
    assert abs(scores.mean()) < 0.01
    assert abs(scores.std() - 1) < 0.02


@pytest.mark.parametrize("share", [0.3, 0.92])
def test_a_frequent_smallest_value_has_its_middle_rank_and_comes_back(share: float) -> None:
    gains = np.where(np.arange(9000) < share * 9000, 0.0, np.random.default_rng(0).lognormal(8, size=9000).round())
    quantiles = fit_quantiles(gains)
    scores = to_normal(gains, quantiles)
    zero = scores[gains == 0]
    assert np.ptp(zero) == 0
    assert zero[0] == pytest.approx(float(to_normal(np.array([share / 2]), np.linspace(0, 1, 500))[0]), abs=0.02)
    np.testing.assert_allclose(from_normal(scores, quantiles), gains, rtol=1e-4, atol=1e-9)


def test_scores_from_outside_end_at_the_extremes(skewed: np.ndarray) -> None:
    quantiles = fit_quantiles(skewed)
    assert from_normal(np.array([-40.0, 40.0]), quantiles).tolist() == [skewed.min(), skewed.max()]
    assert np.abs(to_normal(np.array([-1e9, 1e9]), quantiles)).max() < 5.2
