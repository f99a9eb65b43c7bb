"""The verb ``protect``: its arguments, and what does not go together."""

from typing import Any, Literal

from jsonargparse import Namespace

from diffshare.commands.configs import with_files
from diffshare.commands.options import add, add_recipe
from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.errors import UserError, check_number, check_seed
from diffshare.receiver.sampling import check_guidance
from diffshare.release.generator import MOST_SAMPLES
from diffshare.release.info import SAMPLES
from diffshare.sharer.protection.asked import SCALE, check_scale, check_share
from diffshare.storage import check_apart, check_new_folder


def protect(arguments: list[str]) -> int:
    """Draw samples of a model that show a chosen share of a property."""
    parsed = parse(arguments)

    from diffshare.commands.protect import protect

    return protect(*parsed)


def parse(arguments: list[str]) -> tuple[Namespace, Any, Any]:
    """Parse and check.

    Returns:
        the arguments, the source of the reference and the recipe of the classifier, None where not given.
    """
    made = parser(arguments)
    config = made.parse_args(with_files(arguments, "--reference"))
    _check(config)
    built = made.instantiate(config)
    return config, built.reference, built.classifier


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``protect``."""
    made = verb_parser(
        "protect",
        "Draw samples of a model that show a chosen share of a property in every class, for a sharer who publishes the "
        "samples and keeps the model. Each sample is chosen among candidates by how likely a classifier of the "
        "property, trained on labelled records, says that they have it (accept; a column of a table that is the "
        "property is read as it is), or is told whether to have it and guided there by the classifier's gradient "
        "(guide; diffusion models of images). The samples folder is that of the verb sample.",
        "--model lightning_logs/faces/release --count 500 --property Eyeglasses --share 0.5 "
        "--reference configs/source/faces.yaml --out samples_protected",
    )
    first = made.first
    add(first, "--model", "--count")
    first.add_argument(
        "--property", required=True, help="Attribute of the reference whose share is chosen."
    )
    first.add_argument(
        "--value",
        type=str,
        default=None,
        help="Class of it that counts; the second of two where left out.",
    )
    shares = "Share that the samples of every class are to show, in (0, 1)."
    first.add_argument("--share", type=float, required=True, help=shares)
    named = "YAML file of labelled records. The class that it names is imported: its code runs."
    add(first, "--reference", required=True, help=named)
    add(first, "--out", "--overwrite")
    add(
        first,
        "--seed",
        help="Of the classifier and the samples; sample i depends on it and i alone.",
    )
    how = made.add_argument_group("how the samples are made and written")
    methods = Literal["accept", "guide"]
    choices = "Choose among candidates, or guide by the classifier."
    how.add_argument("--method", type=methods, default="accept", help=choices)
    scales = f"How strongly to guide, {SCALE:g} where left out; 1 is Bayes' rule for a perfect classifier."
    how.add_argument("--guide-scale", type=float | None, default=None, help=scales)
    add(how, "--labels", "--steps")
    add(how, "--guidance", help="guidance_scale of the classes; 1 is plain conditional sampling.")
    add(how, "--batch-size", "--escape-formulas")
    records = made.add_argument_group("the records and the classifier of the property")
    add(records, "--part", "--split-seed")
    add_recipe(
        records, "--classifier", arguments, "How the property's classifier is trained: a recipe."
    )
    add(records, "--folds")
    return made


def _check(config: Namespace) -> None:
    check_share(config.share)
    if config.guide_scale is not None and config.method != "guide":
        raise UserError("--guide-scale is for --method guide: add that, or leave it out")
    config.guide_scale = SCALE if config.guide_scale is None else config.guide_scale
    check_scale(config.guide_scale)
    if config.method == "guide" and not config.guide_scale:
        raise UserError(
            "--guide-scale is 0, which guides nothing: give a number above 0, or use the verb sample"
        )
    check_seed("seed", config.seed)
    check_seed("split_seed", config.split_seed)
    for name, least, most in (("count", 1, MOST_SAMPLES), ("steps", 1, None), ("batch_size", 1, None),
                              ("folds", 2, None)):  # fmt: skip
        check_number(name, config[name], least, most)
    check_guidance(config.guidance)
    check_apart(config.out, config.model)
    check_new_folder(config.out, SAMPLES, overwrite=config.overwrite)
