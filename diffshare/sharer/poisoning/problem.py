"""What a selection is asked for and what it returns: plain arrays, no records and no networks."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from diffshare.stats.information import contingency, donsker_varadhan, mutual_information


@dataclass(frozen=True)
class Problem:
    """Choose ``additions`` more records: maximise I(S;Y) subject to |I(X;Y) - aim| <= tolerance.

    The objective of fairness poisoning (Luo et al. 2024, arXiv 2402.18607). I(X;Y) is the Donsker-Varadhan bound under
    a frozen critic, of the base and the additions together.

    Attributes:
        critic: T(x_i, k) of the P records of the pool, float64, P x K.
        sensitive: group of each, integers in 0..S-1, P.
        target: class of each, integers in 0..K-1, P.
        base: positions of the records that are chosen already, int64, without repetition.
        additions: how many to add; base and additions together are at most P.
        aim: I(X;Y) of the pool, nats.
        tolerance: delta, nats, > 0.
    """

    critic: np.ndarray
    sensitive: np.ndarray
    target: np.ndarray
    base: np.ndarray
    additions: int
    aim: float
    tolerance: float

    @cached_property
    def groups(self) -> int:
        """Number of groups S."""
        return int(self.sensitive.max()) + 1

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return self.critic.shape[1]

    @cached_property
    def cells(self) -> np.ndarray:
        """Cell s * K + y of each record, int64, P."""
        return self.sensitive.astype(np.int64) * self.classes + self.target

    @cached_property
    def free(self) -> np.ndarray:
        """True for records that are not in the base, bool, P."""
        free = np.ones(len(self.target), bool)
        free[self.base] = False
        return free

    @cached_property
    def candidates(self) -> list[np.ndarray]:
        """Positions of the free records of each cell, ascending."""
        return [
            np.flatnonzero(self.free & (self.cells == c)) for c in range(self.groups * self.classes)
        ]

    def counts(self, positions: np.ndarray) -> np.ndarray:
        """S x K counts of these records, int64."""
        return contingency(
            self.sensitive[positions], self.target[positions], self.groups, self.classes
        )

    def distance(self, information_xy: float) -> float:
        """How far I(X;Y) is from the aim, nats."""
        return abs(information_xy - self.aim)


@dataclass(frozen=True)
class Selection:
    """What a policy added.

    Attributes:
        added: positions, in the order in which they were added, int64.
        information_sy: I(S;Y) of base and additions, nats.
        information_xy: I(X;Y) of base and additions by the frozen critic, nats.
        violations: steps after which the constraint did not hold; for policies that choose at once, 1 where it does not
            hold in the end.
        exhausted: steps at which a cell that promised more was used up.
        trace: I(X;Y) after each step, where the policy goes by steps.
    """

    added: np.ndarray
    information_sy: float
    information_xy: float
    violations: int
    exhausted: int
    trace: np.ndarray = field(default_factory=lambda: np.zeros(0))


def outcome(
    problem: Problem,
    added: np.ndarray,
    violations: int | None,
    exhausted: int,
    trace: list[float] | None = None,
) -> Selection:
    """The selection with both informations computed afresh from its records, not from running sums."""
    chosen = np.concatenate([problem.base, added]).astype(np.int64)
    xy = donsker_varadhan(problem.critic[chosen], problem.target[chosen])
    failed = int(problem.distance(xy) > problem.tolerance) if violations is None else violations
    sy = mutual_information(problem.counts(chosen))
    return Selection(added.astype(np.int64), sy, xy, failed, exhausted, np.array(trace or []))
