"""Weights that a second reader checks: numbers whose group is known to the test alone."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffshare.audits.repair.weights import reweigh, wanted_shares
from diffshare.errors import UserError
from diffshare.receiver.samples import CodedSamples
from diffshare.stats.calibration import Calibration
from diffshare.stats.shares import unmixed_shares

WANTED = np.array([[0.5, 0.5], [0.3, 0.7]])


def posteriors(x: np.ndarray, sure: float = 1.0) -> np.ndarray:
    """P(group | x) for groups at -1 and 1 that are as frequent, N x 2; less than ``sure`` of it is shown."""
    one = 1 / (1 + np.exp(-2 * x))
    one = sure * one + (1 - sure) * 0.5
    return np.stack([1 - one, one], 1)


class Reader:
    """A group reader of one column of numbers, calibrated on records that it reads as surely as it may."""

    name, classifier = "s", SimpleNamespace(accuracy=0.8)

    def __init__(self, column: int, sure: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.column, self.sure = column, sure
        self.labels = rng.integers(0, 2, 6000)
        self.known = posteriors(rng.normal(2 * self.labels - 1.0))

    def calibrations(self) -> list[Calibration]:
        return [
            Calibration(self.known[k::2], self.labels[k::2], np.arange(3000) % 2) for k in range(2)
        ]

    def scores(self, samples: CodedSamples) -> np.ndarray:
        return np.repeat(posteriors(samples.x[:, self.column], self.sure)[None], 2, 0)

    def shares(self, samples: CodedSamples) -> Any:
        scores = self.scores(samples)
        return unmixed_shares(self.calibrations(), [scores[:, samples.y == k] for k in range(2)])


def made(n: int = 8000) -> tuple[CodedSamples, np.ndarray]:
    """Samples of two classes with their groups; what the two readers see is independent within a group."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    s = (rng.random(n) < np.array([0.25, 0.8])[y]).astype(int)
    x = rng.normal((2 * s - 1)[:, None], 1.0, (n, 2))
    return CodedSamples(x, y, {}, "", {}), s


def masses(samples: CodedSamples, s: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of group 1 in each class."""
    return np.array(
        [np.average(s[samples.y == k], weights=weights[samples.y == k]) for k in range(2)]
    )


@pytest.mark.parametrize("sure", [0.8, 1.0])
def test_the_second_reader_finds_the_wanted_shares_however_sure_the_first_one_is(sure):
    samples, s = made()
    reader, checker = Reader(0, sure, 1), Reader(1, 1.0, 2)
    repair = reweigh(reader, samples, WANTED, weights="checked", checker=checker)
    assert masses(samples, s, repair.weights) == pytest.approx(WANTED[:, 1], abs=0.04)
    assert repair.after == pytest.approx(WANTED, abs=0.02)
    for k in range(2):
        assert repair.weights[samples.y == k].mean() == pytest.approx(1)


def test_without_it_a_first_reader_that_is_unsure_of_samples_leaves_a_part():
    samples, s = made()
    repair = reweigh(Reader(0, 0.8, 1), samples, WANTED)
    assert (abs(masses(samples, s, repair.weights) - WANTED[:, 1]) > 0.06).any()


def test_what_was_solved_for_holds_for_further_samples():
    samples, s = made()
    reader, checker = Reader(0, 0.8, 1), Reader(1, 1.0, 2)
    found = reweigh(reader, samples, WANTED, weights="checked", checker=checker)
    few = np.arange(60)
    part = CodedSamples(samples.x[few], samples.y[few], {}, "", {})
    again = reweigh(reader, part, WANTED, weights="checked", checker=checker, parts=found.parts)
    np.testing.assert_array_equal(again.parts, found.parts)
    whole = reweigh(reader, samples, WANTED, weights="checked", checker=checker, parts=found.parts)
    np.testing.assert_array_equal(whole.weights, found.weights)


def test_both_shares_of_the_report_are_what_the_second_reader_reads():
    samples, s = made()
    repair = reweigh(
        Reader(0, 0.8, 1), samples, WANTED, weights="checked", checker=Reader(1, 1.0, 2)
    )
    assert repair.before[:, 1] == pytest.approx(masses(samples, s, np.ones(len(s))), abs=0.04)


def test_a_first_reader_that_tells_nothing_is_refused():
    samples, _ = made()
    with pytest.raises(
        UserError, match="'s' takes for different groups looks alike to a second reader"
    ):
        reweigh(Reader(0, 0.0, 1), samples, WANTED, weights="checked", checker=Reader(1, 1.0, 2))


def test_what_no_weights_reach_comes_as_near_as_there_is():
    samples, s = made()
    repair = reweigh(
        Reader(0, 0.5, 1), samples, WANTED[::-1], weights="checked", checker=Reader(1, 1.0, 2)
    )
    assert abs(repair.after[0, 1] - WANTED[1, 1]) > 0.05
    before, after = masses(samples, s, np.ones(len(s))), masses(samples, s, repair.weights)
    assert (abs(after - WANTED[::-1, 1]) < abs(before - WANTED[::-1, 1])).all()


def test_what_a_repair_aims_at():
    table = np.array([[10, 30], [20, 40]])  # groups by classes
    np.testing.assert_allclose(wanted_shares(table, "equal"), np.full((2, 2), 1 / 2))
    np.testing.assert_allclose(wanted_shares(table, "independent"), [[0.4, 0.6], [0.4, 0.6]])
    np.testing.assert_allclose(wanted_shares(table, "reference"), [[1 / 3, 2 / 3], [3 / 7, 4 / 7]])
    three = wanted_shares(np.array([[1, 2, 3], [4, 5, 6]]), "independent")
    np.testing.assert_allclose(three, [[6 / 21, 15 / 21]] * 3)
