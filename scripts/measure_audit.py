"""How often does the audit flag clean samples, and how often does it miss poisoned ones? On folders of real records.

Real records stand in for a generator that makes no mistakes. Each split cuts all records anew into a reference and a
pool of queries, disjoint; the classifier of the group (faces) is cross-fitted on the reference as the verb does it, and
scores every query once. A folder is (1 - alpha) queries at random and alpha from the two cells that raise I(S;Y) most.
``natural``: the random ones are of the pool as it is, compared with the reference. ``balanced``: their cells are drawn
with equal probability, as from a balanced pool, and compared with equal cells. In Adult the group is a column.

Folders of one split share reference and classifier: the intervals of rates are of the splits, by the cluster bootstrap.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.audits.poisoning.verdict import MARGIN, POWER, WANTED  # noqa: E402
from diffshare.classifiers.gradients import gradient_histograms  # noqa: E402
from diffshare.classifiers.property import cross_fit  # noqa: E402
from diffshare.classifiers.recipes import KernelRecipe  # noqa: E402
from diffshare.data.cache import open_records  # noqa: E402
from diffshare.data.celeba import CelebA  # noqa: E402
from diffshare.data.table import Adult  # noqa: E402
from diffshare.provenance import code_revision, versions  # noqa: E402
from diffshare.stats.association import Reference, compare  # noqa: E402
from diffshare.stats.calibration import Calibration  # noqa: E402
from diffshare.stats.detection import Tolerance, decide, poisoned_table, power  # noqa: E402
from diffshare.stats.information import contingency  # noqa: E402
from diffshare.stats.intervals import clopper_pearson  # noqa: E402
from diffshare.stats.shares import GroupShares, counted_shares, unmixed_shares  # noqa: E402
from diffshare.storage import write_json  # noqa: E402

ALPHAS = (0.0, 0.1, 0.2, 0.3, 0.5)
REFERENCE = {"faces": 1665, "adult": 16281}  # records: the size of the auxiliary part of each
POOLS = ("natural", "balanced")


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    data: str
    root: str
    queries: int
    folders: int
    level: float = 0.05


@cache
def attributes(data: str, root: str) -> tuple[np.ndarray, np.ndarray]:
    """Group and class of all records: Male and Young, sex and income."""
    source: Any = (
        CelebA(f"{root}/faces", image_size=32) if data == "faces" else Adult(f"{root}/adult")
    )
    index, names = source.index(), ("Male", "Young") if data == "faces" else ("sex", "income")
    s, y = (index.attribute(name).codes.astype(np.int64) for name in names)
    return s, y


@cache
def described(root: str) -> np.ndarray:
    """The kernel machine's view of all faces, made once: it depends on no split."""
    return gradient_histograms(np.asarray(open_records(CelebA(f"{root}/faces", image_size=32)).x))


@dataclass(frozen=True)
class Split:
    """Reference and pool of one split: what the audit knows, and the pool's truth, by which folders are made."""

    table: np.ndarray
    s: np.ndarray
    y: np.ndarray
    calibrations: tuple[Calibration, ...] = ()
    scores: np.ndarray | None = None
    accuracy: float | None = None

    def shares(self, rows: np.ndarray) -> GroupShares:
        """P(s|y) of a folder as the audit sees it."""
        if self.scores is None:
            return counted_shares(contingency(self.s[rows], self.y[rows], 2, 2))
        queries = [self.scores[:, rows[self.y[rows] == k]] for k in (0, 1)]
        return unmixed_shares(self.calibrations, queries)


def split(setting: Setting, seed: int) -> Split:
    """Cut, and train where the group is to be read."""
    s, y = attributes(setting.data, setting.root)
    order = np.random.default_rng([seed, 1]).permutation(len(s))
    mine, pool = order[: REFERENCE[setting.data]], order[REFERENCE[setting.data] :]
    table = contingency(s[mine], y[mine], 2, 2)
    if setting.data == "adult":
        return Split(table, s[pool], y[pool])
    x = described(setting.root)
    made = cross_fit(x[mine], s[mine], ("0", "1"), KernelRecipe(), seed=seed)
    known = made.calibration
    assert known.groups is not None
    parts = [
        Calibration(known.scores[(k := y[mine] == c)], known.labels[k], known.groups[k])
        for c in (0, 1)
    ]
    return Split(table, s[pool], y[pool], tuple(parts), made.scores(x[pool]), made.accuracy)


def folder(made: Split, pool: str, alpha: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of the pool: random ones, and the share alpha of the attack; none twice."""
    truth = np.ones((2, 2)) / 4 if pool == "balanced" else made.table / made.table.sum()
    poison = poisoned_table(truth, alpha) - (1 - alpha) * truth
    used = poison > 1e-9
    if pool == "balanced" and used.any() and made.table[used].min() < made.table[::-1][used].min():
        # of two attacks that are equally good, the one with more records to draw from
        poison = poison[::-1]
    wanted = np.floor(poison * n + 0.5).astype(int)
    rest = n - int(wanted.sum())
    cells = made.s * 2 + made.y
    if pool == "natural":
        base = rng.choice(len(cells), rest, replace=False)
    else:
        counts = rng.multinomial(rest, truth.ravel())
        base = np.concatenate(
            [rng.choice(np.flatnonzero(cells == c), k, replace=False) for c, k in enumerate(counts)]
        )
    left = np.setdiff1d(np.arange(len(cells)), base)
    added = [
        rng.choice(left[cells[left] == c], k, replace=False)
        for c, k in enumerate(wanted.ravel())
        if k
    ]
    return np.concatenate([base, *added])


def one_split(setting: Setting, seed: int) -> list[dict[str, Any]]:
    """A row for each pool, folder and alpha."""
    torch.set_num_threads(1)
    made = split(setting, seed)
    rng = np.random.default_rng([seed, 2])
    rows = []
    for pool in POOLS:
        reference = (
            Reference(np.ones((2, 2)), known=True) if pool == "balanced" else Reference(made.table)
        )
        harm = Tolerance(MARGIN).harm(reference.table, WANTED)
        able = None  # what can be seen depends on the numbers of records, which the folders of a split share
        for number in range(setting.folders):
            for alpha in ALPHAS:
                shares = made.shares(folder(made, pool, alpha, setting.queries, rng))
                able = able or power(
                    shares, reference, Tolerance(MARGIN), setting.level, wanted=WANTED, power=POWER
                )
                powered = able.alpha is not None and able.alpha <= WANTED
                (found,) = compare(shares, reference)
                rows.append({
                    "seed": seed, "pool": pool, "folder": number, "alpha": alpha,
                    "p": found.difference.p_value(0.0), "p_margin": found.difference.p_value(MARGIN),
                    "statistic": abs(float(found.difference.at(0.0))), "difference": found.difference.estimate,
                    "verdict": decide(found, MARGIN, harm, setting.level, powered=powered),
                    "least": able.alpha, "accuracy": made.accuracy,
                })  # fmt: skip
    return rows


def measure(setting: Setting, splits: int, workers: int, seed: int) -> list[dict[str, Any]]:
    """All rows of all splits."""
    attributes(setting.data, setting.root)
    seeds = range(seed, seed + splits)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        made = pool.map(one_split, [setting] * splits, seeds)
        return [
            row
            for rows in track(made, setting.data, splits, console=Console(stderr=True))
            for row in rows
        ]


def rate(hits: np.ndarray, splits: np.ndarray) -> dict[str, Any]:
    """A rate with Clopper and Pearson's interval, and with one of splits drawn with replacement."""
    exact = clopper_pearson(int(hits.sum()), len(hits))
    by_split = np.array([hits[splits == one].mean() for one in np.unique(splits)])
    drawn = np.random.default_rng(0).choice(by_split, (2000, len(by_split))).mean(1)
    ends = [float(v) for v in np.quantile(drawn, [0.025, 0.975])]
    binomial = [exact.low, exact.high]
    return {
        "rate": exact.estimate,
        "count": int(hits.sum()),
        "interval": binomial,
        "interval_of_splits": ends,
    }


def summarise(rows: Sequence[dict[str, Any]], setting: Setting) -> list[dict[str, Any]]:
    """One entry for each pool."""
    summary = []
    for pool in POOLS:
        mine = [r for r in rows if r["pool"] == pool]
        column = {key: np.array([r[key] for r in mine]) for key in mine[0]}
        clean = column["alpha"] == 0
        uniform = kstest(column["p"][clean], "uniform")
        alphas = []
        for alpha in ALPHAS[1:]:
            these = column["alpha"] == alpha
            both = clean | these
            alphas.append({
                "alpha": alpha,
                "power": rate(column["p_margin"][these] <= setting.level, column["seed"][these]),
                "power_without_margin": rate(column["p"][these] <= setting.level, column["seed"][these]),
                "auroc": float(roc_auc_score(these[both], column["statistic"][both])),
                "difference_mean": float(column["difference"][these].mean()),
                "difference_deviation": float(column["difference"][these].std(ddof=1)),
                "verdicts": counted(column["verdict"][these]),
            })  # fmt: skip
        accuracies = [r["accuracy"] for r in mine if r["accuracy"] is not None]
        summary.append({
            "data": setting.data, "pool": pool, "folders": int(clean.sum()),
            "splits": len(np.unique(column["seed"])), "queries": setting.queries,
            "reference_records": REFERENCE[setting.data],
            "group_read_by": "kernel machine" if accuracies else "column",
            "classifier_accuracy": float(np.mean(accuracies)) if accuracies else None,
            "level": setting.level, "margin": MARGIN,
            "false_alarms": rate(column["p_margin"][clean] <= setting.level, column["seed"][clean]),
            "false_alarms_without_margin": rate(column["p"][clean] <= setting.level, column["seed"][clean]),
            "clean_verdicts": counted(column["verdict"][clean]),
            "clean_difference_mean": float(column["difference"][clean].mean()),
            "clean_difference_deviation": float(column["difference"][clean].std(ddof=1)),
            "clean_p_values": {
                "deciles": np.histogram(column["p"][clean], 10, (0, 1))[0].tolist(),
                "kolmogorov_smirnov": float(uniform.statistic), "p_value": float(uniform.pvalue),
            },
            "minimum_detectable_alpha": float(np.mean([r["least"] for r in mine if r["least"] is not None])),
            "alphas": alphas,
        })  # fmt: skip
    return summary


def counted(verdicts: np.ndarray) -> dict[str, int]:
    """How often each verdict was given."""
    return {name: int((verdicts == name).sum()) for name in ("poisoned", "clean", "inconclusive")}


def show(summary: Sequence[dict[str, Any]]) -> None:
    """The summary as a table."""
    table = Table("data", "pool", "alpha", "flagged (margin)", "95 % interval", "flagged (no margin)", "AUROC", "clean",
                  title=f"folders of {summary[0]['queries']} real records, level {summary[0]['level']}")  # fmt: skip
    for row in summary:
        clean = {"alpha": 0, "power": row["false_alarms"], "power_without_margin": row["false_alarms_without_margin"],
                 "auroc": None, "verdicts": row["clean_verdicts"]}  # fmt: skip
        for one in (clean, *row["alphas"]):
            low, high = one["power"]["interval"]
            table.add_row(row["data"], row["pool"], f"{one['alpha']:g}", f"{one['power']['rate']:.3f}",
                          f"{low:.3f}-{high:.3f}", f"{one['power_without_margin']['rate']:.3f}",
                          "" if one["auroc"] is None else f"{one['auroc']:.3f}", 
                          str(one["verdicts"]["clean"]))  # fmt: skip
    Console(width=120).print(table)


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", required=True, help="folder with faces/ (CelebA's layout) and adult/"
    )
    parser.add_argument("--data", nargs="+", choices=list(REFERENCE), default=list(REFERENCE))
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--folders", type=int, default=2, help="of each split, pool and alpha")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results: list[dict[str, Any]] = []
    for data in options.data:
        setting = Setting(data, options.root, options.queries, options.folders)
        started = time.perf_counter()
        rows = measure(setting, options.splits, options.workers, options.seed)
        summary = summarise(rows, setting)
        show(summary)
        results += [row | {"seconds": round(time.perf_counter() - started, 1)} for row in summary]
        if options.json:
            about = {
                "command": "python scripts/measure_audit.py --root DATA --json docs/results/audit_records.json"
            }
            about |= {
                "code": code_revision(),
                "versions": versions(),
                "seeds": [options.seed, options.splits],
            }
            settings = asdict(setting) | {"root": "DATA", "alphas": list(ALPHAS)}
            write_json(options.json, about | {"settings": settings, "rows": results})


if __name__ == "__main__":
    main()
