"""The property meta-classifier: from a set of a generator's samples to the proportion that it was trained at."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from scipy.special import ndtri
from torch import Tensor, nn
from torch.nn.functional import gaussian_nll_loss, softplus
from torchmetrics import MeanMetric

from diffshare.batch import Batch
from diffshare.data.module import RecordsDataModule
from diffshare.errors import UserError
from diffshare.training.rates import Rate, optimizer_and_rate

_LEAST = 1e-3  # of the standard deviation: below it lies no use


class MetaClassifier(LightningModule):
    """Predicts a proportion with a Gaussian head from embedded samples of one generator.

    Meta-classifiers: Ateniese et al. 2015; Ganju et al. 2018, who read weights. This one reads samples alone. A
    training step draws some of each shadow's samples anew and, where ``mixing``, fills up a part of each set with
    samples of another shadow: the proportion of such a set is known too, and a few dozen shadows make many sets.

    Args:
        network: sets (N x M x D) to mean and width of a proportion (N x 2).
        optimizer: of the network's weights.
        set_size: samples of a set in training.
        mixing: mix sets of two shadows.
        level: of the interval whose coverage is logged.
        lr_schedule: ``constant`` or ``cosine`` (to zero at the last step), after the warm-up.
        warmup_steps: steps in which the rate rises linearly from 0.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        set_size: int = 256,
        mixing: bool = True,
        level: float = 0.95,
        lr_schedule: Rate = "constant",
        warmup_steps: int = 0,
    ) -> None:
        super().__init__()
        if set_size < 2:
            raise UserError(f"model.set_size is {set_size}: it must be at least 2")
        if not 0 < level < 1:
            raise UserError(f"model.level is {level}: it lies between 0 and 1")
        self.network, self.optimizer, self.set_size, self.mixing = (
            network,
            optimizer,
            set_size,
            mixing,
        )
        self.level, self.lr_schedule, self.warmup_steps = level, lr_schedule, warmup_steps
        names = ("mean_absolute_error", "coverage", "loss")
        self.measures: Any = nn.ModuleDict({name: MeanMetric() for name in names})

    def setup(self, stage: str) -> None:
        """Standardise by the training shadows' samples.

        Raises:
            UserError: embeddings of another width than the network reads.
        """
        data = getattr(self.trainer, "datamodule", None)
        fit_scale: Any = getattr(self.network, "fit_scale", None)
        if stage != "fit" or not isinstance(data, RecordsDataModule):
            return
        train = data.sets["train"]
        members = torch.from_numpy(train.x[train.rows]).flatten(0, 1)
        width = getattr(self.network, "centre", members[0]).shape[-1]
        if width != members.shape[1]:
            raise UserError(
                f"model.network reads {width} features, the shadows have {members.shape[1]}: set features"
            )
        if fit_scale is not None:
            fit_scale(members)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Sets, N x M x D, to mean and standard deviation of the proportion, N each."""
        middle, width = self.network(x).float().unbind(1)
        return 0.5 + middle, softplus(width - 2) + _LEAST

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Negative log-likelihood of sets that are drawn anew from the shadows' samples."""
        mean, deviation = self(*(drawn := self._draw(batch))[:1])
        loss = gaussian_nll_loss(mean, drawn[1], deviation**2)
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def _draw(self, batch: Batch) -> tuple[Tensor, Tensor]:
        n, members, _ = batch.x.shape
        rows = torch.arange(n, device=self.device)[:, None]
        chosen = torch.rand(n, members, device=self.device).argsort(1)[:, : self.set_size]
        if not self.mixing:
            return batch.x[rows, chosen], batch.target
        other = torch.randperm(n, device=self.device)[:, None]
        taken = torch.rand(chosen.shape, device=self.device) < torch.rand(n, 1, device=self.device)
        share = taken.float().mean(1)
        target = (1 - share) * batch.target + share * batch.target[other[:, 0]]
        return batch.x[torch.where(taken, other, rows), chosen], target

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Error, coverage and loss on shadows that were not trained on."""
        self._measure(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Error, coverage and loss on shadows that were not trained on."""
        self._measure(batch, "test")

    def _measure(self, batch: Batch, stage: str) -> None:
        mean, deviation = self(batch.x)
        off = (mean.clamp(0, 1) - batch.target).abs()
        inside = (mean - batch.target).abs() <= float(ndtri((1 + self.level) / 2)) * deviation
        losses = gaussian_nll_loss(mean, batch.target, deviation**2, reduction="none")
        for name, values in (
            ("mean_absolute_error", off),
            ("coverage", inside.float()),
            ("loss", losses),
        ):
            self.measures[name](values)
            self.log(
                f"{stage}/{name}",
                self.measures[name],
                on_epoch=True,
                on_step=False,
                prog_bar=name != "loss",
            )

    def configure_optimizers(self) -> Any:
        """The injected optimiser and learning rate."""
        return optimizer_and_rate(self, self.optimizer, self.lr_schedule, self.warmup_steps)
