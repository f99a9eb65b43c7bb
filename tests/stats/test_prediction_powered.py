"""A few labels correct any scores: coverage whatever the scores are, and what they buy where they are good."""

import numpy as np
import pytest

from diffshare.errors import UserError
from diffshare.stats.prediction_powered import prediction_powered

M, N = 2000, 60


def one(rng: np.random.Generator, p: float, error: float) -> tuple[np.ndarray, np.ndarray]:
    """Truth of M records, and scores that are wrong with probability ``error``."""
    truth = (rng.random(M) < p).astype(float)
    wrong = rng.random(M) < error
    return truth, np.where(wrong, 1 - truth, truth) * 0.8 + 0.1 * rng.random(M)


@pytest.mark.parametrize("error", [0.0, 0.2, 0.5, 0.9])
def test_the_interval_holds_whatever_the_scores_are(error: float) -> None:
    rng, held = np.random.default_rng(0), []
    for _ in range(400):
        truth, scores = one(rng, 0.3, error)
        places = rng.choice(M, N, replace=False)
        found = prediction_powered(scores, places, truth[places])
        held.append(found.low <= 0.3 <= found.high)
    assert 0.91 <= np.mean(held) <= 0.99


@pytest.mark.parametrize("labelled", [75, 150])
def test_the_interval_holds_where_many_or_all_are_labelled(labelled: int) -> None:
    """A labelled record must not count among those without a label as well: it would be counted twice."""
    rng, held = np.random.default_rng(3), []
    for _ in range(600):
        truth, scores = (values[:150] for values in one(rng, 0.3, 0.03))
        places = rng.choice(150, labelled, replace=False)
        found = prediction_powered(scores, places, truth[places])
        held.append(found.low <= 0.3 <= found.high)
    assert 0.92 <= np.mean(held) <= 0.98


def test_where_all_are_labelled_the_scores_say_nothing_more() -> None:
    truth, scores = one(np.random.default_rng(4), 0.4, 0.1)
    found = prediction_powered(scores, np.arange(M), truth)
    assert found.estimate == pytest.approx(truth.mean())
    assert found.of_scores == 0
    assert found.of_labels == pytest.approx(1.961 * truth.std() / M**0.5, rel=1e-3)


def test_good_scores_narrow_it_and_useless_ones_leave_the_mean_of_the_labels() -> None:
    rng = np.random.default_rng(1)
    truth, good = one(rng, 0.4, 0.03)
    places = rng.choice(M, N, replace=False)
    sharp = prediction_powered(good, places, truth[places])
    blunt = prediction_powered(np.full(M, 0.7), places, truth[places])
    assert blunt.estimate == pytest.approx(truth[places].mean())
    assert blunt.of_scores == pytest.approx(0, abs=1e-9)
    assert sharp.high - sharp.low < 0.5 * (blunt.high - blunt.low)


def test_a_scale_and_a_shift_of_the_scores_change_nothing() -> None:
    rng = np.random.default_rng(2)
    truth, scores = one(rng, 0.4, 0.2)
    places = rng.choice(M, N, replace=False)
    first, other = (prediction_powered(s, places, truth[places]) for s in (scores, 5 - 3 * scores))
    assert first == pytest.approx(other)


def test_labels_that_are_all_alike_leave_doubt() -> None:
    found = prediction_powered(np.linspace(0, 1, 100), np.arange(20), np.zeros(20))
    assert found.low == 0
    assert found.high > 0.05


@pytest.mark.parametrize(
    ("places", "labels", "words"),
    [
        (np.arange(9), np.zeros(9), "9 labelled samples are too few: at least 10"),
        (np.zeros(12, int), np.zeros(12), "12 different samples"),
        (np.arange(95, 107), np.zeros(12), "among the 100 there are"),
        (np.arange(12), np.full(12, 2), "labels must be 0 or 1"),
    ],
)
def test_what_cannot_be_used_is_refused(places: np.ndarray, labels: np.ndarray, words: str) -> None:
    with pytest.raises(UserError, match=words):
        prediction_powered(np.linspace(0, 1, 100), places, labels)
