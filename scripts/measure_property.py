"""How well is a hidden proportion read off real images, which stand in for a generator that makes no mistakes?

Each repetition splits all records anew into auxiliary ones and a pool of queries, cross-fits the property classifier on
the former exactly as ``infer-property`` does, and draws queries from the pool: the number of positives is binomial with
probability p, the records are drawn without replacement. All p share the split of a repetition. The kernel machine is
cheap enough to be trained anew in every repetition; the network is trained in a few, each with several draws, and
its intervals of the coverage say nothing of what these few have in common.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.classifiers.gradients import gradient_histograms  # noqa: E402
from diffshare.classifiers.property import cross_fit  # noqa: E402
from diffshare.classifiers.recipes import KernelRecipe, NetworkRecipe, Recipe  # noqa: E402
from diffshare.data.cache import open_records  # noqa: E402
from diffshare.data.celeba import CelebA  # noqa: E402
from diffshare.data.idx import IDX  # noqa: E402
from diffshare.provenance import versions  # noqa: E402
from diffshare.stats.bootstrap import bootstrap  # noqa: E402
from diffshare.stats.intervals import clopper_pearson  # noqa: E402
from diffshare.stats.mixture import mixture_fit  # noqa: E402
from diffshare.stats.prevalence import Method, decisions  # noqa: E402
from diffshare.storage import read_json, write_json  # noqa: E402

PROPORTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)
METHODS: tuple[Method, ...] = ("cc", "pcc", "acc", "pacc", "emq", "dmy", "ml")
# the size of the faces' own auxiliary part; the default share of digits
AUXILIARY = {
    "faces": 1665,
    "mnist": 2000,
}
SAVED = 10  # repetitions after which the file is written anew


@dataclass(frozen=True)
class Setting:
    """What is measured: a data set, a classifier, and sizes."""

    data: str
    classifier: str
    root: str
    queries: int
    draws: int
    resamples: int
    level: float = 0.95


@cache
def records(data: str, root: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (uint8) and the property (int64) of all records."""
    if data == "faces":
        opened, name = open_records(CelebA(f"{root}/faces", image_size=32)), "Male"
    else:
        stem = f"{root}/mnist/t10k"
        files = (f"{stem}-images-idx3-ubyte.gz", f"{stem}-labels-idx1-ubyte.gz")
        opened, name = (
            open_records(IDX(*files, image_size=32, groups={"below5": [0, 1, 2, 3, 4]})),
            "below5",
        )
    return np.asarray(opened.x), opened.index.attribute(name).codes.astype(np.int64)


@cache
def described(data: str, root: str) -> np.ndarray:
    """The kernel machine's view of all records, made once: it depends on no split."""
    return gradient_histograms(records(data, root)[0])


def one_split(setting: Setting, seed: int) -> list[dict[str, Any]]:
    """All estimates of one repetition: a row for each p, draw and method."""
    torch.set_num_threads(1)
    x, y = records(setting.data, setting.root)
    recipe: Recipe = NetworkRecipe()
    if setting.classifier == "kernel":
        x, recipe = described(setting.data, setting.root), KernelRecipe()
    rng = np.random.default_rng([seed, 1])
    order = rng.permutation(len(y))
    mine, pool = order[: AUXILIARY[setting.data]], order[AUXILIARY[setting.data] :]
    drawn = [(p, draw) for _ in range(setting.draws) for p, draw in draws(setting, y[pool], rng)]
    asked, places = np.unique(np.concatenate([draw for _, draw in drawn]), return_inverse=True)
    made = cross_fit(x[mine], y[mine], ("0", "1"), recipe, seed=seed)
    scores, labels = made.scores(x[pool[asked]]), y[pool[asked]]
    accuracy = float((decisions(scores)[..., 1] == labels).mean())
    rows = []
    for number, (p, _) in enumerate(drawn):
        queries = scores[:, places[number * setting.queries : (number + 1) * setting.queries]]
        shared = {"seed": seed, "p": p, "accuracy": accuracy, "draw": number}
        shared["assumption"] = mixture_fit(made.calibration, queries, rng, resamples=200).p_value
        for method in METHODS:
            found = bootstrap(
                method, made.calibration, queries, rng, setting.level, setting.resamples
            )
            ends = {"estimate": found.estimate[1], "low": found.low[1], "high": found.high[1]}
            rows.append(
                shared | {"method": method} | {key: float(value) for key, value in ends.items()}
            )
    return rows


def draws(
    setting: Setting, labels: np.ndarray, rng: np.random.Generator
) -> list[tuple[float, np.ndarray]]:
    """For each p, positions of the queries in the pool: the first so many of each class, in an order drawn anew."""
    queues = [rng.permutation(np.flatnonzero(labels == k)) for k in (0, 1)]
    found = []
    for p in PROPORTIONS:
        positives = int(rng.binomial(setting.queries, p))
        found.append(
            (p, np.concatenate([queues[0][: setting.queries - positives], queues[1][:positives]]))
        )
    return found


def measure(
    setting: Setting, splits: int, workers: int, seed: int
) -> Iterator[list[dict[str, Any]]]:
    """The rows of one repetition after the other."""
    records(setting.data, setting.root)  # decoded once, before the processes start
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        made = pool.map(one_split, [setting] * splits, range(seed, seed + splits))
        yield from track(
            made, f"{setting.data}, {setting.classifier}", splits, console=Console(stderr=True)
        )


def result_of(
    setting: Setting, rows: Sequence[dict[str, Any]], trainings: int, seconds: float
) -> dict[str, Any]:
    """What the file says of a setting."""
    return {
        "data": setting.data,
        "classifier": setting.classifier,
        "auxiliary": AUXILIARY[setting.data],
        "queries": setting.queries,
        "trainings": trainings,
        "draws_of_each": setting.draws,
        "level": setting.level,
        "accuracy": float(np.mean([r["accuracy"] for r in rows])),
        "assumption_rejected": float(np.mean([r["assumption"] < 0.05 for r in rows])),
        "methods": summarise(rows, setting.level),
        "seconds": round(seconds, 1),
    }


def summarise(rows: Sequence[dict[str, Any]], level: float) -> list[dict[str, Any]]:
    """Mean absolute error and coverage of each method: for each p, and over all p."""
    summary = []
    naive = float(np.mean([abs(r["estimate"] - r["p"]) for r in rows if r["method"] == "cc"]))
    for method in METHODS:
        for p in (*PROPORTIONS, None):
            mine = [r for r in rows if r["method"] == method and p in (r["p"], None)]
            held = sum(r["low"] <= r["p"] <= r["high"] for r in mine)
            covered = clopper_pearson(held, len(mine), level)
            error = float(np.mean([abs(r["estimate"] - r["p"]) for r in mine]))
            summary.append({
                "method": method,
                "p": p,
                "mean_absolute_error": error,
                "bias": float(np.mean([r["estimate"] - r["p"] for r in mine])),
                "half_width": float(np.mean([(r["high"] - r["low"]) / 2 for r in mine])),
                "coverage": covered.estimate,
                "coverage_interval": [covered.low, covered.high],
                "repetitions": len(mine),
                "error_to_counting": error / naive if p is None else None,
            })  # fmt: skip
    return summary


def show(result: dict[str, Any]) -> None:
    title = f"{result['data']}, {result['classifier']}: accuracy {result['accuracy']:.3f}, assumption rejected "
    title += f"{result['assumption_rejected']:.3f}"
    table = Table(
        "method",
        "p",
        "mean abs. error",
        "bias",
        "half width",
        "coverage",
        "95 % of it",
        title=title,
    )
    for row in result["methods"]:
        low, high = row["coverage_interval"]
        table.add_row(row["method"], "all" if row["p"] is None else f"{row['p']:.1f}",
                      f"{row['mean_absolute_error']:.4f}", f"{row['bias']:+.4f}", f"{row['half_width']:.4f}",
                      f"{row['coverage']:.3f}", f"{low:.3f}-{high:.3f}")  # fmt: skip
    Console(width=110).print(table)


def write(path: Path, result: dict[str, Any], seed: int) -> None:
    """Put a result into the file; those of other data sets and classifiers that it holds stay."""
    command = (
        "python scripts/measure_property.py --root DATA --json docs/results/property_real.json"
    )
    earlier = read_json(path)["rows"] if path.exists() else []
    kept = [
        r for r in earlier if (r["data"], r["classifier"]) != (result["data"], result["classifier"])
    ]
    ordered = sorted([*kept, result], key=lambda r: (r["data"], r["classifier"]))
    about = {
        "command": command,
        "seeds": f"{seed} and the following, one a training",
        "versions": versions(),
    }
    write_json(path, about | {"rows": ordered})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", required=True, help="folder with faces/ (CelebA's layout) and mnist/"
    )
    parser.add_argument("--data", nargs="+", choices=list(AUXILIARY), default=list(AUXILIARY))
    parser.add_argument(
        "--repetitions", type=int, default=200, help="of the kernel machine, one training each"
    )
    parser.add_argument(
        "--network-splits", type=int, default=6, help="trainings of the network; 0 for none"
    )
    parser.add_argument(
        "--network-draws", type=int, default=20, help="draws of queries of each of them"
    )
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if bad := [n for n in (options.repetitions, options.network_splits) if n < 0]:
        parser.error(f"{bad[0]} repetitions: 0 or more")
    kinds = {
        "kernel": (options.repetitions, 1),
        "network": (options.network_splits, options.network_draws),
    }
    for data in options.data:
        for classifier, (splits, draws) in kinds.items():
            setting = Setting(
                data, classifier, options.root, options.queries, draws, options.resamples
            )
            started = time.perf_counter()
            rows: list[dict[str, Any]] = []
            for done, more in enumerate(
                measure(setting, splits, options.workers, options.seed) if splits else (), 1
            ):
                rows += more
                # hours of work are not lost
                if options.json and (done % SAVED == 0 or done == splits):
                    result = result_of(setting, rows, done, time.perf_counter() - started)
                    write(options.json, result, options.seed)
            if rows:
                show(result_of(setting, rows, splits, time.perf_counter() - started))


if __name__ == "__main__":
    main()
