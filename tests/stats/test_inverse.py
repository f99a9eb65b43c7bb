"""Inverse regression: exact on a line, covers as often as it says, agrees with its definition, refuses what is flat."""

import numpy as np
import pytest
from scipy import stats

from diffshare.errors import UserError
from diffshare.stats.inverse import inverse_prediction

KNOWN = np.array([0.05, 0.3, 0.5, 0.7, 0.95])


def test_points_on_a_line_give_back_every_proportion():
    for p in (0.0, 0.2, 0.77, 1.0):
        found = inverse_prediction(KNOWN, 0.3 + 0.4 * KNOWN, np.zeros(5), 0.3 + 0.4 * p, 0.0)
        assert [found.estimate, found.low, found.high] == pytest.approx([p] * 3)
        assert found.scatter == pytest.approx(0, abs=1e-12)


def test_the_ends_are_where_the_definition_says():
    rng = np.random.default_rng(3)
    means = 0.2 + 0.5 * KNOWN + 0.02 * rng.standard_normal(5)
    mean, variance = 0.43, 4e-4
    found = inverse_prediction(KNOWN, means, np.full(5, 1e-4), mean, variance, 0.9)
    line = stats.linregress(KNOWN, means)
    s2 = ((means - line.intercept - line.slope * KNOWN) ** 2).sum() / 3
    grid = np.linspace(-0.5, 1.5, 200001)
    of_line = s2 * (1 + 1 / 5 + (grid - KNOWN.mean()) ** 2 / ((KNOWN - KNOWN.mean()) ** 2).sum())
    held = (mean - line.intercept - line.slope * grid) ** 2 <= stats.t.ppf(0.95, 3) ** 2 * (
        of_line + 3e-4
    )
    assert [found.low, found.high] == pytest.approx([grid[held].min(), grid[held].max()], abs=2e-5)
    assert found.estimate == pytest.approx((mean - line.intercept) / line.slope)


def test_it_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    repeats, held = 2000, 0
    for _ in range(repeats):
        p = rng.uniform(0.2, 0.8)  # away from the ends, where nothing is cut
        line, noise = 0.2 + 0.6 * np.append(KNOWN, p), 0.02 * rng.standard_normal(6)
        means = line + noise
        found = inverse_prediction(KNOWN, means[:-1], np.zeros(5), means[-1], 0.0)
        held += found.low <= p <= found.high
    assert stats.binomtest(held, repeats, 0.95).pvalue > 1e-3


def test_a_less_certain_mean_has_a_wider_interval():
    means = [0.1, 0.31, 0.5, 0.69, 0.9]
    widths = [
        found.high - found.low
        for variance in (0.0, 1e-4, 1e-3)
        for found in [inverse_prediction(KNOWN, means, np.full(5, 1e-4), 0.5, variance)]
    ]
    assert widths[0] == widths[1] < widths[2]


@pytest.mark.parametrize(
    ("known", "means", "words"),
    [
        ([0.1, 0.9], [0.1, 0.9], "needs 3 generators or more"),
        ([0.5, 0.5, 0.5], [0.4, 0.5, 0.6], "of different proportions"),
        ([0.1, 0.5, 1.9], [0.1, 0.5, 0.9], "of different proportions"),
        (KNOWN, [0.5] * 5, "does not follow the proportion"),
        (KNOWN, [0.5, 0.1, 0.6, 0.2, 0.55], "does not follow the proportion"),
    ],
)
def test_what_no_proportion_can_be_read_off(known, means, words):
    with pytest.raises(UserError, match=words):
        inverse_prediction(known, means, np.zeros(len(known)), 0.5, 0.0)
