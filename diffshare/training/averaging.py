"""Averaged weights: an exponential moving average whose decay warms up."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from diffshare.errors import UserError


class WarmupEMA(WeightAveraging):
    """Keeps an exponential moving average of the weights; validation, pictures and the release use the average.

    The average starts as the weights after the first optimizer step. The decay at step k from 2 on is
    min(decay, (1 + k) / (10 + k)), so that an early average is not mostly those first weights. After training the
    checkpoint holds both the average (``state_dict``) and the raw weights (``current_model_state``).

    Args:
        decay: final decay of a step, in [0, 1).
    """

    def __init__(self, decay: float = 0.9995) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"decay {decay} of WarmupEMA must lie in [0, 1)")
        # buffers are copied, not averaged: an average of integer or mask buffers has no meaning
        super().__init__(use_buffers=False, multi_avg_fn=self._lerp)
        self.decay = decay

    def _lerp(self, averaged: Sequence[Tensor], current: Sequence[Tensor], _: Any) -> None:
        # optimizer steps before this one, a plain integer: no device is asked
        step = self._latest_update_step
        decay = min(self.decay, (2 + step) / (11 + step))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the raw weights in place: callbacks after this one may still write the last checkpoint."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand the averaged weights to the model, when every checkpoint is written."""
        if self._average_model is not None:
            self._copy_average_to_current(pl_module)


@contextlib.contextmanager
def averaged_weights(trainer: Trainer, module: LightningModule) -> Iterator[None]:
    """Within the block ``module`` has its averaged weights, where the training keeps an average and fits right now."""
    callbacks = [c for c in trainer.callbacks if isinstance(c, WeightAveraging)]  # type: ignore[attr-defined]
    swapped = [c for c in callbacks if c._average_model is not None] if trainer.training else []
    for callback in swapped:
        callback._swap_models(module)
    try:
        yield
    finally:
        for callback in swapped:
            callback._swap_models(module)
