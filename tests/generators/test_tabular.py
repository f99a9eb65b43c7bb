"""A model of a table through fit, release, sample, validate and predict, and what is refused on the way."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from diffshare.errors import UserError
from diffshare.generators.families import open_generator
from diffshare.release.folder import open_release
from diffshare.release.info import read_info
from diffshare.release.table import TableGenerator, load_schema

COLUMNS = {
    "age": "numeric",
    "dose": "numeric",
    "ward": "categorical",
    "sex": ["f", "m"],
    "ill": ["no", "yes"],
}


def write(path: Path, n: int = 400, **fixed: str) -> Path:
    """A table in which a twelfth of the doses is missing; the wards a, b and (once, never trained on) 'rare'."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(n):
        cells = {
            "age": str(20 + int(rng.integers(0, 60))),
            "dose": f"{rng.normal():.3f}" if i % 12 else "?",
            "ward": "ab"[int(rng.random() < 0.3)],
            "sex": "fm"[int(rng.integers(2))],
            "ill": ("no", "yes")[int(rng.integers(2))],
        } | fixed
        lines.append(",".join(cells.values()))
    path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
    return path


def config(path: Path, table: Path, **model: Any) -> Path:
    """A small training on that table."""
    network = {
        "class_path": "diffshare.nets.tabular.TableDenoiser",
        "init_args": {"width": 16, "layers": 1},
    }
    init = {"denoiser": network, "sampling_steps": 4} | model
    source = {
        "class_path": "diffshare.data.table.CSVTable",
        "init_args": {"path": str(table), "columns": COLUMNS},
    }
    data = {
        "source": source,
        "target": "ill",
        "sensitive": "sex",
        "batch_size": 32,
        "validation_share": 0.2,
    }
    average = {"class_path": "diffshare.training.averaging.WarmupEMA", "init_args": {"decay": 0.9}}
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
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def trained(run_cli: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tabular")
    outcome = run_cli(
        "fit",
        "--config",
        config(folder / "c.yaml", write(folder / "t.csv")),
        "--run-dir",
        folder / "run",
    )
    assert outcome.code == 0, outcome.err
    return folder / "run"


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "samples.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_release_says_what_it_makes(trained: Path) -> None:
    release = open_release(trained / "release")
    assert release.card.modality == "table"
    assert release.card.columns == tuple(COLUMNS)
    assert release.card.labels == ("no", "yes")
    assert set(release.card.files) == {
        "README.md", "denoiser/config.json", "denoiser/diffusion_pytorch_model.safetensors",
        "scheduler/scheduler_config.json", "table/schema.json",
    }  # fmt: skip
    assert load_schema(release).columns[1].missing
    assert "TableDenoiser" not in (trained / "release" / "README.md").read_text()


def test_release_of_the_checkpoint_is_the_same(
    run_cli: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    outcome = run_cli(
        "release", "--ckpt", trained / "checkpoints" / "last.ckpt", "--out", tmp_path / "again"
    )
    assert outcome.code == 0, outcome.err
    assert (
        open_release(tmp_path / "again").card.files == open_release(trained / "release").card.files
    )


@pytest.mark.parametrize("labels", ["balanced", "natural", "none", "yes"])
def test_rows_have_the_columns_and_types_of_the_source(
    run_cli: Callable[..., Any], trained: Path, tmp_path: Path, labels: str
) -> None:
    out = tmp_path / "samples"
    outcome = run_cli(
        "sample", "--model", trained / "release", "--count", 60, "--labels", labels, "--out", out
    )
    assert outcome.code == 0, outcome.err
    rows = read(out)
    assert len(rows) == 60
    assert list(rows[0]) == list(COLUMNS)
    for row in rows:
        assert 0 <= int(row["age"]) <= 2000  # within the bounds
        assert row["dose"] == "?" or np.isfinite(float(row["dose"]))
        assert row["ward"] in ("a", "b")
        assert row["sex"] in ("f", "m")
        assert row["ill"] in ("no", "yes")
    asked = {"balanced": 30, "yes": 60}
    if labels in asked:
        assert sum(row["ill"] == "yes" for row in rows) == asked[labels]
    info = json.loads((out / "samples.json").read_text())
    assert (info["count"], info["labels"], info["queries"], info["network_calls"]) == (
        60,
        labels,
        60,
        240,
    )


def test_a_sample_depends_on_seed_and_index_alone(
    run_cli: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    made = []
    for name, options in {"a": [], "b": ["--batch-size", 7], "c": ["--seed", 1]}.items():
        command = [
            "sample",
            "--model",
            trained / "release",
            "--count",
            50,
            "--labels",
            "none",
            "--out",
            tmp_path / name,
        ]
        assert run_cli(*command, *options).code == 0
        made.append(read(tmp_path / name))
    exact = ("age", "ward", "sex", "ill")
    assert [[row[c] for c in exact] for row in made[0]] == [
        [row[c] for c in exact] for row in made[1]
    ]
    assert made[0] != made[2]
    generator, _ = open_generator(trained / "release")
    assert isinstance(generator, TableGenerator)
    whole = generator.sample(np.full(50, -1), np.arange(50), seed=0)
    again = generator.sample(np.full(50, -1), np.arange(50), seed=0)
    np.testing.assert_array_equal(whole, again)
    assert generator.ledger.by_label == {-1: 100}


def test_guidance_calls_the_network_twice_and_keeps_the_class(trained: Path) -> None:
    generator, _ = open_generator(trained / "release")
    labels = np.arange(20) % 2
    rows = generator.sample(labels, np.arange(20), seed=0, steps=2, guidance=3.0)
    np.testing.assert_array_equal(rows[:, -1], labels)
    assert generator.ledger.network_calls == 80
    with pytest.raises(UserError, match="`steps` is 1001: this model takes 1 to 1000"):
        generator.sample(labels, np.arange(20), seed=0, steps=1001)


def test_validation_and_prediction_of_a_run(
    run_cli: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    outcome = run_cli("validate", "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert np.isfinite(json.loads((tmp_path / "run" / "validation.json").read_text())["val/loss"])
    outcome = run_cli("predict", "--run-dir", tmp_path / "run", "--data.predict_count", 10)
    assert outcome.code == 0, outcome.err
    rows = read(tmp_path / "run" / "samples")
    assert [row["ill"] for row in rows] == ["no", "yes"] * 5
    assert read_info(tmp_path / "run" / "samples")["classes"] == ["no", "yes"]


def test_a_run_goes_on_where_it_was_stopped(
    run_cli: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    command = ["fit", "--config", trained.parent / "c.yaml", "--run-dir", tmp_path / "run"]
    assert run_cli(*command, "--trainer.max_steps", 2).code == 0
    outcome = run_cli(*command, "--resume", "--trainer.max_steps", 4)
    assert outcome.code == 0, outcome.err
    files = [open_release(run / "release").card.files for run in (trained, tmp_path / "run")]
    assert files[0] == files[1]


def test_an_unconditional_model_makes_the_target_too(
    run_cli: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    options = [
        "--config",
        trained.parent / "c.yaml",
        "--model.conditional",
        "false",
        "--trainer.max_steps",
        1,
    ]
    outcome = run_cli("fit", *options, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    release = tmp_path / "run" / "release"
    assert run_cli("sample", "--model", release, "--count", 40, "--out", tmp_path / "out").code == 0
    assert {row["ill"] for row in read(tmp_path / "out")} == {"no", "yes"}
    refused = run_cli(
        "sample", "--model", release, "--count", 4, "--labels", "yes", "--out", tmp_path / "no"
    )
    assert refused.code == 2
    assert "use --labels none" in refused.err


def test_a_category_outside_the_mix_is_never_made_and_does_not_stop_validation(
    run_cli: Callable[..., Any], tmp_path: Path
) -> None:
    table = write(tmp_path / "t.csv")
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, *(f"33,0.5,rare{i},f,no" for i in range(40))]) + "\n")
    outcome = run_cli(
        "fit", "--config", config(tmp_path / "c.yaml", table), "--data.mix.class_path", "diffshare.data.mixes.Clean",
        "--data.mix.n", 60, "--run-dir", tmp_path / "run",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    categories = load_schema(open_release(tmp_path / "run" / "release")).columns[2].categories
    assert categories == ("a", "b")  # the mix has some of the rare wards, validation others
    assert "of 60 records are left out: a cell of theirs is too rare" in outcome.out
    assert run_cli("validate", "--run-dir", tmp_path / "run").code == 0


@pytest.mark.parametrize(
    "fixed", [{"age": "40", "ward": "a"}, {"dose": "?", "age": "40.25", "ward": "?", "sex": "f"}]
)
def test_constant_columns_are_made_as_they_were(
    run_cli: Callable[..., Any], tmp_path: Path, fixed: dict[str, str]
) -> None:
    """In the second table nothing but the class is left for the network to make."""
    table = write(tmp_path / "t.csv", **fixed)
    options = [] if "sex" not in fixed else ["--data.sensitive", "null"]
    run = [
        "fit",
        "--config",
        config(tmp_path / "c.yaml", table),
        *options,
        "--trainer.max_steps",
        2,
    ]
    outcome = run_cli(*run, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert run_cli("validate", "--run-dir", tmp_path / "run").code == 0
    command = ["sample", "--model", tmp_path / "run" / "release", "--count", 40, "--labels", "none"]
    assert run_cli(*command, "--out", tmp_path / "out").code == 0
    rows = read(tmp_path / "out")
    assert {tuple(row[name] for name in fixed) for row in rows} == {tuple(fixed.values())}
    assert {row["ill"] for row in rows} == {"no", "yes"}


REFUSED = [
    (
        {},
        ["--model.bounds", '{"height": [1, 2]}'],
        "model.bounds names 'height', which is no numeric column of the table",
    ),
    (
        {},
        ["--model.bounds", '{"age": [100, 0]}'],
        "model.bounds of 'age' are [100.0, 0.0]: two rising whole numbers",
    ),
    (
        {},
        ["--model.bounds", '{"age": [0, 40]}'],
        "of the values lie beyond; give bounds that hold nearly all",
    ),
    ({}, ["--model.bounds", '{"age": [0, 99]}', "--model.schema", "x.json"], "give one of them"),
    (
        {},
        ["--model.condition_dropout", 1.0],
        "model.condition_dropout is 1.0: a probability below 1",
    ),
    (
        {},
        ["--model.sampling_steps", 1001],
        "model.sampling_steps is 1001: at most the 1000 num_train_timesteps",
    ),
]


@pytest.mark.parametrize(("fixed", "options", "message"), REFUSED)
def test_what_cannot_be_trained_is_refused_before_the_first_step(
    run_cli: Callable[..., Any],
    tmp_path: Path,
    fixed: dict[str, str],
    options: list[Any],
    message: str,
) -> None:
    table = write(tmp_path / "t.csv", **fixed)
    outcome = run_cli(
        "fit",
        "--config",
        config(tmp_path / "c.yaml", table),
        *options,
        "--run-dir",
        tmp_path / "run",
    )
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_class_without_records_is_refused(run_cli: Callable[..., Any], tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv")
    lines = [*table.read_text().splitlines(), "33,0.5,c,f,no"]
    table.write_text("\n".join(lines) + "\n")
    outcome = run_cli(
        "fit", "--config", config(tmp_path / "c.yaml", table), "--data.target", "ward", "--data.mix.class_path",
        "diffshare.data.mixes.Clean", "--data.mix.n", 50, "--run-dir", tmp_path / "run",
    )  # fmt: skip
    assert outcome.code == 2
    assert "the mix holds no record of the class 'c'" in outcome.err


def test_images_and_tables_are_kept_apart(
    run_cli: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    options = [
        "--data.source.class_path",
        "diffshare.data.rendered.RenderedFaces",
        "--data.source.count",
        40,
    ]
    names = ["--data.target", "Smiling", "--data.sensitive", "Male"]
    outcome = run_cli(
        "fit",
        "--config",
        trained.parent / "c.yaml",
        *options,
        *names,
        "--run-dir",
        tmp_path / "run",
    )
    assert outcome.code == 2
    assert "TabularDDPM makes tables, data.source holds images" in outcome.err


def test_parts_that_do_not_fit_are_refused(
    run_cli: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    from diffshare.release.folder import write_release

    card = json.loads((trained / "release" / "diffshare.json").read_text())
    fields = {key: card[key] for key in ("family", "modality", "columns", "labels", "steps")}

    def save(folder: Path, part: str, key: str, value: object) -> None:
        for name in ("denoiser", "scheduler", "table"):
            shutil.copytree(trained / "release" / name, folder / name)
        file = folder / part
        content = json.loads(file.read_text())
        assert key in content
        file.write_text(json.dumps(content | {key: value}))

    columns = json.loads((trained / "release" / "table" / "schema.json").read_text())["columns"]
    columns[2]["categories"].append("c")
    for number, (part, key, value, message) in enumerate(
        [
            ("table/schema.json", "columns", columns, "does not fit the table"),
            (
                "scheduler/scheduler_config.json",
                "prediction_type",
                "sample",
                "its scheduler is not one that",
            ),
            ("denoiser/config.json", "width", 17, "must have the shape"),
        ]
    ):
        folder = tmp_path / str(number)
        write_release(folder, fields, lambda to, a=part, b=key, c=value: save(to, a, b, c))
        with pytest.raises(UserError, match=message):
            open_generator(folder)
    with pytest.raises(UserError, match="a model of a table has one way to sample; leave it out"):
        open_generator(trained / "release", scheduler="DDIMScheduler")
