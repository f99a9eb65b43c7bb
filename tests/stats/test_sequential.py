"""Plans and confidence sequences: inverse of the widths, coverage at all times at once."""

import numpy as np
import pytest

from diffshare.errors import UserError
from diffshare.stats.calibration import Calibration
from diffshare.stats.sequential import (
    adjusted_sequence,
    confidence_sequence,
    enough_queries,
    queries_needed,
    stopped,
)


def test_plan_is_the_textbook_number_and_the_inverse_of_the_width():
    assert queries_needed(0.05) == 385  # (1.96 * 0.5 / 0.05)^2
    assert queries_needed(0.05, gap=0.5) == pytest.approx(4 * 385, abs=4)


@pytest.mark.parametrize("p", [0.05, 0.5])
def test_confidence_sequence_holds_for_all_times_at_once(p):
    rng = np.random.default_rng(0)
    draws = (rng.random((1000, 1500)) < p).astype(float)
    bands = np.stack([confidence_sequence(one, 0.8) for one in draws])
    held = ((bands[..., 0] <= p) & (p <= bands[..., 1])).all(1).mean()
    assert held >= 0.8
    mean = np.cumsum(draws, 1) / np.arange(1, 1501)
    fixed = 1.2816 * np.sqrt(p * (1 - p) / np.arange(1, 1501))
    # what peeking does to an interval of fixed size
    assert (np.abs(mean - p) <= fixed)[:, 30:].all(1).mean() < 0.6


def test_confidence_sequence_is_the_formula_written_out_and_only_narrows():
    x = np.random.default_rng(1).random(40)
    log_term, sums, mean, var = np.log(2 / 0.05), np.zeros(3), 0.5, 0.25
    low, high = 0.0, 1.0
    for i, value in enumerate(x, 1):
        stake = min(np.sqrt(2 * log_term / (var * i * np.log(1 + i))), 0.5)
        psi = (-np.log(1 - stake) - stake) / 4
        sums += [stake, stake * value, 4 * (value - mean) ** 2 * psi]
        half = (log_term + sums[2]) / sums[0]
        low, high = max(low, sums[1] / sums[0] - half), min(high, sums[1] / sums[0] + half)
        mean = (0.5 + x[:i].sum()) / (i + 1)
        means = [(0.5 + x[:j].sum()) / (j + 1) for j in range(1, i + 1)]
        var = (0.25 + ((x[:i] - means) ** 2).sum()) / (i + 1)
        assert tuple(confidence_sequence(x[:i])[-1]) == pytest.approx((low, high))
    assert (np.diff(confidence_sequence(x), axis=0) * [1, -1] >= 0).all()


def test_numbers_that_drift_leave_no_empty_interval():
    drifting = np.concatenate([np.zeros(2000), np.ones(6000)])
    band = confidence_sequence(drifting)
    assert (band[:, 0] <= band[:, 1]).all()


def test_adjusted_sequence_reaches_the_truth_and_tells_when_to_stop():
    rng = np.random.default_rng(2)
    y = rng.permutation(np.arange(20000) % 2)
    right = rng.random(20000) < 0.9
    calibration = Calibration(np.where(right, y, 1 - y).astype(float), y)
    asked = rng.random(20000) < 0.3
    called = np.where(rng.random(20000) < 0.9, asked, ~asked).astype(float)
    band = adjusted_sequence(calibration, called)
    assert band[-1, 0] < 0.3 < band[-1, 1]
    n = enough_queries(band, 0.05)
    assert 300 < n < 6000
    assert band[n - 1, 1] - band[n - 1, 0] <= 0.1 < band[n - 2, 1] - band[n - 2, 0]
    assert enough_queries(band[: n - 1], 0.05) is None
    assert stopped(band[:n], 0.99).estimate == band[n - 1, 1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: queries_needed(0.0), "width 0.0 is no half width"),
        (lambda: queries_needed(0.1, 2), "level 2 is no confidence level"),
        (lambda: queries_needed(0.1, gap=0.01), "too near chance: a gap of 0.010"),
        (lambda: queries_needed(0.1, gap=1.5), "no difference of two rates: a gap of 1.500"),
        (lambda: queries_needed(0.1, gap=float("nan")), "a gap of nan"),
        (lambda: queries_needed(0.1, spread=0.0), "spread 0.0 is no standard deviation"),
        (lambda: confidence_sequence(np.array([])), "at least one"),
        (lambda: confidence_sequence(np.array([0.5]), 1.5), "level 1.5 is no confidence level"),
        (lambda: confidence_sequence(np.array([0.5, 1.2])), r"numbers in \[0, 1\]"),
        (lambda: confidence_sequence(np.array([np.nan])), "without NaN"),
    ],
)
def test_impossible_plans_are_refused(call, words):
    with pytest.raises(UserError, match=words):
        call()
    three = Calibration(np.eye(3)[np.arange(30) % 3], np.arange(30) % 3)
    with pytest.raises(UserError, match="of two classes, not of 3"):
        adjusted_sequence(three, np.eye(3))
