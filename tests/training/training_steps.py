"""Parts of trainings: a vector of weights with a known path, and a callback that notes what each process reads."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader


class Drift(LightningModule):
    """Batch b of ones moves the weights by -rate * (b + 1); a buffer counts the batches."""

    def __init__(self, rate: float = 0.25) -> None:
        super().__init__()
        self.rate = rate
        self.weight = nn.Parameter(torch.arange(3.0))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.path: list[Tensor] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.count += 1
        return (self.weight * (batch_idx + 1) * batch.mean()).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([self.weight], lr=self.rate)

    def on_before_zero_grad(self, optimizer: Any) -> None:
        self.path.append(self.weight.detach().clone())


def fit(
    model: LightningModule,
    folder: Path,
    callbacks: Sequence[Callback],
    batches: int,
    **options: Any,
) -> Trainer:
    """Train on ``batches`` batches of ones."""
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **options,
    )
    trainer.fit(model, DataLoader(torch.ones(batches, 2), batch_size=1))
    return trainer


class Seen(Callback):
    """Writes what this process reads: a line ``stage step record record ...`` for each batch; the weights at the end.

    A record is named by a hash of its pixels.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _note(self, trainer: Trainer, *words: object) -> None:
        self.folder.mkdir(exist_ok=True)
        with (self.folder / f"seen-{trainer.global_rank}.txt").open("a") as stream:
            stream.write(" ".join(map(str, words)) + "\n")

    def _batch(self, trainer: Trainer, stage: str, step: int, batch: Any) -> None:
        self._note(trainer, stage, step, *(_hash(x) for x in batch.x))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batch(trainer, "train", trainer.global_step, batch)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batch(trainer, "validate", batch_idx, batch)

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batch(trainer, "test", batch_idx, batch)

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._note(
            trainer,
            "weights",
            0,
            _hash(torch.cat([p.detach().flatten() for p in pl_module.parameters()])),
        )


def _hash(x: Tensor) -> str:
    return hashlib.sha256(x.contiguous().numpy().tobytes()).hexdigest()[:12]
