"""Was a generator's training set chosen to make a classifier unfair? What the receiver's audit says, and advises."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from diffshare.audits.fields import AUDIT
from diffshare.audits.poisoning.declaration import Declaration
from diffshare.audits.poisoning.gap import PredictedGap
from diffshare.audits.poisoning.own_gap import OwnGap, excess
from diffshare.audits.poisoning.plan import Plan
from diffshare.audits.poisoning.verdict import Judgement, Terms, Unknown, undecided
from diffshare.stats.association import Association, Reference, Verdict
from diffshare.stats.detection import Power
from diffshare.stats.misfit import Fit
from diffshare.stats.shares import GroupShares

WORSE = 0.1  # parity gap above the reference's own from which on nobody is advised to train


@dataclass(frozen=True, repr=False)
class Audit:
    """What an audit says of samples.

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
        gap: predicted; None where there are no records to measure it on, or it was not asked for.
        own: the gap of classifiers that are trained on the reference; None as well where it is too
            small.
        accuracy: held-out accuracy of the classifier of the group; None where the group is a column.
        fit: whether that classifier errs on samples as on records.
        declaration: where a table was declared.
        notes: what else the reader should know.
        candidates: the audits of all candidates for the group, this one among them; empty of one.
        plan: the choices by which it was made.
        sensitive: all names that were audited as the group.
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
    own: OwnGap | None = None
    accuracy: float | None = None
    fit: Fit | None = None
    declaration: Declaration | None = None
    notes: tuple[str, ...] = field(default=())
    candidates: tuple["Audit", ...] = field(default=())
    plan: Plan = field(default_factory=Plan)
    sensitive: tuple[str, ...] = ()

    # by which its file is told from others
    FIELDS: ClassVar[tuple[str, ...]] = AUDIT

    @property
    def excess(self) -> float | None:
        """Predicted gap above the reference's own; None where one of them is not there."""
        return None if self.gap is None or self.own is None else excess(self.gap, self.own)

    @property
    def worse(self) -> bool:
        """Whether a classifier is predicted to be more unequal, by 0.1, than one of the reference's records."""
        return self.excess is not None and self.excess > WORSE

    def __repr__(self) -> str:
        gap = "none" if self.gap is None else f"{self.gap.estimate:.3f}"
        return (
            f"Audit({self.verdict}, p_value={self.p_value:.3g}, sensitive={self.names[0]!r}, predicted_gap={gap}, "
            f"queries={self.queries})"
        )

    @property
    def verdict(self) -> Verdict:
        """``poisoned``, ``clean`` or ``inconclusive``."""
        return self.judgement.verdict

    @property
    def p_value(self) -> float:
        """Of the association's difference from the reference, adjusted for contrasts, looks and candidates."""
        return self.judgement.p_value

    @property
    def predicted_gap(self) -> PredictedGap | None:
        """The parity gap of a classifier that is trained on such samples."""
        return self.gap

    @property
    def power(self) -> Power:
        """What the audit could have seen."""
        return self.judgement.power

    @property
    def advice(self) -> str:
        """What to do, a sentence."""
        return advice(self)

    def to_json(self, seconds: float = 0.0) -> dict[str, Any]:
        """The fields of the file that the verb ``audit`` writes, but ``settings``."""
        whole = self._json(seconds)
        if self.candidates:
            kept = (
                "sensitive",
                "verdict",
                "p_value",
                "association",
                "cells",
                "minimum_detectable_alpha",
                "groups",
            )
            told = [one._json(0) for one in self.candidates]
            whole["candidates"] = [{name: one[name] for name in kept} for one in told]
        return whole

    def _json(self, seconds: float) -> dict[str, Any]:
        judgement, terms = self.judgement, self.terms
        return {
            "verdict": judgement.verdict,
            "p_value": judgement.p_value,
            "level": terms.level,
            "association": self._association(judgement.strongest),
            "cells": self.cells(),
            "predicted_gap": {"estimate": None, "interval": None}
            if self.gap is None
            else self.gap.json(),
            "reference_gap": {"estimate": None, "interval": None}
            if self.own is None
            else self.own.json(),
            "margin": judgement.margin,
            "guidance": terms.guidance,
            "minimum_detectable_alpha": judgement.power.alpha,
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
            "queries_needed": judgement.power.samples,
            "looks": terms.looks,
            "classifier_accuracy": self.accuracy,
            "assumption": None if self.fit is None else self._assumption(self.fit),
            "unknown": None if judgement.unknown is None else self._unknown(judgement.unknown),
            "declaration": None
            if self.declaration is None
            else self._declaration(self.declaration),
            "notes": list(self.notes),
            "seconds": round(seconds, 3),
        }

    def _association(self, association: Association) -> dict[str, Any]:
        confidence = 1 - self.terms.each
        return {
            "estimate": association.samples.estimate,
            "interval": list(association.samples.interval(confidence)),
            "reference": association.reference[0],
            "reference_error": association.reference[1],
            "difference": association.difference.estimate,
            "difference_interval": list(association.difference.interval(confidence)),
            "group": self.groups[association.contrast.group],
            "class": self.classes[association.contrast.label],
        }

    def cells(self) -> dict[str, dict[str, Any]]:
        """P(s|y) of each cell with its interval and the reference's, by ``s0y0``."""
        table = np.asarray(self.reference.table, np.float64)
        reference, cells = table / table.sum(0), {}
        for y, row in enumerate(self.shares.shares):
            for s, share in enumerate(row):
                interval = share.interval(1 - self.terms.each)
                cells[f"s{s}y{y}"] = {
                    "estimate": interval.estimate,
                    "interval": [float(interval.low), float(interval.high)],
                    "reference": float(reference[s, y]),
                }
        return cells

    @staticmethod
    def _declaration(declaration: Declaration) -> dict[str, Any]:
        return {
            "holds": declaration.holds,
            "p_value": declaration.p_value,
            "association": declaration.association,
            "cells_outside": list(declaration.cells),
            "reason": declaration.reason,
        }

    def _unknown(self, unknown: Unknown) -> dict[str, Any]:
        """The samples of unknown group: how many, and the largest share of a class that they are."""
        return {
            "samples": unknown.samples,
            "share": unknown.share,
            "class": self.classes[unknown.label],
            "decides": unknown.decides,
        }

    def _assumption(self, fit: Fit) -> dict[str, Any]:
        """The check of the classifier, and the shift of d that it stands for: null where it passed, or has no bound."""
        misfit = self.judgement.misfit
        shift = None if misfit is None or not np.isfinite(misfit.shift) else misfit.shift
        return {
            "ok": fit.ok,
            "p_value": fit.p_value,
            "shift": shift,
            "decides": misfit is not None and misfit.decides,
        }


def advice(audit: Audit) -> str:
    """What to do, in one plain sentence.

    Nobody is told to train because nothing was found: the predicted gap beside the reference's own
    must speak for it.
    """
    judgement, terms = audit.judgement, audit.terms
    sensitive, target = audit.names
    gap = (
        ""
        if audit.gap is None
        else f" (predicted parity gap {audit.gap.estimate:.2f}{_beside(audit)})"
    )
    against = "what was declared" if audit.reference.known else "the reference"
    if judgement.verdict == "poisoned":
        return (
            f"Do not train on these samples as they are{gap}: {sensitive} and {target} depend on each other otherwise "
            f"than in {against}, by more than the margin; repair them with the verb repair, or ask for another model."
        )
    if judgement.verdict != "clean":
        return f"Undecided{gap}: {undecided(judgement, terms, audit.queries, audit.fit)}."
    alike = f"{sensitive} and {target} depend on each other as in {against}, within the margin"
    if audit.worse:
        return (
            f"Do not train on these samples as they are{gap}: {alike}, but a classifier trained on them would be more "
            f"unequal, by {audit.excess:.2f}, than one trained on the reference: records may have been chosen inside "
            "the cells of group and class, which the verb repair does not undo; ask for another model."
        )
    if audit.excess is None:
        return (
            f"Do not train on these samples for this alone{gap}: {alike}, but records may have been chosen inside the "
            "cells of group and class, which shows in a classifier's gap beside the reference's own; that was not "
            f"measured: {_missing(audit)}."
        )
    return f"Train on them{gap}: {alike}; {_seen(judgement, terms)}."


def _beside(audit: Audit) -> str:
    return "" if audit.own is None else f", the reference's own {audit.own.estimate:.2f}"


def _missing(audit: Audit) -> str:
    """What it takes to compare the gaps."""
    if audit.gap is not None:
        return "give more reference records, of each group and class"
    if audit.plan.gap_repeats == 0:
        return "set `gap_repeats` to 2 or more"
    return "give labelled records of your own as the reference"


def _seen(judgement: Judgement, terms: Terms) -> str:
    """What the audit would have seen."""
    if judgement.misfit is not None:
        return (
            f"a poisoned share of {terms.wanted:g} is ruled out even where the classifier of the group, which does not "
            f"err on these samples as on records, hides {judgement.misfit.size}"
        )
    power = f"with a power of {terms.power:g}"
    return f"a poisoned share of {judgement.power.alpha:.2f} or more would have been seen {power}"
