"""From an association to a verdict, what the test can see at all, and corrections for many tests and many looks.

``poisoned``: |d| <= margin is rejected. ``clean``: the samples were enough to detect the smallest poisoned share that
matters with the wanted power, the estimate of |d| is at most the margin, and |d| >= harm is rejected, harm being what
that share does to d. That is an equivalence test: the absence of evidence is not enough, and too few samples are
``inconclusive``. Calling a model poisoned whose |d| <= margin, and calling one clean whose |d| >= harm, each have the
probability ``level`` at the most.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from diffshare.errors import UserError
from diffshare.stats.association import (
    Association,
    Contrast,
    Reference,
    Verdict,
    collapsed,
    contrasts,
    log_odds_ratio,
    pair,
    standard_error,
)
from diffshare.stats.information import mutual_information
from diffshare.stats.shares import GroupShares

# shares that are looked at, then refined between two of them
ALPHAS = np.round(np.arange(1, 20) / 20, 2)
SPLITS = np.linspace(0, 1, 41)  # of the poison between its two cells
ONLY = Contrast(1, 1)  # the contrast of two groups and two classes
MOST = 2.0**30  # times the present samples that a plan goes up to: what is not seen then never is


def poisoned_table(table: np.ndarray, alpha: float) -> np.ndarray:
    """The shares of each group and class after a share ``alpha`` was chosen to maximise I(S;Y).

    The attack of Luo et al. 2024 (arXiv 2402.18607) with as many records of each cell as it wants: (1 - alpha) of the
    table, and alpha in two cells of different groups and classes, the two and the split between them that make I(S;Y)
    greatest (splits in steps of 1/40).

    Args:
        table: counts or shares, K x C.
        alpha: in [0, 1].

    Returns:
        shares, sum 1, K x C.

    Raises:
        UserError: an empty table.
    """
    base = np.asarray(table, np.float64)
    if not base.sum() > 0:
        raise UserError("the table of groups and classes is empty: give records of each cell")
    base = base / base.sum()
    groups, classes = base.shape
    best, most = base, -1.0
    if not alpha:
        return base
    for s in range(groups):
        for other in range(s + 1, groups):
            for y in range(classes):
                for another in range(classes):
                    if another == y:
                        continue
                    for split in SPLITS:
                        candidate = (1 - alpha) * base
                        candidate[s, y] += alpha * split
                        candidate[other, another] += alpha * (1 - split)
                        if (information := mutual_information(candidate)) > most:
                            best, most = candidate, information
    return best


def decide(
    association: Association, margin: float, harm: float, level: float, *, powered: bool
) -> Verdict:
    """The verdict on one contrast; see the module.

    Args:
        association: of :func:`diffshare.stats.association.compare`.
        margin: m >= 0, in log odds.
        harm: > margin, in log odds.
        level: of each test, in (0, 1).
        powered: the samples are enough for the wanted power (see :func:`power`); without it nothing is ``clean``.
    """
    if association.difference.p_value(margin) <= level:
        return "poisoned"
    within = powered and abs(association.difference.estimate) <= margin
    return (
        "clean"
        if within and association.difference.equivalence_p_value(harm) <= level
        else "inconclusive"
    )


class Tolerance(NamedTuple):
    """What difference counts as clean, and what a poisoned share does, at a guidance scale.

    Guidance W draws from p_W(x|y) ~ p(x) p(y|x)^W. If x told of y by the group alone, the samples would have
    p_W(s|y) ~ p(s) p(y|s)^W, whose log odds ratio is W times the training set's: a clean model of a pool with the log
    odds ratio r shows d = (W - 1) r, its own drift is multiplied by W, and so is what an attack has done. That is the
    most that guidance does; x tells of y by more than the group.

    Attributes:
        margin: m at guidance 1, in log odds, >= 0.
        guidance: W >= 0 at which the samples were drawn.
        fixed: the margin was measured at this guidance (or chosen for it): it is taken as it is.
    """

    margin: float
    guidance: float = 1.0
    fixed: bool = False

    def at(self, reference: float) -> float:
        """The margin beside a reference with this log odds ratio: max(W, 1) m + |W - 1| |r|."""
        if self.fixed:
            return self.margin
        return max(self.guidance, 1.0) * self.margin + abs(self.guidance - 1) * abs(reference)

    def harm(self, table: np.ndarray, alpha: float, contrast: Contrast = ONLY) -> float:
        """|d| that a poisoned share of this table leads to at this guidance; the contrast by itself is attacked."""
        cells = collapsed(np.asarray(table, np.float64), contrast)
        return abs(
            log_odds_ratio(guided(poisoned_table(cells, alpha), self.guidance))
            - log_odds_ratio(cells)
        )


def guided(table: np.ndarray, guidance: float) -> np.ndarray:
    """P(s|y) ~ p(s) p(y|s)^W with the table's p(y): see :class:`Tolerance`. K x C, sum 1, with cells above 0."""
    table = np.asarray(table, np.float64) / np.asarray(table, np.float64).sum()
    groups = table.sum(1, keepdims=True)
    tilted = groups * (table / groups) ** guidance
    return tilted / tilted.sum(0) * table.sum(0)


class Power(NamedTuple):
    """What a test can see.

    Attributes:
        alpha: smallest poisoned share that it detects with the wanted power; None where there is none up to 0.95.
        samples: samples that are needed to detect the wanted share; None where no number of samples is enough.
    """

    alpha: float | None
    samples: int | None


def power(
    samples: GroupShares,
    reference: Reference,
    tolerance: Tolerance,
    level: float,
    *,
    wanted: float,
    power: float = 0.8,
) -> Power:
    """Smallest detectable poisoned share, and the samples that a wanted one takes.

    A share alpha is detected with probability ``power`` where |d(alpha)| >= m + (z_(1-level) + z_power) se(alpha), se
    taken at the shares P(s|y) that alpha makes (z_(1 - level/2) at m = 0, where the test has two sides), for a
    generator that passes on what it was trained on, at the tolerance's guidance. Of several contrasts the one that sees
    the least share counts, each at ``level`` divided by their number.

    Args:
        samples: shares of this audit; their errors are taken over, not their values.
        reference: with which they are compared; the attack is on its table.
        tolerance: margin and guidance.
        level: of the test.
        wanted: poisoned share that the audit shall see, in (0, 1).
        power: in (0.5, 1).
    """
    every = contrasts(samples.groups, samples.classes)
    each = level / len(every)
    z = float(ndtri(1 - each / (1 if tolerance.margin else 2)) + ndtri(power))

    def seen(poisoned: np.ndarray, times: float = 1.0) -> bool:
        return _seen(samples, reference, poisoned, tolerance, z, times)

    alpha = _least(lambda share: seen(poisoned_table(reference.table, share)))
    asked = poisoned_table(reference.table, wanted)
    low, high = 0.0, 1.0
    while not seen(asked, high):
        low, high = high, 2 * high
        if high > MOST:
            return Power(alpha, None)
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (low, middle) if seen(asked, middle) else (middle, high)
    return Power(alpha, int(np.ceil(sum(row[0].n for row in samples.shares) * high)))


def _least(seen: Callable[[float], bool]) -> float | None:
    """The smallest of the looked-at shares that is seen, refined to 1/1000."""
    high = next((float(alpha) for alpha in ALPHAS if seen(float(alpha))), None)
    if high is None:
        return None
    low = high - float(ALPHAS[0])
    for _ in range(6):
        middle = (low + high) / 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return round(high, 4)


def _seen(
    samples: GroupShares,
    reference: Reference,
    poisoned: np.ndarray,
    tolerance: Tolerance,
    z: float,
    times: float,
) -> bool:
    """Whether a poisoned table moves some contrast by ``z`` standard errors more than the margin.

    Args:
        samples: shares; their errors are taken over.
        reference: the table before.
        poisoned: the table after.
        tolerance: margin and guidance.
        z: standard errors.
        times: how many times the present samples.
    """
    table = np.asarray(reference.table, np.float64)
    for contrast in contrasts(samples.groups, samples.classes):
        before = collapsed(table, contrast)
        after = guided(collapsed(poisoned, contrast), tolerance.guidance)
        p_low, p_high = after[1] / after.sum(0)
        two = pair(samples, contrast, reference.label_weights)
        high, low = (share._replace(n=share.n * times) for share in two)
        error = np.hypot(standard_error(high, low, p_high, p_low), reference.log_odds(contrast)[1])
        moved = abs(log_odds_ratio(after) - log_odds_ratio(before))
        if moved >= tolerance.at(log_odds_ratio(before)) + z * error:
            return True
    return False


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjusted p-values of several tests: the chance of any false rejection stays at the level (Holm 1979).

    Args:
        p_values: n numbers in [0, 1].

    Returns:
        float64, n, in the order given: running maximum of (n - rank) p over rising p, cut at 1.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]), 1)
    return adjusted


def looks(first: int, last: int) -> list[int]:
    """Numbers of samples at which a sequential audit looks: ``first``, doubled, up to ``last``.

    Raises:
        UserError: numbers that make no plan.
    """
    if not 1 <= first <= last:
        raise UserError(
            f"a sequential audit looks first at {first} of {last} samples: expected 1 <= first <= last"
        )
    numbers = [first]
    while numbers[-1] * 2 < last:
        numbers.append(numbers[-1] * 2)
    return numbers if numbers[-1] == last else [*numbers, last]


def spent(level: float, count: int) -> float:
    """The level of each of ``count`` looks: an equal part (alpha spending, Lan & DeMets 1983, by Bonferroni).

    It holds under any dependence between the looks: the estimates share their calibration records and reference, so
    that their increments are not independent and the boundaries for independent ones would not hold.
    """
    return level / count
