"""Error and coverage of every estimator of a prevalence and every interval, on simulated classifiers of known truth.

    python scripts/measure_prevalence.py --json docs/results/prevalence_simulation.json

A record of class y has one number x ~ N(d y, 1). A model of fold f sees x + 0.3 noise of its own, cuts where it should
but for N(0, 0.2), and is over- or underconfident by exp(N(0, 0.15)): the five models of a cross-fitting differ as those
of a small auxiliary set do. d is such that their accuracy is 0.75 ("weak") or 0.90 ("good"). Calibration: 1,000
records, half of each class, each scored by the model of its fold. Queries: independent records of prevalence p, scored
by all five models. Each repetition draws models, calibration records and queries anew.

Besides that: 200 calibration records ("few"); queries whose x is shifted by 0.4 ("shifted": the classifier errs on
generated records otherwise than on real ones, which no correction survives); and ``pacc, one model``, where the queries
are scored by one of the five models alone. A coverage has its own interval (Clopper-Pearson, over repetitions).
"""

import argparse
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, ndtri
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.provenance import code_revision, versions  # noqa: E402
from diffshare.stats.bootstrap import bootstrap  # noqa: E402
from diffshare.stats.calibration import Calibration  # noqa: E402
from diffshare.stats.intervals import (  # noqa: E402
    ErrorRates,
    cleam,
    clopper_pearson,
    hoeffding,
    lang_reiczigel,
    wilson,
)
from diffshare.stats.mixture import mixture_fit  # noqa: E402
from diffshare.stats.prevalence import NAMES, decisions, estimate  # noqa: E402
from diffshare.stats.sequential import adjusted_sequence  # noqa: E402
from diffshare.storage import write_json  # noqa: E402

ACCURACY = {"weak": 0.75, "good": 0.90}
TRUTHS, QUERIES = (0.1, 0.3, 0.5, 0.7, 0.9), (100, 200, 500, 1000, 2000)
FOLDS, OWN_NOISE, CUT, CONFIDENCE, SHIFT, BATCHES = 5, 0.3, 0.2, 0.15, 0.4, 10
Found = tuple[float, float, float]  # estimate and interval of the prevalence of class 1


@dataclass(frozen=True)
class Setting:
    """What all repetitions of a row have in common.

    Attributes:
        classifier: ``weak`` or ``good``.
        condition: ``holds``, ``few`` (calibration records) or ``shifted`` (scores of the queries).
        calibrated: calibration records.
        queries: queries.
    """

    classifier: str
    condition: str
    calibrated: int
    queries: int


def settings() -> Iterator[Setting]:
    """Those of the tables first, then the other numbers of queries."""
    for classifier in ACCURACY:
        for condition, calibrated in (("holds", 1000), ("few", 200), ("shifted", 1000)):
            yield Setting(classifier, condition, calibrated, 1000)
    for classifier in ACCURACY:
        for queries in QUERIES:
            if queries != 1000:
                yield Setting(classifier, "holds", 1000, queries)


def simulate(
    setting: Setting, p: float, rng: np.random.Generator
) -> tuple[Calibration, np.ndarray]:
    """Calibration records and the scores of the queries, 5 x M x 2."""
    variance = 1 + OWN_NOISE**2
    distance = 2 * np.sqrt(variance + CUT**2) * ndtri(ACCURACY[setting.classifier])
    cuts = distance / 2 + CUT * rng.normal(size=FOLDS)
    slopes = distance / variance * np.exp(CONFIDENCE * rng.normal(size=FOLDS))

    def score(x: np.ndarray, fold: np.ndarray) -> np.ndarray:
        return expit(
            slopes[fold]
            * (x + OWN_NOISE * rng.normal(size=np.broadcast(x, fold).shape) - cuts[fold])
        )

    y = np.arange(setting.calibrated) % 2
    groups = np.arange(setting.calibrated) // 2 % FOLDS
    known = score(rng.normal(size=len(y)) + distance * y, groups)
    asked = rng.random(setting.queries) < p
    x = (
        rng.normal(size=setting.queries)
        + distance * asked
        + SHIFT * (setting.condition == "shifted")
    )
    every = score(x, np.arange(FOLDS)[:, None])
    return Calibration(known, y, groups), np.stack([1 - every, every], -1)


def counted(calibration: Calibration, queries: np.ndarray) -> Iterator[tuple[str, str, Found]]:
    """Intervals that a count of positives has, without and with the classifier's error rates."""
    total = queries.shape[1]
    called = decisions(queries)[..., 1].mean(0)  # of each query, the share of models
    positives = round(float(called.sum()))
    for interval in (hoeffding, wilson, clopper_pearson):
        yield "cc", interval.__name__, interval(positives, total)
    said, true = decisions(calibration.scores)[:, 1] == 1, calibration.labels == 1
    rates = ErrorRates(
        int((said & true).sum()), int(true.sum()), int((said & ~true).sum()), int((~true).sum())
    )
    yield "acc", "lang_reiczigel", lang_reiczigel(positives, total, rates)
    fpr, tpr = calibration.class_means(decisions(calibration.scores))[:, 1]
    yield "cleam", "cleam", cleam(called.reshape(BATCHES, -1).mean(1), tpr, fpr)
    low, high = adjusted_sequence(calibration, queries)[-1]
    yield "acc", "sequence", (float(estimate("acc", calibration, queries)[1]), low, high)


def resampled(
    calibration: Calibration, queries: np.ndarray, rng: np.random.Generator, resamples: int
) -> Iterator[tuple[str, str, Found]]:
    """Bootstrap intervals."""
    for name in NAMES[1:]:  # a count's own interval is wilson's
        found = bootstrap(name, calibration, queries, rng, resamples=resamples)  # type: ignore[arg-type]
        yield name, "bootstrap", (found.estimate[1], found.low[1], found.high[1])
    pooled = Calibration(calibration.scores, calibration.labels)
    found = bootstrap("pacc", pooled, queries[0], rng, resamples=resamples)
    yield "pacc, one model", "bootstrap", (found.estimate[1], found.low[1], found.high[1])


def repeat(
    setting: Setting, p: float, seeds: list[int], resamples: int
) -> tuple[dict[tuple[str, str], np.ndarray], list[float]]:
    """Estimates and intervals, repetitions x 3 for each (estimator, interval), and p-values of the assumption."""
    found: dict[tuple[str, str], list[Found]] = {}
    fits = []
    for seed in seeds:
        code = [
            seed,
            list(ACCURACY).index(setting.classifier),
            setting.queries,
            setting.calibrated,
            round(100 * p),
        ]
        rng = np.random.default_rng([*code, setting.condition == "shifted"])
        calibration, queries = simulate(setting, p, rng)
        for name, interval, one in [
            *counted(calibration, queries),
            *resampled(calibration, queries, rng, resamples),
        ]:
            found.setdefault((name, interval), []).append(one)
        if setting.queries == 1000:
            fits.append(mixture_fit(calibration, queries, rng, 200).p_value)
    return {key: np.array(ones) for key, ones in found.items()}, fits


def row(
    setting: Setting, p: float | None, name: str, interval: str, off: np.ndarray
) -> dict[str, Any]:
    """One figure a column; ``off`` is repetitions x 3: estimate and ends of the interval minus the truth."""
    held = (off[:, 1] <= 1e-12) & (off[:, 2] >= -1e-12)
    share = clopper_pearson(int(held.sum()), len(held))
    return asdict(setting) | {
        "p": "all" if p is None else p,
        "estimator": name,
        "interval": interval,
        "mean_absolute_error": round(float(np.abs(off[:, 0]).mean()), 4),
        "bias": round(float(off[:, 0].mean()), 4),
        "width": round(float((off[:, 2] - off[:, 1]).mean()), 4),
        "coverage": round(share.estimate, 4),
        "coverage_interval": [round(share.low, 4), round(share.high, 4)],
        "repetitions": len(held),
    }


def measure(
    setting: Setting, repetitions: int, resamples: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the estimators, and of the check of their assumption."""
    rows: list[dict[str, Any]] = []
    parts: dict[tuple[str, str], list[np.ndarray]] = {}
    refused: list[bool] = []
    for p in TRUTHS:
        found, fits = repeat(setting, p, list(range(repetitions)), resamples)
        refused += [value <= 0.05 for value in fits]
        for (name, interval), ones in found.items():
            parts.setdefault((name, interval), []).append(ones - p)
            if setting.queries == 1000:
                rows.append(row(setting, p, name, interval, ones - p))
    rows += [row(setting, None, *names, np.concatenate(offs)) for names, offs in parts.items()]
    if not refused:
        return rows, []
    share = clopper_pearson(sum(refused), len(refused))
    return rows, [asdict(setting) | {"refused_at_0.05": [round(value, 4) for value in share]}]


def table(rows: list[dict[str, Any]], setting: Setting) -> str:
    """Markdown, all p together; the bias is the largest of any p where the rows of each p are there."""
    lines = [
        "| estimator | interval | mean abs. error | largest bias | coverage | mean width |",
        "|" + " --- |" * 6,
    ]
    mine = [r for r in rows if all(r[key] == value for key, value in asdict(setting).items())]
    for one in (r for r in mine if r["p"] == "all"):
        same = [
            r["bias"]
            for r in mine
            if (r["estimator"], r["interval"]) == (one["estimator"], one["interval"])
        ]
        low, high = one["coverage_interval"]
        lines.append(
            f"| {one['estimator']} | {one['interval']} | {one['mean_absolute_error']:.3f} | {max(same, key=abs):+.3f} "
            f"| {one['coverage']:.3f} ({low:.3f}-{high:.3f}) | {one['width']:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--repetitions",
        type=int,
        default=200,
        help="of each truth at 1,000 queries, half elsewhere",
    )
    parser.add_argument("--resamples", type=int, default=400, help="of each bootstrap")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    head: dict[str, Any] = {
        "command": shlex.join(["python", "scripts/measure_prevalence.py", *sys.argv[1:]])
    }
    head |= {"code": code_revision(), "versions": versions(("numpy", "scipy"))}
    head |= {"seeds": [0, options.repetitions - 1], "resamples": options.resamples}
    rows: list[dict[str, Any]] = []
    checks: list[dict[str, Any]] = []
    for setting in tqdm(list(settings())):
        repetitions = options.repetitions if setting.queries == 1000 else options.repetitions // 2
        new, check = measure(setting, repetitions, options.resamples)
        rows, checks = rows + new, checks + check
        if setting.queries == 1000:
            print(f"\n{setting}\n{table(rows, setting)}", flush=True)
        if options.json:  # a run that ends early leaves what it has
            write_json(options.json, head | {"assumption": checks, "rows": rows})
    print(*checks, sep="\n")


if __name__ == "__main__":
    main()
