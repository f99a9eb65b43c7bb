"""The work of ``leak`` (``audit --as sharer``): what a release gives away before it goes out."""

import time
from dataclasses import replace

from jsonargparse import Namespace
from rich.table import Table

from diffshare.audits.leak.attributes import WIDTH
from diffshare.audits.leak.audit import leak as leak_of
from diffshare.audits.leak.members import member_leak
from diffshare.audits.leak.result import Report, section_of
from diffshare.audits.leak.training import read_training
from diffshare.classifiers.recipe import Recipe
from diffshare.commands.flags import say_each
from diffshare.data.source import Source
from diffshare.receiver.box import open_model
from diffshare.receiver.records import Records
from diffshare.receiver.samples import Samples
from diffshare.release.section import write_section
from diffshare.storage import write_result
from diffshare.terminal import cell_text, console, say

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
    records = Records.from_source(
        source, part=config.part, split_seed=config.split_seed, manifest=disjoint
    )
    box = None if config.model is None else open_model(config.model, device=config.device)
    names = (
        "properties",
        "target",
        "queries",
        "level",
        "folds",
        "degrade",
        "seed",
        "steps",
        "batch_size",
    )
    options = {name: config[name] for name in names}
    report = leak_of(
        Samples.from_path(config.samples) if box is None else box,
        records,
        training=training,
        classifier=recipe,
        guidance=1.0 if config.guidance is None else config.guidance,
        **options,
    )
    if training is not None and box is not None:
        drawn = {name: config[name] for name in ("split_seed", "device", "seed")}
        found = member_leak(
            config.model, source, training, config.part, level=1 - config.level, **drawn
        )
        report = replace(report, membership=found)
    if config.write_card:
        report = report.of(write_section(config.model, HEADING, section_of(report)).sha256)
    if config.json is not None:
        write_result(config.json, report.to_json(time.perf_counter() - started), Report.FIELDS)
    show_leak(report)
    return 0


def show_leak(report: Report) -> None:
    """The table on the terminal."""
    for leak in report.leaks:
        check = leak.assumption
        if check is not None and check.p_value is not None and not check.ok:
            say(
                f"FAILS:   the classifier of {leak.name} does not err on the samples as on records (p = "
                f"{check.p_value:.3f}): its intervals below assume that it does, and may miss the truth"
            )
    title = (
        f"what {report.queries} samples (labels: {report.labels}) give away; intervals assume that classifiers err on "
        "samples as on records"
    )
    table = Table(
        "share of",
        "method",
        "estimate",
        "interval",
        "+-",
        f"queries for +-{WIDTH:g}",
        "truth",
        title=title,
    )
    for said in report.disclosed:
        shares = ", ".join(
            f"{name} {100 * share:.1f} %" for name, share in said.json()["shares"].items()
        )
        table.add_row(
            cell_text(said.name), f"card: {said.field}", cell_text(shares), "", "", "0", ""
        )
    for leak in report.leaks:
        truth = "" if leak.truth is None else f"{100 * leak.truth:.1f} %"
        name = cell_text(f"{leak.name}: {leak.value}")
        for one in leak.readings:
            ends = f"{100 * one.low:.1f} - {100 * one.high:.1f} %"
            needed = one.needed()
            cells = (
                f"{100 * one.estimate:.1f} %",
                ends,
                f"{one.half_width:.3f}",
                f"{needed:,}" if needed else "never",
            )
            usual = one.method == leak.usual
            table.add_row(
                name if usual else "", one.method, *cells, truth, style="bold" if usual else None
            )
        if not leak.readings:
            table.add_row(name, "not read", "", "", "", "", truth)
    console().print(table)
    for content in report.contents:
        say(
            f"says:    {content.file}: {content.says}"
            + ("" if content.records else " (not of the records)")
        )
    for leak in report.leaks:
        say_each("verdict", f"{leak.name}: {leak.value}: {leak.said}")
    say_each("note", *report.notes)
    for leak in report.leaks:
        if leak.reason is not None:
            say_each("note", f"{leak.name}: {leak.reason}")
        elif leak.fails and leak.assumption is not None:
            p = leak.assumption.p_value
            say(
                f"note:    {leak.name}: the classifier errs on the samples otherwise than on records (p = {p:.3f})"
            )
    if report.membership is not None:
        say(f"records: {report.membership.line}")
    say_each("advice", report.advice)
