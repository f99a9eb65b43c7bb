"""The steps of the protection study beside training, sampling and audit: functions that take a list of words."""

import io
from pathlib import Path
from typing import Any, cast

import numpy as np
from jsonargparse import ArgumentParser
from PIL import Image

from diffshare.classifiers.kept import Kept, read_kept
from diffshare.data.module import MixDataModule
from diffshare.data.source import PARTS, split
from diffshare.errors import UserError
from diffshare.release.samples import read_samples, write_samples
from diffshare.stats.kid import kernel_distance, kernel_distance_difference
from diffshare.stats.prevalence import NAMES, Method, estimate
from diffshare.storage import atomic_folder, read_json, write_json
from diffshare.study.steps.families import features, training_speed, whitening

ARRAYS, REFERENCE = "features.npz", "reference.json"
QUALITY = 75  # pillow's default


def reference(arguments: list[str]) -> int:
    """Keep what samples are compared with, for each share of the property.

    ``features.npz`` has the features of ``--count`` test records of that share, whitened on auxiliary records;
    ``real-SHARE`` is a samples folder of as many records of the sharer's part. ``reference.json`` has, as a yardstick
    of kernel distances, what JPEG of quality 75 adds to the distance of ``real-SHARE`` (``jpeg``).
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(MixDataModule, "data", required=True)
    parser.add_argument("--readers", type=Path, required=True)
    parser.add_argument("--names", type=list[str], required=True)
    parser.add_argument("--property", type=str, required=True)
    parser.add_argument("--shares", type=list[float], required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    config = parser.parse_args(arguments)
    data: MixDataModule = parser.instantiate(config).data
    records, readers = data.records(), read_all(config.readers, config.names)
    parts = split(records.index, data.source.shares, data.seed)
    target, codes = (records.index.attribute(name).codes.astype(np.int64) for name in (data.target, config.property))
    known, classes = (target >= 0) & (codes >= 0), records.index.attribute(data.target).classes
    rows = {part: np.flatnonzero(known & (parts == PARTS.index(part))) for part in PARTS}
    mean, axes = whitening(features(readers, records.x[rows["auxiliary"]]))
    arrays, jpeg = {"mean": mean, "axes": axes}, {}
    with atomic_folder(config.out) as temporary:
        for share in config.shares:
            rng = np.random.default_rng([data.seed, round(1000 * share)])
            held, real = (
                rows[part][of_share(codes[rows[part]] == 1, config.count, share, rng, part)]
                for part in ("test", "sharer")
            )
            x = records.x[real]
            place = arrays[_held(share)] = (features(readers, records.x[held]) - mean) @ axes
            before, after = ((features(readers, made) - mean) @ axes for made in (x, compressed(x)))
            jpeg[f"{share:g}"] = kernel_distance_difference(after, before, place).estimate
            info = {"labels": "records of the sharer's part", "classes": list(classes), "target": data.target}
            write_samples(temporary / f"real-{share:g}", x, target[real], info)
        np.savez(temporary / ARRAYS, **arrays)  # type: ignore[arg-type]
        write_json(temporary / REFERENCE, {"jpeg": jpeg, "records": config.count})
    return 0


def measure(arguments: list[str]) -> int:
    """Measure a samples folder; leaves a JSON file.

    ``kid`` is the distance to real records of each of ``--shares``; ``kid_difference``, of protected samples, how much
    farther they are than the plain ones, with a jackknife interval. ``read`` is the share of the property that each
    receiver reads by every method, ``reader_accuracy`` how good its classifier is on records that it has not seen.
    ``training`` are seconds and images a second, where a run is named.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--plain", type=Path | None, default=None)
    parser.add_argument("--readers", type=Path, required=True)
    parser.add_argument("--names", type=list[str], required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--shares", type=list[float], required=True)
    parser.add_argument("--receivers", type=Path, required=True)
    parser.add_argument("--receiver_names", type=list[str], required=True)
    parser.add_argument("--run", type=Path | None, default=None)
    parser.add_argument("--out", type=Path, required=True)
    config = parser.parse_args(arguments)
    readers, x = read_all(config.readers, config.names), read_samples(config.samples).x
    with np.load(config.reference / ARRAYS) as kept:
        mean, axes = kept["mean"], kept["axes"]
        held = {f"{share:g}": kept[_held(share)] for share in config.shares}
    made = (features(readers, x) - mean) @ axes
    found: dict[str, Any] = {"kid": {share: kernel_distance(made, real) for share, real in held.items()}}
    if config.plain is not None:
        plain = (features(readers, read_samples(config.plain).x) - mean) @ axes
        differences = {share: kernel_distance_difference(made, plain, real) for share, real in held.items()}
        found["kid_difference"] = {
            share: {"estimate": one.estimate, "interval": [one.low, one.high]} for share, one in differences.items()
        }
    receivers = read_all(config.receivers, config.receiver_names)
    found["read"] = {name: read(kept, x) for name, kept in receivers.items()}
    cards = {name: read_json(config.receivers / name / "classifier.json") for name in receivers}
    found["reader_accuracy"] = {name: card["accuracy"] for name, card in cards.items()}
    found["training"] = None if config.run is None else training_speed(config.run)
    write_json(config.out, found)
    return 0


def read_all(folder: Path, names: list[str]) -> dict[str, Kept]:
    """The classifiers below a folder by their names."""
    return {name: read_kept(folder / name) for name in names}


def read(kept: Kept, x: np.ndarray) -> dict[str, float]:
    """The estimated share of class 1 among images, uint8, N x H x W x C, by every method."""
    scores, calibration = kept.classifier.scores(x), kept.classifier.calibration
    return {method: float(estimate(cast(Method, method), calibration, scores)[1]) for method in NAMES}


def of_share(has: np.ndarray, count: int, share: float, rng: np.random.Generator, part: str) -> np.ndarray:
    """Positions of ``count`` records of which a share has the property, in random order, none twice.

    Args:
        has: whether each record has it, bool, N.
        count: how many.
        share: in [0, 1]; ``round(count * share)`` have it.
        rng: draws them.
        part: that the records are of, for the message.

    Raises:
        UserError: too few of a kind.
    """
    with_it = round(count * share)
    chosen = []
    for rows, wanted, kind in (
        (np.flatnonzero(has), with_it, "with"),
        (np.flatnonzero(~has), count - with_it, "without"),
    ):
        if len(rows) < wanted:
            raise UserError(
                f"a share of {share:g} in {count} records takes {wanted} {kind} the property, the {part} part has "
                f"{len(rows)}: lower study.samples, or raise the source's count"
            )
        chosen.append(rng.permutation(rows)[:wanted])
    return rng.permutation(np.concatenate(chosen))


def compressed(x: np.ndarray) -> np.ndarray:
    """The images, uint8, N x H x W x C with C 1 or 3, after a way through JPEG."""
    out = np.empty_like(x)
    for image, row in zip(x, out, strict=True):
        stream = io.BytesIO()
        Image.fromarray(image.squeeze()).save(stream, "JPEG", quality=QUALITY)
        row[:] = np.asarray(Image.open(stream)).reshape(row.shape)
    return out


def _held(share: float) -> str:
    return f"held-{share:g}"
