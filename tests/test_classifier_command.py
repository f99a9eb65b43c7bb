"""The receiver's classifier on the command line: fit on samples, test on real records, the results as agreed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from celeba_folder import make_celeba

from diffshare.data.module import MixDataModule
from diffshare.data.rendered import RenderedFaces
from diffshare.data.table import Adult
from diffshare.release.samples import write_samples
from diffshare.stats.fairness import disparity, group_rates

CONFIGS = Path(__file__).parent.parent / "configs"
QUICK = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
FIT = ["--trainer.max_steps", 3, "--data.batch_size", 8, *QUICK]
CELEBA = ["--config", CONFIGS / "classifier_celeba.yaml", "--model.network.width", 8, *FIT]
BY_GROUP = ["n", "accuracy", "selection_rate", "tpr", "fpr"]
Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples, a CelebA folder and a source file that names it."""
    folder = tmp_path_factory.mktemp("receiver")
    make_celeba(folder / "celeba")
    x = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), dtype=np.uint8)
    write_samples(folder / "samples", x, np.arange(64) % 2, {})
    source = {
        "class_path": "diffshare.data.celeba.CelebA",
        "init_args": {"root": str(folder / "celeba")},
    }
    (folder / "source.yaml").write_text(yaml.safe_dump(source))
    return folder


@pytest.fixture(scope="module")
def samples(place: Path) -> list[Any]:
    """Arguments that name them."""
    source = ["--data.test_source", place / "source.yaml", "--data.test_source.image_size", 16]
    return ["--data.samples", place / "samples", *source]


@pytest.fixture(scope="module")
def run(run_cli: Cli, place: Path, samples: list[Any]) -> Path:
    """A run that was trained and tested."""
    folder = place / "run"
    for arguments in (["fit", *CELEBA, *samples], ["test", *QUICK]):
        outcome = run_cli(*arguments, "--run-dir", folder)
        assert outcome.code == 0, outcome.err
    return folder


def check_results(folder: Path, n: int, groups: int = 2, classes: int = 2) -> dict[str, Any]:
    """The results of a test: the agreed fields, each as the counts say."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    counts = np.array(results["counts"])
    assert counts.shape == (groups, classes, classes)
    assert counts.dtype == np.int64
    assert counts.sum() == n
    overall, rates = disparity(counts), group_rates(counts)
    for name in ("accuracy", "demographic_parity_difference", "equalized_odds_difference"):
        assert results[name] == pytest.approx(float(getattr(overall, name)), rel=1e-12), name
    assert list(results["by_group"]) == [str(s) for s in range(groups)]
    for s, row in enumerate(results["by_group"].values()):
        assert list(row) == BY_GROUP
        for name, value in row.items():
            rate = float(getattr(rates, name)[s])
            assert value == (None if np.isnan(rate) else pytest.approx(rate, rel=1e-12)), name
    return results


def test_fit_then_test_gives_the_agreed_results(run):
    check_results(run, n=12)
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert not (run / "release").exists()
    assert list(run.glob("events.out.tfevents.*"))


def test_the_config_of_the_run_holds_the_source_file_s_content(run, place):
    given = yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["test_source"]
    assert given["class_path"] == "diffshare.data.celeba.CelebA"
    assert given["init_args"]["root"] == str(place / "celeba")
    assert given["init_args"]["image_size"] == 16


def test_a_test_repeats_to_the_bit(run_cli, run):
    before = (run / "results.json").read_bytes()
    assert run_cli("test", *QUICK, "--run-dir", run).code == 0
    assert (run / "results.json").read_bytes() == before


def test_other_records_can_be_tested_on(run_cli, run, place, samples, tmp_path):
    """The same weights on other attributes of other records, without training again."""
    faces = {
        "class_path": "diffshare.data.rendered.RenderedFaces",
        "init_args": {"count": 90, "image_size": 16},
    }
    (tmp_path / "faces.yml").write_text(yaml.safe_dump(faces))
    kept = (run / "results.json").read_bytes()
    roles = ["--data.target", "Hat", "--data.sensitive", "Young", "--data.test_balance", "true"]
    source = [f"--data.test_source={tmp_path / 'faces.yml'}", "--data.samples", place / "samples"]
    checkpoint = ["--ckpt_path", run / "checkpoints" / "last.ckpt"]
    outcome = run_cli(
        "test", *CELEBA, *source, *roles, *checkpoint, "--run-dir", tmp_path / "other"
    )
    assert outcome.code == 0, outcome.err
    results = json.loads((tmp_path / "other" / "results.json").read_text())
    assert len({sum(map(sum, group)) for group in results["counts"]}) == 1
    assert (run / "results.json").read_bytes() == kept


def test_the_paper_s_network_is_one_word_away_at_its_size(run_cli, samples, place, tmp_path):
    lenet = ["--model.network", "diffshare.nets.classifiers.LeNet"]
    config = ["--config", CONFIGS / "classifier_celeba.yaml", *FIT, *lenet, *samples]
    refused = run_cli("fit", *config, "--run-dir", tmp_path / "small")
    assert refused.code == 2
    assert "these have 16 x 16: set the source's image_size to 32" in refused.err
    assert not (tmp_path / "small" / "release").exists()
    x = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    write_samples(tmp_path / "samples", x, np.arange(64) % 2, {})
    sized = ["--data.samples", tmp_path / "samples", "--data.test_source.image_size", 32]
    outcome = run_cli("fit", *config, *sized, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "0.05 M parameters" in outcome.out


def test_the_callback_can_be_set(run_cli, run, samples, tmp_path):
    callback = {
        "class_path": "diffshare.audits.fairness.Fairness",
        "init_args": {"positive": 0, "min_group": 3},
    }
    (tmp_path / "fairness.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [callback]}}))
    arguments = [
        *CELEBA,
        "--config",
        tmp_path / "fairness.yaml",
        *samples,
        "--run-dir",
        tmp_path / "run",
    ]
    outcome = run_cli("test", *arguments, "--ckpt_path", run / "checkpoints" / "last.ckpt")
    assert outcome.code == 0, outcome.err
    found, other = (
        json.loads((folder / "results.json").read_text()) for folder in (tmp_path / "run", run)
    )
    assert found["counts"] == other["counts"]
    for group, row in found["by_group"].items():
        assert row["selection_rate"] == pytest.approx(
            1 - other["by_group"][group]["selection_rate"]
        )
        assert found["intervals"]["by_group"][group]["accuracy"] is not None
        assert other["intervals"]["by_group"][group]["accuracy"] is None


def test_a_classifier_is_trained_on_a_mix_directly(run_cli, tmp_path):
    source = {
        "class_path": "diffshare.data.rendered.RenderedFaces",
        "init_args": {"count": 400, "image_size": 16},
    }
    data = {
        "source": source,
        "target": "Young",
        "sensitive": "Male",
        "batch_size": 8,
        "eval_batch_size": 50,
    }
    overlay = {"data": {"class_path": "diffshare.data.module.MixDataModule", "init_args": data}}
    (tmp_path / "direct.yaml").write_text(yaml.safe_dump(overlay))
    configs = [
        *CELEBA,
        "--config",
        tmp_path / "direct.yaml",
        "--config",
        CONFIGS / "mix" / "flipped.yaml",
    ]
    mix = ["--data.mix.n", 100, "--data.mix.alpha", 0.5]
    outcome = run_cli(
        "fit", *configs, *mix, "--trainer.val_check_interval", 2, "--run-dir", tmp_path / "run"
    )
    assert outcome.code == 0, outcome.err
    outcome = run_cli("test", *QUICK, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    expected = MixDataModule(RenderedFaces(count=400, image_size=16), "Young", "Male")
    expected.setup()
    results = check_results(tmp_path / "run", n=len(expected.sets["test"]))
    cells = np.bincount(
        expected.sets["test"].sensitive * 2 + expected.sets["test"].target, minlength=4
    )
    assert np.array(results["counts"]).sum(2).ravel().tolist() == cells.tolist()


# --- tables ----------------------------------------------------------------------------------------------------------


def adult_rows(n: int, seed: int) -> list[list[str]]:
    """Rows in Adult's layout: the income follows the hours, and women work fewer."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        man = int(rng.integers(2))
        hours = int(np.clip(rng.normal(38 + 4 * man, 10), 1, 99))
        rich = hours + rng.normal(0, 3) > 42
        land = ("Cuba", "Peru", "?")[rng.integers(3)]
        rows.append(
            [
                str(rng.integers(17, 90)),
                "Private",
                str(rng.integers(20000, 90000)),
                "Bachelors",
                "13",
                "Divorced",
            ]
            + ["Sales", "Unmarried", "White", ("Female", "Male")[man], "0", "0", str(hours), land]
            + [("<=50K", ">50K")[int(rich)]]
        )
    return rows


@pytest.fixture(scope="module")
def adult(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Adult's two files, and beside it synthetic rows of the same kind."""
    folder = tmp_path_factory.mktemp("adult")
    for name, n, dot in (("data", 200, ""), ("test", 120, ".")):
        lines = [", ".join(row) + dot for row in adult_rows(n, seed=n)]
        (folder / f"adult.{name}").write_text("\n".join(lines) + "\n")
    (folder / "samples").mkdir()
    lines = [",".join(row) for row in [list(Adult.SCHEMA), *adult_rows(400, seed=1)]]
    (folder / "samples" / "samples.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_synthetic_rows_train_a_classifier_of_real_ones(run_cli, adult, tmp_path):
    config = ["--config", CONFIGS / "classifier_adult.yaml", "--data.test_source.root", adult]
    steps = [
        "--trainer.max_steps",
        60,
        "--data.batch_size",
        64,
        "--trainer.val_check_interval",
        3,
        *QUICK,
    ]
    arguments = [
        *config,
        "--data.samples",
        adult / "samples",
        *steps,
        "--model.withhold",
        "[fnlwgt]",
    ]
    outcome = run_cli("fit", *arguments, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    outcome = run_cli("test", *QUICK, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    results = check_results(tmp_path / "run", n=120)
    assert results["accuracy"] > 0.75
    assert results["demographic_parity_difference_signed"] > 0


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(run_cli: Cli, tmp_path: Path) -> Callable[..., str]:
    """Run a command that must be refused; gives its one line. A fit leaves no folder."""

    def check(*arguments: object) -> str:
        outcome = run_cli(*arguments)
        assert outcome.code == 2, outcome.err
        assert outcome.err.startswith("diffshare: ")
        assert outcome.err.count("\n") == 1, outcome.err
        assert not (tmp_path / "run").exists()
        return str(outcome.err)

    return check


def test_predict_is_for_generators(refused, run):
    assert "AttributeClassifier makes no samples: predict is for generators; use test" in refused(
        "predict", "--run-dir", run
    )


def spoil(folder: Path) -> Path:
    """A samples folder whose file ends too early."""
    folder.mkdir()
    np.savez(folder / "samples.npz", x=np.zeros((9, 16, 16, 3), np.uint8), y=np.arange(9) % 2)
    whole = (folder / "samples.npz").read_bytes()
    (folder / "samples.npz").write_bytes(whole[: len(whole) // 2])
    return folder


def source_file(folder: Path, text: str) -> Path:
    (folder / "other.yaml").write_text(text)
    return folder / "other.yaml"


MISTAKES: dict[str, tuple[Callable[[Path], list[Any]], str]] = {
    "no samples": (
        lambda _: ["--data.samples", "nowhere"],
        "no such samples: nowhere is not a folder",
    ),
    "cut off": (
        lambda path: ["--data.samples", spoil(path / "s")],
        "samples.npz is no NPZ file that can be read",
    ),
    "target": (
        lambda _: ["--data.target", "Smilng"],
        "unknown attribute 'Smilng': choose one of Male, Smiling",
    ),
    "sensitive": (lambda _: ["--data.sensitive", "Mal"], "unknown attribute 'Mal'"),
    "one attribute": (
        lambda _: ["--data.sensitive", "Smiling"],
        "data.sensitive and data.target are both 'Smiling'",
    ),
    "size": (
        lambda _: ["--data.test_source.image_size", 32],
        "give the test source the same image_size",
    ),
    "network": (
        lambda _: ["--model.network", "diffshare.nets.classifiers.LeNett"],
        "model.network: diffshare.nets.classifiers.LeNett is neither a class that can be imported nor a file; mend",
    ),
    "kind": (
        lambda _: ["--model.network", "diffshare.nets.classifiers.TableMLP"],
        "TableMLP reads a table, the data",
    ),
    "classes": (lambda _: ["--model.network.classes", 3], "set --model.network.classes 2"),
    "no file": (
        lambda _: ["--data.test_source", "no.yaml"],
        "there is no config file no.yaml: give the path",
    ),
    "no class": (
        lambda path: ["--data.test_source", source_file(path, "root: celeba")],
        "names no class: a source file is YAML with class_path and init_args",
    ),
    "class": (
        lambda path: [
            "--data.test_source",
            source_file(path, "class_path: diffshare.data.celeba.CelebB"),
        ],
        "data.test_source: module 'diffshare.data.celeba' has no attribute 'CelebB'; mend the class_path",
    ),
    "no source": (
        lambda _: ["--data.test_source", "celeba"],
        "data.test_source: celeba is neither a class that can",
    ),
    "manifest": (
        lambda _: ["--data.training_manifest", "nowhere"],
        "nowhere is no manifest, it has no mix.json",
    ),
    "batch": (
        lambda _: ["--data.batch_size", 1000],
        "do not fill one batch of data.batch_size 1000",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_end_in_one_line(refused, samples, tmp_path, name):
    make, said = MISTAKES[name]
    assert said in refused("fit", *CELEBA, *samples, *make(tmp_path), "--run-dir", tmp_path / "run")


def test_a_test_set_with_training_records_of_the_generator_is_refused(
    refused, run_cli, samples, place, tmp_path
):
    """The sharer's training part is the receiver's test part: the manifest tells."""
    faces = {
        "class_path": "diffshare.data.rendered.RenderedFaces",
        "init_args": {"count": 90, "image_size": 16},
    }
    data = {"source": faces, "target": "Smiling", "sensitive": "Male", "seed": 1}
    config = {"data": {"class_path": "diffshare.data.module.MixDataModule", "init_args": data}}
    (tmp_path / "mix.yaml").write_text(yaml.safe_dump(config))
    outcome = run_cli("mix", "--config", tmp_path / "mix.yaml", "--out", tmp_path / "mix")
    assert outcome.code == 0, outcome.err
    source = source_file(tmp_path, yaml.safe_dump(faces))
    arguments = [*CELEBA, "--data.samples", place / "samples", "--data.test_source", source]
    arguments += ["--data.training_manifest", tmp_path / "mix", "--run-dir", tmp_path / "run"]
    assert "test records are among the training records of" in refused(
        "fit", *arguments, "--data.seed", 2
    )
    assert run_cli("fit", *arguments, "--data.seed", 1).code == 0
