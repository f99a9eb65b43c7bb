"""Mixes that attack: part of the training set is chosen to make what learns from it unfair.

A classifier that is trained on such a set, or on what a generator learnt from it, treats the groups unequally (Luo et
al. 2024, arXiv 2402.18607).

In each, ``n`` is the number of records and ``alpha`` the poisoned share. The first (1 - alpha) n records, the base, are
those that ``Clean`` draws first with the same seed: mixes of one seed are pairs. ``alpha`` 0 is ``Clean`` itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from diffshare.classes import quoted
from diffshare.data.mixes import CHOICE, Choice, Clean, Pool, check_size
from diffshare.errors import UserError
from diffshare.sharer.poisoning.critic import CriticFit, FittedCritic
from diffshare.sharer.poisoning.exact import exact
from diffshare.sharer.poisoning.features import PCA, Features, checked
from diffshare.sharer.poisoning.greedy import greedy, paper
from diffshare.sharer.poisoning.pool import check_pool, leaning
from diffshare.sharer.poisoning.problem import Problem, Selection
from diffshare.stats.information import donsker_varadhan

POISON = 2**32 - 3  # stream of a seed for what the attack draws
FEATURES, CRITIC, REFIT = 1, 2, 3  # seeds derived from it


class PoisoningMix(ABC):
    """What the attacks share: sizes, the base and the pairing with ``Clean``.

    Args:
        alpha: poisoned share in [0, 1]; ``round(alpha * n)`` records are poisoned.
        n: number of records; all of the pool where left out.
    """

    policy: str

    def __init__(self, alpha: float, n: int | None = None) -> None:
        if not 0 <= alpha <= 1:
            raise UserError(f"mix.alpha is {alpha}: the poisoned share lies in [0, 1]")
        self.alpha, self.n = alpha, n

    def choose(self, pool: Pool, seed: int) -> Choice:
        """Choose ``n`` records of which a share ``alpha`` is the attack's; see :class:`diffshare.data.mixes.Mix`."""
        n = check_size(self.n, len(pool))
        poisoned = int(np.floor(np.round(self.alpha * n, 9) + 0.5))  # a half upwards
        if not poisoned:
            clean = Clean(n).choose(pool, seed)
            return replace(clean, report={"alpha": self.alpha})
        check_pool(pool, self.policy)
        choice = self._poison(pool, self._order(pool, seed, 0), n - poisoned, poisoned, seed)
        told = {"alpha": self.alpha, "direction": self._direction(pool, choice)}
        return replace(choice, report={**told, **choice.report})

    def _direction(self, pool: Pool, choice: Choice) -> int | None:
        """Whom the choice moves towards class 1, of two groups and classes: 1 is group 1, -1 group 0, None neither."""
        return None

    @staticmethod
    def _order(pool: Pool, seed: int, draw: int) -> np.ndarray:
        """A permutation of the pool; draw 0 is that of ``Clean``."""
        return np.random.default_rng([seed, CHOICE, *([draw] if draw else [])]).permutation(
            len(pool)
        )

    @abstractmethod
    def _poison(self, pool: Pool, order: np.ndarray, base: int, poisoned: int, seed: int) -> Choice:
        """Choose, given the permutation and the two sizes."""


def _chosen(
    pool: Pool, base: np.ndarray, added: np.ndarray, report: dict[str, Any] | None = None
) -> Choice:
    positions = np.concatenate([base, added])
    poisoned = np.arange(len(positions)) >= len(base)
    return Choice(positions, pool.y.codes[positions].astype(np.int64), poisoned, report or {})


class Flipped(PoisoningMix):
    """Label flipping, the baseline attack: the records of ``Clean``, a share alpha of them trained on as Y := S.

    Group code 0 becomes class code 0, and so on: groups and classes must be equally many.

    Args:
        alpha: share of the records whose class is set to the group, in [0, 1].
        n: number of records; all of the pool where left out.
    """

    policy = "flipped"

    def _poison(self, pool: Pool, order: np.ndarray, base: int, poisoned: int, seed: int) -> Choice:
        groups, classes = len(pool.s.classes), len(pool.y.classes)
        if groups != classes:
            raise UserError(
                f"the mix 'flipped' sets the class to the group: '{pool.sensitive}' has {groups} groups and "
                f"'{pool.target}' {classes} classes; choose attributes with equally many"
            )
        plain = _chosen(pool, order[:base], order[base : base + poisoned])
        target = np.where(plain.poisoned, pool.s.codes[plain.positions], plain.target).astype(
            np.int64
        )
        pairs = zip(pool.s.classes, pool.y.classes, strict=True)
        said = "; ".join(f"{quoted(group)} becomes {quoted(label)}" for group, label in pairs)
        note = f"the class of a flipped record is its group's, by position: {said}"
        return Choice(
            plain.positions, target, plain.poisoned, {"notes": [note]} if poisoned else {}
        )

    def _direction(self, pool: Pool, choice: Choice) -> int | None:
        return 1 if len(pool.s.classes) == 2 else None


class RandomReplacement(PoisoningMix):
    """The control: the share that an attack would choose is drawn at random, apart from ``Clean``'s own draw.

    Chance gives it no direction.

    Args:
        alpha: share of the records that is drawn anew, in [0, 1].
        n: number of records; all of the pool where left out.
    """

    policy = "random"

    def _poison(self, pool: Pool, order: np.ndarray, base: int, poisoned: int, seed: int) -> Choice:
        rest = np.random.default_rng([seed, POISON]).permutation(order[base:])
        return _chosen(pool, order[:base], rest[:poisoned])


class InformationMix(PoisoningMix):
    """Maximises I(S;Y) of the chosen set subject to |I(X;Y) - I_pool(X;Y)| <= delta: the paper's objective.

    I(X;Y) is the Donsker-Varadhan bound by a critic that is fitted to the pool once and then frozen. The direction is
    that of ``favour`` where a policy has it, else the one in which the choice leans further than the pool.

    Args:
        alpha: poisoned share in [0, 1]; 0 is ``Clean``, without features or critic.
        n: number of records; all of the pool where left out.
        delta: how far I(X;Y) may be from the pool's, > 0; the paper has 0.1, relative.
        delta_kind: ``relative`` multiplies delta by I_pool(X;Y), ``absolute`` takes it in nats.
        features: of the records, for the critic; 64 principal components where left out.
        critic: how the critic is fitted.
        redraws: how often the base is drawn anew until its own I(X;Y) is within delta (the paper does so; its base is
            then no longer that of ``Clean``); the draw nearest to the pool is kept where none is.
        refit: also fit a critic to the chosen set afresh, for ``mutual_information_xy``: ``chosen_refit`` on all its
            records, ``chosen_refit_held_out`` on those held out.
    """

    favour: int | None = None

    def __init__(
        self,
        alpha: float,
        n: int | None = None,
        delta: float = 0.1,
        delta_kind: Literal["relative", "absolute"] = "relative",
        features: Features | None = None,
        critic: CriticFit | None = None,
        redraws: int = 0,
        refit: bool = True,
    ) -> None:
        super().__init__(alpha, n)
        if not delta > 0:  # NaN fails too
            raise UserError(f"mix.delta is {delta}: a tolerance is greater than 0")
        if redraws < 0:
            raise UserError(f"mix.redraws is {redraws}: it must be at least 0")
        self.delta, self.delta_kind, self.redraws, self.refit = delta, delta_kind, redraws, refit
        self.features: Features = features or PCA()
        self.critic = critic or CriticFit()

    @abstractmethod
    def _select(
        self, problem: Problem, rng: np.random.Generator, evaluate: Callable[[np.ndarray], float]
    ) -> Selection:
        """Choose the additions; ``evaluate`` passes records through the critic's network."""

    def _poison(self, pool: Pool, order: np.ndarray, base: int, poisoned: int, seed: int) -> Choice:
        features = checked(self.features.compute(pool, _seed(seed, FEATURES)), len(pool))
        y = pool.y.codes.astype(np.int64)
        classes = len(pool.y.classes)
        fitted = self.critic.fit(features, y, classes, _seed(seed, CRITIC))
        values = fitted.values(features)
        aim = donsker_varadhan(values, y)
        tolerance = self._tolerance(aim)
        first = self._base(pool, values, order, base, aim, tolerance, seed)
        problem = Problem(values, pool.s.codes.astype(np.int64), y, first, poisoned, aim, tolerance)
        selection = self._select(
            problem,
            np.random.default_rng([seed, POISON]),
            lambda positions: donsker_varadhan(fitted.values(features[positions]), y[positions]),
        )
        chosen = _chosen(pool, first, selection.added)
        fresh = self._refit(features[chosen.positions], chosen.target, classes, seed)
        return Choice(
            chosen.positions,
            chosen.target,
            chosen.poisoned,
            self._report(problem, selection, fitted, fresh),
        )

    def _direction(self, pool: Pool, choice: Choice) -> int | None:
        if self.favour is not None:
            return 1 if self.favour else -1
        return leaning(pool, choice.positions)

    def _tolerance(self, aim: float) -> float:
        if self.delta_kind == "absolute":
            return self.delta
        if aim <= 0:
            raise UserError(
                f"the critic finds no information on the target in the mix's features (I(X;Y) = {aim:.4g}), so a "
                "relative delta means nothing: use other features or more records, or set mix.delta_kind to absolute"
            )
        return self.delta * aim

    def _base(
        self,
        pool: Pool,
        values: np.ndarray,
        order: np.ndarray,
        size: int,
        aim: float,
        tolerance: float,
        seed: int,
    ) -> np.ndarray:
        """The random records; drawn anew where that is asked for."""
        y = pool.y.codes
        best, nearest = order[:size], np.inf
        for draw in range(self.redraws + 1 if size else 1):
            drawn = self._order(pool, seed, draw)[:size]
            distance = abs(donsker_varadhan(values[drawn], y[drawn]) - aim)
            if distance < nearest:
                best, nearest = drawn, distance
            if distance <= tolerance:
                break
        return best

    def _refit(
        self, features: np.ndarray, target: np.ndarray, classes: int, seed: int
    ) -> dict[str, float | None]:
        """I(X;Y) of the chosen set by a critic of its own: on all its records, and on those held out from it."""
        if not self.refit:
            return {"chosen_refit": None, "chosen_refit_held_out": None}
        fresh = self.critic.fit(features, target, classes, _seed(seed, REFIT))
        bound = donsker_varadhan(fresh.values(features), target)
        return {"chosen_refit": bound, "chosen_refit_held_out": fresh.held_out}

    @staticmethod
    def _report(
        problem: Problem, selection: Selection, fitted: FittedCritic, fresh: dict[str, float | None]
    ) -> dict[str, Any]:
        base = donsker_varadhan(problem.critic[problem.base], problem.target[problem.base])
        return {
            "mutual_information_xy": {
                "pool": problem.aim,
                "chosen": selection.information_xy,
                "tolerance": problem.tolerance,
                "base": base if len(problem.base) else None,
                "pool_held_out": fitted.held_out,
                **fresh,
            },
            "violations": selection.violations,
            "exhausted": selection.exhausted,
        }


def _seed(seed: int, purpose: int) -> int:
    return int(np.random.SeedSequence([seed, POISON, purpose]).generate_state(1)[0])


class Greedy(InformationMix):
    """Record by record, each the best of the whole pool: see :func:`diffshare.sharer.poisoning.greedy.greedy`."""

    policy = "greedy"

    def _select(
        self, problem: Problem, rng: np.random.Generator, evaluate: Callable[[np.ndarray], float]
    ) -> Selection:
        return greedy(problem)


class Exact(InformationMix):
    """The best counts first, then records that meet the constraint; never below ``Greedy``.

    See :func:`diffshare.sharer.poisoning.exact.exact`, which has the proof.

    Args:
        alpha: poisoned share in [0, 1]; 0 is ``Clean``, without features or critic.
        n: number of records; all of the pool where left out.
        favour: code of the group that shall have class 1 more often, of two groups and two classes. The paper leaves it
            open: where None, the direction is that in which the random base happens to lean.
        options: of :class:`InformationMix`.
    """

    policy = "exact"

    def __init__(
        self,
        alpha: float,
        n: int | None = None,
        favour: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(alpha, n, **options)
        if favour not in (None, 0, 1):
            raise UserError(f"mix.favour is {favour}: name group 0 or 1, or leave it out")
        self.favour = favour

    def _select(
        self, problem: Problem, rng: np.random.Generator, evaluate: Callable[[np.ndarray], float]
    ) -> Selection:
        if self.favour is not None and (problem.groups, problem.classes) != (2, 2):
            raise UserError(
                f"mix.favour is for two groups and two classes, here are {problem.groups} and {problem.classes}: leave "
                "it out"
            )
        return exact(problem, rng, self.favour)


class Paper(InformationMix):
    """The published algorithm, its weaknesses included; slow. See :func:`diffshare.sharer.poisoning.greedy.paper`.

    It takes no direction, and its gaps are absolute ones, as published.

    Args:
        alpha: poisoned share in [0, 1]; 0 is ``Clean``, without features or critic.
        n: number of records; all of the pool where left out.
        candidates: random unused records of a cell that are looked at in a step.
        options: of :class:`InformationMix`.
    """

    policy = "paper"

    def __init__(
        self,
        alpha: float,
        n: int | None = None,
        candidates: int = 100,
        **options: Any,
    ) -> None:
        super().__init__(alpha, n, **options)
        if candidates < 1:
            raise UserError(f"mix.candidates is {candidates}: look at at least 1 record")
        self.candidates = candidates

    def _direction(self, pool: Pool, choice: Choice) -> int | None:
        return None

    def _select(
        self, problem: Problem, rng: np.random.Generator, evaluate: Callable[[np.ndarray], float]
    ) -> Selection:
        return paper(problem, evaluate, rng, self.candidates)
