"""What the receiver chose himself is refused, directly or by its consequence; all else passes."""

import numpy as np
import pytest

from diffshare.data.source import Attribute
from diffshare.errors import UserError
from diffshare.receiver.property.conditioning import refuse_chosen, stand_for

DIGIT = np.arange(100) % 10
DIGITS = tuple(map(str, range(10)))
ATTRIBUTES = {
    "digit": Attribute(DIGIT.astype(np.int16), DIGITS),
    "below5": Attribute((DIGIT < 5).astype(np.int16), ("not below5", "below5")),
    "green": Attribute((np.arange(100) % 3 == 0).astype(np.int16), ("not green", "green")),
}


@pytest.mark.parametrize("labels", ["balanced", "3", "7", "unknown"])
@pytest.mark.parametrize("how", [{"classes": DIGITS}, {"conditioned_on": "digit"}])
def test_the_label_and_what_follows_from_it_are_refused(labels: str, how: dict) -> None:
    with pytest.raises(UserError, match=r"'digit' is what the samples were drawn by"):
        refuse_chosen("digit", ATTRIBUTES, labels=labels, **how)
    with pytest.raises(
        UserError, match=r"'below5' follows from 'digit', what .*`labels` natural or none"
    ):
        refuse_chosen("below5", ATTRIBUTES, labels=labels, **how)
    refuse_chosen("green", ATTRIBUTES, labels=labels, **how)


@pytest.mark.parametrize("labels", ["none", "natural"])
def test_open_sampling_passes(labels: str) -> None:
    for name in ATTRIBUTES:
        refuse_chosen(name, ATTRIBUTES, labels=labels, classes=DIGITS)
    # the labels alone differ
    with pytest.raises(UserError, match="'digit' is what the samples were drawn by"):
        refuse_chosen("digit", ATTRIBUTES, labels="balanced", classes=DIGITS)


def test_a_class_does_not_follow_from_its_consequence() -> None:
    refuse_chosen("digit", ATTRIBUTES, labels="balanced", conditioned_on="below5")
    with pytest.raises(UserError, match="'below5' follows from 'digit'"):  # the other way round
        refuse_chosen("below5", ATTRIBUTES, labels="balanced", conditioned_on="digit")


def test_records_that_know_only_one_of_the_two_say_nothing() -> None:
    unknown = ATTRIBUTES | {"below5": Attribute(np.full(100, -1, np.int16), ("a", "b"))}
    refuse_chosen("below5", unknown, labels="balanced", conditioned_on="digit")
    with pytest.raises(UserError, match="'below5' follows from 'digit'"):  # where both are known
        refuse_chosen("below5", ATTRIBUTES, labels="balanced", conditioned_on="digit")


def test_unknown_classes_pass() -> None:
    refuse_chosen("below5", ATTRIBUTES, labels="balanced", classes=("x", "y"))
    # classes that the records know
    with pytest.raises(UserError, match="'below5' follows from 'digit'"):
        refuse_chosen("below5", ATTRIBUTES, labels="balanced", classes=DIGITS)


SIGNS = ("-1", "1")
FACES = {
    name: Attribute((np.arange(60) // k % 2).astype(np.int16), SIGNS)
    for name, k in (("Hat", 1), ("Male", 7))
}


def test_of_attributes_with_the_same_names_the_right_one_has_to_be_named() -> None:
    assert stand_for(FACES, SIGNS) == ["Hat", "Male"]
    with pytest.raises(
        UserError,
        match="may be those of any of 'Hat', 'Male': name the right one with `conditioned_on`",
    ):
        refuse_chosen("Hat", FACES, labels="balanced", classes=SIGNS)
    with pytest.raises(UserError, match="name the right one with `target`"):
        refuse_chosen("Hat", FACES, labels="balanced", classes=SIGNS, option="target")
    for known in ({"conditioned_on": "Male"}, {"target": "Male"}):
        refuse_chosen("Hat", FACES, labels="balanced", classes=SIGNS, **known)
        with pytest.raises(UserError, match="'Male' is what the samples were drawn by"):
            refuse_chosen("Male", FACES, labels="balanced", classes=SIGNS, **known)
    refuse_chosen("Hat", FACES, labels="natural", classes=SIGNS)


@pytest.mark.parametrize("classes", [DIGITS[:7], (*DIGITS, "ten"), DIGITS[::-1]])
def test_one_side_may_lack_a_class_and_has_an_order_of_its_own(classes: tuple[str, ...]) -> None:
    assert stand_for(ATTRIBUTES, classes) == ["digit"]
    with pytest.raises(UserError, match="'below5' follows from 'digit'"):
        refuse_chosen("below5", ATTRIBUTES, labels="balanced", classes=classes)


def test_a_target_that_the_records_do_not_have_says_nothing() -> None:
    assert (
        stand_for(ATTRIBUTES, DIGITS, "numeral")
        == stand_for(ATTRIBUTES, DIGITS, "green")
        == ["digit"]
    )
