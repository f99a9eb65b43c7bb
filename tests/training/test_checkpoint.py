"""The checkpoint: whole or not there, never unpickled, at the right batches, between two batches."""

import copy
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from training_steps import Drift, fit

from diffshare.errors import UserError
from diffshare.training.checkpoint import (
    AtomicCheckpointIO,
    KeepCheckpoint,
    read_checkpoint,
    read_resumable,
    settle,
)
from diffshare.training.quiet import quiet
from diffshare.training.run import finished, log_steps, sweep


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with quiet():
        yield


class Saves(KeepCheckpoint):
    """Notes how many batches each checkpoint has, and its loops."""

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(every)
        self.path = folder / "last.ckpt"
        self.batches: list[int] = []
        self.loops: list[dict[str, Any]] = []

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        self.loops.append(copy.deepcopy(checkpoint["loops"]["fit_loop"]))
        self.batches.append(int(pl_module.count))


@pytest.mark.parametrize(
    ("every", "accumulate", "expected"),
    [
        (3, 1, [0, 3, 6, 9, 10]),
        (1, 1, [*range(10), 10]),
        (100, 1, [0, 10]),
        (3, 2, [0, 4, 6, 10]),  # due at 3, 6 and 9; saved where an optimizer step was taken
        (1, 4, [0, 4, 8, 10]),
    ],
)
def test_it_is_saved_at_the_start_every_so_many_batches_and_at_the_end(
    tmp_path: Path, every: int, accumulate: int, expected: list[int]
) -> None:
    saves = Saves(tmp_path, every)
    fit(Drift(), tmp_path, [saves], 10, accumulate_grad_batches=accumulate)
    assert saves.batches == expected
    for loops, batches in zip(saves.loops[:-1], saves.batches[:-1], strict=True):
        assert loops["epoch_loop.batch_progress"]["total"] == dict.fromkeys(
            ("ready", "completed", "started", "processed"), batches
        )
    assert list(tmp_path.iterdir()) == [tmp_path / "last.ckpt"]


def loops(
    ready: int, completed: int, epochs: tuple[int, int], last: bool = False
) -> dict[str, Any]:
    """A fit loop in its second epoch of five batches."""
    batch = {"ready": ready, "started": completed, "processed": completed, "completed": completed}
    epoch = {
        "ready": epochs[0],
        "started": epochs[0],
        "processed": epochs[1],
        "completed": epochs[1],
    }
    return {
        "epoch_loop.batch_progress": {
            "current": dict(batch),
            "total": {name: value + 5 for name, value in batch.items()},
            "is_last_batch": last,
        },
        "epoch_progress": {"current": dict(epoch), "total": dict(epoch)},
    }


def test_a_batch_that_was_only_fetched_is_taken_back() -> None:
    state = loops(ready=5, completed=4, epochs=(2, 1), last=True)
    settle(state, 5)
    assert state == loops(ready=4, completed=4, epochs=(2, 1))


def test_an_epoch_that_the_end_cut_short_is_open_again() -> None:
    state = loops(ready=3, completed=3, epochs=(2, 2))
    settle(state, 5)
    assert state == loops(ready=3, completed=3, epochs=(2, 1))


def test_an_epoch_that_is_complete_begins_anew() -> None:
    state = loops(ready=5, completed=5, epochs=(2, 2), last=True)
    settle(state, 5)
    assert state["epoch_progress"] == loops(0, 0, (2, 2))["epoch_progress"]
    assert set(state["epoch_loop.batch_progress"]["current"].values()) == {0}
    assert set(state["epoch_loop.batch_progress"]["total"].values()) == {10}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_broken_weights_never_reach_a_checkpoint(tmp_path: Path, bad: float) -> None:
    class Break(Callback):
        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            if batch_idx == 3:
                pl_module.weight.data[1] = bad

    saves = Saves(tmp_path, 2)
    with pytest.raises(
        UserError,
        match=r"weights weight are not finite after step 4; last good.*last.ckpt \(step 2\)",
    ):
        fit(Drift(), tmp_path, [Break(), saves], 10)
    assert torch.isfinite(read_checkpoint(tmp_path / "last.ckpt")["state_dict"]["weight"]).all()


class Mark:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_objects_in_a_checkpoint_are_never_unpickled(tmp_path: Path) -> None:
    hostile = {"state_dict": {}, "global_step": 1, "loops": Mark(tmp_path / "mark")}
    torch.save(hostile, tmp_path / "torch.ckpt")
    (tmp_path / "pickle.ckpt").write_bytes(pickle.dumps(hostile))
    for name in ("torch.ckpt", "pickle.ckpt"):
        with pytest.raises(UserError, match=f"{name} is not a checkpoint that can be read safely"):
            AtomicCheckpointIO().load_checkpoint(tmp_path / name, weights_only=False)
    assert not (tmp_path / "mark").exists()


def test_what_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "none.ckpt")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "weights.ckpt")
    with pytest.raises(UserError, match="is not a training checkpoint"):
        read_checkpoint(tmp_path / "weights.ckpt")
    torch.save({"state_dict": {}, "global_step": 0}, tmp_path / "half.ckpt")
    whole = (tmp_path / "half.ckpt").read_bytes()
    (tmp_path / "half.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot|is not a checkpoint"):
        read_checkpoint(tmp_path / "half.ckpt")


@pytest.mark.parametrize("found", [2, 0, "x" * 99])
def test_another_format_is_refused(tmp_path: Path, found: Any) -> None:
    torch.save({"state_dict": {}, "global_step": 0, "diffshare_format": found}, tmp_path / "x.ckpt")
    for read in (read_checkpoint, read_resumable):
        with pytest.raises(
            UserError, match=rf"its format is {str(found)[:20]}, this version .* reads 1; use the"
        ):
            read(tmp_path / "x.ckpt")


def test_a_training_goes_on_from_its_own_checkpoints_alone(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "global_step": 0}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=r"x\.ckpt was not written by fit, .*: start a new run"):
        read_resumable(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")]
)
def test_a_write_that_fails_leaves_the_old_one(
    tmp_path: Path, error: Exception, monkeypatch: Any
) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {}, "global_step": 1}, path)

    def fail(state: Any, file: Path) -> None:
        file.write_bytes(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(UserError, match="the one before it is still whole"):
        AtomicCheckpointIO().save_checkpoint({"state_dict": {}, "global_step": 2}, path)
    assert read_checkpoint(path)["global_step"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_records_left_in_the_weights_is_its_owner_s_alone(tmp_path: Path) -> None:
    path, mask = tmp_path / "checkpoints" / "last.ckpt", os.umask(0)
    try:
        AtomicCheckpointIO().save_checkpoint({"state_dict": {}, "global_step": 1}, path)
    finally:
        os.umask(mask)
    assert [stat.S_IMODE(place.stat().st_mode) for place in (path.parent, path)] == [0o700, 0o600]


def test_it_has_to_be_saved_after_at_least_one_batch() -> None:
    with pytest.raises(UserError, match="every_n_batches is 0"):
        KeepCheckpoint(0)


def test_the_sweep_takes_what_is_half_written_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / ".release.x.part" / "unet").mkdir(parents=True)
    for name in (
        ".config.yaml.x.part",
        "checkpoints/.last.ckpt.x.part",
        "checkpoints/last.ckpt",
        ".mine",
        "a.part",
    ):
        (tmp_path / name).write_text("x")
    for folder in (tmp_path, tmp_path / "checkpoints"):
        sweep(folder)
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        ".mine",
        "a.part",
        "checkpoints",
        "last.ckpt",
    ]


@pytest.mark.parametrize(
    ("steps", "epochs", "max_steps", "max_epochs", "end"),
    [
        (5, 1, 5, None, 5),
        (5, 1, 6, None, None),
        (5, 1, -1, 1, 5),
        (5, 1, -1, 2, None),
        (5, 1, -1, -1, None),
    ],
)
def test_a_run_is_finished_when_its_end_is_reached(
    steps, epochs, max_steps, max_epochs, end
) -> None:
    fit_loop = {
        "epoch_progress": {"current": {"processed": epochs}},
        "epoch_loop.state_dict": {"_batches_that_stepped": 4},
    }
    checkpoint = {"global_step": steps, "loops": {"fit_loop": fit_loop}}
    assert finished(checkpoint, max_steps, max_epochs) == end
    assert log_steps(checkpoint) == 4
