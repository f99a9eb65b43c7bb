"""What delta, n and the pool do to a poisoned set, by policy: rendered faces, principal components, one critic a seed.

python scripts/ablate_selection.py [--seeds 5] [--json FILE]

Every row starts from the same setting (balanced pool, n 1,200, alpha 0.5, delta 0.1 relative) and changes one thing.
Of one seed all policies have the same pool, features, frozen critic and base. The paper's algorithm, which takes
minutes for larger sets, is there at n 400 alone. Intervals are Student's over the seeds.
"""

import argparse
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.data.mixes import Clean, Mix, Pool
from diffshare.data.module import MixDataModule
from diffshare.data.rendered import RenderedFaces
from diffshare.provenance import code_revision, versions
from diffshare.sharer.poisoning.critic import CriticFit, FittedCritic
from diffshare.sharer.poisoning.features import PCA
from diffshare.sharer.poisoning.mixes import Exact, Flipped, Greedy, Paper, RandomReplacement
from diffshare.stats.summary import t_interval
from diffshare.storage import write_json

START: dict[str, Any] = {"pool": "balanced", "n": 1200, "delta": 0.1}
CHANGES: list[dict[str, Any]] = [
    {},
    {"delta": 0.001},
    {"delta": 0.01},
    {"delta": 1.0},
    {"n": 400},
    {"n": 400, "delta": 0.01},
    {"n": 4000},
    {"pool": "natural"},
    {"pool": "natural", "n": 400},
    {"pool": "natural", "n": 4000},
]
SLOW_FROM = 1000  # the paper's algorithm is left out for sets of this size
FIELDS = (
    "information_sy",
    "association",
    "distance",
    "steps_outside",
    "exhausted",
    "refit_held_out",
    "seconds",
)


class Kept:
    """Computes once for each key."""

    def __init__(self) -> None:
        self.known: dict[Any, Any] = {}

    def get(self, key: Any, compute: Any) -> Any:
        """What ``compute()`` gave when the key was first asked for."""
        if key not in self.known:
            self.known[key] = compute()
        return self.known[key]


KEPT = Kept()


class KeptPCA(PCA):
    """The same components for every policy."""

    def compute(self, pool: Pool, seed: int) -> np.ndarray:
        """See :class:`PCA`."""
        names = hashlib.sha256("\n".join(pool.index.names.tolist()).encode()).hexdigest()
        return KEPT.get((names, seed), lambda: super(KeptPCA, self).compute(pool, seed))


class KeptCritic(CriticFit):
    """The same frozen critic for every policy."""

    def fit(
        self, features: np.ndarray, target: np.ndarray, classes: int, seed: int
    ) -> FittedCritic:
        """See :class:`CriticFit`."""
        key = (hashlib.sha256(features.tobytes()).hexdigest(), seed)
        return KEPT.get(key, lambda: super(KeptCritic, self).fit(features, target, classes, seed))


def policies(n: int, delta: float) -> Iterator[tuple[str, Mix]]:
    """The mixes to compare."""
    shared: dict[str, Any] = {"delta": delta, "features": KeptPCA(64), "critic": KeptCritic()}
    yield "clean", Clean(n)
    yield "greedy", Greedy(0.5, n, **shared)
    yield "exact", Exact(0.5, n, **shared)
    if n < SLOW_FROM:
        yield "paper", Paper(0.5, n, **shared)
    yield "flipped", Flipped(0.5, n)
    yield "random", RandomReplacement(0.5, n)


def measure(mix: Mix, pool: str, seed: int, cache: Path) -> dict[str, float | None]:
    """What came of one mix."""
    source = RenderedFaces(count=20_000, image_size=16)
    module = MixDataModule(source, "Smiling", "Male", mix, pool=pool, seed=seed, cache_dir=cache)  # type: ignore[arg-type]
    summary: dict[str, Any] = module.chosen_mix().summary()
    counts, xy = summary["counts"], summary["mutual_information_xy"]
    shares = [counts[f"s1y{y}"] / max(1, counts[f"s0y{y}"] + counts[f"s1y{y}"]) for y in (0, 1)]
    known = xy["chosen"] is not None
    return {
        "information_sy": summary["mutual_information_sy"],
        "association": abs(shares[1] - shares[0]),
        "pool_xy": xy["pool"],
        "distance": abs(xy["chosen"] - xy["pool"]) / xy["tolerance"] if known else None,
        "steps_outside": summary["violations"] if known else None,
        "exhausted": summary["exhausted"] if known else None,
        "refit_held_out": xy["chosen_refit_held_out"] if known else None,
        "pool_held_out": xy["pool_held_out"] if known else None,
        "pool_n": summary["pool_n"],
        "seconds": summary["seconds"],
    }


def ablate(seeds: Sequence[int], cache: Path) -> list[dict[str, Any]]:
    """One row a setting and policy."""
    rows = []
    for change in CHANGES:
        setting = START | change
        for name, _ in policies(setting["n"], setting["delta"]):
            found = []
            for seed in seeds:
                mix = dict(policies(setting["n"], setting["delta"]))[name]
                found.append(measure(mix, setting["pool"], seed, cache))
            fields = {key: [each[key] for each in found] for key in found[0]}
            row = {
                key: t_interval(values).json()
                for key, values in fields.items()
                if values[0] is not None
            }
            # the first policy fits the critic
            row["seconds"] = {"median": float(np.median(fields["seconds"]))}
            rows.append(
                {**setting, "policy": name, "alpha": 0.0 if name == "clean" else 0.5, **row}
            )
            print(".", end="", flush=True)
    print()
    return rows


def table_of(rows: Sequence[dict[str, Any]]) -> Table:
    """The rows for the terminal."""
    table = Table(title="means over seeds")
    for column in ("pool", "n", "delta", "policy", *FIELDS):
        table.add_column(column, justify="left" if column in ("pool", "policy") else "right")
    for row in rows:
        cells = [row["pool"], str(row["n"]), f"{row['delta']:g}", row["policy"]]
        for field in FIELDS:
            value = row.get(field)
            cells.append("" if value is None else f"{value.get('mean', value.get('median')):.4g}")
        table.add_row(*cells)
    return table


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0..N-1")
    parser.add_argument("--json", type=Path, default=None, help="write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = list(range(options.seeds))
    cache = Path(tempfile.mkdtemp())
    try:
        rows = ablate(seeds, cache)
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    Console(width=160).print(table_of(rows))
    if options.json:
        head = {
            "command": "python scripts/ablate_selection.py --json docs/results/selection_ablation.json"
        }
        head |= {"code": code_revision(), "versions": versions(), "seeds": seeds, "level": 0.95}
        write_json(options.json, head | {"rows": rows})


if __name__ == "__main__":
    main()
