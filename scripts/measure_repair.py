"""What does repairing poisoned samples bring? On folders of real records, against the other options of a receiver.

Real records stand in for a generator that makes no mistakes. Of each seed a poisoned mix (alpha 0.5, group 1 favoured)
and the clean mix that it is paired with are chosen from a balanced pool. The receiver trains a classifier on either and
tests it on real records that neither holds, whose cells of group and class count alike. What the poisoned one's signed
gap is above the clean one's is the excess; a repair is to remove it. The group is read by classifiers that are
cross-fitted on the receiver's auxiliary records (estimated), or known (oracle: the upper bound).

``adult``: income without the columns that name the group (sex, relationship, marital-status); ``adult_columns``: with
all of them, so that the group is a column; ``faces``: rendered faces of 16 pixels, Smiling and Male.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.audits.poisoning.gap import weighed  # noqa: E402
from diffshare.audits.poisoning.reading import GroupReader, group_reader  # noqa: E402
from diffshare.audits.repair.decisions import constrained_decisions, thresholded_decisions  # noqa: E402
from diffshare.audits.repair.weights import accept, reweigh, wanted_shares  # noqa: E402
from diffshare.classifiers.gradients import gradient_histograms  # noqa: E402
from diffshare.classifiers.property import stratified_folds  # noqa: E402
from diffshare.classifiers.recipes import Recipe, Scorer, TreesRecipe  # noqa: E402
from diffshare.data.mixes import Clean  # noqa: E402
from diffshare.data.module import MixDataModule  # noqa: E402
from diffshare.data.rendered import RenderedFaces  # noqa: E402
from diffshare.data.source import PARTS, Attribute, split  # noqa: E402
from diffshare.data.table import Adult  # noqa: E402
from diffshare.provenance import code_revision, versions  # noqa: E402
from diffshare.receiver.records import Records  # noqa: E402
from diffshare.receiver.samples import CodedSamples  # noqa: E402
from diffshare.sharer.poisoning.mixes import Exact  # noqa: E402
from diffshare.stats.fairness import disparity  # noqa: E402
from diffshare.stats.reweighing import effective_size  # noqa: E402
from diffshare.stats.summary import paired_difference, t_interval  # noqa: E402
from diffshare.storage import read_json, write_json  # noqa: E402

ALPHA, FAVOURED, ROUNDS, FOLDS = 0.5, 1, 20, 5
HIDDEN = ("sex", "relationship", "marital-status")
SIZES = {"adult": 2000, "adult_columns": 2000, "faces": 1200}
FIXED = {"alpha": ALPHA, "favour": FAVOURED, "n": SIZES, "rounds": ROUNDS, "folds": FOLDS}
COMMAND = "python scripts/measure_repair.py --root DATA --json docs/results/repair.json"
NEEDS_GROUP = ("thresholds, oracle", "thresholds, estimated")  # of every record that is decided on


class Embedding:
    """Pixels and gradient histograms of images, as 100 principal components of those that it is fitted on."""

    def __init__(self, x: np.ndarray) -> None:
        self._pca = PCA(100, svd_solver="randomized", random_state=0, whiten=True).fit(self._raw(x))

    @staticmethod
    def _raw(x: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [x.reshape(len(x), -1).astype(np.float32) / 255, gradient_histograms(x)], 1
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Features, N x 100."""
        return self._pca.transform(self._raw(x))


class LinearRecipe(Recipe):
    """Logistic regression on the embedding: reads the group of faces in a moment."""

    def train(
        self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Sequence[int]
    ) -> Scorer:
        """Train; see :class:`Recipe`."""
        embed = Embedding(x)
        model = LogisticRegression(C=0.1, max_iter=500).fit(embed(x), labels)
        return lambda records: np.stack(
            [np.zeros(len(records)), model.decision_function(embed(records))], 1
        )


@dataclass(frozen=True)
class Rows:
    """Rows with class and group."""

    x: np.ndarray
    y: np.ndarray
    s: np.ndarray


@dataclass(frozen=True)
class Case:
    """What one seed of one setting consists of."""

    poisoned: Rows
    clean: Rows
    test: Rows
    reference: Records
    group: str
    seed: int

    @property
    def table(self) -> bool:
        """Rows, not images."""
        return bool(self.reference.columns)

    @cached_property
    def view(self) -> Callable[[np.ndarray], np.ndarray]:
        """Rows as the downstream classifier takes them: rows as they are, images embedded."""
        return (lambda x: x) if self.table else Embedding(self.poisoned.x)

    def classifier(self) -> Any:
        """The receiver's classifier, untrained."""
        if not self.table:
            return LogisticRegression(C=0.1, max_iter=500)
        return HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, categorical_features=list(self.reference.categorical()),
            early_stopping=False, random_state=self.seed,
        )  # fmt: skip

    def trained(self, on: Rows, weight: np.ndarray | None = None) -> Any:
        """The classifier, trained."""
        return self.classifier().fit(self.view(on.x), on.y, sample_weight=weight)

    def tested(self, on: Rows, weight: np.ndarray | None = None) -> dict[str, float]:
        """Outcome of the classifier that is trained on these records."""
        return outcome(self.trained(on, weight).predict(self.view(self.test.x)), self.test)

    def weighed(self, weights: np.ndarray) -> dict[str, float]:
        """Outcome of training on the poisoned records with weights, and what these do to the true groups."""
        sizes = [effective_size(weights[self.poisoned.y == k]) for k in (0, 1)]
        return self.tested(self.poisoned, weights) | {
            "size": sum(sizes),
            "share_error": self.share_error(weights),
        }

    def share_error(self, weights: np.ndarray) -> float:
        """How far the share of group 1 is off one half, in the class where it is further."""
        on = self.poisoned
        return max(
            abs(float(np.average(on.s[on.y == k], weights=weights[on.y == k])) - 0.5)
            for k in (0, 1)
        )

    def reader(
        self, *, oracle: bool, part: np.ndarray | None = None, other: int = 0
    ) -> GroupReader:
        """Of the group, by classifiers or known; by a part of the reference (bool, N) alone."""
        recipe = TreesRecipe(60) if self.table else LinearRecipe()
        known = self.reference if part is None else self.reference.part(part)
        return group_reader(
            known, self.group, column=oracle, recipe=recipe, folds=FOLDS, seed=self.seed + other
        )


def made_case(setting: str, root: str, seed: int) -> Case:
    """Choose both mixes and cut the parts; no record stands in two of them."""
    faces = setting == "faces"
    source: Any = (
        RenderedFaces(count=20000, image_size=16)
        if faces
        else Adult(f"{root}/adult", (0.9, 0.1, 0.0))
    )
    target, group = ("Smiling", "Male") if faces else ("income", "sex")
    n = SIZES[setting]
    modules = [
        MixDataModule(
            source, target, group, mix=mix, pool="balanced", validation_share=0.0, seed=seed
        )
        for mix in (Exact(ALPHA, n, favour=FAVOURED, refit=False), Clean(n))
    ]
    for module in modules:
        module.setup()
    whole = modules[0].records()
    mine = np.flatnonzero(split(whole.index, source.shares, seed) == PARTS.index("auxiliary"))
    rows = [module.sets["train"].rows for module in modules]
    test = modules[0].sets["test"]
    parts = [np.union1d(*rows), mine, test.rows]
    assert len(np.unique(np.concatenate(parts))) == sum(map(len, parts))
    hidden = {target, *(HIDDEN if setting == "adult" else ())}
    columns = () if faces else tuple(c for c in source.columns if c.name not in hidden)
    places = ... if faces else [i for i, c in enumerate(source.columns) if c.name not in hidden]

    def records(rows: np.ndarray, y: np.ndarray, s: np.ndarray) -> Rows:
        return Rows(whole.x[rows] if faces else whole.x[rows][:, places], y, s)

    poisoned, clean = (
        records(k.rows, k.target, k.sensitive) for k in (m.sets["train"] for m in modules)
    )
    y, s = whole.index.attribute(target), whole.index.attribute(group)
    known = records(mine, y.codes[mine].astype(np.int64), s.codes[mine])
    attribute = Attribute(s.codes[mine], s.classes)
    reference = Records.from_codes(
        known.x,
        {group: attribute, target: Attribute(y.codes[mine], y.classes)},
        columns=columns,
        target=target,
        sensitive=(group,),
    )
    return Case(
        poisoned, clean, records(test.rows, test.target, test.sensitive), reference, group, seed
    )


def outcome(decisions: np.ndarray, test: Rows) -> dict[str, float]:
    """Rates as on records with equal cells."""
    counts = np.zeros((2, 2, 2))
    np.add.at(counts, (test.s, test.y, decisions), 1)
    found, rates = disparity(weighed(counts, "balanced")), weighed(counts, "balanced")
    return {
        "gap": float(found.demographic_parity_difference_signed),
        "accuracy": float(found.accuracy),
        "worst_cell": float(np.diagonal(rates, axis1=1, axis2=2).min()),
    }


def repaired(case: Case, *, oracle: bool) -> dict[str, dict[str, float]]:
    """Outcome of each option, with the group known or read."""
    word = "oracle" if oracle else "estimated"
    on, test, known, view = case.poisoned, case.test, case.reference, case.view
    reader = case.reader(oracle=oracle)
    samples, equal = (
        CodedSamples(on.x, on.y, {case.group: on.s}, "", {}),
        wanted_shares(np.ones((2, 2)), "equal"),
    )
    repair = reweigh(reader, samples, equal)
    kept = accept(repair, on.y, np.random.default_rng([case.seed, 7]))
    inside = np.isin(np.arange(len(on.y)), kept).astype(float)
    asked = CodedSamples(test.x, test.y, {}, "", {})
    read, read_test = (
        (on.s, test.s) if oracle else (reader.scores(v).mean(0).argmax(1) for v in (samples, asked))
    )
    unrepaired = case.trained(on)
    of_known, of_test = (unrepaired.decision_function(view(x)) for x in (known.x, test.x))
    thresholds = thresholded_decisions(
        of_known, known.y, known.attributes[case.group].codes, of_test, read_test, seed=case.seed
    )
    constrained = constrained_decisions(
        case.classifier(), view(on.x), on.y, read, view(test.x), rounds=ROUNDS, seed=case.seed
    )
    about = {"weights_cut": repair.cut, "read_rightly": float((read == on.s).mean())}
    chosen = {"size": float(len(kept)), "share_error": case.share_error(inside)}
    found = {
        f"reweigh, {word}": case.weighed(repair.weights) | about,
        f"resample, {word}": case.tested(Rows(on.x[kept], on.y[kept], on.s[kept])) | chosen,
        f"thresholds, {word}": outcome(thresholds, test) | {"size": float(len(on.y))},
        f"constraint, {word}": outcome(constrained, test) | {"size": float(len(on.y))},
    }
    if not oracle:
        found["reweigh by mass, estimated"] = case.weighed(
            reweigh(reader, samples, equal, weights="mass").weights
        )
        found |= checked(case, samples, equal)
    return found


def checked(case: Case, samples: CodedSamples, wanted: np.ndarray) -> dict[str, dict[str, float]]:
    """Outcome of weights that a second reader checks, each reader from half of the reference."""
    on, known = case.poisoned, case.reference
    cells = known.attributes[case.group].codes.astype(np.int64) * 2 + known.y
    half = stratified_folds(cells, 2, np.random.default_rng([case.seed, 2])) == 0
    first, second = (
        case.reader(oracle=False, part=rows, other=100 * i) for i, rows in enumerate((half, ~half))
    )
    repair = reweigh(first, samples, wanted, weights="checked", checker=second)
    kept = accept(repair, on.y, np.random.default_rng([case.seed, 7]))
    inside = np.isin(np.arange(len(on.y)), kept).astype(float)
    chosen = {"size": float(len(kept)), "share_error": case.share_error(inside)}
    return {
        "reweigh checked, estimated": case.weighed(repair.weights) | {"weights_cut": repair.cut},
        "resample checked, estimated": case.tested(Rows(on.x[kept], on.y[kept], on.s[kept]))
        | chosen,
    }


def one_seed(setting: str, root: str, seed: int) -> dict[str, dict[str, float]]:
    """Outcome of every option."""
    case = made_case(setting, root, seed)
    known, n = case.reference, {"size": float(len(case.poisoned.y))}
    s = known.attributes[case.group].codes.astype(np.int64)
    equal = 1 / known.table(known.attributes[case.group])[s, known.y]
    own = case.tested(Rows(known.x, known.y, s), equal / equal.mean())
    rows = {"clean": case.tested(case.clean) | n, "no repair": case.tested(case.poisoned) | n}
    rows["auxiliary records alone"] = own | {"size": effective_size(equal)}
    if setting != "adult_columns":
        rows |= repaired(case, oracle=False)
    return rows | repaired(case, oracle=True)


def summarise(setting: str, seeds: dict[str, dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """A row for each option: means with t intervals over seeds; differences are paired."""
    runs = list(seeds.values())
    column = lambda name, key: [run[name].get(key) for run in runs]  # noqa: E731
    before, clean = column("no repair", "gap"), column("clean", "gap")
    summary = []
    for name in runs[0]:
        gone = [
            100 * (b - g) / (b - c)
            for b, g, c in zip(before, column(name, "gap"), clean, strict=True)
        ]
        accuracy = column(name, "accuracy")
        row = {
            "setting": setting,
            "option": name,
            "needs_group_to_decide": name in NEEDS_GROUP,
            "seeds": len(runs),
        }
        row |= {
            key: t_interval(column(name, key)).json()
            for key in ("gap", "accuracy", "worst_cell", "size")
        }
        row["excess_gap_gone_percent"] = t_interval(gone).json()
        row["accuracy_loss_to_no_repair"] = paired_difference(
            column("no repair", "accuracy"), accuracy
        ).json()
        row["accuracy_loss_to_clean"] = paired_difference(
            column("clean", "accuracy"), accuracy
        ).json()
        told = [
            key for key in ("share_error", "weights_cut", "read_rightly") if key in runs[0][name]
        ]
        summary.append(row | {key: t_interval(column(name, key)).json() for key in told})
    return summary


def show(summary: Sequence[dict[str, Any]]) -> None:
    """The summary as a table."""
    table = Table("option", "gap", "excess gone, %", "accuracy", "loss, points", "effective size", "worst cell",
                  title=f"{summary[0]['setting']}: {summary[0]['seeds']} seeds, 95 % intervals over seeds")  # fmt: skip
    for row in summary:
        gap, accuracy, worst = (_text(row[key], ".3f") for key in ("gap", "accuracy", "worst_cell"))
        gone, size = _text(row["excess_gap_gone_percent"], ".0f"), f"{row['size']['mean']:.0f}"
        loss = _text(row["accuracy_loss_to_no_repair"], ".1f", 100)
        table.add_row(row["option"], gap, gone, accuracy, loss, size, worst)
    Console(width=150).print(table)


def _text(value: dict[str, Any], form: str, scale: float = 1) -> str:
    ends = value["interval"] or ()
    return f"{scale * value['mean']:{form}}" + (
        f" [{', '.join(f'{scale * v:{form}}' for v in ends)}]" if ends else ""
    )


def main() -> None:
    """Parse, measure, print, write; seeds that the file already holds are kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="folder with adult/")
    parser.add_argument("--settings", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(6)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    held = read_json(options.json)["runs"] if options.json and options.json.is_file() else {}
    for setting in options.settings:
        runs = held.setdefault(setting, {})
        for seed in (seed for seed in options.seeds if str(seed) not in runs):
            started = time.process_time()
            runs[str(seed)] = one_seed(setting, options.root, seed)
            print(
                f"{setting}, seed {seed}: {time.process_time() - started:.1f} s of CPU",
                file=sys.stderr,
                flush=True,
            )
            if options.json:
                rows = [row for name, found in held.items() for row in summarise(name, found)]
                about = {"command": COMMAND, "code": code_revision(), "versions": versions()}
                about |= {
                    "seeds": sorted(map(int, runs)),
                    "settings": FIXED,
                    "rows": rows,
                    "runs": held,
                }
                write_json(options.json, about)
        show(summarise(setting, runs))


if __name__ == "__main__":
    main()
