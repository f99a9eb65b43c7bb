"""The verb ``repair``: an association of group and class in samples undone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from diffshare.audits.repair.layout import REPAIRED
from diffshare.audits.repair.plan import Plan
from diffshare.commands.configs import with_files
from diffshare.commands.door import add_door, named, reading_of
from diffshare.commands.fields import add_fields, choices
from diffshare.commands.formulas import refuse_escape
from diffshare.commands.options import add, add_recipe
from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.errors import UserError
from diffshare.receiver.choices import choose
from diffshare.receiver.door import holds_rows
from diffshare.storage import check_apart, check_new_folder
from diffshare.terminal import cell_text, console, say

MISSED = 0.05  # a share that is further off what is wanted is worth a note


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``repair``."""
    verb = verb_parser(
        "repair",
        "Undo an association in samples: weights, or a choice, with which group and class depend on each other as they "
        "do in the reference of the audit.",
        "synthetic.csv --against holdout.csv --audit audit.json --out repaired",
    )
    first = verb.first
    add(first, "--samples", type=Path, required=True, help="Samples that were audited.")
    audits = "What audit --json wrote about these samples."
    first.add_argument("--audit", type=Path, required=True, help=audits)
    add(first, "--out", help="Samples folder to make.")
    add(first, "--overwrite")
    add_fields(first, Plan, "method")
    more = "Release folder that is asked for more (resample)."
    add(first, "--model", type=Path | None, required=False, default=None, help=more)
    add_fields(first, Plan, "count", "seed")
    add_fields(verb.add_argument_group("what is aimed at"), Plan, "to", "weights", "most")
    records = verb.add_argument_group("the records and the classifier of the group")
    add(records, "--reference", help="Labelled records; those of the audit where left out.")
    how = "How the group's classifier is trained: a recipe."
    add_recipe(records, "--classifier", arguments, how)
    add_door(verb)
    add(verb.add_argument_group("how the samples are written"), "--escape-formulas")
    return verb


def parse(arguments: list[str]) -> tuple[Namespace, Plan]:
    """Parse and check.

    Returns:
        the arguments, whose ``reference`` and ``classifier`` are objects, and the choices of the repair.
    """
    verb = parser(arguments)
    config = verb.parse_args(
        with_files(named(arguments, "--reference", model=False, parts=False), "--reference")
    )
    built = verb.instantiate(config)
    config.reference, config.classifier = built.reference, built.classifier
    if config.count is not None and config.model is None:
        raise UserError("--count is for resample with a --model that is asked for more")
    plan = choose(Plan, choices(Plan, config))
    check_apart(config.out, config.samples, "samples folder")
    if config.model is not None:
        check_apart(config.out, config.model)
    table = holds_rows(config.samples)
    refuse_escape(config.escape_formulas, table)
    plan = replace(plan, method=plan.method or ("resample" if table or config.model else "reweigh"))
    if plan.method == "reweigh" and (table or config.model):
        what = "rows carry no weights" if table else "a model is asked for nothing"
        raise UserError(
            f"--method reweigh: {what}; use --method resample{'' if table else ' or leave out --model'}"
        )
    check_new_folder(config.out, REPAIRED, overwrite=config.overwrite)
    return config, plan


def repair(arguments: list[str]) -> int:
    """Repair a samples folder after its audit."""
    config, plan = parse(arguments)

    from diffshare.audits.repair.folder import repair_folder

    report = repair_folder(
        config.samples,
        config.audit,
        config.out,
        plan,
        source=config.reference,
        classifier=config.classifier,
        model=config.model,
        escape=config.escape_formulas,
        overwrite=config.overwrite,
        reading=reading_of(config),
        rename=config.rename,
    )
    _show(report)
    say(f"samples: {config.out}")
    return 0


def _show(report: dict[str, Any]) -> None:
    from rich.table import Table

    groups, classes = report["groups"], report["classes"]
    table = Table(title=f"repair by {report['method']}: share of each group within each class")
    for column in ("cell", "before", "wanted", "after (estimated)"):
        table.add_column(column, justify="left" if column == "cell" else "right")
    for name, cell in report["cells"].items():
        s, y = (int(v) for v in name[1:].split("y"))
        values = [f"{cell[key]:.3f}" for key in ("before", "wanted", "after")]
        table.add_row(cell_text(f"P({groups[s]} | {classes[y]})"), *values)
    console().print(table)
    sizes = " + ".join(f"{size:.0f}" for size in report["effective_sizes"])
    say(
        f"samples: {report['count']}; effective sizes of the classes {sizes}; further queries {report['queries']}"
    )
    missed = max(abs(cell["after"] - cell["wanted"]) for cell in report["cells"].values())
    if report["weights"] == "checked" and missed > MISSED:
        say(
            f"note:    a share that the second reader sees stays {missed:.2f} off what is wanted: the first reader "
            "does not tell the groups well enough in these samples (more records, a stronger --classifier)"
        )
    if report["weights_cut"] > 0.05:
        say(
            f"note:    {report['weights_cut']:.0%} of the weights were out of bounds and cut: a part of the imbalance "
            "stays (a stronger classifier of the group, or a larger --most)"
        )
