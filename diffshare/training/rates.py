"""How the learning rate changes over a training."""

from typing import Any, Literal

import numpy as np
import torch
from diffusers.optimization import get_scheduler
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import nn

from diffshare.errors import UserError, reason_of

Rate = Literal["constant", "cosine"]


def optimizer_and_rate(
    module: LightningModule,
    optimizer: OptimizerCallable,
    lr_schedule: Rate,
    warmup_steps: int,
    trained: nn.Module | None = None,
) -> Any:
    """What ``configure_optimizers`` returns: the rate rises linearly from 0, then is constant or a half cosine to zero.

    Args:
        module: attached to its trainer.
        optimizer: makes the optimiser of them.
        lr_schedule: ``constant`` or ``cosine`` (to zero at the last step), after the warm-up.
        warmup_steps: steps in which the rate rises.
        trained: the part of the module whose parameters are optimised; all of it where None.

    Raises:
        UserError: arguments that the optimiser does not take, or a cosine without an end.
    """
    try:
        built = optimizer(p for p in (trained or module).parameters() if p.requires_grad)
        _try(optimizer, next(module.parameters()).device)
    # optimisers refuse their arguments by errors of every kind, some at the first step
    except Exception as error:
        reason = reason_of(error)
        raise UserError(
            f"model.optimizer cannot be set up: {reason:.160}; mend it or its init_args"
        ) from error
    total = module.trainer.estimated_stepping_batches
    if lr_schedule == "cosine" and not np.isfinite(total):
        raise UserError(
            "model.lr_schedule cosine needs an end: set `trainer.max_steps` or `trainer.max_epochs`"
        )
    name = "cosine" if lr_schedule == "cosine" else "constant_with_warmup"
    steps = int(total) if np.isfinite(total) else None
    rate = get_scheduler(name, built, num_warmup_steps=warmup_steps, num_training_steps=steps)
    return {"optimizer": built, "lr_scheduler": {"scheduler": rate, "interval": "step"}}


def _try(optimizer: OptimizerCallable, device: torch.device) -> None:
    """One step on weights of its own, with the dense gradient that a training has."""
    weight = nn.Parameter(torch.zeros(2, 2, device=device))
    weight.grad = torch.ones_like(weight)
    built: Any = optimizer([weight])
    if isinstance(built, torch.optim.LBFGS):
        raise ValueError("LBFGS computes the loss several times a step, each time with other noise")
    built.step()
    if not weight.any():
        raise ValueError("its step leaves the weights as they are, is its lr 0?")
