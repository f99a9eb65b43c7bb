"""A run that was killed and resumed ends as if nothing had happened; what cannot be resumed is refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event

from diffshare.training.run import LAST

ROOT = Path(__file__).parents[2]
Run = Callable[..., Any]
CONSTANT = ["--model.lr_schedule", "constant"]


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def copy(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def refusal(ended: Any) -> str:
    """The one line of a refusal."""
    assert ended.status == 2, ended.output
    lines = [line for line in ended.output.splitlines() if line.startswith("diffshare:")]
    assert len(lines) == 1, ended.output
    assert "Traceback" not in ended.output
    return lines[0]


@pytest.mark.slow
def test_killed_at_chosen_points_in_every_setting_it_ends_equal_to_the_bit(tmp_path: Path) -> None:
    points = ["batch:4:kill", "write:2:kill", "batch:13:kill", "release:1:kill"]
    command = [sys.executable, ROOT / "scripts" / "check_resume.py", "--points", *points]
    done = subprocess.run(
        [*command, "--json", tmp_path / "r.json"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads((tmp_path / "r.json").read_text())
    assert (outcome["runs"], outcome["kills"], outcome["equal"]) == (3, 12, 3)


def test_a_release_of_an_earlier_end_is_not_taken_for_the_last_one(
    run: Run, tiny: list[str], tmp_path: Path, check_resume: ModuleType
) -> None:
    """Killed before the new release was there, or while it took the place of the old one: both are made good."""
    whole = tmp_path / "whole"
    assert run("fit", *tiny, *CONSTANT, "--run-dir", whole, "--trainer.max_steps", 8).status == 0
    for fault in ("release:1:kill", "replace:1:kill"):
        folder = tmp_path / fault[:7]
        assert (
            run("fit", *tiny, *CONSTANT, "--run-dir", folder, "--trainer.max_steps", 5).status == 0
        )
        early = content(folder / "release")
        more = ["--run-dir", folder, "--resume", "--trainer.max_steps", 8]
        assert run("fit", *more, faults=[fault]).status == -9
        ended = run("fit", *more)
        assert ended.status == 0
        assert content(folder / "release") != early
        assert [
            d for d in check_resume.differences(folder, whole) if not d.startswith("log:")
        ] == []
        assert "nothing is left to do" in run("fit", *more).output


def test_the_comparison_sees_a_difference(
    reference: Path, run: Run, tiny: list[str], tmp_path: Path, check_resume: ModuleType
) -> None:
    assert check_resume.differences(reference, reference) == []
    other = copy(reference, tmp_path / "run")
    path = other / LAST
    changed = torch.load(path, weights_only=True)
    next(iter(changed["current_model_state"].values())).view(-1)[0] += 1e-6
    torch.save(changed, path)
    (other / "release" / "README.md").write_text("other")
    (other / "checkpoints" / ".last.ckpt.x.part").touch()
    found = check_resume.differences(other, reference)
    assert found == [
        "current_model_state",
        "release/README.md",
        "left behind: checkpoints/.last.ckpt.x.part",
    ]
    log = next(other.glob("events*"))
    log.with_name("events.out.tfevents.0000000000.first").write_bytes(log.read_bytes())
    # the second session takes back what the first wrote
    assert check_resume.differences(other, reference) == found
    log.with_name("events.out.tfevents.9999999999.last").write_bytes(unpurged(log))
    assert "log: train/loss of step 3 added" in check_resume.differences(other, reference)


def unpurged(log: Path) -> bytes:
    """A log without the record that purges what stands before it."""
    content, at, records = log.read_bytes(), 0, []
    while at < len(content):  # length, its checksum, the record, its checksum
        size = int.from_bytes(content[at : at + 8], "little") + 16
        records.append(content[at : at + size])
        at += size
    return b"".join(
        record for record in records if not Event.FromString(record[12:-4]).HasField("session_log")
    )


@pytest.mark.parametrize("steps", [7, 12], ids=["mid-epoch", "end of an epoch"])
def test_a_later_end_goes_on_as_if_it_had_been_meant_from_the_start(
    run: Run, tiny: list[str], tmp_path: Path, steps: int, check_resume: ModuleType
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    batches = ["--trainer.limit_train_batches", "6"]
    assert (
        run("fit", *tiny, *CONSTANT, *batches, "--run-dir", whole, "--trainer.max_steps", 16).status
        == 0
    )
    assert (
        run(
            "fit", *tiny, *CONSTANT, *batches, "--run-dir", parts, "--trainer.max_steps", steps
        ).status
        == 0
    )
    assert run("fit", "--run-dir", parts, "--resume", "--trainer.max_steps", 16).status == 0
    assert [d for d in check_resume.differences(parts, whole) if not d.startswith("log:")] == []


def test_the_end_of_a_cosine_schedule_cannot_move(
    reference: Path, run: Run, tmp_path: Path
) -> None:
    folder = copy(reference, tmp_path / "run")
    line = refusal(run("fit", "--run-dir", folder, "--resume", "--trainer.max_steps", 20))
    assert "trainer.max_steps was 16, is now 20" in line


def test_a_finished_run_is_left_as_it_is(reference: Path, run: Run) -> None:
    before = content(reference)
    ended = run("fit", "--run-dir", reference, "--resume")
    assert ended.status == 0
    assert "is finished (step 16): nothing is left to do" in ended.output
    assert content(reference) == before


def test_a_release_that_is_missing_is_written_by_a_resumed_run(
    reference: Path, run: Run, tmp_path: Path, check_resume: ModuleType
) -> None:
    folder = copy(reference, tmp_path / "run")
    shutil.rmtree(folder / "release")
    assert run("fit", "--run-dir", folder, "--resume").status == 0
    assert check_resume.differences(folder, reference) == []


def test_resume_where_nothing_is(run: Run, tmp_path: Path, tiny: list[str]) -> None:
    line = refusal(run("fit", *tiny, "--run-dir", tmp_path / "none", "--resume"))
    assert "nothing to resume" in line
    assert "last.ckpt" in line
    assert not (tmp_path / "none").exists()
    assert "--resume needs --run-dir" in refusal(run("fit", *tiny, "--resume"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--data.batch_size", "4"], "data.init_args.batch_size was 8, is now 4"),
        (["--data.seed", "5"], "data.init_args.seed was 0, is now 5"),
        (["--model.denoiser.dropout", "0.5"], "denoiser.init_args.dropout was 0.0, is now 0.5"),
        (["--seed_everything", "4", "--data.seed", "5"], "seed was 0, is now 5 (and 1 more)"),
    ],
)
def test_a_changed_configuration_is_named(
    reference: Path, run: Run, change: list[str], said: str
) -> None:
    before = content(reference)
    assert said in refusal(run("fit", "--run-dir", reference, "--resume", *change))
    assert content(reference) == before


@pytest.mark.parametrize(
    ("name", "was", "now"), [("processes", 2, 1), ("precision", "bf16-mixed", "32-true")]
)
def test_a_machine_that_computes_otherwise_is_named(
    reference: Path, run: Run, tmp_path: Path, name: str, was: Any, now: Any
) -> None:
    folder = copy(reference, tmp_path / "run")
    shutil.rmtree(folder / "release")
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(facts | {name: was}))
    assert f"trained with {name} {was}, now it would be {now}" in refusal(
        run("fit", "--run-dir", folder, "--resume")
    )


def test_a_source_that_changed_is_named(run: Run, tiny: list[str], tmp_path: Path) -> None:
    pictures, folder = tmp_path / "pictures", tmp_path / "run"
    pictures.mkdir()
    names = [f"{number}.png" for number in range(60)]
    for number, name in enumerate(names):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(pictures / name)
    rows = [f"{name},{number % 2}" for number, name in enumerate(names)]
    (pictures / "metadata.csv").write_text("\n".join(["file_name,bright", *rows]))
    source = [
        "--data.source",
        "diffshare.data.imagefolder.ImageFolder",
        "--data.source.root",
        pictures,
    ]
    data = [
        *source,
        "--data.source.image_size",
        8,
        "--data.target",
        "bright",
        "--data.sensitive",
        "null",
    ]
    assert run("fit", *tiny, *data, "--run-dir", folder, faults=["batch:9:kill"]).status == -9
    before = content(folder)
    with (pictures / names[7]).open("ab") as stream:
        stream.write(b"more")
    line = refusal(run("fit", "--run-dir", folder, "--resume"))
    assert f"the source has changed since {folder} was started (source_sha256 was '" in line
    assert "put the records back as they were, or start a new run" in line
    kept = [
        path for path in before if "events" not in path.name and not path.name.startswith(".lock")
    ]
    assert {path: before[path] for path in kept}.items() <= content(folder).items()


def test_what_a_killed_writer_left_is_swept_away(
    run: Run, tiny: list[str], tmp_path: Path, reference: Path, check_resume: ModuleType
) -> None:
    folder = tmp_path / "run"
    assert run("fit", *tiny, "--run-dir", folder, faults=["release:1:kill"]).status == -9
    assert list(folder.glob(".release.*.part/unet"))
    assert not (folder / "release").exists()
    assert run("fit", "--run-dir", folder, "--resume").status == 0
    assert check_resume.differences(folder, reference) == []
