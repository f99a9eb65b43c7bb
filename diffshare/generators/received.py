"""A released diffusion model as the receiver has it: a black box that makes samples."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, SchedulerMixin, UNet2DModel

from diffshare.errors import UserError
from diffshare.generators.diffusion import noise_streams, sample_diffusion, sampling_scheduler, to_bytes
from diffshare.release.card import Card
from diffshare.release.folder import Release
from diffshare.release.generator import UNCONDITIONAL, Ledger
from diffshare.release.schedulers import load_scheduler
from diffshare.release.weights import load_part

PREDICTIONS = ("epsilon", "v_prediction")


@dataclass
class DiffusionBox:
    """A pixel-space diffusion model behind the ``Generator`` protocol. It computes in fp32.

    Attributes:
        card: what the sharer says of it.
        denoiser: the network.
        scheduler: the scheduler that samples.
        ledger: what was asked of it so far.
    """

    card: Card
    denoiser: Any
    scheduler: SchedulerMixin
    ledger: Ledger = field(default_factory=Ledger)

    @classmethod
    def open(cls, release: Release, *, device: str = "cpu", scheduler: str | None = None) -> "DiffusionBox":
        """Load the parts of a checked release.

        Args:
            release: of :func:`diffshare.release.folder.open_release`.
            device: where to compute.
            scheduler: name of a scheduler of diffusers; DPM-Solver++ where None.

        Raises:
            UserError: the parts do not fit each other or the card.
        """
        denoiser = load_part(release, "unet", {"UNet2DModel": UNet2DModel})
        config, card = denoiser.config, release.card
        embeddings = len(card.labels) + 1 if card.labels else None
        if config.num_class_embeds != embeddings or config.sample_size != card.image_size:
            raise UserError(
                f"{release.folder}: the network (num_class_embeds {config.num_class_embeds}, sample_size "
                f"{config.sample_size}) does not fit the card ({len(card.labels)} labels, image_size {card.image_size})"
            )
        if config.in_channels != config.out_channels or config.in_channels not in (1, 3):
            raise UserError(
                f"{release.folder}: a network from {config.in_channels} to {config.out_channels} channels "
                "makes no images; 1 or 3 are expected"
            )
        trained = load_scheduler(release)
        if not isinstance(trained, DDPMScheduler | DDIMScheduler) or trained.config.prediction_type not in PREDICTIONS:
            raise UserError(f"{release.folder}: its scheduler is not one that a DDPM is trained with")
        try:
            sampler = sampling_scheduler(trained, scheduler)
            sampler.set_timesteps(min(card.steps, trained.config.num_train_timesteps))
        except (ValueError, NotImplementedError, TypeError, IndexError) as error:
            raise UserError(f"{release.folder}: its scheduler settings do not sample: {error}") from error
        return cls(card, denoiser.to(device), sampler)

    def sample(
        self, labels: np.ndarray, indices: np.ndarray, *, seed: int, steps: int | None = None, guidance: float = 1.0
    ) -> np.ndarray:
        """Make one sample for each label; see :class:`diffshare.release.generator.Generator`."""
        steps = self.card.steps if steps is None else steps
        most = self.scheduler.config.num_train_timesteps
        if not 1 <= steps <= most:
            raise UserError(f"steps is {steps}: this model takes 1 to {most}")
        calls: list[int] = []
        started = time.perf_counter()
        config = self.denoiser.config
        null = len(self.card.labels)
        asked = torch.from_numpy(np.where(labels == UNCONDITIONAL, null, labels)).to(self.denoiser.device)
        x = sample_diffusion(
            self.denoiser,
            self.scheduler,
            (config.in_channels, config.sample_size, config.sample_size),
            asked if self.card.labels else None,
            noise_streams(seed, indices),
            steps=steps,
            guidance=guidance,
            null_label=null,
            on_call=calls.append,
        )
        made = to_bytes(x)
        self.ledger.record(labels, sum(calls), time.perf_counter() - started)
        return made
