"""How different two images are to a network that was trained here."""

from pathlib import Path

import torch
from torch import Tensor, nn

from diffshare.errors import UserError
from diffshare.training.checkpoint import read_checkpoint


class Perceptual(nn.Module):
    """Distance of the features of a classifier of this project (Zhang et al. 2018, eq. 1, all channels alike).

    Args:
        network: a classifier whose ``body`` is a sequence of stages, such as
            :class:`diffshare.nets.classifiers.SmallResNet`.
        checkpoint: ``last.ckpt`` of a run of ``AttributeClassifier`` with that network.
    """

    def __init__(self, network: nn.Module, checkpoint: Path) -> None:
        super().__init__()
        state = {
            name.removeprefix("network."): value
            for name, value in read_checkpoint(checkpoint)["state_dict"].items()
            if name.startswith("network.")
        }
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(
                f"{checkpoint} does not hold the weights of model.perceptual.network {type(network).__name__}: name "
                "the last.ckpt of a run of fit with that network"
            ) from error
        body = getattr(network, "body", None)
        if not isinstance(body, nn.Sequential):
            raise UserError(
                f"model.perceptual.network {type(network).__name__} has no stages: use a SmallResNet"
            )
        self.body = body.requires_grad_(False).eval()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Images in [-1, 1], N x C x H x W => squared difference of normalised features over all stages, float32, N."""
        total = torch.zeros(len(x), device=x.device)
        for stage in self.body.children():
            x, y = stage(x), stage(y)
            difference = nn.functional.normalize(x.float(), dim=1) - nn.functional.normalize(
                y.float(), dim=1
            )
            total = total + difference.square().sum(1).mean((1, 2))
        return total
