"""The verdict on a set of samples: their shares P(s|y) against a reference, a margin, and what the audit can see.

The attack (fairness poisoning, Luo et al. 2024, arXiv 2402.18607) raises I(S;Y) of the training set and leaves every
image and label as it is, so what gives it away is P(s|y) of the samples, beside that of a reference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from diffshare.errors import UserError
from diffshare.stats.association import Association, Reference, Verdict, compare, completed
from diffshare.stats.detection import Power, Tolerance, decide, holm, power, spent
from diffshare.stats.misfit import Bias, Fit, extremes
from diffshare.stats.shares import GroupShares

# The log odds that a poisoned share of 0.1 moves a balanced pool by, 2 log(1.1 / 0.9): what a generator drifts by is no
# poison, and an attack below that share leaves little of a gap.
MARGIN = 0.4
WANTED, POWER = 0.3, 0.8  # the poisoned share that an audit shall see, and how surely
Origin = Literal["`margin`", "the default margin", "the margin from `margin_from`"]
REMEDIES: dict[Origin, str] = {
    "`margin`": "lower it",
    "the default margin": "set a lower `margin`",
    "the margin from `margin_from`": "name surrogates that are clean and were drawn alike",
}


@dataclass(frozen=True)
class Terms:
    """What an audit asks, and how surely.

    Attributes:
        margin: m >= 0: |d| up to it counts as clean, in log odds, at guidance 1.
        level: of the test, in (0, 1); intervals have the confidence 1 - level.
        wanted: poisoned share that the audit shall detect, in (0, 1); below that power nothing is ``clean``.
        power: with which probability.
        looks: how often a sequential audit looks; each look has level / looks.
        candidates: attributes that are audited as the group; plans and intervals are of level / candidates.
        guidance: at which the samples were drawn; widens the margin (see ``Tolerance``).
        fixed: the margin is for this guidance, it is not widened.
        claimed: the guidance is what whoever made the samples says: nothing is ``clean`` by it.
        origin: of the margin, in words, for a refusal.
    """

    margin: float = MARGIN
    level: float = 0.05
    wanted: float = WANTED
    power: float = POWER
    looks: int = 1
    candidates: int = 1
    guidance: float = 1.0
    fixed: bool = False
    claimed: bool = False
    origin: Origin = "`margin`"

    def __post_init__(self) -> None:
        if not 0 <= self.margin < np.inf:
            raise UserError(
                f"`margin` is {self.margin}: a margin is a number of log odds, 0 or more"
            )
        for name, value in (("level", self.level), ("alpha", self.wanted)):
            if not 0 < value < 1:
                raise UserError(f"`{name}` is {value}: it lies between 0 and 1")

    @property
    def tolerance(self) -> Tolerance:
        """Margin and guidance."""
        return Tolerance(self.margin, self.guidance, self.fixed)

    @property
    def each(self) -> float:
        """Level of one look at one candidate."""
        return spent(self.level, self.looks * self.candidates)


class Misfit(NamedTuple):
    """What it means for the log odds that the classifier does not err on samples as on records.

    Attributes:
        shift: largest |change of d|, over the contrasts, that the misfit stands for; infinite where a share could be 0
            or 1.
        decides: the samples would be ``clean`` if the classifier were right.
    """

    shift: float
    decides: bool

    @property
    def size(self) -> str:
        """The shift in words."""
        return f"up to {self.shift:.2f} log odds" if np.isfinite(self.shift) else "any association"


class Unknown(NamedTuple):
    """Samples whose group is not known: an empty cell, or a category that the reference lacks. They count for no group.

    Attributes:
        samples: of all classes.
        share: of the samples of the class that has the largest.
        label: of that class.
        decides: those known would be ``clean``, but not if the unknown ones of each class were in the worst group.
    """

    samples: int
    share: float
    label: int
    decides: bool


@dataclass(frozen=True)
class Judgement:
    """What the samples' shares say against one reference.

    Attributes:
        verdict: of all contrasts.
        p_value: adjusted for their number and that of the looks.
        strongest: the contrast with the least p-value.
        margin: that the strongest contrast was tested with, guidance included.
        power: what the audit can see.
        associations: of every contrast.
        misfit: where the classifier's check failed.
        unknown: where the group of some samples is not known.
        plain: the guidance is a claim, and without it the samples would be ``poisoned``.
    """

    verdict: Verdict
    p_value: float
    strongest: Association
    margin: float
    power: Power
    associations: list[Association]
    misfit: Misfit | None = None
    unknown: Unknown | None = None
    plain: bool = False


def judge(
    shares: GroupShares,
    reference: Reference,
    terms: Terms,
    fit: Fit | None = None,
    unknown: np.ndarray | None = None,
) -> Judgement:
    """Compare the samples' shares with a reference.

    ``clean`` rests on a classifier that errs on samples as on records. Where the check of that failed (``fit``), the
    shares may be off, by as much as the misfit that shows (:mod:`diffshare.stats.misfit`). ``clean`` then stays only
    where |d| as large as the wanted poisoned share makes it (the harm) is rejected for the shares at every end of that
    bias too: the chance of calling so poisoned a model clean stays at the level for all errors of the classifier within
    the bound. Else the verdict is ``inconclusive``; it never turns ``poisoned``, nor from it. Generators' samples
    differ from records as a rule, and the check sees small differences: a verdict that went by its p-value alone would
    be ``inconclusive`` for nearly all of them, however little it mattered.

    Where the group of some samples is ``unknown``, ``clean`` stays only where those known would be clean with all
    unknown ones of each class in whichever group is worst (:func:`diffshare.stats.association.completed`).

    Where the guidance is a claim, nothing is ``clean``, and no claim is refused: whoever made the samples could else
    stop their audit.

    Args:
        shares: of the samples.
        reference: with which they are compared.
        terms: margin, level, power.
        fit: of the classifier that read the group; None where none did.
        unknown: samples of each class whose group is not known, C; None where a classifier read it.

    Raises:
        UserError: a reference with an empty cell or of another size, or a margin that the wanted share does not exceed.
    """
    associations = compare(shares, reference)
    tolerance = terms.tolerance
    margins = [tolerance.at(a.reference[0]) for a in associations]
    harms = [tolerance.harm(reference.table, terms.wanted, a.contrast) for a in associations]
    if not terms.claimed:
        _refuse_blind(margins, harms, terms)
    able = power(shares, reference, tolerance, terms.each, wanted=terms.wanted, power=terms.power)
    powered = able.alpha is not None and able.alpha <= terms.wanted
    p = holm([a.difference.p_value(m) for a, m in zip(associations, margins, strict=True)])
    least = int(p.argmin())
    p_value = float(min(p[least] * terms.looks, 1.0))
    verdicts = {
        decide(a, m, h, terms.each, powered=powered)
        for a, m, h in zip(associations, margins, harms, strict=True)
    }
    verdict: Verdict = "clean" if verdicts == {"clean"} and not terms.claimed else "inconclusive"
    verdict = "poisoned" if p_value <= terms.level else verdict
    misfit, lacking = None, None
    if unknown is not None and unknown.any():
        lacking = _unknown(
            shares,
            unknown,
            reference,
            associations,
            lambda i, a: decide(a, margins[i], harms[i], terms.each, powered=powered),
        )
        lacking = lacking._replace(decides=lacking.decides and verdict == "clean")
        verdict = "inconclusive" if lacking.decides else verdict
    if fit is not None and not fit.ok:
        misfit = _misfit(associations, harms, terms.each, fit.bias, reference.label_weights)
        misfit = misfit._replace(decides=misfit.decides and verdict == "clean")
        verdict = "inconclusive" if misfit.decides else verdict
    plain = (
        terms.claimed
        and verdict != "poisoned"
        and _without_claim(shares, reference, terms) == "poisoned"
    )
    return Judgement(
        verdict,
        p_value,
        associations[least],
        margins[least],
        able,
        associations,
        misfit,
        lacking,
        plain,
    )


def _refuse_blind(margins: Sequence[float], harms: Sequence[float], terms: Terms) -> None:
    """Refuse a margin that holds what the wanted share does."""
    for margin, harm in zip(margins, harms, strict=True):
        if harm <= margin:
            drawn = "" if terms.fixed or terms.guidance == 1 else ", draw at guidance 1"
            raise UserError(
                f"{terms.origin} {terms.margin:g} (at guidance {terms.guidance:g}: {margin:.3f}) is no less than what "
                f"a poisoned share of {terms.wanted:g} does to this reference ({harm:.3f} log odds): "
                f"{REMEDIES[terms.origin]}{drawn}, or raise `alpha`"
            )


def _without_claim(shares: GroupShares, reference: Reference, terms: Terms) -> Verdict:
    """The verdict if the samples were drawn at guidance 1; every candidate at its part of the level."""
    plain = replace(terms, guidance=1.0, claimed=False, level=spent(terms.level, terms.candidates))
    return judge(shares, reference, plain).verdict


def _unknown(
    shares: GroupShares,
    unknown: np.ndarray,
    reference: Reference,
    associations: Sequence[Association],
    verdict: Callable[[int, Association], Verdict],
) -> Unknown:
    """How many samples' group is not known, and whether some contrast is then not ``clean`` for every group of theirs.

    Args:
        shares: of the samples whose group is known.
        unknown: number of the others by class, C.
        reference: with which they are compared.
        associations: all contrasts.
        verdict: on a contrast, by its place and association.
    """
    parts = unknown / (unknown + [row[0].n for row in shares.shares])
    verdicts = {
        verdict(i, end)
        for i, one in enumerate(associations)
        for end in completed(shares, unknown, reference, one.contrast)
    }
    return Unknown(
        int(unknown.sum()), float(parts.max()), int(parts.argmax()), verdicts != {"clean"}
    )


def _misfit(
    associations: Sequence[Association],
    harms: Sequence[float],
    level: float,
    bias: Bias,
    label_weights: np.ndarray,
) -> Misfit:
    """How far d may be off, and whether the harm is then not rejected for some contrast."""
    shift, hides = 0.0, False
    for association, harm in zip(associations, harms, strict=True):
        ends = extremes(association, bias, label_weights)
        if ends is None:
            return Misfit(np.inf, True)
        shift = max(shift, *(abs(end.estimate - association.difference.estimate) for end in ends))
        hides |= any(end.equivalence_p_value(harm) > level for end in ends)
    return Misfit(shift, hides)


def undecided(judgement: Judgement, terms: Terms, queries: int, fit: Fit | None = None) -> str:
    """Why a judgement is ``inconclusive`` and what would decide it, without a stop at the end."""
    if judgement.misfit is not None and judgement.misfit.decides and fit is not None:
        return (
            "they would be clean, but the classifier of the group errs on these samples otherwise than on records "
            f"(p = {fit.p_value:.3f}), which may hide {judgement.misfit.size}; {fit.remedy}"
        )
    if judgement.unknown is not None and judgement.unknown.decides:
        return (
            f"they would be clean, but the group of {judgement.unknown.samples} samples is not known, and were it the "
            "worst, they would not be; fill it in, drop its column so that a classifier reads it, or give a reference "
            "that has all of its categories"
        )
    if terms.claimed:
        plainly = "they are poisoned at guidance 1; " if judgement.plain else ""
        return (
            f"{plainly}that the samples were drawn at guidance {terms.guidance:g}, which widens the margin, is what "
            f"their samples.json says; add `guidance` {terms.guidance:g} if you know it, else `guidance` 1"
        )
    if judgement.power.alpha is not None and judgement.power.alpha <= terms.wanted:
        return (
            "the samples lie between clean and poisoned; draw more, set a margin from clean surrogates "
            "(`margin_from`), or repair the samples"
        )
    if judgement.power.samples is None:
        return (
            f"no number of samples would let this audit see a poisoned share of {terms.wanted:g}; give more reference "
            "records or a stronger classifier of the group"
        )
    return (
        f"{queries} samples cannot show a poisoned share of {terms.wanted:g} with a power of {terms.power:g}; draw "
        f"{judgement.power.samples}"
    )
