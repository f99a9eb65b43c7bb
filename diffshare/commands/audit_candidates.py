"""The audit of every candidate for the group against labelled records, look by look."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import Namespace

from diffshare.audits.poisoning.candidates import NAME, PROMPTED, clusters, corrected, overall, prompted
from diffshare.audits.poisoning.drawing import Drawing
from diffshare.audits.poisoning.gap import PredictedGap, predict_gap
from diffshare.audits.poisoning.own_gap import OwnGap, own_gap
from diffshare.audits.poisoning.reading import GroupReader, group_reader
from diffshare.audits.poisoning.result import Audit
from diffshare.audits.poisoning.surrogates import surrogate_margin, surrogate_note
from diffshare.audits.poisoning.verdict import Terms, judge, reference_of
from diffshare.classifiers.recipes import Recipe, default_recipe
from diffshare.commands.audit_arguments import count_of, names, terms
from diffshare.commands.audit_claims import at_guidance, declaration_of, guidance_notes, judgement_notes
from diffshare.data.source import Source
from diffshare.errors import one_of
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples, Samples, claimed_guidance
from diffshare.receiver.sampling import progress
from diffshare.receiver.zeroshot import ZeroShot
from diffshare.release.card import Card
from diffshare.stats.association import Reference
from diffshare.stats.detection import looks


def with_records(
    config: Namespace,
    folder: Path,
    drawing: Drawing | None,
    source: Source,
    classifier: Recipe | None,
    downstream: Recipe | None,
) -> list[Audit]:
    """The audits of all candidates against labelled records."""
    reference = Records.from_source(
        source,
        target=config.target,
        sensitive=tuple(names(config)),
        part=config.part,
        split_seed=config.split_seed,
        manifest=config.manifest,
    )
    for name in names(config):
        reference.group(name)  # refused before samples are drawn
    _check_columns(config, reference)
    notes: tuple[str, ...] = (reference.used, *((reference.disjoint,) if reference.compared else ()))
    plan = [count_of(config, None)]
    if drawing is not None:
        drawing.check_classes(reference)
    else:
        whole = Samples.from_path(folder).coded(reference)
        plan = [count_of(config, len(whole.y))]
        notes += guidance_notes(config, whole.info)
    plan = looks(config.sequential, plan[0]) if config.sequential else plan
    zero_shot = ZeroShot(config.clip, config.prompts) if config.prompts else None
    readers: dict[str, GroupReader] = {}
    found: list[Audit] = []
    for count in plan:
        last = count == plan[-1]
        if drawing is not None:
            if not last and count < len(drawing.card.labels):  # as many of each class: some have none yet
                continue
            drawing.write(folder, count)
        samples = Samples.from_path(folder).coded(reference)
        samples = samples if drawing is not None else _drawn(samples, count, config.seed)
        if not last and not _each_class(samples, names(config), len(reference.classes)):
            continue  # nothing to judge by yet, which decides nothing
        known, made = _unnamed(config, reference, samples, zero_shot)
        wanted = list(dict.fromkeys([*names(config), *(name for name in (NAME, PROMPTED) if name in made.groups)]))
        for name in wanted:
            column = name in made.groups
            if name not in readers or column:
                readers[name] = _reader(config, known, name, classifier, column=column)
        asked = replace(at_guidance(config, terms(config, len(plan)), samples.info), candidates=len(wanted))
        card = None if drawing is None else drawing.card
        found = [_one(config, readers[name], made, asked, card) for name in wanted]
        found = corrected(found) if len(found) > 1 else found
        if overall(found).judgement.verdict != "inconclusive":
            break
    notes += samples.notes
    return [
        replace(one, gap=gap, own=own, notes=(*one.notes, *notes))
        for one, (gap, own) in ((one, _gaps(config, one, made, known, downstream)) for one in found)
    ]


def _each_class(samples: CodedSamples, groups: list[str], classes: int) -> bool:
    """Whether each class has a sample whose group is known, for each group that is a column."""
    known = [np.ones(len(samples.y), bool), *(samples.groups[name] >= 0 for name in groups if name in samples.groups)]
    return all(np.bincount(samples.y[rows], minlength=classes).all() for rows in known)


def _unnamed(
    config: Namespace, reference: Records, samples: CodedSamples, zero_shot: ZeroShot | None
) -> tuple[Records, CodedSamples]:
    """Both with the groups that no attribute names, where they are asked for."""
    if config.clusters:
        reference, samples = clusters(reference, samples, config.clusters, config.seed)
    if zero_shot is not None:
        reference, samples = prompted(reference, samples, zero_shot, config.prompts)
    return reference, samples


def _check_columns(config: Namespace, reference: Records) -> None:
    """Refuse columns to withhold that are none: a slip would leave the group's own column to the classifier."""
    columns = [column.name for column in reference.columns]
    if unknown := [name for name in config.withhold if name not in columns]:
        raise one_of("column to withhold", unknown[0], columns or ["none, for the reference holds images"])


def _drawn(samples: CodedSamples, count: int, seed: int) -> CodedSamples:
    """So many samples of a folder, which may be sorted by class: the first of an order that the seed draws."""
    order = np.random.default_rng([seed, 3]).permutation(len(samples.y))
    return samples if count == len(samples.y) else samples.take(order[:count])


def _reader(config: Namespace, reference: Records, name: str, recipe: Recipe | None, *, column: bool) -> GroupReader:
    return group_reader(
        reference,
        name,
        column=column,
        recipe=recipe,
        folds=config.folds,
        seed=config.seed,
        degraded=config.degrade,
        progress=lambda folds: progress(folds, f"training classifiers of {name}", config.folds),
    )


def _one(config: Namespace, reader: GroupReader, samples: CodedSamples, asked: Terms, card: Card | None) -> Audit:
    """One candidate's audit at one look."""
    reference = reference_of(reader, config.pool)
    notes = []
    if config.margin_from:
        margin, said = _margin(config, reader, reference, asked)
        asked = replace(asked, margin=margin, fixed=True, origin="the margin from --margin-from")
        notes.append(said)
    shares, fit = reader.shares(samples), reader.fit(samples, config.seed)
    unknown = reader.unknown(samples)
    declaration, told = declaration_of(config, reader, shares, asked, card, fit, unknown)
    notes += told
    made = judge(shares, reference, asked, fit, unknown)
    notes += judgement_notes(made, asked, reader.name, reader.reference.classes)
    if fit is not None and made.misfit is not None:
        notes.append(
            f"the classifier of {reader.name} errs on the samples otherwise than on records (p = {fit.p_value:.3f}): "
            f"what shows of that may hide {made.misfit.size}; {fit.remedy}"
        )
    return Audit(
        judgement=made,
        shares=shares,
        reference=reference,
        terms=asked,
        names=(reader.name, config.target),
        groups=reader.attribute.classes,
        classes=reader.reference.classes,
        queries=len(samples.y),
        samples_sha256=samples.sha256,
        accuracy=None if reader.classifier is None else reader.classifier.accuracy,
        fit=fit,
        declaration=declaration,
        notes=tuple(notes),
    )


def _margin(config: Namespace, reader: GroupReader, reference: Reference, asked: Terms) -> tuple[float, str]:
    """A margin from clean surrogates, and what to know of it."""
    made = [Samples.from_path(folder).coded(reader.reference) for folder in config.margin_from]
    said = {claimed_guidance(one.info) for one in made} - {asked.guidance}
    if reader.name in (NAME, PROMPTED):
        zero_shot = ZeroShot(config.clip, config.prompts) if config.prompts else None
        made = [_unnamed(config, reader.reference, one, zero_shot)[1] for one in made]
    margin = surrogate_margin([(reader, one) for one in made], reference)
    note = "; ".join([surrogate_note(margin, len(made), asked.level), *(told for one in made for told in one.notes)])
    if said:
        note += "; some of them were drawn at another guidance than the samples: draw them at the same"
    return margin, note


def _gaps(
    config: Namespace, one: Audit, samples: CodedSamples, reference: Records, recipe: Recipe | None
) -> tuple[PredictedGap | None, OwnGap | None]:
    """The gap of classifiers that are trained on the samples, and of others that are trained on the reference."""
    if not config.gap_repeats:
        return None, None
    options: dict[str, Any] = {
        "pool": config.pool,
        "withhold": tuple(config.withhold),
        "repeats": config.gap_repeats,
        "level": 1 - config.level,
        "seed": config.seed,
    }
    trained = recipe or default_recipe(reference.columns)
    name = one.names[0]
    return (
        predict_gap(samples, reference, name, trained, **options),
        own_gap(samples, reference, name, trained, **options),
    )
