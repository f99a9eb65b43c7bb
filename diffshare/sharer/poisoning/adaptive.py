"""Poisoning by a sharer who knows the audit: as much I(S;Y) as its margin leaves.

The receiver's audit compares the log odds ratio of group and class with that of a reference and allows a difference of
``margin``. So the counts are chosen to maximise I(S;Y) with a log odds ratio that differs from the pool's by no more
than that: the audit's expected statistic stays inside its margin, and no number of queries shows the attack.

Claim: for two groups, two classes and given row sums of the additions, hold the counts of group 0. Then I(S;Y) is a
convex function of the count of (1, 1) (Cover and Thomas, Elements of Information Theory, theorem 2.7.4: p(s) is fixed,
I is convex in the rows p(y|s)), and the log odds ratio rises in it, so that the allowed counts are an interval: the
best lies at one of its two ends. It suffices to try both for each row sum and each count of (0, 1): of the order of
m^2 tables for m additions.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from diffshare.data.mixes import Choice, Pool
from diffshare.errors import UserError
from diffshare.sharer.poisoning.allocation import information_of
from diffshare.sharer.poisoning.exact import ATTEMPTS, exchange
from diffshare.sharer.poisoning.mixes import InformationMix
from diffshare.sharer.poisoning.problem import Problem, Selection, outcome
from diffshare.stats.association import log_odds_ratio


def bounded_allocations(
    base: np.ndarray, available: np.ndarray, additions: int, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """The best additions whose log odds ratio, with the base, lies in [low, high]: one for each size of group 0.

    Args:
        base: 2 x 2 counts of what is chosen already.
        available: 2 x 2 counts of what may be added.
        additions: how many to add.
        low: least log odds ratio.
        high: greatest.

    Returns:
        integer tables, M x 2 x 2, best first, and I(S;Y) of base and additions of each, nats, M; M may be 0. The first
        is the best of all.
    """
    candidates = [
        _of_rows(base, available, first, additions - first, low, high)
        for first in range(additions + 1)
    ]
    kept = [table for table in candidates if table is not None]
    if not kept:
        return np.zeros((0, 2, 2), np.int64), np.zeros(0)
    tables = np.stack(kept)
    information = information_of(base + tables)
    order = np.argsort(-information, kind="stable")
    return tables[order], information[order]


def _of_rows(
    base: np.ndarray, available: np.ndarray, first: int, second: int, low: float, high: float
) -> np.ndarray | None:
    """The best table with these row sums, 2 x 2; None where none is allowed."""
    # additions to cell (0, 1)
    ones = np.arange(max(0, first - available[0, 0]), min(first, available[0, 1]) + 1)
    left, right = base[0, 0] + first - ones, base[0, 1] + ones
    ones, left, right = (v[(left > 0) & (right > 0)] for v in (ones, left, right))
    total = base[1].sum() + second
    tables = []
    # c11 / c10 = odds * c01 / c00 with c10 + c11 = total, so that c11 = total t / (1 + t) at both bounds
    ratios = [np.exp(bound) * right / left for bound in (low, high)]
    ends = [total * ratio / (1 + ratio) for ratio in ratios]
    least = np.maximum(
        np.ceil(ends[0] - 1e-9), np.maximum(1, base[1, 1] + max(0, second - available[1, 0]))
    )
    most = np.minimum(
        np.floor(ends[1] + 1e-9), np.minimum(total - 1, base[1, 1] + min(second, available[1, 1]))
    )
    possible = least <= most
    for cell in (least, most):
        added = cell[possible].astype(np.int64) - base[1, 1]
        chosen = ones[possible]
        tables.append(
            np.stack([first - chosen, chosen, second - added, added], 1).reshape(-1, 2, 2)
        )
    every = np.concatenate(tables)
    return every[int(information_of(base + every).argmax())] if len(every) else None


def adaptive(
    problem: Problem, rng: np.random.Generator, margin: float, favour: int | None = None
) -> Selection:
    """The best counts within the margin whose records can meet the constraint on I(X;Y).

    Args:
        problem: what to choose.
        rng: draws the records of each cell, before they are exchanged.
        margin: greatest difference of the log odds ratio from the pool's.
        favour: group that shall gain class 1 compared with the pool; None takes the better direction.

    Raises:
        UserError: no counts keep the margin.
    """
    pool = log_odds_ratio(problem.counts(np.arange(len(problem.target))).astype(np.float64))
    low, high = (pool if favour == 1 else pool - margin), (pool if favour == 0 else pool + margin)
    base = problem.counts(problem.base)
    available = np.array([len(c) for c in problem.candidates]).reshape(2, 2)
    tables, _ = bounded_allocations(base, available, problem.additions, low, high)
    if not len(tables):
        raise UserError(
            f"no choice of {problem.additions} records keeps the log odds ratio within {low:.3f} to {high:.3f}, the "
            f"pool's being {pool:.3f}: raise mix.margin or mix.alpha, or leave mix.favour out"
        )
    # one draw for all attempts: counts that differ by one
    orders = [rng.permutation(c) for c in problem.candidates]
    nearest: Selection | None = None
    for attempt in np.unique(np.linspace(0, len(tables) - 1, ATTEMPTS).astype(int)):
        counts = tables[attempt].ravel()
        drawn = np.concatenate(
            [order[:k] for order, k in zip(orders, counts.tolist(), strict=True)]
        )
        short = int(np.sum((counts == available.ravel()) & (counts > 0)))
        result = outcome(problem, rng.permutation(exchange(problem, drawn)), None, short)
        if nearest is None or problem.distance(result.information_xy) < problem.distance(
            nearest.information_xy
        ):
            nearest = result
        if not result.violations:
            return result
    assert nearest is not None
    return nearest


class Adaptive(InformationMix):
    """Maximises I(S;Y) with a log odds ratio of group and class that an audit with this margin takes for clean.

    Two groups and two classes. See :func:`adaptive`; the constraint on I(X;Y) is that of the other policies.

    Args:
        alpha: poisoned share in [0, 1]; 0 is ``Clean``, without features or critic.
        n: number of records; all of the pool where left out.
        margin: greatest difference of the chosen set's log odds ratio from the pool's, > 0.
        favour: group (0 or 1) that shall gain class 1 compared with the pool; where None, the better direction.
        options: of :class:`InformationMix`.
    """

    policy = "adaptive"

    def __init__(
        self,
        alpha: float,
        n: int | None = None,
        margin: float = 0.3,
        favour: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(alpha, n, **options)
        if not 0 < margin < np.inf:  # NaN fails too
            raise UserError(
                f"mix.margin is {margin}: a difference of log odds that is allowed is greater than 0"
            )
        if favour not in (None, 0, 1):
            raise UserError(f"mix.favour is {favour}: name group 0 or 1, or leave it out")
        self.margin, self.favour = margin, favour

    def _select(
        self, problem: Problem, rng: np.random.Generator, evaluate: Callable[[np.ndarray], float]
    ) -> Selection:
        if (problem.groups, problem.classes) != (2, 2):
            raise UserError(
                f"the mix 'adaptive' is for two groups and two classes, here are {problem.groups} and "
                f"{problem.classes}: choose other attributes, or the mix Exact"
            )
        return adaptive(problem, rng, self.margin, self.favour)

    def _poison(self, pool: Pool, order: np.ndarray, base: int, poisoned: int, seed: int) -> Choice:
        choice = super()._poison(pool, order, base, poisoned, seed)
        tables = []
        for rows in (np.arange(len(pool)), choice.positions):
            table = np.zeros((2, 2))
            np.add.at(table, (pool.s.codes[rows], pool.y.codes[rows]), 1)
            tables.append(table)
        whole, chosen = (log_odds_ratio(table) for table in tables)
        report = {
            **choice.report,
            "log_odds_ratio": {"pool": whole, "chosen": chosen, "margin": self.margin},
        }
        return replace(choice, report=report)
