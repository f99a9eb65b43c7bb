"""What the steps measure, each as a function of arrays or of one folder: features, readings, shares, speed."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from diffshare.classes import listed
from diffshare.classifiers.kept import Kept, read_kept
from diffshare.data.recordsets import scaled
from diffshare.data.source import Index
from diffshare.errors import UserError
from diffshare.settings import read_yaml
from diffshare.stats.kid import Difference
from diffshare.stats.mixture import mixture_fit
from diffshare.stats.prevalence import Method, estimate
from diffshare.storage import read_json
from diffshare.study.steps.shares import FIT_RESAMPLES

FLOOR = 1e-2  # of the mean variance: directions in which hardly anything varies would drown the others in turn
QUALITY = 75  # of JPEG, pillow's default


def interval_of(difference: Difference) -> dict[str, Any]:
    """``estimate`` and ``interval``."""
    return {"estimate": difference.estimate, "interval": [difference.low, difference.high]}


def accuracies(folder: Path, names: Sequence[str]) -> dict[str, float]:
    """How good each classifier of a folder is on records that it has not seen."""
    return {name: read_json(folder / name / "classifier.json")["accuracy"] for name in names}


def read(
    reader: Kept, x: np.ndarray, methods: Iterable[Method] = get_args(Method)
) -> dict[str, float]:
    """The estimated share of class 1 among images, uint8, N x H x W x C, by each method."""
    scores, calibration = reader.classifier.scores(x), reader.classifier.calibration
    return {method: float(estimate(method, calibration, scores)[1]) for method in methods}


def check(reader: Kept, x: np.ndarray, seed: int) -> float:
    """The p-value of the assumption that a reader errs on these images as on real records."""
    rng = np.random.default_rng([seed, len(x)])
    return mixture_fit(
        reader.classifier.calibration, reader.classifier.scores(x), rng, FIT_RESAMPLES
    ).p_value


def read_readers(folder: Path, names: Sequence[str], index: Index) -> dict[str, Kept]:
    """The classifiers of these attributes.

    Raises:
        UserError: one numbers its classes otherwise than the source: its share of class 1 would be another's.
    """
    readers = {name: read_kept(folder / name) for name in names}
    for name, reader in readers.items():
        if reader.classes != index.attribute(name).classes:
            raise UserError(
                f"{folder / name} reads the classes {listed(reader.classes)}, the source's '{name}' has "
                f"{listed(index.attribute(name).classes)}: train it on this source"
            )
    return readers


@torch.inference_mode()
def features(readers: Mapping[str, Kept], x: np.ndarray) -> np.ndarray:
    """The joined penultimate activations of a network of each reader: uint8, N x H x W x C => float64, N x d."""
    networks = [reader.networks[0].eval() for reader in readers.values()]
    passes = [scaled(torch.from_numpy(x[i : i + 500])) for i in range(0, len(x), 500)]
    joined = [
        torch.cat([network.features(part) for network in networks], 1).numpy() for part in passes
    ]
    return np.concatenate(joined).astype(np.float64)


def whitening(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and axes for which (x - mean) @ axes is uncorrelated, of variance 1 or, where it hardly varies, less.

    Unwhitened, the few directions in which records differ most would drown all others.

    Args:
        x: features of N records, N x d.

    Returns:
        the mean, d, and the axes, d x d.
    """
    variance, axes = np.linalg.eigh(np.cov(x.T))
    return x.mean(0), axes / np.sqrt(np.maximum(variance, 0) + FLOOR * variance.mean())


def exact_shares(manifest: Path, index: Index, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The share of class 1 of each property in a training set: ``exact``, and ``exact_by_class`` of the target.

    Args:
        manifest: ``records.csv`` of the mix.
        index: of the source that the records are of.
        names: of the properties.

    Raises:
        UserError: a record of the mix is not in the source.
    """
    with manifest.open(newline="", encoding="utf-8") as stream:
        lines = [(line["record"], int(line["target"])) for line in csv.DictReader(stream)]
    places = {name: i for i, name in enumerate(index.names.tolist())}
    if missing := [name for name, _ in lines if name not in places]:
        raise UserError(
            f"{manifest} lists '{missing[0]}', which the source does not hold: name the mix's own source"
        )
    rows, target = np.array([places[name] for name, _ in lines]), np.array([y for _, y in lines])
    have = {name: index.attribute(name).codes[rows] == 1 for name in names}
    classes = range(int(target.max()) + 1)
    return {
        "exact": {name: float(values.mean()) for name, values in have.items()},
        "exact_by_class": {
            name: [
                float(values[target == y].mean()) if (target == y).any() else None for y in classes
            ]
            for name, values in have.items()
        },
    }


def training_speed(run: Path) -> dict[str, float | None]:
    """What the log of a run says: ``images_per_second`` and ``seconds`` of its training, without validation.

    All windows of the log hold the same number of batches, so that the mean speed is their harmonic mean.

    Returns:
        None for both where the run was too short to log its speed.
    """
    log = EventAccumulator(str(run)).Reload()
    entries = (
        log.Scalars("images_per_second") if "images_per_second" in log.Tags()["scalars"] else []
    )
    if not entries:
        return {"images_per_second": None, "seconds": None}
    speed = float(1 / np.mean([1 / entry.value for entry in entries]))
    settings = read_yaml(run / "config.yaml", aliases=True)
    images = (entries[-1].step + 1) * settings["data"]["init_args"]["batch_size"]
    return {"images_per_second": speed, "seconds": images / speed}


def of_share(
    has: np.ndarray, count: int, share: float, rng: np.random.Generator, part: str
) -> np.ndarray:
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
