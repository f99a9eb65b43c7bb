"""The check of the assumption: p-values under it, and its power against shifted scores."""

import numpy as np
import pytest

from diffshare.errors import UserError
from diffshare.stats.calibration import Calibration
from diffshare.stats.mixture import mixture_fit
from tests.stats.scored import labels, scores


def draw(rng: np.random.Generator, n: int, p: float, folds: int = 1, shift: float = 0.0):
    y = (rng.random(n) < p).astype(int)
    x = rng.normal(size=n) + 2 * y + shift
    cuts = np.linspace(0.7, 1.3, folds) if folds > 1 else np.ones(1)
    positive = 1 / (1 + np.exp(-2 * (x - cuts[:, None])))
    return y, np.stack([1 - positive, positive], -1)


@pytest.mark.parametrize("folds", [1, 3])
def test_p_values_are_uniform_under_the_assumption_and_small_under_a_shift(folds):
    rng = np.random.default_rng(0)
    true, shifted = [], []
    for _ in range(200):
        y, every = draw(rng, 300, 0.5, folds)
        groups = np.arange(300) % folds
        calibration = Calibration(every[groups, np.arange(300)], y, groups)
        true.append(mixture_fit(calibration, draw(rng, 400, 0.25, folds)[1], rng, 100).p_value)
        blurred = draw(rng, 400, 0.25, folds, shift=0.6)[1]
        shifted.append(mixture_fit(calibration, blurred, rng, 100).p_value)
    assert np.mean(np.array(true) <= 0.05) < 0.09
    assert np.mean(np.array(true) <= 0.2) == pytest.approx(0.2, abs=0.1)
    assert np.mean(true) == pytest.approx(0.5, abs=0.08)
    assert np.mean(np.array(shifted) <= 0.05) > 0.5


def test_three_classes_and_the_share_of_the_mixture():
    rng = np.random.default_rng(1)
    y, asked = labels(rng, 900, [1 / 3] * 3), labels(rng, 900, [0.6, 0.3, 0.1])
    calibration = Calibration(scores(rng, y, 3), y)
    found = mixture_fit(calibration, scores(rng, asked, 3), rng, 200)
    np.testing.assert_allclose(found.prevalence, [0.6, 0.3, 0.1], atol=0.07)
    assert found.p_value > 0.01
    assert mixture_fit(calibration, scores(rng, asked, 3, shift=0.7), rng, 200).p_value < 0.01


def test_equal_scores_are_refused():
    calibration = Calibration(np.full(20, 0.5), np.arange(20) % 2)
    with pytest.raises(UserError, match="all calibration scores are equal"):
        mixture_fit(calibration, np.full(5, 0.5), np.random.default_rng(0))
    with pytest.raises(UserError, match="resamples is 0: a p-value needs at least 1"):
        mixture_fit(calibration, np.full(5, 0.5), np.random.default_rng(0), resamples=0)
