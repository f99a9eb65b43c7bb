"""The verb ``repair``: samples made safe to train on."""

import csv
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from diffshare.audit.drawing import Drawing
from diffshare.audit.material import (
    SampledRecords,
    claimed_guidance,
    open_reference,
    open_samples,
    samples_file,
    samples_sha256,
)
from diffshare.audit.reading import GroupReader, group_reader
from diffshare.audit.repair import Repair, To, Weights, accept, reweigh, wanted_shares
from diffshare.classifiers.recipes import Recipe
from diffshare.commands.audited import Audited, read_audited
from diffshare.commands.configs import with_files
from diffshare.data.source import Source
from diffshare.errors import UserError
from diffshare.receiver.sampling import progress
from diffshare.release.samples import read_samples, write_samples
from diffshare.release.tables import CSV
from diffshare.storage import atomic_folder, check_new_folder, write_json

REPORT = "repair.json"
ROUNDS = 12  # of drawing more samples, each with the rate of acceptance that the last one showed


def repair(arguments: list[str]) -> int:
    """Repair a samples folder after its audit."""
    started = time.perf_counter()
    config = _parse(arguments)
    check_new_folder(config.out, overwrite=config.overwrite)
    audit = _audit(config)
    reader = _reader(config, audit)
    samples = open_samples(config.samples, reader.reference)
    table = np.ones(reader.table.shape) if audit.pool == "balanced" else reader.table
    wanted = wanted_shares(table, config.to)
    found = reweigh(reader, samples, wanted, config.most, config.weights)
    report: dict[str, Any] = {
        "method": config.method,
        "to": config.to,
        "weights": config.weights,
        **found.json(samples.y),
    }
    report |= {"sensitive": audit.sensitive, "target": audit.target, "samples_sha256": samples.sha256}
    if config.method == "reweigh":
        report |= {"count": len(samples.y), "queries": 0}
        _write_weights(config, found)
    else:
        report |= _resample(config, reader, samples, found, wanted)
    report["seconds"] = round(time.perf_counter() - started, 3)
    write_json(config.out / REPORT, report)
    _show(report, reader)
    print(f"samples: {config.out}")
    return 0


def _parse(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(
        prog="diffshare repair",
        description="Make samples safe to train on: weights, or a choice, with which group and class depend on each "
        "other as they do in the reference of the audit.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--samples", type=Path, required=True, help="Samples folder that was audited.")
    add("--audit", type=Path, required=True, help="What audit --json wrote about these samples.")
    add("--reference", type=Source | None, default=None, help="Labelled records; those of the audit where left out.")
    add("--model", type=Path | None, default=None, help="Release folder that is asked for more (resample).")
    methods = Literal["reweigh", "resample"]
    add("--method", type=methods | None, default=None, help="reweigh: weights in samples.npz. resample: a choice.")
    add("--to", type=To, default="reference", help="P(s|y) of the reference, equal, or P(s) in every class.")
    kinds = "density: what a classifier sees is as wanted. mass: the true groups are, for a strong reader."
    add("--weights", type=Weights, default="density", help=kinds)
    add("--most", type=float, default=10.0, help="Largest weight, in units of the mean.")
    add("--count", type=int | None, default=None, help="Samples wanted of resample with a model; as many as given.")
    add("--classifier", type=Recipe | None, default=None, help="How the group's classifier is trained: a recipe.")
    add("--seed", type=int, default=0, help="Of the choice, and of further samples.")
    add("--out", type=Path, required=True, help="Samples folder to make.")
    add("--overwrite", action="store_true", help="Replace --out where it holds something.")
    config = parser.parse_args(with_files(arguments, "--reference"))
    built = parser.instantiate(config)
    config.reference, config.classifier = built.reference, built.classifier
    if config.seed < 0:
        raise UserError(f"--seed is {config.seed}: it must be at least 0")
    if not config.most > 1:
        raise UserError(f"--most is {config.most}: a largest weight above 1, the mean, is needed")
    if config.count is not None and (config.count < 2 or config.model is None):
        raise UserError("--count is for resample with a --model that is asked for more, and at least 2")
    if config.samples.resolve() == config.out.resolve():
        raise UserError(f"--out is the samples folder itself ({config.out}): choose another folder")
    table = samples_file(config.samples).name == CSV
    config.method = config.method or ("resample" if table or config.model else "reweigh")
    if config.method == "reweigh" and (table or config.model):
        what = "rows carry no weights" if table else "a model is asked for nothing"
        raise UserError(f"--method reweigh: {what}; use --method resample{'' if table else ' or leave out --model'}")
    return config


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


def _reader(config: Namespace, audit: Audited) -> GroupReader:
    """The reader of the group, as the audit had it."""
    source = config.reference or audit.built("reference")
    if source is None:
        raise UserError("the audit knows no labelled records: name them with --reference FILE")
    recipe = config.classifier or audit.built("classifier")
    name = audit.sensitive
    reference = open_reference(source, audit.target, (name,), audit.part, split_seed=audit.split_seed)
    column = name in open_samples(config.samples, reference).groups
    return group_reader(
        reference,
        name,
        column=column,
        recipe=recipe,
        folds=audit.folds,
        seed=audit.seed,
        degraded=audit.degraded,
        progress=lambda steps: progress(steps, f"training classifiers of {name}", audit.folds),
    )


def _write_weights(config: Namespace, found: Repair) -> None:
    samples = read_samples(config.samples)
    weight = found.weights.astype(np.float32)  # the samples carry none, or the same weight each: see open_samples
    info = {k: v for k, v in samples.info.items() if k != "count"}
    write_samples(config.out, samples.x, samples.y, info, weight=weight, overwrite=config.overwrite)


def _resample(
    config: Namespace, reader: GroupReader, samples: SampledRecords, found: Repair, wanted: np.ndarray
) -> dict[str, Any]:
    """Keep samples by chance, in proportion to their weights; ask the model for more where there is one."""
    rng = np.random.default_rng([config.seed, 7])
    kept = accept(found, samples.y, rng)
    if config.model is None:
        _write_choice(config, [config.samples], [kept])
        return {"count": len(kept), "queries": 0}
    count = config.count or len(samples.y)
    guidance, drawn, more = claimed_guidance(samples.info), 0, kept[:0]
    drawing = Drawing(config.model, seed=config.seed + 1_000_003, guidance=guidance)  # no sample that was seen before
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "more"
        for _ in range(ROUNDS):
            missing = count - len(kept) - len(more)
            if missing <= 0:
                break
            rate = (len(kept) + len(more)) / (len(samples.y) + drawn)
            drawn += int(np.ceil(1.05 * missing / max(rate, 0.02)))
            drawing.write(folder, drawn)
            further = open_samples(folder, reader.reference)
            more = accept(reweigh(reader, further, wanted, config.most, config.weights), further.y, rng)
        _write_choice(config, [config.samples, *([folder] if drawn else [])], [kept[:count], more[: count - len(kept)]])
    return {"count": min(count, len(kept) + len(more)), "queries": drawn}


def _write_choice(config: Namespace, folders: list[Path], chosen: list[np.ndarray]) -> None:
    """A samples folder of the chosen samples of some folders."""
    if samples_file(folders[0]).name == CSV:
        lines: list[list[str]] = []
        for folder, rows in zip(folders, chosen, strict=False):
            with (folder / CSV).open(encoding="utf-8", newline="") as stream:
                header, *cells = csv.reader(stream)
            lines += [*([header] if not lines else []), *(cells[i] for i in rows.tolist())]
        with atomic_folder(config.out, overwrite=config.overwrite) as temporary:
            with (temporary / CSV).open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream, lineterminator="\n").writerows(lines)
            write_json(temporary / "samples.json", {"count": len(lines) - 1})
        return
    read = [read_samples(folder) for folder in folders]
    x, y = (
        np.concatenate([part[rows] for part, rows in zip(parts, chosen, strict=False)])
        for parts in ([s.x for s in read], [s.y for s in read])
    )
    info = {k: v for k, v in read[0].info.items() if k != "count"}
    write_samples(config.out, x, y, info, overwrite=config.overwrite)


def _show(report: dict[str, Any], reader: GroupReader) -> None:
    groups, classes = reader.attribute.classes, reader.reference.classes
    table = Table(title=f"repair by {report['method']}: share of each group within each class")
    for column in ("cell", "before", "wanted", "after (estimated)"):
        table.add_column(column, justify="left" if column == "cell" else "right")
    for name, cell in report["cells"].items():
        s, y = (int(v) for v in name[1:].split("y"))
        values = [f"{cell[key]:.3f}" for key in ("before", "wanted", "after")]
        table.add_row(escape(f"P({groups[s]} | {classes[y]})"), *values)
    Console().print(table)
    sizes = " + ".join(f"{size:.0f}" for size in report["effective_sizes"])
    print(f"samples: {report['count']}; effective sizes of the classes {sizes}; further queries {report['queries']}")
    if report["weights_cut"] > 0.05:
        print(
            f"note:    {report['weights_cut']:.0%} of the weights were out of bounds and cut: a part of the imbalance "
            "stays (a stronger classifier of the group, or a larger --most)"
        )
