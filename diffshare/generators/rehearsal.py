"""A generator tried on two records before its training: settings that cannot work are refused, not traced back."""

from typing import Any

import torch
from diffusers import ConfigMixin, SchedulerMixin
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from diffshare.batch import Batch
from diffshare.data.module import MixDataModule
from diffshare.errors import UserError, reason_of
from diffshare.release.config import check_settings
from diffshare.release.schedulers import check_levels

_RECORDS = 2


def rehearse(module: Any, data: MixDataModule) -> None:
    """Compute the loss of two records with the untrained networks, in evaluation mode and without gradients.

    Neither weights nor buffers nor the state of the random numbers change. What a receiver would refuse of the parts'
    settings is refused here, not after the training.

    Args:
        module: a ``GenerativeModule`` that knows its data.
        data: the data it is trained on.

    Raises:
        UserError: settings that a release may not have, a loss that cannot be computed or is not finite.
    """
    parts = [*module.named_children(), ("scheduler", getattr(module, "scheduler", None))]
    for name, part in parts:
        if isinstance(part, ConfigMixin):
            check_settings(part, f"model.{name}")
        if isinstance(part, SchedulerMixin):
            check_levels(part, f"model.{name}")
    what = f"model {type(module).__name__}"
    modes = [(part, part.training) for part in module.modules()]
    try:
        with isolate_rng(), torch.no_grad():
            torch.manual_seed(0)
            loss = float(module.eval().loss(_batch(module, data)))
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    # a network may raise anything where its settings do not fit together
    except Exception as error:
        reason = reason_of(error)
        raise UserError(
            f"{what} cannot compute a loss with these settings ({reason:.160}): mend those of its networks or scheduler"
        ) from error
    finally:
        for part, training in modes:
            part.training = training
    if not torch.isfinite(torch.tensor(loss)):
        raise UserError(
            f"{what} has a loss of {loss} before its first step: mend the settings of its networks, scheduler or loss"
        )


def _batch(module: Any, data: MixDataModule) -> Batch:
    """Two records: of a table those of the mix, of images (or latents) blank ones."""
    train = data.sets["train"]
    batch = train.__getitems__([0] * _RECORDS)
    if module.modality == "table":
        return batch
    shape = getattr(module, "input_shape", ()) or module.facts.shape
    x: Tensor = torch.zeros(_RECORDS, *shape)
    return batch._replace(x=x)
