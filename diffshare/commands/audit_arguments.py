"""The verb ``audit``: its arguments, and what does not go together."""

from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from diffshare.audits.fields import AUDIT, LEAK
from diffshare.audits.poisoning.plan import MOST_GUIDANCE, QUERIES
from diffshare.audits.poisoning.verdict import MARGIN, POWER, WANTED, Terms
from diffshare.commands.configs import with_files
from diffshare.commands.leak_arguments import add_leak, changed, check_leak
from diffshare.commands.options import add, add_recipe
from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.errors import UserError, check_number, check_seed
from diffshare.receiver.sampling import check_device
from diffshare.release.generator import MOST_SAMPLES
from diffshare.release.info import SAMPLES
from diffshare.storage import check_apart, check_new_file, check_new_folder

MODEL_HELP = "Release folder, asked for samples of each class."
OUT_HELP = "Keep the samples that were drawn in this folder, for repair."
REFERENCE_HELP = "YAML file of the receiver's own labelled records. The class that it names is imported: its code runs."

OF_RECORDS = (  # what --declared alone, which counts columns, has no use for
    "candidates", "clusters", "prompts", "margin_from", "sequential", "manifest", "part", "split_seed", "classifier",
    "folds", "degrade", "downstream", "withhold", "gap_repeats",
)  # fmt: skip


def audit(arguments: list[str]) -> int:
    """Audit a model or its samples."""
    parsed = parse(arguments)

    from diffshare.commands.audit import audit

    return audit(*parsed)


def parse(arguments: list[str]) -> tuple[Namespace, Any, Any, Any]:
    """Parse and check.

    Returns:
        the arguments, the source of the reference, the recipes of the group's and the downstream classifier; None where
        not given.

    Raises:
        UserError: an argument that is none, or two that do not go together.
    """
    made = parser(arguments)
    config = made.parse_args(with_files(arguments, "--reference"))
    _check_numbers(config)
    _check_together(config, made)
    if config.out is not None:
        check_apart(config.out, config.model)  # --out goes with --model alone
        check_new_folder(config.out, SAMPLES, overwrite=config.overwrite)
    check_device(config.device)
    if config.model is not None and config.guidance is None:
        config.guidance = 1.0  # plain conditional sampling
    built = made.instantiate(config)
    return config, built.reference, built.classifier, built.downstream


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``audit``."""
    made = verb_parser(
        "audit",
        "Audit a generator by its samples: was it made to make a classifier unfair? With --as sharer: what does a "
        "release leak?",
        "--samples samples_audit --reference configs/source/faces.yaml --sensitive Male --target Smiling "
        "--json audit.json",
    )
    first = made.first
    add(first, "--model", type=Path | None, required=False, default=None, help=MODEL_HELP)
    add(first, "--samples")
    add(first, "--reference", help=REFERENCE_HELP)
    first.add_argument("--sensitive", type=str, default=None, help="Attribute that is the group S.")
    targets = "Attribute that the samples' classes stand for: Y."
    first.add_argument("--target", type=str, default=None, help=targets)
    roles = Literal["receiver", "sharer"]
    asked = "receiver: was it poisoned? sharer: what does it leak?"
    first.add_argument("--as", type=roles, default="receiver", help=asked)
    counts = f"Number of samples; {QUERIES} of a model, all of a folder."
    first.add_argument("--queries", type=int | None, default=None, help=counts)
    add(first, "--json")
    add(first, "--out", type=Path | None, required=False, default=None, help=OUT_HELP)
    add(first, "--seed", help="Of training, samples and resampling.")
    _add_groups(made.add_argument_group("which group, where it is not known"))
    _add_terms(made.add_argument_group("what is asked of the test"))
    _add_drawing(made.add_argument_group("how a model is asked"))
    _add_records(
        made.add_argument_group("the records, and what else the samples are compared with")
    )
    _add_classifiers(
        made.add_argument_group("the classifiers of the group and downstream"), arguments
    )
    add_leak(made.add_argument_group("audit --as sharer"))
    return made


def _add_groups(group: Any) -> None:
    add = group.add_argument
    add(
        "--candidates",
        type=str,
        nargs="+",
        default=[],
        help="Several attributes, where it is not known which.",
    )
    add(
        "--clusters",
        type=int | None,
        default=None,
        help="Also so many clusters of the records' features.",
    )
    add(
        "--prompts",
        type=str,
        nargs="+",
        default=[],
        help="Also sentences, one a group, that --clip compares with.",
    )
    add(
        "--clip",
        type=str | None,
        default=None,
        help="Folder or hub name of a CLIP or SigLIP model, for --prompts.",
    )


def _add_terms(group: Any) -> None:
    add = group.add_argument
    add(
        "--margin",
        type=float | None,
        default=None,
        help=f"Log odds that count as clean; {MARGIN} by default.",
    )
    add(
        "--margin-from",
        type=Path,
        nargs="+",
        default=[],
        help="Samples folders of clean models, for the margin.",
    )
    add(
        "--level",
        type=float,
        default=0.05,
        help="Of the test: chance of calling a clean model poisoned.",
    )
    add(
        "--alpha",
        type=float,
        default=WANTED,
        help="Poisoned share that must be seen before a model is called clean.",
    )
    add("--power", type=float, default=POWER, help="With which probability.")
    add(
        "--sequential",
        type=int | None,
        default=None,
        help="Look first at so many, then at twice as many, ...",
    )


def _add_drawing(group: Any) -> None:
    scales = "guidance_scale to ask a model at, 1 by default; or that --samples were drawn at."
    add(group, "--guidance", type=float | None, default=None, help=scales)
    add(group, "--steps", "--batch-size", "--device", "--overwrite")


def _add_records(group: Any) -> None:
    pools = Literal["natural", "balanced"]
    equal = "balanced: the sharer says that its S x Y cells were equal."
    group.add_argument("--pool", type=pools, default="natural", help=equal)
    tables = "S x Y table (JSON, YAML), or a release's diffshare.json."
    group.add_argument("--declared", type=Path | None, default=None, help=tables)
    add(group, "--part", "--split-seed", "--manifest")


def _add_classifiers(group: Any, arguments: list[str]) -> None:
    add_recipe(group, "--classifier", arguments, "How the group's classifier is trained: a recipe.")
    add(group, "--folds", "--degrade")
    add_recipe(group, "--downstream", arguments, "The classifier whose gap is predicted: a recipe.")
    add(group, "--withhold", help="Columns of a table that this classifier is not to see.")
    repeats = "Further trainings of it, for the interval; 0 predicts no gap."
    group.add_argument("--gap-repeats", type=int, default=4, help=repeats)


def _check_numbers(config: Namespace) -> None:
    check_terms(config)
    if not 0.5 < config.power < 1:
        raise UserError(f"--power is {config.power}: it lies between 0.5 and 1")
    check_seed("seed", config.seed)
    check_seed("split_seed", config.split_seed)
    for name, least, most in (("queries", 1, MOST_SAMPLES), ("sequential", 1, MOST_SAMPLES), ("steps", 1, None),
                              ("folds", 2, None), ("batch_size", 1, None)):  # fmt: skip
        check_number(name, config[name], least, most)
    if config.clusters is not None and config.clusters < 2:
        raise UserError(f"--clusters is {config.clusters}: ask for at least 2")
    if config.gap_repeats < 0 or config.gap_repeats == 1:
        raise UserError(
            f"--gap-repeats is {config.gap_repeats}: at least 2, or 0 for no prediction"
        )
    if config.guidance is not None and not 0 <= config.guidance <= MOST_GUIDANCE:
        raise UserError(
            f"--guidance is {config.guidance}: it lies between 0 and {MOST_GUIDANCE:g} (1: plain conditional sampling)"
        )
    if config.json is not None:
        check_new_file(config.json, LEAK if config["as"] == "sharer" else AUDIT)


def check_terms(config: Namespace) -> None:
    """Refuse a margin, level or share that is none."""
    Terms(
        MARGIN if config.margin is None else config.margin, config.level, config.alpha, config.power
    )


def names(config: Namespace) -> list[str]:
    """Attributes that are audited as the group, each once."""
    given = [config.sensitive] if config.sensitive is not None else []
    return list(dict.fromkeys([*given, *config.candidates]))


def _check_together(config: Namespace, parser: ArgumentParser) -> None:
    if (config.model is None) == (config.samples is None):
        raise UserError(
            "give either --model (a release folder) or --samples (a samples folder), one of them"
        )
    if config.samples is not None:
        drawing = [
            "steps",
            "batch_size",
            "out",
            *(["guidance"] if config["as"] == "sharer" else []),
        ]
        if given := [name for name in drawing if config[name] is not None]:
            flag = given[0].replace("_", "-")
            raise UserError(
                f"--{flag} is for a model that is asked for samples, --samples are drawn: leave it out"
            )
    check_leak(config, parser)
    if config.reference is None and config.declared is None:
        raise UserError(
            "give --reference FILE (labelled records) or --declared FILE (an S x Y table) to compare with"
        )
    if config["as"] == "sharer":
        return
    if config.target is None:
        raise UserError("name with --target the attribute that the samples' classes stand for")
    if bool(config.prompts) != (config.clip is not None):
        raise UserError(
            "--prompts and --clip go together: a sentence for each group, and the model that reads them"
        )
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
        raise UserError(
            "--pool balanced and --declared both say what the samples are compared with: give one of them"
        )
