"""The published objective, record by record: greedy over the whole pool, and the published algorithm as it stands.

Luo et al. 2024 (arXiv 2402.18607): order the cells (s, y) by the gain in I(S;Y); in the best, take the record whose new
I(X;Y) is nearest to the pool's; where that is outside delta, try the next cell.
"""

from collections.abc import Callable, Iterator

import numpy as np

from diffshare.sharer.poisoning.problem import Problem, Selection, outcome
from diffshare.stats.running import RunningBound, RunningCounts

SAME = 1e-12  # nats; gains and distances that are equal in theory differ by rounding


def _ranked(gains: np.ndarray) -> Iterator[list[int]]:
    """Cells by falling gain, those of equal gain together and ascending."""
    flat = gains.ravel()
    order = np.argsort(-flat, kind="stable").tolist()
    tier = [order[0]]
    for cell in order[1:]:
        if flat[tier[0]] - flat[cell] > SAME:
            yield sorted(tier)
            tier = []
        tier.append(cell)
    yield sorted(tier)


class _Cell:
    """The unused records of one cell, with what the bound needs of each side by side in memory."""

    def __init__(self, positions: np.ndarray, target: int, bound: RunningBound) -> None:
        self.positions, self.target, self.left = positions, target, len(positions)
        self.own = bound.own[positions]
        self.exponentials = np.ascontiguousarray(bound.exponentials[:, positions])
        # inf where used: added to a distance, it rules the record out
        self.used = np.zeros(len(positions))

    def nearest(self, bound: RunningBound, aim: float) -> tuple[float, int]:
        """Distance and place of the unused record that brings I(X;Y) nearest to the aim; the lowest place of equals."""
        distance = bound.after(self.target, self.own, self.exponentials)
        distance -= aim
        np.abs(distance, out=distance)
        distance += self.used
        place = int((distance <= distance.min() + SAME).argmax())
        return float(distance[place]), place

    def take(self, place: int) -> int:
        self.used[place] = np.inf
        self.left -= 1
        return int(self.positions[place])


def greedy(problem: Problem) -> Selection:
    """Add records one by one, each the best of the whole pool, by exact updates of both informations.

    Cells of equal gain are searched together. Of equally near records the one of higher gain, then of the lowest cell,
    then of the lowest position is taken. A used-up cell passes to the next best and is counted. A step at which no
    record of any cell keeps |I(X;Y) - aim| within the tolerance takes the record that exceeds it least, over all cells,
    and is counted as a violation. A step costs O(records of the searched cells).
    """
    bound = RunningBound(problem.critic, problem.target, problem.base)
    counts = RunningCounts(problem.counts(problem.base))
    cells = [_Cell(p, c % problem.classes, bound) for c, p in enumerate(problem.candidates)]
    added, trace, violations, exhausted = [], [], 0, 0
    for _ in range(problem.additions):
        best, passed = (np.inf, 0, 0), False  # distance, cell, place
        for tier in _ranked(counts.gains()):
            live = [c for c in tier if cells[c].left]
            passed |= len(live) < len(tier)
            for c in live:
                distance, place = cells[c].nearest(bound, problem.aim)
                if distance < best[0] - SAME:
                    best = (distance, c, place)
            if best[0] <= problem.tolerance:
                break
        distance, c, place = best
        violations += distance > problem.tolerance
        exhausted += passed
        record = cells[c].take(place)
        bound.add(record)
        counts.add(*divmod(c, problem.classes))
        added.append(record)
        trace.append(bound.bound)
    return outcome(problem, np.array(added, np.int64), int(violations), int(exhausted), trace)


def paper(
    problem: Problem,
    evaluate: Callable[[np.ndarray], float],
    rng: np.random.Generator,
    candidates: int = 100,
) -> Selection:
    """The published algorithm, its weaknesses included: the slow reference.

    Of each cell only ``candidates`` random unused records are looked at; I(X;Y) is evaluated over the whole set for
    each of them; of cells with equal gain all but the last are lost (gains are dictionary keys); where no cell meets
    the tolerance, the last candidate, of the worst cell, is taken. One thing is mended: a used-up cell is passed over
    instead of ending the program, and a step at which it had a higher gain than the cell taken is counted.

    Args:
        problem: what to choose; its ``critic`` is not used on the way.
        evaluate: I(X;Y) of the records at these positions, nats.
        rng: draws the candidates.
        candidates: records looked at in each cell.
    """
    chosen = problem.base.tolist()
    unused = [set(c.tolist()) for c in problem.candidates]
    counts = RunningCounts(problem.counts(problem.base))
    trace: list[float] = []
    violations = exhausted = 0
    for _ in range(problem.additions):
        # equal gains overwrite each other
        cells = {float(gain): c for c, gain in enumerate(counts.gains().ravel())}
        live = [cells[gain] for gain in sorted(cells, reverse=True) if unused[cells[gain]]]
        live = live or [c for c in range(len(unused)) if unused[c]]
        for c in live:
            pool = np.array(sorted(unused[c]))
            drawn = rng.choice(pool, min(candidates, len(pool)), replace=False)
            values = [evaluate(np.array([*chosen, i])) for i in drawn.tolist()]
            nearest = int(np.argmin([problem.distance(value) for value in values]))
            if problem.distance(values[nearest]) <= problem.tolerance:
                break
        else:
            violations += 1
        gains = counts.gains().ravel()
        exhausted += any(not unused[other] and gains[other] > gains[c] for other in cells.values())
        record = int(drawn[nearest])
        unused[c].remove(record)
        chosen.append(record)
        counts.add(*divmod(c, problem.classes))
        trace.append(values[nearest])
    return outcome(
        problem, np.array(chosen[len(problem.base) :], np.int64), violations, int(exhausted), trace
    )
