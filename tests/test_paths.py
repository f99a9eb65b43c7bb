"""Paths as people write them: the home folder, long names, another working directory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from random_release import random_ddpm

from diffshare.storage import read_json

CONFIGS = Path(__file__).parents[1] / "configs"
SMALL = ["--data.source.count", 60, "--data.source.image_size", 8]
Cli = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home, and another working directory."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.mark.parametrize("form", [["--out=~/x"], ["--out", "~/x"]])
def test_a_folder_in_the_home_is_meant_however_it_is_written(
    home: Path, run_cli: Cli, form: list[str]
) -> None:
    random_ddpm(home / "release", 8, steps=2)
    for command in (
        ["sample", "--model=~/release", "--count", 2],
        ["mix", "--config", CONFIGS / "ddpm_faces.yaml", *SMALL],
    ):
        outcome = run_cli(*command, *form)
        assert outcome.code == 0, outcome.err
        assert (home / "x").is_dir()
        (home / "x").rename(home / command[0])
    assert list(Path.cwd().iterdir()) == []


def test_configs_and_what_they_name_may_lie_in_the_home(home: Path, run_cli: Cli) -> None:
    pictures(home / "pictures")
    (home / "c.yaml").write_text((CONFIGS / "ddpm_faces.yaml").read_text())
    source = {
        "class_path": "diffshare.data.imagefolder.ImageFolder",
        "init_args": {"root": "~/pictures", "image_size": 8},
    }
    (home / "source.yaml").write_text(
        yaml.safe_dump({"data": {"init_args": {"source": source, "target": "bright"}}})
    )
    files = ["--config=~/c.yaml", "--config", "~/source.yaml", "--data.sensitive", "null"]
    outcome = run_cli("mix", *files, "--out", home / "mix")
    assert outcome.code == 0, outcome.err
    again = {"class_path": "diffshare.data.listed.Listed", "init_args": {"manifest": "~/mix"}}
    (home / "again.yaml").write_text(yaml.safe_dump({"data": {"init_args": {"mix": again}}}))
    outcome = run_cli("mix", *files, "--config", "~/again.yaml", "--out", home / "mix2")
    assert outcome.code == 0, outcome.err
    records = [(home / name / "records.csv").read_text().splitlines() for name in ("mix", "mix2")]
    assert [line.split(",")[0] for line in records[0]] == [
        line.split(",")[0] for line in records[1]
    ]


def test_a_setting_that_is_text_to_the_libraries_is_a_path_all_the_same(
    home: Path, run_cli: Cli
) -> None:
    config = ["--config", CONFIGS / "ddpm_faces.yaml", *SMALL, "--run-dir", "run"]
    refused = run_cli("validate", *config, "--ckpt_path=~/missing.ckpt")
    assert f"there is no checkpoint {home / 'missing.ckpt'}" in refused.err


@pytest.mark.parametrize("text", ["~nobody-of-this-name/x", "a~/x", "~"])
def test_what_is_no_home_is_left_as_it_is(home: Path, run_cli: Cli, text: str) -> None:
    outcome = run_cli("sample", f"--model={text}", "--count", 2, "--out", "o")
    assert outcome.code == 2
    assert f"{home if text == '~' else text} is not a" in outcome.err


@pytest.mark.parametrize("name", ["x" * 256, "x" * 300 + "/y", "/".join(["y" * 200] * 30)])
def test_names_that_no_file_system_takes(home: Path, run_cli: Cli, name: str) -> None:
    random_ddpm(home / "release", 8, steps=2)
    config = ["--config", CONFIGS / "ddpm_faces.yaml", *SMALL]
    commands = [
        ["sample", "--model", home / "release", "--count", 2, "--out", name],
        ["sample", "--model", name, "--count", 2, "--out", "o"],
        ["mix", *config, "--out", name],
        ["fit", *config, "--run-dir", name],
        ["fit", "--config", name],
        ["audit", "--samples", name, "--reference", name, "--target", "a", "--sensitive", "b"],
    ]
    for command in commands:
        outcome = run_cli(*command)
        assert outcome.code == 2, outcome.err
        assert outcome.err.count("\n") == 1, outcome.err
    assert list(Path.cwd().iterdir()) == []


def pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(40):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(folder / f"{number}.png")
    (folder / "metadata.csv").write_text(
        "file_name,bright\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(40))
    )


TINY = ["--config", CONFIGS / "ddpm_faces.yaml", "--data.source", "diffshare.data.imagefolder.ImageFolder",
        "--data.source.root", "pictures", "--data.source.image_size", 8, "--data.target", "bright", "--data.sensitive",
        "null", "--data.batch_size", 4, "--model.denoiser.block_out_channels", "[8,8,8,8]",
        "--model.denoiser.norm_num_groups", 4, "--model.sampling_steps", 2, "--trainer.enable_progress_bar", "false",
        "--trainer.max_steps", 1, "--trainer.val_check_interval", 1, "--model.lr_schedule", "constant"]  # fmt: skip


def test_a_run_gone_on_with_from_another_place_says_where_it_was_started(
    home: Path, run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(Path("pictures"))
    run, here = tmp_path / "run", Path.cwd()
    fitted = run_cli("fit", *TINY, "--run-dir", run)
    assert fitted.code == 0, fitted.err
    assert read_json(run / "run.json")["working_directory"] == str(here)
    monkeypatch.chdir(home)
    more = ["--resume", "--trainer.max_steps", 2]
    for arguments in (["fit", *more], ["test"], ["validate"]):
        refused = run_cli(*arguments, "--run-dir", run)
        assert refused.code == 2
        assert (
            f"data.source.init_args.root is 'pictures', relative to the working directory: that was {here} when "
            in (refused.err.replace("data.init_args.", "data."))
        )
        assert f"run this in {here}, or give --data.source.root {here / 'pictures'}" in refused.err
    assert run_cli("test", "--run-dir", run, "--data.source.root", here / "pictures").code == 0
    resumed = run_cli("fit", *more, "--run-dir", run, "--data.source.root", here / "pictures")
    assert resumed.code == 0, resumed.err
    other = tmp_path / "other"
    pictures(other)
    refused = run_cli(
        "fit", "--resume", "--trainer.max_steps", 3, "--run-dir", run, "--data.source.root", other
    )
    assert "root was 'pictures', is now" in refused.err
