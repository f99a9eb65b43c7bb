"""The share of a property among a generator's training records, read off its samples: every way as one function."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diffshare.classifiers.degrade import degrade
from diffshare.classifiers.property import (
    HELD_OUT,
    PropertyClassifier,
    check_enough,
    cross_fit,
    single_fit,
)
from diffshare.classifiers.recipe import default_recipe
from diffshare.data.derived import Derivation
from diffshare.data.source import Attribute
from diffshare.errors import UserError
from diffshare.progress import progress, tell
from diffshare.receiver.box import Box, check_kinds
from diffshare.receiver.choices import as_option, choose
from diffshare.receiver.labelling import read_labels
from diffshare.receiver.property.conditioning import refuse_chosen
from diffshare.receiver.property.inference import (
    AUTO,
    DEFAULT_METHOD,
    Asked,
    Inferred,
    asked,
    counted,
    infer,
)
from diffshare.receiver.property.options import Options
from diffshare.receiver.property.plan import collect, plan_queries, stopped_interval
from diffshare.receiver.property.queries import ModelQueries, Queries, SampleQueries
from diffshare.receiver.property.reading import counted_column, is_column, reader
from diffshare.receiver.property.remedies import labelled, recalibrated, refuse_surrogates, widened
from diffshare.receiver.property.told import told_beside
from diffshare.receiver.records import Labelled, Records
from diffshare.receiver.samples import Samples, same_size
from diffshare.receiver.training_rows import training_note, training_rows
from diffshare.receiver.zeroshot import ZeroShot
from diffshare.release.samples import refuse_alike
from diffshare.release.table import TableGenerator
from diffshare.stats.prevalence import Method


def infer_property(
    what: "Samples | Queries | Box",
    records: Records,
    name: str,
    *,
    options: Options | None = None,
    **more: Any,
) -> Inferred:
    """The share of a property among the training records of a generator, read off its samples.

    Where the samples have the property as a column it is counted. Else a classifier, trained on the
    records and cross-fitted, reads it, and the estimator corrects for the classifier's errors.

    Args:
        what: the samples, or a model that is asked for them.
        records: labelled records that the sharer has not trained on.
        name: the property, an attribute of the records.
        options: the choices; the usual ones where None.
        more: choices of :class:`Options`, over those.

    Raises:
        UserError: an option out of its range, samples that do not fit the records, a property that
            follows from what the samples were asked for.

    Example:
        >>> import numpy as np, diffshare as ds
        >>> own = ds.Records.from_frame({"ill": ["no", "yes"] * 50, "y": [0, 1] * 50}, target="y", sensitive="ill")
        >>> ds.infer_property(ds.Samples({"ill": ["yes"] * 30 + ["no"] * 70}), own, "ill").estimate
        0.3
    """
    as_option("options", options, Options | None)
    chosen = choose(Options, ({} if options is None else vars(options)) | more)
    name = str(as_option("name", name, str | int))
    if isinstance(what, Box):
        what = ModelQueries(what.generator, seed=chosen.seed)
    check_kinds(what, (Samples, ModelQueries, SampleQueries), records)
    resized = ""
    if isinstance(what, Samples):
        what, records, resized = same_size(what, records)
    labelled_records = records.labelled(name, chosen.withhold)
    queries = _queries(what, records, chosen) if isinstance(what, Samples) else what
    asked_for = asked(name, labelled_records.classes, chosen.value, chosen.level, chosen.seed)
    if chosen.surrogate:
        refuse_surrogates(
            chosen.method or DEFAULT_METHOD, chosen.surrogate_p, len(asked_for.classes)
        )
    refuse_chosen(
        name,
        {**records.attributes, name: records.attribute(name)},
        labels=queries.labels,
        classes=queries.classes,
        conditioned_on=chosen.conditioned_on,
        target=queries.target,
    )
    if is_column(name, queries, labelled_records.derivation) and not {
        name,
        *records.columns_of(name),
    }.intersection(chosen.withhold):
        result = _column(chosen, queries, asked_for, labelled_records.derivation)
        notes: tuple[str | None, ...] = (asked_for.note,)
    else:
        result = _classified(chosen, queries, asked_for, labelled_records, records.missing)
        unknown = (
            f"{labelled_records.unknown} auxiliary records left out: '{name}' unknown"
            if labelled_records.unknown
            else ""
        )
        rows = training_note(len(labelled_records.labels), "the reference")
        notes = (
            records.used,
            resized,
            rows if records.columns else "",
            unknown,
            records.disjoint,
            asked_for.note,
        )
    told = drawn_by(queries, chosen.conditioned_on)
    return replace(
        result, notes=(*filter(None, notes), *result.notes, *told, *_of_schema(queries, result))
    )


def zero_shot_share(
    queries: Queries,
    name: str,
    *,
    clip: str,
    prompts: Sequence[str],
    count: int,
    level: float = 0.95,
    seed: int = 0,
    conditioned_on: str | None = None,
    labels: Path | None = None,
) -> Inferred:
    """The share that a CLIP or SigLIP model counts, without any record; labels by hand correct it.

    Args:
        queries: where the images come from.
        name: the property, any name.
        clip: folder or hub name of the model.
        prompts: a sentence a class, that of the property first.
        count: samples to ask for.
        level: of the interval.
        seed: of the resampling.
        conditioned_on: attribute that the samples' classes stand for.
        labels: CSV file of samples that a person labelled.

    Raises:
        UserError: rows of a table, or the property that the samples were asked for.
    """
    refuse_rows(queries, "zero-shot")
    asked_for = asked(name, (name, *prompts[1:]), name, level, seed)
    _refuse_chosen_name(name, queries, conditioned_on)
    read = ZeroShot(clip, prompts)
    x = queries.take(0, count)
    scores = read(x, progress)
    result = counted(asked_for, scores.argmax(1), "zero-shot")
    if labels is not None:
        result = labelled(
            asked_for, result, scores[:, 0], *read_labels(labels, queries.numbers(len(x)))
        )
    else:
        note = "nobody knows how often the prompts err: label some samples by hand (`labelled`) to correct"
        result = replace(result, notes=(*result.notes, note))
    return replace(result, notes=(*result.notes, *drawn_by(queries, conditioned_on)))


def refuse_rows(queries: Queries, what: str) -> None:
    """Refuse rows of a table for what is for images alone."""
    if queries.columns:
        raise UserError(
            f"{what} is for images, the samples are rows of a table: give labelled records"
        )


def drawn_by(queries: Queries, conditioned_on: str | None) -> Sequence[str]:
    """What to know of samples whose classes somebody chose."""
    told = [queries.asked.note] if isinstance(queries, ModelQueries) and queries.asked.note else []
    if queries.labels in ("none", "natural"):
        return told
    if queries.labels == "unknown":
        hint = "" if conditioned_on else "; name with `conditioned_on` what their classes stand for"
        return [
            *told,
            f"it is not known how the samples' classes were chosen: the share is that of these samples{hint}",
        ]
    said = f"samples drawn with labels '{queries.labels}': the share is that of this choice, not of the training set"
    return [*told, said]


def _queries(samples: Samples, records: Records, chosen: Options) -> SampleQueries:
    queries = SampleQueries(samples, kinds_of(records), records.missing)
    if chosen.queries == AUTO or chosen.count_of(queries) != queries.available:
        queries.shuffle(chosen.seed)
    return queries


def kinds_of(records: Records) -> dict[str, Any] | None:
    """Columns of records of a table by name, the class's among them; None of images."""
    if not records.columns:
        return None
    kinds: dict[str, Any] = {column.name: column.kind for column in records.columns}
    return kinds | ({} if records.target is None else records.kinds_of(records.target))


def _of_schema(queries: Queries, result: Inferred) -> Sequence[str]:
    """What the release's schema says of the property beside the samples."""
    if not isinstance(queries, ModelQueries) or not isinstance(queries.generator, TableGenerator):
        return ()
    return told_beside(queries.generator.schema, result.name, result.value)


def _refuse_chosen_name(name: str, queries: Queries, conditioned_on: str | None) -> None:
    """Without records, the names alone tell whether the property is what the samples were drawn by."""
    classes = queries.classes if name in queries.classes else (name,)
    chosen = name if name in (conditioned_on, queries.target) else None
    attributes = {name: Attribute(np.zeros(0, np.int16), classes)}
    refuse_chosen(
        name, attributes, labels=queries.labels, classes=queries.classes, conditioned_on=chosen
    )


def _classified(
    chosen: Options, queries: Queries, asked_for: Asked, labelled_records: Labelled, missing: str
) -> Inferred:
    """Train a classifier, score the samples, estimate, and apply the remedy that is asked for."""
    if labelled_records.columns:
        rows = training_rows(len(labelled_records.labels), chosen.seed)
        x_of, labels_of = labelled_records.x[rows], labelled_records.labels[rows]
        labelled_records = labelled_records._replace(x=x_of, labels=labels_of)
    check_enough(
        labelled_records.labels,
        labelled_records.classes,
        chosen.folds,
        1 / HELD_OUT if chosen.folds == 1 else 1.0,
    )
    ready = reader(labelled_records, queries)
    x = None if chosen.queries == AUTO else ready(queries.take(0, chosen.count_of(queries)))
    if x is not None:
        refuse_alike(x, "the samples")
    kinds = {column.name: column.kind for column in labelled_records.columns} or None
    surrogates = [
        SampleQueries(Samples.from_path(folder), kinds, missing) for folder in chosen.surrogate
    ]
    given = (
        None
        if chosen.labelled is None or x is None
        else read_labels(chosen.labelled, queries.numbers(len(x)))
    )
    classifier = _train(chosen, labelled_records)
    calibration = classifier.calibration
    method: Method = chosen.method or DEFAULT_METHOD
    if x is None:
        return _stopping(
            chosen,
            queries,
            asked_for,
            classifier,
            lambda some: classifier.scores(ready(some)),
            method,
        )
    scores = classifier.scores(x)
    result = infer(asked_for, method, calibration, scores)
    if surrogates:
        others = [
            classifier.scores(reader(labelled_records, one)(one.take(0, one.available or 0)))
            for one in surrogates
        ]
        result = recalibrated(result, asked_for, calibration, scores, others, chosen.surrogate_p)
    if chosen.widen:
        result = widened(result, asked_for, calibration, scores)
    if given is not None:
        result = labelled(asked_for, result, scores[..., asked_for.place].mean(0), *given)
    single = "one classifier that only counts, as in Luo et al. 2024: nothing corrects its errors"
    return replace(result, notes=(*result.notes, *([single] if chosen.folds == 1 else [])))


def _stopping(
    chosen: Options,
    queries: Queries,
    asked_for: Asked,
    classifier: PropertyClassifier,
    scores_of: Callable[[np.ndarray], np.ndarray],
    method: Method,
) -> Inferred:
    """Ask until the wanted half width is reached."""
    assert chosen.width is not None
    calibration = classifier.calibration
    plan = plan_queries(calibration, chosen.width, chosen.level)
    calls = (
        f", {plan.queries * queries.network_calls} network calls"
        if isinstance(queries, ModelQueries)
        else ""
    )
    tell(
        f"plan:    about {plan.queries} queries{calls} at most for +-{chosen.width} at level {chosen.level}; the "
        f"classifier's own part of that is +-{plan.classifier:.3f}"
    )
    scores = collect(queries, scores_of, calibration, plan, chosen.level)
    return stopped_interval(
        infer(asked_for, method, calibration, scores), asked_for, plan, calibration, scores
    )


def _column(
    chosen: Options, queries: Queries, asked_for: Asked, derivation: Derivation | None
) -> Inferred:
    """Read the property off its own column."""
    name = asked_for.name
    if chosen.method is not None:
        raise UserError(
            f"the samples have the column '{name}', which is read as it is: leave out `method`, or add `withhold` "
            f"'{name}' to estimate it from the other columns"
        )
    if chosen.queries == AUTO:
        raise UserError(
            "`queries` auto is for a classifier: give a number of queries to count in a column"
        )
    needless = ("classifier", "degrade", "surrogate", "widen", "labelled")
    if given := [option for option in needless if getattr(chosen, option)]:
        raise UserError(
            f"`{given[0]}` is for a classifier, the column '{name}' of the samples is counted as it is: leave it out, "
            f"or add `withhold` '{name}'"
        )
    return counted_column(asked_for, queries, queries.take(0, chosen.count_of(queries)), derivation)


def _train(chosen: Options, labelled_records: Labelled) -> PropertyClassifier:
    if chosen.degrade and labelled_records.columns:
        raise UserError("`degrade` is for images: leave it out for a table")
    records = (
        labelled_records.x,
        labelled_records.labels,
        labelled_records.classes,
        chosen.classifier or default_recipe(labelled_records.columns),
    )
    options: dict[str, Any] = {"seed": chosen.seed, "categorical": labelled_records.categorical}
    options["augment"] = degrade if chosen.degrade else None
    if chosen.folds == 1:
        return single_fit(*records, **options)
    options["progress"] = lambda folds: progress(folds, "training classifiers", chosen.folds)
    return cross_fit(*records, folds=chosen.folds, **options)
