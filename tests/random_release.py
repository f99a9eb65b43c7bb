"""A release whose weights mean nothing, for what does not depend on them."""

from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel

from diffshare.release.folder import write_release


def random_ddpm(folder: Path, size: int, **card: Any) -> Path:
    """A class-conditional DDPM of Smiling with random weights, for images of ``size`` pixels; ``card``: more of it."""
    torch.manual_seed(0)
    down, up = ("DownBlock2D",) * 2, ("UpBlock2D",) * 2
    network = UNet2DModel(size, down_block_types=down, up_block_types=up, block_out_channels=(8, 8), norm_num_groups=4,
                          layers_per_block=1, num_class_embeds=3)  # fmt: skip

    def save(to: Path) -> None:
        network.save_pretrained(to / "unet")
        DDPMScheduler().save_pretrained(to / "scheduler")

    labels = ["not Smiling", "Smiling"]
    fields = {"family": "ddpm", "modality": "image", "image_size": size, "labels": labels}
    write_release(folder, fields | card, save)
    return folder
