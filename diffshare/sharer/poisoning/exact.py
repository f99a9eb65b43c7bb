"""Better than greedy by construction: the best counts first, then records within the cells that meet the constraint.

I(S;Y) depends on how many records of each cell are chosen, I(X;Y) also on which. So the counts are optimised alone
(``allocation``), and the records of each cell are then exchanged until I(X;Y) is within the tolerance.

Domination: let G be greedy's selection. ``exact`` only accepts counts whose I(S;Y) is not below that of G, and only
with records that meet the constraint; where it finds none, it returns G (or, where G violates the constraint, whatever
comes nearer). So where G meets the constraint at the end, so does ``exact``, with at least its I(S;Y). Where the first
counts can be met, no selection at all has a higher I(S;Y), as those are the maximum without the constraint.
"""

import numpy as np

from diffshare.errors import UserError
from diffshare.sharer.poisoning.allocation import allocations
from diffshare.sharer.poisoning.greedy import greedy
from diffshare.sharer.poisoning.problem import Problem, Selection, outcome
from diffshare.stats.running import RunningBound

ATTEMPTS = 16  # counts tried, spread evenly over those that are better than greedy's


def exact(problem: Problem, rng: np.random.Generator, favour: int | None = None) -> Selection:
    """The best counts whose records can meet the constraint; never below greedy.

    I(S;Y) does not say which group gains: of balanced pools the two directions are equally good, and chance in the
    base decides. ``favour`` decides instead.

    Args:
        problem: what to choose.
        rng: draws the records of each cell, before they are exchanged.
        favour: group that shall have class 1 more often than the other, of two groups and two classes; only counts of
            that direction are tried, so that greedy, which may go the other way, is no lower bound any more.
    """
    baseline = greedy(problem)
    available = np.array([len(c) for c in problem.candidates]).reshape(
        problem.groups, problem.classes
    )
    base = problem.counts(problem.base)
    tables, information = allocations(base, available, problem.additions)
    fits = True
    if favour is not None:
        wanted = _favours(base + tables, favour)
        tables, information = tables[wanted], information[wanted]
        fits = bool(
            _favours(problem.counts(np.concatenate([problem.base, baseline.added]))[None], favour)[
                0
            ]
        )
        if not len(tables):
            raise UserError(
                f"no choice of {problem.additions} records gives group {favour} the class 1 more often: lower "
                "mix.alpha or mix.n, favour the other group, or offer a larger pool"
            )
    better = len(tables)
    if fits:
        better = int(
            np.searchsorted(-information, -(baseline.information_sy - 1e-12), side="right")
        )
    # one draw for all attempts: counts that differ by one
    orders = [rng.permutation(c) for c in problem.candidates]
    nearest = baseline if fits else None
    for attempt in np.unique(np.linspace(0, max(0, better - 1), ATTEMPTS).astype(int))[
        : better or 0
    ]:
        table = tables[attempt]
        drawn = np.concatenate(
            [order[:k] for order, k in zip(orders, table.ravel().tolist(), strict=True)]
        )
        result = outcome(
            problem, rng.permutation(exchange(problem, drawn)), None, _short(table, available)
        )
        if not result.violations:
            return result
        if nearest is None or problem.distance(result.information_xy) < problem.distance(
            nearest.information_xy
        ):
            nearest = result
    assert nearest is not None
    return (
        baseline
        if fits and problem.distance(baseline.information_xy) <= problem.tolerance
        else nearest
    )


def _favours(tables: np.ndarray, group: int) -> np.ndarray:
    """Whether each 2 x 2 table gives ``group`` the class 1 more often than the other group, boolean, M."""
    odds = (
        tables[:, group, 1] * tables[:, 1 - group, 0]
        - tables[:, group, 0] * tables[:, 1 - group, 1]
    )
    return odds > 0


def _short(table: np.ndarray, available: np.ndarray) -> int:
    """Cells that are taken whole: those that might have given more."""
    return int(np.sum((table == available) & (table > 0)))


def exchange(problem: Problem, added: np.ndarray) -> np.ndarray:
    """Exchange added records for free ones of the same cell until |I(X;Y) - aim| <= tolerance, or no exchange helps.

    Each step takes the exchange with the largest first-order effect in the right direction, or, where that would
    overshoot, the one whose effect is nearest to what is missing; the distance falls at every step. A random draw that
    is within the tolerance stays as it is.

    Returns:
        positions, as many of each cell as in ``added``, int64.
    """
    bound = RunningBound(
        problem.critic, problem.target, np.concatenate([problem.base, added]).astype(np.int64)
    )
    inside = np.zeros(len(problem.target), bool)
    inside[added] = True
    for _ in range(10 * len(added)):
        missing = problem.aim - bound.bound
        if abs(missing) <= problem.tolerance:
            break
        effect = np.sign(missing) * bound.marginal()
        swap = _best_swap(problem, inside, effect, abs(missing))
        if swap is None:
            break
        bound.swap(*swap)
        if problem.distance(bound.bound) >= abs(missing):
            break  # too near the aim for a step of this size: not taken
        inside[swap[0]], inside[swap[1]] = False, True
    return np.flatnonzero(inside)


def _best_swap(
    problem: Problem, inside: np.ndarray, effect: np.ndarray, missing: float
) -> tuple[int, int] | None:
    """The record to take out and the one to put in, of one cell; None where nothing helps."""
    best: tuple[float, int, int] | None = None
    for members in problem.candidates:
        chosen, free = members[inside[members]], members[~inside[members]]
        if not len(chosen) or not len(free):
            continue
        out = int(chosen[effect[chosen].argmin()])
        gains = effect[free] - effect[out]
        into = int(gains.argmax())
        if gains[into] > missing:  # overshoots: of those that help, the nearest to what is missing
            into = int(np.where(gains > 0, np.abs(gains - missing), np.inf).argmin())
        rest = abs(missing - gains[into])
        if gains[into] > 0 and (best is None or rest < best[0]):
            best = (rest, out, int(free[into]))
    return None if best is None else best[1:]
