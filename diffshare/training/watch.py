"""What a person watches while a model trains: what is trained, how fast, and that the loss is a number."""

import contextlib
import math
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from diffshare.batch import Batch
from diffshare.data.module import RecordsDataModule
from diffshare.errors import UserError
from diffshare.progress import Advance, counting
from diffshare.terminal import say
from diffshare.training.checkpoint import KeepCheckpoint


class Announcement(Callback):
    """Says once what is run: verb, model, its number of parameters, precision, devices, and on which records.

    The networks of some families follow from the data, so that there is nothing to count before ``setup`` is done.
    """

    def __init__(self) -> None:
        self._said = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the first batch, when the networks are there."""
        if self._said or not trainer.is_global_zero:
            return
        self._said = True
        count = sum(p.numel() for p in pl_module.parameters())
        size = f"{count / 1e6:.2f} M" if count >= 10_000 else str(count)
        device = f"{trainer.num_devices} x {trainer.strategy.root_device.type}"
        verb = trainer.state.fn.value if trainer.state.fn else ""
        say(f"{verb}: {type(pl_module).__name__}, {size} parameters, {trainer.precision}, {device}")
        data = getattr(trainer, "datamodule", None)
        notes = [*getattr(data, "notes", ()), *getattr(pl_module, "notes", ())]
        if isinstance(data, RecordsDataModule) and data.used:
            say(f"records: {data.used}")
        for note in notes:
            say(f"note:    {note}")

    on_validation_start = on_test_start = on_predict_start = on_fit_start


class Counted(Callback):
    """Counts batches where no progress bar does: see :mod:`diffshare.progress`.

    Args:
        title: what a training is called.
    """

    def __init__(self, title: str = "training batches") -> None:
        self.title = title
        # a validation inside of a training, too
        self._under_way: list[tuple[contextlib.ExitStack, Advance]] = []

    def _begin(self, trainer: Trainer, title: str, total: float, before: int = 0) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        entered = contextlib.ExitStack()
        advance = entered.enter_context(
            counting(title, total if math.isfinite(total) else 0, before)
        )
        self._under_way.append((entered, advance))

    def _step(self, *_: Any, **__: Any) -> None:
        if self._under_way:
            self._under_way[-1][1]()

    def _end(self, *_: Any, **__: Any) -> None:
        if self._under_way:
            self._under_way.pop()[0].close()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the batches of the whole training, those before a resume too."""
        epochs, steps = trainer.num_training_batches * (trainer.max_epochs or 1), trainer.max_steps
        ends = [end for end in (epochs, steps * trainer.accumulate_grad_batches) if end > 0]
        self._begin(trainer, self.title, min(ends, default=0), trainer.fit_loop.total_batch_idx + 1)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the batches of this validation."""
        self._begin(trainer, "validation batches", sum(trainer.num_val_batches))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the batches of the test."""
        self._begin(trainer, "test batches", sum(trainer.num_test_batches))

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the batches of samples."""
        self._begin(trainer, "batches of samples", sum(trainer.num_predict_batches))

    on_train_batch_end = on_validation_batch_end = on_test_batch_end = on_predict_batch_end = _step
    on_train_end = on_validation_end = on_test_end = on_predict_end = _end

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Nothing is under way any more."""
        while self._under_way:
            self._end()


class NonFiniteStop(Callback):
    """Stops the run before a loss that is not a number reaches the weights."""

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Look at each loss.

        Raises:
            UserError: names the step, the batch and the last good checkpoint.
        """
        if torch.isfinite(loss):
            return
        keeper = next((c for c in trainer.callbacks if isinstance(c, KeepCheckpoint)), None)  # type: ignore[attr-defined]
        good = keeper.last_good if keeper else "none"
        advice = "lower the learning rate or use `trainer.precision` 32-true"
        if not trainer.global_step:
            advice = "no step has changed the weights yet: look at the records, the loss and the network's settings"
        raise UserError(
            f"the loss is {loss.item()} at step {trainer.global_step}, batch {trainer.fit_loop.batch_idx} of epoch "
            f"{trainer.current_epoch}; last good checkpoint: {good}; {advice}"
        )


class Throughput(Callback):
    """Logs ``images_per_second`` of all processes together, over the steps since the last log entry.

    Validation, pictures and checkpoints in between do not count as training time.
    """

    def __init__(self) -> None:
        self._records = 0
        self._seconds = 0.0
        self._started = 0.0
        self._first = True

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the watch where it stands still."""
        if not self._started:
            self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; log at the logger's own pace. The very first batch (allocations, caches) is left out."""
        if self._first:
            self._first, self._started = False, 0.0
            return
        self._records += len(batch.target if isinstance(batch, Batch) else batch[0])
        if trainer._logger_connector.should_update_logs:
            now = time.perf_counter()
            self._seconds += now - self._started
            pl_module.log(
                "images_per_second",
                trainer.world_size * self._records / self._seconds,
                rank_zero_only=True,
            )
            self._records, self._seconds, self._started = 0, 0.0, now

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the watch."""
        if self._started:
            self._seconds += time.perf_counter() - self._started
            self._started = 0.0
