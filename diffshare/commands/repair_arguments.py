"""The verb ``repair``: its arguments, and what does not go together."""

from pathlib import Path
from typing import Literal

from jsonargparse import Namespace

from diffshare.audits.repair.kinds import To, Weights
from diffshare.commands.configs import with_files
from diffshare.commands.formulas import refuse_escape
from diffshare.commands.options import add, add_recipe
from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.data.source import Source
from diffshare.errors import UserError, check_number, check_seed
from diffshare.layout import Layout, json_object
from diffshare.receiver.samples import samples_file
from diffshare.release.generator import MOST_SAMPLES
from diffshare.release.info import SAMPLES
from diffshare.release.tables import CSV
from diffshare.storage import check_apart, check_new_folder

REPORT = "repair.json"


def _files(folder: Path) -> tuple[str, ...] | None:
    report, own = json_object(folder / REPORT), SAMPLES.files(folder)
    return (
        (*own, REPORT)
        if own and report is not None and {"method", "cells"} <= set(report)
        else None
    )


REPAIRED = Layout("repaired samples folder", _files)


def repair(arguments: list[str]) -> int:
    """Repair a samples folder after its audit."""
    config = parse(arguments)

    from diffshare.commands.repair import repair

    return repair(config)


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``repair``."""
    made = verb_parser(
        "repair",
        "Undo an association in samples: weights, or a choice, with which group and class depend on each other as they "
        "do in the reference of the audit.",
        "--samples samples_audit --audit audit.json --out samples_repaired",
    )
    first = made.first
    add(first, "--samples", type=Path, required=True, help="Samples folder that was audited.")
    audits = "What audit --json wrote about these samples."
    first.add_argument("--audit", type=Path, required=True, help=audits)
    add(first, "--out", help="Samples folder to make.")
    add(first, "--overwrite")
    methods = Literal["reweigh", "resample"]
    how = "reweigh: weights in samples.npz. resample: a choice, which it is for rows of a table or with a model."
    first.add_argument("--method", type=methods | None, default=None, help=how)
    more = "Release folder that is asked for more (resample)."
    add(first, "--model", type=Path | None, required=False, default=None, help=more)
    kept = "Samples wanted of resample with a model; as many as given."
    add(first, "--count", type=int | None, required=False, default=None, help=kept)
    add(first, "--seed", help="Of the choice, and of further samples.")
    aims = made.add_argument_group("what is aimed at")
    aims.add_argument(
        "--to",
        type=To,
        default="reference",
        help="P(s|y) of the reference, equal, or P(s) in every class.",
    )
    kinds = (
        "density: what a classifier sees is as wanted. checked: the same, so that a second reader sees the wanted "
        "shares, each reader from half of the reference; the default where that has enough records. mass: the true "
        "groups are as wanted, for a strong reader."
    )
    aims.add_argument("--weights", type=Weights | None, default=None, help=kinds)
    aims.add_argument(
        "--most", type=float, default=10.0, help="Largest weight, in units of the mean."
    )
    records = made.add_argument_group("the records and the classifier of the group")
    those = "Labelled records; those of the audit where left out."
    records.add_argument("--reference", type=Source | None, default=None, help=those)
    add_recipe(
        records, "--classifier", arguments, "How the group's classifier is trained: a recipe."
    )
    add(made.add_argument_group("how the samples are written"), "--escape-formulas")
    return made


def parse(arguments: list[str]) -> Namespace:
    """Parse and check; ``reference`` and ``classifier`` are objects."""
    made = parser(arguments)
    config = made.parse_args(with_files(arguments, "--reference"))
    built = made.instantiate(config)
    config.reference, config.classifier = built.reference, built.classifier
    check_seed("seed", config.seed)
    check_number("count", config.count, 0, MOST_SAMPLES)
    if not config.most > 1:
        raise UserError(f"--most is {config.most}: a largest weight above 1, the mean, is needed")
    if config.count is not None and (config.count < 2 or config.model is None):
        raise UserError(
            "--count is for resample with a --model that is asked for more, and at least 2"
        )
    check_apart(config.out, config.samples, "samples folder")
    if config.model is not None:
        check_apart(config.out, config.model)
    table = samples_file(config.samples).name == CSV
    refuse_escape(config.escape_formulas, table)
    config.method = config.method or ("resample" if table or config.model else "reweigh")
    if config.method == "reweigh" and (table or config.model):
        what = "rows carry no weights" if table else "a model is asked for nothing"
        raise UserError(
            f"--method reweigh: {what}; use --method resample{'' if table else ' or leave out --model'}"
        )
    check_new_folder(config.out, REPAIRED, overwrite=config.overwrite)
    return config
