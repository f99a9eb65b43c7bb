"""The arguments of ``audit``: the parser, and what does not go together."""

from pathlib import Path
from typing import Literal

import torch
from jsonargparse import ArgumentParser, Namespace

from diffshare.audits.leak.result import Report
from diffshare.audits.poisoning.plan import MOST_GUIDANCE, QUERIES
from diffshare.audits.poisoning.result import Audit
from diffshare.audits.poisoning.verdict import MARGIN, POWER, WANTED, Terms
from diffshare.classifiers.recipes import Recipe
from diffshare.commands.configs import with_files
from diffshare.commands.leak_arguments import add_leak, changed, check_leak
from diffshare.data.source import Source
from diffshare.errors import UserError, check_number, check_seed
from diffshare.release.generator import MOST_SAMPLES
from diffshare.storage import check_new_file

REFERENCE_HELP = "YAML file of the receiver's own labelled records. The class that it names is imported: its code runs."

OF_RECORDS = (  # what --declared alone, which counts columns, has no use for
    "candidates", "clusters", "prompts", "margin_from", "sequential", "manifest", "part", "split_seed", "classifier",
    "folds", "degrade", "downstream", "withhold", "gap_repeats",
)  # fmt: skip


def parse(arguments: list[str]) -> tuple[Namespace, Source | None, Recipe | None, Recipe | None]:
    """Parse and check.

    Returns:
        the arguments, the source of the reference, the recipes of the group's and the downstream classifier; None where
        not given.

    Raises:
        UserError: an argument that is none, or two that do not go together.
    """
    parser = _parser()
    config = parser.parse_args(with_files(arguments, "--reference"))
    _check_numbers(config)
    _check_together(config, parser)
    if config.model is not None and config.guidance is None:
        config.guidance = 1.0  # plain conditional sampling
    built = parser.instantiate(config)
    return config, built.reference, built.classifier, built.downstream


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="diffshare audit",
        description="Audit a generator by its samples: was it made to make a classifier unfair?",
        exit_on_error=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    roles = Literal["receiver", "sharer"]
    add("--as", type=roles, default="receiver", help="receiver: was it poisoned? sharer: what does it leak?")
    add("--sensitive", type=str, default=None, help="Attribute that is the group S.")
    add("--target", type=str, default=None, help="Attribute that the samples' classes stand for: Y.")
    add("--candidates", type=str, nargs="+", default=[], help="Several attributes, where it is not known which.")
    add("--clusters", type=int | None, default=None, help="Also so many clusters of the records' features.")
    add("--prompts", type=str, nargs="+", default=[], help="Also sentences, one a group, that --clip compares with.")
    add("--clip", type=str | None, default=None, help="Folder or hub name of a CLIP or SigLIP model, for --prompts.")
    add("--margin", type=float | None, default=None, help=f"Log odds that count as clean; {MARGIN} by default.")
    add("--margin-from", type=Path, nargs="+", default=[], help="Samples folders of clean models, for the margin.")
    add("--level", type=float, default=0.05, help="Of the test: chance of calling a clean model poisoned.")
    add("--alpha", type=float, default=WANTED, help="Poisoned share that must be seen before a model is called clean.")
    add("--power", type=float, default=POWER, help="With which probability.")
    add("--seed", type=int, default=0, help="Of training, samples and resampling.")
    add("--json", type=Path | None, default=None, help="File for the result.")
    _add_samples(parser)
    _add_reference(parser)
    add_leak(parser)
    return parser


def _add_samples(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", type=Path | None, default=None, help="Release folder, asked for samples of each class.")
    add("--samples", type=Path | None, default=None, help="Samples folder, in place of a model.")
    add("--queries", type=int | None, default=None, help=f"Number of samples; {QUERIES} of a model, all of a folder.")
    add("--sequential", type=int | None, default=None, help="Look first at so many, then at twice as many, ...")
    add("--guidance", type=float | None, default=None,
        help="guidance_scale to ask a model at, 1 by default; or that --samples were drawn at.")  # fmt: skip
    add("--steps", type=int | None, default=None, help="Network calls a sample; the card's default.")
    add("--batch-size", type=int | None, default=None, help="Samples a pass.")
    add("--device", default="cpu", help="Where to sample: cpu, cuda, ...")
    add("--out", type=Path | None, default=None, help="Keep the samples that were drawn in this folder, for repair.")
    add("--overwrite", action="store_true", help="Replace --out where it holds something.")


def _add_reference(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--reference", type=Source, sub_configs=True, help=REFERENCE_HELP)
    parts = Literal["auxiliary", "test", "all"]
    add("--part", type=parts, default="auxiliary", help="Part of the reference to use.")
    pools = Literal["natural", "balanced"]
    add("--pool", type=pools, default="natural", help="balanced: the sharer says that its S x Y cells were equal.")
    add("--declared", type=Path | None, default=None, help="S x Y table (JSON, YAML), or a release's diffshare.json.")
    add("--split-seed", type=int, default=0, help="data.seed of the model's training, where both share a source.")
    add("--manifest", type=Path | None, default=None, help="The sharer's mix: checked to be disjoint (for auditors).")
    add("--classifier", type=Recipe | None, default=None, help="How the group's classifier is trained: a recipe.")
    add("--folds", type=int, default=5, help="Models of it, each for the records it has not seen.")
    add("--degrade", action="store_true", help="Train it on blurred and noisy copies as well.")
    add("--downstream", type=Recipe | None, default=None, help="The classifier whose gap is predicted: a recipe.")
    add("--withhold", type=str, nargs="+", default=[], help="Columns of a table that this classifier is not to see.")
    add("--gap-repeats", type=int, default=4, help="Further trainings of it, for the interval; 0 predicts no gap.")


def _check_numbers(config: Namespace) -> None:
    check_terms(config)
    if not 0.5 < config.power < 1:
        raise UserError(f"--power is {config.power}: it lies between 0.5 and 1")
    check_seed("--seed", config.seed)
    check_seed("--split-seed", config.split_seed)
    for name, least, most in (("queries", 1, MOST_SAMPLES), ("sequential", 1, MOST_SAMPLES), ("steps", 1, None),
                              ("folds", 2, None), ("batch_size", 1, None)):  # fmt: skip
        check_number(f"--{name.replace('_', '-')}", config[name], least, most)
    if config.clusters is not None and config.clusters < 2:
        raise UserError(f"--clusters is {config.clusters}: ask for at least 2")
    if config.gap_repeats < 0 or config.gap_repeats == 1:
        raise UserError(f"--gap-repeats is {config.gap_repeats}: at least 2, or 0 for no prediction")
    if config.guidance is not None and not 0 <= config.guidance <= MOST_GUIDANCE:
        raise UserError(
            f"--guidance is {config.guidance}: it lies between 0 and {MOST_GUIDANCE:g} (1: plain conditional sampling)"
        )
    if config.json is not None:
        check_new_file(config.json, Report.FIELDS if config["as"] == "sharer" else Audit.FIELDS)
    try:
        torch.zeros(1, device=config.device).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"--device {config.device} cannot be used here: choose cpu, or cuda where there is one"
        ) from error


def check_terms(config: Namespace) -> None:
    """Refuse a margin, level or share that is none."""
    Terms(MARGIN if config.margin is None else config.margin, config.level, config.alpha, config.power)


def names(config: Namespace) -> list[str]:
    """Attributes that are audited as the group, each once."""
    given = [config.sensitive] if config.sensitive is not None else []
    return list(dict.fromkeys([*given, *config.candidates]))


def _check_together(config: Namespace, parser: ArgumentParser) -> None:
    if (config.model is None) == (config.samples is None):
        raise UserError("give either --model (a release folder) or --samples (a samples folder), one of them")
    if config.samples is not None:
        drawing = ["steps", "batch_size", "out", *(["guidance"] if config["as"] == "sharer" else [])]
        if given := [name for name in drawing if config[name] is not None]:
            flag = given[0].replace("_", "-")
            raise UserError(f"--{flag} is for a model that is asked for samples, --samples are drawn: leave it out")
    check_leak(config, parser)
    if config.reference is None and config.declared is None:
        raise UserError("give --reference FILE (labelled records) or --declared FILE (an S x Y table) to compare with")
    if config["as"] == "sharer":
        return
    if config.target is None:
        raise UserError("name with --target the attribute that the samples' classes stand for")
    if bool(config.prompts) != (config.clip is not None):
        raise UserError("--prompts and --clip go together: a sentence for each group, and the model that reads them")
    unnamed = config.clusters is not None or bool(config.prompts)
    if not names(config) and not unnamed:
        raise UserError(
            "name the group with --sensitive, or several with --candidates, or ask for --clusters or --prompts"
        )
    if config.target in names(config):
        flag = "--sensitive" if config.target == config.sensitive else "--candidates"
        raise UserError(f"{flag} and --target are both '{config.target}': name two attributes")
    if config.margin is not None and config.margin_from:
        raise UserError("--margin and --margin-from both set the margin: give one of them")
    if config.declared is not None and (len(names(config)) > 1 or unnamed):
        raise UserError(
            "--declared is a table of one group: name it with --sensitive, not with --candidates, --clusters or "
            "--prompts"
        )
    if config.reference is None and (given := changed(config, parser, OF_RECORDS)):
        raise UserError(f"--{given[0]} needs records: add --reference FILE, or leave it out")
    if config.pool == "balanced" and config.declared is not None and config.reference is None:
        raise UserError("--pool balanced and --declared both say what the samples are compared with: give one of them")
