"""The bootstrap against the delta method, its parts, and the coverage with cross-fitted models."""

import numpy as np
import pytest

from diffshare.errors import UserError
from diffshare.stats.bootstrap import bootstrap, error_parts
from diffshare.stats.calibration import Calibration
from diffshare.stats.mixture import mixture_fit
from diffshare.stats.prevalence import NAMES, estimate, median_sweep
from diffshare.stats.sequential import adjusted_sequence
from tests.stats.scored import labels, scores


def case(seed: int, n: int, m: int, p: float):
    rng = np.random.default_rng(seed)
    y = labels(rng, n, [0.5, 0.5])
    return Calibration(scores(rng, y, 2), y), scores(rng, labels(rng, m, [1 - p, p]), 2)


def delta(calibration: Calibration, queries: np.ndarray) -> tuple[float, float]:
    """Standard errors of PACC from the queries and from the calibration records (delta method)."""
    s, y = calibration.scores[:, 1], calibration.labels
    gap, p = s[y == 1].mean() - s[y == 0].mean(), estimate("pacc", calibration, queries)[1]
    of_queries = queries[:, 1].std() / len(queries) ** 0.5 / gap
    known = (
        np.sqrt(
            p**2 * s[y == 1].var() / (y == 1).sum()
            + (1 - p) ** 2 * s[y == 0].var() / (y == 0).sum()
        )
        / gap
    )
    return float(of_queries), float(known)


def test_spread_is_that_of_the_delta_method():
    calibration, queries = case(0, 400, 500, 0.4)
    sampling, classifier = delta(calibration, queries)
    whole = bootstrap("pacc", calibration, queries, np.random.default_rng(1), resamples=4000)
    assert whole.draws[:, 1].std() == pytest.approx(np.hypot(sampling, classifier), rel=0.06)
    parts = error_parts("pacc", calibration, queries, np.random.default_rng(2), resamples=4000)
    assert parts.sampling == pytest.approx(1.96 * sampling, rel=0.06)
    assert parts.classifier == pytest.approx(1.96 * classifier, rel=0.06)
    assert parts.drift is None


def test_classifiers_part_of_a_count_is_its_bias_and_drift_comes_from_surrogates():
    calibration, queries = case(3, 400, 500, 0.1)
    rng = np.random.default_rng(4)
    parts = error_parts(
        "cc", calibration, queries, rng, resamples=200, drifts=np.array([-0.1, 0.02]), level=0.5
    )
    bias = estimate("cc", calibration, queries) - estimate("acc", calibration, queries)
    assert parts.classifier == pytest.approx(abs(bias[1]))
    assert parts.drift == pytest.approx(0.06)


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("classes", [2, 3])
def test_resampling_nothing_returns_the_estimate_and_seeds_repeat(method, classes):
    rng = np.random.default_rng(5)
    y = labels(rng, 150, [1 / classes] * classes)
    calibration, queries = Calibration(scores(rng, y, classes), y), scores(rng, y[:120], classes)
    still = bootstrap(
        method,
        calibration,
        queries,
        rng,
        resamples=3,
        resample_calibration=False,
        resample_queries=False,
    )
    np.testing.assert_allclose(still.draws, np.tile(still.estimate, (3, 1)), atol=1e-3)
    first, second = (
        bootstrap(method, calibration, queries, np.random.default_rng(6), resamples=20)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.draws, second.draws)
    assert first.draws.shape == (20, classes)
    assert (first.low <= first.estimate).all()
    assert (first.estimate <= first.high).all()


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("end", [0, 1])
def test_an_estimate_at_an_end_keeps_the_width_of_queries_that_show_nothing(method, end):
    """Every query scores beyond the class's mean, so that each resample's estimate is cut to the end."""
    rng = np.random.default_rng(12)
    y = np.arange(400) % 2
    calibration = Calibration(np.clip(0.3 + 0.4 * y + 0.1 * rng.normal(size=400), 0.01, 0.99), y)
    s = rng.uniform(0.001, 0.02, 200)
    queries = 1 - s if end else s
    found = bootstrap(method, calibration, queries, rng, resamples=200)
    parts = error_parts(method, calibration, queries, rng, resamples=200)
    inner = found.low[1] if end else found.high[1]
    assert abs(end - inner) >= 1 - 0.025 ** (1 / 200) - 1e-12  # none of 200, by hand
    assert parts.sampling > 0.005 or method == "pcc"  # which is never cut
    if method == "pacc":  # stretched by the difference of the means
        assert abs(end - inner) > 2 * (1 - 0.025 ** (1 / 200))


def test_parts_are_those_of_the_class_asked_for():
    rng = np.random.default_rng(13)
    y = labels(rng, 600, [1 / 3] * 3)
    calibration, queries = (
        Calibration(scores(rng, y, 3), y),
        scores(rng, labels(rng, 500, [0.94, 0.03, 0.03]), 3),
    )
    whole = bootstrap("pacc", calibration, queries, rng, resamples=2000, resample_calibration=False)
    for place in range(3):
        parts = error_parts(
            "pacc", calibration, queries, np.random.default_rng(place), resamples=2000, place=place
        )
        assert parts.sampling == pytest.approx((whole.high - whole.low)[place] / 2, rel=0.12)
        counted = error_parts("cc", calibration, queries, rng, resamples=2, place=place)
        bias = estimate("cc", calibration, queries) - estimate("acc", calibration, queries)
        assert counted.classifier == pytest.approx(abs(bias[place]))
    assert np.ptp(whole.high - whole.low) > 0.01  # the classes differ


def crossfitted(rng: np.random.Generator, folds: int, p: float):
    """Fold models that differ (their cuts scatter), records scored by their fold's, queries by all."""
    cuts = rng.normal(1, 0.5, folds)
    y, asked = rng.integers(0, 2, 300), (rng.random(500) < p).astype(int)
    groups = np.arange(300) % folds
    x, z = rng.normal(size=300) + 2 * y, rng.normal(size=500) + 2 * asked
    held = 1 / (1 + np.exp(-2 * (x - cuts[groups])))
    every = 1 / (1 + np.exp(-2 * (z - cuts[:, None])))
    return held, y, groups, np.stack([1 - every, every], -1)


def test_interval_covers_with_crossfitted_models_and_not_where_one_model_scored_the_queries():
    rng = np.random.default_rng(7)
    joint = single = 0
    for _ in range(400):
        held, y, groups, queries = crossfitted(rng, 5, 0.3)
        found = bootstrap("pacc", Calibration(held, y, groups), queries, rng, resamples=200)
        joint += found.low[1] <= 0.3 <= found.high[1]
        found = bootstrap("pacc", Calibration(held, y), queries[0], rng, resamples=200)
        single += found.low[1] <= 0.3 <= found.high[1]
    assert 0.91 <= joint / 400 <= 0.985
    assert single / 400 < 0.8


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda *a: bootstrap("acc", *a, level=95), "level 95 is no confidence level"),
        (lambda *a: bootstrap("acc", *a, resamples=0), "resamples is 0: expected at least 1"),
        (lambda *a: bootstrap("median", *a), "unknown method 'median'"),
        (
            lambda *a: error_parts("acc", *a, drifts=np.array([])),
            "are no differences of proportions",
        ),
        (
            lambda *a: error_parts("acc", *a, drifts=np.array([0.1, np.nan])),
            "are no differences of proportions",
        ),
        (
            lambda *a: error_parts("acc", *a, drifts=np.array([3.0])),
            "are no differences of proportions",
        ),
    ],
)
def test_bad_levels_counts_and_drifts_are_refused(call, words):
    calibration, queries = case(8, 100, 50, 0.4)
    with pytest.raises(UserError, match=words):
        call(calibration, queries, np.random.default_rng(0))


def test_scores_of_the_queries_are_checked_by_all_that_take_them():
    calibration, _ = case(9, 100, 50, 0.4)
    rng = np.random.default_rng(0)
    for bad, words in (
        (np.nan, "query scores hold 1 NaN"),
        (1.5, "reach from 0.5 to 1.5"),
        (np.inf, "to inf"),
    ):
        scores = np.array([0.5, bad])
        for call in (
            lambda s: estimate("cc", calibration, s),
            lambda s: median_sweep(calibration, s),
            lambda s: bootstrap("cc", calibration, s, rng),
            lambda s: error_parts("cc", calibration, s, rng),
            lambda s: mixture_fit(calibration, s, rng),
            lambda s: adjusted_sequence(calibration, s),
        ):
            with pytest.raises(UserError, match=words):
                call(scores)


def test_classifier_at_chance_is_refused_by_all_that_correct():
    rng = np.random.default_rng(10)
    blind = Calibration(rng.uniform(0.2, 0.8, 400), np.arange(400) % 2)
    for call in (
        lambda s: median_sweep(blind, s),
        lambda s: bootstrap("pacc", blind, s, rng),
        lambda s: error_parts("acc", blind, s, rng),
        lambda s: adjusted_sequence(blind, s),
    ):
        with pytest.raises(UserError, match="too near chance to correct its counts"):
            call(np.full(10, 0.4))


def test_means_of_few_records_have_the_unbiased_variance():
    """Five records of a class in each fold: drawing five of five would give four fifths of the variance."""
    rng = np.random.default_rng(11)
    y, groups = np.arange(20) % 2, np.arange(20) // 10
    s = np.clip(0.3 + 0.4 * y + 0.1 * rng.normal(size=20), 0, 1)
    found = bootstrap(
        "pacc",
        Calibration(s, y, groups),
        np.full((2, 50, 2), 0.5),
        rng,
        resamples=20_000,
        resample_queries=False,
    )
    class_0 = [s[(y == 0) & (groups == fold)] for fold in (0, 1)]
    class_1 = [s[(y == 1) & (groups == fold)] for fold in (0, 1)]
    low, high = np.mean(class_0), np.mean(class_1)
    p = (0.5 - low) / (high - low)
    of_0, of_1 = (sum(cell.var(ddof=1) / 5 for cell in cells) / 4 for cells in (class_0, class_1))
    error = np.sqrt((1 - p) ** 2 * of_0 + p**2 * of_1) / (high - low)
    assert found.draws[:, 1].std() == pytest.approx(error, rel=0.06)


def test_a_count_by_a_classifier_at_chance_has_an_unknown_bias() -> None:
    rng = np.random.default_rng(0)
    calibration = Calibration(rng.random(400), rng.integers(0, 2, 400))
    parts = error_parts("cc", calibration, rng.random(300), rng)
    assert parts.classifier is None
    assert parts.sampling > 0
