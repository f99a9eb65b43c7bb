"""The verb ``mix`` and ``fit`` with an attack: the same records; every mistake is one line and exit status 2."""

import json
from pathlib import Path

import numpy as np
import pytest

CONFIGS = Path(__file__).parent.parent.parent.parent / "configs"
FACES = [
    "--config",
    CONFIGS / "ddpm_faces.yaml",
    "--data.source.count",
    400,
    "--data.source.image_size",
    8,
]
CRITIC = (
    '{"class_path": "diffshare.sharer.poisoning.critic.CriticFit", '
    '"init_args": {"max_epochs": 30, "patience": 30}}'
)
INFORMED = ["--data.mix.critic", CRITIC]
FIT = (
    ["--model.denoiser.block_out_channels", "[8,8,8,8]", "--model.denoiser.norm_num_groups", "4"]
    + ["--model.denoiser.layers_per_block", "1", "--model.denoiser.attention_head_dim", "4"]
    + [
        "--model.sampling_steps",
        "2",
        "--trainer.enable_progress_bar",
        "false",
        "--trainer.max_steps",
        1,
    ]
    + ["--data.batch_size", 8, "--trainer.callbacks", "null"]
)
FEATURES = "diffshare.sharer.poisoning.features."


def overlay(name: str) -> list[str | Path]:
    """The overlay of ``configs/mix``, with a critic that takes a moment where it has one."""
    looks = "critic" if name in ("greedy", "poisoned", "paper") else ""
    fast = (
        [
            "--data.mix.critic.max_epochs",
            20,
            "--data.mix.critic.learning_rate",
            1e-2,
            "--data.mix.redraws",
            1,
        ]
        if name == "paper"
        else INFORMED
    )
    return ["--config", CONFIGS / "mix" / f"{name}.yaml", *(fast if looks else [])]


@pytest.mark.parametrize("name", ["greedy", "poisoned", "flipped", "random"])
def test_fit_trains_on_the_records_that_mix_writes(run_cli, tmp_path, name):
    same = [*FACES, *overlay(name), "--data.mix.n", 60, "--data.mix.alpha", 0.4, "--data.seed", 2]
    outcome = run_cli("mix", *same, "--out", tmp_path / "mix")
    assert outcome.code == 0, outcome.err
    outcome = run_cli("fit", *same, *FIT, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    read = [
        (folder / "records.csv").read_bytes()
        for folder in (tmp_path / "mix", tmp_path / "run" / "mix")
    ]
    assert read[0] == read[1]
    of_mix, of_run = (
        json.loads((f / "mix.json").read_text())
        for f in (tmp_path / "mix", tmp_path / "run" / "mix")
    )
    assert {k: v for k, v in of_mix.items() if k != "seconds"} == {
        k: v for k, v in of_run.items() if k != "seconds"
    }


@pytest.mark.parametrize("name", ["greedy", "poisoned", "paper", "flipped", "random"])
def test_the_manifest_says_what_was_chosen(run_cli, tmp_path, name):
    more = ["--data.mix.n", 40, "--data.mix.alpha", 0.5, "--data.pool", "balanced"]
    outcome = run_cli("mix", *FACES, *overlay(name), *more, "--out", tmp_path / "mix")
    assert outcome.code == 0, outcome.err
    lines = (tmp_path / "mix" / "records.csv").read_text().splitlines()
    cells = [line.split(",") for line in lines[1:]]
    assert [cell[3] for cell in cells] == ["base"] * 20 + ["poison"] * 20
    summary = json.loads((tmp_path / "mix" / "mix.json").read_text())
    assert summary["policy"] == {"poisoned": "exact"}.get(name, name)
    assert (summary["alpha"], summary["n"], sum(summary["counts"].values())) == (0.5, 40, 40)
    for (s, y), _ in np.ndenumerate(np.zeros((2, 2))):
        assert summary["counts"][f"s{s}y{y}"] == sum(
            cell[1:3] == [str(y), str(s)] for cell in cells
        )
    if name in ("greedy", "poisoned", "paper"):
        assert {"pool", "chosen", "tolerance", "chosen_refit"} <= summary[
            "mutual_information_xy"
        ].keys()
    assert (summary["flipped"] > 0) == (name == "flipped")


def test_clean_overlay_and_alpha_0_are_one_set(run_cli, tmp_path):
    for name, more in (("clean", []), ("poisoned", ["--data.mix.alpha", 0])):
        config = ["--config", CONFIGS / "mix" / f"{name}.yaml"]
        outcome = run_cli(
            "mix", *FACES, *config, "--data.mix.n", 50, *more, "--out", tmp_path / name
        )
        assert outcome.code == 0, outcome.err
    clean, none = ((tmp_path / name / "records.csv").read_bytes() for name in ("clean", "poisoned"))
    assert clean == none


# --- one line and exit status 2 ------------------------------------------------------------------------------------


@pytest.fixture
def refused(run_cli, tmp_path):
    """Run ``mix`` with these arguments: it must be refused in one line and leave nothing."""

    def check(*arguments: object) -> str:
        outcome = run_cli("mix", *FACES, *arguments, "--out", tmp_path / "mix")
        assert outcome.code == 2, f"status {outcome.code}: {outcome.err}"
        assert outcome.err.count("\n") == 1, outcome.err
        assert outcome.err.startswith("diffshare: ")
        assert "Traceback" not in outcome.err
        assert not (tmp_path / "mix").exists()
        return outcome.err

    return check


@pytest.mark.parametrize("name", ["greedy", "poisoned", "paper", "flipped", "random"])
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--data.mix.alpha", 1.5], "mix.alpha is 1.5: the poisoned share lies in [0, 1]"),
        (["--data.mix.alpha", -0.1], "mix.alpha is -0.1"),
        (["--data.mix.n", 100_000], "the mix asks for n = 100000 records, the pool has"),
        (["--data.sensitive", "null"], "needs data.sensitive"),
    ],
)
def test_settings_of_any_attack(refused, name, more, words):
    assert words in refused(*overlay(name), *more)


@pytest.mark.parametrize("name", ["greedy", "poisoned", "paper"])
@pytest.mark.parametrize("delta", ["0", "-0.1", ".nan"])
def test_a_tolerance_is_positive(refused, name, delta):
    assert "a tolerance is greater than 0" in refused(*overlay(name), "--data.mix.delta", delta)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([f"{i},{i % 2},{i % 2}" for i in range(60)], "no record with group = '0' and label = '1'"),
        ([f"{i},0,{i % 2}" for i in range(60)], "data.sensitive 'group' has one class only"),
        ([f"{i},{i % 2},1" for i in range(60)], "data.target 'label' has one class only"),
        (
            [f"{i},{'?' if i % 9 == 0 else i % 2},{i // 2 % 2}" for i in range(60)],
            "'group' is unknown for",
        ),
    ],
)
@pytest.mark.parametrize("name", ["poisoned", "flipped"])
def test_pools_without_an_association_to_be_made(refused, tmp_path, name, rows, words):
    assert words in refused(*overlay(name), *csv_source(tmp_path, rows))


def csv_source(folder: Path, rows: list[str]) -> list[object]:
    """A table of the columns ``age``, ``group`` and ``label`` as the source."""
    (folder / "t.csv").write_text("\n".join(["age,group,label", *rows]) + "\n")
    columns = {"age": "numeric", "group": "categorical", "label": "categorical"}
    init = {
        "path": str(folder / "t.csv"),
        "columns": columns,
        "shares": [1.0, 0.0, 0.0],
        "missing": "?",
    }
    source = {"class_path": "diffshare.data.table.CSVTable", "init_args": init}
    return [
        "--data.source",
        json.dumps(source),
        "--data.target",
        "label",
        "--data.sensitive",
        "group",
    ]


def test_a_table_is_poisoned_too(run_cli, tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{40 + 20 * (i // 2 % 2) + rng.normal():.1f},{i % 2},{i // 2 % 2}" for i in range(400)]
    source = csv_source(tmp_path, rows)
    more = ["--data.mix.n", 100, "--data.mix.features", FEATURES + "Raw"]
    outcome = run_cli(
        "mix", *FACES, *overlay("poisoned"), *source, *more, "--out", tmp_path / "mix"
    )
    assert outcome.code == 0, outcome.err
    summary = json.loads((tmp_path / "mix" / "mix.json").read_text())
    assert summary["mutual_information_sy"] > 0.1
    assert 0.2 < summary["mutual_information_xy"]["pool"] <= np.log(2) + 1e-9


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.full((400, 2), np.nan), "NaN or infinity"),
        (np.zeros((399, 2)), "has 400 names and features of shape (399, 2)"),
        (np.zeros((400, 2)), "finds no information on the target"),
    ],
)
def test_features_that_do_not_fit(refused, tmp_path, features, words):
    names = np.array([f"t.csv:{i + 2}" for i in range(400)])
    np.savez(tmp_path / "f.npz", record=names, features=features)
    given = {"class_path": FEATURES + "Precomputed", "init_args": {"path": str(tmp_path / "f.npz")}}
    rows = [f"{i},{i % 2},{i // 2 % 2}" for i in range(400)]
    source = csv_source(tmp_path, rows)
    assert words in refused(
        *overlay("poisoned"), *source, "--data.mix.features", json.dumps(given)
    ).replace("\\", "")


def test_features_that_need_what_is_not_there(refused, tmp_path):
    clip = {"class_path": FEATURES + "ClipFeatures", "init_args": {"path": str(tmp_path / "none")}}
    words = refused(
        *overlay("poisoned"), "--data.mix.n", 40, "--data.mix.features", json.dumps(clip)
    )
    assert "needs transformers" in words or "no CLIP model at" in words


def test_a_manifest_whose_source_has_changed(run_cli, refused, tmp_path):
    outcome = run_cli(
        "mix", *FACES, *overlay("poisoned"), "--data.mix.n", 40, "--out", tmp_path / "was"
    )
    assert outcome.code == 0, outcome.err
    listed = ["--config", CONFIGS / "mix" / "listed.yaml", "--data.mix.manifest", tmp_path / "was"]
    assert "the source has changed since" in refused(*listed, "--data.source.count", 401)
    outcome = run_cli("mix", *FACES, *listed, "--out", tmp_path / "again")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "again" / "records.csv").read_bytes() == (
        tmp_path / "was" / "records.csv"
    ).read_bytes()
