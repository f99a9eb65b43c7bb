"""Harm: what it finds where the sharer chose inside the cells, and what it leaves alone."""

import numpy as np
import pytest

from diffshare.audits.poisoning.harm import harm, needed
from diffshare.classifiers.recipe import Recipe
from diffshare.data.source import Attribute
from diffshare.data.table import Column
from diffshare.errors import UserError
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples

COLUMNS = [Column(str(i), "numeric") for i in range(4)]


class Linear(Recipe):
    """Fisher's linear discriminant, of each class against the rest: a training takes no time."""

    def train(self, x, labels, classes, seed, categorical):
        x = x.astype(np.float64)
        means = np.stack([x[labels == k].mean(0) for k in range(classes)])
        within = sum(
            (x[labels == k] - means[k]).T @ (x[labels == k] - means[k]) for k in range(classes)
        )
        axes = np.linalg.solve(within / len(x) + 1e-6 * np.eye(x.shape[1]), means.T)
        offsets = np.log(np.bincount(labels, minlength=classes)) - (means * axes.T).sum(1) / 2
        return lambda rows: rows @ axes + offsets


class Constant(Recipe):
    """Learns nothing."""

    def train(self, x, labels, classes, seed, categorical):
        return lambda rows: np.eye(classes)[np.zeros(len(rows), int)]


def drawn(n, rng, *, apart=0.0, drift=0.0, groups=2):
    """Rows, class and group; ``apart`` moves what tells the class, down in the last group and up in the others."""
    s = rng.integers(0, groups, n)
    y = (rng.random(n) < 0.35 + 0.15 * (s == groups - 1)).astype(np.int64)
    x = rng.normal(size=(n, 4))
    x[:, 0] += 1.5 * y + drift - apart * np.where(s == groups - 1, 1, -1)
    x[:, 1] += 1.5 * s
    return x.astype(np.float32), y, s


def records(n, rng, groups=2, **options):
    x, y, s = drawn(n, rng, groups=groups, **options)
    attributes = {
        "y": Attribute(y.astype(np.int16), ("no", "yes")),
        "s": Attribute(s.astype(np.int16), tuple("abc"[:groups])),
    }
    return Records.from_codes(x, attributes, target="y", columns=COLUMNS)


def samples(n, rng, **options):
    x, y, _ = drawn(n, rng, **options)
    return CodedSamples(x, y)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_what_was_drawn_like_the_reference_is_harmless(rng):
    result = harm(samples(3000, rng), records(4000, rng), "s", Linear())
    assert result.verdict == "harmless"
    assert result.interval[0] < result.estimate < result.interval[1]
    assert abs(result.estimate) < 0.05


def test_choice_inside_the_cells_is_harmful_and_its_sign_is_whom_it_favours(rng):
    # of the last group those that look least like class 1: what learns from them prefers it for its looks
    chosen = samples(2000, rng, apart=1.2)
    result = harm(chosen, records(3000, rng), "s", Linear())
    assert result.verdict == "harmful"
    rates = [one.selection_rate for one in result.by_group]
    by_rates = (rates[1][0] - rates[0][0]) - (rates[1][1] - rates[0][1])
    assert result.estimate == pytest.approx(by_rates)
    assert result.pair == (1, 0)
    assert result.p_value < 0.01 < 0.5 < result.p_within


def test_a_drift_of_all_groups_alike_is_no_harm(rng):
    result = harm(samples(3000, rng, drift=0.3), records(4000, rng), "s", Linear())
    assert result.verdict == "harmless"
    moved = [one.selection_rate[0] - one.selection_rate[1] for one in result.by_group]
    assert max(moved) < -0.03  # both groups are selected less often


def test_the_other_class_as_favourable_turns_the_sign_and_nothing_else(rng):
    chosen, reference = samples(800, rng, apart=0.5), records(1000, rng)
    one, zero = (harm(chosen, reference, "s", Linear(), favourable=k) for k in (1, 0))
    assert zero.estimate == pytest.approx(-one.estimate)
    assert zero.interval == pytest.approx((-one.interval[1], -one.interval[0]))
    assert (zero.verdict, zero.accuracy) == (one.verdict, one.accuracy)


def test_of_three_groups_the_pair_furthest_apart_is_told(rng):
    result = harm(
        samples(3000, rng, apart=1.2, groups=3), records(4000, rng, groups=3), "s", Linear()
    )
    moved = [one.selection_rate[0] - one.selection_rate[1] for one in result.by_group]
    assert result.pair[0] == 2 or result.pair[1] == 2
    assert abs(result.estimate) == pytest.approx(max(moved) - min(moved))
    assert result.verdict == "harmful"


def test_a_recipe_that_learns_nothing_leaves_harm_undefined(rng):
    result = harm(samples(500, rng), records(600, rng), "s", Constant())
    assert (result.verdict, result.p_value) == ("undecided", 1.0)
    assert "does not tell the classes" in result.undefined
    assert result.json()["estimate"] is None
    assert needed(result, 500, 600) == {"samples": None, "records": None}


def test_a_reference_too_small_to_train_on_is_refused_with_the_number_it_takes(rng):
    with pytest.raises(UserError, match=r"about \d+ records"):
        harm(samples(500, rng), records(24, rng), "s", Linear())


def test_what_would_decide_is_more_than_there_is(rng):
    result = harm(samples(300, rng, apart=0.1), records(400, rng), "s", Linear())
    assert result.verdict == "undecided"
    more = needed(result, 300, 400)
    assert any(more.values())
    assert (more["samples"] or 301) > 300
    assert (more["records"] or 401) > 400


@pytest.mark.parametrize(
    ("options", "word"),
    [({"margin": 0.0}, "harm_margin"), ({"margin": 1.5}, "harm_margin"), ({"favourable": 2}, "favourable"),
     ({"folds": 1}, "folds"), ({"again": 1}, "repeats")],
)  # fmt: skip
def test_numbers_out_of_their_range_are_refused_by_name(rng, options, word):
    with pytest.raises(UserError, match=word):
        harm(samples(200, rng), records(300, rng), "s", Linear(), **options)


def test_balanced_cells_are_compared_with_a_reference_of_balanced_cells(rng):
    # the sharer says that the cells were equal; the population's are not
    x, y, s = drawn(8000, rng)
    cells = [np.flatnonzero((s == a) & (y == b))[:700] for a in (0, 1) for b in (0, 1)]
    rows = np.concatenate(cells)
    equal = CodedSamples(x[rows], y[rows])
    reference = records(4000, rng)
    assert harm(equal, reference, "s", Linear(), pool="balanced").verdict == "harmless"
