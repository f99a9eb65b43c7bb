"""Networks of a VAE with a flat latent: strided convolutions that are told the class."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from diffshare.errors import UserError
from diffshare.nets.bounds import bounded, bounded_channels

CLASS_WIDTH = 32  # numbers that stand for a class
LARGEST_LATENT = 4096
WHERE = "network"  # of a setting, in messages
LOGVAR = (-20.0, 10.0)  # beyond it the exponential of the loss has no use


class VAEEncoder(ModelMixin, ConfigMixin):
    """Image and class to mean and log variance of the latent.

    Args:
        in_channels: channels of the images.
        sample_size: pixels of an image along a side, a multiple of 2^len(block_out_channels).
        latent_dim: numbers in a latent.
        num_class_embeds: classes and one more for "no class"; None makes an unconditional network.
        block_out_channels: channels after each halving of the side, multiples of ``norm_num_groups``.
        layers_per_block: residual blocks after each halving.
        norm_num_groups: groups of the normalisation.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        sample_size: int = 32,
        latent_dim: int = 64,
        num_class_embeds: int | None = None,
        block_out_channels: Sequence[int] = (32, 64, 128),
        layers_per_block: int = 0,
        norm_num_groups: int = 8,
    ) -> None:
        super().__init__()
        side = smallest_side(sample_size, latent_dim, block_out_channels)
        self.label = embedding(num_class_embeds, CLASS_WIDTH)
        layers: list[nn.Module] = []
        for entering, channels in pairwise([in_channels, *block_out_channels]):
            layers.append(nn.Conv2d(entering, channels, 4, 2, 1))
            layers += _layers(channels, layers_per_block, norm_num_groups)
        self.body = nn.Sequential(*layers)
        width = block_out_channels[-1] * side**2 + (0 if self.label is None else CLASS_WIDTH)
        self.leave = nn.Linear(width, 2 * latent_dim)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log variance.

        Args:
            x: images in [-1, 1], float32, N x C x H x W.
            labels: int64, N; None for an unconditional network.

        Returns:
            two of float32, N x latent_dim.
        """
        hidden = self.body(x).flatten(1)
        mean, logvar = self.leave(told(hidden, self.label, labels)).float().chunk(2, 1)
        return mean, logvar.clamp(*LOGVAR)


class VAEDecoder(ModelMixin, ConfigMixin):
    """Latent and class to image.

    Args:
        out_channels: channels of the images.
        sample_size: pixels of an image along a side, a multiple of 2^len(block_out_channels).
        latent_dim: numbers in a latent.
        num_class_embeds: classes and one more for "no class"; None makes an unconditional network.
        block_out_channels: channels before each doubling of the side, the last doubling first, multiples of
            ``norm_num_groups``.
        layers_per_block: residual blocks before each doubling.
        norm_num_groups: groups of the normalisation.
    """

    @register_to_config
    def __init__(
        self,
        out_channels: int = 3,
        sample_size: int = 32,
        latent_dim: int = 64,
        num_class_embeds: int | None = None,
        block_out_channels: Sequence[int] = (32, 64, 128),
        layers_per_block: int = 0,
        norm_num_groups: int = 8,
    ) -> None:
        super().__init__()
        side = smallest_side(sample_size, latent_dim, block_out_channels)
        self.shape = (block_out_channels[-1], side, side)
        self.label = embedding(num_class_embeds, CLASS_WIDTH)
        width = latent_dim + (0 if self.label is None else CLASS_WIDTH)
        self.enter = nn.Linear(width, torch.Size(self.shape).numel())
        layers: list[nn.Module] = []
        for channels, leaving in pairwise([*block_out_channels[::-1], out_channels]):
            layers += _layers(channels, layers_per_block, norm_num_groups)
            layers.append(nn.ConvTranspose2d(channels, leaving, 4, 2, 1))
        self.body = nn.Sequential(*layers)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Means of the images.

        Args:
            latents: float32, N x latent_dim.
            labels: int64, N; None for an unconditional network.

        Returns:
            float32, N x C x H x W, about in [-1, 1].
        """
        hidden = self.enter(told(latents, self.label, labels))
        return self.body(hidden.unflatten(1, self.shape)).float()


class ConvVAE(nn.Module):
    """An encoder and the decoder that mirrors it.

    Args:
        channels: channels of the images.
        image_size: pixels of an image along a side, a multiple of 2^len(block_out_channels).
        num_class_embeds: classes and one more for "no class"; None makes unconditional networks.
        latent_dim: numbers in a latent.
        block_out_channels: channels after each halving of the side, multiples of ``norm_num_groups``.
        layers_per_block: residual blocks at each of these resolutions.
        norm_num_groups: groups of the normalisation.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        num_class_embeds: int | None,
        latent_dim: int = 64,
        block_out_channels: Sequence[int] = (32, 64, 128),
        layers_per_block: int = 0,
        norm_num_groups: int = 8,
    ) -> None:
        super().__init__()
        self.latent_dim, self.num_class_embeds = latent_dim, num_class_embeds
        shared = (
            image_size,
            latent_dim,
            num_class_embeds,
            list(block_out_channels),
            layers_per_block,
            norm_num_groups,
        )
        self.encoder, self.decoder = VAEEncoder(channels, *shared), VAEDecoder(channels, *shared)


def _layers(channels: int, blocks: int, groups: int) -> list[nn.Module]:
    """Residual blocks, then normalisation and activation."""
    inner = [
        _Residual(in_channels=channels, temb_channels=None, groups=groups) for _ in range(blocks)
    ]
    return [*inner, nn.GroupNorm(groups, channels), nn.SiLU()]


class _Residual(ResnetBlock2D):
    """diffusers' residual block without a time."""

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W, unchanged in shape."""
        return super().forward(x, None)


def smallest_side(sample_size: int, latent_dim: int, block_out_channels: Sequence[int]) -> int:
    """Places along a side where the resolution is lowest.

    Raises:
        UserError: a size out of reason, or an image that does not divide so often.
    """
    bounded(WHERE, 1, 1024, sample_size=sample_size)
    bounded(WHERE, 1, LARGEST_LATENT, latent_dim=latent_dim)
    bounded_channels(WHERE, block_out_channels)
    stride = 2 ** len(block_out_channels)
    if sample_size % stride:
        raise UserError(
            f"images of {sample_size}x{sample_size} pixels do not divide by the network's stride {stride}: set "
            f"data.source.image_size to a multiple of {stride} or use fewer block_out_channels"
        )
    return sample_size // stride


def embedding(num_class_embeds: int | None, width: int) -> nn.Embedding | None:
    """Numbers that stand for each class; None for an unconditional network."""
    return None if num_class_embeds is None else nn.Embedding(num_class_embeds, width)


def told(x: Tensor, classes: nn.Module | None, labels: Tensor | None) -> Tensor:
    """Numbers (n x k) with those that stand for the class behind them."""
    if classes is None:
        return x
    assert labels is not None
    return torch.cat([x, classes(labels).to(x.dtype)], 1)
