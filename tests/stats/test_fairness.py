"""Fairness from counts: against Fairlearn on the records themselves, what is undefined, and the bootstrap."""

import itertools
from collections import Counter

import numpy as np
import pytest
from fairlearn import metrics
from sklearn.metrics import accuracy_score

from diffshare.errors import UserError
from diffshare.stats.fairness import Disparity, bootstrap_counts, disparity, group_rates


def counts_of(groups: int, classes: int, seed: int) -> np.ndarray:
    """Counts without empty rows, so that every rate is defined."""
    return np.random.default_rng(seed).integers(1, 30, (groups, classes, classes))


def records_of(counts: np.ndarray) -> list[np.ndarray]:
    """Group, class and decision of each record that the counts stand for, shuffled."""
    cells = np.repeat(np.argwhere(counts >= 0), counts.ravel(), axis=0)
    return list(np.random.default_rng(0).permutation(cells).T)


SHAPES = [(2, 2, 1), (2, 2, 0), (3, 2, 1), (2, 3, 2), (4, 5, 0)]


@pytest.mark.parametrize(("groups", "classes", "positive"), SHAPES)
@pytest.mark.parametrize("seed", range(5))
def test_equals_fairlearn_on_the_records(groups, classes, positive, seed):
    counts = counts_of(groups, classes, seed)
    s, y, decided = records_of(counts)
    true, found = (y == positive).astype(int), (decided == positive).astype(int)
    functions = {
        "selection_rate": metrics.selection_rate,
        "tpr": metrics.true_positive_rate,
        "fpr": metrics.false_positive_rate,
    }
    by_group = metrics.MetricFrame(
        metrics=functions, y_true=true, y_pred=found, sensitive_features=s
    ).by_group
    rates = group_rates(counts, positive)
    for name in functions:
        np.testing.assert_allclose(getattr(rates, name), by_group[name], rtol=1e-12)
    exact = metrics.MetricFrame(
        metrics=accuracy_score, y_true=y, y_pred=decided, sensitive_features=s
    )
    np.testing.assert_allclose(rates.accuracy, exact.by_group, rtol=1e-12)
    np.testing.assert_array_equal(rates.n, np.bincount(s))
    overall = disparity(counts, positive)
    assert overall.accuracy == pytest.approx(exact.overall, rel=1e-12)
    for name in (
        "demographic_parity_difference",
        "demographic_parity_ratio",
        "equalized_odds_difference",
    ):
        expected = getattr(metrics, name)(true, found, sensitive_features=s)
        assert getattr(overall, name) == pytest.approx(expected, rel=1e-12), name


@pytest.mark.parametrize("seed", range(20))
def test_signed_twins_have_the_size_of_the_differences_and_turn_with_the_groups(seed):
    counts = counts_of(2, 2, seed)
    found, turned = disparity(counts), disparity(counts[::-1])
    for name in ("demographic_parity_difference", "equalized_odds_difference"):
        plain, signed = getattr(found, name), getattr(found, f"{name}_signed")
        assert plain == abs(signed)
        assert getattr(turned, name) == plain
        assert getattr(turned, f"{name}_signed") == -signed
    rates = group_rates(counts)
    assert (
        found.demographic_parity_difference_signed
        == rates.selection_rate[1] - rates.selection_rate[0]
    )


def test_signed_twins_of_other_than_two_groups_are_undefined():
    for groups in (1, 3):
        found = disparity(counts_of(groups, 2, 0))
        assert np.isnan(found.demographic_parity_difference_signed)
        assert np.isnan(found.equalized_odds_difference_signed)
        assert not np.isnan(found.demographic_parity_difference)
        assert not np.isnan(found.equalized_odds_difference)


def test_a_group_without_positives_has_no_true_positive_rate_and_no_difference_to_it():
    counts = np.array([[[5, 5], [0, 0]], [[2, 8], [1, 9]]])
    rates, found = group_rates(counts), disparity(counts)
    assert np.isnan(rates.tpr).tolist() == [True, False]
    assert np.isnan(rates.fpr).tolist() == [False, False]
    assert np.isnan(found.equalized_odds_difference)
    assert np.isnan(found.equalized_odds_difference_signed)
    assert found.demographic_parity_difference == pytest.approx(0.85 - 0.5)
    s, y, decided = records_of(counts)
    odds = metrics.equalized_odds_difference(y, decided, sensitive_features=s)
    # from nothing: Fairlearn takes the true positive rate of no record for 0
    assert odds == pytest.approx(0.9)


def test_an_empty_group_leaves_every_difference_undefined():
    counts = counts_of(3, 2, 0)
    counts[1] = 0
    rates, found = group_rates(counts), disparity(counts)
    for values in rates[1:]:
        assert np.isnan(values).tolist() == [False, True, False]
    for name in Disparity._fields[1:]:
        assert np.isnan(getattr(found, name)), name
    assert found.accuracy == disparity(counts[[0, 2]]).accuracy


def test_nobody_selected_leaves_the_ratio_undefined_and_the_difference_zero():
    found = disparity(np.array([[[4, 0], [3, 0]], [[2, 0], [1, 0]]]))
    assert np.isnan(found.demographic_parity_ratio)
    assert found.demographic_parity_difference == 0
    assert disparity(np.array([[[4, 0], [3, 0]], [[0, 2], [0, 1]]])).demographic_parity_ratio == 0


def test_no_record_at_all_leaves_everything_undefined():
    assert np.isnan(disparity(np.zeros((2, 2, 2), int))).all()


@pytest.mark.parametrize(("groups", "classes", "positive"), SHAPES)
def test_leading_axes_are_repetitions(groups, classes, positive):
    # with empty rows among them
    many = np.random.default_rng(3).integers(0, 3, (4, 5, groups, classes, classes))
    for function in (group_rates, disparity):
        together = function(many, positive)
        for i, j in np.ndindex(4, 5):
            for whole, alone in zip(together, function(many[i, j], positive), strict=True):
                np.testing.assert_array_equal(whole[i, j], alone)


@pytest.mark.parametrize(("groups", "classes", "positive"), SHAPES)
def test_names_and_numbers_of_records_do_not_matter(groups, classes, positive):
    counts = counts_of(groups, classes, 1)
    rng = np.random.default_rng(2)
    names, order = rng.permutation(classes), rng.permutation(groups)
    renamed = (7 * counts)[order][:, names][:, :, names]
    found, again = (
        disparity(counts, positive),
        disparity(renamed, int(np.flatnonzero(names == positive)[0])),
    )
    for name in (name for name in Disparity._fields if not name.endswith("signed")):
        assert getattr(again, name) == pytest.approx(getattr(found, name), rel=1e-12), name


def test_a_class_that_is_none_is_refused():
    for positive in (-1, 2):
        with pytest.raises(
            UserError, match=f"positive is {positive}: name one of the classes 0 to 1"
        ):
            group_rates(counts_of(2, 2, 0), positive)


def test_the_multinomial_is_the_bootstrap_of_the_records_in_distribution():
    counts = np.array([[[2, 0], [1, 0]], [[0, 1], [0, 1]]])  # five records in four cells
    cells = np.repeat(np.arange(8), counts.ravel())
    exact = (
        Counter(  # every way to draw five of the five records with replacement, all equally likely
            tuple(np.bincount(cells[list(drawn)], minlength=8))
            for drawn in itertools.product(range(5), repeat=5)
        )
    )
    resamples = 100_000
    drawn = bootstrap_counts(counts, resamples, np.random.default_rng(0))
    assert drawn.shape == (resamples, 2, 2, 2)
    assert drawn.dtype == np.int64
    found = Counter(map(tuple, drawn.reshape(resamples, 8)))
    assert found.keys() <= exact.keys()
    for cell_counts, ways in exact.items():
        p = ways / 5**5
        assert abs(found[cell_counts] / resamples - p) < 5 * np.sqrt(p * (1 - p) / resamples), (
            cell_counts
        )


def test_the_spread_of_a_difference_is_that_of_resampled_records():
    counts = counts_of(2, 2, 4)
    s, y, decided = records_of(counts)
    rng = np.random.default_rng(1)
    slow = np.zeros((2000, *counts.shape), np.int64)
    for one in slow:
        rows = rng.integers(0, len(s), len(s))
        np.add.at(one, (s[rows], y[rows], decided[rows]), 1)
    fast = bootstrap_counts(counts, 2000, rng)
    for name in ("accuracy", "demographic_parity_difference_signed", "equalized_odds_difference"):
        a, b = (getattr(disparity(drawn), name) for drawn in (slow, fast))
        error = np.sqrt((a.var() + b.var()) / 2000)
        assert abs(a.mean() - b.mean()) < 4 * error, name
        # over four standard errors of their ratio
        assert a.std() == pytest.approx(b.std(), rel=0.1), name


def test_the_same_seed_draws_the_same_counts():
    counts = counts_of(3, 2, 0)
    first, again = (bootstrap_counts(counts, 10, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first.sum((1, 2, 3)) == counts.sum()).all()
