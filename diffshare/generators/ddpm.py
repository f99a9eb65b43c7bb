"""Denoising diffusion: one class-conditional (or unconditional) denoiser over an injected network and scheduler."""

from pathlib import Path
from typing import Any, ClassVar

from diffusers import DDPMPipeline, DDPMScheduler, SchedulerMixin, UNet2DModel
from torch import Tensor

from diffshare.errors import UserError
from diffshare.generators.denoising import BANDS, DenoisingModule
from diffshare.generators.diffusion import ddpm_sampler
from diffshare.generators.losses import diffusion_loss


class DDPM(DenoisingModule):
    """Denoising diffusion probabilistic model (Ho et al. 2020).

    What is predicted (noise or velocity) and the noise levels (linear, cosine) are the scheduler's settings
    ``prediction_type`` and ``beta_schedule``.

    Args:
        denoiser: predicts noise or velocity.
        scheduler: noise levels of the training; a linear DDPM scheduler of 1000 levels where left out.
        min_snr_gamma: gamma of min-SNR loss weighting; no weighting where left out.
        options: of :class:`diffshare.generators.denoising.DenoisingModule`.
    """

    family: ClassVar[str] = "ddpm"

    def __init__(
        self,
        denoiser: UNet2DModel,
        scheduler: SchedulerMixin | None = None,
        min_snr_gamma: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(denoiser, DDPMScheduler() if scheduler is None else scheduler, **options)
        if min_snr_gamma is not None and min_snr_gamma <= 0:
            raise UserError(
                f"model.min_snr_gamma is {min_snr_gamma}: it must be positive, 5 is usual"
            )
        self.min_snr_gamma = min_snr_gamma
        if (
            self.scheduler.config.prediction_type == "epsilon"
            and float(self.scheduler.alphas_cumprod[-1]) == 0
        ):
            raise UserError(
                "model.scheduler ends in noise alone (rescale_betas_zero_snr, or a beta of 1 or more), where a network "
                "that predicts the noise learns nothing: set prediction_type to v_prediction"
            )
        self.timesteps: int = self.scheduler.config.num_train_timesteps
        if self.sampling_steps > self.timesteps:
            raise UserError(
                f"model.sampling_steps is {self.sampling_steps}: at most the {self.timesteps} num_train_timesteps of "
                "model.scheduler"
            )

    def times(self, uniform: Tensor) -> Tensor:
        """Every trained level alike."""
        return (uniform * self.timesteps).long().clamp(max=self.timesteps - 1)

    def losses(self, x: Tensor, labels: Tensor | None, noise: Tensor, times: Tensor) -> Tensor:
        """Squared error of the predicted noise or velocity."""
        return diffusion_loss(
            self.denoiser, self.scheduler, x, labels, noise, times, self.min_snr_gamma
        )

    def band_name(self, band: int) -> str:
        """First and last timestep."""
        first, last = band * self.timesteps // BANDS, (band + 1) * self.timesteps // BANDS - 1
        return f"t{first:04d}-{last:04d}"

    @classmethod
    def sampler(cls, scheduler: SchedulerMixin, name: str | None = None) -> SchedulerMixin:
        """DPM-Solver++ or another scheduler of diffusers; see :func:`sampling_scheduler`."""
        return ddpm_sampler(scheduler, name)

    def save_parts(self, folder: Path) -> None:
        """Write a DDPM pipeline of diffusers."""
        DDPMPipeline(unet=self.denoiser, scheduler=self.scheduler).save_pretrained(folder)
