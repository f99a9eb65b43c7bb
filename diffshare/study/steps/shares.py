"""Steps that read shares off samples: of a property, by every estimator; of each group, by a classifier's count."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from diffshare.classifiers.attribute import AttributeClassifier
from diffshare.classifiers.degrade import degrade
from diffshare.classifiers.kept import read_kept, train_and_keep
from diffshare.classifiers.quick import fit_quickly, probabilities
from diffshare.data.module import MixDataModule
from diffshare.errors import UserError
from diffshare.nets.classifiers import SmallResNet
from diffshare.receiver.property.remedies import LINEAR
from diffshare.release.info import class_names
from diffshare.release.samples import read_samples
from diffshare.stats.bootstrap import bootstrap
from diffshare.stats.calibration import Calibration
from diffshare.stats.information import contingency, row_shares
from diffshare.stats.intervals import hoeffding_half_width
from diffshare.stats.inverse import feature_mean, inverse_prediction
from diffshare.stats.mixture import mixture_fit
from diffshare.stats.prevalence import Method, estimate
from diffshare.storage import atomic_file, read_json, write_json
from diffshare.study.engine.configs import built

FIT_RESAMPLES = 200


class Run(NamedTuple):
    """Some of a generator's samples, read as one inference of its own."""

    queries: int
    run: int
    scores: np.ndarray  # F x M x K


# --- shares of a property -----------------------------------------------------------------------------------------


def train(*, classifiers: Sequence[Mapping[str, Any]]) -> None:
    """Cross-fit classifiers of a property in turn, each with the arguments of :func:`train_one`."""
    for arguments in classifiers:
        train_one(**arguments)


def train_one(
    *,
    data: Mapping[str, Any],
    out: Path,
    steps: int = 400,
    folds: int = 5,
    seed: int = 0,
    degraded: bool = False,
) -> None:
    """Cross-fit the receiver's classifier of a property; see :func:`train_and_keep`.

    Args:
        data: block of a :class:`MixDataModule` whose target is the property.
        out: folder to make.
        steps: training steps of each fold.
        folds: how many.
        seed: of the classifier.
        degraded: also train on blurred and noisy copies of the records.
    """
    module = built(MixDataModule, data)
    module.setup()
    records = module.sets["train"]
    options: dict[str, Any] = {"steps": steps, "folds": folds, "seed": seed}
    options["augment"] = degrade if degraded else None
    train_and_keep(out, records.x[records.rows], records.target, module.classes, **options)


def infer(
    *,
    classifier: Path,
    samples: Path,
    methods: Sequence[Method],
    queries: Sequence[int],
    out: Path,
    runs: int = 1,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> None:
    """Estimate the share of class 1 in samples by every method; leaves a JSON file with ``rows``.

    Args:
        classifier: folder of :func:`train_one`.
        samples: folder.
        methods: estimators.
        queries: numbers of samples that an estimate is made of.
        out: file to make.
        runs: most disjoint runs of each number of queries.
        resamples: of the bootstrap.
        level: of the intervals.
        seed: of the bootstrap.
    """
    calibration, (scores,) = _scored(classifier, [samples])
    rows = []
    for run in _runs(scores, queries, runs):
        rng = np.random.default_rng([seed, run.queries, run.run])
        misfit = mixture_fit(calibration, run.scores, rng, FIT_RESAMPLES).p_value
        for method in methods:
            shared = {
                "method": method,
                "queries": run.queries,
                "run": run.run,
                "assumption": misfit,
            }
            rows.append(shared | _interval(method, calibration, run.scores, rng, level, resamples))
    write_json(out, {"rows": rows})


def remedy(
    *,
    classifier: Path,
    samples: Path,
    surrogates: Sequence[Path],
    proportions: Sequence[float],
    methods: Sequence[Method],
    queries: Sequence[int],
    out: Path,
    runs: int = 1,
    level: float = 0.95,
) -> None:
    """Estimate by a line through surrogate generators; leaves a JSON file with ``rows`` and ``drifts``.

    ``drifts`` are, by method, the estimate from all samples of each surrogate minus its own proportion: what the
    generator does to the proportion and to the classifier's errors together.

    Args:
        classifier: folder of :func:`train_one`.
        samples: folder.
        surrogates: samples folders.
        proportions: share of the property in the training set of each surrogate.
        methods: estimators.
        queries: numbers of samples that an estimate is made of.
        out: file to make.
        runs: most disjoint runs of each number of queries.
        level: of the intervals.
    """
    calibration, (scores, *others) = _scored(classifier, [samples, *surrogates])
    drifts = {
        method: [
            float(estimate(method, calibration, one)[1]) - p
            for one, p in zip(others, proportions, strict=True)
        ]
        for method in methods
    }
    rows, refused = [], {}
    for run in _runs(scores, queries, runs):
        for method in (m for m in methods if m in LINEAR):
            means, variances = zip(*(feature_mean(method, one) for one in others), strict=True)
            try:
                mean = feature_mean(method, run.scores)
                line = inverse_prediction(proportions, means, variances, *mean, level)
            except UserError as error:  # a result: these surrogates say nothing
                refused[method] = str(error)
                continue
            rows.append({"method": method, "queries": run.queries, "run": run.run} | line._asdict())
    write_json(
        out, {"rows": rows, "refused": refused, "drifts": drifts, "known": list(proportions)}
    )


def _scored(classifier: Path, folders: Sequence[Path]) -> tuple[Calibration, list[np.ndarray]]:
    """Held-out scores of the classifier, and its scores of the samples in each folder, F x M x K."""
    reader = read_kept(classifier).classifier
    return reader.calibration, [reader.scores(read_samples(folder).x) for folder in folders]


def _runs(scores: np.ndarray, queries: Sequence[int], most: int) -> Iterator[Run]:
    """Up to ``most`` disjoint runs of each number of queries, from the first sample on."""
    for count in queries:
        if count > scores.shape[1]:
            raise UserError(
                f"{count} queries are asked for, there are {scores.shape[1]} samples: draw more"
            )
        for run in range(min(most, scores.shape[1] // count)):
            yield Run(count, run, scores[:, run * count : (run + 1) * count])


def _interval(
    method: Method,
    calibration: Calibration,
    scores: np.ndarray,
    rng: np.random.Generator,
    level: float,
    resamples: int,
) -> dict[str, Any]:
    """The estimate with its bootstrap interval; classify and count has Hoeffding's, as in the paper."""
    if method == "cc":
        share, half = (
            float(estimate(method, calibration, scores)[1]),
            hoeffding_half_width(scores.shape[1], level),
        )
        return {"estimate": share, "low": max(0.0, share - half), "high": min(1.0, share + half)}
    resampled = bootstrap(method, calibration, scores, rng, level, resamples)
    return {name: float(getattr(resampled, name)[1]) for name in ("estimate", "low", "high")}


# --- shares of the groups -----------------------------------------------------------------------------------------


def train_group_reader(
    *, data: Mapping[str, Any], out: Path, steps: int = 400, seed: int = 0
) -> None:
    """Train a classifier of the group S on auxiliary records; leaves ``reader.safetensors`` and ``reader.json``.

    ``reader.json`` has its accuracy on auxiliary records that it has not seen, altogether and by class of Y.

    Args:
        data: block of a :class:`MixDataModule` whose target is S, and whose sensitive attribute is Y.
        out: folder to make.
        steps: of the training.
        seed: of the training.
    """
    module = built(MixDataModule, data)
    groups = len(module.classes)
    torch.manual_seed(seed)
    reader = fit_quickly(SmallResNet(classes=groups), module, steps=steps, seed=seed)
    held = module.sets["val"]
    right = probabilities(reader, held.x[held.rows]).argmax(1) == held.target
    by_class = {str(y): float(right[held.sensitive == y].mean()) for y in np.unique(held.sensitive)}
    out.mkdir(parents=True, exist_ok=True)
    with atomic_file(out / "reader.safetensors") as temporary:
        save_file(reader.network.state_dict(), temporary)
    card = {"groups": groups, "names": list(module.classes), "accuracy": float(right.mean())}
    write_json(out / "reader.json", card | {"accuracy_by_class": by_class, "held_out": len(right)})


def count_groups(*, reader: Path, samples: Path, out: Path) -> None:
    """Count the groups in a samples folder; leaves a JSON file with ``counts`` ([y][s]) and ``shares`` (P(s|y))."""
    card = read_json(reader / "reader.json")
    network = SmallResNet(classes=card["groups"])
    network.load_state_dict(load_file(reader / "reader.safetensors"))
    drawn = read_samples(samples)
    if (drawn.y < 0).any():
        raise UserError(f"{samples} has samples without a class: draw them with balanced labels")
    s = probabilities(AttributeClassifier(network).eval(), drawn.x).argmax(1)
    counts = contingency(drawn.y, s, int(drawn.y.max()) + 1, card["groups"])
    names = list(class_names(drawn.info, samples))
    shares = row_shares(counts)
    write_json(out, {"counts": counts.tolist(), "shares": shares, "classes": names, "reader": card})
