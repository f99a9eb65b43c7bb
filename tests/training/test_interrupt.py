"""What a run leaves that is stopped by Ctrl-C, a cluster, a full disk, a kill or a loss that is no number."""

import os
import pty
import re
import sys
import time
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
    ("fault", "extra", "step", "status"),
    [
        ("batch:5:int", [], 6, 130),
        ("validation:1:int", [], 7, 130),
        ("batch:2:int", ["--trainer.accumulate_grad_batches", "2"], 2, 130),
        ("batch:5:int", ["--data.num_workers", "2"], 6, 130),
        ("batch:5:term", [], 6, 143),
        ("batch:5:hup", [], 6, 143),
        ("validation:1:term", [], 7, 143),
        ("batch:5:group", ["--data.num_workers", "2"], 6, 143),
    ],
    ids=["in a batch", "in validation", "in accumulation", "with workers", "SIGTERM", "SIGHUP", "SIGTERM in validation",
         "SIGTERM to workers as well"],
)  # fmt: skip
def test_a_stop_that_is_asked_for_saves_at_the_boundary_and_what_it_says_goes_on(
    run: Run,
    tiny: list[str],
    tmp_path: Path,
    reference: Path,
    check_resume: ModuleType,
    fault,
    extra,
    step,
    status,
) -> None:
    folder = tmp_path / "run"
    if extra == ["--trainer.accumulate_grad_batches", "2"]:
        extra = [*extra, "--trainer.max_steps", "8"]
        reference = tmp_path / "reference"
        assert run("fit", *tiny, *extra, "--run-dir", reference).status == 0
    ended = run(
        "fit",
        *tiny,
        *extra,
        "--run-dir",
        folder,
        "--trainer.num_sanity_val_steps",
        0,
        faults=[fault],
    )
    assert ended.status == status, ended.output
    assert not (folder / "release").exists()
    assert "Traceback" not in ended.output
    assert step_of(folder) == step
    again = re.search(r"to go on: diffshare (.*)", ended.output)
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


def test_a_cluster_that_asks_twice_loses_no_batch(
    run: Run, tiny: list[str], tmp_path: Path
) -> None:
    ended = run(
        "fit",
        *tiny,
        "--run-dir",
        tmp_path / "run",
        faults=["batch:5:term", "batch:5:hup", "batch:5:term"],
    )
    assert ended.status == 143, ended.output
    assert step_of(tmp_path / "run") == 6


def test_ctrl_c_after_a_cluster_s_request_stops_at_once(
    run: Run, tiny: list[str], tmp_path: Path
) -> None:
    both = ["batch:5:int", "batch:5:term"]  # the last is first
    ended = run("fit", *tiny, "--run-dir", tmp_path / "run", faults=both)
    assert ended.status == 130, ended.output
    assert step_of(tmp_path / "run") == 3


@pytest.mark.parametrize(
    ("fault", "status"), [("validation:1:term", 143), ("validation:1:int", 130)]
)
def test_a_stop_before_the_first_batch_keeps_the_start(
    run: Run, tiny: list[str], tmp_path: Path, fault: str, status: int
) -> None:
    # Lightning's check of the validation
    ended = run("fit", *tiny, "--run-dir", tmp_path / "run", faults=[fault])
    assert ended.status == status, ended.output
    assert step_of(tmp_path / "run") == 0


@pytest.mark.parametrize(
    ("fault", "status", "said"), [("int", 130, "Ctrl-C"), ("term", 143, "SIGTERM")]
)
def test_a_stop_while_the_release_is_written_leaves_it_for_later(
    run: Run, tiny: list[str], tmp_path: Path, fault: str, status: int, said: str
) -> None:
    folder = tmp_path / "run"
    ended = run("fit", *tiny, "--run-dir", folder, faults=[f"release:1:{fault}"])
    assert ended.status == status, ended.output
    assert f"diffshare: stopped by {said}\n" in ended.output
    assert not list(folder.rglob("*release*"))
    assert run("fit", "--run-dir", folder, "--resume").status == 0
    assert (folder / "release" / "diffshare.json").is_file()


@pytest.mark.slow
def test_a_terminal_that_closes_loses_no_batch(tiny: list[str], tmp_path: Path) -> None:
    """Each print is an error from then on, the progress bar's too."""
    folder, faults = tmp_path / "run", Path(__file__).parents[2] / "scripts" / "faults.py"
    shown = ["--trainer.enable_progress_bar", "true"]
    command = [
        sys.executable,
        str(faults),
        "batch:5:slow",
        "fit",
        *tiny,
        *shown,
        "--run-dir",
        str(folder),
    ]
    process, terminal = pty.fork()
    if not process:
        os.execv(sys.executable, command)
    seen = b""
    while b"fit: DDPM" not in seen:
        seen += os.read(terminal, 1000)
    while not (folder / LAST).is_file():
        time.sleep(0.05)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 143
    assert 0 < step_of(folder) <= 6


def test_killed_while_it_writes_a_checkpoint_it_keeps_the_one_before(
    run: Run, tiny: list[str], tmp_path: Path
) -> None:
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
    assert (
        len([line for line in ended.output.splitlines() if "No space left on device" in line]) == 1
    )
    assert not (folder / "release").exists()
    assert not list(folder.rglob("*.part"))
    assert step_of(folder) == 16


def test_a_loss_that_is_no_number(run: Run, tiny: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ended = run("fit", *tiny, "--run-dir", folder, "--model.optimizer.init_args.lr", "1e30")
    assert ended.status == 2
    (line,) = [line for line in ended.output.splitlines() if line.startswith("diffshare:")]
    said = re.search(
        r"is nan at step (\d+), batch (\d+) of epoch 0; last good checkpoint: (.*) \(step 0\)", line
    )
    assert said is not None, line
    assert said[1] == said[2]
    assert int(said[1]) <= 3
    assert Path(said[3]) == folder / LAST
    assert step_of(folder) == 0
    assert not (folder / "release").exists()


def test_an_error_that_nobody_foresaw_is_no_mistake_of_the_user(
    run: Run, tiny: list[str], tmp_path: Path
) -> None:
    ended = run("fit", *tiny, "--run-dir", tmp_path / "run", faults=["batch:4:error"])
    assert ended.status == 1
    assert "RuntimeError: a fault that nobody foresaw" in ended.output
    assert step_of(tmp_path / "run") == 3
