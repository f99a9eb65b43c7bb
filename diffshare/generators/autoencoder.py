"""The autoencoder of latent diffusion: reconstruction and KL, optionally perceptual and adversarial terms."""

from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from diffusers import AutoencoderKL
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torchmetrics import MeanMetric

from diffshare.batch import Batch
from diffshare.errors import UserError
from diffshare.generators.base import Facts, GenerativeModule
from diffshare.generators.diffusion import to_bytes
from diffshare.generators.latents import decode_images, decode_once, downscaling, latent_shape
from diffshare.generators.losses import autoencoder_loss, hinge_loss
from diffshare.generators.one_step import OneStepBox, prior
from diffshare.generators.perceptual import Perceptual
from diffshare.release.folder import Release
from diffshare.release.grid import image_grid
from diffshare.release.weights import load_part
from diffshare.training.rates import Rate

PICTURED = 8  # records in the picture of reconstructions


class AutoencoderBox(OneStepBox):
    """A released autoencoder behind the ``Generator`` protocol: it decodes latents of the prior N(0, 1)."""

    def make(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Decode; see the base class."""
        assert self.card.image_size is not None
        side = self.card.image_size // downscaling(self.network)
        shape = (self.network.config.latent_channels, side, side)
        return decode_images(self.network, prior(shape, seed, indices, self.network.device))


class Autoencoder(GenerativeModule):
    """Variational autoencoder with latents that keep the image's layout (Rombach et al. 2022, section 3.1).

    With a small ``kl_weight`` it is what latent diffusion stands on, and what it makes of the prior by itself is noise;
    with one near 1 it is a plain VAE.

    Args:
        network: encoder and decoder.
        optimizer: of the network's weights; a discriminator has one of its own of the same kind.
        kl_weight: of the KL divergence to N(0, 1), as that is summed over a record's latent and divided by its pixels.
        perceptual: distance of features; none where left out.
        perceptual_weight: of that distance.
        discriminator: images to scores of patches; no adversarial term where left out. It needs
            ``trainer.gradient_clip_val null``.
        adversarial_weight: of that term.
        adversarial_start: batches before it sets in.
        lr_schedule: ``constant`` or ``cosine`` (to zero at the last step), after the warm-up.
        warmup_steps: steps in which the rate rises linearly from 0.
    """

    family: ClassVar[str] = "autoencoder"

    def __init__(
        self,
        network: AutoencoderKL,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        kl_weight: float = 1e-6,
        perceptual: Perceptual | None = None,
        perceptual_weight: float = 0.1,
        discriminator: nn.Module | None = None,
        adversarial_weight: float = 0.1,
        adversarial_start: int = 0,
        lr_schedule: Rate = "constant",
        warmup_steps: int = 0,
    ) -> None:
        super().__init__(optimizer, lr_schedule, warmup_steps, sampling_steps=1, guidance=1.0)
        weights = {
            "kl": kl_weight,
            "perceptual": perceptual_weight,
            "adversarial": adversarial_weight,
        }
        for name, weight in weights.items():
            if not 0 <= weight < float("inf"):
                raise UserError(
                    f"model.{name}_weight is {weight}: a number of at least 0 is expected"
                )
        self.network: Any = network
        self.kl_weight, self.perceptual, self.perceptual_weight = (
            kl_weight,
            perceptual,
            perceptual_weight,
        )
        self.discriminator, self.adversarial_weight = discriminator, adversarial_weight
        self.adversarial_start = adversarial_start
        self.automatic_optimization = discriminator is None
        self.val_loss, self.val_error = MeanMetric(), MeanMetric()

    @property
    def conditional(self) -> bool:
        """It knows no classes."""
        return False

    def check(self, facts: Facts) -> None:
        """Refuse images that the network does not take; note their size in its configuration."""
        latent_shape(self.network, facts.shape)
        self.network.register_to_config(sample_size=facts.shape[1])

    # --- training ------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Tensor:
        """Reconstruction, KL and perceptual term of a batch."""
        return self._loss(batch.x)[0]

    def _loss(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss, and the reconstructions."""
        posterior = self.network.encode(x).latent_dist
        images = self.network.decode(posterior.sample()).sample.float()
        loss = autoencoder_loss(
            x, images, posterior.mean.float(), posterior.logvar.float(), self.kl_weight
        )
        if self.perceptual is not None:
            loss = loss + self.perceptual_weight * self.perceptual(x, images)
        return loss.mean(), images

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step of the network, and one of the discriminator where there is one."""
        if self.discriminator is None:
            return super().training_step(batch, batch_idx)
        optimizer, other = cast(Any, self.optimizers())
        begun = self.global_step >= self.adversarial_start
        loss, images = self._loss(batch.x)
        self.log("train/loss", loss.detach(), prog_bar=True)
        total = loss
        if begun:
            self.discriminator.requires_grad_(False)
            total = loss - self.adversarial_weight * self.discriminator(images).float().mean()
            self.discriminator.requires_grad_(True)
        optimizer.zero_grad()
        self.manual_backward(total)
        optimizer.step()
        cast(Any, self.lr_schedulers()).step()
        if begun:
            told = hinge_loss(
                self.discriminator(batch.x).float(), self.discriminator(images.detach()).float()
            )
            self.log("train/discriminator", told.detach())
            other.zero_grad()
            self.manual_backward(told)
            other.optimizer.step()  # by itself: a step of the run is a step of the network
        return loss.detach()

    def configure_optimizers(self) -> Any:
        """The injected optimiser and its rate; for the discriminator another one of its kind, at a constant rate."""
        if self.discriminator is None:
            return super().configure_optimizers()
        self.discriminator.requires_grad_(False)
        first = super().configure_optimizers()
        self.discriminator.requires_grad_(True)
        return [first["optimizer"], self.optimizer(self.discriminator.parameters())], [
            first["lr_scheduler"]
        ]

    # --- validation ----------------------------------------------------------------------------------------------

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Error of the reconstruction of the posterior's mean; a picture of the first records."""
        images = self._evaluate(batch)
        logger = getattr(self, "logger", None)
        if (
            batch_idx == 0
            and isinstance(logger, TensorBoardLogger)
            and not self.trainer.sanity_checking
        ):
            shown = np.concatenate(
                [to_bytes(batch.x[:PICTURED].float()), to_bytes(images[:PICTURED])]
            )
            grid = image_grid(shown, len(shown) // 2)
            logger.experiment.add_image(
                "reconstructions", grid, self.trainer.global_step - 1, dataformats="HWC"
            )

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Error of the reconstruction of the posterior's mean."""
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the means."""
        self._log_means("val")

    def on_test_epoch_end(self) -> None:
        """Log the means."""
        self._log_means("test")

    def _evaluate(self, batch: Batch) -> Tensor:
        posterior = self.network.encode(batch.x).latent_dist
        images = self.network.decode(posterior.mode()).sample.float()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        self.val_loss.update(autoencoder_loss(batch.x, images, mean, logvar, self.kl_weight))
        self.val_error.update((images.clamp(-1, 1) - batch.x).square().flatten(1).mean(1))
        return images

    def _log_means(self, stage: str) -> None:
        self.log(f"{stage}/loss", self.val_loss.compute(), prog_bar=True)
        error = self.val_error.compute().clamp(min=1e-10)  # of values 2 apart at most
        self.log(f"{stage}/psnr_db", 10 * torch.log10(4 / error), prog_bar=True)
        self.val_loss.reset()
        self.val_error.reset()

    # --- samples and release -------------------------------------------------------------------------------------

    def draw(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Samples of the prior; see the base class."""
        assert self.facts is not None
        shape = latent_shape(self.network, self.facts.shape)
        return decode_images(self.network, prior(shape, seed, indices, self.device))

    def save_parts(self, folder: Path) -> None:
        """Write ``vae`` as diffusers does."""
        self.network.save_pretrained(folder / "vae")

    @classmethod
    def receive(
        cls, release: Release, *, device: str = "cpu", scheduler: str | None = None, **_: Any
    ) -> AutoencoderBox:
        """Open a release as a black box.

        Raises:
            UserError: the network does not fit the card, or a scheduler was named.
        """
        if scheduler is not None:
            raise UserError(f"scheduler '{scheduler}': an autoencoder has none; leave it out")
        vae = load_part(release, "vae", {"AutoencoderKL": AutoencoderKL}, trial=decode_once)
        config: Any = vae.config
        size = release.card.image_size
        if (
            release.card.labels
            or size is None
            or size % downscaling(vae)
            or config.out_channels not in (1, 3)
        ):
            raise UserError(
                f"{release.folder}: the network does not fit the card ({config.out_channels} channels)"
            )
        return AutoencoderBox(release.card, vae.to(device))
