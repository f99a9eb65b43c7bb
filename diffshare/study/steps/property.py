"""Functions that the steps of the property inference study run: train the receiver's classifier, estimate, remedy."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jsonargparse import ArgumentParser

from diffshare.classifiers.degrade import degrade
from diffshare.classifiers.kept import read_kept, train_and_keep
from diffshare.data.module import MixDataModule
from diffshare.errors import UserError
from diffshare.receiver.property.remedies import LINEAR
from diffshare.release.samples import read_samples
from diffshare.stats.bootstrap import bootstrap
from diffshare.stats.calibration import Calibration
from diffshare.stats.intervals import hoeffding_half_width
from diffshare.stats.inverse import feature_mean, inverse_prediction
from diffshare.stats.mixture import mixture_fit
from diffshare.stats.prevalence import Method, estimate
from diffshare.storage import write_json

FIT_RESAMPLES = 200


class Run(NamedTuple):
    """Some of a generator's samples, read as one inference of its own."""

    queries: int
    run: int
    scores: np.ndarray  # F x M x K


def train(arguments: list[str]) -> int:
    """Cross-fit the receiver's classifier of a property on auxiliary records; see :func:`train_and_keep`."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(MixDataModule, "data", required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--degraded", type=bool, default=False)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    config = parser.parse_args(arguments)
    data: MixDataModule = parser.instantiate(config).data
    data.setup()
    records = data.sets["train"]
    more = {"steps": config.steps, "folds": config.folds, "seed": config.seed}
    more["augment"] = degrade if config.degraded else None
    train_and_keep(config.out, records.x[records.rows], records.target, data.classes, **more)
    return 0


def infer(arguments: list[str]) -> int:
    """Estimate the share of class 1 in samples by every method; leaves a JSON file with ``rows``."""
    config = _estimates().parse_args(arguments)
    calibration, scores = _scored(config.classifier, [config.samples])
    rows = []
    for run in _runs(scores[0], config.queries, config.runs):
        rng = np.random.default_rng([config.seed, run.queries, run.run])
        fit = mixture_fit(calibration, run.scores, rng, FIT_RESAMPLES).p_value
        for method in config.methods:
            shared = {"method": method, "queries": run.queries, "run": run.run, "assumption": fit}
            rows.append(shared | _interval(method, calibration, run.scores, rng, config.level, config.resamples))
    write_json(config.out, {"rows": rows})
    return 0


def remedy(arguments: list[str]) -> int:
    """Estimate by a line through surrogate generators; leaves a JSON file with ``rows`` and ``drifts``.

    ``drifts`` are, by method, the estimate from all samples of each surrogate minus its known proportion: what the
    generator does to the proportion and to the classifier's errors together.
    """
    parser = _estimates()
    parser.add_argument("--surrogates", type=Path, nargs="+", required=True)
    parser.add_argument("--known", type=list[float], required=True)
    config = parser.parse_args(arguments)
    calibration, (scores, *others) = _scored(config.classifier, [config.samples, *config.surrogates])
    drifts = {
        method: [float(estimate(method, calibration, one)[1]) - p for one, p in zip(others, config.known, strict=True)]
        for method in config.methods
    }
    rows, refused = [], {}
    for run in _runs(scores, config.queries, config.runs):
        for method in (m for m in config.methods if m in LINEAR):
            means, variances = zip(*(feature_mean(method, one) for one in others), strict=True)
            try:
                mean = feature_mean(method, run.scores)
                found = inverse_prediction(config.known, means, variances, *mean, config.level)
            except UserError as error:  # a result: these surrogates say nothing
                refused[method] = str(error)
                continue
            rows.append({"method": method, "queries": run.queries, "run": run.run} | found._asdict())
    write_json(config.out, {"rows": rows, "refused": refused, "drifts": drifts, "known": config.known})
    return 0


def _estimates() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--classifier", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--methods", type=list[str], required=True)
    parser.add_argument("--queries", type=list[int], required=True)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--level", type=float, default=0.95)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def _scored(classifier: Path, folders: Sequence[Path]) -> tuple[Calibration, list[np.ndarray]]:
    """Held-out scores of the classifier, and its scores of the samples in each folder, F x M x K."""
    kept = read_kept(classifier)
    return kept.classifier.calibration, [kept.classifier.scores(read_samples(folder).x) for folder in folders]


def _runs(scores: np.ndarray, queries: Sequence[int], most: int) -> Iterator[Run]:
    """Up to ``most`` disjoint runs of each number of queries, from the first sample on."""
    for count in queries:
        if count > scores.shape[1]:
            raise UserError(f"{count} queries are asked for, there are {scores.shape[1]} samples: draw more")
        for run in range(min(most, scores.shape[1] // count)):
            yield Run(count, run, scores[:, run * count : (run + 1) * count])


def _interval(
    method: Method, calibration: Calibration, scores: np.ndarray, rng: np.random.Generator, level: float, resamples: int
) -> dict[str, Any]:
    """The estimate with its bootstrap interval; classify and count has Hoeffding's, as in the paper."""
    if method == "cc":
        share, half = float(estimate(method, calibration, scores)[1]), hoeffding_half_width(scores.shape[1], level)
        return {"estimate": share, "low": max(0.0, share - half), "high": min(1.0, share + half)}
    found = bootstrap(method, calibration, scores, rng, level, resamples)
    return {name: float(getattr(found, name)[1]) for name in ("estimate", "low", "high")}
