"""How far scores lie from a mixture, what shares that stands for, and the association at the ends of it."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import expit, logit

from diffshare.stats.association import Reference, compare
from diffshare.stats.calibration import Calibration
from diffshare.stats.misfit import (
    GRID,
    Bias,
    biases,
    blur,
    distance,
    extremes,
    score_gap,
    share_bias,
)
from diffshare.stats.shares import counted_shares

HALVES = np.array([0.5, 0.5])


def two_groups(n: int, seed: int = 0) -> Calibration:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    return Calibration(1 / (1 + np.exp(-rng.normal(2 * labels - 1.0, 1.0))), labels)


def three_groups(n: int, seed: int = 0) -> Calibration:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    logits = rng.normal(0, 1, (n, 3)) + 2 * np.eye(3)[labels]
    return Calibration(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), labels)


def no_bias(groups: int = 2, classes: int = 2) -> Bias:
    return Bias(np.zeros(groups), np.zeros((classes, groups)), np.ones(groups))


@pytest.mark.parametrize("make", [two_groups, three_groups])
def test_records_are_a_mixture_of_themselves(make: Callable[[int], Calibration]) -> None:
    known = make(600)
    np.testing.assert_allclose(score_gap(known, known.scores, known.prior), 0, atol=1e-12)
    found = biases([known, known], [known.scores[None]] * 2, [known.prior] * 2)
    np.testing.assert_allclose(found.common, 0, atol=1e-12)
    np.testing.assert_allclose(found.own, 0, atol=1e-12)
    np.testing.assert_allclose(found.slope, 1)


@pytest.mark.parametrize("by", [-0.15, 0.05, 0.2])
def test_scores_that_are_all_moved_lie_as_far_as_they_were_moved(by: float) -> None:
    labels = np.arange(40) % 2
    known = Calibration(np.where(labels, 0.7, 0.3), labels)
    gap = score_gap(known, np.where(np.arange(30) < 12, 0.7, 0.3) + by, np.array([0.6, 0.4]))
    np.testing.assert_allclose(distance(gap), abs(by), atol=1.5 / GRID)


def test_the_distance_bounds_the_difference_of_the_mean_scores() -> None:
    rng, known = np.random.default_rng(3), three_groups(900)
    for _ in range(20):
        queries, p = rng.dirichlet(rng.uniform(0.2, 3, 3), 300), rng.dirichlet(np.ones(3))
        apart = np.abs(queries.mean(0) - p @ known.class_means(known.scores))
        assert (apart <= distance(score_gap(known, queries, p)) + 1 / GRID).all()


def test_the_bias_of_two_groups_is_the_distance_over_the_separation() -> None:
    known = two_groups(600)
    means = known.class_means(known.scores)[:, 1]
    np.testing.assert_allclose(share_bias(known, np.full(2, 0.03)), 0.03 / (means[1] - means[0]))


def test_the_bias_of_three_groups_is_that_of_the_worst_error() -> None:
    known, error = three_groups(600), np.array([0.01, 0.03, 0.02])
    solve = np.linalg.inv(known.class_means(known.scores)).T
    ends = [(-e, e) for e in error]
    worst = [-linprog(-row, A_eq=np.ones((1, 3)), b_eq=[0], bounds=ends).fun for row in solve]
    np.testing.assert_allclose(share_bias(known, error), worst, rtol=1e-9)


def test_what_the_classes_have_in_common_is_told_from_what_is_their_own() -> None:
    known, rng = two_groups(4000), np.random.default_rng(1)
    drawn = known.scores[rng.permutation(4000)[:2000], 1]
    alike = biases([known] * 2, [moved(drawn, 0.1), moved(drawn, 0.1)], [HALVES] * 2)
    apart = biases([known] * 2, [moved(drawn, 0.1), moved(drawn, -0.1)], [HALVES] * 2)
    assert alike.common[1] == pytest.approx(apart.common[1], rel=0.1)
    np.testing.assert_allclose(alike.own, 0, atol=1e-12)
    assert (apart.own > 0.9 * apart.common[1]).all()


def moved(scores: np.ndarray, by: float) -> np.ndarray:
    made = np.clip(scores + by, 0, 1)
    return np.stack([1 - made, made], -1)[None]


@pytest.mark.parametrize("share", [0.3, 0.5])
@pytest.mark.parametrize("left", [0.25, 0.5, 1.0])
def test_groups_that_were_drawn_together_are_found_out(left: float, share: float) -> None:
    """Log odds of both groups whose means have kept a part of their distance, in two classes that differ in p."""
    rng, labels = np.random.default_rng(0), np.arange(4000) % 2

    def scores(groups: np.ndarray, kept: float) -> np.ndarray:
        made = expit(rng.normal(kept * (3.0 * groups - 1.5), 1.0))
        return np.stack([1 - made, made], -1)

    known = Calibration(scores(labels, 1.0), labels)
    drawn = [rng.random(4000) < p for p in (share, 0.5)]
    fitted = [np.array([1 - s.mean(), s.mean()]) for s in drawn]
    found = blur([known] * 2, [scores(s, left)[None] for s in drawn], fitted)
    np.testing.assert_allclose(found, left, atol=0.101)


def test_three_groups_that_were_drawn_together_are_found_out_too() -> None:
    known = three_groups(1200)
    logits = np.log(known.scores)
    middle = logits.mean(0)
    means = np.array([logits[known.labels == k].mean(0) for k in range(3)])
    moved = logits - 0.5 * (means - middle)[known.labels]
    scores = np.exp(moved) / np.exp(moved).sum(1, keepdims=True)
    assert (blur([known], [scores[None]], [known.prior]) < 0.75).all()
    assert (blur([known], [known.scores[None]], [known.prior]) == 1).all()


@pytest.mark.parametrize("seed", range(4))
def test_no_shares_within_the_bias_are_beyond_the_extremes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, high = rng.uniform(0.35, 0.65, 2)
    counts = np.array([[1 - low, 1 - high], [low, high]]) * 1000
    reference = Reference(rng.integers(100, 400, (2, 2)))
    (made,) = compare(counted_shares(counts), reference)
    bias = Bias(np.full(2, 0.08), np.array([[0.01, 0.01], [0.02, 0.02]]), np.full(2, 0.8))
    found = extremes(made, bias, reference.label_weights)
    assert found is not None
    ends = [root.estimate for root in found]
    for _ in range(200):
        b = rng.uniform(-0.08, 0.08, 2)
        p, q = ((s - e - b[0]) / (1 + b[1] - b[0]) for s, e in
                ((high, rng.uniform(-0.02, 0.02)), (low, rng.uniform(-0.01, 0.01))))  # fmt: skip
        d = logit(p) - logit(q) - reference.log_odds(made.contrast)[0]
        assert min(ends) - 1e-3 <= d <= max(ends) + 1e-3


@pytest.mark.parametrize(("groups", "classes"), [(2, 2), (3, 2), (2, 3), (3, 3)])
def test_no_bias_moves_nothing_and_more_moves_more(groups: int, classes: int) -> None:
    rng = np.random.default_rng(groups + 4 * classes)
    counts, reference = (rng.integers(200, 400, (groups, classes)) for _ in range(2))
    against, none = Reference(reference), no_bias(groups, classes)
    for made in compare(counted_shares(counts), against):
        reach = []
        for own in (0.0, 0.02, 0.04):
            found = extremes(
                made, none._replace(own=np.full((classes, groups), own)), against.label_weights
            )
            assert found is not None
            reach.append(max(abs(root.estimate - made.difference.estimate) for root in found))
        assert reach[0] == pytest.approx(0, abs=1e-6)
        assert reach[1] < reach[2]


def test_an_error_that_is_common_hides_no_equality_and_one_of_its_own_does() -> None:
    (made,) = compare(
        counted_shares(np.full((2, 2), 500)), even := Reference(np.ones((2, 2)), known=True)
    )
    for bias, shift in (
        (no_bias()._replace(common=np.full(2, 0.2)), 0.0),
        (no_bias()._replace(slope=np.full(2, 0.3)), 0.0),
        (no_bias()._replace(own=np.full((2, 2), 0.1)), 2 * np.log(0.6 / 0.4)),
    ):
        found = extremes(made, bias, even.label_weights)
        assert found is not None
        assert max(root.estimate for root in found) == pytest.approx(shift, abs=1e-3)
        assert min(root.estimate for root in found) == pytest.approx(-shift, abs=1e-3)


def test_a_blur_hides_what_it_takes_and_widens_the_error() -> None:
    (made,) = compare(
        counted_shares(np.array([[550, 450], [450, 550]])),
        even := Reference(np.ones((2, 2)), known=True),
    )
    found = extremes(made, no_bias()._replace(slope=np.full(2, 0.5)), even.label_weights)
    assert found is not None
    wide = max(found, key=lambda root: root.estimate)
    assert wide.estimate == pytest.approx(2 * np.log(0.6 / 0.4), rel=0.01)
    (low, high), (least, most) = made.difference.interval(0.95), wide.interval(0.95)
    assert most - least == pytest.approx(2 * (high - low), rel=0.1)


@pytest.mark.parametrize("bias", [
    no_bias()._replace(common=np.full(2, 0.06)), no_bias()._replace(own=np.full((2, 2), 0.06)),
    no_bias()._replace(common=np.full(2, 0.5)), no_bias()._replace(slope=np.zeros(2)),
])  # fmt: skip
def test_a_share_that_may_be_0_or_1_has_no_bound(bias: Bias) -> None:
    counts = np.array([[950, 500], [50, 500]])
    (made,) = compare(counted_shares(counts), even := Reference(np.ones((2, 2)), known=True))
    assert extremes(made, bias, even.label_weights) is None
    assert (
        extremes(made, no_bias()._replace(common=np.full(2, 0.04)), even.label_weights) is not None
    )
