"""Diffusion of tables: numbers and categories, class-conditional, with an injected network and schedule."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DDPMScheduler, SchedulerMixin
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from diffshare.batch import Batch
from diffshare.errors import UserError
from diffshare.generators.mixed import MixedDiffusion, mixed_loss, sample_mixed
from diffshare.generators.received_rows import TableBox
from diffshare.generators.tables import TableModule
from diffshare.nets.tabular import TableDenoiser
from diffshare.release.folder import Release
from diffshare.stats.counters import RowStreams
from diffshare.training.rates import Rate

GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, fill [0, 1) evenly however many are taken

DenoiserCallable = Callable[[int, int | None], TableDenoiser]


class TabularDDPM(TableModule):
    """TabDDPM (Kotelnikov et al. 2023): Gaussian diffusion of numbers, multinomial diffusion of categories.

    How rows are coded, and what a release gives away, says :class:`diffshare.generators.tables.TableModule`.

    Args:
        denoiser: makes the network of the number of its features and of ``num_class_embeds``, which follow the data.
        scheduler: noise levels of the training; a cosine DDPM scheduler of 1000 levels that predicts velocity where
            left out.
        optimizer: of the denoiser's weights.
        bounds: the least and the largest value of a numeric column by its name; the others' are
            fitted to the mix.
        schema: a file like a release's ``table/schema.json`` by which rows are coded, in place of one that is fitted to
            the mix.
        conditional: whether the model can be asked for a class.
        condition_dropout: probability with which a training record's class is hidden.
        lr_schedule: ``constant`` or ``cosine`` (to zero at the last step), after the warm-up.
        warmup_steps: steps in which the rate rises linearly from 0.
        sampling_steps: network calls a row, here and as the release's default.
        guidance: ``guidance_scale`` of ``predict``; a receiver chooses his own.
    """

    family: ClassVar[str] = "tabular"

    def __init__(
        self,
        denoiser: DenoiserCallable = TableDenoiser,
        scheduler: SchedulerMixin | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        bounds: dict[str, tuple[float, float]] | None = None,
        schema: Path | None = None,
        conditional: bool = True,
        condition_dropout: float = 0.2,
        lr_schedule: Rate = "constant",
        warmup_steps: int = 0,
        sampling_steps: int = 50,
        guidance: float = 1.0,
    ) -> None:
        rates = (lr_schedule, warmup_steps, sampling_steps, guidance)
        super().__init__(optimizer, bounds, schema, conditional, condition_dropout, *rates)
        cosine: Any = DDPMScheduler(
            beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"
        )
        self.scheduler: Any = cosine if scheduler is None else scheduler
        levels = MixedDiffusion.of(self.scheduler, 0, []).steps
        if sampling_steps > levels:
            raise UserError(
                f"model.sampling_steps is {sampling_steps}: at most the {levels} num_train_timesteps of model.scheduler"
            )
        self.make_denoiser = denoiser
        self.denoiser: Any = None

    def build_network(self, classes: int | None) -> None:
        """Make process and denoiser; see the base class."""
        self.process = MixedDiffusion.of(self.scheduler, len(self.rows.numeric), self.rows.sizes)
        if self.denoiser is None or self.denoiser.config.features != self.rows.features:
            self.denoiser = self.make_denoiser(self.rows.features, classes)

    # --- training --------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of a batch at timesteps that are spread evenly over its records, some classes hidden."""
        scores, codes, target = self.trained_on(batch)
        n, device = len(scores), scores.device
        if not n:
            return self.no_loss()
        spread = (torch.randperm(n, device=device) + torch.rand(n, device=device)) / n
        timesteps = (spread * self.process.steps).long().clamp_max(self.process.steps - 1)
        labels = self.hidden_labels(target)
        places = self.process.numeric + len(self.rows.sizes)
        uniform = torch.rand(n, places, device=device, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
        return mixed_loss(
            self.denoiser, self.process, scores, codes, labels, timesteps, uniform
        ).mean()

    def losses_of(
        self, scores: Tensor, codes: Tensor, labels: Tensor | None, number: np.ndarray
    ) -> Tensor:
        """Loss at timesteps that are spread evenly over the records; see the base class."""
        timesteps = (
            torch.from_numpy(number * GOLDEN % 1 * self.process.steps).long().to(scores.device)
        )
        uniform = RowStreams(0, number).uniform(0, self.process.numeric + len(self.rows.sizes))
        noise = torch.from_numpy(uniform).to(scores.device)
        return mixed_loss(self.denoiser, self.process, scores, codes, labels, timesteps, noise)

    # --- samples and release ---------------------------------------------------------------------------------------

    def draw(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Rows from the weights as they are now; see :meth:`TableBox.sample`."""
        assert self.facts is not None
        scores, codes = sample_mixed(
            self.denoiser,
            self.process,
            self.labels(torch.from_numpy(labels).to(self.device)),
            RowStreams(seed, indices),
            len(labels),
            steps=self.sampling_steps,
            guidance=self.guidance,
            null_label=len(self.facts.labels),
        )
        return self.rows.decode(scores, codes, labels)

    def save_parts(self, folder: Path) -> None:
        """Write ``denoiser``, ``scheduler`` and ``table``."""
        self.denoiser.save_pretrained(folder / "denoiser")
        self.scheduler.save_pretrained(folder / "scheduler")
        super().save_parts(folder)

    @classmethod
    def receive(cls, release: Release, **options: Any) -> TableBox:
        """Open a release as a black box."""
        return TableBox.open(release, **options)
