"""What gap remains possible for a sharer who knows the audit, against the queries that the receiver spends?

Real records stand in for a generator that makes no mistakes. Each split cuts all records anew into a reference, a pool
and a test set. For each margin the sharer's counts are the best within it (half of the set is random, half chosen;
the records of a cell are drawn at random, without the constraint on I(X;Y), so that the attack is no weaker than the
policy ``Adaptive``). A receiver chooses how many samples of each class to draw, so a classifier is trained on as many
of each, drawn from the set with replacement; its demographic parity gap is measured on the test set. The
audit draws its queries, as many of each class, from the set's own cells, and flags where |d| <= 0.4 is rejected at the
level 0.05. Margin 0 is a random set, margin 12 the attack without a margin.

The curve is the largest mean gap among the sets that a number of queries flags with a probability of at most 0.2.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.audit.poisoning import MARGIN, POWER, WANTED  # noqa: E402
from diffshare.classifiers.property import cross_fit  # noqa: E402
from diffshare.classifiers.recipes import KernelRecipe, Recipe, TreesRecipe  # noqa: E402
from diffshare.data.cache import open_records  # noqa: E402
from diffshare.data.celeba import CelebA  # noqa: E402
from diffshare.data.table import Adult  # noqa: E402
from diffshare.provenance import code_revision, versions  # noqa: E402
from diffshare.sharer.poisoning.adaptive import bounded_allocations  # noqa: E402
from diffshare.stats.association import Reference, compare, log_odds_ratio  # noqa: E402
from diffshare.stats.calibration import Calibration  # noqa: E402
from diffshare.stats.detection import Tolerance, power  # noqa: E402
from diffshare.stats.information import contingency  # noqa: E402
from diffshare.stats.shares import GroupShares, counted_shares, unmixed_shares  # noqa: E402
from diffshare.stats.summary import t_interval  # noqa: E402
from diffshare.storage import write_json  # noqa: E402

ALPHA, LEVEL, RISK = 0.5, 0.05, 0.2
QUERIES = (500, 2000, 8000)
MARGINS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.4, 2.0, 12.0)
SIZES = {"adult": (8000, 4000), "faces": (1665, 1500)}  # records of the reference, of the training set
TEST = {"adult": 10000, "faces": 1500}


class Split:
    """One cut of all records."""

    def __init__(self, data: str, root: str, seed: int) -> None:
        source: Any = CelebA(f"{root}/faces", image_size=32) if data == "faces" else Adult(f"{root}/adult")
        records, target = open_records(source), "Young" if data == "faces" else "income"
        group = "Male" if data == "faces" else "sex"
        codes = [records.index.attribute(name).codes.astype(np.int64) for name in (group, target)]
        self.x, (self.s, self.y) = records.x, codes
        self.categorical: tuple[int, ...] = ()
        if data == "adult":
            kept = [i for i, column in enumerate(source.columns) if column.name != target]
            kinds = [source.columns[i].kind for i in kept]
            self.x = np.asarray(self.x)[:, kept]
            self.categorical = tuple(i for i, kind in enumerate(kinds) if kind == "categorical")
        self.recipe: Recipe = KernelRecipe(100) if data == "faces" else TreesRecipe(60)
        order = np.random.default_rng([seed, 1]).permutation(len(self.y))
        size, self.n = SIZES[data]
        self.reference, self.test, self.pool = np.split(order, [size, size + TEST[data]])
        self.table = self.counts(self.reference)
        self.seed = seed
        self.reader = None
        if data == "faces":
            mine = np.sort(self.reference)
            made = cross_fit(self.x[mine], self.s[mine], ("0", "1"), self.recipe, seed=seed)
            known, y = made.calibration, self.y[mine]
            assert known.groups is not None
            self.reader = [
                Calibration(known.scores[y == k], known.labels[y == k], known.groups[y == k]) for k in (0, 1)
            ]
            self.scores = np.zeros((known.folds, len(self.y), 2))
            rows = np.sort(self.pool)
            self.scores[:, rows] = made.scores(self.x[rows])

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """S x Y counts of these records."""
        return contingency(self.s[rows], self.y[rows], 2, 2)

    def chosen(self, margin: float, rng: np.random.Generator) -> np.ndarray:
        """A training set, the chosen half within the margin; margin 0 is a random one."""
        base = self.pool[: self.n - round(ALPHA * self.n)]
        rest = self.pool[len(base) :]
        additions = self.n - len(base)
        if not margin:
            return np.concatenate([base, rest[:additions]])
        odds = log_odds_ratio(self.counts(self.pool).astype(float))
        tables, _ = bounded_allocations(self.counts(base), self.counts(rest), additions, odds - margin, odds + margin)
        cells = self.s[rest] * 2 + self.y[rest]
        added = [rng.permutation(rest[cells == c])[:k] for c, k in enumerate(tables[0].ravel())]
        return np.concatenate([base, *added])

    def gap(self, chosen: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
        """Demographic parity gap and accuracy, on the test set, of a classifier trained on as many of each class."""
        rows = np.concatenate([rng.choice(chosen[self.y[chosen] == k], len(chosen) // 2) for k in (0, 1)])
        scorer = self.recipe.train(self.x[np.sort(rows)], self.y[np.sort(rows)], 2, self.seed, self.categorical)
        test = np.sort(self.test)
        said = scorer(self.x[test]).argmax(1)
        rates = [said[self.s[test] == g].mean() for g in (0, 1)]
        return float(abs(rates[1] - rates[0])), float((said == self.y[test]).mean())

    def shares(self, table: np.ndarray, queries: int, rng: np.random.Generator) -> GroupShares:
        """P(s|y) as the audit sees it in ``queries`` samples of a generator with this table, as many of each class."""
        counts = np.stack([rng.multinomial(queries // 2, table[:, k] / table[:, k].sum()) for k in (0, 1)], 1)
        if self.reader is None:
            return counted_shares(counts)
        scores = []
        for k in (0, 1):
            cells = [self.pool[(self.s[self.pool] == g) & (self.y[self.pool] == k)] for g in (0, 1)]
            rows = np.concatenate([rng.choice(cell, n) for cell, n in zip(cells, counts[:, k], strict=True)])
            scores.append(self.scores[:, rows])
        return unmixed_shares(self.reader, scores)


def one_split(data: str, root: str, seed: int, audits: int) -> list[dict[str, Any]]:
    """A row for each margin."""
    split, rng = Split(data, root, seed), np.random.default_rng([seed, 2])
    reference, pool = Reference(split.table), log_odds_ratio(split.counts(split.pool).astype(float))
    rows = []
    for margin in (0.0, *MARGINS):
        chosen = split.chosen(margin, rng)
        table = split.counts(chosen).astype(float)
        gap, accuracy = split.gap(chosen, np.random.default_rng([seed, 3]))
        row = {"seed": seed, "margin": margin, "difference": log_odds_ratio(table + 0.5) - pool, "gap": gap}
        row |= {"accuracy": accuracy, "flagged": {}, "least_alpha": {}}
        for queries in QUERIES:
            found = [compare(split.shares(table, queries, rng), reference)[0] for _ in range(audits)]
            row["flagged"][queries] = [one.difference.p_value(MARGIN) <= LEVEL for one in found]
            if not margin:
                able = power(
                    split.shares(table, queries, rng), reference, Tolerance(MARGIN), LEVEL, wanted=WANTED, power=POWER
                )
                row["least_alpha"][queries] = able.alpha
        rows.append(row)
    return rows


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean over the splits with its 95 % t interval."""
    return t_interval(list(values)).json()


def summarise(data: str, rows: Sequence[dict[str, Any]], audits: int) -> dict[str, Any]:
    """Sets by margin, and the curve."""
    clean = {row["seed"]: row["gap"] for row in rows if row["margin"] == 0}
    sets = []
    for margin in (0.0, *MARGINS):
        mine = [row for row in rows if row["margin"] == margin]
        sets.append({
            "margin": margin,
            "difference": interval([r["difference"] for r in mine]),
            "gap": interval([r["gap"] for r in mine]),
            "excess_gap": interval([r["gap"] - clean[r["seed"]] for r in mine]),
            "accuracy": interval([r["accuracy"] for r in mine]),
            "flagged": {str(q): float(np.mean([r["flagged"][q] for r in mine])) for q in QUERIES},
        })  # fmt: skip
    curve = []
    for queries in QUERIES:
        hidden = [one for one in sets if one["flagged"][str(queries)] <= RISK]
        best = max(hidden, key=lambda one: one["gap"]["mean"])
        alphas = [row["least_alpha"][queries] for row in rows if row["margin"] == 0]
        seen = [a for a in alphas if a is not None]
        curve.append({"queries": queries, "margin": best["margin"], "difference": best["difference"]["mean"],
                      "gap": best["gap"], "excess_gap": best["excess_gap"], "flagged": best["flagged"][str(queries)],
                      "least_alpha_detected": float(np.mean(seen)) if seen else None})  # fmt: skip
    return {"data": data, "splits": len(clean), "audits_a_set": audits, "training_records": SIZES[data][1],
            "reference_records": SIZES[data][0], "test_records": TEST[data],
            "group_read_by": "kernel machine" if data == "faces" else "column",
            "sets": sets, "curve": curve}  # fmt: skip


def show(summary: dict[str, Any]) -> None:
    """Both tables."""
    sets = Table("margin", "difference", "gap", "excess", "accuracy", *(f"flagged, {q}" for q in QUERIES),
                 title=f"{summary['data']}: sets by the sharer's margin")  # fmt: skip
    for one in summary["sets"]:
        low, high = one["excess_gap"]["interval"]
        sets.add_row(f"{one['margin']:g}", f"{one['difference']['mean']:+.2f}",
                     f"{one['gap']['mean']:.3f}", f"{one['excess_gap']['mean']:+.3f} ({low:+.3f} to {high:+.3f})",
                     f"{one['accuracy']['mean']:.3f}", *(f"{v:.2f}" for v in one["flagged"].values()))  # fmt: skip
    curve = Table("queries", "margin kept", "gap", "excess", "flagged", "least alpha detected",
                  title=f"largest gap that is flagged with a probability of at most {RISK}")  # fmt: skip
    for one in summary["curve"]:
        least = one["least_alpha_detected"]
        curve.add_row(str(one["queries"]), f"{one['margin']}", f"{one['gap']['mean']:.3f}",
                      f"{one['excess_gap']['mean']:+.3f}", f"{one['flagged']:.2f}",
                      "none" if least is None else f"{least:.2f}")  # fmt: skip
    for table in (sets, curve):
        Console(width=120).print(table)


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder with faces/ (CelebA's layout) and adult/")
    parser.add_argument("--data", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--audits", type=int, default=25, help="of each set and number of queries")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for data in options.data:
        started, rows = time.perf_counter(), []
        for seed in track(range(options.splits), data, console=Console(stderr=True)):
            rows += one_split(data, options.root, seed, options.audits)
        summary = summarise(data, rows, options.audits)
        show(summary)
        results.append(summary | {"seconds": round(time.perf_counter() - started, 1)})
        if options.json:
            command = f"python scripts/measure_adaptive.py --root DATA --splits {options.splits} --audits "
            about = {"command": f"{command}{options.audits} --json docs/results/adaptive.json"}
            about |= {"code": code_revision(), "versions": versions(), "seeds": [0, options.splits]}
            settings = {"alpha": ALPHA, "audit_margin": MARGIN, "level": LEVEL, "risk": RISK}
            write_json(options.json, about | {"settings": settings, "rows": results})


if __name__ == "__main__":
    main()
