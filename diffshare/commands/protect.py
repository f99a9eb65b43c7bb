"""The verb ``protect``: samples that show a chosen share of a property, for a sharer who publishes samples alone."""

from copy import copy
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jsonargparse import ArgumentParser, Namespace
from torch import nn

from diffshare.classes import listed
from diffshare.classifiers.property import PropertyClassifier, check_enough, cross_fit, stratified_folds
from diffshare.classifiers.recipes import NetworkRecipe, Recipe, default_recipe
from diffshare.commands.configs import with_files
from diffshare.commands.formulas import formula_notes, refuse_escape
from diffshare.data.recoding import recode
from diffshare.data.source import Source
from diffshare.errors import UserError, check_number, check_seed
from diffshare.generators.families import open_generator
from diffshare.progress import progress
from diffshare.receiver.property.conditioning import stand_for
from diffshare.receiver.property.inference import Asked, asked
from diffshare.receiver.property.queries import ModelQueries
from diffshare.receiver.property.reading import is_column, reader
from diffshare.receiver.records import Labelled, Records
from diffshare.receiver.sampling import draw_samples
from diffshare.release.card import Card
from diffshare.release.generator import MOST_SAMPLES, Generator, Labels, asked_labels, plan_labels
from diffshare.release.info import SAMPLES, Drawn, drawn_info
from diffshare.release.samples import write_samples
from diffshare.release.table import TableGenerator
from diffshare.release.tables import ESCAPE, ESCAPE_HELP, write_table_samples
from diffshare.sharer.protection.guiding import SCALE, Guide, GuidedShare, check_scale, guidable
from diffshare.sharer.protection.sampling import (
    ClassifierReader,
    ColumnReader,
    TargetShare,
    check_share,
)
from diffshare.storage import check_apart, check_new_folder
from diffshare.terminal import say

ASIDE = 2  # one in so many records of the reference is for the classifier that checks
NAMED = 40  # characters of the property's name in what samples.json declares
DECLARED = {"accept": "shown as", "guide": "guided to"}


def protect(arguments: list[str]) -> int:
    """Draw samples of a model that show a chosen share of a property."""
    config, source, recipe = _parse(arguments)
    generator, identity = open_generator(config.model)
    refuse_escape(config.escape_formulas, generator)
    wanted = asked_labels(config.labels, generator.card)
    labels = plan_labels(wanted, config.count, generator.card)
    if config.method == "guide":
        guidable(generator)  # refused before the training
    records = Records.from_source(source, part=config.part, split_seed=config.split_seed)
    known = records.labelled(config.property)
    what = asked(config.property, known.classes, config.value, 0.95, config.seed)
    note = _check_other(config.property, records, generator.card)
    options = {name: config[name] for name in ("seed", "steps", "guidance", "batch_size")}
    queries = ModelQueries(generator, wanted, **options)
    made = _guided if config.method == "guide" else _accepted
    say(f"records: {records.used}")
    if known.unknown:
        say(f"note:    {known.unknown} records of the reference left out: '{config.property}' unknown")
    for told in filter(None, (what.note, wanted.note, note)):
        say(f"note:    {told}")
    box = made(config, what, known, recipe, queries)
    before = generator.ledger.queries
    x = draw_samples(box, labels, **options)
    if isinstance(box, GuidedShare):
        box.refuse_unguided(x, config.seed)
    _write(config, generator, x, labels, _info(config, what, generator.card, wanted, identity))
    say(f"samples: {config.out} ({config.count} of {generator.ledger.queries - before} that were drawn)")
    if config.method == "guide":
        say("note:    guidance may fail: read the share with other records (infer-property), or change --guide-scale")
    return 0


def _check_other(name: str, records: Records, card: Card) -> str | None:
    """Refuse the property that the model's classes stand for; a note where their names do not tell."""
    found = stand_for(records.attributes, card.labels, card.target)
    if found == [name]:
        raise UserError(
            f"'{name}' is what the model's classes stand for: choose its share with --labels of the verb sample, or "
            "name another --property"
        )
    if name not in found:
        return None
    return (
        f"the model's classes {listed(card.labels)} may be those of any of {listed(found)}: if they are of '{name}', "
        "choose its share with --labels of the verb sample"
    )


def _info(config: Namespace, what: Asked, card: Card, labels: Labels, identity: str) -> dict[str, Any]:
    """``samples.json``, which goes out with the samples.

    It does not say how many candidates there were, nor how long it took: that gives the model's own share away.
    """
    name = what.name if what.value == what.name else f"{what.name}: {what.value}"
    done = f"share of '{name[:NAMED]}' {DECLARED[config.method]} {config.share:g} in every class"
    drawn = Drawn(labels.text, config.seed, config.steps or card.steps, config.guidance)
    info = drawn_info(drawn, card.labels, model=config.model.resolve().name, sha256=identity, target=card.target)
    return info | {"protections": [done]}


def _parse(arguments: list[str]) -> tuple[Namespace, Source, Recipe | None]:
    """Parse and check.

    Returns:
        the arguments, the source of the reference and the recipe of the classifier, None where not given.
    """
    parser = ArgumentParser(
        prog="diffshare protect",
        description="Draw samples of a model that show a chosen share of a property in every class, for a sharer who "
        "publishes the samples and keeps the model. Each sample is chosen among candidates by how likely a classifier "
        "of the property, trained on labelled records, says that they have it (accept; a column of a table that is "
        "the property is read as it is), or is told whether to have it and guided there by the classifier's gradient "
        "(guide; diffusion models of images). The samples folder is that of the verb sample.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    _add_samples(parser)
    _add_property(parser)
    config = parser.parse_args(with_files(arguments, "--reference"))
    _check(config)
    built = parser.instantiate(config)
    return config, built.reference, built.classifier


def _add_samples(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", type=Path, required=True, help="Release folder.")
    add("--count", type=int, required=True, help="Number of samples.")
    add("--labels", type=str, default=None, help="As for the verb sample: balanced, natural, none or one class.")
    add("--seed", type=int, default=0, help="Of the classifier and the samples; sample i depends on it and i alone.")
    add("--steps", type=int | None, default=None, help="Network calls a sample; the card's default.")
    add("--guidance", type=float, default=1.0, help="guidance_scale of the classes; 1 is plain conditional sampling.")
    add("--batch-size", type=int | None, default=None, help="Samples a pass.")
    add("--out", type=Path, required=True, help="Folder to make.")
    add("--overwrite", action="store_true", help="Replace --out where it holds something.")
    add(ESCAPE, action="store_true", help=ESCAPE_HELP)


def _add_property(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--property", required=True, help="Attribute of the reference whose share is chosen.")
    add("--value", type=str, default=None, help="Class of it that counts; the second of two where left out.")
    add("--share", type=float, required=True, help="Share that the samples of every class are to show, in (0, 1).")
    named = "YAML file of labelled records. The class that it names is imported: its code runs."
    add("--reference", type=Source, sub_configs=True, required=True, help=named)
    methods = Literal["accept", "guide"]
    add("--method", type=methods, default="accept", help="Choose among candidates, or guide by the classifier.")
    scales = f"How strongly to guide, {SCALE:g} where left out; 1 is Bayes' rule for a perfect classifier."
    add("--guide-scale", type=float | None, default=None, help=scales)
    parts = Literal["auxiliary", "test", "all"]
    add("--part", type=parts, default="auxiliary", help="Part of the reference to use.")
    add("--split-seed", type=int, default=0, help="data.seed of the model's training, where both share a source.")
    add("--classifier", type=Recipe | None, default=None, help="How the property's classifier is trained: a recipe.")
    add("--folds", type=int, default=5, help="Models of it, each for the records it has not seen.")


def _check(config: Namespace) -> None:
    check_share(config.share)
    if config.guide_scale is not None and config.method != "guide":
        raise UserError("--guide-scale is for --method guide: add that, or leave it out")
    config.guide_scale = SCALE if config.guide_scale is None else config.guide_scale
    check_scale(config.guide_scale)
    if config.method == "guide" and not config.guide_scale:
        raise UserError("--guide-scale is 0, which guides nothing: give a number above 0, or use the verb sample")
    check_seed("--seed", config.seed)
    check_seed("--split-seed", config.split_seed)
    for name, least, most in (("count", 1, MOST_SAMPLES), ("steps", 1, None), ("batch_size", 1, None),
                              ("folds", 2, None)):  # fmt: skip
        check_number(f"--{name.replace('_', '-')}", config[name], least, most)
    if not np.isfinite(config.guidance) or config.guidance < 0:
        raise UserError(f"--guidance is {config.guidance}: it must be a number >= 0 (1 is plain conditional sampling)")
    check_apart(config.out, config.model)
    check_new_folder(config.out, SAMPLES, overwrite=config.overwrite)


def _accepted(
    config: Namespace, what: Asked, known: Labelled, recipe: Recipe | None, queries: ModelQueries
) -> Generator:
    """Samples that are chosen among candidates."""
    if is_column(what.name, queries):
        place = [column.name for column in queries.columns].index(what.name)
        if what.value not in queries.columns[place].categories:
            raise UserError(f"the model never makes '{what.value}' in its column '{what.name}': name another --value")
        code = queries.columns[place].categories.index(what.value)
        return TargetShare(queries.generator, ColumnReader(place, code), config.share)
    reader(known, queries, "reference")(queries.take(0, 1))  # refused before the training
    aside = stratified_folds(known.labels, ASIDE, np.random.default_rng([config.seed, ASIDE])) == 0
    check_enough(known.labels, known.classes, config.folds, portion=1 / ASIDE)
    readers = []
    for number, rows in enumerate((~aside, aside)):  # initial weights of their own: equal ones would err alike
        made = _classifier(config, known, rows, recipe or default_recipe(known.columns), config.seed + number)
        if known.columns:
            scorers = tuple(lambda x, one=one: one(recode(x, queries.columns, known.columns)) for one in made.scorers)
            made = PropertyClassifier(scorers, made.scalings, made.calibration)
        readers.append(ClassifierReader(made, what.place))
    return TargetShare(queries.generator, readers[0], config.share, readers[1])


def _guided(config: Namespace, what: Asked, known: Labelled, recipe: Recipe | None, queries: ModelQueries) -> Generator:
    """Samples that are guided by a classifier, whose networks are kept as it is trained."""
    chosen = copy(recipe) if recipe is not None else NetworkRecipe()
    if not isinstance(chosen, NetworkRecipe):
        raise UserError(
            f"--method guide needs a classifier with a gradient, {type(chosen).__name__} has none: choose "
            "NetworkRecipe, or --method accept"
        )
    reader(known, queries, "reference")(queries.take(0, 1))  # refused before the training
    networks: list[nn.Module] = []
    make = chosen.network

    def kept(classes: int, channels: int) -> nn.Module:
        networks.append(make(classes, channels))
        return networks[-1]

    chosen.network = kept
    made = _classifier(config, known, np.ones(len(known.x), bool), chosen, config.seed)
    guide = Guide(tuple(networks), made.scalings, what.place, known.x.shape[1:])
    return GuidedShare(queries.generator, guide, config.share, config.guide_scale)


def _classifier(config: Namespace, known: Labelled, rows: np.ndarray, recipe: Recipe, seed: int) -> PropertyClassifier:
    """A classifier of the property, of some of the reference's records."""
    what = f"training classifiers of {config.property} ({np.count_nonzero(rows)} records)"
    return cross_fit(
        known.x[rows],
        known.labels[rows],
        known.classes,
        recipe,
        folds=config.folds,
        seed=seed,
        categorical=known.categorical,
        progress=lambda folds: progress(folds, what, config.folds),
    )


def _write(config: Namespace, generator: Generator, x: np.ndarray, labels: np.ndarray, info: dict[str, Any]) -> None:
    if isinstance(generator, TableGenerator):
        options = {"overwrite": config.overwrite, "escape": config.escape_formulas}
        write_table_samples(config.out, generator.schema, x, info, **options)
        say(*formula_notes(config.escape_formulas, generator))
    else:
        write_samples(config.out, x, labels, info, overwrite=config.overwrite)
