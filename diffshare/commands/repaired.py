"""Writes what ``repair`` makes: samples with weights, or a choice of them and of further ones."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jsonargparse import Namespace

from diffshare.audit.drawing import Drawing
from diffshare.audit.material import SampledRecords, claimed_guidance, samples_file
from diffshare.audit.repair import Repair, accept, at_most, quotas
from diffshare.release.info import INFO, read_info
from diffshare.release.samples import read_samples, write_samples
from diffshare.release.tables import CSV
from diffshare.storage import write_json

ROUNDS = 12  # of drawing more samples, each with the rate of acceptance that the last one showed


def write_weights(folder: Path, given: Path, found: Repair) -> None:
    """The samples of ``given`` with their weights, into ``folder``."""
    samples = read_samples(given)
    weight = found.weights.astype(np.float32)  # the samples carry none, or the same weight each: see open_samples
    info = {k: v for k, v in samples.info.items() if k != "count"}
    _write_images(folder, samples.x, samples.y, info, weight)


def resample(
    folder: Path,
    config: Namespace,
    samples: SampledRecords,
    found: Repair,
    chosen: Callable[[Path, np.random.Generator], tuple[np.ndarray, np.ndarray]],
) -> dict[str, Any]:
    """Keep samples by chance, in proportion to their weights; ask the model for more where there is one.

    Args:
        folder: to write to.
        config: the arguments.
        samples: what is repaired.
        found: its weights.
        chosen: of a folder of further samples, their classes and the positions of those that are kept.
    """
    rng = np.random.default_rng([config.seed, 7])
    kept = accept(found, samples.y, rng)
    if config.model is None:
        _write_choice(folder, [config.samples], [kept])
        return {"count": len(kept), "queries": 0}
    classes, drawn, y, more = len(found.wanted), 0, samples.y[:0], kept[:0]
    quota = quotas(samples.y, config.count or len(samples.y), classes)
    first = at_most(kept, samples.y, quota, rng)
    missing = quota - np.bincount(samples.y[first], minlength=classes)
    drawing = _drawing(config, samples.info)
    with TemporaryDirectory() as temporary:
        place = Path(temporary) / "more"
        for _ in range(ROUNDS):
            lacking = int((missing - np.bincount(y[more], minlength=classes)).max())
            if lacking <= 0:
                break
            rate = (len(kept) + len(more)) / (len(samples.y) + drawn)
            drawn += int(np.ceil(1.05 * classes * lacking / max(rate, 0.02)))
            drawing.write(place, drawn)  # as many of each class
            y, more = chosen(place, rng)
        more = at_most(more, y, missing, rng)
        _write_choice(folder, [config.samples, *([place] if drawn else [])], [first, more])
    if len(first) + len(more) < quota.sum():
        print(
            f"note:    {drawn} further samples were too few for {quota.sum()} that are kept: repair with --count less"
        )
    return {"count": len(first) + len(more), "queries": drawn}


def _drawing(config: Namespace, info: Mapping[str, Any]) -> Drawing:
    """The model, asked as it was for the samples: at the same guidance and steps, with noise of its own."""
    said, seed = info.get("steps"), config.seed + 1_000_003
    steps = said if isinstance(said, int) and not isinstance(said, bool) and said > 0 else None
    seed += info.get("seed") == seed  # no sample that was seen before
    return Drawing(config.model, seed=seed, steps=steps, guidance=claimed_guidance(info))


def _write_choice(folder: Path, given: list[Path], chosen: list[np.ndarray]) -> None:
    """The chosen samples of some folders, as one."""
    if samples_file(given[0]).name == CSV:
        _write_rows(folder, given, chosen)
        return
    read = [read_samples(one) for one in given]
    x, y = (
        np.concatenate([part[rows] for part, rows in zip(parts, chosen, strict=False)])
        for parts in ([s.x for s in read], [s.y for s in read])
    )
    info = {k: v for k, v in read[0].info.items() if k != "count"}
    _write_images(folder, x, y, info)


def _write_rows(folder: Path, given: list[Path], chosen: list[np.ndarray]) -> None:
    lines: list[list[str]] = []
    for one, rows in zip(given, chosen, strict=False):
        with (one / CSV).open(encoding="utf-8", newline="") as stream:
            header, *cells = csv.reader(stream)
        lines += [*([header] if not lines else []), *(cells[i] for i in rows.tolist())]
    with (folder / CSV).open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(lines)
    write_json(folder / INFO, read_info(given[0]) | {"count": len(lines) - 1})


def _write_images(
    folder: Path, x: np.ndarray, y: np.ndarray, info: Mapping[str, Any], weight: np.ndarray | None = None
) -> None:
    """Into a folder that has more to take: a samples folder is written as a whole, its files then move."""
    whole = folder / "whole"
    write_samples(whole, x, y, info, weight=weight)
    for file in whole.iterdir():
        file.rename(folder / file.name)
    whole.rmdir()
