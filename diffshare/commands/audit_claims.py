"""What a model or its samples say of themselves, and how far an audit goes by it: they may be made to deceive."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jsonargparse import Namespace

from diffshare.audit.declared import declared_table, read_declared
from diffshare.audit.drawing import Drawing
from diffshare.audit.judgement import Declaration, Terms, declaration_test
from diffshare.audit.material import ReferenceRecords, claimed_guidance
from diffshare.audit.reading import Fit, GroupReader
from diffshare.commands.audit_arguments import names
from diffshare.errors import UserError
from diffshare.stats.shares import GroupShares


def at_guidance(config: Namespace, asked: Terms, info: Mapping[str, Any]) -> Terms:
    """The terms at the guidance of the samples: as it was asked for or is stated, else as their file claims."""
    stated = config.guidance is not None
    guidance = config.guidance if stated else claimed_guidance(info)
    return replace(asked, guidance=guidance, fixed=config.margin is not None, claimed=not stated and guidance != 1)


def class_notes(config: Namespace, drawing: Drawing, reference: ReferenceRecords) -> tuple[str, ...]:
    """Whether the model's classes are those of the target; rows have them by name, images by number alone."""
    model, target = drawing.classes, reference.classes
    if reference.columns or model == target:
        return ()
    said = f"the model's classes are {', '.join(model[:4])}, those of '{config.target}' {', '.join(target[:4])}"
    if set(model) == set(target):
        raise UserError(f"{said}, in this order: give a reference that codes them as the model does")
    return (f"{said}: taken for the same in this order (is --target the right attribute?)",)


def declaration_of(
    config: Namespace,
    reader: GroupReader,
    shares: GroupShares,
    asked: Terms,
    declared: Mapping[str, int] | None,
    fit: Fit | None,
) -> tuple[Declaration | None, str | None]:
    """The test of what was declared, in a file or in the card of the model, and a note where a card's cannot be made.

    What a card says is no reason to refuse the audit of its model: then any card could.
    """
    groups, classes = reader.attribute.classes, reader.reference.classes
    queries = round(sum(row[0].n for row in shares.shares))
    if config.declared is not None:
        table = read_declared(config.declared, groups, classes)
        return declaration_test(shares, table, asked, queries, fit), None
    if declared is None:
        return None, None
    if names(config) != [reader.name]:
        return None, "the card's table is not tested: it does not say of which candidate it is"
    try:
        table = declared_table(dict(declared), groups, classes, str(config.model))
        return declaration_test(shares, table, asked, queries, fit), None
    except UserError as error:
        return None, f"the card's table cannot be tested: {error}"
