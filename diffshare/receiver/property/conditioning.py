"""A property that follows from what the receiver asked for says nothing of the sharer: found out and refused."""

from collections.abc import Mapping, Sequence

import numpy as np

from diffshare.classes import listed
from diffshare.data.source import Attribute
from diffshare.errors import UserError

OPEN = ("none", "natural")  # ways to draw samples in which the receiver does not choose the classes


def stand_for(
    attributes: Mapping[str, Attribute], classes: Sequence[str], target: str | None = None
) -> list[str]:
    """Attributes that a model's classes may stand for, by their names.

    The one that the model names, else those with the same names of classes, else those that share two or more: one side
    may lack a class. Several attributes may have the same names, such as ``-1`` and ``1``.

    Args:
        attributes: of the records.
        classes: names of the model's classes; empty where not known.
        target: name of the attribute that the model says they are of; None where it does not.
    """
    common = {name: len(set(a.classes) & set(classes)) for name, a in attributes.items()}
    if target in common and common[target]:
        return [target]
    same = [name for name, a in attributes.items() if classes and set(a.classes) == set(classes)]
    return same or [name for name, count in common.items() if count > 1]


def refuse_chosen(
    name: str,
    attributes: Mapping[str, Attribute],
    *,
    labels: str,
    classes: Sequence[str] = (),
    conditioned_on: str | None = None,
    target: str | None = None,
    option: str = "conditioned_on",
) -> None:
    """Refuse a property that is the conditioning label, or follows from it, where the receiver chose the labels.

    The conditioning attribute is the one that is named, else what the classes may stand for (:func:`stand_for`).
    A property follows from it where each of its classes has one value of the property alone.

    Args:
        name: the property.
        attributes: of the auxiliary records, the property among them.
        labels: how the samples were drawn; only ``none`` and ``natural`` are not the receiver's choice.
        classes: names of the model's classes; empty where not known.
        conditioned_on: the attribute that the classes stand for.
        target: the attribute that the model says they are of.
        option: that names ``conditioned_on``, for messages.

    Raises:
        UserError: the property follows, the classes may stand for it or for another attribute, or there is no attribute
            of the given name.
    """
    if conditioned_on is not None and conditioned_on not in attributes:
        names = ", ".join(sorted(attributes)[:12])
        raise UserError(
            f"`{option}` '{conditioned_on}' is no attribute of the auxiliary source: it has {names}"
        )
    if labels in OPEN:
        return
    named = [conditioned_on] if conditioned_on else stand_for(attributes, classes, target)
    chosen = [
        label for label in named if label == name or _follows(attributes[name], attributes[label])
    ]
    if chosen and len(named) > len(chosen):
        raise UserError(
            f"the samples were drawn by the classes {listed(classes)} (labels: {labels}), which may be those of any of "
            f"{listed(named)}: name the right one with `{option}`, or draw with `labels` natural or none"
        )
    for label in chosen:
        how = "is" if label == name else f"follows from '{label}',"
        raise UserError(
            f"the property '{name}' {how} what the samples were drawn by (labels: {labels}): whoever drew them chose "
            "its share, the model says nothing of it; draw with `labels` natural or none"
        )


def _follows(effect: Attribute, cause: Attribute) -> bool:
    """Whether each class of ``cause`` has one value of ``effect``, among records that know both."""
    both = (effect.codes >= 0) & (cause.codes >= 0)
    counts = np.zeros((len(cause.classes), len(effect.classes)), np.int64)
    np.add.at(counts, (cause.codes[both], effect.codes[both]), 1)
    return bool(len(cause.classes) > 1 and both.any() and ((counts > 0).sum(1) <= 1).all())
