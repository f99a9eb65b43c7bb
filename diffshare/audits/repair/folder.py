"""A samples folder repaired after its audit, of which nothing is left but the file that it wrote."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from diffshare.audits.poisoning.candidates import PROMPTED, clusters
from diffshare.audits.repair.audit_file import Audited, read_audited
from diffshare.audits.repair.choosing import as_samples_folder, resample, write_weights
from diffshare.audits.repair.layout import REPAIRED, REPORT
from diffshare.audits.repair.plan import Plan
from diffshare.audits.repair.repair import Reading, solve
from diffshare.audits.repair.weights import accept, reweigh, wanted_shares
from diffshare.classes import listed
from diffshare.classifiers.recipe import Recipe
from diffshare.data.source import Source
from diffshare.errors import UserError
from diffshare.progress import tell
from diffshare.received import shown
from diffshare.receiver import door
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples, Samples, same_size
from diffshare.release.folder import open_release
from diffshare.storage import atomic_folder, write_json


def repair_folder(
    given: Path,
    file: Path,
    out: Path,
    plan: Plan,
    *,
    source: Source | None = None,
    classifier: Recipe | None = None,
    model: Path | None = None,
    escape: bool = False,
    overwrite: bool = False,
    reading: door.Reading | None = None,
    rename: Sequence[str] = (),
) -> dict[str, Any]:
    """Write samples with weights, or a choice of them, in which group and class depend on each other as is wanted.

    Args:
        given: the samples that were audited, a folder or a file.
        file: the JSON file of its audit.
        out: samples folder to make.
        plan: the choices, with the method.
        source: of the labelled records; that of the audit where None.
        classifier: how the group's classifier is trained; as in the audit where None.
        model: release folder that is asked for more samples.
        escape: cells of rows that a spreadsheet would run as formulas.
        overwrite: replace ``out`` where it is a repaired samples folder.
        reading: how the samples are read, where they are no samples folder.
        rename: what their table calls otherwise than the records.

    Returns:
        what ``repair.json`` says.

    Raises:
        UserError: an audit of other samples, records or a model that do not fit, a reader too weak.
    """
    started = time.perf_counter()
    audit = read_audited(file)
    reference = _reference(source, audit)
    size = None if reference.columns else reference.x.shape[1]
    received = Samples.from_path(given, reading, image_size=size, rename=rename)
    _check_audited(audit, received, given)
    received, reference, _ = same_size(received, reference)
    reference, samples = _coded(received, reference, audit)
    _check_names(audit, reference)
    for line in (f"records: {reference.used}", *(f"note:    {note}" for note in samples.notes)):
        tell(line)
    if model is not None:
        _check_model(model, given, samples.info)
    table = reference.table(reference.group(audit.sensitive))
    wanted = wanted_shares(np.ones(table.shape) if audit.pool == "balanced" else table, plan.to)
    recipe = classifier or audit.built("classifier")
    group = Reading(audit.sensitive, recipe, audit.folds, audit.degraded, audit.seed)
    options: dict[str, Any] = {"weights": plan.weights, "most": plan.most, "seed": plan.seed}
    solved = solve(reference, samples, wanted, group, **options)
    for note in solved.notes:
        tell(f"note:    {note}")

    def chosen(further: Path, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        drawn, parts = _coded(Samples.from_path(further), reference, audit)[1], solved.repair.parts
        kind, checker = solved.weights, solved.checker
        weighed = reweigh(solved.reader, drawn, wanted, plan.most, kind, checker, parts)
        return drawn.y, accept(weighed, drawn.y, rng)

    # the cells' numbers count these names
    groups, classes = list(solved.reader.attribute.classes), list(reference.classes)
    report: dict[str, Any] = {
        "method": plan.method,
        "to": plan.to,
        "weights": solved.weights,
        **solved.repair.json(samples.y),
        "sensitive": audit.sensitive,
        "target": audit.target,
        "samples_sha256": samples.sha256,
        "groups": groups,
        "classes": classes,
    }
    named = {"classes": classes, "target": reference.target}
    with (
        TemporaryDirectory() as temporary,
        atomic_folder(out, REPAIRED, overwrite=overwrite) as folder,
    ):
        if plan.method == "reweigh":
            report |= {"count": len(samples.y), "queries": 0}
            write_weights(folder, samples, solved.repair, named)
        else:
            report |= resample(
                folder,
                as_samples_folder(received, samples, named, Path(temporary)),
                samples,
                solved.repair,
                named,
                chosen,
                plan=plan,
                model=model,
                guidance=audit.guidance,
                escape=escape,
            )
        report["seconds"] = round(time.perf_counter() - started, 3)
        write_json(folder / REPORT, report)
    return report


def _check_audited(audit: Audited, received: Samples, given: Path) -> None:
    """Refuse samples that are not those that were audited."""
    actual = received.sha256
    if audit.samples_sha256 != actual:
        raise UserError(
            f"{audit.path} is of other samples (sha256 {audit.samples_sha256[:12]}..., those in {given} "
            f"have {actual[:12]}...): audit these samples first"
        )


def _reference(source: Source | None, audit: Audited) -> Records:
    """The labelled records, as the audit had them."""
    source = source or audit.built("reference")
    if source is None:
        raise UserError("the audit knows no labelled records: name them as `reference`")
    if audit.sensitive == PROMPTED and PROMPTED not in source.index().attributes:
        raise UserError(
            f"{audit.path} found its group with `prompts`, whose model repair does not ask: audit again with "
            "`sensitive` or with `clusters` alone, and repair after that audit"
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


def _coded(received: Samples, reference: Records, audit: Audited) -> tuple[Records, CodedSamples]:
    """Reference and samples, both with the cluster of each record where the audit found the group among clusters."""
    samples = received.coded(reference)
    return (
        clusters(reference, samples, audit.clusters, audit.seed)
        if audit.clusters
        else (reference, samples)
    )


def _check_model(model: Path, given: Path, info: Mapping[str, Any]) -> None:
    """Refuse to mix the samples with those of another model, or of another scheduler."""
    identity, said = open_release(model).sha256, info.get("model")
    claimed = said.get("sha256") if isinstance(said, dict) else None
    if claimed is None:
        tell(
            f"note:    {given} does not say which model it is of: that it is {model} is not checked"
        )
    elif claimed != identity:
        raise UserError(
            f"{given} holds samples of another model than {model} (sha256 {shown(claimed)}, that model "
            f"has {identity[:12]}...): name as `model` the release that they were drawn from, or leave it out"
        )
    if info.get("scheduler") is not None:
        raise UserError(
            f"{given} was drawn with `scheduler` {shown(info['scheduler'])}, a repair asks the model with its "
            "own: leave out `model`, or draw, audit and repair samples without `scheduler`"
        )
