"""The work of ``repair``: an association of group and class in samples undone."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import Namespace
from rich.table import Table

from diffshare.audits.poisoning.candidates import PROMPTED, clusters
from diffshare.audits.poisoning.reading import GroupReader
from diffshare.audits.repair.repair import Reading, solve
from diffshare.audits.repair.weights import accept, reweigh, wanted_shares
from diffshare.classes import listed
from diffshare.commands.audited import Audited, read_audited
from diffshare.commands.flags import say_each
from diffshare.commands.repair_arguments import REPAIRED, REPORT
from diffshare.commands.repaired import resample, write_weights
from diffshare.errors import UserError
from diffshare.received import shown
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples, Samples, samples_sha256
from diffshare.release.folder import open_release
from diffshare.storage import atomic_folder, write_json
from diffshare.terminal import cell_text, console, say

MISSED = 0.05  # a share that is further off what is wanted is worth a note


def repair(config: Namespace) -> int:
    """Repair a samples folder after its audit."""
    started = time.perf_counter()
    audit = _audit(config)
    reference, samples = _opened(config.samples, _reference(config, audit), audit)
    _check_names(audit, reference)
    say(f"records: {reference.used}")
    say_each("note", *samples.notes)
    if config.model is not None:
        _check_model(config, samples.info)
    table = reference.table(reference.group(audit.sensitive))
    wanted = wanted_shares(np.ones(table.shape) if audit.pool == "balanced" else table, config.to)
    options = {"weights": config.weights, "most": config.most, "seed": config.seed}
    solved = solve(reference, samples, wanted, _reading(config, audit), **options)
    found, reader = solved.repair, solved.reader
    say_each("note", *solved.notes)

    def chosen(further: Path, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        made = _opened(further, reference, audit)[1]
        weighed = reweigh(
            reader, made, wanted, config.most, solved.weights, solved.checker, found.parts
        )
        return made.y, accept(weighed, made.y, rng)

    report: dict[str, Any] = {
        "method": config.method,
        "to": config.to,
        "weights": solved.weights,
        **found.json(samples.y),
    }
    report |= {
        "sensitive": audit.sensitive,
        "target": audit.target,
        "samples_sha256": samples.sha256,
    }
    # of the cells' numbers
    report |= {
        "groups": list(reader.attribute.classes),
        "classes": list(reference.classes),
    }
    named = {"classes": list(reference.classes), "target": reference.target}
    with atomic_folder(config.out, REPAIRED, overwrite=config.overwrite) as folder:
        if config.method == "reweigh":
            report |= {"count": len(samples.y), "queries": 0}
            write_weights(folder, samples, found, named)
        else:
            report |= resample(folder, config, samples, found, named, chosen, audit.guidance)
        report["seconds"] = round(time.perf_counter() - started, 3)
        write_json(folder / REPORT, report)
    _show(report, reader)
    say(f"samples: {config.out}")
    return 0


def _audit(config: Namespace) -> Audited:
    """The audit's file, checked to be one of these samples."""
    found = read_audited(config.audit)
    actual = samples_sha256(config.samples)
    if found.samples_sha256 != actual:
        raise UserError(
            f"{config.audit} is of other samples (sha256 {found.samples_sha256[:12]}..., those in {config.samples} "
            f"have {actual[:12]}...): audit these samples first, with --samples {config.samples}"
        )
    return found


def _reference(config: Namespace, audit: Audited) -> Records:
    """The labelled records, as the audit had them."""
    source = config.reference or audit.built("reference")
    if source is None:
        raise UserError("the audit knows no labelled records: name them with --reference FILE")
    if audit.sensitive == PROMPTED and PROMPTED not in source.index().attributes:
        raise UserError(
            f"{audit.path} found its group with --prompts, whose model repair does not ask: audit again with "
            "--sensitive NAME or with --clusters N alone, and repair after that audit"
        )
    return Records.from_source(
        source,
        target=audit.target,
        sensitive=audit.names,
        part=audit.part,
        split_seed=audit.split_seed,
    )


def _check_names(audit: Audited, reference: Records) -> None:
    """Refuse records whose groups or classes are others than those that were audited; their order does not matter."""
    sides = ((audit.groups, reference.attributes[audit.sensitive].classes, audit.sensitive),
             (audit.classes, reference.classes, audit.target))  # fmt: skip
    for theirs, ours, name in sides:
        if theirs and set(theirs) != set(ours):
            raise UserError(
                f"{audit.path} audited {listed(theirs)} of '{name}', the reference has {listed(ours)}: repair with the "
                "records of the audit, or audit with these"
            )


def _opened(folder: Path, reference: Records, audit: Audited) -> tuple[Records, CodedSamples]:
    """Reference and samples, both with the cluster of each record where the audit found the group among clusters."""
    samples = Samples.from_path(folder).coded(reference)
    return (
        clusters(reference, samples, audit.clusters, audit.seed)
        if audit.clusters
        else (reference, samples)
    )


def _check_model(config: Namespace, info: Mapping[str, Any]) -> None:
    """Refuse to mix the samples with those of another model, or of another scheduler."""
    identity, said = open_release(config.model).sha256, info.get("model")
    known = said.get("sha256") if isinstance(said, dict) else None
    if known is None:
        say(
            f"note:    {config.samples} does not say which model it is of: that it is {config.model} is not checked"
        )
    elif known != identity:
        raise UserError(
            f"{config.samples} holds samples of another model than {config.model} (sha256 {shown(known)}, that model "
            f"has {identity[:12]}...): name with --model the release that they were drawn from, or leave it out"
        )
    if info.get("scheduler") is not None:
        raise UserError(
            f"{config.samples} was drawn with --scheduler {shown(info['scheduler'])}, a repair asks the model with its "
            "own: leave out --model, or draw, audit and repair samples without --scheduler"
        )


def _reading(config: Namespace, audit: Audited) -> Reading:
    """How the group is read: as the audit had it."""
    recipe = config.classifier or audit.built("classifier")
    return Reading(audit.sensitive, recipe, audit.folds, audit.degraded, audit.seed)


def _show(report: dict[str, Any], reader: GroupReader) -> None:
    groups, classes = reader.attribute.classes, reader.reference.classes
    table = Table(title=f"repair by {report['method']}: share of each group within each class")
    for column in ("cell", "before", "wanted", "after (estimated)"):
        table.add_column(column, justify="left" if column == "cell" else "right")
    for name, cell in report["cells"].items():
        s, y = (int(v) for v in name[1:].split("y"))
        values = [f"{cell[key]:.3f}" for key in ("before", "wanted", "after")]
        table.add_row(cell_text(f"P({groups[s]} | {classes[y]})"), *values)
    console().print(table)
    sizes = " + ".join(f"{size:.0f}" for size in report["effective_sizes"])
    say(
        f"samples: {report['count']}; effective sizes of the classes {sizes}; further queries {report['queries']}"
    )
    missed = max(abs(cell["after"] - cell["wanted"]) for cell in report["cells"].values())
    if report["weights"] == "checked" and missed > MISSED:
        say(
            f"note:    a share that the second reader sees stays {missed:.2f} off what is wanted: the first reader "
            "does not tell the groups well enough in these samples (more records, a stronger --classifier)"
        )
    if report["weights_cut"] > 0.05:
        say(
            f"note:    {report['weights_cut']:.0%} of the weights were out of bounds and cut: a part of the imbalance "
            "stays (a stronger classifier of the group, or a larger --most)"
        )
