"""One network for each class behind the interface of one: what Luo et al. 2024 train, a model a class."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

from diffshare.errors import UserError

MOST_CLASSES = 1000


class ClasswiseUNet(UNet2DModel):
    """A U-Net of its own for each class, and one for "no class": no weight is shared between classes.

    It stands where a conditional ``UNet2DModel`` can, with the same settings and networks in place of
    embeddings. A record trains the network of its class alone, or that of "no class" where its class
    is hidden. Without a network for "no class", as in the paper, every record trains the network of
    its class: ``condition_dropout`` is then 0, and neither guidance nor unconditional samples are to
    be had. Memory and the release grow with the number of classes; the time of a step hardly does.

    Args:
        num_class_embeds: K + 1 for K classes.
        sample_size: side of the input; follows the data.
        in_channels: channels of the input.
        out_channels: channels of the output, the same.
        block_out_channels: channels of each resolution, multiples of ``norm_num_groups``.
        down_block_types: diffusers' names of the blocks, one for each resolution.
        up_block_types: the same on the way back.
        layers_per_block: residual blocks at each resolution.
        norm_num_groups: groups of the normalisation.
        attention_head_dim: channels of a head of attention.
        add_attention: attention at the lowest resolution.
        time_embedding_type: ``positional``.
        unconditional: whether there is a network for "no class" as well.
    """

    @register_to_config
    def __init__(
        self,
        num_class_embeds: int = 3,
        sample_size: int | None = None,
        in_channels: int = 3,
        out_channels: int = 3,
        block_out_channels: Sequence[int] = (64, 128, 256),
        down_block_types: Sequence[str] = ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types: Sequence[str] = ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        layers_per_block: int = 2,
        norm_num_groups: int = 32,
        attention_head_dim: int = 8,
        add_attention: bool = True,
        time_embedding_type: str = "positional",
        unconditional: bool = True,
    ) -> None:
        # the networks below are what one U-Net would have made of itself
        super(UNet2DModel, self).__init__()
        if not 2 <= num_class_embeds <= MOST_CLASSES + 1:
            raise UserError(
                f"num_class_embeds is {num_class_embeds}: a network for each class and one for 'no class' are expected"
            )
        settings: dict[str, Any] = {
            "sample_size": sample_size,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "block_out_channels": tuple(block_out_channels),
            "down_block_types": tuple(down_block_types),
            "up_block_types": tuple(up_block_types),
            "layers_per_block": layers_per_block,
            "norm_num_groups": norm_num_groups,
            "attention_head_dim": attention_head_dim,
            "add_attention": add_attention,
            "time_embedding_type": time_embedding_type,
        }
        count = num_class_embeds if unconditional else num_class_embeds - 1
        self.networks = nn.ModuleList(UNet2DModel(**settings) for _ in range(count))

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float | int,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> UNet2DOutput | tuple[Tensor]:
        """Each record through the network of its class.

        Args:
            sample: N x C x H x W.
            timestep: one for all, or N.
            class_labels: int64, N, in 0..K; K is "no class".
            return_dict: as diffusers has it.

        Returns:
            what the networks predict, N x C x H x W, as ``sample`` of the result.

        Raises:
            UserError: "no class" where there is no network for it.
        """
        if class_labels is None:
            raise ValueError("class_labels are needed: each class has a network of its own")
        config: Any = self.config
        if not config.unconditional and bool((class_labels == config.num_class_embeds - 1).any()):
            raise UserError(
                "this model has a network for each class and none for 'no class': ask for classes (`labels` balanced, "
                "natural or one class), at guidance 1"
            )
        times = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        output: Tensor | None = None
        for label, network in enumerate(self.networks):
            rows = (class_labels == label).nonzero().flatten()
            if not len(rows):
                continue
            part = network(sample[rows], times[rows]).sample
            output = part.new_empty(sample.shape) if output is None else output
            output = output.index_copy(0, rows, part)
        if output is None:
            raise ValueError(f"class_labels must lie in 0..{config.num_class_embeds - 1}")
        return UNet2DOutput(sample=output) if return_dict else (output,)
