"""What does a release leak? The property inference attacks on the own release, before it goes out.

Every attribute of the reference is read off the same samples by every method, with the receiver's own code. The result
is an estimate of what a receiver with as good a reference learns, not a bound: one with more records or a better
classifier learns more, down to what the sampling leaves.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from diffshare.audits.leak.attributes import Leak, attack, unread
from diffshare.audits.leak.contents import Content, of_release, of_samples
from diffshare.audits.leak.result import Disclosed, Report
from diffshare.audits.leak.training import TrainingSet
from diffshare.classes import another_attribute, join, listed
from diffshare.classifiers.recipe import Recipe
from diffshare.errors import UserError, check_number, check_seed
from diffshare.progress import progress
from diffshare.receiver.box import Box, check_kinds
from diffshare.receiver.choices import checked, names_of
from diffshare.receiver.property.conditioning import refuse_chosen, stand_for
from diffshare.receiver.property.infer import kinds_of
from diffshare.receiver.property.inference import Asked, asked
from diffshare.receiver.property.queries import ModelQueries, Queries, SampleQueries
from diffshare.receiver.property.reading import reader
from diffshare.receiver.records import Labelled, Records
from diffshare.receiver.samples import Samples, same_size
from diffshare.receiver.sampling import check_asking
from diffshare.release.card import Card
from diffshare.release.folder import open_release
from diffshare.release.samples import refuse_alike

QUERIES = 2000  # of a model, where no number is given; of a folder, all samples


def leak(
    what: Samples | Box,
    records: Records,
    *,
    properties: Sequence[str] = (),
    target: str | None = None,
    training: TrainingSet | None = None,
    queries: int | None = None,
    level: float = 0.05,
    classifier: Recipe | None = None,
    folds: int = 5,
    degrade: bool = False,
    seed: int = 0,
    steps: int | None = None,
    guidance: float = 1.0,
    batch_size: int | None = None,
) -> Report:
    """What a receiver reads off a model before it goes out: every attribute of the records is attacked.

    Args:
        what: the model, or samples of it.
        records: labelled records that it was not trained on, with their attributes.
        properties: attributes to attack, ``NAME`` or ``NAME:CLASS``; all where none is named.
        target: attribute that the model's classes stand for; by their names where None.
        training: the records that it was trained on, to judge what is read by.
        queries: samples to look at; 2000 of a model, all that there are otherwise where None.
        level: of the tests: intervals have the confidence 1 - level, in (0, 1).
        classifier: a recipe: how the classifiers are trained; by the kind of data where None.
        folds: of the cross-fitting, at least 2.
        degrade: train on blurred and noisy copies of images as well.
        seed: of samples, folds and training.
        steps: network calls a sample; the card's default where None.
        guidance: ``guidance_scale`` to ask at.
        batch_size: samples a pass.

    Returns:
        what was read; ``membership`` is not looked at.

    Raises:
        UserError: an unknown attribute, samples that do not fit the records.
    """
    check_kinds(what, (Samples, Box), records)
    if isinstance(what, Samples):
        what, records, _ = same_size(what, records)
    asking = {"seed": seed, "steps": steps, "guidance": guidance, "batch_size": batch_size}
    rest: dict[str, Any] = {
        "target": target,
        "training": training,
        "queries": queries,
        "level": level,
    }
    rest |= {"classifier": classifier, "folds": folds, "degrade": degrade}
    checked(leak, asking | rest)
    (*properties,) = names_of("properties", properties)
    if not 0 < level < 1:
        raise UserError(f"`level` is {level}: it lies between 0 and 1")
    check_seed("seed", seed)
    for one, value, least in (("queries", queries, 1), ("folds", folds, 2), ("steps", steps, 1)):
        check_number(one, value, least)
    check_asking(guidance, batch_size)
    chosen = _Chosen(level, folds, degrade, classifier, seed)
    wanted = _wanted(properties, records)  # refused before anything is drawn
    source = _queries(what, records, asking)
    labels = _labels(target, records, source)
    if not properties:
        wanted = [(name, None) for name, _ in wanted if name not in labels]
    if isinstance(source, SampleQueries):
        source.shuffle(seed)  # the curve reads prefixes, and a folder may be sorted
    x = source.take(0, queries or source.available or QUERIES)
    if not source.columns:  # a table's columns may be counted, whatever they hold
        refuse_alike(x, "the samples")
    card = what.card if isinstance(what, Box) else None
    leaks = [
        _one(chosen, records, training, source, x, (name, value, labels))
        for name, value in progress(wanted, "attacking", len(wanted))
    ]
    return Report(
        leaks=tuple(leaks),
        disclosed=_disclosed(card, labels, training, records),
        queries=len(x),
        labels=source.labels,
        level=1 - level,
        identity=what.identity if isinstance(what, Box) else None,
        notes=(*filter(None, (records.used,)), *_notes(records, training, card, labels)),
        contents=_contents(what),
        quantiles=_quantiles(source),
    )


class _Chosen(NamedTuple):
    """How the classifiers are trained, and the level."""

    level: float
    folds: int
    degrade: bool
    classifier: Recipe | None
    seed: int


def _notes(
    records: Records, training: TrainingSet | None, card: Card | None, labels: Sequence[str]
) -> tuple[str, ...]:
    """What classes were told by their position; whether the model was trained on records of the reference."""
    told = () if training is None else training.notes
    if card is not None and labels:
        classes = records.attribute(labels[0]).classes
        whole = join(card.labels, classes, "the model", f"'{labels[0]}' of the reference")
        told = (
            *told,
            *filter(None, (whole.note, another_attribute(card.target, labels[0], "the model"))),
        )
    return (*told, *_disjoint(records, training))


def _disjoint(records: Records, training: TrainingSet | None) -> tuple[str, ...]:
    """What is not known of the records: whether the model was trained on some of them."""
    if training is not None and not training.same_source:
        return (
            f"it was NOT checked that the model was not trained on records of the reference: {training.manifest} is "
            "of another source (its source_sha256 differs), where a name says nothing; if both hold the same records, "
            "what is read here says too much: give records of the source of the training, or some that are "
            "surely others",
        )
    return () if training is not None or not records.disjoint else (records.disjoint,)


def _contents(what: Samples | Box) -> tuple[Content, ...]:
    """What the folder says by itself."""
    if isinstance(what, Box):
        return of_release(open_release(what.folder))
    folder = what.folder
    return () if folder is None or not folder.is_dir() or what.known else of_samples(folder)


def _quantiles(queries: Queries) -> tuple[str, ...]:
    """Columns of which the release's schema has quantiles, as those of format 1 have."""
    columns = queries.columns if isinstance(queries, ModelQueries) else ()
    return tuple(column.name for column in columns if getattr(column, "quantiles", ()))


def _queries(what: Samples | Box, records: Records, asking: dict[str, Any]) -> Queries:
    if isinstance(what, Box):
        return ModelQueries(what.generator, **asking)
    return SampleQueries(what, kinds_of(records), records.missing)


def _labels(target: str | None, records: Records, queries: Queries) -> list[str]:
    """The attribute that the model's classes stand for, or none: the one that is named, else by names of classes.

    Raises:
        UserError: no such attribute, or several that the classes may stand for.
    """
    if target is not None:
        records.attribute(target)
        return [target]
    attributes = stand_for(records.attributes, queries.classes, queries.target)
    if len(attributes) > 1:
        raise UserError(
            f"the model's classes {listed(queries.classes)} may be those of any of {listed(attributes)}: name the "
            "right one with `target`"
        )
    return attributes


def _wanted(properties: Sequence[str], records: Records) -> list[tuple[str, str | None]]:
    """Names and classes that are asked for, each name once."""
    wanted: dict[str, str | None] = {}
    for text in properties or list(records.attributes):
        name, _, value = (text, "", "") if records.has(text) else text.partition(":")
        attribute = records.attribute(name)
        if value and value not in attribute.classes:
            raise UserError(
                f"{text} in `properties`: '{name}' has no class '{value}', its classes are "
                f"{', '.join(attribute.classes[:12])}"
            )
        wanted[name] = value or None
    if not wanted:
        raise UserError("the reference has no attribute to attack: give records that have one")
    return list(wanted.items())


def _one(
    chosen: _Chosen,
    records: Records,
    training: TrainingSet | None,
    queries: Queries,
    x: Any,
    target: tuple[str, str | None, Sequence[str]],
) -> Leak:
    """One attribute. What only this attribute lacks (records, classes, freedom) is its result, not the audit's end."""
    name, value, labels = target
    labelled = records.labelled(name)
    ready = reader(labelled, queries, "reference")
    ready(x[:1])
    what = _asked(chosen, labelled, name, value)
    if isinstance(what, Leak):
        return what
    truth = None if training is None else training.share(name, what.place)
    try:
        refuse_chosen(
            name,
            {**records.attributes, name: records.attribute(name)},
            labels=queries.labels,
            classes=queries.classes,
            conditioned_on=labels[0] if labels else None,
            option="target",
        )
    except UserError as error:
        return unread(name, what.value, str(error), truth)
    return attack(
        what,
        labelled,
        queries,
        x,
        ready,
        recipe=chosen.classifier,
        folds=chosen.folds,
        seed=chosen.seed,
        degraded=chosen.degrade,
        truth=truth,
    )


def _asked(chosen: _Chosen, labelled: Labelled, name: str, value: str | None) -> Asked | Leak:
    """The class whose share is read: the one that is named, class 1 of two, the most frequent of more."""
    if value is None and len(labelled.classes) > 2:
        counts = [(labelled.labels == k).sum() for k in range(len(labelled.classes))]
        value = labelled.classes[max(range(len(counts)), key=counts.__getitem__)]
    try:
        return asked(name, labelled.classes, value, 1 - chosen.level, chosen.seed)
    except UserError as error:
        return unread(name, value or labelled.classes[0], str(error), None)


def _disclosed(
    card: Card | None, labels: Sequence[str], training: TrainingSet | None, records: Records
) -> tuple[Disclosed, ...]:
    """What the card says itself, so that no attack is needed."""
    if card is None:
        return ()
    disclosed = []
    name = labels[0] if labels else "the classes"
    if card.label_frequencies is not None:
        truth = None
        if training is not None and labels:
            places = join(
                card.labels,
                records.attribute(name).classes,
                "the model",
                f"'{name}' of the reference",
            ).codes
            truth = tuple(training.share(name, k) for k in places.tolist())
        disclosed.append(
            Disclosed(name, "label_frequencies", card.labels, card.label_frequencies, truth)
        )
    if card.declared is not None:
        total, cells = sum(card.declared.values()), sorted(card.declared)
        shares = tuple(card.declared[cell] / max(total, 1) for cell in cells)
        group = (
            "the sensitive attribute"
            if card.declared_names is None
            else card.declared_names.sensitive
        )
        disclosed.append(Disclosed(group, "declared", tuple(cells), shares, None))
    return tuple(disclosed)
