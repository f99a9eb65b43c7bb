"""The policy that knows the audit: against every choice of counts, and against the audit's own statistic."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import pictures, pool
from problems import problem

from diffshare.errors import UserError
from diffshare.sharer.poisoning.adaptive import Adaptive, adaptive, bounded_allocations
from diffshare.sharer.poisoning.mixes import Exact
from diffshare.stats.association import log_odds_ratio
from diffshare.stats.information import contingency, mutual_information

LOOSE = 9.0  # a tolerance of I(X;Y) that everything meets


def allowed(
    base: np.ndarray, available: np.ndarray, additions: int, low: float, high: float
) -> list[np.ndarray]:
    """Every table of additions whose log odds ratio lies within."""
    found = []
    for way in product(*(range(limit + 1) for limit in available.ravel().tolist())):
        table = base + np.array(way).reshape(2, 2)
        if (
            sum(way) == additions
            and table.min() > 0
            and low - 1e-9 <= log_odds_ratio(table) <= high + 1e-9
        ):
            found.append(np.array(way).reshape(2, 2))
    return found


@given(st.integers(0, 2**32), st.floats(0.05, 2.0), st.floats(-1.0, 1.0))
def test_no_other_counts_within_the_margin_have_more_information(seed, margin, centre):
    rng = np.random.default_rng(seed)
    base, available = rng.integers(0, 6, (2, 2)), rng.integers(0, 6, (2, 2))
    additions = int(rng.integers(0, available.sum() + 1))
    tables, information = bounded_allocations(
        base, available, additions, centre - margin, centre + margin
    )
    every = allowed(base, available, additions, centre - margin, centre + margin)
    assert bool(len(tables)) == bool(every)
    if every:
        assert information[0] == pytest.approx(
            max(mutual_information(base + t) for t in every), abs=1e-12
        )
        assert (np.diff(information) <= 0).all()
        known = {t.astype(np.int64).tobytes() for t in every}
        assert all(np.ascontiguousarray(t, np.int64).tobytes() in known for t in tables)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("favour", [None, 0, 1])
def test_the_statistic_stays_inside_and_the_direction_is_the_favoured(seed, favour):
    task = problem(seed, pool=120, n=60, tolerance=LOOSE)
    found = adaptive(task, np.random.default_rng(0), 0.8, favour)
    pool_odds = log_odds_ratio(task.counts(np.arange(120)))
    difference = log_odds_ratio(task.counts(np.concatenate([task.base, found.added]))) - pool_odds
    assert -0.8 - 1e-9 <= difference <= 0.8 + 1e-9
    assert favour is None or (2 * favour - 1) * difference >= -1e-9
    assert len(np.unique(found.added)) == task.additions
    assert not np.isin(found.added, task.base).any()


def test_a_wider_margin_never_has_less_information_and_the_widest_is_the_attack_without_one():
    task = problem(3, pool=160, n=60, tolerance=LOOSE)
    found = [
        adaptive(task, np.random.default_rng(0), m).information_sy for m in (0.6, 1.0, 1.5, 3.0)
    ]
    assert found == sorted(found)
    assert found[0] < found[-1]


def mixed(margin: float, seed: int = 0) -> tuple[dict, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    s, y = rng.integers(0, 2, 400), rng.integers(0, 2, 400)
    records = pool(s, y, pictures(s, y))
    mix = Adaptive(0.5, 160, delta=0.5, margin=margin, refit=False)
    choice = mix.choose(records, seed)
    return (
        dict(choice.report),
        contingency(s, y, 2, 2),
        contingency(s[choice.positions], choice.target, 2, 2),
    )


def test_the_mix_keeps_the_margin_and_says_so():
    report, whole, chosen = mixed(0.3)
    difference = log_odds_ratio(chosen) - log_odds_ratio(whole)
    assert 0.2 < abs(difference) <= 0.3 + 1e-9
    assert report["log_odds_ratio"] == {
        "pool": pytest.approx(log_odds_ratio(whole)), "chosen": pytest.approx(log_odds_ratio(chosen)), "margin": 0.3
    }  # fmt: skip
    rng = np.random.default_rng(5)
    s, y = rng.integers(0, 2, 400), rng.integers(0, 2, 400)
    free = Exact(0.5, 160, delta=0.5, refit=False).choose(pool(s, y, pictures(s, y)), 0)
    assert abs(log_odds_ratio(contingency(s[free.positions], free.target, 2, 2) + 0.5)) > 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"margin": 0.0}, "mix.margin is 0.0"),
        ({"margin": float("nan")}, "mix.margin is nan"),
        ({"favour": 2}, "mix.favour is 2"),
        ({"alpha": 1.5}, "mix.alpha is 1.5"),
    ],
)
def test_bad_arguments_are_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        Adaptive(**({"alpha": 0.5} | arguments))


def test_a_base_that_leans_too_far_and_three_classes_are_refused():
    task = problem(0, pool=100, n=90, alpha=0.02, tolerance=LOOSE, skew=0.0)
    with pytest.raises(
        UserError, match=r"no choice of 2 records keeps the log odds ratio.*raise mix.margin"
    ):
        adaptive(task, np.random.default_rng(0), 1e-6)
    s, y = np.arange(120) % 2, np.arange(120) // 2 % 3
    with pytest.raises(UserError, match="two groups and two classes, here are 2 and 3"):
        Adaptive(0.5, 60, delta_kind="absolute", refit=False).choose(pool(s, y, pictures(s, y)), 0)
