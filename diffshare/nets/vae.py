"""Networks of a VAE with a flat latent: diffusers' convolutional encoder and decoder, told the class."""

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import Decoder, Encoder
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from diffshare.errors import UserError

CLASS_WIDTH = 32  # numbers that stand for a class
LARGEST_LATENT = 4096
LOGVAR = (-20.0, 10.0)  # beyond it the exponential of the loss has no use


class VAEEncoder(ModelMixin, ConfigMixin):
    """Image and class to mean and log variance of the latent.

    Args:
        in_channels: channels of the images.
        sample_size: pixels of an image along a side, a multiple of 2^(len(block_out_channels) - 1).
        latent_dim: numbers in a latent.
        num_class_embeds: classes and one more for "no class"; None makes an unconditional network.
        block_out_channels: channels of each resolution, multiples of ``norm_num_groups``; every one but the last is
            halved.
        layers_per_block: residual blocks at each resolution.
        norm_num_groups: groups of the normalisation.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        sample_size: int = 32,
        latent_dim: int = 64,
        num_class_embeds: int | None = None,
        block_out_channels: Sequence[int] = (16, 32, 64, 64),
        layers_per_block: int = 1,
        norm_num_groups: int = 8,
    ) -> None:
        super().__init__()
        side = smallest_side(sample_size, latent_dim, block_out_channels)
        self.label = None if num_class_embeds is None else nn.Embedding(num_class_embeds, CLASS_WIDTH)
        self.body = Encoder(
            in_channels=in_channels,
            out_channels=block_out_channels[-1],
            down_block_types=("DownEncoderBlock2D",) * len(block_out_channels),
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            norm_num_groups=norm_num_groups,
            double_z=False,
            mid_block_add_attention=False,
        )
        told = 0 if self.label is None else CLASS_WIDTH
        self.leave = nn.Linear(block_out_channels[-1] * side**2 + told, 2 * latent_dim)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log variance.

        Args:
            x: images in [-1, 1], float32, N x C x H x W.
            labels: int64, N; None for an unconditional network.

        Returns:
            two of float32, N x latent_dim.
        """
        hidden = nn.functional.silu(self.body(x).flatten(1))
        mean, logvar = self.leave(_told(hidden, self.label, labels)).float().chunk(2, 1)
        return mean, logvar.clamp(*LOGVAR)


class VAEDecoder(ModelMixin, ConfigMixin):
    """Latent and class to image.

    Args:
        out_channels: channels of the images.
        sample_size: pixels of an image along a side, a multiple of 2^(len(block_out_channels) - 1).
        latent_dim: numbers in a latent.
        num_class_embeds: classes and one more for "no class"; None makes an unconditional network.
        block_out_channels: channels of each resolution, finest first, multiples of ``norm_num_groups``; every one but
            the first is doubled.
        layers_per_block: residual blocks at each resolution, and one more.
        norm_num_groups: groups of the normalisation.
    """

    @register_to_config
    def __init__(
        self,
        out_channels: int = 3,
        sample_size: int = 32,
        latent_dim: int = 64,
        num_class_embeds: int | None = None,
        block_out_channels: Sequence[int] = (16, 32, 64, 64),
        layers_per_block: int = 1,
        norm_num_groups: int = 8,
    ) -> None:
        super().__init__()
        self.shape = (block_out_channels[-1], *[smallest_side(sample_size, latent_dim, block_out_channels)] * 2)
        self.label = None if num_class_embeds is None else nn.Embedding(num_class_embeds, CLASS_WIDTH)
        told = 0 if self.label is None else CLASS_WIDTH
        self.enter = nn.Linear(latent_dim + told, torch.Size(self.shape).numel())
        self.body = Decoder(
            in_channels=block_out_channels[-1],
            out_channels=out_channels,
            up_block_types=("UpDecoderBlock2D",) * len(block_out_channels),
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            norm_num_groups=norm_num_groups,
            mid_block_add_attention=False,
        )

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Means of the images.

        Args:
            latents: float32, N x latent_dim.
            labels: int64, N; None for an unconditional network.

        Returns:
            float32, N x C x H x W, about in [-1, 1].
        """
        hidden = nn.functional.silu(self.enter(_told(latents, self.label, labels)))
        return self.body(hidden.unflatten(1, self.shape)).float()


class ConvVAE(nn.Module):
    """An encoder and the decoder that mirrors it.

    Args:
        channels: channels of the images.
        image_size: pixels of an image along a side, a multiple of 2^(len(block_out_channels) - 1).
        num_class_embeds: classes and one more for "no class"; None makes unconditional networks.
        latent_dim: numbers in a latent.
        block_out_channels: channels of each resolution, finest first, multiples of ``norm_num_groups``.
        layers_per_block: residual blocks at each resolution.
        norm_num_groups: groups of the normalisation.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        num_class_embeds: int | None,
        latent_dim: int = 64,
        block_out_channels: Sequence[int] = (16, 32, 64, 64),
        layers_per_block: int = 1,
        norm_num_groups: int = 8,
    ) -> None:
        super().__init__()
        self.latent_dim, self.num_class_embeds = latent_dim, num_class_embeds
        shared = (image_size, latent_dim, num_class_embeds, list(block_out_channels), layers_per_block, norm_num_groups)
        self.encoder, self.decoder = VAEEncoder(channels, *shared), VAEDecoder(channels, *shared)


def smallest_side(sample_size: int, latent_dim: int, block_out_channels: Sequence[int]) -> int:
    """Places along a side where the resolution is lowest.

    Raises:
        UserError: the image does not divide so often, or a setting is out of range.
    """
    if not 1 <= latent_dim <= LARGEST_LATENT:
        raise UserError(f"latent_dim is {latent_dim}: an integer from 1 to {LARGEST_LATENT} is expected")
    if not block_out_channels:
        raise UserError("block_out_channels is empty: the channels of at least one resolution are expected")
    stride = 2 ** (len(block_out_channels) - 1)
    if sample_size < 1 or sample_size % stride:
        raise UserError(
            f"images of {sample_size}x{sample_size} pixels do not divide by the network's stride {stride}: set "
            f"data.source.image_size to a multiple of {stride} or use fewer block_out_channels"
        )
    return sample_size // stride


def _told(hidden: Tensor, embedding: nn.Module | None, labels: Tensor | None) -> Tensor:
    """Numbers with those of the class behind them."""
    if embedding is None:
        return hidden
    assert labels is not None
    return torch.cat([hidden, embedding(labels).to(hidden.dtype)], 1)
