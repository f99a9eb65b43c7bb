"""What diffusion models of images share: an injected denoiser, hidden classes, validation by noise level, release."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from diffusers import SchedulerMixin, UNet2DModel
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torchmetrics import MeanMetric

from diffshare.batch import Batch
from diffshare.errors import UserError
from diffshare.generators.base import Facts, GenerativeModule
from diffshare.generators.diffusion import Sampler, noise_streams, sample_diffusion, to_bytes
from diffshare.generators.received import DiffusionBox
from diffshare.release.folder import Release
from diffshare.release.generator import UNCONDITIONAL

GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, fill [0, 1) evenly however many are taken
BANDS = 4  # validation reports the loss of each quarter of the noise levels


def _check_sizes(denoiser: Any) -> None:
    """Refuse what diffusers builds and cannot run."""
    config = getattr(denoiser, "config", None)
    for name in ("block_out_channels", "norm_num_groups", "attention_head_dim"):
        values = getattr(config, name, None)
        for value in values if isinstance(values, Sequence) else [values]:
            if isinstance(value, int) and value < 1:
                raise UserError(f"model.denoiser.{name} is {values}: each must be at least 1")


class DenoisingModule(GenerativeModule):
    """Base of the diffusion models of images. A family gives ``times``, ``losses`` and ``sampler``.

    A denoiser with ``num_class_embeds`` K+1 is conditional on K classes and on "no class" (the last one); without
    ``num_class_embeds`` it is unconditional. Classes hidden in training make classifier-free guidance possible (Ho &
    Salimans 2022).

    Args:
        denoiser: the network; its ``sample_size`` follows the data.
        scheduler: noise of the training, saved in the release.
        optimizer: of the denoiser's weights.
        condition_dropout: probability with which a training record's class is hidden.
        lr_schedule: ``constant`` or ``cosine`` (to zero at the last step), after the warm-up.
        warmup_steps: steps in which the rate rises linearly from 0.
        sampling_steps: most network calls a sample, here and as the release's default.
        guidance: ``guidance_scale`` of ``predict`` and of the preview; a receiver chooses his own.
    """

    # those that diffusers does not have
    own_schedulers: ClassVar[Mapping[str, type[SchedulerMixin]]] = {}
    box: ClassVar[type[DiffusionBox]] = DiffusionBox  # what a receiver opens
    records_are: ClassVar[str] = "images"  # what the denoiser sees

    def __init__(
        self,
        denoiser: UNet2DModel,
        scheduler: SchedulerMixin,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        condition_dropout: float = 0.1,
        lr_schedule: Literal["constant", "cosine"] = "constant",
        warmup_steps: int = 0,
        sampling_steps: int = 25,
        guidance: float = 1.0,
    ) -> None:
        super().__init__(optimizer, lr_schedule, warmup_steps, sampling_steps, guidance)
        if not 0 <= condition_dropout < 1:
            raise UserError(
                f"model.condition_dropout is {condition_dropout}: a probability below 1"
            )
        _check_sizes(denoiser)
        self.denoiser: Any = denoiser
        self.scheduler: Any = scheduler
        try:
            self.sampler(scheduler)
        except UserError as error:
            raise UserError(f"model.scheduler: {error}") from error
        self.condition_dropout = condition_dropout
        # of what the denoiser sees: C, H, W; set by ``check``
        self.input_shape: tuple[int, ...] = ()
        self.val_bands: Any = torch.nn.ModuleList(MeanMetric() for _ in range(BANDS))
        self.val_mean: Any = MeanMetric()
        self._evaluated = 0  # records of the present validation or test that this process has seen

    # --- a family's own part -------------------------------------------------------------------------------------

    def times(self, uniform: Tensor) -> Tensor:
        """Times of the training from uniform numbers in [0, 1), rising with the noise. Both N."""
        raise NotImplementedError

    def losses(self, x: Tensor, labels: Tensor | None, noise: Tensor, times: Tensor) -> Tensor:
        """Training loss of each record, float32, N; see ``losses.py``."""
        raise NotImplementedError

    @classmethod
    def sampler(
        cls, scheduler: SchedulerMixin, name: str | None = None
    ) -> SchedulerMixin | Sampler:
        """What samples from a network that was trained with ``scheduler``: the family's default, or the one named.

        Raises:
            UserError: the scheduler is of another family or its settings do not fit; no such sampler.
        """
        raise NotImplementedError

    @property
    def pixels(self) -> int:
        """Pixels of an image on one of what the denoiser sees, along a side."""
        return 1

    def encode(self, x: Tensor) -> Tensor:
        """What the denoiser learns to make, from records as the data module gives them: the records themselves."""
        return x

    def decode(self, x: Tensor) -> np.ndarray:
        """Images of what the denoiser made: N x C x H x W => uint8 N x H x W x C."""
        return to_bytes(x)

    # --- shared ----------------------------------------------------------------------------------------------------

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
        self.input_shape = facts.shape
        for name in ("in_channels", "out_channels"):
            if config[name] != channels:
                raise UserError(
                    f"model.denoiser has {name} {config[name]}, the {self.records_are} have {channels} channels: set it"
                )
        # that network divides its output by what it is told of the time
        if config.time_embedding_type == "fourier":
            raise UserError("model.denoiser has time_embedding_type fourier: use positional")
        stride = 2 ** (len(config.block_out_channels) - 1)
        if height % stride or width % stride:
            raise UserError(
                f"{self.records_are} of {width}x{height} pixels do not divide by the denoiser's stride {stride}: set "
                f"data.source.image_size to a multiple of {stride * self.pixels} or use fewer block_out_channels"
            )
        if self.null_label not in (None, len(facts.labels)):
            raise UserError(
                f"model.denoiser has num_class_embeds {config.num_class_embeds}, the target has {len(facts.labels)} "
                f"classes: set it to {len(facts.labels) + 1} (one more, for 'no class') or null (unconditional)"
            )
        if self.condition_dropout and not config.get("unconditional", True):
            raise UserError(
                f"model.condition_dropout is {self.condition_dropout:g}, and model.denoiser has no network for the "
                "classes that it hides: set it to 0, or model.denoiser.unconditional to true"
            )
        self.denoiser.register_to_config(sample_size=height)

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of a batch at random times, some classes hidden."""
        n, device = len(batch.x), batch.x.device
        times = self.times(torch.rand(n, device=device))
        hidden = torch.rand(n, device=device) < self.condition_dropout
        labels = self._labels(batch.target.masked_fill(hidden, UNCONDITIONAL))
        x = self.encode(batch.x)
        return self.losses(x, labels, torch.randn_like(x), times).mean()

    def _labels(self, target: Tensor) -> Tensor | None:
        """Classes as the denoiser numbers them: -1 becomes its last embedding."""
        if self.null_label is None:
            return None
        return target.masked_fill(target == UNCONDITIONAL, self.null_label)

    # --- validation: the loss of each quarter of the noise levels, from noise that is the same every time ------------

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss by band of noise levels."""
        self._evaluate(batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss by band of noise levels."""
        self._evaluate(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the bands."""
        self._log_bands("val")

    def on_test_epoch_end(self) -> None:
        """Log the bands."""
        self._log_bands("test")

    def band_name(self, band: int) -> str:
        """What stands behind ``loss_`` in the name of a band's figure."""
        return f"q{band + 1}"

    def _evaluate(self, batch: Batch, batch_idx: int) -> None:
        # of the record's number in its set, so that neither batches nor processes change what is measured
        number = (
            self._evaluated + np.arange(len(batch.x))
        ) * self.trainer.world_size + self.global_rank
        self._evaluated += len(batch.x)
        uniform = torch.from_numpy(number * GOLDEN % 1)
        times = self.times(uniform)
        times = (times if times.dtype == torch.long else times.float()).to(batch.x.device)
        noise = torch.stack(
            [torch.randn(batch.x.shape[1:], generator=s) for s in noise_streams(0, number)]
        )
        losses = self.losses(
            self.encode(batch.x), self._labels(batch.target), noise.to(batch.x.device), times
        )
        self.val_mean.update(losses)
        bands = (uniform * BANDS).long().to(losses.device)
        for band, metric in enumerate(self.val_bands):
            metric.update(losses[bands == band])

    def _log_bands(self, stage: str) -> None:
        self.log(f"{stage}/loss", self.val_mean.compute(), prog_bar=True)
        self.val_mean.reset()
        for band, metric in enumerate(self.val_bands):
            # a handful of records may leave a band empty
            if torch.isfinite(loss := metric.compute()):
                self.log(f"{stage}/loss_{self.band_name(band)}", loss)
            metric.reset()
        self._evaluated = 0

    # --- samples and release -----------------------------------------------------------------------------------------

    def draw(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Samples from the weights as they are now; see the base class."""
        x = sample_diffusion(
            self.denoiser,
            self.sampler(self.scheduler),
            self.input_shape,
            self._labels(torch.from_numpy(labels).to(self.device)),
            noise_streams(seed, indices),
            steps=self.sampling_steps,
            guidance=self.guidance,
            null_label=self.null_label,
        )
        return self.decode(x)

    def save_parts(self, folder: Path) -> None:
        """Write ``unet`` and ``scheduler`` in the layout of diffusers."""
        self.denoiser.save_pretrained(folder / "unet")
        self.scheduler.save_pretrained(folder / "scheduler")

    @classmethod
    def receive(cls, release: Release, **options: Any) -> DiffusionBox:
        """Open a release as a black box."""
        return cls.box.open(
            release, sampler=cls.sampler, own_schedulers=cls.own_schedulers, **options
        )
