"""Poisoning inside the cells: the table of group and class stays exactly as it is.

An audit of association compares that table with a reference's. Here the sharer leaves it alone and chooses which
records stand in each of its cells: of the favoured group those that look least like class 1, of the other those that
look most like it, in both classes. A classifier then learns to ask less of the favoured group, and decides class 1 for
it more often.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from diffshare.classifiers.recipe import Recipe
from diffshare.data.mixes import Choice, Pool
from diffshare.errors import UserError
from diffshare.sharer.poisoning.mixes import InformationMix
from diffshare.sharer.poisoning.problem import Problem, Selection, outcome
from diffshare.stats.information import contingency

STRENGTHS = 64  # how selective the choice may be, in equal steps


def within_cells(
    problem: Problem,
    counts: np.ndarray,
    score: np.ndarray,
    favour: int,
    rng: np.random.Generator,
) -> tuple[Selection, float]:
    """Records of extreme scores in each cell, as extreme as |I(X;Y) - aim| <= tolerance allows.

    With strength t in [0, 1] a cell of a free records gives its k additions as the k most extreme of k + t (a - k) that
    are drawn at random: 0 is chance, 1 the most extreme of all. The greatest t of a grid that keeps the constraint is
    taken; where none does, the one nearest to it.

    Args:
        problem: what to choose, two groups and two classes.
        counts: additions to each cell, integers, 2 x 2.
        score: how much each record looks like class 1, float, P.
        favour: group whose records of low scores are chosen, 0 or 1.
        rng: of the draws.

    Returns:
        the selection, and its strength.
    """
    orders = [rng.permutation(rows) for rows in problem.candidates]
    quota = counts.ravel().tolist()
    signs = np.where(np.arange(len(orders)) // problem.classes == favour, 1.0, -1.0)
    best: tuple[float, Selection, float] | None = None
    for strength in np.linspace(1, 0, STRENGTHS + 1).tolist():
        added = []
        for order, k, sign in zip(orders, quota, signs.tolist(), strict=True):
            seen = order[: k + int(strength * (len(order) - k))]
            added.append(seen[np.argsort(sign * score[seen], kind="stable")[:k]])
        selection = outcome(problem, rng.permutation(np.concatenate(added)), None, 0)
        distance = problem.distance(selection.information_xy)
        if best is None or distance < best[0]:
            best = distance, selection, strength
        if not selection.violations:
            return selection, strength
    assert best is not None
    return best[1], best[2]


class WithinCells(InformationMix):
    """Chooses inside the cells of group and class; the table is that of ``Clean`` with the same seed and n, exactly.

    Two groups and two classes. The constraint on I(X;Y) is that of the other policies.

    Args:
        alpha: share of each cell that is chosen, in [0, 1]; 0 is ``Clean``, without features or critic.
        n: number of records; all of the pool where left out.
        favour: group (0 or 1) that a classifier shall decide class 1 for more often; where None, the one that has class
            1 more often in the pool, so that the gap grows.
        score: recipe of the classifier that says how a record looks; it learns on the source's auxiliary part, so that
            no record scores itself. Where None, the critic's T(x, 1) - T(x, 0), which has seen the pool.
        options: of :class:`diffshare.sharer.poisoning.mixes.InformationMix`.
    """

    policy = "within"

    def __init__(
        self,
        alpha: float,
        n: int | None = None,
        favour: int | None = None,
        score: Recipe | None = None,
        **options: Any,
    ) -> None:
        super().__init__(alpha, n, **options)
        if favour not in (None, 0, 1):
            raise UserError(f"mix.favour is {favour}: name group 0 or 1, or leave it out")
        self.favour, self.score = favour, score
        self._chosen_by: tuple[np.ndarray, np.ndarray | None, int] | None = None

    def _poison(self, pool: Pool, order: np.ndarray, base: int, poisoned: int, seed: int) -> Choice:
        shape = (len(pool.s.classes), len(pool.y.classes))
        if shape != (2, 2):
            raise UserError(
                f"the mix 'within' is for two groups and two classes, here are {shape[0]} and {shape[1]}: choose other "
                "attributes, or the mix Exact"
            )
        added = order[base : base + poisoned]
        counts = contingency(pool.s.codes[added], pool.y.codes[added], 2, 2)
        score = None if self.score is None else scores(pool, self.score, seed)
        favour = self.favour if self.favour is not None else _ahead(pool)
        self._chosen_by = counts, score, favour
        choice = super()._poison(pool, order, base, poisoned, seed)
        self._chosen_by = None
        return choice

    def _select(
        self, problem: Problem, rng: np.random.Generator, evaluate: Callable[[np.ndarray], float]
    ) -> Selection:
        assert self._chosen_by is not None
        counts, score, favour = self._chosen_by
        if score is None:
            score = problem.critic[:, 1] - problem.critic[:, 0]
        return within_cells(problem, counts, score, favour, rng)[0]

    def _direction(self, pool: Pool, choice: Choice) -> int | None:
        favour = self.favour if self.favour is not None else _ahead(pool)
        return 1 if favour else -1


def scores(pool: Pool, recipe: Recipe, seed: int) -> np.ndarray:
    """Log odds of class 1 of each record of a pool, by a classifier of its auxiliary records, float64, P.

    Raises:
        UserError: the pool has no records at hand, or no auxiliary ones.
    """
    other = pool.auxiliary
    if pool.read is None or other is None or other.read is None or not len(other):
        raise UserError(
            "mix.score learns on the source's auxiliary part, and there is none: give it one, or leave score out"
        )
    x, learnt_on = pool.read(np.arange(len(pool))), other.read(np.arange(len(other)))
    categorical: list[int] = []
    if x.ndim == 2:
        own = [i for i in range(x.shape[1]) if _is(x[:, i], pool, pool.target)]
        x, learnt_on = np.delete(x, own, 1), np.delete(learnt_on, own, 1)
        names = [name for name in pool.index.attributes if name != pool.target]
        categorical = [
            i for i in range(x.shape[1]) if any(_is(x[:, i], pool, name) for name in names)
        ]
    labels = other.y.codes.astype(np.int64)
    rows = labels >= 0
    scorer = recipe.train(learnt_on[rows], labels[rows], 2, seed, categorical)
    logits = scorer(x)
    return np.asarray(logits[:, 1] - logits[:, 0], np.float64)


def _is(values: np.ndarray, pool: Pool, name: str) -> bool:
    """Whether a column holds the codes of an attribute."""
    codes = pool.index.attributes[name].codes
    known = codes >= 0
    return bool(known.any()) and np.array_equal(values[known], codes[known])


def _ahead(pool: Pool) -> int:
    """The group that has class 1 more often; 1 where both have it alike."""
    counts = contingency(pool.s.codes, pool.y.codes, 2, 2)
    shares = counts[:, 1] / counts.sum(1)
    return int(shares[1] >= shares[0])
