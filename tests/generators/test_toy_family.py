"""The family of docs/add-a-family.md works as it stands there, with no change anywhere else."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import two_modes
import yaml
from test_families import write_config

PAGE = Path(__file__).parents[2] / "docs" / "add-a-family.md"


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def circle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The module of the page."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "circle.py").write_text(block("python"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield importlib.import_module("circle")


def test_its_sampler_reaches_the_mixture(circle: Any) -> None:
    scheduler = circle.CircleScheduler(margin=0.005)
    network = two_modes.network_of(scheduler.process, lambda told: told / 1000)
    two_modes.check(
        circle.CircleDiffusion.sampler(scheduler)(network, two_modes.normal(4000), 199), bias=0.04
    )


@pytest.mark.parametrize("classes", [2, None])
def test_it_trains_releases_and_samples(
    run_cli: Any, circle: Any, tmp_path: Path, classes: int | None
) -> None:
    config = write_config(tmp_path, "ddpm.DDPM", classes)
    value, page = yaml.safe_load(config.read_text()), yaml.safe_load(block("yaml"))["model"]
    value["model"]["class_path"] = page["class_path"]
    value["model"]["init_args"] |= page["init_args"]
    config.write_text(yaml.safe_dump(value))
    outcome = run_cli("fit", "--config", config, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    made = run_cli("release", "--ckpt", checkpoint, "--out", tmp_path / "release", "--trust-code")
    assert made.code == 0, made.err
    drawn = []
    for size in (6, 1):
        arguments = (
            "--model",
            tmp_path / "release",
            "--count",
            6,
            "--batch-size",
            size,
            "--out",
            tmp_path / str(size),
        )
        outcome = run_cli("sample", *arguments)
        assert outcome.code == 0, outcome.err
        with np.load(tmp_path / str(size) / "samples.npz") as arrays:
            drawn.append(arrays["x"].astype(int))
    assert drawn[0].shape == (6, 8, 8, 3)
    assert np.abs(drawn[0] - drawn[1]).max() <= 1


def test_its_settings_are_refused_in_one_line(run_cli: Any, circle: Any, tmp_path: Path) -> None:
    config = write_config(tmp_path, "ddpm.DDPM", 2)
    value = yaml.safe_load(config.read_text())
    value["model"]["class_path"] = "circle.CircleDiffusion"
    value["model"]["init_args"]["scheduler"] = {
        "class_path": "circle.CircleScheduler",
        "init_args": {"margin": 0.7},
    }
    config.write_text(yaml.safe_dump(value))
    outcome = run_cli("fit", "--config", config, "--run-dir", tmp_path / "run")
    assert outcome.code == 2
    assert "margin is 0.7" in outcome.err
    assert outcome.err.count("\n") == 1
