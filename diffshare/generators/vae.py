"""A class-conditional variational autoencoder of images with a flat latent: the baseline of the diffusion models."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MeanMetric

from diffshare.batch import Batch
from diffshare.errors import UserError
from diffshare.generators.autoencoder import prior
from diffshare.generators.base import Facts
from diffshare.generators.diffusion import noise_streams, to_bytes
from diffshare.generators.fitted import FittedModule
from diffshare.generators.latents import AT_ONCE
from diffshare.generators.losses import kl_divergence, vae_loss
from diffshare.generators.one_step import OneStepBox
from diffshare.nets.vae import ConvVAE, VAEDecoder
from diffshare.release.folder import Release
from diffshare.release.generator import UNCONDITIONAL
from diffshare.release.weights import load_part
from diffshare.training.rates import Rate

NetworkCallable = Callable[[int, int, int | None], ConvVAE]

LEAST_LOG_SCALE = -6.0  # a third of a grey level


class VAEBox(OneStepBox):
    """A released decoder behind the ``Generator`` protocol. It computes in fp32."""

    def make(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Decode latents of the prior; see the base class."""
        return decode_prior(self.network, labels, indices, seed)


@torch.inference_mode()
def decode_prior(decoder: VAEDecoder, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
    """Images of latents that are drawn from N(0, 1), each from its own stream: the decoder's means, ``AT_ONCE`` a pass.

    Args:
        decoder: the network.
        labels: int64, n: class numbers, -1 for none.
        indices: int64, n: numbers of the samples within the seed.
        seed: chooses the noise.

    Returns:
        uint8, n x H x W x C.
    """
    config: Any = decoder.config
    null = config.num_class_embeds
    latents = prior((config.latent_dim,), seed, indices, decoder.device)
    asked = torch.from_numpy(np.where(labels == UNCONDITIONAL, (null or 1) - 1, labels)).to(decoder.device)
    parts = zip(latents.split(AT_ONCE), asked.split(AT_ONCE), strict=True)
    return np.concatenate([to_bytes(decoder(z, None if null is None else y)) for z, y in parts])


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
        scale: deviation of a record's values from the decoder's, which span 2; learned where left out (Rybkin et al.
            2021).
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
            raise UserError(f"model.condition_dropout is {condition_dropout}: a probability below 1")
        if not 0 <= kl_weight < float("inf"):
            raise UserError(f"model.kl_weight is {kl_weight}: a number of at least 0 is expected")
        if scale is not None and not 1e-3 <= scale <= 1e3:
            raise UserError(f"model.scale is {scale}: a number from 0.001 to 1000 is expected")
        self.make_network, self.asked = network, conditional
        self.condition_dropout, self.kl_weight = condition_dropout, kl_weight
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale or 1.0)), requires_grad=scale is None)
        self.network: Any = None
        self.val_loss, self.val_divergence, self.val_error = MeanMetric(), MeanMetric(), MeanMetric()
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
            self.network = self.make_network(channels, height, len(facts.labels) + 1 if self.asked else None)

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
        made = self.network.decoder(mean + torch.exp(logvar / 2) * torch.randn_like(mean), labels)
        return vae_loss(batch.x, made, mean, logvar, self._log_scale(), self.kl_weight).mean()

    def _labels(self, target: Tensor) -> Tensor | None:
        """Classes as the network numbers them: -1 becomes its last embedding."""
        return target.masked_fill(target == UNCONDITIONAL, self.network.num_class_embeds - 1) if self.asked else None

    def _log_scale(self) -> Tensor:
        return self.log_scale.clamp(min=LEAST_LOG_SCALE)

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
        number = (self._evaluated + np.arange(len(batch.x))) * self.trainer.world_size + self.global_rank
        self._evaluated += len(batch.x)
        labels = self._labels(batch.target)
        mean, logvar = self.network.encoder(batch.x, labels)
        noise = torch.stack([torch.randn(mean.shape[1:], generator=s) for s in noise_streams(0, number)])
        made = self.network.decoder(mean + torch.exp(logvar / 2) * noise.to(mean.device), labels)
        self.val_loss.update(vae_loss(batch.x, made, mean, logvar, self._log_scale(), self.kl_weight))
        self.val_divergence.update(kl_divergence(mean, logvar))
        error = (self.network.decoder(mean, labels).clamp(-1, 1) - batch.x).square()
        self.val_error.update(error.flatten(1).mean(1))

    def _log_means(self, stage: str) -> None:
        self.log(f"{stage}/loss", self.val_loss.compute(), prog_bar=True)
        self.log(f"{stage}/kl_nats", self.val_divergence.compute(), prog_bar=True)
        error = self.val_error.compute().clamp(min=1e-10)  # of values 2 apart at most
        self.log(f"{stage}/psnr_db", 10 * torch.log10(4 / error), prog_bar=True)
        for metric in (self.val_loss, self.val_divergence, self.val_error):
            metric.reset()
        self._evaluated = 0

    # --- samples and release -------------------------------------------------------------------------------------

    def draw(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Samples of the prior; see the base class."""
        return decode_prior(self.network.decoder, labels, indices, seed)

    def save_parts(self, folder: Path) -> None:
        """Write ``decoder`` as diffusers does; the encoder stays here."""
        self.network.decoder.save_pretrained(folder / "decoder")

    @classmethod
    def receive(cls, release: Release, *, device: str = "cpu", scheduler: str | None = None, **_: Any) -> VAEBox:
        """Open a release as a black box.

        Raises:
            UserError: the network does not fit the card, or a scheduler was named.
        """
        if scheduler is not None:
            raise UserError(f"scheduler '{scheduler}': a VAE has none; leave it out")
        decoder = load_part(release, "decoder", {"VAEDecoder": VAEDecoder})
        config: Any = decoder.config
        card = release.card
        embeddings = len(card.labels) + 1 if card.labels else None
        if (config.num_class_embeds, config.sample_size) != (embeddings, card.image_size):
            raise UserError(
                f"{release.folder}: the decoder (num_class_embeds {config.num_class_embeds}, sample_size "
                f"{config.sample_size}) does not fit the card ({len(card.labels)} labels, image_size {card.image_size})"
            )
        if config.out_channels not in (1, 3):
            raise UserError(f"{release.folder}: a decoder of {config.out_channels} channels: 1 or 3 are expected")
        return VAEBox(card, decoder.to(device))
