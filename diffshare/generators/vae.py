"""A class-conditional variational autoencoder of images with a flat latent: the baseline of the diffusion models."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torchmetrics import MeanMetric

from diffshare.batch import Batch
from diffshare.errors import UserError
from diffshare.generators.base import Facts
from diffshare.generators.fitted import FittedModule
from diffshare.generators.losses import gaussian_nats, kl_divergence, vae_loss
from diffshare.generators.one_step import OneStepBox, generate, prior
from diffshare.nets.vae import ConvVAE, VAEDecoder
from diffshare.release.folder import Release
from diffshare.release.generator import UNCONDITIONAL
from diffshare.training.rates import Rate

NetworkCallable = Callable[[int, int, int | None], ConvVAE]


class VAE(FittedModule):
    """Conditional VAE (Kingma & Welling 2014; Sohn et al. 2015) with Gaussian records around the decoder's means.

    What is sampled are those means, without the Gaussian's noise. Classes that are hidden in training become a class of
    their own, so that a conditional model can be asked for none.

    Args:
        network: makes encoder and decoder of the images' channels and side and of ``num_class_embeds``, which follow
            the data.
        optimizer: of all weights.
        conditional: whether the model can be asked for a class.
        condition_dropout: probability with which a training record's class is hidden.
        scale: deviation of a record's values from the decoder's, which span 2; where left out, the one that is
            likeliest for the batch (Rybkin et al. 2021).
        kl_weight: of the KL divergence of the posterior to N(0, 1).
        lr_schedule: ``constant`` or ``cosine`` (to zero at the last step), after the warm-up.
        warmup_steps: steps in which the rate rises linearly from 0.
    """

    family: ClassVar[str] = "vae"

    def __init__(
        self,
        network: NetworkCallable = ConvVAE,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        conditional: bool = True,
        condition_dropout: float = 0.1,
        scale: float | None = None,
        kl_weight: float = 1.0,
        lr_schedule: Rate = "constant",
        warmup_steps: int = 0,
    ) -> None:
        super().__init__(optimizer, lr_schedule, warmup_steps, sampling_steps=1, guidance=1.0)
        if not 0 <= condition_dropout < 1:
            raise UserError(
                f"model.condition_dropout is {condition_dropout}: a probability below 1"
            )
        if not 0 <= kl_weight < float("inf"):
            raise UserError(f"model.kl_weight is {kl_weight}: a number of at least 0 is expected")
        if scale is not None and not 1e-3 <= scale <= 1e3:
            raise UserError(f"model.scale is {scale}: a number from 0.001 to 1000 is expected")
        self.make_network, self.asked = network, conditional
        self.condition_dropout, self.scale, self.kl_weight = condition_dropout, scale, kl_weight
        self.network: Any = None
        self.val_nearest, self.val_error, self.val_divergence = (
            MeanMetric(),
            MeanMetric(),
            MeanMetric(),
        )
        self._evaluated = 0  # records of the present validation or test that this process has seen

    @property
    def conditional(self) -> bool:
        """Whether the model can be asked for a class."""
        return self.asked

    def build(self, facts: Facts) -> None:
        """Make encoder and decoder."""
        if self.network is None:
            channels, height, width = facts.shape
            if height != width:
                raise UserError(f"images of {width}x{height} pixels: a VAE takes square ones")
            self.network = self.make_network(
                channels, height, len(facts.labels) + 1 if self.asked else None
            )

    def check(self, facts: Facts) -> None:
        """Refuse images that the network was not made for."""
        config = self.network.decoder.config
        if (config.out_channels, config.sample_size) != tuple(facts.shape[:2]):
            raise UserError(
                f"the model was made for images of {config.sample_size} pixels and {config.out_channels} channels, the "
                f"data has {facts.shape[1]} and {facts.shape[0]}: use the run's config"
            )

    # --- training ------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Tensor:
        """Mean negative evidence lower bound of a batch, some classes hidden."""
        hidden = torch.rand(len(batch.x), device=batch.x.device) < self.condition_dropout
        labels = self._labels(batch.target.masked_fill(hidden, UNCONDITIONAL))
        mean, logvar = self.network.encoder(batch.x, labels)
        output = self.network.decoder(mean + torch.exp(logvar / 2) * torch.randn_like(mean), labels)
        return vae_loss(batch.x, output, mean, logvar, self.scale, self.kl_weight).mean()

    def _labels(self, target: Tensor) -> Tensor | None:
        """Classes as the network numbers them: -1 becomes its last embedding."""
        return (
            target.masked_fill(target == UNCONDITIONAL, self.network.num_class_embeds - 1)
            if self.asked
            else None
        )

    # --- validation ----------------------------------------------------------------------------------------------

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss from noise that is the same every time, its divergence, error of the posterior's mean."""
        self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss from noise that is the same every time, its divergence, error of the posterior's mean."""
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the means."""
        self._log_means("val")

    def on_test_epoch_end(self) -> None:
        """Log the means."""
        self._log_means("test")

    def _evaluate(self, batch: Batch) -> None:
        # of the record's number in its set, so that neither batches nor processes change what is measured
        number = (
            self._evaluated + np.arange(len(batch.x))
        ) * self.trainer.world_size + self.global_rank
        self._evaluated += len(batch.x)
        labels = self._labels(batch.target)
        mean, logvar = self.network.encoder(batch.x, labels)
        drawn = mean + torch.exp(logvar / 2) * prior(tuple(mean.shape[1:]), 0, number, mean.device)
        for metric, latents in ((self.val_error, drawn), (self.val_nearest, mean)):
            metric.update(
                (self.network.decoder(latents, labels) - batch.x).square().flatten(1).mean(1)
            )
        self.val_divergence.update(kl_divergence(mean, logvar))

    def _log_means(self, stage: str) -> None:
        assert self.facts is not None
        divergence = self.val_divergence.compute()
        bound = gaussian_nats(self.val_error.compute()[None], self.scale)[0]
        self.log(
            f"{stage}/loss",
            bound + self.kl_weight * divergence / math.prod(self.facts.shape),
            prog_bar=True,
        )
        self.log(f"{stage}/kl_nats", divergence, prog_bar=True)
        error = self.val_nearest.compute().clamp(min=1e-10)  # of values 2 apart
        self.log(f"{stage}/psnr_db", 10 * torch.log10(4 / error), prog_bar=True)
        for metric in (self.val_nearest, self.val_error, self.val_divergence):
            metric.reset()
        self._evaluated = 0

    # --- samples and release -------------------------------------------------------------------------------------

    def draw(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Samples of the prior; see the base class."""
        return generate(self.network.decoder, labels, indices, seed)

    def save_parts(self, folder: Path) -> None:
        """Write ``decoder`` as diffusers does; the encoder stays here."""
        self.network.decoder.save_pretrained(folder / "decoder")

    @classmethod
    def receive(cls, release: Release, **options: Any) -> OneStepBox:
        """Open a release as a black box."""
        return OneStepBox.open(release, "decoder", {"VAEDecoder": VAEDecoder}, **options)
