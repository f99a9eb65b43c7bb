"""A released diffusion model as the receiver has it: a black box that makes samples."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from diffusers import SchedulerMixin, UNet2DModel

from diffshare.errors import UserError, reason_of
from diffshare.generators.diffusion import (
    Sampler,
    ddpm_sampler,
    noise_streams,
    sample_diffusion,
    sample_once,
    to_bytes,
)
from diffshare.generators.process import Tilt
from diffshare.nets.classwise import ClasswiseUNet
from diffshare.release.card import MAX_STEPS, Card
from diffshare.release.folder import Release
from diffshare.release.generator import UNCONDITIONAL, Ledger, counted_calls
from diffshare.release.schedulers import load_scheduler
from diffshare.release.weights import load_part

SamplerOf = Callable[[SchedulerMixin, str | None], SchedulerMixin | Sampler]


def denoise_once(network: Any) -> None:
    """One pass through a denoiser of images or latents; each network of a classwise one is like its first.

    Raises:
        ValueError: what it makes has another shape than what it is given.
    """
    config, labels = network.config, torch.zeros(1, dtype=torch.long)
    if not isinstance(config.sample_size, int):
        return  # it will not fit the card
    x = torch.zeros(1, config.in_channels, config.sample_size, config.sample_size)
    if isinstance(network, ClasswiseUNet):
        output = network.networks[0](x, torch.zeros(1)).sample
    else:
        output = network(
            x, torch.zeros(1), class_labels=labels if config.num_class_embeds is not None else None
        ).sample
    if config.in_channels == config.out_channels and output.shape != x.shape:
        raise ValueError(f"of {tuple(x.shape)} it makes {tuple(output.shape)}")


def _chosen(
    trained: SchedulerMixin, name: str, sampler: SamplerOf, release: Release
) -> SchedulerMixin | Sampler:
    """The sampler that the receiver named, with the release's settings."""
    try:
        return sampler(trained, name)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{release.folder}: its settings do not suit `scheduler` {name}: {reason_of(error)}"
        ) from error


@dataclass
class DiffusionBox:
    """A pixel-space diffusion model behind the ``Generator`` protocol. It computes in fp32.

    Attributes:
        card: what the sharer says of it.
        denoiser: the network.
        scheduler: the scheduler, or a family's own sampler, that samples.
        ledger: what was asked of it so far.
    """

    card: Card
    denoiser: Any
    scheduler: Any
    ledger: Ledger = field(default_factory=Ledger)

    @classmethod
    def open(
        cls,
        release: Release,
        *,
        device: str = "cpu",
        scheduler: str | None = None,
        sampler: SamplerOf = ddpm_sampler,
        own_schedulers: Mapping[str, type[SchedulerMixin]] | None = None,
        channels: tuple[int, ...] = (1, 3),
        factor: int = 1,
    ) -> Self:
        """Load the parts of a checked release.

        Args:
            release: of :func:`diffshare.release.folder.open_release`.
            device: where to compute.
            scheduler: name of a scheduler of diffusers or of one of the family's samplers; its default where None.
            sampler: the family's, of the trained scheduler and that name.
            own_schedulers: the family's schedulers that diffusers does not have, by class name.
            channels: how many the denoiser may have.
            factor: pixels of an image on one of the denoiser's, along a side.

        Raises:
            UserError: the parts do not fit each other or the card.
        """
        kinds = {"UNet2DModel": UNet2DModel, "ClasswiseUNet": ClasswiseUNet}
        denoiser = load_part(release, "unet", kinds, trial=denoise_once)
        config, card = denoiser.config, release.card
        embeddings = len(card.labels) + 1 if card.labels else None
        size = config.sample_size * factor if isinstance(config.sample_size, int) else None
        if config.num_class_embeds != embeddings or size != card.image_size:
            raise UserError(
                f"{release.folder}: the network (num_class_embeds {config.num_class_embeds}, sample_size "
                f"{config.sample_size}) does not fit the card ({len(card.labels)} labels, image_size {card.image_size})"
            )
        if config.in_channels != config.out_channels or config.in_channels not in channels:
            raise UserError(
                f"{release.folder}: a network from {config.in_channels} to {config.out_channels} channels "
                f"does not fit: {' or '.join(map(str, channels))} are expected"
            )
        trained = load_scheduler(release, own=own_schedulers or {})
        try:
            default = sampler(trained, None)
            if isinstance(default, SchedulerMixin):
                default.set_timesteps(min(card.steps, trained.config.num_train_timesteps))
        except Exception as error:  # as its constructor, it may raise anything
            raise UserError(
                f"{release.folder}: its scheduler settings do not sample: {reason_of(error)}"
            ) from error
        chosen = default if scheduler is None else _chosen(trained, scheduler, sampler, release)
        try:
            sample_once(chosen, config.in_channels)
        except Exception as error:
            raise UserError(
                f"{release.folder}: its scheduler settings do not sample: {reason_of(error)}"
            ) from error
        return cls(card, denoiser.to(device), chosen)

    def sample(
        self,
        labels: np.ndarray,
        indices: np.ndarray,
        *,
        seed: int,
        steps: int | None = None,
        guidance: float = 1.0,
        tilt: Tilt | None = None,
    ) -> np.ndarray:
        """Make one sample for each label; see :class:`diffshare.release.generator.Generator`.

        ``tilt`` is for whoever owns the model: see :func:`sample_diffusion`.
        """
        steps = self.card.steps if steps is None else steps
        # to levels that were trained; other samplers go between
        fixed = isinstance(self.scheduler, SchedulerMixin)
        most = self.scheduler.config.num_train_timesteps if fixed else MAX_STEPS
        if not 1 <= steps <= most:
            raise UserError(f"`steps` is {steps}: this model takes 1 to {most}")
        calls: list[int] = []
        started = time.perf_counter()
        config = self.denoiser.config
        null = len(self.card.labels)
        asked = torch.from_numpy(np.where(labels == UNCONDITIONAL, null, labels)).to(
            self.denoiser.device
        )
        with counted_calls(calls, steps * len(labels)) as on_call:
            x = sample_diffusion(
                self.denoiser,
                self.scheduler,
                (config.in_channels, config.sample_size, config.sample_size),
                asked if self.card.labels else None,
                noise_streams(seed, indices),
                steps=steps,
                guidance=guidance,
                null_label=null,
                on_call=on_call,
                tilt=tilt,
            )
        images = self.decode(x)
        self.ledger.record(labels, sum(calls), time.perf_counter() - started)
        return images

    def decode(self, x: torch.Tensor) -> np.ndarray:
        """Images of what the denoiser made: N x C x H x W => uint8 N x H x W x C."""
        return to_bytes(x)
