"""Arguments that are fields of a dataclass: what is said there is what the command line takes, shows and refuses."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentParser

from diffshare.audits.poisoning.plan import Plan as AuditPlan
from diffshare.audits.repair.plan import Plan as RepairPlan
from diffshare.commands.fields import add_fields, sentence
from diffshare.receiver.property.options import Options


@dataclass(frozen=True)
class Baking:
    """How to bake.

    Attributes:
        oven_heat: in degrees,
            not in gas marks; 180 where None.
        fan: blow as well.
        toppings: what ``oven_heat`` melts.
        tin: ``round``: the usual one.
    """

    oven_heat: int | None = None
    fan: bool = False
    toppings: tuple[str, ...] = ()
    tin: Path = Path("round")


def parsed(*words: str) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    add_fields(parser, Baking, "oven_heat", "fan", "toppings", "tin")
    return parser.parse_args(list(words))


def test_what_is_left_out_has_the_default_of_the_field():
    bare = parsed()
    for field in fields(Baking):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        assert bare[field.name] == default


def test_a_field_takes_values_of_its_type():
    config = parsed("--oven-heat", "200", "--fan", "--toppings", "ham", "1", "--tin", "long")
    assert (config.oven_heat, config.fan, config.tin) == (200, True, Path("long"))
    assert config.toppings == ["ham", "1"]


def test_a_sentence_of_a_docstring_is_one_of_a_help():
    assert sentence(Baking, "oven_heat") == "In degrees, not in gas marks; 180 where left out."
    assert sentence(Baking, "toppings") == "What --oven-heat melts."
    assert sentence(Baking, "tin") == "round: the usual one."  # a word that is typed keeps its case


@pytest.mark.parametrize("kind", [AuditPlan, RepairPlan, Options])
def test_every_choice_has_a_sentence(kind: type):
    for field in fields(kind):
        assert len(sentence(kind, field.name)) > 10
