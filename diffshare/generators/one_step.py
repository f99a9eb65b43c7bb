"""Models that make a sample from noise in one call of their network, and what a receiver has of them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from diffshare.errors import UserError
from diffshare.generators.diffusion import noise_streams, to_bytes
from diffshare.release.card import Card
from diffshare.release.folder import Release
from diffshare.release.generator import UNCONDITIONAL, Ledger
from diffshare.release.weights import load_part

PIXELS = 1 << 20  # of the images in one pass


def prior(shape: tuple[int, ...], seed: int, indices: np.ndarray, device: torch.device) -> Tensor:
    """Standard normal latents of a shape, each from its own stream: len(indices) x shape."""
    return randn_tensor(
        (len(indices), *shape), generator=noise_streams(seed, indices), device=device
    )


def make_once(network: Any) -> None:
    """One pass through such a network.

    Raises:
        ValueError: what it makes is no image of its configuration.
    """
    config = network.config
    labels = None if config.num_class_embeds is None else torch.zeros(1, dtype=torch.long)
    images = network(torch.zeros(1, config.latent_dim), labels)
    if images.shape != (1, config.out_channels, config.sample_size, config.sample_size):
        raise ValueError(f"it makes {tuple(images.shape)}")


@torch.inference_mode()
def generate(network: Any, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
    """Images of a network from flat noise, each from noise of its own, ``PIXELS`` in a pass.

    Args:
        network: (noise, n x ``config.latent_dim``; classes, int64, n, the last of ``config.num_class_embeds`` standing
            for "no class", or None) to images about in [-1, 1], n x C x H x W.
        labels: int64, n: class numbers, -1 for none.
        indices: int64, n: number of each sample within the seed.
        seed: chooses the noise.

    Returns:
        uint8, n x H x W x C.

    Raises:
        UserError: values that are not finite.
    """
    latents, classes = (
        prior((network.config.latent_dim,), seed, indices, network.device),
        network.config.num_class_embeds,
    )
    asked = torch.from_numpy(np.where(labels == UNCONDITIONAL, (classes or 1) - 1, labels)).to(
        network.device
    )
    at_once = max(1, PIXELS // network.config.sample_size**2)
    images = []
    for z, y in zip(latents.split(at_once), asked.split(at_once), strict=True):
        x = network(z, None if classes is None else y).float()
        if not torch.isfinite(x).all():
            raise UserError(
                "the model makes values that are not finite: it is broken; ask for another"
            )
        images.append(to_bytes(x))
    return np.concatenate(images)


@dataclass
class OneStepBox:
    """A released network from flat noise to images behind the ``Generator`` protocol. It computes in fp32.

    Attributes:
        card: what the sharer says of it.
        network: see :func:`generate`.
        ledger: what was asked of it so far.
    """

    card: Card
    network: Any
    ledger: Ledger = field(default_factory=Ledger)

    @classmethod
    def open(
        cls,
        release: Release,
        part: str,
        allowed: Mapping[str, type[nn.Module]],
        *,
        device: str = "cpu",
        scheduler: str | None = None,
        **_: Any,
    ) -> Self:
        """Load the network of a checked release.

        Args:
            release: of :func:`diffshare.release.folder.open_release`.
            part: its folder in the release.
            allowed: the classes that may stand there, by name.
            device: where to compute.
            scheduler: None: there is nothing to choose.

        Raises:
            UserError: the network does not fit the card, or a scheduler was named.
        """
        card = release.card
        refuse_scheduler(card, scheduler)
        network: Any = load_part(release, part, allowed, trial=make_once)
        config, embeddings = network.config, len(card.labels) + 1 if card.labels else None
        if (config.num_class_embeds, config.sample_size) != (embeddings, card.image_size):
            raise UserError(
                f"{release.folder}: the network (num_class_embeds {config.num_class_embeds}, sample_size "
                f"{config.sample_size}) does not fit the card ({len(card.labels)} labels, image_size {card.image_size})"
            )
        if config.out_channels not in (1, 3):
            raise UserError(
                f"{release.folder}: a network to {config.out_channels} channels: 1 or 3 are expected"
            )
        return cls(card, network.to(device))

    def make(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """The samples; arguments and result as of :func:`generate`."""
        return generate(self.network, labels, indices, seed)

    def sample(
        self,
        labels: np.ndarray,
        indices: np.ndarray,
        *,
        seed: int,
        steps: int | None = None,
        guidance: float = 1.0,
    ) -> np.ndarray:
        """Make one sample for each label; see :class:`diffshare.release.generator.Generator`.

        Raises:
            UserError: other steps or another guidance than 1.
        """
        if steps not in (None, 1):
            raise UserError(
                f"`steps` is {steps}: a model of the family {self.card.family} samples in 1; leave it out"
            )
        if guidance != 1:
            raise UserError(
                f"`guidance` is {guidance:g}: a model of the family {self.card.family} has none, only diffusion models "
                "do; leave it out"
            )
        started = time.perf_counter()
        samples = self.make(labels, indices, seed)
        self.ledger.record(labels, len(labels), time.perf_counter() - started)
        return samples


def refuse_scheduler(card: Card, scheduler: str | None) -> None:
    """Refuse the name of a scheduler: there is nothing to choose."""
    if scheduler is not None:
        raise UserError(
            f"scheduler '{scheduler}': a model of the family {card.family} has none; leave it out"
        )
