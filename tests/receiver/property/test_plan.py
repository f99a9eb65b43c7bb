"""Planned queries: enough for the width, honest when one stops at will, refused where no query helps."""

import numpy as np
import pytest

from diffshare.errors import UserError
from diffshare.receiver.property.inference import Asked, infer
from diffshare.receiver.property.plan import collect, plan_queries, stopped_interval
from diffshare.stats.calibration import Calibration

P = 0.35


def scores_of(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """P(class 1) of a classifier that is right for about 85 %."""
    return 1 / (1 + np.exp(-rng.normal(2 * labels - 1.0, 1.0)))


def calibration(rng: np.random.Generator, count: int = 4000) -> Calibration:
    labels = np.arange(count) % 2
    return Calibration(scores_of(rng, labels), labels)


class Stream:
    """A generator whose samples are scores already."""

    labels, classes, columns = "none", (), ()

    def __init__(self, rng: np.random.Generator, available: int | None = None) -> None:
        self.rng, self.available, self.taken = rng, available, 0

    def take(self, start: int, stop: int) -> np.ndarray:
        assert start == self.taken
        self.taken = stop
        return scores_of(self.rng, self.rng.random(stop - start) < P)


def both(scores: np.ndarray) -> np.ndarray:
    return np.stack([1 - scores, scores], -1)[None]


def test_stopping_at_will_keeps_the_width_and_the_level() -> None:
    held, widths, asked = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        known = calibration(rng)
        plan = plan_queries(known, 0.08, 0.95)
        stream = Stream(rng)
        scores = collect(stream, both, known, plan, 0.95)
        what = Asked("p", ("no", "yes"), 1, 0.95, seed, resamples=100)
        found = stopped_interval(infer(what, "pacc", known, scores), what, plan, known, scores)
        held.append(found.low <= P <= found.high)
        assert found.low <= found.estimate <= found.high
        widths.append((found.high - found.low) / 2)
        asked.append(stream.taken / plan.queries)
    assert np.mean(held) >= 0.93
    assert max(widths) <= 0.08 + 1e-9
    assert max(asked) <= 1.3


def test_class_0_mirrors_class_1() -> None:
    rng = np.random.default_rng(0)
    known, scores = calibration(rng), both(scores_of(rng, rng.random(2000) < P))
    plan = plan_queries(known, 0.1, 0.95)
    made = []
    for place in (0, 1):
        what = Asked("p", ("no", "yes"), place, 0.95, resamples=200)
        made.append(stopped_interval(infer(what, "acc", known, scores), what, plan, known, scores))
    assert made[0].estimate == pytest.approx(1 - made[1].estimate)
    assert (made[0].low, made[0].high) == pytest.approx((1 - made[1].high, 1 - made[1].low))
    assert sum(made[0].shares.values()) == pytest.approx(1)


def test_the_interval_holds_the_classifiers_part_whatever_the_method() -> None:
    rng = np.random.default_rng(1)
    known, scores = calibration(rng), both(scores_of(rng, rng.random(2000) < P))
    plan = plan_queries(known, 0.1, 0.95)
    what = Asked("p", ("no", "yes"), 1, 0.95, resamples=100)
    made = [
        stopped_interval(infer(what, m, known, scores), what, plan, known, scores)
        for m in ("acc", "pacc", "emq")
    ]
    assert len({(one.low, one.high) for one in made}) == 1
    assert {one.classifier for one in made} == {plan.classifier}
    assert made[0].high - made[0].low == pytest.approx(
        2 * np.hypot(made[0].sampling, plan.classifier)
    )


def test_the_plan_says_at_least_what_the_first_look_takes() -> None:
    rng = np.random.default_rng(2)
    known = calibration(rng)
    plan = plan_queries(known, 0.3, 0.95)
    stream = Stream(rng)
    collect(stream, both, known, plan, 0.95)
    assert stream.taken <= plan.queries


def test_a_narrower_interval_costs_more() -> None:
    known = calibration(np.random.default_rng(0))
    plans = [plan_queries(known, width, 0.95).queries for width in (0.2, 0.1, 0.05)]
    assert plans[0] < plans[1] / 3 < plans[2] / 9


def test_a_width_beyond_the_calibration_is_refused() -> None:
    known = calibration(np.random.default_rng(0), 400)
    with pytest.raises(
        UserError, match=r"the 400 auxiliary records alone leave a half width of up to 0\.0[0-9]+"
    ):
        plan_queries(known, 0.02, 0.95)


@pytest.mark.parametrize("width", [0, 0.5, -1, float("nan")])
def test_a_width_that_is_none_is_refused(width: float) -> None:
    with pytest.raises(UserError, match="lies between 0 and 0.5"):
        plan_queries(calibration(np.random.default_rng(0)), width, 0.95)


def test_three_classes_are_refused() -> None:
    rng = np.random.default_rng(0)
    known = Calibration(rng.dirichlet([1, 1, 1], 300), np.arange(300) % 3)
    with pytest.raises(UserError, match="is for two classes, not 3"):
        plan_queries(known, 0.1, 0.95)


def test_a_folder_that_is_too_small_is_refused() -> None:
    rng = np.random.default_rng(0)
    known = calibration(rng)
    plan = plan_queries(known, 0.05, 0.95)
    with pytest.raises(
        UserError, match=r"is not reached with the 300 samples there are .*draw more"
    ):
        collect(Stream(rng, available=300), both, known, plan, 0.95)
