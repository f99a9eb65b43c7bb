"""The VAE of tables: its bound, its rows, its release, what is refused."""

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from test_tabular import COLUMNS, read, write

from diffshare.generators.families import open_generator
from diffshare.generators.multinomial import Categories
from diffshare.generators.rows import Rows
from diffshare.generators.tvae import row_loss, sample_rows
from diffshare.nets.tvae import RowDecoder
from diffshare.release.folder import open_release
from diffshare.release.table import TableColumn, TableGenerator, TableSchema
from diffshare.stats.grid import CELLS


def config(path: Path, table: Path, **model: Any) -> Path:
    """A small training on that table."""
    settings = {"latent_dim": 4, "width": 16, "layers": 1}
    init = {"network": {"class_path": "diffshare.nets.tvae.RowVAE", "init_args": settings}} | model
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
        "model": {"class_path": "diffshare.generators.tvae.TVAE", "init_args": init},
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
    folder = tmp_path_factory.mktemp("tvae")
    outcome = run_cli(
        "fit",
        "--config",
        config(folder / "c.yaml", write(folder / "t.csv")),
        "--run-dir",
        folder / "run",
    )
    assert outcome.code == 0, outcome.err
    return folder / "run"


def test_the_loss_is_the_bound_counted_cell_by_cell() -> None:
    rng = np.random.default_rng(0)
    scores, means = rng.normal(size=(2, 3, 2))
    log_scales, logits = rng.normal(size=2), rng.normal(size=(3, 5))
    codes, sizes = np.array([[0, 1], [2, 0], [1, 1]]), [3, 2]
    mean, logvar = rng.normal(size=(2, 3, 4))
    expected = []
    for i in range(3):
        nats = 0.0
        for j in range(2):
            s = math.exp(log_scales[j])
            density = math.exp(-((scores[i, j] - means[i, j]) ** 2) / (2 * s * s)) / (
                s * math.sqrt(2 * math.pi)
            )
            nats -= math.log(density)
        for j, start in enumerate((0, 3)):
            column = np.exp(logits[i, start : start + sizes[j]])
            nats -= math.log(column[codes[i, j]] / column.sum())
        for m, v in zip(mean[i], np.exp(logvar[i]), strict=True):
            nats += 0.7 * (m * m + v - 1 - math.log(v)) / 2
        expected.append(nats)
    tensors = [
        torch.from_numpy(a) for a in (scores, codes, means, log_scales, logits, mean, logvar)
    ]
    made = (tensors[2], tensors[3], tensors[4])
    loss = row_loss(Categories(sizes), tensors[0], tensors[1], made, tensors[5], tensors[6], 0.7)
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-9)


def test_rows_follow_the_distribution_that_the_decoder_says() -> None:
    columns = (
        TableColumn("x", "numeric", bounds=(2.0, 3.0), cells=CELLS),
        TableColumn("y", "categorical", ("a", "b", "c")),
    )
    rows = Rows(TableSchema(columns, "y"))
    assert rows.features == 1 + 3 + CELLS
    network = RowDecoder(rows.features, 1, None, latent_dim=2, width=4, layers=1).eval()
    shares = torch.tensor([0.2, 0.5, 0.3])
    with torch.no_grad():
        network.body[-1].weight.zero_()
        network.body[-1].bias.copy_(torch.tensor([0.0, *shares.log(), *[0.0] * CELLS]))
        network.log_scale.zero_()  # scores are N(0, 1), so that x is uniform
    n = 20_000
    x = sample_rows(network, rows, np.full(n, -1), np.arange(n), 0)
    assert np.abs(np.bincount(x[:, 1].astype(int)) / n - shares.numpy()).max() < 4 * math.sqrt(
        0.25 / n
    )
    assert np.abs(np.histogram(x[:, 0], 10, (2, 3))[0] / n - 0.1).max() < 4 * math.sqrt(0.09 / n)
    asked = sample_rows(network, rows, np.full(50, 2), np.arange(50), 0)
    assert (asked[:, 1] == 2).all()
    assert np.array_equal(asked[:, 0], x[:50, 0])


def test_a_release_has_the_decoder_and_the_table_and_is_made_again(
    run_cli, trained, tmp_path
) -> None:
    release = open_release(trained / "release")
    assert (release.card.family, release.card.modality, release.card.steps) == ("tvae", "table", 1)
    assert release.card.labels == ("no", "yes")
    assert {name.partition("/")[0] for name in release.card.files} == {
        "README.md",
        "decoder",
        "table",
    }
    outcome = run_cli(
        "release", "--ckpt", trained / "checkpoints" / "last.ckpt", "--out", tmp_path / "again"
    )
    assert outcome.code == 0, outcome.err
    assert open_release(tmp_path / "again").card.files == release.card.files


@pytest.mark.parametrize("labels", ["balanced", "natural", "none", "yes"])
def test_rows_have_the_columns_and_types_of_the_source(run_cli, trained, tmp_path, labels) -> None:
    out = tmp_path / "samples"
    outcome = run_cli(
        "sample", "--model", trained / "release", "--count", 60, "--labels", labels, "--out", out
    )
    assert outcome.code == 0, outcome.err
    rows = read(out)
    assert list(rows[0]) == list(COLUMNS)
    for row in rows:
        assert 0 <= int(row["age"]) <= 2000  # within the bounds
        assert row["dose"] == "?" or np.isfinite(float(row["dose"]))
        assert row["ward"] in ("a", "b")
    asked = {"balanced": 30, "yes": 60}
    if labels in asked:
        assert sum(row["ill"] == "yes" for row in rows) == asked[labels]


def test_a_row_depends_on_its_class_seed_and_number_alone(trained) -> None:
    box, _ = open_generator(trained / "release")
    assert isinstance(box, TableGenerator)
    labels, indices = np.arange(40) % 3 - 1, np.arange(40)
    made = box.sample(labels, indices, seed=3)
    assert np.array_equal(made, box.sample(labels, indices, seed=3), equal_nan=True)
    single = np.concatenate(
        [box.sample(labels[i : i + 1], indices[i : i + 1], seed=3) for i in range(40)]
    )
    np.testing.assert_allclose(made, single, rtol=1e-4, atol=1e-4)
    assert not np.array_equal(made, box.sample(labels, indices, seed=4), equal_nan=True)
    assert box.ledger.queries == 160


def test_an_unconditional_model_and_validation(run_cli, tmp_path) -> None:
    file = config(tmp_path / "c.yaml", write(tmp_path / "t.csv"), conditional=False)
    outcome = run_cli("fit", "--config", file, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert open_release(tmp_path / "run" / "release").card.labels == ()
    tested = run_cli(
        "test", "--config", file, "--ckpt_path", tmp_path / "run" / "checkpoints" / "last.ckpt"
    )
    assert tested.code == 0, tested.err
    assert "test/loss" in tested.out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--steps", 2], "samples in 1"),
        (["--guidance", 2], "guidance is 2"),
        (["--scheduler", "DDIMScheduler"], "a model of the family tvae has none"),
    ],
)
def test_what_it_does_not_have_cannot_be_asked_for(
    run_cli, trained, tmp_path, options, named
) -> None:
    refused = run_cli(
        "sample", "--model", trained / "release", "--count", 1, *options, "--out", tmp_path / "x"
    )
    assert refused.code == 2
    assert named in refused.err


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        ("decoder/config.json", {"latent_dim": 5}, "must have the shape"),
        ("decoder/config.json", {"latent_dim": 5000}, "latent_dim is 5000"),
        ("decoder/config.json", {"layers": 10**6}, "must be a plain value"),
        ("decoder/config.json", {"layers": 8000}, "layers is 8000"),
        ("decoder/config.json", {"width": -1}, "must be a plain value"),
        ("decoder/config.json", {"_class_name": "TableDenoiser"}, "unknown network"),
        ("diffshare.json", {"labels": [], "label_frequencies": None}, "does not fit the table"),
        ("table/schema.json", {"columns": []}, "a list of 1 to"),
    ],
)
def test_a_changed_release_is_refused(run_cli, trained, tmp_path, file, change, named) -> None:
    release = shutil.copytree(trained / "release", tmp_path / "release")
    path = release / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    card = json.loads((release / "diffshare.json").read_text())
    if file in card["files"]:
        card["files"][file] = hashlib.sha256(path.read_bytes()).hexdigest()
        (release / "diffshare.json").write_text(json.dumps(card))
    outcome = run_cli("sample", "--model", release, "--count", 1, "--out", tmp_path / "samples")
    assert outcome.code == 2, outcome.err
    assert named in outcome.err
    assert outcome.err.count("\n") == 1


def test_settings_that_make_no_model_are_refused(run_cli, tmp_path) -> None:
    for setting, named in (
        ({"kl_weight": -1.0}, "kl_weight is -1"),
        ({"condition_dropout": 1.0}, "dropout is 1"),
    ):
        file = config(tmp_path / "c.yaml", write(tmp_path / "t.csv"), **setting)
        outcome = run_cli("fit", "--config", file, "--run-dir", tmp_path / "run")
        assert outcome.code == 2
        assert named in outcome.err


def test_rows_are_coded_by_a_schema_that_is_given(run_cli, trained, tmp_path) -> None:
    schema = json.loads((trained / "release" / "table" / "schema.json").read_text())
    schema["columns"][0]["bounds"] = [10.0, 90.0]
    schema["columns"][2]["categories"] = ["a", "b", "z"]
    given, table = tmp_path / "schema.json", write(tmp_path / "t.csv")
    given.write_text(json.dumps(schema))
    file = config(tmp_path / "c.yaml", table, schema=str(given))
    outcome = run_cli("fit", "--config", file, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert (
        json.loads((tmp_path / "run" / "release" / "table" / "schema.json").read_text()) == schema
    )
    assert open_generator(tmp_path / "run" / "release")[0].sample(
        np.arange(4) % 2, np.arange(4), seed=0
    ).shape == (
        4,
        5,
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda schema: schema["columns"][2].update(categories=["a", "z"]),
            "'ward' lacks the category 'b'",
        ),
        (lambda schema: schema["columns"][1].update(missing=False), "'dose' has no missing cells"),
        (lambda schema: schema["columns"][0].update(name="years"), "other columns than the data"),
        (lambda schema: schema.update(target="sex"), "for the target 'sex'"),
        (
            lambda schema: schema["columns"][4].update(categories=["no", "yes", "?"]),
            "has the classes 'no', 'yes', '?' of 'ill', the mix 'no', 'yes'",
        ),
        (lambda schema: schema.update(columns=3), "columns"),
        (lambda schema: schema["columns"][0].update(quantiles=[1, 2]), "column 0 has quantiles"),
    ],
)
def test_a_schema_that_does_not_cover_the_mix_is_refused(
    run_cli, trained, tmp_path, change, named
) -> None:
    schema = json.loads((trained / "release" / "table" / "schema.json").read_text())
    change(schema)
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    file = config(
        tmp_path / "c.yaml", write(tmp_path / "t.csv"), schema=str(tmp_path / "schema.json")
    )
    outcome = run_cli("fit", "--config", file, "--run-dir", tmp_path / "run")
    assert outcome.code == 2
    assert named in outcome.err
    assert not (tmp_path / "run").exists()


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
