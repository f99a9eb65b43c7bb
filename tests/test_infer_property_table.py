"""The verb ``infer-property`` on rows of tables: a column that is read, one that is estimated, models of tables."""

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from property_runs import inferred, refusal, yaml_source

from diffshare.release.samples import write_samples

Infer = Callable[..., Any]


@pytest.fixture
def infer(run_cli: Infer, tmp_path: Path) -> Infer:
    """Run the verb, which must succeed; its JSON."""
    return partial(inferred, run_cli, tmp_path)


@pytest.fixture
def refused(run_cli: Infer, tmp_path: Path) -> Infer:
    """Run the verb, which must refuse; the line."""
    return partial(refusal, run_cli, tmp_path)


class TestTable:
    """Rows of a table: sex follows from height, with a category and a missing cell on the way."""

    COLUMNS = {"height": "numeric", "ward": "categorical", "sex": ["f", "m"]}

    def rows(
        self,
        path: Path,
        count: int,
        p: float,
        seed: int,
        keep: tuple[str, ...] = ("height", "ward", "sex"),
    ) -> Path:
        rng = np.random.default_rng(seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, keep, extrasaction="ignore")
            writer.writeheader()
            for i in range(count):
                man = i < p * count
                height = f"{rng.normal(178 if man else 165, 6):.1f}" if rng.random() > 0.05 else "?"
                row = {
                    "height": height,
                    "ward": "abcd"[rng.integers(4)],
                    "sex": "m" if man else "f",
                }
                writer.writerow(row)
        return path

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        file = self.rows(tmp_path / "aux.csv", 800, 0.5, 0)
        return yaml_source(
            tmp_path / "aux.yaml",
            "table.CSVTable",
            path=str(file),
            columns=self.COLUMNS,
            shares=[0.0, 1.0, 0.0],
        )

    def test_a_column_is_read_as_it_is(self, infer: Infer, tmp_path: Path, source: Path) -> None:
        self.rows(tmp_path / "s" / "samples.csv", 500, 0.26, 1)
        made = infer("--samples", tmp_path / "s", "--auxiliary", source, "--property", "sex")
        assert made["method"] == "column"
        assert made["estimate"] == pytest.approx(0.26)
        assert made["error"]["classifier"] == 0
        assert made["assumption"]["ok"] is True
        assert any("counted in the column 'sex'" in note for note in made["notes"])

    @pytest.mark.parametrize("keep", [("ward", "height", "sex"), ("ward", "height")])
    def test_a_withheld_or_missing_column_is_estimated(
        self, infer: Infer, tmp_path: Path, source: Path, keep: tuple[str, ...]
    ) -> None:
        self.rows(tmp_path / "s" / "samples.csv", 500, 0.26, 1, keep)
        withhold = ["--withhold", "sex"] if "sex" in keep else []
        made = infer(
            "--samples", tmp_path / "s", "--auxiliary", source, "--property", "sex", *withhold
        )
        assert made["method"] == "pacc"
        assert made["interval"][0] <= 0.26 <= made["interval"][1]
        assert made["interval"][1] - made["interval"][0] < 0.3

    def test_surrogates_have_the_sources_mark_of_a_missing_cell(
        self, infer: Infer, tmp_path: Path
    ) -> None:
        for name, count, p, seed in (("aux", 800, 0.5, 0), ("s", 300, 0.4, 1), ("a", 300, 0.1, 2), ("b", 300, 0.9, 3),
                                     ("c", 300, 0.5, 4)):  # fmt: skip
            file = self.rows(tmp_path / name / "samples.csv", count, p, seed)
            file.write_text(file.read_text().replace("?", "NA"))
        options = {"columns": self.COLUMNS, "shares": [0.0, 1.0, 0.0], "missing": "NA"}
        source = yaml_source(
            tmp_path / "s.yaml",
            "table.CSVTable",
            path=str(tmp_path / "aux" / "samples.csv"),
            **options,
        )
        made = infer(
            "--samples", tmp_path / "s", "--auxiliary", source, "--property", "sex", "--withhold", "sex", "--folds", 2,
            "--surrogate", *(tmp_path / name for name in "abc"), "--surrogate-p", 0.1, 0.9, 0.5,
        )  # fmt: skip
        assert made["interval"][0] <= 0.4 <= made["interval"][1]

    def test_what_does_not_fit_is_refused(
        self, refused: Infer, tmp_path: Path, source: Path
    ) -> None:
        self.rows(tmp_path / "s" / "samples.csv", 100, 0.26, 1, ("ward", "sex"))
        common = ("--auxiliary", source, "--property", "sex")
        line = refused("--samples", tmp_path / "s", *common, "--withhold", "sex")
        assert "the samples have no column 'height'" in line
        # as the command line takes it, which the last line here says
        assert "add --withhold 'height'" in line
        assert "leave out --method, or add --withhold 'sex' to" in refused(
            "--samples", tmp_path / "s", *common, "--method", "acc"
        )
        assert "--widen is for a classifier, the column 'sex'" in refused(
            "--samples", tmp_path / "s", *common, "--widen"
        )
        line = refused("--samples", tmp_path / "s", *common, "--withhold", "sex", "height", "ward")
        assert "no column is left to read 'sex' from" in line
        write_samples(tmp_path / "images", np.zeros((4, 8, 8, 3), np.uint8), np.full(4, -1), {})
        assert "must be of one kind" in refused("--samples", tmp_path / "images", *common)
        assert "has 4 classes: name one with --value" in refused(
            "--samples", tmp_path / "s", "--auxiliary", source, "--property", "ward"
        )


@pytest.fixture(scope="module")
def model(run_cli: Infer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Source file and release."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    rows = [
        f"{rng.normal():.2f},{'ab'[rng.integers(2)]},{'fm'[rng.integers(2)]}" for _ in range(600)
    ]
    (folder / "t.csv").write_text("\n".join(["dose,ward,sex", *rows]) + "\n")
    columns = {"dose": "numeric", "ward": ["a", "b"], "sex": ["f", "m"]}
    options = {"path": str(folder / "t.csv"), "columns": columns, "shares": [0.5, 0.4, 0.1]}
    source = yaml_source(folder / "source.yaml", "table.CSVTable", **options)
    network = {
        "class_path": "diffshare.nets.tabular.TableDenoiser",
        "init_args": {"width": 16, "layers": 1},
    }
    init = {"denoiser": network, "sampling_steps": 3}
    average = {"class_path": "diffshare.training.averaging.WarmupEMA", "init_args": {"decay": 0.9}}
    data = {"source": yaml.safe_load(source.read_text()), "target": "ward", "batch_size": 32}
    content = {
        "model": {"class_path": "diffshare.generators.tabular.TabularDDPM", "init_args": init},
        "data": {"class_path": "diffshare.data.module.MixDataModule", "init_args": data},
        "trainer": {
            "max_steps": 4,
            "enable_progress_bar": False,
            "accelerator": "cpu",
            "callbacks": [average],
        },
    }
    (folder / "c.yaml").write_text(yaml.safe_dump(content))
    outcome = run_cli("fit", "--config", folder / "c.yaml", "--run-dir", folder / "run")
    assert outcome.code == 0, outcome.err
    return source, folder / "run" / "release"


class TestModel:
    """A model of a table after four steps: what comes out means nothing, how it was asked does."""

    def test_a_column_of_its_rows_is_read(self, infer: Infer, model: tuple[Path, Path]) -> None:
        source, release = model
        made = infer(
            "--model",
            release,
            "--auxiliary",
            source,
            "--property",
            "sex",
            "--queries",
            50,
            "--labels",
            "none",
        )
        assert made["method"] == "column"
        assert made["queries"] == 50
        assert made["estimate"] * 50 == pytest.approx(round(made["estimate"] * 50))

    def test_the_class_it_is_asked_for_is_refused(
        self, refused: Infer, model: tuple[Path, Path]
    ) -> None:
        source, release = model
        line = refused(
            "--model", release, "--auxiliary", source, "--property", "ward", "--labels", "balanced"
        )
        assert "'ward' is what the samples were drawn by" in line

    def test_images_are_needed_for_zero_shot(
        self, refused: Infer, model: tuple[Path, Path]
    ) -> None:
        zero_shot = (
            "--method",
            "zero-shot",
            "--clip",
            "x",
            "--prompts",
            "a",
            "b",
            "--property",
            "sex",
        )
        assert "zero-shot is for images" in refused("--model", model[1], *zero_shot)
