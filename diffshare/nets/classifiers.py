"""Small image classifiers."""

from typing import Any

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm beside a shortcut; halves the resolution where ``stride`` is 2.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output, a multiple of 8.
        stride: 1 or 2.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
            nn.GroupNorm(8, channels_out),  # no running statistics: nothing to average, nothing to share over processes
            nn.SiLU(),
            nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False),
            nn.GroupNorm(8, channels_out),
        )
        self.shortcut: Any = nn.Identity()
        if stride > 1 or channels_in != channels_out:
            self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """N x channels_in x H x W => N x channels_out x H/stride x W/stride."""
        return torch.nn.functional.silu(self.body(x) + self.shortcut(x))


class SmallResNet(nn.Module):
    """A residual network of four stages for images of 16 to 128 pixels.

    Args:
        classes: number of classes.
        in_channels: channels of the images.
        width: channels of the first stage, a multiple of 8; later stages have 2, 3 and 4 times as many.
        dropout: probability before the last layer.
    """

    def __init__(self, classes: int = 2, in_channels: int = 3, width: int = 24, dropout: float = 0.2) -> None:
        super().__init__()
        widths = [width, 2 * width, 3 * width, 4 * width]
        stages = [ResidualBlock(a, b, 2) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        self.body = nn.Sequential(nn.Conv2d(in_channels, width, 3, 1, 1), nn.SiLU(), *stages)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(widths[-1], classes))

    def features(self, x: Tensor) -> Tensor:
        """Images in [-1, 1], N x C x H x W => penultimate activations, N x 4 width."""
        return self.body(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Images in [-1, 1], N x C x H x W => logits, N x classes."""
        return self.head(self.features(x))
