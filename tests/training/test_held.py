"""A run's folder is one training's: of two at once one goes on as if it were alone, the other is refused."""

import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from diffshare.training.run import LAST

Start = Callable[..., list[Any]]


def one_of_two(ended: list[Any], folder: Path) -> None:
    """One of them was refused, in one line, by the other's process and host."""
    assert sorted(one.status for one in ended) == [0, 2], ended
    (refused,) = [one.output for one in ended if one.status == 2]
    host = re.escape(socket.gethostname())
    line = rf"diffshare: process \d+ on {host} trains in {folder}: wait for its end, stop it, "
    line += r"or name another --run-dir\n"
    assert re.fullmatch(line, refused), refused


def test_two_fits_into_one_folder(
    start: Start, tiny: list[str], tmp_path: Path, reference: Path, check_resume: ModuleType
) -> None:
    folder = tmp_path / "run"
    # so that they meet
    fit = {
        "arguments": ["fit", *tiny, "--run-dir", str(folder)],
        "faults": ["batch:3:slow"],
    }
    one_of_two(start(fit, fit), folder)
    assert check_resume.differences(folder, reference) == []
    assert not list(folder.glob(".*"))


def test_two_that_resume_one_run(
    start: Start,
    run: Any,
    tiny: list[str],
    tmp_path: Path,
    reference: Path,
    check_resume: ModuleType,
) -> None:
    folder = tmp_path / "run"
    assert run("fit", *tiny, "--run-dir", folder, faults=["batch:9:kill"]).status == -9
    resume = {
        "arguments": ["fit", "--run-dir", str(folder), "--resume"],
        "faults": ["batch:12:slow"],
    }
    one_of_two(start(resume, resume), folder)
    assert check_resume.differences(folder, reference) == []


def test_a_killed_run_is_gone_on_with_at_once_though_its_loader_processes_still_live(
    run: Any, tiny: list[str], tmp_path: Path, reference: Path, check_resume: ModuleType
) -> None:
    folder = tmp_path / "run"
    workers = ["--data.num_workers", "2"]
    assert run("fit", *tiny, *workers, "--run-dir", folder, faults=["batch:9:kill"]).status == -9
    assert run("fit", "--run-dir", folder, "--resume").status == 0
    assert check_resume.differences(folder, reference) == []


def test_a_folder_with_a_file_that_no_run_wrote_is_refused_and_one_that_was_killed_early_is_not(
    run: Any, tiny: list[str], tmp_path: Path, reference: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.md").write_text("mine")
    shutil.copy(reference / "config.yaml", folder)
    refused = run("fit", *tiny, "--run-dir", folder)
    assert refused.status == 2
    assert (
        f"{folder} holds config.yaml, which no run wrote: name another --run-dir" in refused.output
    )
    assert {path.name for path in folder.iterdir()} == {"notes.md", "config.yaml"}
    early = tmp_path / "early"
    assert run("fit", *tiny, "--run-dir", early, faults=["write:1:kill"]).status == -9
    assert (early / "config.yaml").is_file()
    assert not (early / LAST).exists()
    (early / "run.json").unlink()
    assert run("fit", *tiny, "--run-dir", early).status == 0


def test_a_test_elsewhere_replaces_no_results_of_somebody(
    run: Any, tiny: list[str], tmp_path: Path, reference: Path
) -> None:
    (tmp_path / "results.json").write_text("mine")
    arguments = [*tiny, "--ckpt_path", reference / LAST, "--run-dir", tmp_path]
    refused = run("test", *arguments)
    assert refused.status == 2
    assert "holds results.json, which no run wrote" in refused.output
    assert (tmp_path / "results.json").read_text() == "mine"
