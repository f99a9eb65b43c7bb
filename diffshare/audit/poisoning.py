"""Was a generator's training set chosen to make a classifier unfair? The receiver's audit of its samples.

The attack (fairness poisoning, Luo et al. 2024, arXiv 2402.18607) raises I(S;Y) of the training set and leaves every
image and label as it is, so what gives it away is P(s|y) of the samples, beside that of a reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from diffshare.audit.gap import PredictedGap
from diffshare.audit.material import SampledRecords
from diffshare.audit.reading import Fit, GroupReader
from diffshare.errors import UserError
from diffshare.stats.association import Association, Reference, Verdict, compare
from diffshare.stats.detection import Power, Tolerance, decide, holm, power, spent
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
    """

    verdict: Verdict
    p_value: float
    strongest: Association
    margin: float
    power: Power
    associations: list[Association]


def judge(shares: GroupShares, reference: Reference, terms: Terms) -> Judgement:
    """Compare the samples' shares with a reference.

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
    return Judgement(verdict, p_value, found[least], margins[least], able, found)


@dataclass(frozen=True)
class Declaration:
    """A declared table, tested: where the samples' P(s|y) lies outside, and whether the association agrees.

    Attributes:
        holds: False where the declared association is rejected.
        p_value: of that test, with the audit's margin.
        association: the declared log odds ratio, of the contrast that disagrees most.
        cells: names of the cells whose intervals do not hold the declared P(s|y).
    """

    holds: bool
    p_value: float
    association: float
    cells: tuple[str, ...]


def declaration_test(shares: GroupShares, table: np.ndarray, terms: Terms) -> Declaration:
    """Test a declared table as a reference that is known.

    Args:
        shares: of the samples.
        table: counts or shares that were declared, K x C.
        terms: margin and level.
    """
    found = judge(shares, Reference(table, known=True), terms)
    declared = np.asarray(table, np.float64) / np.asarray(table, np.float64).sum(0)
    apart = [
        f"s{s}y{y}"
        for y, row in enumerate(shares.shares)
        for s, share in enumerate(row)
        if not (i := share.interval(1 - terms.each)).low <= declared[s, y] <= i.high
    ]
    return Declaration(found.verdict != "poisoned", found.p_value, found.strongest.reference[0], tuple(apart))


@dataclass(frozen=True)
class Audit:
    """All that an audit found.

    Attributes:
        judgement: of the samples against the reference.
        shares: P(s|y) of the samples.
        reference: with which they were compared.
        terms: margin, level, power.
        names: of the sensitive attribute and the target.
        groups: names of the groups.
        classes: names of the classes.
        queries: samples that were looked at.
        samples_sha256: of the file that they are in.
        gap: predicted; None where there are no records to measure it on.
        accuracy: held-out accuracy of the classifier of the group; None where the group is a column.
        fit: whether that classifier errs on samples as on records.
        declaration: where a table was declared.
        notes: what else the reader should know.
    """

    judgement: Judgement
    shares: GroupShares
    reference: Reference
    terms: Terms
    names: tuple[str, str]
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    queries: int
    samples_sha256: str
    gap: PredictedGap | None = None
    accuracy: float | None = None
    fit: Fit | None = None
    declaration: Declaration | None = None
    notes: tuple[str, ...] = field(default=())

    def json(self, seconds: float) -> dict[str, Any]:
        """The fields of the file that ``audit --json`` writes."""
        made, terms = self.judgement, self.terms
        return {
            "verdict": made.verdict,
            "p_value": made.p_value,
            "level": terms.level,
            "association": self._association(made.strongest),
            "cells": self.cells(),
            "predicted_gap": {"estimate": None, "interval": None} if self.gap is None else self.gap.json(),
            "margin": made.margin,
            "guidance": terms.guidance,
            "minimum_detectable_alpha": made.power.alpha,
            "queries": self.queries,
            "samples_sha256": self.samples_sha256,
            "advice": advice(self),
            "role": "receiver",
            "sensitive": self.names[0],
            "target": self.names[1],
            "groups": list(self.groups),
            "classes": list(self.classes),
            "against": "declared" if self.reference.known else "reference",
            "power": terms.power,
            "alpha": terms.wanted,
            "queries_needed": made.power.samples,
            "looks": terms.looks,
            "classifier_accuracy": self.accuracy,
            "assumption": None if self.fit is None else self.fit._asdict(),
            "declaration": None if self.declaration is None else self._declaration(self.declaration),
            "notes": list(self.notes),
            "seconds": round(seconds, 3),
        }

    def _association(self, found: Association) -> dict[str, Any]:
        confidence = 1 - self.terms.each
        return {
            "estimate": found.samples.estimate,
            "interval": list(found.samples.interval(confidence)),
            "reference": found.reference[0],
            "reference_error": found.reference[1],
            "difference": found.difference.estimate,
            "difference_interval": list(found.difference.interval(confidence)),
            "group": self.groups[found.contrast.group],
            "class": self.classes[found.contrast.label],
        }

    def cells(self) -> dict[str, dict[str, Any]]:
        """P(s|y) of each cell with its interval and the reference's, by ``s0y0``."""
        table = np.asarray(self.reference.table, np.float64)
        known, found = table / table.sum(0), {}
        for y, row in enumerate(self.shares.shares):
            for s, share in enumerate(row):
                made = share.interval(1 - self.terms.each)
                interval = [made.low, made.high]
                found[f"s{s}y{y}"] = {"estimate": made.estimate, "interval": interval, "reference": float(known[s, y])}
        return found

    @staticmethod
    def _declaration(made: Declaration) -> dict[str, Any]:
        return {
            "holds": made.holds,
            "p_value": made.p_value,
            "association": made.association,
            "cells_outside": list(made.cells),
        }


def advice(audit: Audit) -> str:
    """What to do, in one plain sentence."""
    made, terms = audit.judgement, audit.terms
    sensitive, target = audit.names
    gap = "" if audit.gap is None else f" (predicted parity gap {audit.gap.estimate:.2f})"
    against = "what was declared" if audit.reference.known else "the reference"
    doubtful = audit.fit is not None and not audit.fit.ok
    if made.verdict == "poisoned":
        return (
            f"Do not train on these samples as they are{gap}: {sensitive} and {target} depend on each other otherwise "
            f"than in {against}, by more than the margin; repair them with the verb repair, or ask for another model."
        )
    if made.verdict == "clean":
        return (
            f"Train on them{gap}: {sensitive} and {target} depend on each other as in {against}, within the margin; a "
            f"poisoned share of {made.power.alpha:.2f} or more would have been seen with a power of {terms.power:g}"
            + (", if the classifier of the group read these samples as it does records." if doubtful else ".")
        )
    if terms.claimed:
        return (
            f"Undecided{gap}: that the samples were drawn at guidance {terms.guidance:g}, which widens the margin, is "
            f"what their samples.json says; add --guidance {terms.guidance:g} if you know it, else --guidance 1."
        )
    if made.power.alpha is not None and made.power.alpha <= terms.wanted:
        return (
            f"Undecided{gap}: the samples lie between clean and poisoned; draw more, set a margin from clean "
            "surrogates (--margin-from), or repair the samples before you train."
        )
    if made.power.samples is None:
        return (
            f"Undecided{gap}: no number of samples would let this audit see a poisoned share of {terms.wanted:g}; give "
            "more reference records or a stronger classifier of the group."
        )
    return (
        f"Undecided{gap}: {audit.queries} samples cannot show a poisoned share of {terms.wanted:g} with a power of "
        f"{terms.power:g}; draw {made.power.samples}."
    )


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
