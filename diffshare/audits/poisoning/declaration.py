"""A declared table, tested on the samples of its model."""

from dataclasses import dataclass

import numpy as np

from diffshare.audits.poisoning.verdict import Terms, judge, undecided
from diffshare.stats.association import Reference
from diffshare.stats.misfit import Fit
from diffshare.stats.shares import GroupShares


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
    shares: GroupShares,
    table: np.ndarray,
    terms: Terms,
    queries: int,
    fit: Fit | None = None,
    unknown: np.ndarray | None = None,
) -> Declaration:
    """Test a declared table as a reference that is known.

    Args:
        shares: of the samples.
        table: counts or shares that were declared, K x C.
        terms: margin and level.
        queries: number of samples.
        fit: of the classifier that read the group; None where none did.
        unknown: samples of each class whose group is not known, C; None where a classifier read it.
    """
    judgement = judge(shares, Reference(table, known=True), terms, fit, unknown)
    declared = np.asarray(table, np.float64) / np.asarray(table, np.float64).sum(0)
    apart = [
        f"s{s}y{y}"
        for y, row in enumerate(shares.shares)
        for s, share in enumerate(row)
        if not (i := share.interval(1 - terms.each)).low <= declared[s, y] <= i.high
    ]
    holds = {"clean": True, "poisoned": False, "inconclusive": None}[judgement.verdict]
    reason = undecided(judgement, terms, queries, fit) if holds is None else None
    return Declaration(
        holds, judgement.p_value, judgement.strongest.reference[0], tuple(apart), reason
    )
