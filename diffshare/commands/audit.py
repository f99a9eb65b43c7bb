"""The verb ``audit``: is a model poisoned, what would a classifier's gap be, and what does a release leak?"""

import importlib
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jsonargparse import Namespace

from diffshare.audits.poisoning.candidates import overall
from diffshare.audits.poisoning.declaration import declaration_test
from diffshare.audits.poisoning.declared import read_declared
from diffshare.audits.poisoning.drawing import Drawing
from diffshare.audits.poisoning.result import Audit, advice
from diffshare.audits.poisoning.table import counted_table
from diffshare.audits.poisoning.verdict import judge
from diffshare.commands.audit_arguments import count_of, parse, terms
from diffshare.commands.audit_candidates import with_records
from diffshare.commands.audit_claims import at_guidance, guidance_notes, judgement_notes
from diffshare.commands.audit_shown import show
from diffshare.errors import UserError
from diffshare.receiver.samples import samples_file, samples_sha256
from diffshare.release.info import SAMPLES, read_info
from diffshare.stats.association import Reference
from diffshare.stats.shares import counted_shares
from diffshare.storage import check_apart, check_new_folder, write_result
from diffshare.terminal import say


def audit(arguments: list[str]) -> int:
    """Audit a model or its samples."""
    config, source, classifier, downstream = parse(arguments)
    started = time.perf_counter()
    if config["as"] == "sharer":
        return int(importlib.import_module("diffshare.audits.leak.audit").audit_leak(config, source, classifier))
    if config.out is not None:
        check_apart(config.out, config.model)  # --out goes with --model alone
        check_new_folder(config.out, SAMPLES, overwrite=config.overwrite)
    drawing = _drawing(config)
    with TemporaryDirectory() as temporary:
        folder = config.samples or config.out or Path(temporary) / "samples"
        if source is None:
            if drawing is not None:
                drawing.write(folder, count_of(config, None))
            found = [_declared_alone(config, folder)]
        else:
            found = with_records(config, folder, drawing, source, classifier, downstream)
    strongest = overall(found)
    result = strongest.json(time.perf_counter() - started) | {"settings": _settings(config)}
    if len(found) > 1:
        result["candidates"] = [_candidate(one) for one in found]
    if config.json is not None:
        write_result(config.json, result, Audit.FIELDS)
    for one in found:
        show(one)
    if len(found) > 1:
        say(f"verdict: {strongest.judgement.verdict} (of {len(found)} candidates, p-values adjusted by Holm)")
    say(f"advice:  {advice(strongest)}")
    return 0


def _settings(config: Namespace) -> dict[str, Any]:
    """How the group was read, so that ``repair`` reads it in the same way."""
    named = {}
    for key in ("reference", "classifier"):
        block = config[key].as_dict() if config[key] else {}
        named[key] = {part: block[part] for part in ("class_path", "init_args") if part in block} or None
    named = json.loads(json.dumps(named, default=str))  # a path becomes text
    return named | {key: config[key] for key in ("part", "pool", "split_seed", "folds", "degrade", "seed")}


def _drawing(config: Namespace) -> Drawing | None:
    """The model that is asked for samples; None for a folder of samples."""
    if config.model is None:
        return None
    options = {name: config[name] for name in ("seed", "steps", "guidance", "batch_size", "device")}
    return Drawing(config.model, **options)


def _declared_alone(config: Namespace, folder: Path) -> Audit:
    """The audit of a table against a declared one: no record is needed, group and class are columns."""
    if samples_file(folder).suffix != ".csv":
        raise UserError(
            "the group of an image must be read by a classifier, which needs labelled records: add --reference FILE "
            "(--declared is then tested beside it)"
        )
    counted = counted_table(folder, config.sensitive, config.target, config.queries)
    groups, classes, unknown = counted.groups, counted.classes, counted.unknown
    info = read_info(folder)
    asked = at_guidance(config, terms(config), info)
    declared = read_declared(config.declared, groups, classes)
    reference = Reference(declared.table, known=True)
    shares = counted_shares(counted.counts)
    made = judge(shares, reference, asked, unknown=unknown)
    notes = (*judgement_notes(made, asked, config.sensitive, classes), *guidance_notes(config, info))
    return Audit(
        judgement=made,
        shares=shares,
        reference=reference,
        terms=asked,
        names=(config.sensitive, config.target),
        groups=groups,
        classes=classes,
        queries=counted.rows,
        samples_sha256=samples_sha256(folder),
        declaration=declaration_test(shares, reference.table, asked, counted.rows, unknown=unknown),
        notes=(
            *notes,
            *declared.notes,
            "no gap is predicted without records to measure it on",
        ),
    )


def _candidate(one: Audit) -> dict[str, Any]:
    whole = one.json(0)
    kept = ("sensitive", "verdict", "p_value", "association", "cells", "minimum_detectable_alpha", "groups")
    return {name: whole[name] for name in kept}
