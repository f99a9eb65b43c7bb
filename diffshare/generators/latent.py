"""Latent diffusion: a DDPM on the latents of an autoencoder, released as one folder with both."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from diffusers import AutoencoderKL, SchedulerMixin, UNet2DModel
from torch import Tensor

from diffshare.data.module import MixDataModule
from diffshare.errors import UserError
from diffshare.generators.base import Facts
from diffshare.generators.ddpm import DDPM
from diffshare.generators.latents import (
    decode_images,
    decode_once,
    downscaling,
    latent_shape,
    measure,
    open_latents,
    open_vae,
)
from diffshare.generators.received import DiffusionBox
from diffshare.release.folder import Release
from diffshare.release.weights import load_part


@dataclass
class LatentBox(DiffusionBox):
    """A released latent diffusion model: a denoiser of latents and the VAE that decodes them.

    Attributes:
        vae: the decoder; its ``scaling_factor`` and ``shift_factor`` are those of the denoiser's training.
    """

    vae: Any = None

    @classmethod
    def open(cls, release: Release, **options: Any) -> Self:
        """Load both parts of a checked release; options as of :class:`DiffusionBox`.

        Raises:
            UserError: the decoder is missing, or the parts do not fit each other or the card.
        """
        if "vae/config.json" not in release.card.files:
            raise UserError(
                f"{release.folder}: a latent release without its decoder, it has no vae/: ask for the whole release"
            )
        vae = load_part(release, "vae", {"AutoencoderKL": AutoencoderKL}, trial=decode_once)
        config: Any = vae.config
        if config.out_channels not in (1, 3):
            raise UserError(
                f"{release.folder}: a decoder to {config.out_channels} channels makes no images"
            )
        scale, shift = config.scaling_factor, config.shift_factor or 0.0
        if not all(isinstance(v, int | float) for v in (scale, shift)) or not scale > 0:
            raise UserError(
                f"{release.folder}: vae/config.json has the scaling_factor {scale}: a number above 0 is due"
            )
        box = super().open(
            release, channels=(config.latent_channels,), factor=downscaling(vae), **options
        )
        box.vae = vae.to(box.denoiser.device)
        return box

    def decode(self, x: Tensor) -> np.ndarray:
        """Images of scaled latents."""
        return decode_images(self.vae, unscaled(x, self.vae.config))


@dataclass
class Aside:
    """A network that is no part of the module which holds it: not trained, averaged, copied or checkpointed."""

    network: AutoencoderKL

    def __deepcopy__(self, memo: Any) -> Self:
        return self


def unscaled(x: Tensor, config: Any) -> Tensor:
    """Latents as the VAE gives them, of those that the denoiser knows: x / scaling_factor + shift_factor."""
    return x / config.scaling_factor + (config.shift_factor or 0.0)


class LatentDiffusion(DDPM):
    """Latent diffusion model (Rombach et al. 2022): a DDPM of what a VAE makes of the images.

    All records are encoded once, into a memory-mapped cache; mean and deviation of the training records' latents are
    measured and noted in the VAE's configuration.

    Args:
        vae: folder of a VAE that ``fit`` has trained (its run, release or ``vae`` folder), or of any ``AutoencoderKL``
            that diffusers has saved.
        denoiser: predicts noise or velocity of latents.
        scheduler: noise levels of the training; a linear DDPM scheduler of 1000 levels where left out.
        min_snr_gamma: gamma of min-SNR loss weighting; no weighting where left out.
        options: of :class:`diffshare.generators.denoising.DenoisingModule`.
    """

    family: ClassVar[str] = "latent"
    box: ClassVar[type[DiffusionBox]] = LatentBox
    records_are: ClassVar[str] = "latents"

    def __init__(
        self,
        vae: Path,
        denoiser: UNet2DModel,
        scheduler: SchedulerMixin | None = None,
        min_snr_gamma: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(denoiser, scheduler, min_snr_gamma, **options)
        if "clip_sample" in self.scheduler.config:  # images end at 1, latents do not
            self.scheduler.register_to_config(clip_sample=False)
        opened, self.vae_sha256 = open_vae(vae)
        self._aside = Aside(opened)
        self._given = False  # the data module gives latents

    @property
    def vae(self) -> AutoencoderKL:
        """The autoencoder."""
        return self._aside.network

    @property
    def pixels(self) -> int:
        """The VAE's factor."""
        return downscaling(self.vae)

    def check(self, facts: Facts) -> None:
        """Refuse images that the VAE does not take and latents that the denoiser does not."""
        super().check(facts._replace(shape=latent_shape(self.vae, facts.shape)))

    def setup(self, stage: str) -> None:
        """Learn from the data module what is trained on; let it give latents in place of images."""
        if self._given:
            return
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, MixDataModule) or stage == "predict":
            return
        device = self.trainer.strategy.root_device
        latents = open_latents(
            data.source,
            data.records(),
            self.vae,
            self.vae_sha256,
            device=device,
            cache_dir=data.cache_dir,
        )
        shift, scale = measure(latents, data.sets["train"].rows)
        self.vae.register_to_config(shift_factor=shift, scaling_factor=scale)
        self._given = True
        for name, records in data.sets.items():
            data.sets[name] = replace(records, x=latents)

    def encode(self, x: Tensor) -> Tensor:
        """Latents as the denoiser knows them: mean 0, deviation 1."""
        config: Any = self.vae.config
        return (x - (config.shift_factor or 0.0)) * config.scaling_factor

    def decode(self, x: Tensor) -> np.ndarray:
        """Images of scaled latents."""
        return decode_images(self.vae.to(self.device), unscaled(x, self.vae.config))

    def save_parts(self, folder: Path) -> None:
        """Write the DDPM's parts and the VAE beside them."""
        self.denoiser.save_pretrained(folder / "unet")
        self.scheduler.save_pretrained(folder / "scheduler")
        self.vae.save_pretrained(folder / "vae")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep which VAE it is, and the scale."""
        super().on_save_checkpoint(checkpoint)
        config: Any = self.vae.config
        factors = {name: config[name] for name in ("scaling_factor", "shift_factor")}
        checkpoint["diffshare"]["vae"] = {"sha256": self.vae_sha256} | factors

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another VAE than that of the training; take up the scale."""
        super().on_load_checkpoint(checkpoint)
        saved = dict((checkpoint.get("diffshare") or {}).get("vae") or {})
        if saved.pop("sha256", None) != self.vae_sha256:
            raise UserError(
                "the checkpoint was trained on the latents of another VAE: name that one as model.vae"
            )
        self.vae.register_to_config(**saved)
