"""The work of ``leak`` (``audit --as sharer``): what a release gives away before it goes out."""

import time
from dataclasses import replace

from jsonargparse import Namespace

from diffshare.audits.leak.audit import leak
from diffshare.audits.leak.members import member_leak
from diffshare.audits.leak.result import Report, section_of
from diffshare.audits.leak.training import read_training
from diffshare.classifiers.recipe import Recipe
from diffshare.commands.shown import show_leak
from diffshare.data.source import Source
from diffshare.receiver.box import open_model
from diffshare.receiver.records import Records
from diffshare.receiver.samples import Samples
from diffshare.release.section import write_section
from diffshare.storage import write_result

HEADING = "What a receiver can read off it"


def audit_leak(config: Namespace, source: Source, recipe: Recipe | None) -> int:
    """Attack, print the table, write the files that are asked for.

    Args:
        config: the arguments of ``audit``.
        source: records that the sharer has not trained on, with their attributes.
        recipe: how the classifiers are trained; None for the default of the modality.
    """
    started = time.perf_counter()
    training = None if config.manifest is None else read_training(config.manifest, source.index())
    disjoint = config.manifest if training is not None and training.same_source else None
    records = Records.from_source(source, part=config.part, split_seed=config.split_seed, manifest=disjoint)
    box = None if config.model is None else open_model(config.model, device=config.device)
    names = ("properties", "target", "queries", "level", "folds", "degrade", "seed", "steps", "batch_size")
    options = {name: config[name] for name in names}
    report = leak(
        Samples.from_path(config.samples) if box is None else box,
        records,
        training=training,
        classifier=recipe,
        guidance=1.0 if config.guidance is None else config.guidance,
        **options,
    )
    if training is not None and box is not None:
        drawn = {name: config[name] for name in ("split_seed", "device", "seed")}
        found = member_leak(config.model, source, training, config.part, level=1 - config.level, **drawn)
        report = replace(report, membership=found)
    if config.write_card:
        report = report.of(write_section(config.model, HEADING, section_of(report)).sha256)
    if config.json is not None:
        write_result(config.json, report.to_json(time.perf_counter() - started), Report.FIELDS)
    show_leak(report)
    return 0
