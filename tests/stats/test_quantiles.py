"""The decoding of format 1 against scikit-learn's quantile transform."""

import numpy as np
from sklearn.preprocessing import QuantileTransformer

from diffshare.stats.quantiles import from_normal


def test_it_is_the_inverse_of_scikit_learns_transform() -> None:
    skewed = np.random.default_rng(0).lognormal(size=9000)
    skewed[1000:2000] = 1.0  # a frequent value, in the middle of the others
    quantiles = np.quantile(skewed, np.linspace(0, 1, 300))
    reference = QuantileTransformer(n_quantiles=300, output_distribution="normal", subsample=None)
    scores = reference.fit_transform(skewed[:, None])[:, 0]
    # ranks end at 1e-7
    np.testing.assert_allclose(from_normal(scores, quantiles), skewed, rtol=1e-4)
    assert from_normal(np.array([-40.0, 40.0]), quantiles).tolist() == [skewed.min(), skewed.max()]
