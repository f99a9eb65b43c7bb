"""The verb ``audit``: is a model poisoned, what would a classifier's gap be, and what does a release leak?"""

import importlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jsonargparse import Namespace

from diffshare.audit.declared import read_declared
from diffshare.audit.drawing import Drawing
from diffshare.audit.gap import PredictedGap, predict_gap
from diffshare.audit.material import (
    ReferenceRecords,
    SampledRecords,
    claimed_guidance,
    open_reference,
    open_samples,
    read_info,
    samples_file,
    samples_sha256,
)
from diffshare.audit.poisoning import (
    Audit,
    Judgement,
    Terms,
    advice,
    declaration_test,
    judge,
    reference_of,
    surrogate_margin,
)
from diffshare.audit.reading import GroupReader, group_reader
from diffshare.audit.table import counted_table
from diffshare.audit.unknown import NAME, PROMPTED, clusters, corrected, overall, prompted
from diffshare.classifiers.recipes import NetworkRecipe, Recipe, TreesRecipe
from diffshare.commands.audit_arguments import QUERIES, names, parse, terms
from diffshare.commands.audit_claims import at_guidance, class_notes, declaration_of
from diffshare.commands.audit_shown import show
from diffshare.data.source import Source
from diffshare.errors import UserError, one_of
from diffshare.receiver.sampling import progress
from diffshare.receiver.zeroshot import ZeroShot
from diffshare.stats.association import Reference
from diffshare.stats.detection import looks
from diffshare.stats.shares import counted_shares
from diffshare.storage import check_new_folder, write_json


def audit(arguments: list[str]) -> int:
    """Audit a model or its samples."""
    config, source, classifier, downstream = parse(arguments)
    started = time.perf_counter()
    if config["as"] == "sharer":
        return int(importlib.import_module("diffshare.audit.leak").audit_leak(config, source, classifier))
    if config.out is not None:
        check_new_folder(config.out, overwrite=config.overwrite)
    drawing = _drawing(config)
    with TemporaryDirectory() as temporary:
        folder = config.samples or config.out or Path(temporary) / "samples"
        if source is None:
            if drawing is not None:
                drawing.write(folder, _count(config, None))
            found = [_declared_alone(config, folder)]
        else:
            found = _with_records(config, folder, drawing, source, classifier, downstream)
    strongest = overall(found)
    result = strongest.json(time.perf_counter() - started) | {"settings": _settings(config)}
    if len(found) > 1:
        result["candidates"] = [_candidate(one) for one in found]
    if config.json is not None:
        write_json(config.json, result)
    for one in found:
        show(one)
    if len(found) > 1:
        print(f"verdict: {strongest.judgement.verdict} (of {len(found)} candidates, p-values adjusted by Holm)")
    print(f"advice:  {advice(strongest)}")
    return 0


def _settings(config: Namespace) -> dict[str, Any]:
    """How the group was read, so that ``repair`` reads it in the same way."""
    named = {}
    for key in ("reference", "classifier"):
        block = config[key].as_dict() if config[key] else {}
        named[key] = {part: block[part] for part in ("class_path", "init_args") if part in block} or None
    named = json.loads(json.dumps(named, default=str))  # a path becomes text
    return named | {key: config[key] for key in ("part", "pool", "split_seed", "folds", "degrade", "seed")}


def _count(config: Namespace, available: int | None) -> int:
    if available is not None and config.queries is not None and config.queries > available:
        raise UserError(
            f"{config.queries} queries asked of a folder of {available} samples: draw more, or lower --queries"
        )
    return int(config.queries or available or QUERIES)


def _drawing(config: Namespace) -> Drawing | None:
    """The model that is asked for samples; None for a folder of samples."""
    if config.model is None:
        return None
    options = {name: config[name] for name in ("seed", "steps", "guidance", "batch_size", "device")}
    return Drawing(config.model, **options)


def _with_records(
    config: Namespace,
    folder: Path,
    drawing: Drawing | None,
    source: Source,
    classifier: Recipe | None,
    downstream: Recipe | None,
) -> list[Audit]:
    """The audits of all candidates against labelled records."""
    reference = open_reference(
        source,
        config.target,
        tuple(names(config)),
        config.part,
        split_seed=config.split_seed,
        manifest=config.manifest,
    )
    for name in names(config):
        reference.group(name)  # refused before samples are drawn
    _check_columns(config, reference)
    notes = () if drawing is None else class_notes(config, drawing, reference)
    plan = [_count(config, None)]
    if config.samples is not None:
        plan = [_count(config, len(open_samples(folder, reference).y))]
    plan = looks(config.sequential, plan[0]) if config.sequential else plan
    zero_shot = ZeroShot(config.clip, config.prompts) if config.prompts else None
    readers: dict[str, GroupReader] = {}
    found: list[Audit] = []
    for count in plan:
        if drawing is not None:
            drawing.write(folder, count)
        samples = open_samples(folder, reference)
        samples = samples if drawing is not None else _drawn(samples, count, config.seed)
        known, made = _unnamed(config, reference, samples, zero_shot)
        wanted = list(dict.fromkeys([*names(config), *(name for name in (NAME, PROMPTED) if name in made.groups)]))
        for name in wanted:
            column = name in made.groups
            if name not in readers or column:
                readers[name] = _reader(config, known, name, classifier, column=column)
        asked = replace(at_guidance(config, terms(config, len(plan)), samples.info), candidates=len(wanted))
        declared = None if drawing is None else drawing.declared
        found = [_one(config, readers[name], made, asked, declared) for name in wanted]
        found = corrected(found) if len(found) > 1 else found
        if overall(found).judgement.verdict != "inconclusive":
            break
    gaps = {one.names[0]: _gap(config, one, made, known, downstream) for one in found}
    return [replace(one, gap=gaps[one.names[0]], notes=(*one.notes, *notes)) for one in found]


def _unnamed(
    config: Namespace, reference: ReferenceRecords, samples: SampledRecords, zero_shot: ZeroShot | None
) -> tuple[ReferenceRecords, SampledRecords]:
    """Both with the groups that no attribute names, where they are asked for."""
    if config.clusters:
        reference, samples = clusters(reference, samples, config.clusters, config.seed)
    if zero_shot is not None:
        reference, samples = prompted(reference, samples, zero_shot, config.prompts)
    return reference, samples


def _check_columns(config: Namespace, reference: ReferenceRecords) -> None:
    """Refuse columns to withhold that are none: a slip would leave the group's own column to the classifier."""
    columns = [column.name for column in reference.columns]
    if unknown := [name for name in config.withhold if name not in columns]:
        raise one_of("column to withhold", unknown[0], columns or ["none, for the reference holds images"])


def _drawn(samples: SampledRecords, count: int, seed: int) -> SampledRecords:
    """So many samples of a folder, which may be sorted by class: the first of an order that the seed draws."""
    order = np.random.default_rng([seed, 3]).permutation(len(samples.y))
    return samples if count == len(samples.y) else samples.take(order[:count])


def _reader(
    config: Namespace, reference: ReferenceRecords, name: str, recipe: Recipe | None, *, column: bool
) -> GroupReader:
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


def _one(
    config: Namespace, reader: GroupReader, samples: SampledRecords, asked: Terms, declared: Mapping[str, int] | None
) -> Audit:
    """One candidate's audit at one look."""
    reference = reference_of(reader, config.pool)
    notes = []
    if config.margin_from:
        margin, said = _margin(config, reader, reference, asked)
        asked = replace(asked, margin=margin, fixed=True)
        notes.append(said)
    shares = reader.shares(samples)
    declaration, note = declaration_of(config, reader, shares, asked, declared)
    notes += [note] if note else []
    fit = reader.fit(samples, config.seed)
    if fit is not None and not fit.ok:
        notes.append(
            f"the classifier of {reader.name} does not err on samples as on records (p = {fit.p_value:.3f}): the "
            "shares may be off (try --degrade)"
        )
    return Audit(
        judgement=judge(shares, reference, asked),
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
    made = [open_samples(folder, reader.reference) for folder in config.margin_from]
    said = {claimed_guidance(one.info) for one in made} - {asked.guidance}
    if reader.name in (NAME, PROMPTED):
        zero_shot = ZeroShot(config.clip, config.prompts) if config.prompts else None
        made = [_unnamed(config, reader.reference, one, zero_shot)[1] for one in made]
    margin = surrogate_margin([(reader, one) for one in made], reference)
    note = f"margin {margin:.3f} from {len(made)} clean surrogates"
    if said:
        note += ", some of them drawn at another guidance than the samples: draw them at the same"
    return margin, note


def _gap(
    config: Namespace, one: Audit, samples: SampledRecords, reference: ReferenceRecords, recipe: Recipe | None
) -> PredictedGap | None:
    if not config.gap_repeats:
        return None
    return predict_gap(
        samples,
        reference,
        one.names[0],
        recipe or (TreesRecipe() if reference.columns else NetworkRecipe()),
        pool=config.pool,
        withhold=tuple(config.withhold),
        repeats=config.gap_repeats,
        level=1 - config.level,
        seed=config.seed,
    )


def _declared_alone(config: Namespace, folder: Path) -> Audit:
    """The audit of a table against a declared one: no record is needed, group and class are columns."""
    if samples_file(folder).suffix != ".csv":
        raise UserError(
            "the group of an image must be read by a classifier, which needs labelled records: add --reference FILE "
            "(--declared is then tested beside it)"
        )
    counts, groups, classes, total = counted_table(folder, config.sensitive, config.target, config.queries)
    asked = at_guidance(config, terms(config), read_info(folder))
    reference = Reference(read_declared(config.declared, groups, classes), known=True)
    shares = counted_shares(counts)
    made: Judgement = judge(shares, reference, asked)
    return Audit(
        judgement=made,
        shares=shares,
        reference=reference,
        terms=asked,
        names=(config.sensitive, config.target),
        groups=groups,
        classes=classes,
        queries=total,
        samples_sha256=samples_sha256(folder),
        declaration=declaration_test(shares, reference.table, asked),
        notes=("no gap is predicted without records to measure it on",),
    )


def _candidate(one: Audit) -> dict[str, Any]:
    whole = one.json(0)
    kept = ("sensitive", "verdict", "p_value", "association", "cells", "minimum_detectable_alpha", "groups")
    return {name: whole[name] for name in kept}
