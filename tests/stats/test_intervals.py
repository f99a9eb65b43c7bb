"""Intervals of counts and corrected counts against exact references and simulated coverage."""

import numpy as np
import pytest
from scipy.stats import binomtest
from scipy.stats import t as student

from diffshare.errors import UserError
from diffshare.stats.intervals import (
    ErrorRates,
    cleam,
    clopper_pearson,
    hoeffding,
    hoeffding_half_width,
    lang_reiczigel,
    student_quantile,
    wilson,
)


@pytest.mark.parametrize("freedom", [1, 2, 4.5, 1000])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_student_quantile_is_that_of_the_distribution(level, freedom):
    assert student_quantile(level, freedom) == pytest.approx(
        student.ppf((1 + level) / 2, freedom), rel=1e-12
    )


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (130, 1000)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_exact_and_score_intervals_are_those_of_scipy(k, n, level):
    for ours, name in ((clopper_pearson, "exact"), (wilson, "wilson")):
        theirs = binomtest(k, n).proportion_ci(level, method=name)
        np.testing.assert_allclose(ours(k, n, level), (k / n, theirs.low, theirs.high), atol=1e-12)


def test_hoeffding_is_the_widest_and_needs_four_times_the_queries_for_half():
    assert hoeffding_half_width(4000) == pytest.approx(hoeffding_half_width(1000) / 2)
    assert 2 * np.exp(-2 * 1000 * hoeffding_half_width(1000) ** 2) == pytest.approx(0.05)
    found, exact = hoeffding(300, 1000), clopper_pearson(300, 1000)
    assert found.low < exact.low < exact.high < found.high
    assert hoeffding(0, 10).low == 0


def test_lang_reiczigel_is_the_adjusted_count_and_widens_with_uncertain_rates():
    few, many = ErrorRates(40, 50, 5, 50), ErrorRates(40_000, 50_000, 5_000, 50_000)
    wide, narrow = lang_reiczigel(380, 1000, few), lang_reiczigel(380, 1000, many)
    assert wide.estimate == narrow.estimate == pytest.approx((0.38 - 0.1) / (0.8 - 0.1))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    rates_known = [(end - 0.1) / 0.7 for end in wilson(380, 1000)[1:]]
    np.testing.assert_allclose(narrow[1:], rates_known, atol=2e-3)


def test_lang_reiczigel_of_the_negatives_is_its_mirror():
    # 30 of 40 positives, 9 of 60 negatives are called positive; called negative are the others
    high = lang_reiczigel(70, 200, ErrorRates(30, 40, 9, 60))
    low = lang_reiczigel(130, 200, ErrorRates(51, 60, 10, 40))
    np.testing.assert_allclose(low, [1 - high.estimate, 1 - high.high, 1 - high.low], atol=1e-12)


def test_lang_reiczigel_covers():
    rng = np.random.default_rng(0)
    for p in (0.05, 0.4):
        hits = 0
        for _ in range(1500):
            rates = ErrorRates(rng.binomial(100, 0.85), 100, rng.binomial(150, 0.2), 150)
            found = lang_reiczigel(rng.binomial(500, p * 0.85 + (1 - p) * 0.2), 500, rates)
            hits += found.low <= p <= found.high
        assert 0.935 < hits / 1500 < 0.985


def test_cleam_corrects_the_mean_of_the_batches():
    shares = np.array([0.30, 0.34, 0.32])
    found = cleam(shares, 0.9, 0.1)
    half = 1.959964 * 0.02 / 3**0.5 / 0.8
    np.testing.assert_allclose(found, (0.275, 0.275 - half, 0.275 + half), atol=1e-6)
    # a classifier that answers the opposite
    np.testing.assert_allclose(cleam(1 - shares, 0.1, 0.9), found, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wilson(5, 4), "5 of 4 is no proportion"),
        (lambda: clopper_pearson(0, 0), "0 of 0 is no proportion"),
        (lambda: hoeffding(1, 4, 1.0), "level 1.0 is no confidence level"),
        (
            lambda: lang_reiczigel(5, 10, ErrorRates(50_000, 100_000, 50_000, 100_000)),
            "is 0.000, at least 0.02 is",
        ),
        # 2 errors
        (
            lambda: lang_reiczigel(5, 10, ErrorRates(30, 50, 20, 50)),
            "TPR - FPR is 0.200, at least 0.294",
        ),
        (lambda: lang_reiczigel(11, 10, ErrorRates(9, 10, 1, 10)), "11 of 10 is no proportion"),
        (lambda: lang_reiczigel(5, 10, ErrorRates(9, 10, 11, 10)), "11 of 10 is no proportion"),
        (lambda: lang_reiczigel(5, 10, ErrorRates(0, 0, 1, 10)), "0 of 0 is no proportion"),
        (lambda: wilson(1, 4, float("nan")), "level nan is no confidence level"),
        (lambda: cleam(np.array([0.5]), 0.9, 0.1), "two batches of samples at least"),
        (lambda: cleam(np.array([0.5, 0.4]), 0.5, 0.5), "too near chance"),
        (
            lambda: cleam(np.array([0.5, 1.2]), 0.9, 0.1),
            r"shares reach from 0.5 to 1.2: expected \[0, 1\]",
        ),
        (lambda: cleam(np.array([0.5, np.nan]), 0.9, 0.1), "shares reach from nan to nan"),
        (lambda: cleam(np.array([0.5, 0.4]), 90, 0.1), "TPR reach from 90 to 90"),
        (lambda: cleam(np.array([0.5, 0.4]), 0.9, float("nan")), "FPR reach from nan"),
    ],
)
def test_impossible_counts_are_refused(call, words):
    with pytest.raises(UserError, match=words):
        call()
