"""Diffusion of tables: numbers and categories, class-conditional, with an injected network and schedule."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from diffusers import DDPMScheduler, SchedulerMixin
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torchmetrics import MeanMetric

from diffshare.batch import Batch
from diffshare.data.module import MixDataModule
from diffshare.errors import UserError
from diffshare.generators.base import Facts, GenerativeModule, describe
from diffshare.generators.mixed import MixedDiffusion, mixed_loss, sample_mixed
from diffshare.generators.received_rows import TableBox
from diffshare.generators.rows import Rows
from diffshare.nets.tabular import TableDenoiser
from diffshare.release.folder import Release
from diffshare.release.generator import UNCONDITIONAL
from diffshare.release.table import SCHEMA, TableSchema, parse_schema
from diffshare.stats.counters import RowStreams
from diffshare.storage import write_json

GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, fill [0, 1) evenly however many are taken

DenoiserCallable = Callable[[int, int | None], TableDenoiser]


class TabularDDPM(GenerativeModule):
    """TabDDPM (Kotelnikov et al. 2023): Gaussian diffusion of numbers, multinomial diffusion of categories.

    Numbers go through a quantile transform fitted to the mix. The target is one of the columns that the model makes,
    and also what it can be asked for: a row that is asked for a class has it in the target's cell, an unconditional
    row the class that the model gave it.

    What a released model can make are the categories that the mix holds, and numbers from the smallest to the largest
    of the mix. Its schema gives away those, and a quantile of each numeric column for every 30 records.

    Args:
        denoiser: makes the network of the number of its features and of ``num_class_embeds``, which follow the data.
        scheduler: noise levels of the training; a cosine DDPM scheduler of 1000 levels that predicts velocity where
            left out.
        optimizer: of the denoiser's weights.
        conditional: whether the model can be asked for a class.
        condition_dropout: probability with which a training record's class is hidden.
        lr_schedule: ``constant`` or ``cosine`` (to zero at the last step), after the warm-up.
        warmup_steps: steps in which the rate rises linearly from 0.
        sampling_steps: network calls a row, here and as the release's default.
        guidance: ``guidance_scale`` of ``predict``; a receiver chooses his own.
    """

    family: ClassVar[str] = "tabular"
    modality: ClassVar[Literal["image", "table"]] = "table"

    def __init__(
        self,
        denoiser: DenoiserCallable = TableDenoiser,
        scheduler: SchedulerMixin | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        conditional: bool = True,
        condition_dropout: float = 0.2,
        lr_schedule: Literal["constant", "cosine"] = "constant",
        warmup_steps: int = 0,
        sampling_steps: int = 50,
        guidance: float = 1.0,
    ) -> None:
        super().__init__(optimizer, lr_schedule, warmup_steps, sampling_steps, guidance)
        if not 0 <= condition_dropout < 1:
            raise UserError(f"model.condition_dropout is {condition_dropout}: a probability below 1")
        cosine: Any = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
        self.scheduler: Any = scheduler or cosine
        levels = MixedDiffusion.of(self.scheduler, 0, []).steps
        if sampling_steps > levels:
            raise UserError(
                f"model.sampling_steps is {sampling_steps}: at most the {levels} num_train_timesteps of model.scheduler"
            )
        self.make_denoiser, self.asked = denoiser, conditional
        self.condition_dropout = condition_dropout
        self.denoiser: Any = None
        self.val_mean: Any = MeanMetric()
        self._evaluated = 0  # records of the present validation or test that this process has seen

    @property
    def conditional(self) -> bool:
        """Whether the model can be asked for a class."""
        return self.asked

    # --- the network and the rows follow the data ------------------------------------------------------------------

    def configure_model(self) -> None:
        """Make the network, before weights are averaged or loaded."""
        data = getattr(self.trainer, "datamodule", None)
        if self.denoiser is None and isinstance(data, MixDataModule):
            self.check_modality(data)
            self._build(describe(data))

    def setup(self, stage: str) -> None:
        """Learn from the data module what is trained on, and how the source codes its categories."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, MixDataModule):
            self.configure_model()
            self._match()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make the network that the checkpoint's weights are for."""
        super().on_load_checkpoint(checkpoint)
        if self.facts is not None:
            self._build(self.facts)
            self._match()

    def _build(self, facts: Facts) -> None:
        schema = parse_schema(facts.table)
        self.rows = Rows(schema)
        self.process = MixedDiffusion.of(self.scheduler, len(self.rows.numeric), self.rows.sizes)
        if self.denoiser is None or self.denoiser.config.features != self.rows.features:
            classes = len(facts.labels) + 1 if self.asked else None
            self.denoiser = self.make_denoiser(self.rows.features, classes)

    def _match(self) -> None:
        data = getattr(self._trainer, "datamodule", None)
        if isinstance(data, MixDataModule):
            source: Any = data.source
            self.rows.match(source.columns)

    @property
    def schema(self) -> TableSchema:
        """What the columns are."""
        return self.rows.schema

    def check(self, facts: Facts) -> None:
        """Refuse a class without records: a model cannot learn what it is never shown."""
        for label, count in zip(facts.labels, facts.label_counts, strict=True):
            if not count:
                raise UserError(
                    f"the mix holds no record of the class '{label}': choose another mix or drop the class from the "
                    "source"
                )

    # --- training --------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of a batch at timesteps that are spread evenly over its records, some classes hidden."""
        n, device = len(batch.x), batch.x.device
        spread = (torch.randperm(n, device=device) + torch.rand(n, device=device)) / n
        timesteps = (spread * self.process.steps).long().clamp_max(self.process.steps - 1)
        hidden = torch.rand(n, device=device) < self.condition_dropout
        scores, codes, _ = self._encode(batch.x)
        places = self.process.numeric + len(self.rows.sizes)
        uniform = torch.rand(n, places, device=device, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
        labels = self._labels(batch.target.masked_fill(hidden, UNCONDITIONAL))
        return mixed_loss(self.denoiser, self.process, scores, codes, labels, timesteps, uniform).mean()

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, codes, and which records (boolean, n) have only categories that the mix holds."""
        scores, codes = (torch.from_numpy(part) for part in self.rows.encode(x.cpu().numpy()))
        known = (codes >= 0).all(1)
        return scores.to(x.device), codes.to(x.device), known.to(x.device)

    def _labels(self, target: Tensor) -> Tensor | None:
        """Classes as the denoiser numbers them: -1 becomes its last embedding."""
        if not self.asked:
            return None
        assert self.facts is not None
        return target.masked_fill(target == UNCONDITIONAL, len(self.facts.labels))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss from noise that is the same every time."""
        self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss from noise that is the same every time."""
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the mean."""
        self._log_mean("val")

    def on_test_epoch_end(self) -> None:
        """Log the mean."""
        self._log_mean("test")

    def _evaluate(self, batch: Batch) -> None:
        """Add the losses of a batch, without records that have a category which the mix lacks."""
        # of the record's number in its set, so that neither batches nor processes change what is measured
        number = (self._evaluated + np.arange(len(batch.x))) * self.trainer.world_size + self.global_rank
        self._evaluated += len(batch.x)
        scores, codes, known = self._encode(batch.x)
        timesteps = torch.from_numpy(number * GOLDEN % 1 * self.process.steps).long().to(batch.x.device)
        uniform = RowStreams(0, number).uniform(0, self.process.numeric + len(self.rows.sizes))
        noise = torch.from_numpy(uniform).to(batch.x.device)
        labels = self._labels(batch.target)
        kept = (
            scores[known],
            codes[known],
            labels if labels is None else labels[known],
            timesteps[known],
            noise[known],
        )
        if known.any():
            self.val_mean.update(mixed_loss(self.denoiser, self.process, *kept))

    def _log_mean(self, stage: str) -> None:
        self.log(f"{stage}/loss", self.val_mean.compute(), prog_bar=True)
        self.val_mean.reset()
        self._evaluated = 0

    # --- samples and release ---------------------------------------------------------------------------------------

    def draw(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Rows from the weights as they are now; see :meth:`TableBox.sample`."""
        assert self.facts is not None
        scores, codes = sample_mixed(
            self.denoiser,
            self.process,
            self._labels(torch.from_numpy(labels).to(self.device)),
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
        write_json(folder / SCHEMA, self.schema.to_json())

    @classmethod
    def receive(cls, release: Release, **options: Any) -> TableBox:
        """Open a release as a black box."""
        return TableBox.open(release, **options)
