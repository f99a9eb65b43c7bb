"""How good the rows of a tabular model of Adult are: use, marginals, correlations, speed.

Use: a gradient-boosting classifier trained on synthetic rows and tested on ``adult.test``, against one trained on the
real rows that the model was trained on, as many; the model is trained several times. Marginals:
total variation of each column (numbers in 20 bins of equal mass of the training rows).
Correlations: each pair of columns has one number in 0..1 (Spearman's, Cramer's V or the correlation
ratio), and the difference to the training rows is reported. Both stand beside what a fresh draw of
the same population gives: the auxiliary part of ``adult.data``, as many rows.
"""

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, f1_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.cli import main as diffshare  # noqa: E402
from diffshare.data.module import MixDataModule  # noqa: E402
from diffshare.data.table import Column  # noqa: E402
from diffshare.generators.families import open_generator  # noqa: E402
from diffshare.provenance import code_revision, versions  # noqa: E402
from diffshare.receiver.sampling import draw_samples  # noqa: E402
from diffshare.release.generator import plan_labels  # noqa: E402
from diffshare.release.table import TableGenerator  # noqa: E402
from diffshare.settings import read_yaml  # noqa: E402
from diffshare.storage import write_json  # noqa: E402

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
BINS = 20


def source_rows(
    generator: TableGenerator, columns: tuple[Column, ...], labels: str, count: int, seed: int
) -> np.ndarray:
    """Samples in the codes of the source, float32, count x columns."""
    x = draw_samples(generator, plan_labels(labels, count, generator.card), seed=seed)
    for i, (mine, theirs) in enumerate(zip(generator.schema.columns, columns, strict=True)):
        if mine.kind == "categorical":
            codes = np.array([theirs.categories.index(text) for text in mine.categories])
            x[:, i] = codes[x[:, i].astype(int)]
    return x


def use(
    train: np.ndarray, test: np.ndarray, columns: tuple[Column, ...], target: int, seed: int
) -> dict[str, float]:
    """Macro-F1 and accuracy on the test rows."""
    categorical = [column.kind == "categorical" for i, column in enumerate(columns) if i != target]
    model = HistGradientBoostingClassifier(categorical_features=categorical, random_state=seed)
    model.fit(np.delete(train, target, 1), train[:, target])
    made, truth = model.predict(np.delete(test, target, 1)), test[:, target]
    return {
        "macro_f1": float(f1_score(truth, made, average="macro")),
        "accuracy": float(accuracy_score(truth, made)),
    }


def binned(x: np.ndarray, columns: tuple[Column, ...], reference: np.ndarray) -> list[np.ndarray]:
    """Each column as bin or category numbers."""
    made = []
    for i, column in enumerate(columns):
        edges = np.unique(np.quantile(reference[:, i], np.linspace(0, 1, BINS + 1)[1:-1]))
        made.append(
            x[:, i].astype(int) if column.kind == "categorical" else np.searchsorted(edges, x[:, i])
        )
    return made


def total_variation(a: np.ndarray, b: np.ndarray) -> float:
    """Half the sum of the absolute differences of two columns' shares."""
    size = int(max(a.max(), b.max())) + 1
    shares = [np.bincount(v, minlength=size) / len(v) for v in (a, b)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def associations(x: np.ndarray, columns: tuple[Column, ...]) -> np.ndarray:
    """One number in 0..1 for each pair of columns."""
    ranks = [
        stats.rankdata(x[:, i]) if c.kind == "numeric" else x[:, i].astype(int)
        for i, c in enumerate(columns)
    ]
    found = []
    for i in range(len(columns)):
        for j in range(i):
            kinds = columns[i].kind, columns[j].kind
            if kinds == ("numeric", "numeric"):
                found.append(abs(np.corrcoef(ranks[i], ranks[j])[0, 1]))
            elif kinds == ("categorical", "categorical"):
                found.append(cramers_v(ranks[i], ranks[j]))
            else:
                number, group = (
                    (ranks[i], ranks[j]) if kinds[0] == "numeric" else (ranks[j], ranks[i])
                )
                found.append(correlation_ratio(number, group))
    return np.array(found)


def cramers_v(a: np.ndarray, b: np.ndarray) -> float:
    """Cramer's V of two columns of codes."""
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    return float(
        np.sqrt(((table - expected) ** 2 / expected).sum() / table.sum() / (min(table.shape) - 1))
    )


def correlation_ratio(number: np.ndarray, group: np.ndarray) -> float:
    """Share of a number's deviation that lies between groups, as a square root."""
    n, total = np.bincount(group), np.bincount(group, number)
    means = np.divide(total, n, out=np.zeros(len(n)), where=n > 0)
    return float(
        np.sqrt((n * (means - number.mean()) ** 2).sum() / ((number - number.mean()) ** 2).sum())
    )


def interval(values: list[float]) -> dict[str, Any]:
    """Mean and its 95 % interval over the seeds (Student's t)."""
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    mean = float(np.mean(values))
    return {"mean": round(mean, 4), "interval": [round(mean - half, 4), round(mean + half, 4)]}


def fit(config: Path, root: Path, folder: Path, seed: int, *, fitted: bool) -> tuple[float, float]:
    """Train in that folder; seconds, and seconds of processors, which other work beside it does not change."""
    started, worked = time.perf_counter(), time.process_time()
    options = [
        "--data.source.root",
        root,
        "--seed_everything",
        seed,
        "--trainer.enable_progress_bar",
        "false",
    ]
    options += ["--model.bounds", "null"] if fitted else []
    if diffshare(["fit", "--config", *map(str, [config, *options, "--run-dir", folder])]):
        raise SystemExit("the training failed")
    return time.perf_counter() - started, time.process_time() - worked


def data_of(config: Path, root: Path) -> MixDataModule:
    """The data module of the config."""
    parser = ArgumentParser()
    parser.add_subclass_arguments(MixDataModule, "data")
    block = read_yaml(config)["data"]
    block["init_args"]["source"]["init_args"]["root"] = str(root)
    return parser.instantiate(parser.parse_object({"data": block})).data


def measure(config: Path, root: Path, runs: list[Path], seeds: list[int]) -> dict[str, Any]:
    """All figures: each use is a mean over the sampling seeds of a training, its interval one over trainings."""
    data = data_of(config, root)
    data.setup()
    columns = data.source.columns  # type: ignore[attr-defined]
    target = [column.name for column in columns].index(data.target)
    train, test = (part.x[part.rows] for part in (data.sets["train"], data.sets["test"]))
    auxiliary = data_of(config, root)
    auxiliary.part, auxiliary.validation_share = "auxiliary", 0.0
    auxiliary.setup()
    fresh = auxiliary.sets["train"].x[auxiliary.sets["train"].rows][: len(train)]

    generators: list[Any] = [open_generator(run / "release")[0] for run in runs]
    assert all(isinstance(generator, TableGenerator) for generator in generators)
    started = time.perf_counter()
    draw_samples(generators[0], plan_labels("natural", 30_000, generators[0].card), seed=0)
    seconds = time.perf_counter() - started

    figures: dict[str, Any] = {"train_rows": len(train), "test_rows": len(test)}
    figures["sample_30000_seconds"] = round(seconds, 1)
    real = [use(train, test, columns, target, seed) for seed in seeds]
    known, truth = binned(train, columns, train), associations(train, columns)

    def fidelity(x: np.ndarray) -> dict[str, Any]:
        parts = zip(binned(x, columns, train), known, columns, strict=True)
        apart = {column.name: round(total_variation(a, b), 4) for a, b, column in parts}
        off = np.abs(associations(x, columns) - truth)
        worst = max(apart, key=lambda name: apart[name])
        return {
            "total_variation_max": apart[worst], "total_variation_worst": worst,
            "total_variation_mean": round(float(np.mean(list(apart.values()))), 4), "total_variation": apart,
            "association_error_mean": round(float(off.mean()), 4), "association_error_max": round(float(off.max()), 4),
        }  # fmt: skip

    for name in ("macro_f1", "accuracy"):
        figures[f"real_{name}"] = interval([r[name] for r in real])
    for labels in ("natural", "none"):
        uses: dict[str, list[float]] = {"macro_f1": [], "accuracy": [], "macro_f1_lost": []}
        first = []
        for generator in generators:
            rows = [source_rows(generator, columns, labels, len(train), seed) for seed in seeds]
            made = [
                use(x, test, columns, target, seed) for x, seed in zip(rows, seeds, strict=True)
            ]
            for name in ("macro_f1", "accuracy"):
                uses[name].append(float(np.mean([m[name] for m in made])))
            lost = [r["macro_f1"] - m["macro_f1"] for r, m in zip(real, made, strict=True)]
            uses["macro_f1_lost"].append(float(np.mean(lost)))
            first.append(
                fidelity(rows[0]) | {"share_of_training_rows_repeated": repeated(rows[0], train)}
            )
        figures[labels] = {name: interval(values) for name, values in uses.items()}
        figures[labels]["by_training"] = [
            {name: round(values[i], 4) for name, values in uses.items()} | first[i]
            for i in range(len(runs))
        ]
    figures["fresh_real_rows"] = fidelity(fresh) | {
        "share_of_training_rows_repeated": repeated(fresh, train)
    }
    return figures


def repeated(x: np.ndarray, train: np.ndarray) -> float:
    """Share of rows that equal a training row in every cell."""
    known = {row.tobytes() for row in np.ascontiguousarray(train)}
    return round(float(np.mean([row.tobytes() in known for row in np.ascontiguousarray(x)])), 4)


def command(options: argparse.Namespace) -> str:
    """The command as one types it in a clone, the folder of the data left open."""
    words = ["python scripts/measure_tabular.py --root ADULT_FOLDER"]
    if options.config.stem != "tabular_adult":
        words.append(f"--config configs/{options.config.name}")
    words += ["--fitted-bounds"] if options.fitted_bounds else []
    words += [f"--json docs/results/{options.json.name}"] if options.json else []
    return " ".join(words)


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--root", type=Path, required=True, help="folder with adult.data and adult.test"
    )
    parser.add_argument(
        "--config", type=Path, default=CONFIGS / "tabular_adult.yaml", help="of the model"
    )
    parser.add_argument(
        "--run", type=Path, nargs="+", help="finished runs of the config; trained where left out"
    )
    parser.add_argument(
        "--trainings", type=int, default=3, help="training seeds 0..N-1, at least 2"
    )
    parser.add_argument(
        "--fitted-bounds",
        action="store_true",
        help="fit the numbers' bounds to the records instead",
    )
    parser.add_argument("--seeds", type=int, default=5, help="sampling and boosting seeds 0..N-1")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        runs, trained = options.run, []
        if runs is None:
            runs = [Path(temporary) / str(seed) for seed in range(options.trainings)]
            trained = [
                fit(options.config, options.root, run, seed, fitted=options.fitted_bounds)
                for seed, run in enumerate(runs)
            ]
        figures = measure(options.config, options.root, runs, list(range(options.seeds)))
    steps = read_yaml(options.config)["trainer"]["max_steps"]
    head: dict[str, Any] = {
        "command": command(options),
        "code": code_revision(),
        "versions": versions(),
    }
    head |= {"trainings": len(runs), "seeds": options.seeds, "training_steps": steps}
    for name, values in zip(
        ("training_seconds", "training_processor_seconds"), zip(*trained, strict=True), strict=False
    ):
        head[name] = round(float(np.mean(values)), 1)
    figures = head | figures
    for key, value in figures.items():
        print(f"{key}: {value}")
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
