"""The arguments of ``infer-property``: the parser, and what does not go together."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jsonargparse import ArgumentParser, Namespace

from diffshare.classifiers.recipes import Recipe
from diffshare.commands.configs import check_configs
from diffshare.data.source import Source
from diffshare.errors import UserError, check_number, check_seed, one_of
from diffshare.receiver.property.infer import AUTO, DEFAULT_METHOD
from diffshare.receiver.property.inference import Inferred
from diffshare.receiver.property.remedies import refuse_surrogates
from diffshare.release.generator import MOST_SAMPLES
from diffshare.stats.intervals import check_level
from diffshare.stats.prevalence import NAMES, UNCORRECTED
from diffshare.storage import check_new_file

ZERO_SHOT, SCHEMA = "zero-shot", "schema"


def parse(arguments: list[str]) -> tuple[Namespace, Source | None, Recipe | None]:
    """Parse and check.

    Returns:
        the arguments, the auxiliary source and the recipe of the classifier, None where not given.

    Raises:
        UserError: an argument that is none, or two that do not go together.
    """
    parser = _parser()
    check_configs(
        [a.replace("--auxiliary", "--config", 1) if a.split("=")[0] == "--auxiliary" else a for a in arguments]
    )
    config = parser.parse_args(arguments)
    _check_numbers(config)
    _check_samples(config)
    _check_method(config)
    _check_remedies(config)
    built = parser.instantiate(config)
    return config, built.auxiliary, built.classifier


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="diffshare infer-property",
        description="Infer the share of a property in a model's training set from its samples, with an interval.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--property",
        required=True,
        help="Attribute of the auxiliary source; with zero-shot any name; with schema a column or age>=40.",
    )
    add("--value", type=str, default=None, help="Class whose share is asked for; the second of two where left out.")
    add("--level", type=float, default=0.95, help="Confidence level of the interval.")
    add("--seed", type=int, default=0, help="Of the classifier's training, the samples and the resampling.")
    add("--json", type=Path | None, default=None, help="File for the result.")
    _add_queries(parser)
    _add_classifier(parser)
    add("--surrogate", type=Path, nargs="+", default=[], help="Samples folders of surrogate generators, 3 or more.")
    add("--surrogate-p", type=float, nargs="+", default=[], help="Share of class 1 in each one's training set.")
    add("--widen", action="store_true", help="Where the assumption fails, widen to the intervals of all methods.")
    add("--clip", type=str | None, default=None, help="Zero-shot: folder or hub name of a CLIP or SigLIP model.")
    add(
        "--prompts",
        type=str,
        nargs="+",
        default=[],
        help="Zero-shot: a sentence a class, the asked-for first; | joins.",
    )
    add("--labelled", type=Path | None, default=None, help="CSV of hand-labelled samples that corrects the estimate.")
    add("--label-sheet", type=Path | None, default=None, help="Write a picture and a CSV to fill in; infer nothing.")
    add("--label-count", type=int, default=100, help="Samples on the sheet.")
    add("--overwrite", action="store_true", help="Replace --label-sheet where it holds something.")
    return parser


def _add_queries(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", type=Path | None, default=None, help="Release folder, asked for samples.")
    add("--samples", type=Path | None, default=None, help="Samples folder, in place of a model.")
    add(
        "--queries", type=str | None, default=None, help="Number of samples, or auto. 1000 of a model, all of a folder."
    )
    add("--width", type=float | None, default=None, help="With --queries auto: half width that is wanted.")
    add(
        "--labels",
        type=str,
        default=None,
        help="As for the verb sample: natural, none, balanced or one class. Natural where the card declares it, else "
        "none.",
    )
    add("--steps", type=int | None, default=None, help="Network calls a sample; the card's default.")
    add("--guidance", type=float, default=1.0, help="guidance_scale; 1 is plain conditional sampling.")
    add("--batch-size", type=int | None, default=None, help="Samples a pass.")
    add("--device", default="cpu", help="Where to sample: cpu, cuda, ...")
    add("--conditioned-on", type=str, default=None, help="Attribute that the model's classes stand for.")


def _add_classifier(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--auxiliary",
        type=Source,
        sub_configs=True,
        help="YAML file of the auxiliary source; the class that it names is imported, which runs its code.",
    )
    parts = Literal["auxiliary", "test", "all"]
    add("--part", type=parts, default="auxiliary", help="Part of the auxiliary source to use.")
    add("--split-seed", type=int, default=0, help="data.seed of the model's training, where both share a source.")
    add("--manifest", type=Path | None, default=None, help="The sharer's mix: checked to be disjoint (for auditors).")
    add(
        "--method",
        type=str | None,
        default=None,
        help=f"One of {', '.join(NAMES)}, {ZERO_SHOT}, {SCHEMA}; pacc by default.",
    )
    add("--classifier", type=Recipe | None, default=None, help="How to train: class_path of a recipe.")
    folds = "Models that are trained, each for the records it has not seen; 1, of --method cc, is the paper's one."
    add("--folds", type=int, default=5, help=folds)
    add("--degrade", action="store_true", help="Train on blurred and noisy copies as well.")
    add("--withhold", type=str, nargs="+", default=[], help="Columns of a table that the classifier is not to see.")


def _check_numbers(config: Namespace) -> None:
    check_level(config.level)
    check_seed("--seed", config.seed)
    check_seed("--split-seed", config.split_seed)
    for name in ("label_count", "steps", "batch_size"):
        check_number(f"--{name.replace('_', '-')}", config[name], 1)
    if not np.isfinite(config.guidance) or config.guidance < 0:
        raise UserError(f"--guidance is {config.guidance}: it must be a number >= 0 (1 is plain conditional sampling)")
    if config.queries not in (None, AUTO) and not (config.queries.isascii() and config.queries.isdecimal()):
        raise UserError(f"--queries is '{config.queries}': give a number of samples, or auto")
    if config.queries not in (None, AUTO):
        if len(config.queries) > 18 or int(config.queries) > MOST_SAMPLES:
            raise UserError(f"--queries is {config.queries:.20}: ask for at most {MOST_SAMPLES} samples")
        if int(config.queries) < 1:
            raise UserError(f"--queries is {config.queries}: ask for at least 1 sample")
    if (config.queries == AUTO) != (config.width is not None):
        raise UserError("--queries auto and --width W go together: give both, or a number of queries")
    if config.json is not None:
        check_new_file(config.json, Inferred.FIELDS)
    try:
        torch.zeros(1, device=config.device).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"--device {config.device} cannot be used here: choose cpu, or cuda where there is one"
        ) from error


def _check_samples(config: Namespace) -> None:
    if (config.model is None) == (config.samples is None):
        raise UserError("give either --model (a release folder) or --samples (a samples folder), one of them")
    if config.samples is not None:
        drawing = {"labels": None, "steps": None, "guidance": 1.0, "batch_size": None}
        if changed := [name for name, value in drawing.items() if config[name] != value]:
            flag = changed[0].replace("_", "-")
            raise UserError(f"--{flag} is for --model: the samples of {config.samples} are drawn already; leave it out")


def _check_method(config: Namespace) -> None:
    if config.method == SCHEMA:
        _check_schema(config)
        return
    zero_shot = config.method == ZERO_SHOT
    if config.method is not None and not zero_shot and config.method not in NAMES:
        raise one_of("method", config.method, (*NAMES, ZERO_SHOT, SCHEMA))
    if config.label_sheet is not None:
        if config.labelled is not None:
            raise UserError("--label-sheet writes a table to fill in, --labelled reads it: give one of them")
        return
    if zero_shot and (config.clip is None or not config.prompts):
        raise UserError("--method zero-shot needs --clip FOLDER and --prompts with a sentence for each class")
    if not zero_shot and (config.clip is not None or config.prompts):
        raise UserError("--clip and --prompts are for --method zero-shot: add it, or leave them out")
    if zero_shot:
        trained = ("auxiliary", "degrade", "surrogate", "widen", "withhold", "manifest", "classifier", "value")
        if given := [name for name in trained if config[name]]:
            raise UserError(f"--{given[0]} is for a trained classifier, --method zero-shot has none: leave it out")
        if config.queries == AUTO:
            raise UserError("--queries auto needs a classifier whose errors are known: give a number of queries")
    elif config.queries == AUTO and config.method in UNCORRECTED:
        raise UserError(
            f"--queries auto plans a corrected share, --method {config.method} corrects none: give one of them"
        )
    elif config.folds == 1 and (config.method != "cc" or config.widen):
        raise UserError(
            "--folds is 1: a single classifier only counts, as the paper's does; give --method cc without --widen, or "
            "at least 2 folds"
        )
    elif config.auxiliary is None:
        raise UserError("give --auxiliary FILE (labelled records), or --method zero-shot with --clip and --prompts")


def _check_schema(config: Namespace) -> None:
    """Refuse what the method ``schema``, which reads a file of the release alone, has no use for."""
    if config.model is None:
        raise UserError("--method schema reads the schema of a release: name it with --model instead of --samples")
    asked = ("auxiliary", "degrade", "withhold", "manifest", "classifier", "clip", "prompts", "label_sheet")
    drawing = ("queries", "width", "labels", "steps", "batch_size", "conditioned_on")
    remedies = ("surrogate", "widen", "labelled")
    if given := [name for name in (*asked, *drawing, *remedies) if config[name]]:
        flag = given[0].replace("_", "-")
        raise UserError(f"--{flag} is for reading samples, --method schema draws none: leave it out")


def _check_remedies(config: Namespace) -> None:
    if len(config.surrogate) != len(config.surrogate_p):
        raise UserError(
            f"{len(config.surrogate)} folders in --surrogate, {len(config.surrogate_p)} shares in --surrogate-p: give "
            "the known share of each"
        )
    if bad := [p for p in config.surrogate_p if not 0 <= p <= 1]:
        raise UserError(f"--surrogate-p is {bad[0]}: a share lies in [0, 1]")
    remedies: dict[str, Any] = {"--surrogate": config.surrogate, "--labelled": config.labelled, "--widen": config.widen}
    given = [name for name, value in remedies.items() if value]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} each make an interval of their own: give one of them")
    if config.surrogate:
        refuse_surrogates(config.method or DEFAULT_METHOD, config.surrogate_p)
    if given and config.queries == AUTO:
        raise UserError(f"{given[0]} makes an interval of its own: give a number of queries instead of auto")
