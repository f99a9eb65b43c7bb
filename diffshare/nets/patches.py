"""The network that tells real patches of an image from those of a generator."""

from typing import Any

from torch import Tensor, nn

from diffshare.nets.bounds import bounded


class PatchDiscriminator(nn.Module):
    """Strided convolutions to one score for each patch (Isola et al. 2017), normalised by group.

    Args:
        in_channels: channels of the images.
        width: channels after the first convolution, a multiple of 8; each later one has twice as many.
        layers: convolutions of stride 2; the image's side is at least 2^layers.
    """

    def __init__(self, in_channels: int = 3, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        bounded("discriminator", 1, 4096, width=width)
        bounded("discriminator", 1, 12, layers=layers)
        body: list[Any] = [nn.Conv2d(in_channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for _ in range(layers - 1):
            body += [
                nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
                nn.GroupNorm(8, 2 * width),
                nn.LeakyReLU(0.2),
            ]
            width *= 2
        self.body = nn.Sequential(*body, nn.Conv2d(width, 1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Images in [-1, 1], N x C x H x W => scores, N x 1 x H / 2^layers x W / 2^layers."""
        return self.body(x)
