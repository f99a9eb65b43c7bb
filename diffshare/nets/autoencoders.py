"""Autoencoders of diffusers in words that a configuration can say."""

from collections.abc import Sequence

from diffusers import AutoencoderKL


def kl_autoencoder(
    in_channels: int = 3,
    latent_channels: int = 4,
    block_out_channels: Sequence[int] = (128, 256, 256),
    layers_per_block: int = 2,
    norm_num_groups: int = 32,
    attention: bool = True,
) -> AutoencoderKL:
    """A convolutional ``AutoencoderKL`` (its own signature takes lists of one block only).

    Args:
        in_channels: channels of the images.
        latent_channels: channels of a latent.
        block_out_channels: channels of each resolution, multiples of ``norm_num_groups``; every one but the last is
            halved, so that a latent's side is the image's divided by 2^(len - 1).
        layers_per_block: residual blocks at each resolution.
        norm_num_groups: groups of the normalisation.
        attention: attention between all places of a latent.
    """
    blocks = len(block_out_channels)
    return AutoencoderKL(
        in_channels=in_channels,
        out_channels=in_channels,
        latent_channels=latent_channels,
        block_out_channels=tuple(block_out_channels),
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        layers_per_block=layers_per_block,
        norm_num_groups=norm_num_groups,
        mid_block_add_attention=attention,
    )
