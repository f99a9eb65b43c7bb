"""How often is harm seen, how often is it seen where there is none, and do its intervals cover?

``coverage``: repetitions with data drawn from a known distribution and a linear classifier, whose true excess gap a
large simulation gives. ``adult``: real rows of Adult. Six thousand rows teach the sharer's score and are used for
nothing else. Each folder cuts the others anew into 5,000 reference rows and a pool, from which the mix ``within``
chooses 2,000; the control draws as many inside the cells at random. The association is audited beside the harm: its
table is exactly that of the clean mix.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.audits.poisoning.harm import MARGIN, Harm, harm  # noqa: E402
from diffshare.audits.repair.inside import inside_weights  # noqa: E402
from diffshare.classifiers.recipe import Recipe  # noqa: E402
from diffshare.classifiers.recipes import TreesRecipe  # noqa: E402
from diffshare.data.mixes import Pool  # noqa: E402
from diffshare.data.source import Attribute, Index  # noqa: E402
from diffshare.data.table import Adult, Column  # noqa: E402
from diffshare.provenance import code_revision, versions  # noqa: E402
from diffshare.receiver.records import Records  # noqa: E402
from diffshare.receiver.samples import CodedSamples  # noqa: E402
from diffshare.sharer.poisoning.within import WithinCells  # noqa: E402
from diffshare.stats.intervals import clopper_pearson  # noqa: E402
from diffshare.storage import write_json  # noqa: E402

WIDTH = 5  # columns of the simulated rows
# samples, reference records, how far the groups are moved apart
DESIGNS = ((400, 500, 0.0), (400, 500, 0.3), (1000, 600, 0.15), (200, 2000, 0.3))
SCORED, REFERENCE, TESTED, SAMPLES = 6000, 5000, 10_000, 2000  # rows
TRAINED_ON = ("samples", "repaired", "reference")
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5)
TRUTHS = 4000  # pairs of trainings that the truth is averaged over


class Linear(Recipe):
    """Fisher's linear discriminant of two classes."""

    def train(
        self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Sequence[int]
    ) -> Any:
        """See the base class."""
        x = x.astype(np.float64)
        one, zero = x[labels == 1], x[labels == 0]
        within = sum((part - part.mean(0)).T @ (part - part.mean(0)) for part in (one, zero))
        axis = np.linalg.solve(
            within / (len(x) - 2) + 1e-6 * np.eye(x.shape[1]), one.mean(0) - zero.mean(0)
        )
        middle = axis @ (one.mean(0) + zero.mean(0)) / 2 - np.log(len(one) / len(zero))
        return lambda rows: np.stack([np.zeros(len(rows)), rows @ axis - middle], 1)


def simulated(n: int, apart: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Rows, class and group; of group 1 those are chosen that look less like class 1."""
    s = rng.integers(0, 2, n)
    y = (rng.random(n) < np.where(s, 0.5, 0.35)).astype(np.int64)
    x = rng.normal(size=(n, WIDTH))
    x[:, 0] += 1.2 * y - apart * (2 * s - 1)
    x[:, 1] += 1.5 * s
    x[:, 2] += 0.5 * y
    return x.astype(np.float32), y, s


def records(x: np.ndarray, y: np.ndarray, s: np.ndarray, columns: Sequence[Column]) -> Records:
    """Labelled records with the class ``y`` and the group ``s``."""
    attributes = {
        "y": Attribute(y.astype(np.int16), ("0", "1")),
        "s": Attribute(s.astype(np.int16), ("0", "1")),
    }
    return Records.from_codes(x, attributes, target="y", columns=columns)


def repetition(job: tuple[int, int, float, int]) -> tuple[float, float, float, int, str]:
    """Estimate, interval, records of a training and verdict."""
    n, m, apart, number = job
    rng = np.random.default_rng([7, number])
    x, y, _ = simulated(n, apart, rng)
    columns = [Column(str(i), "numeric") for i in range(WIDTH)]
    result = harm(
        CodedSamples(x, y),
        records(*simulated(m, 0.0, rng), columns),
        "s",
        Linear(),
        seed=number,
    )
    return result.estimate, *result.interval, result.trained_on, result.verdict


def truth(job: tuple[int, float, int]) -> float:
    """Excess gap of one pair of trainings on n records, measured on 40,000."""
    n, apart, number = job
    rng = np.random.default_rng([9, number])
    linear = Linear()
    x, _, s = simulated(40_000, 0.0, rng)
    decisions = [
        linear.train(*simulated(n, moved, rng)[:2], 2, 0, ())(x).argmax(1) for moved in (apart, 0.0)
    ]
    each = decisions[0].astype(float) - decisions[1]
    return float(each[s == 1].mean() - each[s == 0].mean())


def coverage(repetitions: int, pool: ProcessPoolExecutor) -> list[dict[str, Any]]:
    """Of each design: how often the interval holds the truth."""
    rows = []
    for n, m, apart in DESIGNS:
        jobs = [(n, m, apart, number) for number in range(repetitions)]
        results = list(
            track(pool.map(repetition, jobs, chunksize=20), f"{n} samples, {m} records", len(jobs))
        )
        size = round(float(np.mean([r[3] for r in results])))
        pairs = [(size, apart, number) for number in range(TRUTHS)]
        true = float(np.mean(list(pool.map(truth, pairs, chunksize=100)))) if apart else 0.0
        covered = sum(low <= true <= high for _, low, high, *_ in results)
        share = clopper_pearson(covered, repetitions)
        rows.append(
            {
                "samples": n, "records": m, "apart": apart, "trained_on": size, "truth": true,
                "mean": float(np.mean([r[0] for r in results])),
                "sd": float(np.std([r[0] for r in results])),
                "half_width": float(np.mean([(r[2] - r[1]) / 2 for r in results])),
                "repetitions": repetitions,
                "coverage": [share.estimate, share.low, share.high],
                "verdicts": {v: sum(r[4] == v for r in results) for v in ("harmful", "harmless", "undecided")},
            }
        )  # fmt: skip
    return rows


@cache
def adult(root: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[Column, ...]]:
    """All rows without the class, class, group, columns."""
    source = Adult(root)
    index, columns = source.index(), source.columns
    x = source.read(np.arange(len(index)))
    kept = [i for i, column in enumerate(columns) if column.name != "income"]
    y, s = (index.attributes[name].codes.astype(np.int64) for name in ("income", "sex"))
    return x[:, kept], y, s, tuple(columns[i] for i in kept)


def _pool(rows: np.ndarray, root: str, auxiliary: Pool | None = None) -> Pool:
    x, y, s, _ = adult(root)
    coded = {
        "y": Attribute(y[rows].astype(np.int16), ("0", "1")),
        "s": Attribute(s[rows].astype(np.int16), ("0", "1")),
    }
    index = Index(rows.astype(str), np.zeros(len(rows), np.int64), coded)
    return Pool(index, "y", "s", lambda positions: x[rows[positions]], auxiliary)


def folder(job: tuple[str, float, int]) -> tuple[float, int, Harm, float, tuple[float, ...]]:
    """One folder's harm, the log odds that an audit of association sees, and what a repair leaves.

    What it leaves is measured on rows that are neither reference nor pool: gap and accuracy of classifiers trained on
    the samples, on a choice of them by weights inside the cells, and on reference rows.
    """
    root, share, number = job
    x, y, s, columns = adult(root)
    order = np.random.default_rng(0).permutation(len(y))
    scored = _pool(order[:SCORED], root)
    rest = np.random.default_rng([3, number]).permutation(order[SCORED:])
    reference, test, others = np.split(rest, [REFERENCE, REFERENCE + TESTED])
    mix = WithinCells(
        share,
        SAMPLES,
        favour=1,
        score=TreesRecipe(100),
        delta=9.0,
        delta_kind="absolute",
        refit=False,
    )
    chosen = others[mix.choose(_pool(others, root, scored), number).positions]
    result = harm(
        CodedSamples(x[chosen], y[chosen]),
        records(x[reference], y[reference], s[reference], columns),
        "s",
        TreesRecipe(),
        seed=number,
    )
    odds = [_log_odds(s[rows], y[rows]) for rows in (chosen, reference)]
    own = records(x[reference], y[reference], s[reference], columns)
    weights = inside_weights(own, CodedSamples(x[chosen], y[chosen]), s[chosen], seed=number)
    rng = np.random.default_rng([5, number])
    kept = np.concatenate([_drawn(np.flatnonzero(y[chosen] == k), weights, rng) for k in (0, 1)])
    categorical = own.categorical()

    def measured(rows: np.ndarray) -> tuple[float, float]:
        scorer = TreesRecipe().train(x[rows], y[rows], 2, number, categorical)
        decided = scorer(x[test]).argmax(1)
        of = s[test] == 1
        gap = float(decided[of].mean() - decided[~of].mean())
        return gap, float((decided == y[test]).mean())

    left = [measured(rows) for rows in (chosen, chosen[kept], reference[:SAMPLES])]
    return share, number, result, odds[0] - odds[1], tuple(v for pair in left for v in pair)


def _drawn(rows: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many of these rows, with replacement, in proportion to their weights."""
    own = weights[rows]
    return rng.choice(rows, len(rows), p=own / own.sum())


def _log_odds(s: np.ndarray, y: np.ndarray) -> float:
    table = np.array([[np.sum((s == a) & (y == b)) for b in (0, 1)] for a in (0, 1)])
    return float(np.log(table[1, 1] * table[0, 0] / (table[0, 1] * table[1, 0])))


def folders(count: int, root: str, pool: ProcessPoolExecutor) -> list[dict[str, Any]]:
    """Of each share: how many folders are called what."""
    jobs = [(root, share, number) for share in SHARES for number in range(count)]
    results = list(track(pool.map(folder, jobs), "folders of Adult", len(jobs)))
    rows = []
    for share in SHARES:
        own = [(result, odds) for each, _, result, odds, _ in results if each == share]
        left = np.array([after for each, *_, after in results if each == share])
        verdicts = {
            v: sum(r.verdict == v for r, _ in own) for v in ("harmful", "harmless", "undecided")
        }
        seen = clopper_pearson(verdicts["harmful"], len(own))
        rows.append(
            {
                "share": share, "folders": len(own), "verdicts": verdicts,
                "harmful": [seen.estimate, seen.low, seen.high],
                "excess_gap": _mean_sd([r.estimate for r, _ in own]),
                "half_width": float(np.mean([(r.interval[1] - r.interval[0]) / 2 for r, _ in own])),
                "accuracy": float(np.mean([r.accuracy[0] for r, _ in own])),
                "accuracy_reference": float(np.mean([r.accuracy[1] for r, _ in own])),
                "log_odds_difference": _mean_sd([o for _, o in own]),
                "repair": {
                    "gap": dict(zip(TRAINED_ON, left.mean(0)[::2].tolist(), strict=True)),
                    "accuracy": dict(zip(TRAINED_ON, left.mean(0)[1::2].tolist(), strict=True)),
                    "excess_left": _mean_sd((left[:, 2] - left[:, 4]).tolist()),
                },
            }
        )  # fmt: skip
    return rows


def _mean_sd(values: Sequence[float]) -> list[float]:
    return [float(np.mean(values)), float(np.std(values))]


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, help="folder of UCI's Adult")
    parser.add_argument("--repetitions", type=int, default=2000, help="of each design")
    parser.add_argument("--folders", type=int, default=100, help="of each share")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    with ProcessPoolExecutor(asked.jobs, get_context("spawn")) as pool:
        covered = coverage(asked.repetitions, pool)
        called = folders(asked.folders, asked.root, pool) if asked.folders else []
    console = Console()
    table = Table("samples", "records", "truth", "mean", "half width", "coverage (95 %)")
    for row in covered:
        middle, low, high = row["coverage"]
        table.add_row(
            str(row["samples"]), str(row["records"]), f"{row['truth']:.3f}", f"{row['mean']:.3f}",
            f"{row['half_width']:.3f}", f"{middle:.3f} ({low:.3f} to {high:.3f})",
        )  # fmt: skip
    console.print(table)
    table = Table(
        "share chosen",
        "excess gap",
        "harmful",
        "harmless",
        "undecided",
        "accuracy",
        "excess left by repair",
    )
    for row in called:
        verdicts = row["verdicts"]
        table.add_row(
            f"{row['share']:g}", f"{row['excess_gap'][0]:.3f}", *map(str, verdicts.values()), f"{row['accuracy']:.3f}",
            f"{row['repair']['excess_left'][0]:.3f}",
        )  # fmt: skip
    console.print(table)
    if asked.json:
        write_json(
            asked.json,
            {
                "command": "python scripts/measure_harm.py --root ADULT_FOLDER "
                f"--repetitions {asked.repetitions} --folders {asked.folders}",
                "margin": MARGIN, "code": code_revision(), "versions": versions(),
                "coverage": covered, "adult": called,
            },
        )  # fmt: skip


if __name__ == "__main__":
    main()
