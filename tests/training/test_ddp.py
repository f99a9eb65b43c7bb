"""Several processes that train as one: gloo on this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from diffshare.release.samples import read_samples
from diffshare.training.run import LAST

ROOT = Path(__file__).parents[2]
Run = Callable[..., Any]
ONE = ["--trainer.strategy", "auto", "--trainer.devices", "1"]
LOSS = {"validate": "validation.json", "test": "results.json"}


class Pair(NamedTuple):
    """The same training by two processes (half a batch each) and by one, and what each process printed."""

    two: Path
    one: Path
    printed: list[str]


def seen(folder: Path, stage: str, rank: int) -> list[list[str]]:
    """The records of each batch that a process read in a stage."""
    lines = (folder / "seen" / f"seen-{rank}.txt").read_text().split("\n")
    return [line.split()[2:] for line in lines if line.startswith(f"{stage} ")]


def note_records(folder: Path) -> list[str]:
    """Arguments that make a run note what its processes read."""
    overlay = {"trainer": {"callbacks+": [{"class_path": "training_steps.Seen", "init_args": {}}]}}
    overlay["trainer"]["callbacks+"][0]["init_args"] = {"folder": str(folder / "seen")}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "seen.yaml").write_text(yaml.safe_dump(overlay))
    return ["--config", str(folder / "seen.yaml"), "--run-dir", str(folder)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, run: Run, run_two: Run, tiny: list[str]) -> Pair:
    two, one = tmp_path_factory.mktemp("two") / "run", tmp_path_factory.mktemp("one") / "run"
    quiet = ["--trainer.num_sanity_val_steps", "0"]
    both = run_two("fit", *tiny, *note_records(two), *quiet, "--data.batch_size", 4)
    assert [ended.status for ended in both] == [0, 0], both
    alone = run("fit", *tiny, *note_records(one), *quiet, "--data.batch_size", 8)
    assert alone.status == 0, alone.output
    return Pair(two, one, [ended.output for ended in both])


def test_each_step_reads_the_records_of_one_process_shared_out(pair: Pair) -> None:
    alone = seen(pair.one, "train", 0)
    shared = [seen(pair.two, "train", rank) for rank in range(2)]
    assert len(alone) == len(shared[0]) == len(shared[1]) == 16
    for first, second, whole in zip(*shared, alone, strict=True):
        assert len(first) == len(second) == 4
        assert not set(first) & set(second)
        assert sorted(first + second) == sorted(whole)


def test_each_validation_record_is_read_once_by_one_process(pair: Pair) -> None:
    def read(folder: Path, rank: int) -> Counter[str]:
        return Counter(sum(seen(folder, "validate", rank), []))

    assert read(pair.two, 0) + read(pair.two, 1) == read(pair.one, 0)
    assert not read(pair.two, 0) & read(pair.two, 1)
    assert set(read(pair.one, 0).values()) == {2}  # validated after batches 7 and 14


def test_all_processes_end_with_the_same_weights(pair: Pair) -> None:
    assert seen(pair.two, "weights", 0) == seen(pair.two, "weights", 1)


def test_there_is_one_folder_one_log_one_release(pair: Pair) -> None:
    assert len(list(pair.two.glob("events.out.tfevents.*"))) == 1
    assert json.loads((pair.two / "run.json").read_text())["processes"] == 2
    names = {
        p.relative_to(pair.two)
        for p in pair.two.rglob("*")
        if not p.match("events*") and "seen" not in p.name
    }
    assert names == {
        p.relative_to(pair.one)
        for p in pair.one.rglob("*")
        if not p.match("events*") and "seen" not in p.name
    }
    assert "release:" in pair.printed[0]
    assert pair.printed[1] == ""


def test_the_loss_curves_are_close(pair: Pair) -> None:
    # The records of a step are the same; their noise and timesteps are drawn by each process from (seed, batch, rank),
    # so weights differ as those of two seeds do. The validation asks both with the same noise.
    def validation(folder: Path) -> list[float]:
        return [entry.value for entry in EventAccumulator(str(folder)).Reload().Scalars("val/loss")]

    assert validation(pair.two) == pytest.approx(validation(pair.one), rel=0.03)
    assert validation(pair.two) != validation(pair.one)


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_losses_are_those_of_one_process(
    pair: Pair, run: Run, run_two: Run, verb: str, tmp_path: Path
) -> None:
    # Noise belongs to the record, so only the order of float32 sums differs (other batches in the network, other
    # partial sums): some units in the last place, 6e-8 each, of about a hundred terms.
    measured = []
    for start, strategy in ((run_two, []), (run, ONE)):
        ended = start(
            verb, "--run-dir", pair.two, "--trust-code", "--data.eval_batch_size", 5, *strategy
        )
        for one in ended if isinstance(ended, list) and not hasattr(ended, "status") else [ended]:
            assert one.status == 0, one.output
        measured.append(json.loads((pair.two / LOSS[verb]).read_text()))
    assert measured[0].keys() == measured[1].keys()
    assert len(measured[0]) == 5
    assert measured[0] == pytest.approx(measured[1], rel=1e-5)


def test_samples_are_those_of_one_process(pair: Pair, run: Run, run_two: Run) -> None:
    # a callback of the tests
    count = [
        "--data.predict_count",
        13,
        "--data.eval_batch_size",
        4,
        "--trust-code",
    ]
    both = run_two("predict", "--run-dir", pair.two, *count)
    assert [ended.status for ended in both] == [0, 0], both
    together = read_samples(pair.two / "samples")
    (pair.two / "samples").rename(pair.two / "samples-of-two")
    alone = run("predict", "--run-dir", pair.two, *count, *ONE)
    assert alone.status == 0, alone.output
    expected = read_samples(pair.two / "samples")
    assert together.x.shape == expected.x.shape == (13, 8, 8, 3)
    assert np.abs(together.x.astype(int) - expected.x).max() <= 1
    np.testing.assert_array_equal(together.y, expected.y)
    assert len({sample.tobytes() for sample in together.x}) == 13
    assert not list(pair.two.glob(".samples*"))


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_job_and_the_job_resumes(
    pair: Pair, run_two: Run, tiny: list[str], tmp_path: Path, killed: int, check_resume: ModuleType
) -> None:
    folder = tmp_path / "run"
    faults = tuple(("batch:5:kill",) if rank == killed else () for rank in range(2))
    config = [
        *tiny,
        "--data.batch_size",
        4,
        "--trainer.num_sanity_val_steps",
        0,
        "--run-dir",
        folder,
    ]
    ended = run_two("fit", *config, faults=faults)
    assert ended[killed].status == -signal.SIGKILL
    other = ended[1 - killed]
    assert other.status == 1
    assert other.output.count("another process of this job is gone") == 1
    assert "Traceback" not in other.output
    assert not (folder / "release").exists()
    ended = run_two("fit", "--run-dir", folder, "--resume")
    assert [one.status for one in ended] == [0, 0], ended
    assert check_resume.differences(folder, pair.two) == []


@pytest.mark.parametrize(("how", "status"), [("int", 130), ("term", 143)])
def test_a_stop_asked_of_one_process_stops_all_at_the_same_batch(
    pair: Pair,
    run_two: Run,
    tiny: list[str],
    tmp_path: Path,
    check_resume: ModuleType,
    how: str,
    status: int,
) -> None:
    folder = tmp_path / "run"
    config = [
        *tiny,
        "--data.batch_size",
        4,
        "--trainer.num_sanity_val_steps",
        0,
        "--run-dir",
        folder,
    ]
    ended = run_two("fit", *config, faults=((), (f"batch:5:{how}",)))
    assert [one.status for one in ended] == [status, status], ended
    assert sum(one.output.count("to go on:") for one in ended) == 1
    assert [one.status for one in run_two("fit", "--run-dir", folder, "--resume")] == [0, 0]
    assert check_resume.differences(folder, pair.two) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data.target", "Nose"], "unknown attribute 'Nose'"),
        (["--model.optimizer.init_args.lr", "1e30"], "the loss is nan"),
        (
            ["--data.batch_size", "100"],
            "do not fill one batch of data.batch_size 100 in each of 2 processes",
        ),
        (["--data.source.count", "3", "--data.batch_size", "1"], "processes|records"),
    ],
)
def test_a_mistake_is_told_once(
    run_two: Run, tiny: list[str], tmp_path: Path, arguments: list[str], said: str
) -> None:
    ended = run_two("fit", *tiny, "--run-dir", tmp_path / "run", *arguments)
    lines = [
        line for one in ended for line in one.output.splitlines() if line.startswith("diffshare:")
    ]
    assert {one.status for one in ended} <= {1, 2}
    assert 2 in {one.status for one in ended}
    told = [line for line in lines if "another process of this job is gone" not in line]
    assert len(told) == 1, ended
    assert any(part in told[0] for part in said.split("|"))
    assert not any("Traceback" in one.output for one in ended)


def test_processes_from_outside_need_a_folder_in_common(run_two: Run, tiny: list[str]) -> None:
    ended = run_two("fit", *tiny)
    assert [one.status for one in ended] == [2, 2]
    assert sum("name one with --run-dir" in one.output for one in ended) == 1


def test_the_variables_of_slurm(
    pair: Pair, run_two: Run, tiny: list[str], tmp_path: Path, check_resume: Any
) -> None:
    def slurm(rank: int) -> dict[str, str]:
        facts = {
            "NTASKS": 2,
            "NTASKS_PER_NODE": 2,
            "PROCID": rank,
            "LOCALID": rank,
            "NODEID": 0,
            "JOB_ID": 1234,
        }
        names = {f"SLURM_{name}": str(value) for name, value in facts.items()}
        return names | {"SLURM_NODELIST": "127.0.0.1", "SLURM_JOB_NAME": "job"}

    folder = tmp_path / "run"
    config = [
        *tiny,
        "--data.batch_size",
        4,
        "--trainer.num_sanity_val_steps",
        0,
        "--run-dir",
        folder,
    ]
    ended = run_two("fit", *config, env=slurm)
    assert [one.status for one in ended] == [0, 0], ended
    assert check_resume.differences(folder, pair.two) == []


# --- as a user starts them -------------------------------------------------------------------------------------------


def cli(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "diffshare.cli", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


@pytest.mark.slow
def test_one_command_starts_both_processes_in_one_folder_and_a_killed_one_ends_it(
    tiny: list[str], tmp_path: Path
) -> None:
    ddp = ["--trainer.strategy", "ddp", "--trainer.devices", 2, "--data.batch_size", 4]
    process = cli("fit", *tiny, *ddp, "--trainer.max_steps", 10**6, cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not (checkpoints := list(tmp_path.glob(f"lightning_logs/*/{LAST}"))):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (child,) = [c for c in children if b"diffshare.cli" in Path(f"/proc/{c}/cmdline").read_bytes()]
    os.kill(int(child), signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert "another process of this job is gone" in output or "terminated with code -9" in output
    assert len(checkpoints) == len(list(tmp_path.glob("lightning_logs/*"))) == 1


@pytest.mark.slow
def test_torchrun_with_two_nodes_on_one_machine(
    pair: Pair,
    tiny: list[str],
    tmp_path: Path,
    check_resume: ModuleType,
    free_port: Callable[[], int],
) -> None:
    folder, port = tmp_path / "run", free_port()
    nodes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "torch.distributed.run",
                "--nnodes",
                "2",
                "--node-rank",
                str(rank),
            ]
            + ["--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(port)]
            + [
                "-m",
                "diffshare.cli",
                "fit",
                *tiny,
                "--data.batch_size",
                "4",
                "--trainer.num_sanity_val_steps",
                "0",
            ]
            + ["--trainer.strategy", "ddp", "--trainer.devices", "1", "--trainer.num_nodes", "2"]
            + ["--run-dir", str(folder)],
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [node.communicate(timeout=240)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    assert json.loads((folder / "run.json").read_text())["processes"] == 2
    assert check_resume.differences(folder, pair.two) == []
