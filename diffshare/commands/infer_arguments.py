"""The verb ``infer-property``: its arguments, and what does not go together."""

from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from diffshare.commands.configs import check_configs
from diffshare.commands.options import add, add_recipe
from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.errors import UserError, check_number, check_seed, one_of
from diffshare.receiver.property.inference import AUTO, DEFAULT_METHOD, Inferred
from diffshare.receiver.property.remedies import refuse_surrogates
from diffshare.receiver.sampling import check_device, check_guidance
from diffshare.release.generator import MOST_SAMPLES
from diffshare.stats.intervals import check_level
from diffshare.stats.prevalence import NAMES, UNCORRECTED
from diffshare.storage import check_new_file

ZERO_SHOT, SCHEMA = "zero-shot", "schema"


def infer_property(arguments: list[str]) -> int:
    """Infer the share of a property from samples of a model."""
    parsed = parse(arguments)

    from diffshare.commands.infer_property import infer_property

    return infer_property(*parsed)


def parse(arguments: list[str]) -> tuple[Namespace, Any, Any]:
    """Parse and check.

    Returns:
        the arguments, the auxiliary source and the recipe of the classifier, None where not given.

    Raises:
        UserError: an argument that is none, or two that do not go together.
    """
    made = parser(arguments)
    check_configs(
        [
            a.replace("--auxiliary", "--config", 1) if a.split("=")[0] == "--auxiliary" else a
            for a in arguments
        ]
    )
    config = made.parse_args(arguments)
    _check_numbers(config)
    _check_samples(config)
    _check_method(config)
    _check_remedies(config)
    check_device(config.device)
    built = made.instantiate(config)
    return config, built.auxiliary, built.classifier


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``infer-property``."""
    made = verb_parser(
        "infer-property",
        "Infer the share of a property in a model's training set from its samples, with an interval.",
        "--model lightning_logs/faces/release --auxiliary configs/source/faces.yaml --property Eyeglasses",
    )
    first = made.first
    names = "Attribute of the auxiliary source; with zero-shot any name; with schema a column or age>=40."
    first.add_argument("--property", required=True, help=names)
    values = "Class whose share is asked for; the second of two where left out."
    first.add_argument("--value", type=str, default=None, help=values)
    add(
        first,
        "--model",
        type=Path | None,
        required=False,
        default=None,
        help="Release folder, asked for samples.",
    )
    add(first, "--samples")
    named = "YAML file of the auxiliary source; the class that it names is imported, which runs its code."
    add(first, "--auxiliary", help=named)
    counts = "Number of samples, or auto. 1000 of a model, all of a folder."
    first.add_argument("--queries", type=str | None, default=None, help=counts)
    methods = f"One of {', '.join(NAMES)}, {ZERO_SHOT}, {SCHEMA}; pacc by default."
    first.add_argument("--method", type=str | None, default=None, help=methods)
    first.add_argument(
        "--level", type=float, default=0.95, help="Confidence level of the interval."
    )
    add(first, "--seed", help="Of the classifier's training, the samples and the resampling.")
    add(first, "--json")
    _add_drawing(made.add_argument_group("how a model is asked"))
    _add_classifier(
        made.add_argument_group("the records and the classifier of the property"), arguments
    )
    _add_remedies(made.add_argument_group("where the classifier may err on samples"))
    _add_zero_shot(made.add_argument_group("without records"))
    return made


def _add_drawing(group: Any) -> None:
    widths = "With --queries auto: half width that is wanted."
    group.add_argument("--width", type=float | None, default=None, help=widths)
    labels = "As for the verb sample: natural, none, balanced or one class. "
    labels += "Natural where the card declares it, else none."
    add(group, "--labels", help=labels)
    add(group, "--steps", "--guidance", "--batch-size", "--device")
    stand = "Attribute that the model's classes stand for."
    group.add_argument("--conditioned-on", type=str, default=None, help=stand)


def _add_classifier(group: Any, arguments: list[str]) -> None:
    add(group, "--part", help="Part of the auxiliary source to use.")
    add(group, "--split-seed", "--manifest")
    add_recipe(group, "--classifier", arguments, "How to train: class_path of a recipe.")
    folds = "Models that are trained, each for the records it has not seen; 1, of --method cc, is the paper's one."
    add(group, "--folds", help=folds)
    add(group, "--degrade", help="Train on blurred and noisy copies as well.")
    add(group, "--withhold", help="Columns of a table that the classifier is not to see.")


def _add_remedies(group: Any) -> None:
    add = group.add_argument
    add(
        "--surrogate",
        type=Path,
        nargs="+",
        default=[],
        help="Samples folders of surrogate generators, 3 or more.",
    )
    add(
        "--surrogate-p",
        type=float,
        nargs="+",
        default=[],
        help="Share of class 1 in each one's training set.",
    )
    add(
        "--widen",
        action="store_true",
        help="Where the assumption fails, widen to the intervals of all methods.",
    )
    add(
        "--labelled",
        type=Path | None,
        default=None,
        help="CSV of hand-labelled samples that corrects the estimate.",
    )
    add(
        "--label-sheet",
        type=Path | None,
        default=None,
        help="Write a picture and a CSV to fill in; infer nothing.",
    )
    add("--label-count", type=int, default=100, help="Samples on the sheet.")
    add("--overwrite", action="store_true", help="Replace --label-sheet where it holds something.")


def _add_zero_shot(group: Any) -> None:
    folders = "Zero-shot: folder or hub name of a CLIP or SigLIP model."
    group.add_argument("--clip", type=str | None, default=None, help=folders)
    sentences = "Zero-shot: a sentence a class, the asked-for first; | joins."
    group.add_argument("--prompts", type=str, nargs="+", default=[], help=sentences)


def _check_numbers(config: Namespace) -> None:
    check_level(config.level)
    check_seed("seed", config.seed)
    check_seed("split_seed", config.split_seed)
    for name in ("label_count", "steps", "batch_size"):
        check_number(name, config[name], 1)
    check_guidance(config.guidance)
    if config.queries not in (None, AUTO) and not (
        config.queries.isascii() and config.queries.isdecimal()
    ):
        raise UserError(f"--queries is '{config.queries}': give a number of samples, or auto")
    if config.queries not in (None, AUTO):
        if len(config.queries) > 18 or int(config.queries) > MOST_SAMPLES:
            raise UserError(
                f"--queries is {config.queries:.20}: ask for at most {MOST_SAMPLES} samples"
            )
        if int(config.queries) < 1:
            raise UserError(f"--queries is {config.queries}: ask for at least 1 sample")
    if (config.queries == AUTO) != (config.width is not None):
        raise UserError(
            "--queries auto and --width W go together: give both, or a number of queries"
        )
    if config.json is not None:
        check_new_file(config.json, Inferred.FIELDS)


def _check_samples(config: Namespace) -> None:
    if (config.model is None) == (config.samples is None):
        raise UserError(
            "give either --model (a release folder) or --samples (a samples folder), one of them"
        )
    if config.samples is not None:
        drawing = {"labels": None, "steps": None, "guidance": 1.0, "batch_size": None}
        if changed := [name for name, value in drawing.items() if config[name] != value]:
            flag = changed[0].replace("_", "-")
            raise UserError(
                f"--{flag} is for --model: the samples of {config.samples} are drawn already; leave it out"
            )


def _check_method(config: Namespace) -> None:
    if config.method == SCHEMA:
        _check_schema(config)
        return
    zero_shot = config.method == ZERO_SHOT
    if config.method is not None and not zero_shot and config.method not in NAMES:
        raise one_of("method", config.method, (*NAMES, ZERO_SHOT, SCHEMA))
    if config.label_sheet is not None:
        if config.labelled is not None:
            raise UserError(
                "--label-sheet writes a table to fill in, --labelled reads it: give one of them"
            )
        return
    if zero_shot and (config.clip is None or not config.prompts):
        raise UserError(
            "--method zero-shot needs --clip FOLDER and --prompts with a sentence for each class"
        )
    if not zero_shot and (config.clip is not None or config.prompts):
        raise UserError(
            "--clip and --prompts are for --method zero-shot: add it, or leave them out"
        )
    if zero_shot:
        trained = (
            "auxiliary",
            "degrade",
            "surrogate",
            "widen",
            "withhold",
            "manifest",
            "classifier",
            "value",
        )
        if given := [name for name in trained if config[name]]:
            raise UserError(
                f"--{given[0]} is for a trained classifier, --method zero-shot has none: leave it out"
            )
        if config.queries == AUTO:
            raise UserError(
                "--queries auto needs a classifier whose errors are known: give a number of queries"
            )
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
        raise UserError(
            "give --auxiliary FILE (labelled records), or --method zero-shot with --clip and --prompts"
        )


def _check_schema(config: Namespace) -> None:
    """Refuse what the method ``schema``, which reads a file of the release alone, has no use for."""
    if config.model is None:
        raise UserError(
            "--method schema reads the schema of a release: name it with --model instead of --samples"
        )
    asked = (
        "auxiliary",
        "degrade",
        "withhold",
        "manifest",
        "classifier",
        "clip",
        "prompts",
        "label_sheet",
    )
    drawing = ("queries", "width", "labels", "steps", "batch_size", "conditioned_on")
    remedies = ("surrogate", "widen", "labelled")
    if given := [name for name in (*asked, *drawing, *remedies) if config[name]]:
        flag = given[0].replace("_", "-")
        raise UserError(
            f"--{flag} is for reading samples, --method schema draws none: leave it out"
        )


def _check_remedies(config: Namespace) -> None:
    if len(config.surrogate) != len(config.surrogate_p):
        raise UserError(
            f"{len(config.surrogate)} folders in --surrogate, {len(config.surrogate_p)} shares in --surrogate-p: give "
            "the known share of each"
        )
    if bad := [p for p in config.surrogate_p if not 0 <= p <= 1]:
        raise UserError(f"--surrogate-p is {bad[0]}: a share lies in [0, 1]")
    remedies: dict[str, Any] = {
        "--surrogate": config.surrogate,
        "--labelled": config.labelled,
        "--widen": config.widen,
    }
    given = [name for name, value in remedies.items() if value]
    if len(given) > 1:
        raise UserError(
            f"{' and '.join(given)} each make an interval of their own: give one of them"
        )
    if config.surrogate:
        refuse_surrogates(config.method or DEFAULT_METHOD, config.surrogate_p)
    if given and config.queries == AUTO:
        raise UserError(
            f"{given[0]} makes an interval of its own: give a number of queries instead of auto"
        )
