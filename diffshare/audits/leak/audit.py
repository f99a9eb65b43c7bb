"""What does a release leak? The property inference attacks on the own release, before it goes out.

Every attribute of the reference is read off the same samples by every method, with the receiver's own code. The result
is an estimate of what a receiver with as good a reference learns, not a bound: one with more records or a better
classifier learns more, down to what the sampling leaves.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from jsonargparse import Namespace

from diffshare.audits.leak.attributes import Leak, attack, unread
from diffshare.audits.leak.contents import Content, of_release, of_samples
from diffshare.audits.leak.members import MemberLeak, member_leak
from diffshare.audits.leak.result import Disclosed, Report, section_of, show
from diffshare.audits.leak.training import TrainingSet, read_training
from diffshare.classes import another_attribute, join, listed
from diffshare.classifiers.recipe import Recipe
from diffshare.data.source import PARTS, Index, Source, portion, split
from diffshare.errors import UserError
from diffshare.generators.families import open_generator
from diffshare.progress import progress
from diffshare.receiver.property.conditioning import refuse_chosen, stand_for
from diffshare.receiver.property.inference import Asked, asked
from diffshare.receiver.property.queries import ModelQueries, Queries, SampleQueries
from diffshare.receiver.property.reading import reader
from diffshare.receiver.records import Labelled, Records, unchecked
from diffshare.receiver.samples import Samples
from diffshare.release.card import Card
from diffshare.release.folder import open_release
from diffshare.release.samples import refuse_alike
from diffshare.release.section import write_section
from diffshare.storage import write_result

QUERIES = 2000  # of a model, where no number is given; of a folder, all samples
HEADING = "What a receiver can read off it"


def audit_leak(config: Namespace, source: Source, recipe: Recipe | None) -> int:
    """Attack, print the table, write the files that are asked for.

    Args:
        config: the arguments of ``audit``.
        source: records that the sharer has not trained on, with their attributes.
        recipe: how the classifiers are trained; None for the default of the modality.

    Raises:
        UserError: an unknown attribute, samples that do not fit the reference, a reference that was trained on.
    """
    started = time.perf_counter()
    index = source.index()
    wanted = _wanted(config, index)  # refused before anything is drawn
    queries, card, identity = _queries(config, source)
    labels = _labels(config, index, queries)
    if not config.properties:
        wanted = [(name, None) for name, _ in wanted if name not in labels]
    training = None if config.manifest is None else read_training(config.manifest, index)
    count = config.queries or queries.available or QUERIES
    if isinstance(queries, SampleQueries):
        queries.shuffle(config.seed)  # the curve reads prefixes, and a folder may be sorted
    x = queries.take(0, count)
    if not queries.columns:  # a table's columns may be counted, whatever they hold
        refuse_alike(x, "the samples")
    leaks = []
    for name, value in progress(wanted, "attacking", len(wanted)):
        leaks.append(_one(config, source, recipe, training, queries, x, (name, value, labels)))
    report = Report(
        leaks=tuple(leaks),
        disclosed=_disclosed(card, labels, training, index),
        queries=len(x),
        labels=queries.labels,
        level=1 - config.level,
        identity=identity,
        membership=_membership(config, source, training),
        notes=(_used(config, source, index), *_notes(config, index, training, card, labels)),
        contents=_contents(config),
        quantiles=_quantiles(queries),
    )
    if config.write_card:
        report = report.of(write_section(config.model, HEADING, section_of(report)).sha256)
    if config.json is not None:
        write_result(config.json, report.json(time.perf_counter() - started), Report.FIELDS)
    show(report)
    return 0


def _used(config: Namespace, source: Source, index: Index) -> str:
    """How many records of the reference the attacks may use, in words."""
    parts = split(index, source.shares, config.split_seed)
    count = len(index) if config.part == "all" else int(np.sum(parts == PARTS.index(config.part)))
    return portion(config.part, count, len(index))


def _notes(
    config: Namespace, index: Index, training: TrainingSet | None, card: Card | None, labels: Sequence[str]
) -> tuple[str, ...]:
    """What classes were told by their position; whether the model was trained on records of the reference."""
    told = () if training is None else training.notes
    if card is not None and labels:
        whole = join(card.labels, index.attribute(labels[0]).classes, "the model", f"'{labels[0]}' of the reference")
        told = (*told, *filter(None, (whole.note, another_attribute(card.target, labels[0], "the model"))))
    return (*told, *_disjoint(config, index, training))


def _disjoint(config: Namespace, index: Index, training: TrainingSet | None) -> tuple[str, ...]:
    """What is not known of the reference: whether the model was trained on some of its records."""
    if training is not None and not training.same_source:
        return (
            f"it was NOT checked that the model was not trained on records of the reference: {config.manifest} is of "
            "another source (its source_sha256 differs), where a name says nothing; if both hold the same records, "
            "what is read here says too much: give the source of the training as --reference, or records that are "
            "surely others",
        )
    if training is None and config.part != "all" and index.parts is None:
        return (unchecked(config.split_seed),)
    return ()


def _contents(config: Namespace) -> tuple[Content, ...]:
    """What the folder says by itself."""
    return of_samples(config.samples) if config.model is None else of_release(open_release(config.model))


def _quantiles(queries: Queries) -> tuple[str, ...]:
    """Columns of which the release's schema has quantiles, as those of format 1 have."""
    columns = queries.columns if isinstance(queries, ModelQueries) else ()
    return tuple(column.name for column in columns if getattr(column, "quantiles", ()))


def _membership(config: Namespace, source: Source, training: TrainingSet | None) -> MemberLeak | None:
    """The membership test; None where no release or no manifest is given."""
    if training is None or config.model is None:
        return None
    options = {name: config[name] for name in ("split_seed", "device", "seed")}
    return member_leak(config.model, source, training, config.part, level=1 - config.level, **options)


def _queries(config: Namespace, source: Any) -> tuple[Queries, Card | None, str | None]:
    if config.samples is not None:
        table = source.modality == "table"
        kinds = {column.name: column.kind for column in source.columns} if table else None
        samples = Samples.from_path(config.samples)
        return SampleQueries(samples, kinds, getattr(source, "missing", "?")), None, None
    generator, identity = open_generator(config.model, device=config.device)
    options = {name: config[name] for name in ("seed", "steps", "guidance", "batch_size")}
    return ModelQueries(generator, **options), generator.card, identity


def _labels(config: Namespace, index: Index, queries: Queries) -> list[str]:
    """The attribute that the model's classes stand for, or none: the one that is named, else by names of classes.

    Raises:
        UserError: no such attribute, or several that the classes may stand for.
    """
    if config.target is not None:
        index.attribute(config.target)
        return [config.target]
    found = stand_for(index.attributes, queries.classes, queries.target)
    if len(found) > 1:
        raise UserError(
            f"the model's classes {listed(queries.classes)} may be those of any of {listed(found)}: name the right one "
            "with --target"
        )
    return found


def _wanted(config: Namespace, index: Index) -> list[tuple[str, str | None]]:
    """Names and classes that are asked for, each name once."""
    found: dict[str, str | None] = {}
    for text in config.properties or list(index.attributes):
        name, _, value = (text, "", "") if text in index.attributes else text.partition(":")
        attribute = index.attribute(name)
        if value and value not in attribute.classes:
            raise UserError(
                f"--properties {text}: '{name}' has no class '{value}', its classes are "
                f"{', '.join(attribute.classes[:12])}"
            )
        found[name] = value or None
    if not found:
        raise UserError("the reference has no attribute to attack: name one that has, or list --properties")
    return list(found.items())


def _one(
    config: Namespace,
    source: Source,
    recipe: Recipe | None,
    training: TrainingSet | None,
    queries: Queries,
    x: Any,
    target: tuple[str, str | None, Sequence[str]],
) -> Leak:
    """One attribute. What only this attribute lacks (records, classes, freedom) is its result, not the audit's end."""
    name, value, labels = target
    disjoint = config.manifest if training is not None and training.same_source else None
    records = Records.from_source(source, part=config.part, split_seed=config.split_seed, manifest=disjoint)
    known = records.labelled(name)
    ready = reader(known, queries, "reference")
    ready(x[:1])
    what = _asked(config, known, name, value)
    if isinstance(what, Leak):
        return what
    truth = None if training is None else training.share(name, what.place)
    chosen = labels[0] if labels else None
    try:
        refuse_chosen(
            name,
            records.attributes,
            labels=queries.labels,
            classes=queries.classes,
            conditioned_on=chosen,
            option="target",
        )
    except UserError as error:
        return unread(name, what.value, str(error), truth)
    return attack(
        what,
        known,
        queries,
        x,
        ready,
        recipe=recipe,
        folds=config.folds,
        seed=config.seed,
        degraded=config.degrade,
        truth=truth,
    )


def _asked(config: Namespace, known: Labelled, name: str, value: str | None) -> Asked | Leak:
    """The class whose share is read: the one that is named, class 1 of two, the most frequent of more."""
    if value is None and len(known.classes) > 2:
        counts = [(known.labels == k).sum() for k in range(len(known.classes))]
        value = known.classes[max(range(len(counts)), key=counts.__getitem__)]
    try:
        return asked(name, known.classes, value, 1 - config.level, config.seed)
    except UserError as error:
        return unread(name, value or known.classes[0], str(error), None)


def _disclosed(
    card: Card | None, labels: Sequence[str], training: TrainingSet | None, index: Index
) -> tuple[Disclosed, ...]:
    """What the card says itself, so that no attack is needed."""
    if card is None:
        return ()
    found = []
    name = labels[0] if labels else "the classes"
    if card.label_frequencies is not None:
        truth = None
        if training is not None and labels:
            places = join(card.labels, index.attribute(name).classes, "the model", f"'{name}' of the reference").codes
            truth = tuple(training.share(name, k) for k in places.tolist())
        found.append(Disclosed(name, "label_frequencies", card.labels, card.label_frequencies, truth))
    if card.declared is not None:
        total, cells = sum(card.declared.values()), sorted(card.declared)
        shares = tuple(card.declared[cell] / max(total, 1) for cell in cells)
        group = "the sensitive attribute" if card.declared_names is None else card.declared_names.sensitive
        found.append(Disclosed(group, "declared", tuple(cells), shares, None))
    return tuple(found)
