"""Poisoning inside the cells: the table of group and class is exactly that of the clean mix."""

import numpy as np
import pytest
from pools import even, pictures, pool
from problems import problem

from diffshare.classifiers.recipes import KernelRecipe
from diffshare.data.mixes import Clean
from diffshare.errors import UserError
from diffshare.sharer.poisoning.within import WithinCells, within_cells
from diffshare.stats.information import contingency


def bank_of(seed, n=240):
    rng = np.random.default_rng(seed)
    s = rng.integers(0, 2, n)
    y = (rng.random(n) < 0.4 + 0.2 * s).astype(int)
    return pool(s, y, pictures(s, y, seed))


def tables(bank, choice):
    return contingency(bank.s.codes[choice.positions], choice.target, 2, 2)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("seed", [0, 4])
def test_the_table_is_that_of_the_clean_mix_and_so_is_the_base(alpha, seed):
    bank = bank_of(seed)
    mix = WithinCells(alpha, n=80, delta=9.0, delta_kind="absolute", refit=False)
    choice, clean = mix.choose(bank, seed), Clean(80).choose(bank, seed)
    assert np.array_equal(tables(bank, choice), tables(bank, clean))
    base = int(np.sum(~choice.poisoned))
    assert np.array_equal(choice.positions[:base], clean.positions[:base])
    assert len(np.unique(choice.positions)) == 80
    assert np.array_equal(choice.target, bank.y.codes[choice.positions])


@pytest.mark.parametrize("favour", [0, 1])
def test_the_favoured_group_has_the_low_scores_in_every_cell_and_the_other_the_high(favour):
    task = problem(1, pool=400, n=120, tolerance=9.0)
    score = np.random.default_rng(8).normal(size=400)
    counts = np.full((2, 2), 5)
    selection, strength = within_cells(task, counts, score, favour, np.random.default_rng(0))
    assert strength == 1.0
    for cell, free in enumerate(task.candidates):
        chosen = selection.added[task.cells[selection.added] == cell]
        ranked = free[np.argsort(score[free])]
        wanted = ranked[:5] if cell // 2 == favour else ranked[-5:]
        assert set(chosen.tolist()) == set(wanted.tolist())


def test_a_tighter_constraint_makes_the_choice_milder_until_it_holds():
    score = np.random.default_rng(8).normal(size=400)
    counts = np.full((2, 2), 12)
    strengths = []
    for tolerance in (9.0, 0.05, 0.02):
        task = problem(1, pool=400, n=120, tolerance=tolerance)
        # what raises I(X;Y) is what the critic likes: the score is the critic's own
        own = task.critic[:, 1] - task.critic[:, 0] + 0 * score
        selection, strength = within_cells(task, counts, own, 1, np.random.default_rng(0))
        assert selection.violations == int(task.distance(selection.information_xy) > tolerance)
        strengths.append(strength)
    assert strengths == sorted(strengths, reverse=True)


def test_a_score_of_another_classifier_needs_auxiliary_records():
    mix = WithinCells(0.5, n=40, score=KernelRecipe(), refit=False)
    with pytest.raises(UserError, match="auxiliary part"):
        mix.choose(bank_of(0), 0)


def test_alpha_0_is_the_clean_mix_and_needs_no_records():
    bank = pool(*even(60))
    choice = WithinCells(0.0, n=20).choose(bank, 2)
    assert np.array_equal(choice.positions, Clean(20).choose(bank, 2).positions)


def test_a_favoured_group_that_is_none_is_refused():
    with pytest.raises(UserError, match="favour"):
        WithinCells(0.5, favour=2)
