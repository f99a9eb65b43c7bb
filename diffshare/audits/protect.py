"""Samples that show a chosen share of a property, where samples alone are published: every way as one function."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
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
from diffshare.data.recoding import recode
from diffshare.errors import UserError
from diffshare.progress import progress
from diffshare.receiver.box import Box, as_samples, check_kinds
from diffshare.receiver.property.conditioning import stand_for
from diffshare.receiver.property.inference import Asked, asked
from diffshare.receiver.property.queries import ModelQueries
from diffshare.receiver.property.reading import is_column, reader
from diffshare.receiver.records import Labelled, Records
from diffshare.receiver.samples import Samples
from diffshare.receiver.sampling import draw_samples
from diffshare.release.asked import write_asked
from diffshare.release.card import Card
from diffshare.release.generator import Generator, asked_labels, plan_labels
from diffshare.release.info import Drawn, drawn_info
from diffshare.sharer.protection.asked import (
    SCALE,
    Method,
    check_method,
    check_numbers,
    check_share,
)
from diffshare.sharer.protection.guiding import Guide, GuidedShare, guidable
from diffshare.sharer.protection.sampling import (
    ClassifierReader,
    ColumnReader,
    DerivedReader,
    TargetShare,
)

ASIDE = 2  # one in so many records is for the classifier that checks
NAMED = 40  # characters of the property's name in what samples.json declares
DECLARED = {"accept": "shown as", "guide": "guided to"}


@dataclass(frozen=True, repr=False, eq=False)
class ProtectedSamples:
    """Samples that show a chosen share of a property in every class.

    Attributes:
        generator: the model, which stays with the sharer.
        x: uint8, N x H x W x C; of a table float32, N x columns.
        y: class that each was asked for, int64, N; -1 for none.
        name: of the property.
        value: its class whose share was chosen.
        share: that was chosen, in (0, 1).
        method: ``accept`` or ``guide``.
        queries: samples that the model was asked for. They do not go out: they give the model's own share away.
        info: ``samples.json``, which goes out with the samples.
        notes: what the sharer should know.
    """

    generator: Generator
    x: np.ndarray
    y: np.ndarray
    name: str
    value: str
    share: float
    method: Method
    queries: int
    info: dict[str, Any]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"ProtectedSamples({len(self.x)} of {self.queries}, {self.name}={self.value!r} "
            f"{DECLARED[self.method]} {self.share:g})"
        )

    @cached_property
    def samples(self) -> Samples:
        """As a receiver has them."""
        return as_samples(self.generator, self.x, self.y, self.info)

    def write(self, folder: str | Path, *, overwrite: bool = False, escape: bool = False) -> None:
        """Write the samples folder that goes out.

        Args:
            folder: where to.
            overwrite: replace a samples folder.
            escape: prefix cells that a spreadsheet would run; of a table.

        Raises:
            UserError: a folder that cannot be written, or holds something else.
        """
        options = {"overwrite": overwrite, "escape": escape}
        write_asked(folder, self.generator, self.x, self.y, self.info, **options)

    def to_json(self) -> dict[str, Any]:
        """Plain values without the samples; for the sharer alone, since ``queries`` tell the model's own share."""
        return {
            "property": self.name,
            "value": self.value,
            "share": self.share,
            "method": self.method,
            "count": len(self.x),
            "queries": self.queries,
            "notes": list(self.notes),
        }


class _Training(NamedTuple):
    """How classifiers of the property are trained, and on which records."""

    name: str
    labelled: Labelled
    recipe: Recipe | None
    folds: int
    seed: int

    def fit(self, rows: np.ndarray, recipe: Recipe, more_seed: int = 0) -> PropertyClassifier:
        """A cross-fitted classifier, of some of the records (bool, n)."""
        labelled = self.labelled
        what = f"training classifiers of {self.name} ({np.count_nonzero(rows)} records)"
        return cross_fit(
            labelled.x[rows],
            labelled.labels[rows],
            labelled.classes,
            recipe,
            folds=self.folds,
            seed=self.seed + more_seed,
            categorical=labelled.categorical,
            progress=lambda folds: progress(folds, what, self.folds),
        )


def protect(
    box: Box,
    records: Records,
    name: str,
    *,
    share: float,
    count: int,
    value: str | None = None,
    method: Method = "accept",
    guide_scale: float | None = None,
    classifier: Recipe | None = None,
    folds: int = 5,
    labels: str | None = None,
    seed: int = 0,
    steps: int | None = None,
    guidance: float = 1.0,
    batch_size: int | None = None,
) -> ProtectedSamples:
    """Draw samples of a model that show a chosen share of a property in every class.

    For a sharer who publishes the samples and keeps the model. A column of a table that is the property is read as it
    is; else a classifier of the property, trained on the records, chooses among candidates or guides the samples.

    Args:
        box: the model; :func:`diffshare.open_model` opens one.
        records: labelled records, which know the property.
        name: the property, an attribute of the records.
        share: that the samples of every class are to show, in (0, 1).
        count: samples.
        value: class of the property that counts; the second of two where None.
        method: choose among candidates (``accept``), or guide by the classifier's gradient (``guide``; diffusion
            models of images).
        guide_scale: how strongly to guide, above 0; 8 where None. 1 is Bayes' rule for a perfect classifier.
        classifier: how the property's classifier is trained; by the kind of data where None.
        folds: models of it, 2 or more, each for the records it has not seen.
        labels: ``balanced``, ``natural``, ``none`` or one class; ``balanced``, or ``none`` of a model without
            classes, where None.
        seed: of the classifier and the samples; sample i depends on it and i alone.
        steps: network calls a sample; the card's default where None.
        guidance: ``guidance_scale`` of the classes; 1 is plain conditional sampling.
        batch_size: samples a pass.

    Raises:
        UserError: an argument out of its range, records that do not fit the model, a property that its classes stand
            for, or a share that cannot be shown.

    Example:
        >>> import diffshare as ds
        >>> box = ds.open_model("runs/faces/release")  # doctest: +SKIP
        >>> ds.protect(box, own, "Eyeglasses", share=0.5, count=500).write("samples")  # doctest: +SKIP
    """
    check_kinds(box, (Box,), records)
    check_share(share)
    check_method(method, guide_scale)
    check_numbers(count=count, folds=folds, seed=seed, steps=steps, batch_size=batch_size)
    wanted = asked_labels(labels, box.card)
    y = plan_labels(wanted, count, box.card)
    if method == "guide":
        guidable(box.generator)  # refused before the training
    labelled = records.labelled(name)
    what = asked(name, labelled.classes, value, 0.95, seed)
    notes = (_left_out(labelled, name), what.note, wanted.note,
             _check_other(name, records.with_groups([name]), box.card))  # fmt: skip
    drawing: dict[str, Any] = {"seed": seed, "steps": steps, "guidance": guidance}
    drawing["batch_size"] = batch_size
    queries = ModelQueries(box.generator, wanted, **drawing)
    training = _Training(name, labelled, classifier, folds, seed)
    shown = (
        _guided(what, training, queries, share, SCALE if guide_scale is None else guide_scale)
        if method == "guide"
        else _accepted(what, training, queries, share)
    )
    before = box.generator.ledger.queries
    x = draw_samples(shown, y, **drawing)
    if isinstance(shown, GuidedShare):
        shown.refuse_unguided(x, seed)
    drawn = Drawn(wanted.text, seed, steps or box.card.steps, guidance)
    return ProtectedSamples(
        generator=box.generator,
        x=x,
        y=y,
        name=name,
        value=what.value,
        share=share,
        method=method,
        queries=box.generator.ledger.queries - before,
        info=_info(box, drawn, what, f"{DECLARED[method]} {share:g}"),
        notes=tuple(filter(None, notes)),
    )


def _left_out(labelled: Labelled, name: str) -> str | None:
    count = labelled.unknown
    return f"{count} records of the reference left out: '{name}' unknown" if count else None


def _check_other(name: str, records: Records, card: Card) -> str | None:
    """Refuse the property that the model's classes stand for; a note where their names do not tell."""
    candidates = stand_for(records.attributes, card.labels, card.target)
    if candidates == [name]:
        raise UserError(
            f"'{name}' is what the model's classes stand for: choose its share by the `labels` of plain samples, or "
            "name another property"
        )
    if name not in candidates:
        return None
    return (
        f"the model's classes {listed(card.labels)} may be those of any of {listed(candidates)}: if they are of "
        f"'{name}', choose its share by the `labels` of plain samples"
    )


def _info(box: Box, drawn: Drawn, what: Asked, how: str) -> dict[str, Any]:
    """``samples.json``, which goes out with the samples.

    It does not say how many candidates there were, nor how long it took: that gives the model's own share away.
    """
    card = box.card
    info = drawn_info(
        drawn,
        card.labels,
        model=box.folder.resolve().name,
        sha256=box.identity,
        target=card.target,
    )
    name = what.name if what.value == what.name else f"{what.name}: {what.value}"
    return info | {"protections": [f"share of '{name[:NAMED]}' {how} in every class"]}


def _accepted(what: Asked, training: _Training, queries: ModelQueries, share: float) -> TargetShare:
    """Samples that are chosen among candidates."""
    derived = training.labelled.derivation
    if derived is not None and is_column(what.name, queries, derived):
        of = DerivedReader(derived, queries.columns, derived.classes.index(what.value))
        return TargetShare(queries.generator, of, share)
    if is_column(what.name, queries):
        place = [column.name for column in queries.columns].index(what.name)
        categories = queries.columns[place].categories
        if what.value not in categories:
            raise UserError(
                f"the model never makes '{what.value}' in its column '{what.name}': name another `value`"
            )
        column = ColumnReader(place, categories.index(what.value))
        return TargetShare(queries.generator, column, share)
    chooser, checker = (
        ClassifierReader(classifier, what.place) for classifier in _two(training, queries)
    )
    return TargetShare(queries.generator, chooser, share, checker)


def _two(training: _Training, queries: ModelQueries) -> Iterator[PropertyClassifier]:
    """A classifier that chooses and one that checks, each of records of its own, for the model's samples."""
    labelled = training.labelled
    reader(labelled, queries, "reference")(queries.take(0, 1))  # refused before the training
    rng = np.random.default_rng([training.seed, ASIDE])
    aside = stratified_folds(labelled.labels, ASIDE, rng) == 0
    check_enough(labelled.labels, labelled.classes, training.folds, portion=1 / ASIDE)
    # initial weights of their own: equal ones would err alike
    for number, rows in enumerate((~aside, aside)):
        recipe = training.recipe or default_recipe(labelled.columns)
        classifier = training.fit(rows, recipe, number)
        if labelled.columns:
            scorers = tuple(
                lambda x, one=one: one(recode(x, queries.columns, labelled.columns))
                for one in classifier.scorers
            )
            classifier = PropertyClassifier(scorers, classifier.scalings, classifier.calibration)
        yield classifier


def _guided(
    what: Asked, training: _Training, queries: ModelQueries, share: float, scale: float
) -> GuidedShare:
    """Samples that are guided by a classifier, whose networks are kept as it is trained."""
    recipe = copy(training.recipe) if training.recipe is not None else NetworkRecipe()
    if not isinstance(recipe, NetworkRecipe):
        raise UserError(
            f"`method` guide needs a classifier with a gradient, {type(recipe).__name__} has none: choose "
            "NetworkRecipe, or `method` accept"
        )
    x = training.labelled.x
    reader(training.labelled, queries, "reference")(
        queries.take(0, 1)
    )  # refused before the training
    networks: list[nn.Module] = []
    make = recipe.network

    def kept(classes: int, channels: int) -> nn.Module:
        networks.append(make(classes, channels))
        return networks[-1]

    recipe.network = kept
    classifier = training.fit(np.ones(len(x), bool), recipe)
    guide = Guide(tuple(networks), classifier.scalings, what.place, x.shape[1:])
    return GuidedShare(queries.generator, guide, share, scale)
