"""What a run folder and a checkpoint import: what is installed, and nothing that lies about."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from diffshare.errors import UserError
from diffshare.sharer.export import module_of_checkpoint
from diffshare.training.imports import installed, installed_only

CONFIG = {
    "class_path": "diffshare.generators.ddpm.DDPM",
    "init_args": {
        "denoiser": {
            "class_path": "diffusers.UNet2DModel",
            "init_args": {
                "sample_size": 8,
                "block_out_channels": [8],
                "down_block_types": ["DownBlock2D"],
                "up_block_types": ["UpBlock2D"],
                "norm_num_groups": 4,
                "layers_per_block": 1,
                "num_class_embeds": 3,
            },
        }
    },
}
EVIL = {
    "the class": ("class_path", "leaves_a_mark.Model"),
    "a network": ("denoiser", {"class_path": "leaves_a_mark.Network"}),
    "a name of a network": ("denoiser", "leaves_a_mark.Network"),
    "a function": ("optimizer", "leaves_a_mark.optimizer"),
    "a module of the standard library": ("optimizer", "code.interact"),
    "a class of the standard library": (
        "optimizer",
        {"class_path": "subprocess.Popen", "init_args": {"args": "true"}},
    ),
    "a module behind an installed one": ("optimizer", "torch.os.system"),
    "a folder without __init__": ("denoiser", {"class_path": "leaves.a_mark.Network"}),
}


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once one of two modules of the working directory was imported."""
    (tmp_path / "leaves").mkdir()
    for name in ("leaves_a_mark.py", "leaves/a_mark.py"):
        (tmp_path / name).write_text(
            f"open({str(tmp_path / 'mark')!r}, 'w').close()\nclass Network: pass\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "mark"
    for name in ("leaves_a_mark", "leaves", "leaves.a_mark"):
        sys.modules.pop(name, None)


@pytest.fixture
def spoiled(tmp_path: Path) -> Callable[[str], Path]:
    """A checkpoint whose model names what must not be imported."""

    def make(how: str) -> Path:
        config = json.loads(json.dumps(CONFIG))
        key, value = EVIL[how]
        (config if key == "class_path" else config["init_args"])[key] = value
        content = {
            "state_dict": {},
            "global_step": 1,
            "diffshare": {"model": config, "facts": None},
        }
        torch.save(content, tmp_path / "last.ckpt")
        return tmp_path / "last.ckpt"

    return make


@pytest.mark.parametrize("how", EVIL)
def test_a_checkpoint_imports_nothing_that_lies_about(
    run_cli: Any, mark: Path, spoiled: Any, how: str
):
    outcome = run_cli("release", "--ckpt", spoiled(how), "--out", mark.parent / "r")
    assert outcome.code == 2
    assert not mark.exists()
    assert "neither of diffshare nor of an installed package" in outcome.err
    assert "add --trust-code" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (mark.parent / "r").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"diffshare": {"model": CONFIG, "facts": {"labels": 3}}},
        {"diffshare": {"model": CONFIG, "facts": [1]}},
        {"diffshare": {"model": "x", "facts": None}},
        {"diffshare": ["x"]},
        {"state_dict": 3},
        {"state_dict": {"x": 1}},
        {
            "diffshare": {
                "model": CONFIG,
                "facts": {"labels": 3, "shape": 4, "label_counts": 5, "cells": 6},
            }
        },
    ],
)
def test_a_checkpoint_of_odd_types_is_refused_in_one_line(
    run_cli: Any, tmp_path: Path, changes: dict[str, Any]
):
    content = {"state_dict": {}, "global_step": 1, "diffshare": {"model": CONFIG, "facts": None}}
    torch.save(content | changes, tmp_path / "last.ckpt")
    outcome = run_cli("release", "--ckpt", tmp_path / "last.ckpt", "--out", tmp_path / "r")
    assert outcome.code == 2, outcome.err
    assert outcome.err.count("\n") == 1
    assert "give the last.ckpt" in outcome.err or "give one that fit wrote" in outcome.err


def test_it_does_where_it_is_told_to(mark: Path, spoiled: Any):
    path = spoiled("the class")
    with pytest.raises(UserError, match="cannot be built here"):
        module_of_checkpoint(path, trust_code=True)
    assert mark.exists()


@pytest.mark.parametrize("how", EVIL)
@pytest.mark.parametrize("verb", ["validate", "test", "predict", "fit"])
def test_a_run_folder_imports_nothing_that_lies_about(
    run_cli: Any, mark: Path, verb: str, how: str
):
    if verb in ("test", "predict") and how != "the class":
        pytest.skip("they are parsed as validate is")
    config = {
        "model": json.loads(json.dumps(CONFIG)),
        "data": {"class_path": "diffshare.data.module.MixDataModule"},
    }
    key, value = EVIL[how]
    (config["model"] if key == "class_path" else config["model"]["init_args"])[key] = value
    run = mark.parent / "run"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    outcome = run_cli(verb, "--run-dir", run, *(["--resume"] if verb == "fit" else []))
    assert outcome.code == 2
    assert not mark.exists()
    assert "neither of diffshare nor of an installed package" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("place", ["callbacks", "logger", "data"])
def test_callbacks_loggers_and_data_are_looked_at_too(run_cli: Any, mark: Path, place: str):
    trainer = {
        place: [{"class_path": "leaves_a_mark.X"}]
        if place == "callbacks"
        else {"class_path": "leaves_a_mark.X"}
    }
    config = {
        "model": CONFIG,
        "data": {"class_path": "diffshare.data.module.MixDataModule"},
        "trainer": trainer,
    }
    if place == "data":
        config |= {"data": {"class_path": "leaves_a_mark.X"}, "trainer": {}}
    run = mark.parent / "run"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    outcome = run_cli("validate", "--run-dir", run)
    assert (outcome.code, mark.exists()) == (2, False)
    assert "'leaves_a_mark.X', which is neither" in outcome.err
    again = run_cli("validate", "--run-dir", run, "--trust-code")
    assert (again.code, mark.exists()) == (2, True)  # it was told to


def test_a_config_that_the_user_names_may_import_what_it_likes(run_cli: Any, mark: Path):
    config = {"model": CONFIG | {"class_path": "leaves_a_mark.X"}}
    (mark.parent / "own.yaml").write_text(yaml.safe_dump(config))
    outcome = run_cli(
        "validate", "--run-dir", mark.parent / "run", "--config", mark.parent / "own.yaml"
    )
    assert (outcome.code, mark.exists()) == (2, True)


@pytest.mark.parametrize("name", ["diffshare", "torch", "lightning", "diffusers", "yaml"])
def test_what_is_installed(name: str):
    assert installed(name)


@pytest.mark.parametrize(
    "name", ["os", "code", "antigravity", "builtins", "jsonargparse", "pip", "nothing_of_the_kind"]
)
def test_what_is_not(name: str, capsys: Any):
    assert not installed(name)
    assert "antigravity" not in sys.modules


def test_a_module_that_hides_an_installed_one_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = "tqdm"
    assert installed(package)
    (tmp_path / f"{package}.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    assert not installed(package)


def test_the_parsers_are_as_they_were_afterwards(mark: Path):
    from jsonargparse import ArgumentParser

    def parse() -> Any:
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--x", type=type)
        return parser.parse_args(["--x", "leaves_a_mark.Network"]).x

    with (
        pytest.raises(UserError, match="neither of diffshare"),
        installed_only({"x": "leaves_a_mark.Network"}, "here"),
    ):
        parse()
    assert not mark.exists()
    assert parse().__name__ == "Network"
    assert mark.exists()


def test_the_runs_of_this_package_need_no_flag(run_cli: Any, tmp_path: Path):
    """From training to a release and back, in every verb that takes a run."""
    configs = Path(__file__).parents[2] / "configs"
    small = [
        "--data.source.count",
        200,
        "--data.source.image_size",
        16,
        "--data.mix.n",
        40,
        "--data.batch_size",
        8,
    ]
    words = [
        *small,
        "--trainer.max_steps",
        1,
        "--run-dir",
        tmp_path / "run",
        "--trainer.enable_progress_bar",
        "false",
    ]
    made = run_cli(
        "fit",
        "--config",
        configs / "ddpm_faces.yaml",
        "--config",
        configs / "size" / "small.yaml",
        *words,
    )
    assert made.code == 0, made.err
    for words in (
        ["validate", "--run-dir", tmp_path / "run"],
        ["fit", "--run-dir", tmp_path / "run", "--resume"],
        [
            "release",
            "--ckpt",
            tmp_path / "run" / "checkpoints" / "last.ckpt",
            "--out",
            tmp_path / "release",
        ],
    ):
        outcome = run_cli(*words)
        assert outcome.code == 0, outcome.err
    assert (
        yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
        .keys()
        .isdisjoint({"trust_code", "run_dir"})
    )
    shutil.rmtree(tmp_path / "run")
