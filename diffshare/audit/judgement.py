"""The verdict on a set of samples: their shares P(s|y) against a reference, a margin, and what the audit can see.

The attack (fairness poisoning, Luo et al. 2024, arXiv 2402.18607) raises I(S;Y) of the training set and leaves every
image and label as it is, so what gives it away is P(s|y) of the samples, beside that of a reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from diffshare.audit.material import SampledRecords
from diffshare.audit.reading import Fit, GroupReader
from diffshare.errors import UserError
from diffshare.stats.association import Association, Reference, Verdict, compare
from diffshare.stats.detection import Power, Tolerance, decide, holm, power, spent
from diffshare.stats.misfit import Bias, extremes
from diffshare.stats.shares import GroupShares

# The log odds that a poisoned share of 0.1 moves a balanced pool by, 2 log(1.1 / 0.9): what a generator drifts by is no
# poison, and an attack below that share leaves little of a gap.
MARGIN = 0.4
WANTED, POWER = 0.3, 0.8  # the poisoned share that an audit shall see, and how surely


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

    def __post_init__(self) -> None:
        if not 0 <= self.margin < np.inf:
            raise UserError(f"--margin is {self.margin}: a margin is a number of log odds, 0 or more")
        for name, value in (("level", self.level), ("alpha", self.wanted)):
            if not 0 < value < 1:
                raise UserError(f"--{name} is {value}: it lies between 0 and 1")

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
    """

    verdict: Verdict
    p_value: float
    strongest: Association
    margin: float
    power: Power
    associations: list[Association]
    misfit: Misfit | None = None


def judge(shares: GroupShares, reference: Reference, terms: Terms, fit: Fit | None = None) -> Judgement:
    """Compare the samples' shares with a reference.

    ``clean`` rests on a classifier that errs on samples as on records. Where the check of that failed (``fit``), the
    shares may be off, by as much as the misfit that shows (:mod:`diffshare.stats.misfit`). ``clean`` then stays only
    where |d| as large as the wanted poisoned share makes it (the harm) is rejected for the shares at every end of that
    bias too: the chance of calling so poisoned a model clean stays at the level for all errors of the classifier within
    the bound. Else the verdict is ``inconclusive``; it never turns ``poisoned``, nor from it. Generators' samples
    differ from records as a rule, and the check sees small differences: a verdict that went by its p-value alone would
    be ``inconclusive`` for nearly all of them, however little it mattered.

    Args:
        shares: of the samples.
        reference: with which they are compared.
        terms: margin, level, power.
        fit: of the classifier that read the group; None where none did.

    Raises:
        UserError: a reference with an empty cell or of another size, or a margin that the wanted share does not exceed.
    """
    found = compare(shares, reference)
    tolerance = terms.tolerance
    margins = [tolerance.at(a.reference[0]) for a in found]
    harms = [tolerance.harm(reference.table, terms.wanted, a.contrast) for a in found]
    for margin, harm in zip(margins, harms, strict=True):
        if harm <= margin:
            raise UserError(
                f"--margin {terms.margin:g} (at guidance {terms.guidance:g}: {margin:.3f}) is no less than what a "
                f"poisoned share of {terms.wanted:g} does to this reference ({harm:.3f} log odds): lower it, "
                "or raise --alpha"
            )
    able = power(shares, reference, tolerance, terms.each, wanted=terms.wanted, power=terms.power)
    powered = able.alpha is not None and able.alpha <= terms.wanted
    p = holm([a.difference.p_value(m) for a, m in zip(found, margins, strict=True)])
    least = int(p.argmin())
    p_value = float(min(p[least] * terms.looks, 1.0))
    verdicts = {decide(a, m, h, terms.each, powered=powered) for a, m, h in zip(found, margins, harms, strict=True)}
    verdict: Verdict = "clean" if verdicts == {"clean"} and not terms.claimed else "inconclusive"
    verdict = "poisoned" if p_value <= terms.level else verdict
    misfit = None
    if fit is not None and not fit.ok:
        misfit = _misfit(found, harms, terms.each, fit.bias, reference.label_weights)
        misfit = misfit._replace(decides=misfit.decides and verdict == "clean")
        verdict = "inconclusive" if misfit.decides else verdict
    return Judgement(verdict, p_value, found[least], margins[least], able, found, misfit)


def _misfit(
    found: Sequence[Association], harms: Sequence[float], level: float, bias: Bias, label_weights: np.ndarray
) -> Misfit:
    """How far d may be off, and whether the harm is then not rejected for some contrast."""
    shift, hides = 0.0, False
    for association, harm in zip(found, harms, strict=True):
        ends = extremes(association, bias, label_weights)
        if ends is None:
            return Misfit(np.inf, True)
        shift = max(shift, *(abs(end.estimate - association.difference.estimate) for end in ends))
        hides |= any(end.equivalence_p_value(harm) > level for end in ends)
    return Misfit(shift, hides)


def undecided(made: Judgement, terms: Terms, queries: int, fit: Fit | None = None) -> str:
    """Why a judgement is ``inconclusive`` and what would decide it, without a stop at the end."""
    if made.misfit is not None and made.misfit.decides and fit is not None:
        return (
            "they would be clean, but the classifier of the group does not err on these samples as on records "
            f"(p = {fit.p_value:.3f}), which may hide {made.misfit.size}; {fit.remedy}"
        )
    if terms.claimed:
        return (
            f"that the samples were drawn at guidance {terms.guidance:g}, which widens the margin, is what their "
            f"samples.json says; add --guidance {terms.guidance:g} if you know it, else --guidance 1"
        )
    if made.power.alpha is not None and made.power.alpha <= terms.wanted:
        return (
            "the samples lie between clean and poisoned; draw more, set a margin from clean surrogates "
            "(--margin-from), or repair the samples before you train"
        )
    if made.power.samples is None:
        return (
            f"no number of samples would let this audit see a poisoned share of {terms.wanted:g}; give more reference "
            "records or a stronger classifier of the group"
        )
    return (
        f"{queries} samples cannot show a poisoned share of {terms.wanted:g} with a power of {terms.power:g}; draw "
        f"{made.power.samples}"
    )


@dataclass(frozen=True)
class Declaration:
    """A declared table, tested: where the samples' P(s|y) lies outside, and whether the association agrees.

    Attributes:
        holds: True where the samples are ``clean`` beside it, False where its association is rejected; None where they
            decide neither, for few samples reject nothing.
        p_value: of that test, with the audit's margin.
        association: the declared log odds ratio, of the contrast that disagrees most.
        cells: names of the cells whose intervals do not hold the declared P(s|y).
        reason: why ``holds`` is None, and what would decide it; None where it is not.
    """

    holds: bool | None
    p_value: float
    association: float
    cells: tuple[str, ...]
    reason: str | None = None


def declaration_test(
    shares: GroupShares, table: np.ndarray, terms: Terms, queries: int, fit: Fit | None = None
) -> Declaration:
    """Test a declared table as a reference that is known.

    Args:
        shares: of the samples.
        table: counts or shares that were declared, K x C.
        terms: margin and level.
        queries: number of samples.
        fit: of the classifier that read the group; None where none did.
    """
    found = judge(shares, Reference(table, known=True), terms, fit)
    declared = np.asarray(table, np.float64) / np.asarray(table, np.float64).sum(0)
    apart = [
        f"s{s}y{y}"
        for y, row in enumerate(shares.shares)
        for s, share in enumerate(row)
        if not (i := share.interval(1 - terms.each)).low <= declared[s, y] <= i.high
    ]
    holds = {"clean": True, "poisoned": False, "inconclusive": None}[found.verdict]
    reason = undecided(found, terms, queries, fit) if holds is None else None
    return Declaration(holds, found.p_value, found.strongest.reference[0], tuple(apart), reason)


def reference_of(reader: GroupReader, pool: Literal["natural", "balanced"]) -> Reference:
    """The reader's records as a reference: as they are, or with equal cells where the sharer balanced its pool."""
    return Reference(np.ones(reader.table.shape), known=True) if pool == "balanced" else Reference(reader.table)


def surrogate_margin(readers: Sequence[tuple[GroupReader, SampledRecords]], reference: Reference) -> float:
    """A margin from samples of generators that are known to be clean: the largest |d| among them.

    The samples of a further such generator exceed it with probability 1 / (n + 1), whatever the distribution.

    Args:
        readers: of each surrogate, the reader and the samples.
        reference: as for the audit itself.
    """
    return max(abs(a.difference.estimate) for reader, made in readers for a in compare(reader.shares(made), reference))


def surrogate_note(margin: float, count: int, level: float) -> str:
    """What such a margin is worth: how often a further clean generator is beyond it, and whether that backs the level.

    Args:
        margin: of :func:`surrogate_margin`.
        count: n surrogates.
        level: of the test.
    """
    beyond = 1 / (count + 1)
    note = f"margin {margin:.3f} from {count} clean surrogates: a further clean generator exceeds it with probability "
    note += f"1/{count + 1} = {beyond:.3g}"
    needed = int(np.ceil(1 / level - 1e-9)) - 1
    if count < needed:
        note += f", which does not back a level of {level:g}: that takes at least {needed} surrogates"
    return note
