"""What a run leaves that is stopped by Ctrl-C, a full disk, a kill or a loss that is no number."""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from diffshare.training.run import LAST

Run = Callable[..., Any]


def step_of(folder: Path) -> int:
    """The step of a checkpoint that is whole: every tensor in it can be read."""
    checkpoint = torch.load(folder / LAST, weights_only=True)
    assert all(bool(torch.isfinite(t).all()) for t in checkpoint["current_model_state"].values())
    return int(checkpoint["global_step"])


@pytest.mark.parametrize(
    ("fault", "extra", "step"),
    [
        ("batch:5:int", [], 6),
        ("validation:1:int", [], 7),
        ("batch:2:int", ["--trainer.accumulate_grad_batches", "2"], 2),
        ("batch:5:int", ["--data.num_workers", "2"], 6),
    ],
    ids=["in a batch", "in validation", "in accumulation", "with workers"],
)
def test_ctrl_c_saves_at_the_boundary_and_what_it_says_goes_on(
    run: Run, tiny: list[str], tmp_path: Path, reference: Path, check_resume: ModuleType, fault, extra, step
) -> None:
    folder = tmp_path / "run"
    if extra == ["--trainer.accumulate_grad_batches", "2"]:
        extra = [*extra, "--trainer.max_steps", "8"]
        reference = tmp_path / "reference"
        assert run("fit", *tiny, *extra, "--run-dir", reference).status == 0
    ended = run("fit", *tiny, *extra, "--run-dir", folder, "--trainer.num_sanity_val_steps", 0, faults=[fault])
    assert ended.status == 130, ended.output
    assert not (folder / "release").exists()
    assert "Traceback" not in ended.output
    assert step_of(folder) == step
    again = re.search(r"to go on: python -m diffshare.cli (.*)", ended.output)
    assert again is not None
    ended = run(*again[1].split())
    assert ended.status == 0, ended.output
    assert check_resume.differences(folder, reference) == []


def test_ctrl_c_in_the_last_batch_keeps_the_end_for_later(
    run: Run, tiny: list[str], tmp_path: Path, reference: Path, check_resume: ModuleType
) -> None:
    folder = tmp_path / "run"
    ended = run("fit", *tiny, "--run-dir", folder, faults=["batch:15:int"])
    assert ended.status == 130
    assert not (folder / "release").exists()
    assert run("fit", "--run-dir", folder, "--resume").status == 0
    assert check_resume.differences(folder, reference) == []


def test_a_second_ctrl_c_stops_at_once(
    run: Run, tiny: list[str], tmp_path: Path, reference: Path, check_resume: ModuleType
) -> None:
    folder = tmp_path / "run"
    ended = run("fit", *tiny, "--run-dir", folder, faults=["batch:5:int", "batch:5:int"])
    assert ended.status == 130
    assert "Ctrl-C again stops at once" in ended.output
    assert "Traceback" not in ended.output
    assert step_of(folder) == 3
    assert run("fit", "--run-dir", folder, "--resume").status == 0
    assert check_resume.differences(folder, reference) == []


def test_killed_while_it_writes_a_checkpoint_it_keeps_the_one_before(run: Run, tiny: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run("fit", *tiny, "--run-dir", folder, faults=["write:3:kill"]).status == -9
    assert step_of(folder) == 3
    (half,) = (folder / LAST).parent.glob(".*.part")
    assert 0 < half.stat().st_size < (folder / LAST).stat().st_size


def test_a_full_disk_under_a_checkpoint(
    run: Run, tiny: list[str], tmp_path: Path, reference: Path, check_resume: ModuleType
) -> None:
    folder = tmp_path / "run"
    ended = run("fit", *tiny, "--run-dir", folder, faults=["write:3:full"])
    assert ended.status == 2
    said = [line for line in ended.output.splitlines() if line.startswith("diffshare:")]
    assert said == [
        f"diffshare: cannot write the checkpoint {folder / LAST}: No space left on device; "
        "the one before it is still whole"
    ]
    assert step_of(folder) == 3
    assert not list(folder.rglob("*.part"))
    assert run("fit", "--run-dir", folder, "--resume").status == 0
    assert check_resume.differences(folder, reference) == []


def test_a_full_disk_under_the_release(run: Run, tiny: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ended = run("fit", *tiny, "--run-dir", folder, faults=["release:1:full"])
    assert ended.status == 2
    assert len([line for line in ended.output.splitlines() if "No space left on device" in line]) == 1
    assert not (folder / "release").exists()
    assert not list(folder.rglob("*.part"))
    assert step_of(folder) == 16


def test_a_loss_that_is_no_number(run: Run, tiny: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ended = run("fit", *tiny, "--run-dir", folder, "--model.optimizer.init_args.lr", "1e30")
    assert ended.status == 2
    (line,) = [line for line in ended.output.splitlines() if line.startswith("diffshare:")]
    said = re.search(r"is nan at step (\d+), batch (\d+) of epoch 0; last good checkpoint: (.*) \(step 0\)", line)
    assert said is not None, line
    assert said[1] == said[2]
    assert int(said[1]) <= 3
    assert Path(said[3]) == folder / LAST
    assert step_of(folder) == 0
    assert not (folder / "release").exists()


def test_an_error_that_nobody_foresaw_is_no_mistake_of_the_user(run: Run, tiny: list[str], tmp_path: Path) -> None:
    ended = run("fit", *tiny, "--run-dir", tmp_path / "run", faults=["batch:4:error"])
    assert ended.status == 1
    assert "RuntimeError: a fault that nobody foresaw" in ended.output
    assert step_of(tmp_path / "run") == 3
