"""The verb: exit status, what it prints, what it leaves, when it is killed or stopped."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def letters(tmp_path: Path) -> list[object]:
    """Arguments of a study of two letters."""
    config = tmp_path / "study.yaml"
    config.write_text(
        "study: {class_path: fake_steps.Letters, init_args: {letters: [a, b]}}\nthreads: 1\n"
    )
    return ["study", "--config", config, "--out", tmp_path / "out"]


def test_results_are_written_and_a_second_call_does_nothing(run_cli, letters, tmp_path):
    outcome = run_cli(*letters)
    assert (outcome.code, outcome.err) == (0, "")
    assert "[2/2] b" in outcome.out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["study"] == "fake_steps.Letters"
    assert results["config"]["init_args"] == {"letters": ["a", "b"]}
    assert results["command"].startswith("diffshare study --config")
    assert results["summary"] == [{"count": 2}]
    assert results["failed"] == {}
    with (tmp_path / "out" / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[1] == {"letter": "b", "nested.text": "b", "nested.two.0": "1", "nested.two.1": ""}
    again = run_cli(*letters, "--resume")
    assert again.code == 0
    assert "2 of 2 steps are done already" in again.out
    grown = run_cli(*letters, "--resume", "--study.letters", '["a","b","c"]')
    assert "[3/3] c" in grown.out


def test_a_failure_is_told_and_the_rest_is_written(run_cli, letters, tmp_path):
    outcome = run_cli(*letters, "--study.letters", '["a","fail"]')
    assert outcome.code == 1
    lines = outcome.err.splitlines()
    assert len(lines) == 1
    assert "step 'fail' failed: told you so" in lines[0]
    assert "log.txt" in lines[0]
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["failed"] == {"fail": "told you so"}
    assert results["missing"] == ["fail"]
    assert [row["letter"] for row in results["rows"]] == ["a"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--study.letters", "[]"], "the study's grid is empty"),
        (["--study.letters", '["a","a"]'], "two steps of the study are called 'a'"),
        (["--study.letters", "[a,b,c,d]"], "four letters are too many"),
        (["--workers", "0"], "--workers is 0"),
        (["--resume"], "there is no study to go on with"),
        (["--study", "fake_steps.Nothing"], "fake_steps"),
        (["--config", "missing.yaml"], "there is no config file missing.yaml"),
    ],
)
def test_refusals(run_cli, letters, tmp_path, more, words):
    outcome = run_cli(*letters, *more)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert words in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def waiting(letters: list[object], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The study in a process of its own, at work on a step that waits."""
    words = [*map(str, letters), "--study.letters", '["a","wait","b"]']
    environment = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "diffshare.cli", *words],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while (
        not (tmp_path / "out" / "steps" / "wait" / "out.txt").exists()
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    with process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_stop_says_how_to_go_on(waiting, tmp_path, signum, status):
    waiting.send_signal(signum)
    out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == status
    assert "to go on: diffshare study --config" in out
    assert "--resume" in out.splitlines()[-1]
    assert sorted(p.parent.name for p in (tmp_path / "out").rglob("step.json")) == ["a"]


def test_a_killed_study_leaves_no_process_and_can_go_on(waiting, run_cli, letters, tmp_path):
    waiting.kill()
    waiting.wait()
    outcome = None
    for _ in range(200):  # its worker sees the end of its parent and goes
        if not working_for(tmp_path):
            break
        time.sleep(0.05)
    assert not working_for(tmp_path)
    outcome = run_cli(*letters, "--study.letters", '["a","b"]', "--resume")
    assert outcome.code == 0
    assert "1 of 2 steps are done already" in outcome.out


def working_for(folder: Path) -> list[str]:
    """Processes that have a log of the study below ``folder`` open."""
    open_logs = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith(str(folder)):
            open_logs.append(target)
    return open_logs
