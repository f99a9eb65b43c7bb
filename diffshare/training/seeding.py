"""Randomness of a training step: a function of (seed, batch index, rank)."""

from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer


def seed_of(*numbers: int) -> int:
    """A 63-bit seed that is a function of these non-negative integers and of their order."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


class BatchSeeding(Callback):
    """Seeds torch before each training batch, so that a resumed run draws what an uninterrupted one would.

    The batch index counts batches, not optimizer steps: they differ under gradient accumulation and in GANs.

    Args:
        seed: ``seed_everything`` of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed all devices' generators."""
        torch.manual_seed(seed_of(self.seed, trainer.fit_loop.total_batch_idx, trainer.global_rank))
