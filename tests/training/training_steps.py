"""The smallest training there is, in this process: a vector of weights with a known path."""

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


def fit(model: LightningModule, folder: Path, callbacks: Sequence[Callback], batches: int, **options: Any) -> Trainer:
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
