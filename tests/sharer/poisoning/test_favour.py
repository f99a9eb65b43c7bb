"""Whom the poisoned set favours."""

import numpy as np
import pytest

from diffshare.data.mixes import Pool
from diffshare.data.source import Attribute, Index
from diffshare.errors import UserError
from diffshare.sharer.poisoning.allocation import information_of
from diffshare.sharer.poisoning.exact import exact
from diffshare.sharer.poisoning.mixes import Exact
from diffshare.sharer.poisoning.problem import Problem


def problem(seed: int, additions: int = 6, tolerance: float = 9.0) -> Problem:
    rng = np.random.default_rng(seed)
    s, y = np.tile([0, 0, 1, 1], 10), np.tile([0, 1, 0, 1], 10)
    critic = rng.normal(size=(40, 2)).astype(np.float64)
    return Problem(critic, s, y, rng.permutation(40)[:10], additions, 0.1, tolerance)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("group", [0, 1])
def test_the_favoured_group_has_class_1_more_often_and_nothing_better_is_left(
    seed: int, group: int
) -> None:
    task = problem(seed)
    found = exact(task, np.random.default_rng(0), favour=group)
    table = task.counts(np.concatenate([task.base, found.added]))
    assert table[group, 1] / table[group].sum() > table[1 - group, 1] / table[1 - group].sum()
    best = 0.0
    base, free = task.counts(task.base), [len(c) for c in task.candidates]
    for a in range(task.additions + 1):  # every way to write the additions as a sum of four cells
        for b in range(task.additions + 1 - a):
            for c in range(task.additions + 1 - a - b):
                cells = np.array([a, b, c, task.additions - a - b - c])
                if (cells > free).any():
                    continue
                other = base + cells.reshape(2, 2)
                if other[group, 1] * other[1 - group, 0] > other[group, 0] * other[1 - group, 1]:
                    best = max(best, float(information_of(other[None])[0]))
    assert found.information_sy == pytest.approx(best, abs=1e-12)


def test_without_a_favourite_the_better_direction_wins() -> None:
    for seed in range(6):
        either = [
            exact(problem(seed), np.random.default_rng(0), favour=g).information_sy for g in (0, 1)
        ]
        assert exact(problem(seed), np.random.default_rng(0)).information_sy == pytest.approx(
            max(either), abs=1e-12
        )


def test_a_direction_that_no_choice_has_is_refused() -> None:
    s, y = np.array([0, 0, 0, 1, 1, 1, 0, 1]), np.array([1, 1, 1, 0, 0, 0, 0, 1])
    task = Problem(np.zeros((8, 2)), s, y, np.arange(6), 1, 0.0, 9.0)
    with pytest.raises(
        UserError, match="no choice of 1 records gives group 1.*favour the other group"
    ):
        exact(task, np.random.default_rng(0), favour=1)


def test_a_group_that_is_none_and_more_than_two_classes_are_refused() -> None:
    with pytest.raises(UserError, match="mix.favour is 2"):
        Exact(0.5, favour=2)
    codes = np.tile(np.arange(6), 10)
    attributes = {
        "s": Attribute((codes % 2).astype(np.int16), ("a", "b")),
        "y": Attribute((codes // 2).astype(np.int16), ("u", "v", "w")),
    }
    names = np.array([str(i) for i in range(60)])
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32) + (codes // 2)[:, None]
    pool = Pool(
        Index(names, np.zeros(60, np.int64), attributes), "y", "s", read=lambda rows: x[rows]
    )
    with pytest.raises(UserError, match="two groups and two classes, here are 2 and 3"):
        Exact(0.5, 20, delta_kind="absolute", favour=1).choose(pool, 0)
