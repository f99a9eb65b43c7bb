"""The run's checkpoint: always whole, always the last good state, also after Ctrl-C or a cluster's SIGTERM."""

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer

from diffshare.errors import UserError
from diffshare.signals import heeded, leave_dead_terminal, name_of
from diffshare.storage import NoRoom, atomic_file

FORMAT = 1
_FORMAT = "diffshare_format"  # its key in a checkpoint whose state is that between two batches


class Interrupted(Exception):
    """Training stopped at a batch boundary on request; the checkpoint holds the state of that boundary.

    Attributes:
        signum: the signal that asked for it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(name_of(signum))
        self.signum = signum


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all; loads tensors and plain values only."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write ``checkpoint`` to ``path``, whole or not at all; its owner alone may read it.

        Raises:
            UserError: the disk is full or the folder cannot be written to.
        """
        try:
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with atomic_file(path, private=True) as temporary:
                torch.save(checkpoint, temporary)
        # torch reports a failed write as RuntimeError
        except (
            NoRoom,
            OSError,
            RuntimeError,
        ) as error:
            reason = "the write failed (is the disk full?)"
            if isinstance(error, NoRoom | OSError):
                reason = error.reason if isinstance(error, NoRoom) else str(error.strerror)
            raise UserError(
                f"cannot write the checkpoint {path}: {reason}; the one before it is still whole"
            ) from error

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint without unpickling objects, whatever the caller asked for."""
        return read_checkpoint(Path(path), map_location)


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint's content: tensors and plain values.

    Raises:
        UserError: no such file, not a checkpoint of Lightning, one that holds pickled objects, or of another format.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}: give the path of a last.ckpt")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} is not a checkpoint that can be read safely (damaged, or of another kind): "
            "give the last.ckpt of a run"
        ) from error
    if (
        not isinstance(checkpoint, dict)
        or "state_dict" not in checkpoint
        or "global_step" not in checkpoint
    ):
        raise UserError(
            f"{path} is not a training checkpoint: it has no weights and step count; give the last.ckpt of a run"
        )
    if checkpoint.get(_FORMAT, FORMAT) != FORMAT:
        raise UserError(
            f"{path} was written by another version: its format is {str(checkpoint[_FORMAT])[:20]}, this version of "
            f"diffshare reads {FORMAT}; use the version that run.json of its run names"
        )
    return checkpoint


def read_resumable(path: Path) -> dict[str, Any]:
    """The content of a checkpoint that a training can go on from.

    Raises:
        UserError: as :func:`read_checkpoint`, or its state is not that between two batches.
    """
    checkpoint = read_checkpoint(path)
    if _FORMAT not in checkpoint:
        raise UserError(
            f"{path} was not written by fit, or by a version before format {FORMAT}, and a training cannot go on from "
            "it to the bit: start a new run"
        )
    return checkpoint


class KeepCheckpoint(Callback):
    """Keeps ``checkpoints/last.ckpt`` of a run: at the start, every so many batches, at the end and when it is stopped.

    The state is saved between two batches, when all that belongs to the first of them (its step, its validation, its
    log entries) is done. Under gradient accumulation it is saved between two optimizer steps: gradients are no part of
    a checkpoint. The log is written out first, so that a killed run has an entry for every step of its checkpoint.

    Ctrl-C, SIGTERM and SIGHUP ask for a stop: what is under way is finished, the state saved and the run ends with exit
    status 130, after the latter two 143. A second Ctrl-C stops at once; the checkpoint before it stays whole.

    Args:
        every_n_batches: batches from one save to the next.

    Attributes:
        path: of the checkpoint, set by who runs the training.
        saved_step: optimizer step of the last save.
    """

    def __init__(self, every_n_batches: int = 1000) -> None:
        if every_n_batches < 1:
            raise UserError(
                f"checkpoint.every_n_batches is {every_n_batches}: it must be at least 1"
            )
        self.every_n_batches = every_n_batches
        self.path: Path | None = None
        self.saved_step: int | None = None
        self._saved_batches = 0  # batches that the last checkpoint has
        self._log_steps: int | None = None  # of the checkpoint that is resumed
        self._due = self._saving = False
        self._stop = 0  # the signal that asked for a stop; 0 for none
        self._previous: dict[int, Any] = {}

    # --- when -------------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on these signals are a request."""
        self._previous = {signum: signal.getsignal(signum) for signum in heeded()}
        self._listen()

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen again: Lightning has put its own handler of SIGTERM in the place, which ends a run without a word."""
        self._listen()

    def _listen(self) -> None:
        for signum in self._previous:
            signal.signal(signum, self._request)

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if self._stop and signum == signal.SIGINT:
            raise KeyboardInterrupt
        if not self._stop:  # a cluster asks more than once: that is no reason to lose the batch
            self._stop = signum
            leave_dead_terminal()
            again = "Ctrl-C again" if signum == signal.SIGINT else "Ctrl-C"
            # print is not safe here
            os.write(2, f"\nstopping before the next batch; {again} stops at once\n".encode())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the state before the first batch, so that a run that is killed early can resume."""
        self._listen()
        self._saved_batches = trainer.fit_loop.total_batch_idx + 1
        if trainer.ckpt_path is None:
            self._save(trainer)
        else:
            self.saved_step = trainer.global_step

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save where it is time to, or where a stop was asked for."""
        # Lightning counts this one up on some ways through its restart
        if self._log_steps is not None:
            trainer.fit_loop.epoch_loop._batches_that_stepped = self._log_steps
            self._log_steps = None
        done = trainer.fit_loop.total_batch_idx
        self._due |= done % self.every_n_batches == 0
        if batch_idx % trainer.accumulate_grad_batches:
            return
        stop = self._asked_to_stop(trainer)
        if (stop or self._due) and done != self._saved_batches:
            self._save(trainer)
            self._saved_batches = done
        self._due = False
        if stop:
            raise Interrupted(stop)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the final state."""
        self._save(trainer)
        if stop := self._asked_to_stop(trainer):
            raise Interrupted(stop)

    def _asked_to_stop(self, trainer: Trainer) -> int:
        if trainer.world_size == 1:
            return self._stop
        # all processes stop at the same batch, or the next collective would wait for ever
        if not trainer.strategy.reduce_boolean_decision(bool(self._stop), all=False):
            return 0
        by_hand = trainer.strategy.reduce_boolean_decision(
            self._stop in (0, signal.SIGINT), all=True
        )
        return signal.SIGINT if by_hand else signal.SIGTERM

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back."""
        self._restore()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back."""
        self._restore()

    def _restore(self) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}

    # --- what -------------------------------------------------------------------------------------------------------

    def _save(self, trainer: Trainer) -> None:
        assert self.path is not None
        self._refuse_broken(trainer)
        for logger in trainer.loggers:
            logger.save()
        self._saving = True
        try:
            trainer.save_checkpoint(self.path)
        finally:
            self._saving = False
        self.saved_step = trainer.global_step

    def _refuse_broken(self, trainer: Trainer) -> None:
        """A loss is looked at before its step; what the step made of the weights shows here."""
        for name, weight in trainer.lightning_module.named_parameters():
            if not bool(torch.isfinite(weight).all()):
                raise UserError(
                    f"the weights {name} are not finite after step {trainer.global_step}; last good checkpoint: "
                    f"{self.last_good}; lower the learning rate or use `trainer.precision` 32-true"
                )

    @property
    def last_good(self) -> str:
        """The last checkpoint and its step, for a message."""
        return "none" if self.saved_step is None else f"{self.path} (step {self.saved_step})"

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note the loops' state as it is between two batches; Lightning's own is that of the hook that saves."""
        if self._saving:
            settle(checkpoint["loops"]["fit_loop"], trainer.num_training_batches)
            checkpoint[_FORMAT] = FORMAT

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take up the count of log steps."""
        if _FORMAT in checkpoint:
            self._log_steps = checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"][
                "_batches_that_stepped"
            ]


def settle(fit_loop: dict[str, Any], batches: float) -> None:
    """Change the saved state of Lightning's fit loop to "so many batches are complete, nothing else is begun".

    A batch that was fetched but not trained is taken back. An epoch that the end of the training cut short is open
    again, so that a run with a later end goes on in the middle of it; one that is complete begins anew.

    Args:
        fit_loop: state dict of the loop, changed in place.
        batches: of an epoch.
    """
    progress, epochs = fit_loop["epoch_loop.batch_progress"], fit_loop["epoch_progress"]
    progress["is_last_batch"] = False
    ended = epochs["current"]["processed"] == epochs["current"]["ready"] > 0
    if ended and progress["current"]["completed"] >= batches:
        progress["current"]["completed"] = 0
    elif ended:
        for scope in ("total", "current"):
            epochs[scope]["processed"] -= 1
            epochs[scope]["completed"] -= 1
    for scope in ("total", "current"):
        done = progress[scope]["completed"]
        progress[scope].update(ready=done, started=done, processed=done)
