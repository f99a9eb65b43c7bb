"""The run's checkpoint: always whole, always the last good state, also after Ctrl-C."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer

from diffshare.errors import UserError
from diffshare.storage import atomic_file


class Interrupted(Exception):
    """Training stopped at a batch boundary on request; the checkpoint holds the state of that boundary."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all; loads tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``, whole or not at all.

        Raises:
            UserError: the disk is full or the folder cannot be written to.
        """
        try:
            with atomic_file(path) as temporary:
                torch.save(checkpoint, temporary)
        except (OSError, RuntimeError) as error:  # torch reports a failed write as RuntimeError
            reason = error.strerror if isinstance(error, OSError) else "the write failed (is the disk full?)"
            raise UserError(
                f"cannot write the checkpoint {path}: {reason}; the one before it is still whole"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint without unpickling objects, whatever the caller asked for."""
        return read_checkpoint(Path(path), map_location)


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint's content: tensors and plain values.

    Raises:
        UserError: no such file, not a checkpoint of Lightning, or one that holds pickled objects.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}: give the path of a last.ckpt")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        raise UserError(f"{path} is not a checkpoint that can be read safely (damaged, or of another kind)") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint or "global_step" not in checkpoint:
        raise UserError(f"{path} is not a training checkpoint: it has no weights and step count")
    return checkpoint


class KeepCheckpoint(Callback):
    """Keeps ``checkpoints/last.ckpt`` of a run: at the start, every so many batches, at the end and on Ctrl-C.

    Ctrl-C asks for a stop: the running batch is finished, its state saved and the run ends with exit status 130. A
    second Ctrl-C stops at once; the checkpoint before it stays whole.

    Args:
        every_n_batches: batches from one save to the next.

    Attributes:
        path: of the checkpoint, set by who runs the training.
        saved_step: optimizer step of the last save.
    """

    def __init__(self, every_n_batches: int = 1000) -> None:
        if every_n_batches < 1:
            raise UserError(f"checkpoint.every_n_batches is {every_n_batches}: it must be at least 1")
        self.every_n_batches = every_n_batches
        self.path: Path | None = None
        self.saved_step: int | None = None
        self._stop = False
        self._previous: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on Ctrl-C is a request."""
        self._previous = signal.signal(signal.SIGINT, self._request)

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if self._stop:
            raise KeyboardInterrupt
        self._stop = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the state before the first batch, so that a run that is killed early can resume."""
        if trainer.ckpt_path is None:
            self._save(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save where it is time to, or where a stop was asked for."""
        stop = self._stop
        if trainer.world_size > 1:  # all ranks stop at the same batch, or the next collective would wait for ever
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop or (trainer.fit_loop.total_batch_idx + 1) % self.every_n_batches == 0:
            self._save(trainer)
        if stop:
            raise Interrupted

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the final state."""
        self._save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give Ctrl-C back."""
        self._restore()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give Ctrl-C back."""
        self._restore()

    def _restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _save(self, trainer: Trainer) -> None:
        assert self.path is not None
        trainer.save_checkpoint(self.path)
        self.saved_step = trainer.global_step
