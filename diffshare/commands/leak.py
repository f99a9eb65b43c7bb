"""The verb ``leak``, which is ``audit --as sharer``: what a release gives away before it goes out."""

import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from diffshare.audits.poisoning.plan import Plan
from diffshare.commands.door import samples_of
from diffshare.commands.fields import add_fields
from diffshare.commands.options import add, changed
from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.data.source import Source
from diffshare.errors import UserError
from diffshare.storage import write_result

HEADING = "What a receiver can read off it"
# of the choices of a receiver's audit
OF_BOTH = ("queries", "level", "guidance", "classifier", "folds", "degrade", "seed")
OF_RECEIVER = (
    "sensitive",
    "candidates",
    "declared",
    "out",
    *(field.name for field in fields(Plan) if field.name not in OF_BOTH),
)
PROPERTIES: dict[str, Any] = {"type": str, "nargs": "+", "default": []}


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``leak``, for its help: ``audit`` parses."""
    verb = verb_parser(
        "leak",
        "What does a release give away? The receiver's attacks on your own model, before it goes out. The same as "
        "audit --as sharer, which has the other arguments.",
        "lightning_logs/faces/release --against source/faces --properties Male --json leak.json",
    )
    first = verb.first
    what = "Release folder, or samples folder, that is to go out."
    first.add_argument("what", type=Path, help=what)
    against = (
        "Labelled records that it was not trained on: a table, a folder of images, a source's YAML."
    )
    first.add_argument("--against", required=True, help=against)
    first.add_argument("--properties", help="Attributes to attack; all by default.", **PROPERTIES)
    add_fields(first, Plan, "queries")
    add(first, "--manifest", help="Your mix: the true shares are then known.")
    add(first, "--json")
    add_fields(first, Plan, "seed")
    return verb


def parse(arguments: list[str]) -> tuple[Namespace, Plan, Source | None]:
    """Parse and check; see :func:`diffshare.commands.audit.parse`.

    Raises:
        UserError: nothing is named first, or nothing to attack with.
    """
    from diffshare.commands import audit

    if not arguments or arguments[0].startswith("-"):
        if {"-h", "--help", "--help-all"} & {*arguments}:
            parser(arguments).parse_args(arguments)
        raise UserError("name what goes out first: leak SAMPLES_OR_MODEL --against FILE")
    if not any(word.split("=")[0].split(".")[0] == "--against" for word in arguments):
        raise UserError(
            "leak attacks with labelled records that were not trained on: add --against FILE"
        )
    return audit.parse([*arguments, "--as", "sharer"])


def add_leak(group: Any) -> None:
    """Add to a group what the sharer's audit has beyond the receiver's."""
    named = "Sharer: attributes to attack, NAME, or NAME:CLASS; all by default."
    group.add_argument("--properties", help=named, **PROPERTIES)
    card = "Sharer: put what can be read, without the values, into README.md."
    group.add_argument("--write-card", action="store_true", help=card)


def check_leak(config: Namespace, verb: VerbParser) -> None:
    """Refuse what does not go together with the role.

    Args:
        config: the arguments.
        verb: the parser, which knows their defaults.

    Raises:
        UserError: an argument of the other role, or none that says what to attack with.
    """
    if config["as"] == "receiver":
        if given := changed(config, verb, ("properties", "write_card")):
            raise UserError(
                f"{given[0]} is for a sharer who audits the own release: add --as sharer, or leave it out"
            )
        return
    if given := changed(config, verb, OF_RECEIVER):
        raise UserError(
            f"{given[0]} is for a receiver's audit, --as sharer has no use for it: leave it out"
        )
    if config.reference is None:
        raise UserError(
            "--as sharer attacks with labelled records that were not trained on: add --reference FILE"
        )
    if config.write_card and config.model is None:
        raise UserError(
            "--write-card writes into a release: name it with --model instead of --samples"
        )


def leak(arguments: list[str]) -> int:
    """What a release, or a folder of samples, gives away before it goes out."""
    config, plan, source = parse(arguments)
    assert source is not None  # the arguments were checked
    return attack(config, plan, source)


def attack(config: Namespace, plan: Plan, source: Source) -> int:
    """Attack, write the files that are asked for, show the table.

    Args:
        config: the arguments of ``audit``.
        plan: its choices.
        source: records that the sharer has not trained on, with their attributes.
    """
    started = time.perf_counter()

    from diffshare.audits.leak.audit import leak
    from diffshare.audits.leak.members import member_leak
    from diffshare.audits.leak.result import Report, section_of
    from diffshare.audits.leak.training import read_training
    from diffshare.commands.leak_table import show_leak
    from diffshare.receiver.box import open_model
    from diffshare.receiver.records import Records
    from diffshare.release.section import write_section

    training = None if config.manifest is None else read_training(config.manifest, source.index())
    disjoint = config.manifest if training is not None and training.same_source else None
    records = Records.from_source(
        source, part=config.part, split_seed=config.split_seed, manifest=disjoint
    )
    box = None if config.model is None else open_model(config.model, device=config.device)
    names = ("properties", "target", "steps", "batch_size")
    report = leak(
        samples_of(config) if box is None else box,
        records,
        training=training,
        **{name: config[name] for name in names},
        **{name: getattr(plan, name) for name in OF_BOTH if name != "guidance"},
        guidance=1.0 if plan.guidance is None else plan.guidance,
    )
    if training is not None and box is not None:
        drawn = {name: config[name] for name in ("split_seed", "device", "seed")}
        members = member_leak(
            config.model, source, training, config.part, level=1 - plan.level, **drawn
        )
        report = replace(report, membership=members)
    if config.write_card:
        report = report.of(write_section(config.model, HEADING, section_of(report)).sha256)
    if config.json is not None:
        write_result(config.json, report.to_json(time.perf_counter() - started), Report.FIELDS)
    show_leak(report)
    return 0
