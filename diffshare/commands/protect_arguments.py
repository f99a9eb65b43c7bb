"""The verb ``protect``: its arguments, and what does not go together."""

from typing import Any

from jsonargparse import Namespace

from diffshare.commands.configs import with_files
from diffshare.commands.options import add, add_recipe
from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.errors import check_seed
from diffshare.receiver.sampling import check_guidance
from diffshare.release.info import SAMPLES
from diffshare.sharer.protection.asked import (
    SCALE,
    Method,
    check_method,
    check_numbers,
    check_share,
)
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
    verb = parser(arguments)
    config = verb.parse_args(with_files(arguments, "--reference"))
    _check(config)
    built = verb.instantiate(config)
    return config, built.reference, built.classifier


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``protect``."""
    verb = verb_parser(
        "protect",
        "Draw samples of a model that show a chosen share of a property in every class, for a sharer who publishes the "
        "samples and keeps the model. Each sample is chosen among candidates by how likely a classifier of the "
        "property, trained on labelled records, says that they have it (accept; a column of a table that is the "
        "property is read as it is), or is told whether to have it and guided there by the classifier's gradient "
        "(guide; diffusion models of images). The samples folder is that of the verb sample.",
        "--model lightning_logs/faces/release --count 500 --property Eyeglasses --share 0.5 "
        "--reference source/faces --out samples_protected",
    )
    first = verb.first
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
    how = verb.add_argument_group("how the samples are made and written")
    choices = "Choose among candidates, or guide by the classifier."
    how.add_argument("--method", type=Method, default="accept", help=choices)
    scales = f"How strongly to guide, {SCALE:g} where left out; 1 is Bayes' rule for a perfect classifier."
    how.add_argument("--guide-scale", type=float | None, default=None, help=scales)
    add(how, "--labels", "--steps")
    add(how, "--guidance", help="guidance_scale of the classes; 1 is plain conditional sampling.")
    add(how, "--batch-size", "--escape-formulas")
    records = verb.add_argument_group("the records and the classifier of the property")
    add(records, "--part", "--split-seed")
    add_recipe(
        records, "--classifier", arguments, "How the property's classifier is trained: a recipe."
    )
    add(records, "--folds")
    return verb


def _check(config: Namespace) -> None:
    """Refuse what the arguments alone tell, before anything heavy is imported."""
    check_share(config.share)
    check_method(config.method, config.guide_scale)
    numbers = {name: config[name] for name in ("count", "folds", "seed", "steps", "batch_size")}
    check_numbers(**numbers)
    check_seed("split_seed", config.split_seed)
    check_guidance(config.guidance)
    check_apart(config.out, config.model)
    check_new_folder(config.out, SAMPLES, overwrite=config.overwrite)
