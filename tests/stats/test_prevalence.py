"""Prevalence estimators against closed forms, slow references and the truth."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from diffshare.errors import UserError
from diffshare.stats.calibration import Calibration, posteriors
from diffshare.stats.prevalence import (
    NAMES,
    decisions,
    estimate,
    histogram,
    median_sweep,
    separation,
)
from diffshare.stats.simplex import least_hellinger, least_squares, most_likely, project
from tests.stats.scored import labels, scores

CORRECTED = [name for name in NAMES if name not in ("cc", "pcc")]


def case(
    seed: int,
    classes: int,
    shares: list[float],
    n: int = 3000,
    m: int = 3000,
    distance: float = 1.0,
    prior: list[float] | None = None,
):
    rng = np.random.default_rng(seed)
    y = labels(rng, n, prior or [1 / classes] * classes)
    calibration = Calibration(scores(rng, y, classes, distance), y)
    return calibration, scores(rng, labels(rng, m, shares), classes, distance)


def test_a_score_of_one_half_is_of_class_1_and_a_tie_of_more_classes_of_the_first():
    scored = np.array([[0.5, 0.5], [0.6, 0.4], [0.4, 0.6]])
    assert decisions(scored).argmax(1).tolist() == [1, 0, 1]
    assert decisions(np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4]])).argmax(1).tolist() == [0, 1]


@pytest.mark.parametrize("method", CORRECTED)
@pytest.mark.parametrize("shares", [[0.9, 0.1], [0.35, 0.65], [0.1, 0.3, 0.6]])
def test_corrected_estimates_are_near_the_truth_where_counting_is_not(method, shares):
    calibration, queries = case(0, len(shares), shares, 6000, 6000)
    error = np.abs(estimate(method, calibration, queries) - shares).max()
    assert error < 0.03
    assert error < np.abs(estimate("cc", calibration, queries) - shares).max() / 2


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("classes", [2, 3])
def test_perfect_classifier_gives_the_exact_proportion(method, classes):
    shares = [0.25, 0.75] if classes == 2 else [0.25, 0.5, 0.25]
    rng = np.random.default_rng(1)
    y, asked = labels(rng, 60, [1 / classes] * classes), labels(rng, 200, shares)
    found = estimate(method, Calibration(np.eye(classes)[y], y), np.eye(classes)[asked])
    np.testing.assert_allclose(found, shares, atol=1e-6)


@pytest.mark.parametrize("method", NAMES)
def test_order_of_records_and_names_of_classes_do_not_matter(method):
    calibration, queries = case(2, 3, [0.2, 0.3, 0.5], 600, 500)
    found = estimate(method, calibration, queries)
    assert found.shape == (3,)
    assert found.sum() == pytest.approx(1)
    rng = np.random.default_rng(3)
    order, names = rng.permutation(600), np.array([2, 0, 1])
    turned = Calibration(
        calibration.scores[order][:, names], np.argsort(names)[calibration.labels[order]]
    )
    np.testing.assert_allclose(
        estimate(method, turned, rng.permutation(queries)[:, names]), found[names], atol=1e-5
    )


@pytest.mark.parametrize("method", NAMES)
def test_two_classes_may_be_given_as_one_column(method):
    calibration, queries = case(4, 2, [0.3, 0.7], 500, 500)
    short = Calibration(calibration.scores[:, 1], calibration.labels)
    np.testing.assert_allclose(
        estimate(method, short, queries[:, 1]), estimate(method, calibration, queries), atol=1e-9
    )


def test_adjusted_counts_are_the_closed_form():
    calibration, queries = case(5, 2, [0.7, 0.3])
    positive = calibration.labels == 1
    for method, called in (("acc", lambda s: s[:, 1] >= 0.5), ("pacc", lambda s: s[:, 1])):
        tpr, fpr = (
            called(calibration.scores)[positive].mean(),
            called(calibration.scores)[~positive].mean(),
        )
        closed = (called(queries).mean() - fpr) / (tpr - fpr)
        assert estimate(method, calibration, queries)[1] == pytest.approx(closed, abs=1e-12)


def test_adjusted_count_is_cut_to_a_proportion():
    calibration, _ = case(6, 2, [0.5, 0.5])
    assert estimate("acc", calibration, np.zeros(50))[1] == 0
    assert estimate("acc", calibration, np.ones(50))[1] == 1


def test_emq_is_the_greatest_likelihood_and_the_limit_of_em():
    calibration, queries = case(7, 2, [0.8, 0.2], prior=[0.3, 0.7])
    prior, p = calibration.prior, np.array([0.5, 0.5])
    for _ in range(2000):  # Saerens et al. 2002, equations 2.8 and 2.9
        posterior = queries * p / prior
        p = (posterior / posterior.sum(1, keepdims=True)).mean(0)
    found = estimate("emq", calibration, queries)
    np.testing.assert_allclose(found, p, atol=1e-8)
    ratio = queries / prior
    best = minimize_scalar(
        lambda t: -np.log(ratio @ [1 - t, t]).sum(),
        bounds=(0, 1),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert found[1] == pytest.approx(best.x, abs=1e-6)


def test_matching_is_the_best_of_a_grid():
    calibration, queries = case(8, 2, [0.4, 0.6], 400, 300)
    classes, query = (
        calibration.class_means(histogram(calibration.scores)),
        histogram(queries).mean(0),
    )
    grid = np.linspace(0, 1, 20001)
    mixed = (1 - grid[:, None]) * classes[0] + grid[:, None] * classes[1]
    near = grid[np.sqrt(query * mixed).sum(1).argmax()]
    likely = grid[(query[query > 0] * np.log(mixed[:, query > 0])).sum(1).argmax()]
    assert estimate("dmy", calibration, queries)[1] == pytest.approx(near, abs=1e-4)
    assert estimate("ml", calibration, queries)[1] == pytest.approx(likely, abs=1e-4)


@pytest.mark.parametrize(
    ("solve", "loss"),
    [
        (least_squares, lambda q, m: ((q - m) ** 2).sum()),
        (least_hellinger, lambda q, m: -np.sqrt(q * m).sum()),
        (most_likely, lambda q, m: -(q * np.log(m + 1e-300)).sum()),
    ],
)
def test_solutions_for_three_classes_beat_a_grid(solve, loss):
    rng = np.random.default_rng(9)
    query, classes = rng.dirichlet(np.ones(6), 4), rng.dirichlet(np.ones(6), (4, 3))
    found = solve(query, classes)
    grid = [
        np.array([a, b, 40 - a - b]) / 40 for a, b in product(range(41), range(41)) if a + b <= 40
    ]
    for p, q, a in zip(found, query, classes, strict=True):
        assert p.min() >= 0
        assert p.sum() == pytest.approx(1)
        assert loss(q, p @ a) <= min(loss(q, other @ a) for other in grid) + 1e-7


def test_projection_on_the_simplex_is_the_nearest_point():
    rng = np.random.default_rng(10)
    points = rng.normal(size=(20, 3))
    near = project(points)
    others = rng.dirichlet(np.ones(3), 4000)
    for point, found in zip(points, near, strict=True):
        assert found.sum() == pytest.approx(1)
        assert ((found - point) ** 2).sum() <= ((others - point) ** 2).sum(1).min() + 1e-12
    np.testing.assert_allclose(project(others), others, atol=1e-12)


def test_queries_scored_by_every_fold_cancel_what_the_models_differ_in():
    """Two models with opposite biases: each alone is far off against the pooled calibration, both together are not."""
    rng = np.random.default_rng(11)
    y, groups = labels(rng, 4000, [0.5, 0.5]), np.arange(4000) % 2
    asked = labels(rng, 4000, [0.8, 0.2])

    def model(x: np.ndarray, fold: int) -> np.ndarray:
        return 1 / (1 + np.exp(-2 * (x - 1 + (0.7 if fold else -0.7))))

    x, z = rng.normal(size=4000) + 2 * y, rng.normal(size=4000) + 2 * asked
    held = np.where(groups == 0, model(x, 0), model(x, 1))
    both = np.stack([model(z, fold) for fold in (0, 1)])
    both = np.stack([1 - both, both], -1)
    for method in ("acc", "pacc", "dmy", "ml"):
        assert estimate(method, Calibration(held, y, groups), both)[1] == pytest.approx(
            0.2, abs=0.03
        )
        alone = estimate(method, Calibration(held, y), both[1])[1]
        assert abs(alone - 0.2) > 0.05
    with pytest.raises(UserError, match="1 models scored the queries, 2 the calibration records"):
        estimate("acc", Calibration(held, y, groups), both[0])


def test_median_sweep_is_near_the_truth_and_not_one_histogram():
    calibration, queries = case(12, 2, [0.7, 0.3])
    found = median_sweep(calibration, queries)
    assert found[1] == pytest.approx(0.3, abs=0.03)
    assert median_sweep(calibration, queries, range(8, 9, 1)) == pytest.approx(
        estimate("dmy", calibration, queries)
    )


def test_separation_is_tpr_minus_fpr():
    calibration, _ = case(13, 2, [0.5, 0.5])
    called, positive = decisions(calibration.scores)[:, 1], calibration.labels == 1
    gap = called[positive].mean() - called[~positive].mean()
    assert separation(calibration, decisions)[0] == pytest.approx(gap)
    error = np.sqrt(
        called[positive].var() / positive.sum() + called[~positive].var() / (~positive).sum()
    )
    assert separation(calibration, decisions)[1] == pytest.approx(error)


@pytest.mark.parametrize("method", CORRECTED)
def test_classifier_at_chance_is_refused(method):
    rng = np.random.default_rng(14)
    y = labels(rng, 400, [0.5, 0.5])
    blind = Calibration(rng.uniform(0.2, 0.8, 400), y)
    with pytest.raises(
        UserError,
        match=r"too near chance to correct its counts: .* is 0\.\d+ with a standard error",
    ):
        estimate(method, blind, np.full(10, 0.4))
    assert estimate("cc", blind, np.full(10, 0.4))[1] == 0


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([0.2, np.nan], "hold 1 NaN: expected probabilities"),
        ([0.2, 1.5], "reach from 0.2 to 1.5: expected probabilities"),
        ([-0.1, 0.5], "reach from -0.1 to 0.5"),
        ([[0.5, 0.6]], "a row that sums to 1.1"),
        ([], "have shape"),
        ([[1.0], [1.0]], "K >= 2"),
    ],
)
def test_scores_that_are_none_are_refused(bad, words):
    with pytest.raises(UserError, match=words):
        posteriors(np.array(bad))


@pytest.mark.parametrize(
    ("y", "groups", "words"),
    [
        (np.zeros(20, int), None, "no record of class 1: every class is needed"),
        (np.arange(20) % 3, None, "must be the classes 0 to 1"),
        (np.where(np.arange(20) % 2, 1.0, np.nan), None, "must be the classes 0 to 1"),
        (np.where(np.arange(20) % 2, "yes", "no"), None, "must be the classes 0 to 1"),
        (np.arange(20) % 2, np.full(20, 0.5), "integers from 0"),
        (np.arange(19) % 2, None, "do not belong together"),
        ((np.arange(20) < 3).astype(int), None, "fold 0 has 3 records of class 1, at least 5"),
        (np.arange(20) % 2, np.arange(20) // 8, "fold 2 has 2 records of class 0"),
        (np.arange(20) % 2, np.arange(20) - 1, "integers from 0"),
    ],
)
def test_calibration_data_that_do_not_suffice_are_refused(y, groups, words):
    with pytest.raises(UserError, match=words):
        Calibration(np.linspace(0, 1, 20), y, groups)


def test_unknown_method_and_other_classes_are_refused():
    calibration, queries = case(15, 2, [0.5, 0.5], 100, 10)
    with pytest.raises(UserError, match="unknown method 'count': choose one of acc, cc"):
        estimate("count", calibration, queries)
    with pytest.raises(UserError, match="expected M x 2 for each model"):
        estimate("cc", calibration, np.full((4, 3), 1 / 3))
