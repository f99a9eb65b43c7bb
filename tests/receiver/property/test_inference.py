"""What is made of scores: intervals that have a width, parts that are not known, shares that sum to 1."""

import numpy as np
import pytest

from diffshare.errors import UserError
from diffshare.receiver.property.inference import Asked, Inferred, infer
from diffshare.receiver.property.remedies import labelled, recalibrated
from diffshare.stats.calibration import Calibration
from diffshare.stats.intervals import clopper_pearson

WHAT = Asked("p", ("no", "yes"), 1, 0.95, resamples=200)


@pytest.fixture
def known() -> Calibration:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    return Calibration(1 / (1 + np.exp(-rng.normal(3 * labels - 1.5, 1.0))), labels)


def both(scores: np.ndarray) -> np.ndarray:
    return np.stack([1 - scores, scores], -1)[None]


@pytest.mark.parametrize("positives", [0, 7, 40])
def test_a_count_has_an_exact_interval_also_where_all_samples_are_read_alike(
    known: Calibration, positives: int
) -> None:
    found = infer(WHAT, "cc", known, both(np.where(np.arange(40) < positives, 0.9, 0.1)))
    assert (found.estimate, found.low, found.high) == pytest.approx(clopper_pearson(positives, 40))
    assert found.sampling == pytest.approx((found.high - found.low) / 2)


def test_the_classifiers_part_of_emq_is_not_known(known: Calibration) -> None:
    scores = both(np.random.default_rng(1).random(300))
    assert infer(WHAT, "emq", known, scores).classifier is None
    assert infer(WHAT, "pacc", known, scores).classifier is not None


def test_the_parts_of_a_recalibrated_share_are_half_widths_at_its_level(known: Calibration) -> None:
    """The scatter about a line through five surrogates, by hand, times Student's quantile."""
    rng = np.random.default_rng(2)
    shares, means = np.array([0.1, 0.3, 0.5, 0.7, 0.9]), []
    surrogates = []
    for p in shares:
        surrogates.append(both(1 / (1 + np.exp(-rng.normal(3 * (rng.random(400) < p) - 1.2, 1.0)))))
        means.append(surrogates[-1][0, :, 1].mean())
    slope, start = np.polyfit(shares, means, 1)
    scatter = np.sqrt(((np.array(means) - start - slope * shares) ** 2).sum() / 3) / slope
    result = infer(WHAT, "pacc", known, surrogates[2])
    for level, quantile in ((0.95, 3.1824463), (0.5, 0.7648923)):
        found = recalibrated(
            result, WHAT._replace(level=level), known, surrogates[2], surrogates, shares.tolist()
        )
        assert found.classifier == pytest.approx(quantile * scatter)
        assert found.sampling == result.sampling


def test_one_query_is_refused(known: Calibration) -> None:
    with pytest.raises(UserError, match="one query tells nothing of its sampling error"):
        infer(WHAT, "pacc", known, both(np.array([0.7])))


def read_all_as_yes(classes: tuple[str, ...]) -> tuple[Asked, Inferred]:
    what = Asked("p", classes, 1, 0.95)
    k = len(classes)
    scores = np.full((k, 60, k), 0.05 / (k - 1))
    scores[np.arange(k), :, np.arange(k)] = 0.95
    flat, labels = scores.reshape(-1, k), np.repeat(np.arange(k), 60)
    noisy = np.random.default_rng(0).dirichlet(np.ones(k), len(flat)) * 0.2 + 0.8 * flat
    return what, infer(
        what._replace(resamples=50), "cc", Calibration(noisy, labels), scores[1][None]
    )


@pytest.mark.parametrize("classes", [("no", "yes"), ("a", "yes", "c")])
def test_shares_sum_to_1_where_labels_contradict_a_classifier_that_saw_one_class(
    classes: tuple[str, ...],
) -> None:
    what, result = read_all_as_yes(classes)
    assert result.shares["yes"] == 1
    found = labelled(what, result, np.full(60, 0.95), np.arange(20), np.arange(20) < 14)
    assert found.estimate == pytest.approx(0.7)
    assert sum(found.shares.values()) == pytest.approx(1)
