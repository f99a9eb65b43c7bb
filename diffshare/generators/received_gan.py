"""A released generator as the receiver has it: samples from one pass, and a word where they are all the same."""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor

from diffshare.errors import UserError
from diffshare.generators.diffusion import noise_streams, to_bytes
from diffshare.nets.gan import ResnetGenerator
from diffshare.release.card import Card
from diffshare.release.folder import Release
from diffshare.release.generator import UNCONDITIONAL, Ledger
from diffshare.release.weights import load_part

COLLAPSED = 1.0  # grey levels: samples that deviate less from each other are all the same to the eye


def deviations(made: np.ndarray, labels: np.ndarray) -> dict[int, float]:
    """Standard deviation over the samples of each class, in grey levels, mean over the elements of an image.

    Args:
        made: uint8, N x H x W x C.
        labels: int64, N. A class of one sample is left out.
    """
    classes, counts = np.unique(labels, return_counts=True)
    return {int(k): float(made[labels == k].std(0).mean()) for k in classes[counts > 1]}


def warn_of_collapse(found: Mapping[int, float], labels: Sequence[str]) -> None:
    """Warn of each class whose samples are nearly equal.

    Args:
        found: of :func:`deviations`.
        labels: names of the classes.
    """
    for label, deviation in found.items():
        if deviation < COLLAPSED:
            named = "" if label == UNCONDITIONAL or not labels else f" of class '{labels[label]}'"
            warnings.warn(
                f"the GAN has collapsed: its samples{named} are all equal within {COLLAPSED:g} grey level; train it "
                "again with another seed, a lower learning rate or more discriminator_steps",
                stacklevel=2,
            )


@torch.inference_mode()
def generate(generator: Any, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
    """Images of a generator, each from noise of its own.

    Args:
        generator: a :class:`ResnetGenerator` in evaluation mode.
        labels: int64, n; -1 asks for no class.
        indices: int64, n: number of each sample within the seed.
        seed: chooses the noise.

    Returns:
        uint8, n x H x W x C.

    Raises:
        UserError: values that are not finite.
    """
    config: Any = generator.config
    noise = randn_tensor(
        (len(indices), config.latent_dim), generator=noise_streams(seed, indices), device=generator.device
    )
    classes = None
    if config.num_class_embeds is not None:
        null = config.num_class_embeds - 1
        classes = torch.from_numpy(np.where(labels == UNCONDITIONAL, null, labels)).to(generator.device)
    x = generator(noise, classes)
    if not torch.isfinite(x).all():
        raise UserError("the generator makes values that are not finite: the model is broken; ask for another")
    return to_bytes(x)


@dataclass
class GANBox:
    """A released generator behind the ``Generator`` protocol. It computes in fp32.

    Attributes:
        card: what the sharer says of it.
        generator: the network.
        ledger: what was asked of it so far.
    """

    card: Card
    generator: Any
    ledger: Ledger = field(default_factory=Ledger)

    @classmethod
    def open(cls, release: Release, device: str = "cpu") -> Self:
        """Load the generator of a checked release.

        Raises:
            UserError: the network does not fit the card.
        """
        generator = load_part(release, "generator", {"ResnetGenerator": ResnetGenerator})
        config, card = cast(Any, generator).config, release.card
        embeddings = len(card.labels) + 1 if card.labels else None
        if config.num_class_embeds != embeddings or config.sample_size != card.image_size:
            raise UserError(
                f"{release.folder}: the network (num_class_embeds {config.num_class_embeds}, sample_size "
                f"{config.sample_size}) does not fit the card ({len(card.labels)} labels, image_size {card.image_size})"
            )
        if config.out_channels not in (1, 3):
            raise UserError(f"{release.folder}: a generator of {config.out_channels} channels makes no images")
        return cls(card, generator.to(device))

    def sample(
        self, labels: np.ndarray, indices: np.ndarray, *, seed: int, steps: int | None = None, guidance: float = 1.0
    ) -> np.ndarray:
        """Make one sample for each label; see :class:`diffshare.release.generator.Generator`."""
        if steps not in (None, 1):
            raise UserError(f"steps is {steps}: a GAN makes a sample in 1")
        if guidance != 1:
            raise UserError(f"guidance is {guidance:g}: a GAN has none; leave it at 1")
        started = time.perf_counter()
        made = generate(self.generator, labels, indices, seed)
        self.ledger.record(labels, len(labels), time.perf_counter() - started)
        warn_of_collapse(deviations(made, labels), self.card.labels)
        return made
