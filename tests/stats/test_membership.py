"""The loss-threshold membership test: chance is 0, separation is 1, only the order counts, intervals hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from diffshare.errors import UserError
from diffshare.stats.membership import advantage, membership, tpr_at


def losses(shift: float, m: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(-shift, 1, m), rng.normal(0, 1, n)


def test_equal_distributions_have_an_advantage_of_nought_without_bias_and_the_intervals_hold():
    found = [membership(*losses(0, 120, 200, seed), seed=seed) for seed in range(300)]
    estimates = np.array([one.advantage.estimate for one in found])
    # on the same losses the mean would be about 0.1
    assert abs(estimates.mean()) < 4 * estimates.std() / 300**0.5
    for name, truth in (("advantage", 0.0), ("auroc", 0.5), ("tpr", 0.01)):
        held = np.mean(
            [getattr(one, name).low <= truth <= getattr(one, name).high for one in found]
        )
        assert held >= 0.91, name


@pytest.mark.parametrize("shift", [0.5, 2.0])
def test_the_figures_are_those_of_known_distributions(shift):
    best = 2 * norm.cdf(shift / 2) - 1  # at the threshold between two normal distributions
    truths = {
        "advantage": best,
        "auroc": norm.cdf(shift / 2**0.5),
        "tpr": norm.cdf(norm.ppf(0.01) + shift),
    }
    found = [membership(*losses(shift, 400, 600, seed), seed=seed) for seed in range(60)]
    for name, truth in truths.items():
        held = np.mean(
            [getattr(one, name).low <= truth <= getattr(one, name).high for one in found]
        )
        assert held >= 0.85, name
        mean = np.mean([getattr(one, name).estimate for one in found])
        assert mean == pytest.approx(truth, abs=0.025), name


def test_losses_that_do_not_overlap_have_an_advantage_of_one():
    found = membership(np.arange(100.0), np.arange(200.0, 400.0))
    # a half knows where the border is up to the records of the other
    assert found.advantage.estimate >= 0.98
    assert found.advantage.low > 0.9
    assert found.auroc.estimate == 1
    assert found.tpr is not None
    assert found.tpr.estimate == 1
    other = membership(np.arange(200.0, 400.0), np.arange(100.0))
    assert other.advantage.estimate <= 0  # members that lose *more* are not found by this test
    assert other.auroc.estimate == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 3), st.integers(4, 60), st.integers(4, 130))
def test_only_the_order_of_the_losses_counts_and_auroc_is_sklearns(seed, shift, m, n):
    first, second = losses(shift, m, n, seed)
    first, second = np.round(first, 1), np.round(second, 1)  # with ties
    plain = membership(first, second, fpr=0.1)
    assert plain == membership(np.exp(first), np.exp(second), fpr=0.1)
    assert plain == membership(np.arctan(first) - 7, np.arctan(second) - 7, fpr=0.1)
    labels = np.repeat([0, 1], [m, n])
    assert plain.auroc.estimate == pytest.approx(
        roc_auc_score(labels, np.concatenate([first, second]))
    )
    assert (plain.tpr is None) == (n < 10)
    for interval in (plain.advantage, plain.auroc, *([plain.tpr] if plain.tpr else [])):
        assert -1 <= interval.low <= interval.estimate <= interval.high <= 1


def test_the_rate_that_was_asked_for_is_kept_on_the_non_members():
    first, second = losses(1.0, 500, 350, 3)
    for fpr in (0.01, 0.1, 0.5):
        threshold = np.sort(second)[int(350 * fpr + 1e-9)]
        assert tpr_at(first, second, fpr).estimate == (first < threshold).mean()
        assert (second < threshold).mean() <= fpr


def test_what_cannot_be_tested_is_refused():
    good = np.arange(200.0)
    with pytest.raises(UserError, match="4 finite losses of each kind at least, got 3 of members"):
        membership(good[:3], good)
    with pytest.raises(UserError, match="got 200 of non-members, some of them not finite"):
        advantage(good, np.where(good == 5, np.nan, good))
    with pytest.raises(
        UserError, match="a false positive rate of 0.01 needs 100 non-members, got 50"
    ):
        tpr_at(good, good[:50])
    with pytest.raises(UserError, match="the false positive rate 1.5 is none"):
        tpr_at(good, good, 1.5)
    with pytest.raises(UserError, match="level 2"):
        membership(good, good, level=2)
