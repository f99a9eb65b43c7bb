"""What does a receiver read off samples that were drawn to show a chosen share? On real faces in the place of a model.

Each split cuts the faces into the sharer's classifier records, the receiver's and a pool, disjoint. The model draws
from the pool, the property in a true share p; ``TargetShare`` accepts those that make it the chosen share, with the
sharer's classifiers, one that chooses and one that checks. The receiver reads both with his own, by every method.
``truth`` is the share among the accepted by the faces' own labels, which nobody but this script sees. All classifiers
are kernel machines.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.classifiers.gradients import gradient_histograms  # noqa: E402
from diffshare.classifiers.property import PropertyClassifier, cross_fit, stratified_folds  # noqa: E402
from diffshare.classifiers.recipes import KernelRecipe  # noqa: E402
from diffshare.data.cache import open_records  # noqa: E402
from diffshare.data.celeba import CelebA  # noqa: E402
from diffshare.errors import UserError  # noqa: E402
from diffshare.provenance import code_revision, versions  # noqa: E402
from diffshare.release.card import Card  # noqa: E402
from diffshare.release.generator import Ledger  # noqa: E402
from diffshare.sharer.protection.sampling import ClassifierReader, TargetShare  # noqa: E402
from diffshare.stats.prevalence import NAMES, Method, estimate  # noqa: E402
from diffshare.stats.summary import t_interval  # noqa: E402
from diffshare.storage import write_json  # noqa: E402

SHARES, CHOSEN, QUERIES, RECORDS = (0.1, 0.3, 0.7, 0.9), 0.5, 2000, 1665
ASIDE = 2  # one in so many of the sharer's records is for the classifier that checks, as the verb has it


class Drawn:
    """A model whose samples are records of the pool, by number: the property in a share p."""

    def __init__(self, p: float, with_it: np.ndarray, without: np.ndarray) -> None:
        self.card, self.ledger = Card("ddpm", "image", (), 1, image_size=32), Ledger()
        self.p, self.kinds = p, (without, with_it)

    def sample(self, labels: np.ndarray, indices: np.ndarray, **options: Any) -> np.ndarray:
        """Numbers of records, int64, n."""
        self.ledger.record(labels, len(labels), 0.0)
        made = []
        for index in indices.tolist():
            rng = np.random.default_rng([options["seed"], index])
            made.append(rng.choice(self.kinds[int(rng.random() < self.p)]))
        return np.array(made)


def looked_up(made: PropertyClassifier, features: np.ndarray) -> PropertyClassifier:
    """The classifier of records by number, all scored once."""
    tables = [scorer(features) for scorer in made.scorers]
    return replace(made, scorers=tuple(lambda rows, one=one: one[rows] for one in tables))


def one_split(features: np.ndarray, labels: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """A row for each true share."""
    order = np.random.default_rng([seed, 1]).permutation(len(labels))
    parts = np.split(order, [RECORDS, 2 * RECORDS])
    aside = stratified_folds(labels[parts[0]], ASIDE, np.random.default_rng([seed, 2])) == 0
    sharers, checker, receivers = (
        looked_up(
            cross_fit(
                features[rows], labels[rows], ("0", "1"), KernelRecipe(), seed=seed + 100 * number
            ),
            features,
        )
        for number, rows in enumerate((parts[0][~aside], parts[0][aside], parts[1]))
    )
    pool = parts[2]
    kinds = pool[labels[pool] == 1], pool[labels[pool] == 0]
    rows = []
    for p in SHARES:
        model = Drawn(p, *kinds)
        box = TargetShare(model, ClassifierReader(sharers), CHOSEN, ClassifierReader(checker))
        none, numbers = np.full(QUERIES, -1), np.arange(QUERIES)
        try:
            after = box.sample(none, numbers, seed=seed)
        # by the sharer's classifier the model (nearly) never or always makes the property
        except UserError:
            rows.append({"seed": seed, "p": p, "refused": True})
            continue
        asked = model.ledger.queries
        before = model.sample(none, numbers, seed=seed + 1000)
        read = {}
        for name, drawn in (("before", before), ("after", after)):
            scores = receivers.scores(drawn)
            read[name] = {
                m: float(estimate(cast(Method, m), receivers.calibration, scores)[1]) for m in NAMES
            }
            read[name]["truth"] = float(labels[drawn].mean())
        accuracy = {"sharer_accuracy": sharers.accuracy, "receiver_accuracy": receivers.accuracy}
        rows.append(
            {"seed": seed, "p": p, "candidates_a_sample": asked / QUERIES, **read, **accuracy}
        )
    return rows


def summarise(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Means over the splits, for each true share."""
    found = []
    for p in SHARES:
        every = [row for row in rows if row["p"] == p]
        mine = [row for row in every if "refused" not in row]
        one: dict[str, Any] = {"property": name, "p": p, "chosen": CHOSEN, "splits": len(every)}
        one["refused"] = len(every) - len(mine)
        found.append(one)
        if not mine:
            continue
        for when in ("before", "after"):
            one[when] = {
                m: t_interval([row[when][m] for row in mine]).json() for m in (*NAMES, "truth")
            }
        errors = [abs(row["after"]["pacc"] - CHOSEN) for row in mine]
        one["pacc_largest_error_to_chosen"] = max(errors)
        for key in ("candidates_a_sample", "sharer_accuracy", "receiver_accuracy"):
            one[key] = float(np.mean([row[key] for row in mine]))
    return found


def show(summary: list[dict[str, Any]]) -> None:
    """One table a property."""
    table = Table(
        "p",
        *NAMES,
        "truth",
        "candidates",
        title=f"{summary[0]['property']} shown as {CHOSEN}, read as",
    )
    for one in (one for one in summary if "after" in one):
        cells = [f"{one['after'][m]['mean']:.3f}" for m in (*NAMES, "truth")]
        table.add_row(f"{one['p']}", *cells, f"{one['candidates_a_sample']:.1f}")
    Console(width=120).print(table)


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="folder with faces/ in CelebA's layout")
    parser.add_argument("--properties", nargs="+", default=["Male", "Young"])
    parser.add_argument("--splits", type=int, default=6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    records = open_records(CelebA(f"{options.root}/faces", image_size=32))
    features, results = gradient_histograms(np.asarray(records.x)), []
    for name in options.properties:
        started, rows = time.perf_counter(), []
        labels = records.index.attribute(name).codes.astype(np.int64)
        for seed in track(range(options.splits), name, console=Console(stderr=True)):
            rows += one_split(features, labels, seed)
        results += summarise(rows, name)
        show(results[-len(SHARES) :])
        if options.json:
            command = f"python scripts/measure_target_share.py --root DATA --splits {options.splits} --properties "
            command += f"{' '.join(options.properties)} --json docs/results/target_share.json"
            about = {
                "command": command,
                "code": code_revision(),
                "versions": versions(),
                "seeds": [0, options.splits],
            }
            about |= {"settings": {"queries": QUERIES, "records": RECORDS, "chosen": CHOSEN}}
            about |= {"seconds": round(time.perf_counter() - started, 1)}
            write_json(options.json, about | {"rows": results})


if __name__ == "__main__":
    main()
