"""n_leaked against the bound that it inverts, AUROC against all pairs."""

import numpy as np
import pytest

from diffshare.errors import UserError
from diffshare.stats.distinguishing import auroc, n_leaked


@pytest.mark.parametrize(("p0", "p1"), [(0.5, 0.6), (0.9, 0.1), (0.3, 0.0)])
def test_n_leaked_inverts_the_bound(p0, p1):
    ratio = max(min(p0, p1) / max(p0, p1), min(1 - p0, 1 - p1) / max(1 - p0, 1 - p1))
    for n in (1, 2.5, 10):
        accuracy = 0.5 + 0.5 * np.sqrt(1 - ratio**n)
        assert n_leaked(accuracy, p0, p1) == pytest.approx(n)
    assert n_leaked(0.5, p0, p1) == n_leaked(0.3, p0, p1) == 0
    assert n_leaked(1.0, p0, p1) == np.inf


def test_bound_holds_for_the_best_guess_from_records():
    """The likelihood-ratio test of n Bernoulli records is no better than the bound allows: n_leaked <= n."""
    from scipy.stats import binom

    for n in (1, 3, 10):
        k = np.arange(n + 1)
        best = 0.5 * np.maximum(binom.pmf(k, n, 0.4), binom.pmf(k, n, 0.6)).sum()
        assert n_leaked(best, 0.4, 0.6) <= n


def test_auroc_is_the_share_of_pairs():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=40).round(1), rng.normal(0.8, 1, 30).round(1)
    pairs = (second[:, None] > first).mean() + (second[:, None] == first).mean() / 2
    found = auroc(first, second)
    assert found.estimate == pytest.approx(pairs)
    assert found.low < pairs < found.high
    assert auroc(second, first).estimate == pytest.approx(1 - pairs)
    apart = auroc(np.arange(10), np.arange(10) + 50)
    assert apart == pytest.approx((1.0, 0.7, 1.0))


def test_auroc_interval_covers():
    rng = np.random.default_rng(1)
    true, hits = 0.7602, 0  # P(N(1,1) > N(0,1)) = Phi(1 / sqrt 2)
    for _ in range(1000):
        found = auroc(rng.normal(size=40), rng.normal(1, 1, 40))
        hits += found.low <= true <= found.high
    assert 0.93 < hits / 1000 < 0.975


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: n_leaked(0.7, 0.5, 0.5), "two different proportions"),
        (lambda: n_leaked(0.7, 1.5, 0.5), r"p0 1.5 is outside \[0, 1\]"),
        (lambda: n_leaked(0.7, 0.5, float("nan")), "p1 nan is outside"),
        (lambda: n_leaked(70, 0.5, 0.6), "accuracy 70 is outside"),
        (lambda: auroc(np.arange(3), np.arange(3), level=95), "level 95 is no confidence level"),
        (lambda: auroc(np.array([0.1, np.nan]), np.ones(4)), "two finite numbers"),
        (
            lambda: auroc(np.ones(1), np.ones(4)),
            "two finite numbers at least on each side, got 1 and 4",
        ),
    ],
)
def test_bad_games_are_refused(call, words):
    with pytest.raises(UserError, match=words):
        call()
