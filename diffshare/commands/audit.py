"""The work of ``audit``: is a model poisoned, what would a classifier's gap be, and what does a release leak?"""

import importlib
import json
import time
from dataclasses import fields
from typing import Any

from jsonargparse import Namespace

from diffshare.audits.poisoning.audit import audit as audit_samples
from diffshare.audits.poisoning.audit import declared_audit
from diffshare.audits.poisoning.drawing import Drawing
from diffshare.audits.poisoning.plan import Plan
from diffshare.audits.poisoning.result import Audit
from diffshare.classifiers.recipe import Recipe
from diffshare.commands.audit_arguments import names
from diffshare.commands.flags import say_each
from diffshare.commands.shown import show
from diffshare.data.source import Source
from diffshare.receiver.choices import choose
from diffshare.receiver.records import Records
from diffshare.receiver.samples import Samples
from diffshare.storage import write_result
from diffshare.terminal import say


def audit(
    config: Namespace, source: Source | None, classifier: Recipe | None, downstream: Recipe | None
) -> int:
    """Audit a model or its samples.

    Args:
        config: the arguments.
        source: of the reference.
        classifier: recipe of the group's classifier.
        downstream: recipe of the classifier whose gap is predicted.
    """
    started = time.perf_counter()
    if config["as"] == "sharer":
        return int(
            importlib.import_module("diffshare.commands.leak").audit_leak(
                config, source, classifier
            )
        )
    result = _audited(config, source, classifier, downstream)
    if config.json is not None:
        told = result.to_json(time.perf_counter() - started) | {"settings": _settings(config)}
        write_result(config.json, told, Audit.FIELDS)
    for one in result.candidates or (result,):
        show(one)
    if result.candidates:
        say(
            f"verdict: {result.verdict} (of {len(result.candidates)} candidates, p-values adjusted by Holm)"
        )
    say_each("advice", result.advice)
    return 0


def _audited(
    config: Namespace, source: Source | None, classifier: Recipe | None, downstream: Recipe | None
) -> Audit:
    chosen = {field.name: config[field.name] for field in fields(Plan)}
    plan = choose(Plan, chosen | {"classifier": classifier, "downstream": downstream})
    what = _drawing(config) if config.model is not None else None
    if source is None:
        samples = (
            Samples.from_path(config.samples) if what is None else what.first(plan.count_of(None))
        )
        options = vars(plan)
        return declared_audit(
            samples, config.declared, sensitive=config.sensitive, target=config.target, **options
        )
    records = Records.from_source(
        source,
        target=config.target,
        sensitive=names(config),
        part=config.part,
        split_seed=config.split_seed,
        manifest=config.manifest,
    )
    return audit_samples(
        Samples.from_path(config.samples) if what is None else what,
        records,
        declared=config.declared,
        plan=plan,
    )


def _settings(config: Namespace) -> dict[str, Any]:
    """How the group was read, so that ``repair`` reads it in the same way."""
    named = {}
    for key in ("reference", "classifier"):
        block = config[key].as_dict() if config[key] else {}
        named[key] = {
            part: block[part] for part in ("class_path", "init_args") if part in block
        } or None
    named = json.loads(json.dumps(named, default=str))  # a path becomes text
    return named | {
        key: config[key] for key in ("part", "pool", "split_seed", "folds", "degrade", "seed")
    }


def _drawing(config: Namespace) -> Drawing:
    """The model that is asked for samples."""
    options = {name: config[name] for name in ("seed", "steps", "guidance", "batch_size", "device")}
    return Drawing(config.model, folder=config.out, **options)
