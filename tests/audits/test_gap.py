"""The predicted gap: agreement with Fairlearn on the reference, equal cells, and what the interval holds."""

from typing import Literal

import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference
from scipy.stats import t as student

from diffshare.audits.poisoning.gap import predict_gap, weighed
from diffshare.classifiers.recipes import KernelRecipe, Recipe, TableNetworkRecipe, TreesRecipe
from diffshare.data.source import Attribute
from diffshare.data.table import Column
from diffshare.errors import UserError
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples


class Line(Recipe):
    """Least squares: quick, and its training varies with the samples."""

    def __init__(self, ridge: float = 1e-3) -> None:
        self.ridge = ridge

    def train(self, x, labels, classes, seed, categorical):
        def wide(rows):
            return np.column_stack([rows, np.ones(len(rows))])

        a = wide(x)
        solution = np.linalg.solve(a.T @ a + self.ridge * np.eye(a.shape[1]), a.T @ (labels - 0.5))
        return lambda rows: np.stack([-wide(rows) @ solution, wide(rows) @ solution], 1)


def records(
    rng: np.random.Generator, n: int, tilt: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (group shows in column 0, class in column 1), classes, groups; P(y = s) = 1/2 + tilt."""
    s = rng.integers(0, 2, n)
    y = np.where(rng.random(n) < 0.5 + tilt, s, 1 - s)
    x = np.column_stack([s + rng.normal(0, 0.4, n), y + rng.normal(0, 0.8, n)]).astype(np.float32)
    return x, y, s


def reference(rng: np.random.Generator, n: int, tilt: float = 0.0) -> Records:
    x, y, s = records(rng, n, tilt)
    groups = {"group": Attribute(s.astype(np.int16), ("a", "b"))}
    columns = (Column("u", "numeric"), Column("v", "numeric"))
    return Records.from_codes(
        x,
        groups | {"class": Attribute(y.astype(np.int16), ("no", "yes"))},
        target="class",
        columns=columns,
    )


def samples(rng: np.random.Generator, n: int, tilt: float) -> CodedSamples:
    x, y, s = records(rng, n, tilt)
    return CodedSamples(x, y, {"group": s}, "", {})


def test_the_estimate_is_fairlearns_on_the_reference():
    rng = np.random.default_rng(0)
    known, made = reference(rng, 1500), samples(rng, 800, 0.3)
    found = predict_gap(made, known, "group", Line(), repeats=2)
    decided = Line().train(made.x, made.y, 2, 0, ())(known.x).argmax(1)
    s = known.attributes["group"].codes
    assert found.estimate == pytest.approx(
        demographic_parity_difference(known.y, decided, sensitive_features=s)
    )
    assert found.accuracy == pytest.approx((decided == known.y).mean())
    assert found.classifier == "Line(ridge=0.001)"
    assert found.signed == pytest.approx(decided[s == 1].mean() - decided[s == 0].mean())


def test_more_association_in_the_samples_makes_a_larger_gap():
    rng = np.random.default_rng(1)
    known = reference(rng, 2000)
    gaps = [
        predict_gap(samples(rng, 1500, tilt), known, "group", Line(), repeats=2).estimate
        for tilt in (0, 0.2, 0.4)
    ]
    assert gaps == sorted(gaps)
    assert gaps[0] < 0.1 < gaps[2]


def test_a_column_that_is_withheld_does_not_matter():
    rng = np.random.default_rng(2)
    known, made = reference(rng, 1500), samples(rng, 1500, 0.4)
    hidden = predict_gap(made, known, "group", Line(), repeats=2, withhold=("u",))
    assert hidden.estimate < predict_gap(made, known, "group", Line(), repeats=2).estimate


def test_the_interval_holds_the_gap_of_another_training_on_the_population():
    rng = np.random.default_rng(3)
    x, y, s = records(rng, 100_000, 0.0)
    held = 0
    for _ in range(60):
        found = predict_gap(samples(rng, 400, 0.2), reference(rng, 500), "group", Line(), repeats=4)
        other = samples(rng, 400, 0.2)
        decided = Line().train(other.x, other.y, 2, 0, ())(x).argmax(1)
        held += (
            found.interval[0]
            <= abs(decided[s == 1].mean() - decided[s == 0].mean())
            <= found.interval[1]
        )
    assert held / 60 >= 0.85  # 95 % less four standard errors of 60 trials, rounded


def test_the_interval_is_of_two_trainings_and_one_reference():
    rng = np.random.default_rng(5)
    found = predict_gap(
        samples(rng, 3000, 0.4), reference(rng, 3000), "group", Line(), repeats=4, level=0.9
    )
    variance = 2 * found.training_error**2 + found.reference_error**2
    # Satterthwaite 1946: the variance of three degrees of freedom among what is known well
    freedom = 3 * (variance / (2 * found.training_error**2)) ** 2
    half = student.ppf(0.95, freedom) * variance**0.5
    ends = found.estimate - half, found.estimate + half
    assert found.training_error > 0
    assert ends[0] > 0
    assert found.interval == pytest.approx(ends)


def test_balanced_cells_count_alike():
    counts = np.array([[[30, 10], [1, 3]], [[2, 2], [50, 150]]])
    made = weighed(counts, "balanced")
    assert made.sum(-1) == pytest.approx(np.ones((2, 2)))
    assert made[1, 1] == pytest.approx([0.25, 0.75])
    assert (weighed(counts, "natural") == counts).all()


def test_one_further_training_is_no_spread():
    rng = np.random.default_rng(4)
    with pytest.raises(UserError, match="at least 2"):
        predict_gap(samples(rng, 100, 0.0), reference(rng, 100), "group", Line(), repeats=1)


@pytest.mark.parametrize(
    "recipe", [TreesRecipe(trees=3), KernelRecipe(), TableNetworkRecipe(steps=2)]
)
@pytest.mark.parametrize("pool", ["natural", "balanced"])
def test_the_gap_of_a_few_is_a_number(recipe: Recipe, pool: Literal["natural", "balanced"]):
    """One record of each cell, one sample of each class."""
    groups = {"group": Attribute(np.array([0, 0, 1, 1], np.int16), ("a", "b"))}
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    columns = (Column("u", "numeric"), Column("v", "numeric"))
    known = Records.from_codes(
        x,
        groups | {"class": Attribute(np.array([0, 1, 0, 1], np.int16), ("no", "yes"))},
        target="class",
        columns=columns,
    )
    for made in (x[:2], np.zeros((2, 2), np.float32), np.full((2, 2), np.nan, np.float32)):
        few = CodedSamples(made, np.array([0, 1]), {}, "", {})
        found = predict_gap(few, known, "group", recipe, pool=pool, repeats=2)
        assert 0 <= found.interval[0] <= found.estimate <= found.interval[1] <= 1
        assert np.isfinite([found.accuracy, found.training_error, found.reference_error]).all()


def test_a_classifier_without_any_column_is_refused():
    rng = np.random.default_rng(3)
    with pytest.raises(UserError, match="no column is left to train the classifier on"):
        predict_gap(
            samples(rng, 100, 0.0), reference(rng, 100), "group", Line(), withhold=("u", "v")
        )
