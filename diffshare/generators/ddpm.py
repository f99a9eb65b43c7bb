"""Denoising diffusion: one class-conditional (or unconditional) denoiser over an injected network and scheduler."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, SchedulerMixin, UNet2DModel
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torchmetrics import MeanMetric

from diffshare.batch import Batch
from diffshare.errors import UserError
from diffshare.generators.base import Facts, GenerativeModule
from diffshare.generators.diffusion import noise_streams, sample_diffusion, sampling_scheduler, to_bytes
from diffshare.generators.losses import diffusion_loss
from diffshare.generators.received import DiffusionBox
from diffshare.release.folder import Release
from diffshare.release.generator import UNCONDITIONAL

GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, fill [0, 1) evenly however many are taken
BANDS = 4  # validation reports the loss of each quarter of the noise levels


class DDPM(GenerativeModule):
    """Denoising diffusion probabilistic model (Ho et al. 2020) with classifier-free guidance (Ho & Salimans 2022).

    What is predicted (noise or velocity) and the noise levels (linear, cosine) are the scheduler's settings
    ``prediction_type`` and ``beta_schedule``. A denoiser with ``num_class_embeds`` K+1 is conditional on K classes
    and on "no class" (the last one); without ``num_class_embeds`` it is unconditional.

    Args:
        denoiser: predicts noise or velocity; its ``sample_size`` follows the data.
        scheduler: noise levels of the training; a linear DDPM scheduler of 1000 levels where left out.
        optimizer: of the denoiser's weights.
        condition_dropout: probability with which a training record's class is hidden.
        min_snr_gamma: gamma of min-SNR loss weighting; no weighting where left out.
        lr_schedule: ``constant`` or ``cosine`` (to zero at the last step), after the warm-up.
        warmup_steps: steps in which the rate rises linearly from 0.
        sampling_steps: network calls a sample, here and as the release's default.
        guidance: ``guidance_scale`` of ``predict`` and of the preview; a receiver chooses his own.
    """

    family: ClassVar[str] = "ddpm"

    def __init__(
        self,
        denoiser: UNet2DModel,
        scheduler: SchedulerMixin | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        condition_dropout: float = 0.1,
        min_snr_gamma: float | None = None,
        lr_schedule: Literal["constant", "cosine"] = "constant",
        warmup_steps: int = 0,
        sampling_steps: int = 25,
        guidance: float = 1.0,
    ) -> None:
        super().__init__(optimizer, lr_schedule, warmup_steps, sampling_steps, guidance)
        if not 0 <= condition_dropout < 1:
            raise UserError(f"model.condition_dropout is {condition_dropout}: a probability below 1")
        if min_snr_gamma is not None and min_snr_gamma <= 0:
            raise UserError(f"model.min_snr_gamma is {min_snr_gamma}: it must be positive, 5 is usual")
        self.denoiser: Any = denoiser
        self.scheduler: Any = scheduler or DDPMScheduler()
        if not isinstance(self.scheduler, DDPMScheduler | DDIMScheduler):
            raise UserError(
                f"model.scheduler is a {type(scheduler).__name__}: train with a DDPMScheduler or DDIMScheduler"
            )
        if sampling_steps > self.scheduler.config.num_train_timesteps:
            raise UserError(
                f"model.sampling_steps is {sampling_steps}: at most the {self.scheduler.config.num_train_timesteps} "
                "num_train_timesteps of model.scheduler"
            )
        if self.scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
            raise UserError(
                f"model.scheduler predicts '{self.scheduler.config.prediction_type}': use epsilon or v_prediction"
            )
        self.condition_dropout, self.min_snr_gamma = condition_dropout, min_snr_gamma
        self.timesteps: int = self.scheduler.config.num_train_timesteps
        self.val_bands: Any = torch.nn.ModuleList(MeanMetric() for _ in range(BANDS))
        self.val_mean: Any = MeanMetric()
        self._evaluated = 0  # records of the present validation or test that this process has seen

    @property
    def null_label(self) -> int | None:
        """The label that stands for "no class"; None for an unconditional denoiser."""
        embeddings: int | None = self.denoiser.config.num_class_embeds
        return None if embeddings is None else embeddings - 1

    @property
    def conditional(self) -> bool:
        """Whether the model can be asked for a class."""
        return self.null_label is not None

    def check(self, facts: Facts) -> None:
        """Refuse images or classes that the denoiser does not fit; note the image size in its configuration."""
        config: Any = self.denoiser.config
        channels, height, width = facts.shape
        for name in ("in_channels", "out_channels"):
            if config[name] != channels:
                raise UserError(
                    f"model.denoiser has {name} {config[name]}, the images have {channels} channels: set it"
                )
        stride = 2 ** (len(config.block_out_channels) - 1)
        if height % stride or width % stride:
            raise UserError(
                f"images of {width}x{height} pixels do not divide by the denoiser's stride {stride}: set "
                f"data.source.image_size to a multiple of {stride} or use fewer block_out_channels"
            )
        if self.null_label not in (None, len(facts.labels)):
            raise UserError(
                f"model.denoiser has num_class_embeds {config.num_class_embeds}, the target has {len(facts.labels)} "
                f"classes: set it to {len(facts.labels) + 1} (one more, for 'no class') or null (unconditional)"
            )
        self.denoiser.register_to_config(sample_size=height)

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of a batch at random timesteps, some classes hidden."""
        n, device = len(batch.x), batch.x.device
        timesteps = torch.randint(self.timesteps, (n,), device=device)
        hidden = torch.rand(n, device=device) < self.condition_dropout
        labels = self._labels(batch.target.masked_fill(hidden, UNCONDITIONAL))
        return self._losses(batch.x, labels, torch.randn_like(batch.x), timesteps).mean()

    def _losses(self, x: Tensor, labels: Tensor | None, noise: Tensor, timesteps: Tensor) -> Tensor:
        return diffusion_loss(self.denoiser, self.scheduler, x, labels, noise, timesteps, self.min_snr_gamma)

    def _labels(self, target: Tensor) -> Tensor | None:
        """Classes as the denoiser numbers them: -1 becomes its last embedding."""
        if self.null_label is None:
            return None
        return target.masked_fill(target == UNCONDITIONAL, self.null_label)

    # --- validation: the loss of each quarter of the noise levels, from noise that is the same every time ------------

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss by band of timesteps."""
        self._evaluate(batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss by band of timesteps."""
        self._evaluate(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the bands."""
        self._log_bands("val")

    def on_test_epoch_end(self) -> None:
        """Log the bands."""
        self._log_bands("test")

    def _evaluate(self, batch: Batch, batch_idx: int) -> None:
        # of the record's number in its set, so that neither batches nor processes change what is measured
        number = (self._evaluated + np.arange(len(batch.x))) * self.trainer.world_size + self.global_rank
        self._evaluated += len(batch.x)
        timesteps = torch.from_numpy(number * GOLDEN % 1 * self.timesteps).long().to(batch.x.device)
        noise = torch.stack([torch.randn(batch.x.shape[1:], generator=s) for s in noise_streams(0, number)])
        noise = noise.to(batch.x.device)
        losses = self._losses(batch.x, self._labels(batch.target), noise, timesteps)
        self.val_mean.update(losses)
        bands = timesteps * BANDS // self.timesteps
        for band, metric in enumerate(self.val_bands):
            metric.update(losses[bands == band])

    def _log_bands(self, stage: str) -> None:
        self.log(f"{stage}/loss", self.val_mean.compute(), prog_bar=True)
        self.val_mean.reset()
        for band, metric in enumerate(self.val_bands):
            first, last = band * self.timesteps // BANDS, (band + 1) * self.timesteps // BANDS - 1
            if torch.isfinite(loss := metric.compute()):  # a handful of records may leave a band empty
                self.log(f"{stage}/loss_t{first:04d}-{last:04d}", loss)
            metric.reset()
        self._evaluated = 0

    # --- samples and release -----------------------------------------------------------------------------------------

    def draw(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Samples from the weights as they are now; see the base class."""
        assert self.facts is not None
        x = sample_diffusion(
            self.denoiser,
            sampling_scheduler(self.scheduler),
            self.facts.shape,
            self._labels(torch.from_numpy(labels).to(self.device)),
            noise_streams(seed, indices),
            steps=self.sampling_steps,
            guidance=self.guidance,
            null_label=self.null_label,
        )
        return to_bytes(x)

    def save_parts(self, folder: Path) -> None:
        """Write ``unet`` and ``scheduler`` as a DDPM pipeline of diffusers."""
        DDPMPipeline(unet=self.denoiser, scheduler=self.scheduler).save_pretrained(folder)

    @classmethod
    def receive(cls, release: Release, **options: Any) -> DiffusionBox:
        """Open a release as a black box."""
        return DiffusionBox.open(release, **options)
