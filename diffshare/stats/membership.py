"""How well does a loss tell the records that a model was trained on from others? Figures that no threshold flatters."""

from typing import NamedTuple

import numpy as np
from scipy.stats import binom, rankdata

from diffshare.errors import UserError
from diffshare.stats.distinguishing import auroc
from diffshare.stats.intervals import Interval, check_level, clopper_pearson, wilson

LEAST = 4  # losses of each kind: two to choose a threshold by, two to judge it by


class Membership(NamedTuple):
    """What a loss says of membership. An advantage of 0 and an AUROC of 0.5 are chance.

    Attributes:
        advantage: see :func:`advantage`.
        auroc: P(a member's loss is below a non-member's), ties half, with DeLong's interval.
        tpr: see :func:`tpr_at`, at a false positive rate of ``fpr``; None where there are fewer than 1 / fpr
            non-members.
        fpr: of ``tpr``.
        members: how many losses of members.
        non_members: how many of others.
    """

    advantage: Interval
    auroc: Interval
    tpr: Interval | None
    fpr: float
    members: int
    non_members: int


def membership(
    members: np.ndarray,
    non_members: np.ndarray,
    *,
    level: float = 0.95,
    fpr: float = 0.01,
    seed: int = 0,
) -> Membership:
    """All figures of a loss-threshold test (Yeom et al. 2018, arXiv 1709.01604; Carlini et al. 2022, arXiv 2112.03570).

    Nothing depends on more than the order of the losses.

    Args:
        members: loss of each record that was trained on, m >= 4.
        non_members: loss of each record of the same distribution that was not, n >= 4.
        level: of the intervals, in (0, 1).
        fpr: false positive rate in (0, 1) at which the true positive rate is given.
        seed: of the halves.

    Raises:
        UserError: too few losses, losses that are not finite, a level or rate outside (0, 1).
    """
    members, non_members = _checked(members, non_members)
    few = len(non_members) * fpr < 1
    return Membership(
        advantage(members, non_members, level=level, seed=seed),
        auroc(members, non_members, level),
        None if few else tpr_at(members, non_members, fpr, level=level),
        fpr,
        len(members),
        len(non_members),
    )


def advantage(
    members: np.ndarray, non_members: np.ndarray, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """Membership advantage TPR - FPR of "a member where the loss is at most t" (Yeom et al. 2018, definition 4).

    Each kind is cut into halves at random. The t with the largest difference in one half judges the other, both ways
    round, and all decisions count together: on the losses that t was chosen by, the largest difference is above 0
    even where there is nothing to find (about 1.5 sqrt(1/m + 1/n) / 2). The interval is Newcombe's of a difference of
    two proportions (1998, method 10), from Wilson's of each.

    Args:
        members: m >= 4 losses.
        non_members: n >= 4 losses.
        level: in (0, 1).
        seed: of the halves.

    Returns:
        estimate and interval in [-1, 1]. Below 0 is chance as well: a t that was chosen on noise.
    """
    members, non_members = _checked(members, non_members)
    check_level(level)
    # so that a mean of two of them means the same everywhere
    ranks = rankdata(np.concatenate([members, non_members]))
    kinds = ranks[: len(members)], ranks[len(members) :]
    rng = np.random.default_rng([seed, 1])
    halves = [np.array_split(rng.permutation(kind), 2) for kind in kinds]
    hits = [0, 0]
    for half in (0, 1):
        threshold = _best(halves[0][half], halves[1][half])
        for kind in (0, 1):
            hits[kind] += int((halves[kind][1 - half] <= threshold).sum())
    (t, t_low, t_high), (f, f_low, f_high) = (wilson(hits[k], len(kinds[k]), level) for k in (0, 1))
    low = t - f - float(np.hypot(t - t_low, f_high - f))
    high = t - f + float(np.hypot(t_high - t, f - f_low))
    return Interval(t - f, low, high)


def _best(members: np.ndarray, non_members: np.ndarray) -> float:
    """The threshold with the largest TPR - FPR, half way to the next value."""
    values = np.unique(np.concatenate([members, non_members]))
    difference = np.searchsorted(np.sort(members), values, "right") / len(members)
    difference -= np.searchsorted(np.sort(non_members), values, "right") / len(non_members)
    place = int(np.argmax(difference))
    return float(values[place] + values[min(place + 1, len(values) - 1)]) / 2


def tpr_at(
    members: np.ndarray, non_members: np.ndarray, fpr: float = 0.01, *, level: float = 0.95
) -> Interval:
    """Share of members whose loss is below all but a share ``fpr`` of the non-members'.

    The threshold is a non-member's loss, so no member has a say in it. It is a quantile that n losses know roughly: the
    interval goes from the members below its lower confidence bound to those below its upper one, each with its exact
    binomial bound, at half the risk each, and so holds at least as often as it says (Bonferroni).

    Args:
        members: m >= 4 losses.
        non_members: n losses, at least 1 / fpr of them.
        fpr: in (0, 1).
        level: in (0, 1).

    Raises:
        UserError: too few non-members for this rate, or what :func:`membership` refuses.
    """
    members, non_members = _checked(members, non_members)
    check_level(level)
    if not 0 < fpr < 1:
        raise UserError(
            f"the false positive rate {fpr} is none: expected a number between 0 and 1, for instance 0.01"
        )
    n = len(non_members)
    if n * fpr < 1:
        raise UserError(
            f"a false positive rate of {fpr:g} needs {int(np.ceil(1 / fpr))} non-members, got {n}"
        )
    ordered, half = np.sort(non_members), (1 + level) / 2
    allowed = int(np.floor(n * fpr + 1e-9))
    # the number of losses below the true quantile is binomial; its bounds are places of losses that bracket it
    fewest, most = (int(binom.ppf(tail, n, fpr)) for tail in ((1 - half) / 2, (1 + half) / 2))
    below = [
        int((members < (ordered[k] if k < n else np.inf)).sum())
        for k in (max(fewest - 1, 0), allowed, most + 1)
    ]
    low = clopper_pearson(below[0], len(members), half).low if fewest > 0 else 0.0
    return Interval(
        below[1] / len(members), low, clopper_pearson(below[2], len(members), half).high
    )


def _checked(members: np.ndarray, non_members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    checked = []
    for name, losses in (("members", members), ("non-members", non_members)):
        losses = np.asarray(losses, np.float64).ravel()
        if len(losses) < LEAST or not np.isfinite(losses).all():
            raise UserError(
                f"a membership test needs {LEAST} finite losses of each kind at least, got {len(losses)} of {name}"
                + ("" if np.isfinite(losses).all() else ", some of them not finite")
            )
        checked.append(losses)
    return checked[0], checked[1]
