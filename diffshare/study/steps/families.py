"""The steps of the families study beside training and sampling: functions that take a list of words."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from diffshare.classes import join, listed
from diffshare.classifiers.kept import Kept, read_kept
from diffshare.data.module import MixDataModule
from diffshare.data.recordsets import scaled
from diffshare.data.source import Index
from diffshare.errors import UserError
from diffshare.release.info import class_names
from diffshare.release.samples import read_samples
from diffshare.settings import read_yaml
from diffshare.stats.kid import kernel_distance, kernel_distance_difference
from diffshare.stats.mixture import mixture_fit
from diffshare.stats.prevalence import Method, estimate
from diffshare.storage import atomic_folder, read_json, write_json
from diffshare.study.steps.property import FIT_RESAMPLES

FLOOR = 1e-2  # of the mean variance: directions in which hardly anything varies would drown the others in turn
ARRAYS, REFERENCE = "features.npz", "reference.json"


def reference(arguments: list[str]) -> int:
    """Keep what samples are compared with: features of held-out test records, in two halves.

    ``reference.json`` says how far real records are off by the same measures: the kernel distance of one half to the
    other (``kid``), and shares of the properties in ``--count`` records of a half, as read and as they are.
    """
    parser = _parser()
    parser.add_argument("--count", type=int, required=True)
    config = parser.parse_args(arguments)
    data: MixDataModule = parser.instantiate(config).data
    data.setup()
    readers = read_readers(config.readers, config.names, data.records().index)
    train, test = data.sets["train"], data.sets["test"]
    if len(test) < 4 * len(readers):
        raise UserError(f"the source has {len(test)} test records, too few to compare with: raise its count")
    mean, axes = whitening(features(readers, train.x[train.rows]))
    rows = np.random.default_rng(config.seed).permutation(test.rows)
    halves = np.array_split(rows, 2)
    others, held = ((features(readers, test.x[half]) - mean) @ axes for half in halves)
    chosen = halves[0][: config.count]
    codes = {name: data.records().index.attribute(name).codes[chosen] for name in readers}
    read = shares(readers, test.x[chosen], config.method)
    exact = {name: float(np.mean(values == 1)) for name, values in codes.items()}
    found = {"kid": kernel_distance(others, held), "records": len(chosen), "shares": read, "exact": exact}
    found["accuracy"] = {name: read_json(config.readers / name / "classifier.json")["accuracy"] for name in readers}
    with atomic_folder(config.out) as temporary:
        np.savez(temporary / ARRAYS, mean=mean, axes=axes, held=held, others=others)
        write_json(temporary / REFERENCE, found)
    return 0


def measure(arguments: list[str]) -> int:
    """Measure the samples of one generator, and how fast it trained; leaves a JSON file.

    ``kid`` is the distance to held-out test records in the readers' features, ``kid_over_real`` how much more that is
    than of other real records, with a jackknife interval. ``shares`` are the shares of class 1 of each property in the
    samples, altogether and by the class asked for; ``exact`` those in the training set. ``checks`` are p-values of the
    assumption that a reader errs on the samples as on real records, by property and class asked for: a small one says
    that its shares are not to be trusted. ``training`` are seconds and images a second of each training run in turn.
    """
    parser = _parser()
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--mix", type=Path, required=True)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    config = parser.parse_args(arguments)
    data: MixDataModule = parser.instantiate(config).data
    index, samples = data.source.index(), read_samples(config.samples)
    readers = read_readers(config.readers, config.names, index)
    names = class_names(samples.info, config.samples)
    y = join(names, index.attribute(data.target).classes, f"the samples in {config.samples}", "the source").recode(
        samples.y
    )
    with np.load(config.reference / ARRAYS) as kept:
        mean, axes, held, others = (kept[name] for name in ("mean", "axes", "held", "others"))
    made = (features(readers, samples.x) - mean) @ axes
    count = min(len(made), len(others))
    over = kernel_distance_difference(made[:count], others[:count], held)
    classes = range(1 + max(0, int(y.max())))
    by_class = [shares(readers, samples.x[y == k], config.method) for k in classes]
    checked = [checks(readers, samples.x[y == k], config.seed) for k in classes]
    found = {
        "kid": kernel_distance(made, held),
        "kid_over_real": {"estimate": over.estimate, "interval": [over.low, over.high]},
        "shares": shares(readers, samples.x, config.method),
        "shares_by_class": {name: [some[name] for some in by_class] for name in readers},
        "checks": {name: [some[name] for some in checked] for name in readers},
        **exact_shares(config.mix / "records.csv", index, list(readers)),
        "training": [training_speed(run) for run in config.runs],
    }
    write_json(config.out, found)
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(MixDataModule, "data", required=True)
    parser.add_argument("--readers", type=Path, required=True)
    parser.add_argument("--names", type=list[str], required=True)
    parser.add_argument("--method", type=str, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def read_readers(folder: Path, names: Sequence[str], index: Index) -> dict[str, Kept]:
    """The classifiers of these attributes.

    Raises:
        UserError: one numbers its classes otherwise than the source: its share of class 1 would be another's.
    """
    found = {name: read_kept(folder / name) for name in names}
    for name, kept in found.items():
        if kept.classes != index.attribute(name).classes:
            raise UserError(
                f"{folder / name} reads the classes {listed(kept.classes)}, the source's '{name}' has "
                f"{listed(index.attribute(name).classes)}: train it on this source"
            )
    return found


@torch.inference_mode()
def features(readers: Mapping[str, Kept], x: np.ndarray) -> np.ndarray:
    """The joined penultimate activations of a network of each reader: uint8, N x H x W x C => float64, N x d."""
    networks = [kept.networks[0].eval() for kept in readers.values()]
    passes = [scaled(torch.from_numpy(x[i : i + 500])) for i in range(0, len(x), 500)]
    joined = [torch.cat([network.features(part) for network in networks], 1).numpy() for part in passes]
    return np.concatenate(joined).astype(np.float64)


def whitening(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and axes for which (known - mean) @ axes is uncorrelated, of variance 1 or, where it hardly varies, less.

    Unwhitened, the few directions in which records differ most would drown all others.

    Args:
        known: features of N records, N x d.

    Returns:
        the mean, d, and the axes, d x d.
    """
    variance, axes = np.linalg.eigh(np.cov(known.T))
    return known.mean(0), axes / np.sqrt(np.maximum(variance, 0) + FLOOR * variance.mean())


def shares(readers: Mapping[str, Kept], x: np.ndarray, method: Method) -> dict[str, float]:
    """The estimated share of class 1 of each property among images, uint8, N x H x W x C."""
    found = {}
    for name, kept in readers.items():
        scores = kept.classifier.scores(x)
        found[name] = float(estimate(method, kept.classifier.calibration, scores)[1])
    return found


def checks(readers: Mapping[str, Kept], x: np.ndarray, seed: int) -> dict[str, float]:
    """By property, the p-value of the assumption that its reader errs on these images as on real records."""
    p_values = {}
    for name, kept in readers.items():
        classifier = kept.classifier
        rng = np.random.default_rng([seed, len(x)])
        p_values[name] = mixture_fit(classifier.calibration, classifier.scores(x), rng, FIT_RESAMPLES).p_value
    return p_values


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
        listed = [(line["record"], int(line["target"])) for line in csv.DictReader(stream)]
    places = {name: i for i, name in enumerate(index.names.tolist())}
    if missing := [name for name, _ in listed if name not in places]:
        raise UserError(f"{manifest} lists '{missing[0]}', which the source does not hold: name the mix's own source")
    rows, target = np.array([places[name] for name, _ in listed]), np.array([y for _, y in listed])
    have = {name: index.attribute(name).codes[rows] == 1 for name in names}
    classes = range(int(target.max()) + 1)
    return {
        "exact": {name: float(values.mean()) for name, values in have.items()},
        "exact_by_class": {
            name: [float(values[target == y].mean()) if (target == y).any() else None for y in classes]
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
    entries = log.Scalars("images_per_second") if "images_per_second" in log.Tags()["scalars"] else []
    if not entries:
        return {"images_per_second": None, "seconds": None}
    speed = float(1 / np.mean([1 / entry.value for entry in entries]))
    settings = read_yaml(run / "config.yaml", aliases=True)
    images = (entries[-1].step + 1) * settings["data"]["init_args"]["batch_size"]
    return {"images_per_second": speed, "seconds": images / speed}
