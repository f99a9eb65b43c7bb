"""Residual generator and discriminator of SNGAN, conditional on a class, saved and loaded as networks of diffusers."""

import contextlib
import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from diffshare.errors import UserError
from diffshare.nets.bounds import bounded, bounded_channels

TURNS = 4  # rotations by 0, 90, 180 and 270 degrees


def _xavier(layer: nn.Conv2d | nn.Linear | nn.Embedding, gain: float = 1.0) -> None:
    """Initial weights as in Miyato et al.'s own networks."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if not isinstance(layer, nn.Embedding) and layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _channels_last(x: Tensor) -> Tensor:
    """The layout in which these convolutions ran 1.3 to 1.5 times as fast on a CPU; what follows keeps it."""
    return x.contiguous(memory_format=torch.channels_last)


class ClassBatchNorm(nn.Module):
    """Batch normalisation with a scale and a shift for each class (Dumoulin et al. 2017; Miyato & Koyama 2018).

    The running statistics are parameters without a gradient, not buffers: an average of weights then covers them too.
    Those of the last weights would not fit averaged ones.

    Args:
        channels: of the input.
        classes: embeddings of a class; one scale and shift for all where None.
        momentum: share of a batch in the running statistics.
    """

    def __init__(self, channels: int, classes: int | None, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.mean = nn.Parameter(torch.zeros(channels), requires_grad=False)
        self.variance = nn.Parameter(torch.ones(channels), requires_grad=False)
        self.scale, self.shift = (
            nn.Embedding(classes or 1, channels),
            nn.Embedding(classes or 1, channels),
        )
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """N x C x H x W and classes, int64 N, as the embeddings number them => N x C x H x W."""
        x = F.batch_norm(
            x, self.mean, self.variance, training=self.training, momentum=self.momentum
        )
        return x * self.scale(labels)[..., None, None] + self.shift(labels)[..., None, None]


class _UpBlock(nn.Module):
    """Residual block that doubles the side (Miyato et al. 2018, figure 8)."""

    def __init__(self, before: int, after: int, classes: int | None) -> None:
        super().__init__()
        self.norm1, self.conv1 = (
            ClassBatchNorm(before, classes),
            nn.Conv2d(before, after, 3, padding=1),
        )
        self.norm2, self.conv2 = (
            ClassBatchNorm(after, classes),
            nn.Conv2d(after, after, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(before, after, 1)
        for layer, gain in (
            (self.conv1, math.sqrt(2)),
            (self.conv2, math.sqrt(2)),
            (self.shortcut, 1.0),
        ):
            _xavier(layer, gain)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        h = self.conv1(F.interpolate(F.relu(self.norm1(x, labels)), scale_factor=2.0))
        h = self.conv2(F.relu(self.norm2(h, labels)))
        # nothing in between: the order does not matter
        return h + F.interpolate(self.shortcut(x), scale_factor=2.0)


class ResnetGenerator(ModelMixin, ConfigMixin):
    """Noise to images (Miyato et al. 2018, tables 4 and 5; Miyato & Koyama 2018 for the classes).

    Args:
        sample_size: side of the images in pixels, 4 to 256, a multiple of the stride 2^(len(block_out_channels) - 1).
        out_channels: channels of the images, 1 to 4.
        latent_dim: numbers of noise an image.
        block_out_channels: channels at each resolution, the smallest first; each but the first doubles the side.
        num_class_embeds: classes and one more for "no class"; unconditional where None.

    Raises:
        UserError: a size out of reason, or a side that does not divide by the stride.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 32,
        out_channels: int = 3,
        latent_dim: int = 128,
        block_out_channels: Sequence[int] = (256, 256, 256, 256),
        num_class_embeds: int | None = None,
    ) -> None:
        super().__init__()
        where = "generator"
        bounded(where, 4, 256, sample_size=sample_size)
        bounded(where, 1, 4, out_channels=out_channels)
        bounded(where, 1, 1024, latent_dim=latent_dim)
        bounded_channels(where, block_out_channels)
        if num_class_embeds is not None:
            bounded(where, 1, 10_001, num_class_embeds=num_class_embeds)
        stride = 2 ** (len(block_out_channels) - 1)
        if sample_size % stride:
            raise UserError(
                f"images of {sample_size}x{sample_size} pixels do not divide by the generator's stride {stride}: set "
                f"generator.sample_size to a multiple of {stride} or use fewer block_out_channels"
            )
        self.start_side = sample_size // stride
        first, last = block_out_channels[0], block_out_channels[-1]
        self.start = nn.Linear(latent_dim, first * self.start_side**2)
        pairs = zip(block_out_channels, block_out_channels[1:], strict=False)
        self.blocks = nn.ModuleList(
            _UpBlock(before, after, num_class_embeds) for before, after in pairs
        )
        self.norm, self.end = (
            ClassBatchNorm(last, None),
            nn.Conv2d(last, out_channels, 3, padding=1),
        )
        _xavier(self.start)
        _xavier(self.end)

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images of noise.

        Args:
            noise: standard normal, N x latent_dim.
            labels: classes, int64 in 0..num_class_embeds - 1, N; None where the network is unconditional.

        Returns:
            float32 in [-1, 1], N x out_channels x sample_size x sample_size.
        """
        none = torch.zeros(len(noise), dtype=torch.long, device=noise.device)
        labels = none if labels is None else labels
        x = _channels_last(self.start(noise).unflatten(1, (-1, self.start_side, self.start_side)))
        for block in self.blocks:
            x = block(x, labels)
        return torch.tanh(self.end(F.relu(self.norm(x, none))).float())


class _DownBlock(nn.Module):
    """Residual block of spectrally normalised convolutions that may halve the side (Miyato et al. 2018, figure 8)."""

    def __init__(self, before: int, after: int, halves: bool, first: bool) -> None:
        super().__init__()
        self.halves, self.first = halves, first
        hidden = after if first else before
        layers = nn.Conv2d(before, hidden, 3, padding=1), nn.Conv2d(hidden, after, 3, padding=1)
        shortcut = nn.Conv2d(before, after, 1)
        for layer, gain in zip((*layers, shortcut), (math.sqrt(2), math.sqrt(2), 1.0), strict=True):
            _xavier(layer, gain)
        self.conv1, self.conv2 = map(spectral_norm, layers)
        plain = before == after and not halves
        self.shortcut: nn.Module = nn.Identity() if plain else spectral_norm(shortcut)

    def forward(self, x: Tensor) -> Tensor:
        # the first block sees an image: no ReLU
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.halves:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return h + self.shortcut(x)


class ResnetDiscriminator(ModelMixin, ConfigMixin):
    """Images to scores, each weight divided by its largest singular value (Miyato et al. 2018, section 2.1).

    The score is psi(phi(x)) + <v_y, phi(x)>, with phi summed over all places (projection discriminator, Miyato &
    Koyama 2018, section 3). A second head tells how an image was turned (Chen et al. 2019).

    Args:
        in_channels: channels of the images, 1 to 4.
        block_out_channels: channels of each residual block.
        halvings: of the image's side, by the first blocks; by every block where None.
        num_class_embeds: classes and one more for "no class"; unconditional where None.
        rotations: whether there is the second head.

    Raises:
        UserError: a size out of reason.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        block_out_channels: Sequence[int] = (128, 128, 128, 128),
        halvings: int | None = None,
        num_class_embeds: int | None = None,
        rotations: bool = False,
    ) -> None:
        super().__init__()
        where = "discriminator"
        bounded(where, 1, 4, in_channels=in_channels)
        bounded_channels(where, block_out_channels)
        halvings = len(block_out_channels) if halvings is None else halvings
        bounded(where, 0, len(block_out_channels), halvings=halvings)
        if num_class_embeds is not None:
            bounded(where, 1, 10_001, num_class_embeds=num_class_embeds)
        self.stride, last = 2**halvings, block_out_channels[-1]
        pairs = zip((in_channels, *block_out_channels), block_out_channels, strict=False)
        self.blocks = nn.Sequential(
            *(_DownBlock(a, b, i < halvings, i == 0) for i, (a, b) in enumerate(pairs))
        )
        self.score = self._head(nn.Linear(last, 1))
        self.classes = (
            None if num_class_embeds is None else self._head(nn.Embedding(num_class_embeds, last))
        )
        self.turn = self._head(nn.Linear(last, TURNS)) if rotations else None

    @staticmethod
    def _head(layer: nn.Linear | nn.Embedding) -> nn.Module:
        _xavier(layer)
        return spectral_norm(layer)

    def forward(
        self, x: Tensor, labels: Tensor | None = None, turned: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Scores of images, and how others were turned, from one look at the weights.

        Args:
            x: images in [-1, 1], N x C x H x W, the sides multiples of ``stride``.
            labels: their classes, int64, N; None where the network is unconditional.
            turned: images that were turned, M x C x H x W.

        Returns:
            scores, float32, N; logits of the quarter turns 0 to 3, float32, M x 4, None where nothing was turned.
        """
        with self._normalised(x.device.type):
            features = self.blocks(_channels_last(x if turned is None else torch.cat([x, turned])))
            features = F.relu(features).float().sum((2, 3))
            mine, others = features[: len(x)], features[len(x) :]
            score = self.score(mine).squeeze(1).float()
            if self.classes is not None:
                score = score + (self.classes(labels) * mine).sum(1)
            return score, None if turned is None or self.turn is None else self.turn(others).float()

    @contextlib.contextmanager
    def _normalised(self, device_type: str) -> Iterator[None]:
        """Within the block each weight is normalised once, in fp32: a singular value in bf16 has three digits."""
        with parametrize.cached():
            with torch.autocast(device_type, enabled=False):
                for layer in self.modules():
                    if parametrize.is_parametrized(layer):
                        _ = layer.weight
            yield
