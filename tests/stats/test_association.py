"""Association of samples against a reference: agreement with textbook tests, level, and estimates at the boundary."""

import numpy as np
import pytest
from scipy.stats import chi2_contingency, kstest, norm
from scored import labels, scores

from diffshare.errors import UserError
from diffshare.stats.association import (
    Contrast,
    Reference,
    Root,
    collapsed,
    compare,
    contrasts,
    log_odds_ratio,
    log_odds_root,
    shifted,
)
from diffshare.stats.bootstrap import bootstrap
from diffshare.stats.calibration import Calibration
from diffshare.stats.intervals import wilson
from diffshare.stats.shares import Share, counted_shares, unmixed_shares

EQUAL = Reference(np.ones((2, 2)), known=True)
TABLE = np.array([[220, 180], [280, 320]])


def scored_class(
    rng: np.random.Generator, share: float, n: int = 900, folds: int = 3, distance: float = 1.0
):
    """Calibration records of one class, and the labels of its samples."""
    y = labels(rng, n, [0.5, 0.5])
    return Calibration(scores(rng, y, 2, distance), y, np.arange(n) % folds), (
        rng.random(700) < share
    ).astype(int)


def with_models(
    rng: np.random.Generator, s: np.ndarray, folds: int = 3, distance: float = 1.0
) -> np.ndarray:
    return np.stack([scores(rng, s, 2, distance) for _ in range(folds)])


# --- shares ---


@pytest.mark.parametrize(("k", "n"), [(0, 30), (3, 30), (15, 30), (30, 30)])
def test_a_counted_share_has_wilsons_interval(k, n):
    share = counted_shares(np.array([[n - k, 5], [k, 5]])).shares[0][1]
    expected = wilson(k, n, 0.9)
    assert share.interval(0.9) == pytest.approx(tuple(expected), abs=1e-12)


def test_an_unmixed_share_has_the_variance_of_a_bootstrap():
    rng = np.random.default_rng(0)
    calibration, s = scored_class(rng, 0.3)
    found = with_models(rng, s)
    share = unmixed_shares([calibration], [found]).shares[0][1]
    drawn = bootstrap("pacc", calibration, found, rng, resamples=4000)
    assert share.estimate == pytest.approx(drawn.estimate[1], abs=1e-9)
    deviation = np.sqrt(share.variance(share.estimate))
    assert deviation == pytest.approx(drawn.draws[:, 1].std(), rel=0.06)
    # a classifier that errs knows less than the truth
    assert deviation > np.sqrt(0.3 * 0.7 / len(s))


def test_unmixing_undoes_errors_that_differ_between_the_classes():
    rng = np.random.default_rng(1)
    made = [scored_class(rng, 0.5, n=20000, distance=d) for d in (0.6, 1.6)]
    found = [with_models(rng, np.repeat([0, 1], [6000, 4000]), distance=d) for d in (0.6, 1.6)]
    shares = unmixed_shares([calibration for calibration, _ in made], found).shares
    assert shares[0][1].estimate == pytest.approx(0.4, abs=0.03)
    assert shares[1][1].estimate == pytest.approx(0.4, abs=0.02)
    assert shares[0][1].variance(0.4) > shares[1][1].variance(0.4)


def test_shares_of_several_groups_sum_to_one():
    rng = np.random.default_rng(2)
    y = labels(rng, 600, [0.3, 0.3, 0.4])
    calibration = Calibration(scores(rng, y, 3, 1.5), y)
    (row,) = unmixed_shares(
        [calibration], [scores(rng, labels(rng, 500, [0.2, 0.3, 0.5]), 3, 1.5)[None]]
    ).shares
    assert sum(share.estimate for share in row) == pytest.approx(1)
    assert [share.estimate for share in row] == pytest.approx([0.2, 0.3, 0.5], abs=0.15)


def test_a_classifier_at_chance_is_refused_and_its_weakness_told():
    rng = np.random.default_rng(3)
    calibration, s = scored_class(rng, 0.3, distance=0.0)
    with pytest.raises(
        UserError,
        match=r"too weak to audit with: .* class 0 .* [0-9.]+ apart .*stronger classifier",
    ):
        unmixed_shares(
            [Calibration(rng.permutation(calibration.scores), calibration.labels)],
            [with_models(rng, s, 1)],
        )


def test_a_class_without_samples_is_refused():
    with pytest.raises(UserError, match="no sample of class 1"):
        counted_shares(np.array([[3, 0], [4, 0]]))
    with pytest.raises(UserError, match="no samples of class 0"):
        unmixed_shares([scored_class(np.random.default_rng(0), 0.5)[0]], [np.zeros((3, 0, 2))])


# --- log odds ---


def test_interval_and_p_value_are_those_of_the_normal_theory_in_large_samples():
    counts = TABLE * 1000
    (found,) = compare(counted_shares(counts), Reference(TABLE * 500))
    error = np.sqrt((1 / counts).sum() + (1 / (TABLE * 500)).sum())
    low, high = found.difference.interval(0.95)
    assert found.difference.estimate == pytest.approx(0, abs=1e-3)
    assert [low, high] == pytest.approx([-1.96 * error, 1.96 * error], rel=0.01)
    (moved,) = compare(counted_shares(counts), Reference(TABLE[:, ::-1] * 500))
    d = 2 * log_odds_ratio(TABLE)
    assert moved.difference.estimate == pytest.approx(d, abs=1e-3)
    margin = d - 1.5 * error
    assert moved.difference.p_value(margin) == pytest.approx(norm.sf(1.5), rel=0.05)
    assert moved.difference.p_value(0) < 1e-9
    assert moved.difference.equivalence_p_value(d + 1.5 * error) == pytest.approx(
        norm.sf(1.5), rel=0.05
    )


def test_against_independence_the_test_is_the_chi_square_test():
    counts = np.array([[60, 45], [40, 55]])
    (found,) = compare(counted_shares(counts), EQUAL)
    assert found.difference.p_value(0) == pytest.approx(
        chi2_contingency(counts, correction=False).pvalue, rel=0.03
    )


def test_exchanging_the_groups_mirrors_everything():
    (found,) = compare(counted_shares(TABLE), Reference(TABLE[:, ::-1]))
    (mirrored,) = compare(counted_shares(TABLE[::-1]), Reference(TABLE[::-1, ::-1]))
    assert mirrored.difference.estimate == pytest.approx(-found.difference.estimate, abs=1e-6)
    assert np.array(mirrored.difference.interval(0.9)) == pytest.approx(
        -np.array(found.difference.interval(0.9))[::-1], abs=1e-3
    )
    assert mirrored.difference.p_value(0.1) == pytest.approx(
        found.difference.p_value(0.1), rel=1e-3
    )


def test_how_many_samples_of_each_class_there_are_does_not_matter():
    many = TABLE * np.array([1, 7])
    estimates = [compare(counted_shares(t), EQUAL)[0].samples.estimate for t in (TABLE, many)]
    assert estimates[0] == pytest.approx(estimates[1], abs=1e-9)
    assert estimates[0] == pytest.approx(log_odds_ratio(TABLE), abs=1e-9)


@pytest.mark.parametrize("raw", [-0.04, 0.0, 1.0, 1.07])
def test_estimates_at_and_beyond_the_boundary_give_finite_answers(raw):
    root = log_odds_root(Share(raw, 500, 0.2, 1e-3), Share(0.5, 500, 0.2, 1e-3))
    low, high = root.interval(0.95)
    assert low < high
    assert (low > 0) if raw > 0.5 else (high < 0)
    assert 0 < root.p_value(0.5) < 1e-3


def test_the_profile_is_the_least_of_a_fine_grid():
    high, low = Share(0.32, 400, 0.3, 4e-4), Share(0.61, 300, 0.1, 2e-4)
    root = log_odds_root(high, low)
    p = np.linspace(0.001, 0.999, 4000)
    for value in (-2.0, -1.2, -0.4, 0.3):
        other = 1 / (1 + np.exp(value - np.log(p / (1 - p))))
        slow = (
            (high.estimate - p) ** 2 / high.variance(p)
            + (low.estimate - other) ** 2 / low.variance(other)
        ).min()
        assert root.at(value) ** 2 == pytest.approx(slow, rel=0.01, abs=1e-3)


def test_an_uncertain_reference_widens_and_a_known_one_does_not():
    root = log_odds_root(Share(0.4, 500), Share(0.6, 500))
    known, uncertain = shifted(root, 0.3, 0.0), shifted(root, 0.3, 0.2)
    width = [np.subtract(*r.interval(0.95)[::-1]) for r in (root, known, uncertain)]
    assert width[1] == pytest.approx(width[0], rel=1e-9)
    assert width[2] == pytest.approx(np.hypot(width[0], 2 * 1.96 * 0.2), rel=0.02)
    assert known.estimate == pytest.approx(root.estimate - 0.3)


def test_the_p_value_falls_with_the_margin_away_and_is_one_inside():
    # estimate 1, standard error 0.2
    root = Root(np.linspace(-10, 10, 2001), np.linspace(-10, 10, 2001) * 5 - 5)
    p = [root.p_value(m) for m in (0, 0.3, 0.6, 0.9, 1.2)]
    assert p == sorted(p)
    assert root.p_value(0) == pytest.approx(2 * norm.sf(5))
    assert root.p_value(0.6) == pytest.approx(norm.sf(2) + norm.sf(8))
    assert root.p_value(1.0) == pytest.approx(0.5 + norm.sf(10))


def test_clean_p_values_are_uniform_and_the_margin_only_raises_them():
    rng = np.random.default_rng(5)
    p, with_margin = [], []
    for _ in range(250):
        reference = Reference(rng.multinomial(1600, TABLE.ravel() / TABLE.sum()).reshape(2, 2))
        made = []
        for column in (TABLE / TABLE.sum(0)).T:
            calibration, _ = scored_class(rng, 0.5, n=400, folds=2)
            made.append(
                (calibration, with_models(rng, (rng.random(600) < column[1]).astype(int), 2))
            )
        samples = unmixed_shares([c for c, _ in made], [q for _, q in made])
        (found,) = compare(samples, reference)
        p.append(found.difference.p_value(0))
        with_margin.append(found.difference.p_value(0.2))
    assert kstest(p, "uniform").pvalue > 0.01
    assert (np.array(with_margin) >= np.array(p)).all()


# --- several groups and classes ---


def test_contrasts_of_more_groups_and_classes_are_one_against_the_rest():
    assert contrasts(2, 2) == [Contrast(1, 1)]
    assert len(contrasts(3, 4)) == 12
    table = np.arange(1, 10).reshape(3, 3)
    assert collapsed(table, Contrast(2, 0)).tolist() == [[2 + 3 + 5 + 6, 1 + 4], [8 + 9, 7]]


def test_counts_of_the_reference_itself_show_no_difference_in_any_contrast():
    table = np.array([[50, 90, 60], [70, 30, 20], [40, 80, 65]])
    for found in compare(counted_shares(table), Reference(table, known=True)):
        assert found.difference.estimate == pytest.approx(0, abs=1e-9)


def test_an_empty_cell_and_another_shape_are_refused():
    with pytest.raises(UserError, match=r"empty cell \(group 0, class 1\)"):
        compare(counted_shares(TABLE), Reference(np.array([[3, 0], [4, 5]])))
    with pytest.raises(UserError, match="3 groups and 2 classes, the samples 2 and 2"):
        compare(counted_shares(TABLE), Reference(np.ones((3, 2))))
