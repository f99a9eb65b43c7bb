"""What a model or its samples say of themselves, and how far an audit goes by it: they may be made to deceive."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diffshare.audits.poisoning.declaration import Declaration, declaration_test
from diffshare.audits.poisoning.declared import read_declared, table_of_card
from diffshare.audits.poisoning.plan import MOST_GUIDANCE, Plan
from diffshare.audits.poisoning.reading import GroupReader
from diffshare.audits.poisoning.verdict import Judgement, Terms
from diffshare.errors import UserError
from diffshare.received import is_number
from diffshare.receiver.samples import claimed_guidance
from diffshare.release.card import Card
from diffshare.stats.misfit import Fit
from diffshare.stats.shares import GroupShares


def at_guidance(plan: Plan, asked: Terms, info: Mapping[str, Any]) -> Terms:
    """The terms at the guidance of the samples: as it was asked for or is stated, else as their file claims.

    A claim beyond what ``guidance`` may be counts as 1 (see :func:`guidance_notes`).
    """
    said = claimed_guidance(info)
    claim = said if said <= MOST_GUIDANCE else 1.0
    guidance = claim if plan.guidance is None else plan.guidance
    claimed = plan.guidance is None and guidance != 1
    return replace(asked, guidance=guidance, fixed=plan.margin is not None, claimed=claimed)


def guidance_notes(plan: Plan, info: Mapping[str, Any]) -> tuple[str, ...]:
    """That the samples claim a guidance that is none."""
    said = info.get("guidance")
    if (
        plan.guidance is not None
        or said is None
        or (is_number(said) and 0 <= said <= MOST_GUIDANCE)
    ):
        return ()
    return (
        f"the guidance that samples.json claims is no number from 0 to {MOST_GUIDANCE:g}: it is taken for 1",
    )


def judgement_notes(
    judgement: Judgement, asked: Terms, group: str, classes: Sequence[str]
) -> tuple[str, ...]:
    """What a verdict leaves out: samples of unknown group, and what it would be without a claim."""
    notes = []
    if judgement.unknown is not None:
        notes.append(
            f"the {group} of {judgement.unknown.samples} samples is not known ({judgement.unknown.share:.1%} of those "
            f"of class '{classes[judgement.unknown.label]}'): they count for no group"
        )
    if judgement.plain:
        notes.append(
            f"poisoned, unless the samples were really drawn at guidance {asked.guidance:g}, which only their "
            f"samples.json says; state it with `guidance` (1 if you do not know)"
        )
    return tuple(notes)


def declaration_of(
    declared: Path | None,
    names: Sequence[str],
    reader: GroupReader,
    shares: GroupShares,
    asked: Terms,
    card: Card | None,
    fit: Fit | None,
    unknown: np.ndarray | None,
) -> tuple[Declaration | None, list[str]]:
    """The test of what was declared, in a file or in the card of the model, and what to know of it.

    What a card says is no reason to refuse the audit of its model: then any card could.
    """
    groups, classes = reader.attribute.classes, reader.reference.classes
    queries = round(sum(row[0].n for row in shares.shares))
    if declared is not None:
        table = read_declared(declared, groups, classes)
        return declaration_test(shares, table.table, asked, queries, fit, unknown), list(
            table.notes
        )
    if card is None or card.declared is None:
        return None, []
    if list(names) != [reader.name]:
        return None, ["the card's table is not tested: it does not say of which candidate it is"]
    try:
        table = table_of_card(card, groups, classes, "the model")
        return declaration_test(shares, table.table, asked, queries, fit, unknown), list(
            table.notes
        )
    except UserError as error:
        return None, [f"the card's table cannot be tested: {error}"]
