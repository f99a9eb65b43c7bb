"""The work of ``protect``: samples that show a chosen share of a property, where samples alone are published."""

from copy import copy
from typing import Any

import numpy as np
from jsonargparse import Namespace
from torch import nn

from diffshare.classes import listed
from diffshare.classifiers.property import (
    PropertyClassifier,
    check_enough,
    cross_fit,
    stratified_folds,
)
from diffshare.classifiers.recipe import Recipe, default_recipe
from diffshare.classifiers.recipes import NetworkRecipe
from diffshare.commands.flags import say_each
from diffshare.commands.formulas import formula_notes, refuse_escape
from diffshare.data.recoding import recode
from diffshare.data.source import Source
from diffshare.errors import UserError
from diffshare.generators.families import open_generator
from diffshare.progress import progress
from diffshare.receiver.property.conditioning import stand_for
from diffshare.receiver.property.inference import Asked, asked
from diffshare.receiver.property.queries import ModelQueries
from diffshare.receiver.property.reading import is_column, reader
from diffshare.receiver.records import Labelled, Records
from diffshare.receiver.sampling import draw_samples
from diffshare.release.asked import write_asked
from diffshare.release.card import Card
from diffshare.release.generator import Generator, Labels, asked_labels, plan_labels
from diffshare.release.info import Drawn, drawn_info
from diffshare.release.table import TableGenerator
from diffshare.sharer.protection.guiding import Guide, GuidedShare, guidable
from diffshare.sharer.protection.sampling import (
    ClassifierReader,
    ColumnReader,
    TargetShare,
)
from diffshare.terminal import say

ASIDE = 2  # one in so many records of the reference is for the classifier that checks
NAMED = 40  # characters of the property's name in what samples.json declares
DECLARED = {"accept": "shown as", "guide": "guided to"}


def protect(config: Namespace, source: Source, recipe: Recipe | None) -> int:
    """Draw samples of a model that show a chosen share of a property.

    Args:
        config: the arguments.
        source: of the reference.
        recipe: of the classifier; None where not given.
    """
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
        say(
            f"note:    {known.unknown} records of the reference left out: '{config.property}' unknown"
        )
    say_each("note", what.note, wanted.note, note)
    box = made(config, what, known, recipe, queries)
    before = generator.ledger.queries
    x = draw_samples(box, labels, **options)
    if isinstance(box, GuidedShare):
        box.refuse_unguided(x, config.seed)
    _write(config, generator, x, labels, _info(config, what, generator.card, wanted, identity))
    say(
        f"samples: {config.out} ({config.count} of {generator.ledger.queries - before} that were drawn)"
    )
    if config.method == "guide":
        say(
            "note:    guidance may fail: read the share with other records (infer-property), or change --guide-scale"
        )
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


def _info(
    config: Namespace, what: Asked, card: Card, labels: Labels, identity: str
) -> dict[str, Any]:
    """``samples.json``, which goes out with the samples.

    It does not say how many candidates there were, nor how long it took: that gives the model's own share away.
    """
    name = what.name if what.value == what.name else f"{what.name}: {what.value}"
    done = f"share of '{name[:NAMED]}' {DECLARED[config.method]} {config.share:g} in every class"
    drawn = Drawn(labels.text, config.seed, config.steps or card.steps, config.guidance)
    info = drawn_info(
        drawn, card.labels, model=config.model.resolve().name, sha256=identity, target=card.target
    )
    return info | {"protections": [done]}


def _accepted(
    config: Namespace, what: Asked, known: Labelled, recipe: Recipe | None, queries: ModelQueries
) -> Generator:
    """Samples that are chosen among candidates."""
    if is_column(what.name, queries):
        place = [column.name for column in queries.columns].index(what.name)
        if what.value not in queries.columns[place].categories:
            raise UserError(
                f"the model never makes '{what.value}' in its column '{what.name}': name another --value"
            )
        code = queries.columns[place].categories.index(what.value)
        return TargetShare(queries.generator, ColumnReader(place, code), config.share)
    reader(known, queries, "reference")(queries.take(0, 1))  # refused before the training
    aside = stratified_folds(known.labels, ASIDE, np.random.default_rng([config.seed, ASIDE])) == 0
    check_enough(known.labels, known.classes, config.folds, portion=1 / ASIDE)
    readers = []
    # initial weights of their own: equal ones would err alike
    for number, rows in enumerate((~aside, aside)):
        made = _classifier(
            config, known, rows, recipe or default_recipe(known.columns), config.seed + number
        )
        if known.columns:
            scorers = tuple(
                lambda x, one=one: one(recode(x, queries.columns, known.columns))
                for one in made.scorers
            )
            made = PropertyClassifier(scorers, made.scalings, made.calibration)
        readers.append(ClassifierReader(made, what.place))
    return TargetShare(queries.generator, readers[0], config.share, readers[1])


def _guided(
    config: Namespace, what: Asked, known: Labelled, recipe: Recipe | None, queries: ModelQueries
) -> Generator:
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


def _classifier(
    config: Namespace, known: Labelled, rows: np.ndarray, recipe: Recipe, seed: int
) -> PropertyClassifier:
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


def _write(
    config: Namespace, generator: Generator, x: np.ndarray, labels: np.ndarray, info: dict[str, Any]
) -> None:
    options = {"overwrite": config.overwrite, "escape": config.escape_formulas}
    write_asked(config.out, generator, x, labels, info, **options)
    if isinstance(generator, TableGenerator):
        say_each("note", *formula_notes(config.escape_formulas, generator))
