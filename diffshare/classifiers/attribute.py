"""A classifier that reads an attribute off a record."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics.classification import MulticlassAccuracy

from diffshare.batch import Batch


class AttributeClassifier(LightningModule):
    """Predicts the target of a record with an injected network.

    Args:
        network: images (N x C x H x W in [-1, 1]) to logits (N x classes).
        classes: number of classes.
        optimizer: of the network's weights.
        lr_scheduler: of the learning rate, stepped after each optimizer step; a constant rate where left out.
    """

    def __init__(
        self,
        network: nn.Module,
        classes: int = 2,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.network, self.optimizer, self.lr_scheduler = network, optimizer, lr_scheduler
        self.accuracy = MulticlassAccuracy(classes, average="micro")

    def forward(self, x: Tensor) -> Tensor:
        """Class probabilities, N x classes."""
        return self.network(x).float().softmax(1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross entropy, logged as ``train/loss``."""
        loss = cross_entropy(self.network(batch.x).float(), batch.target)
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Accuracy on validation records."""
        self._measure(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Accuracy on test records."""
        self._measure(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Class probabilities, N x classes."""
        return self(batch.x)

    def _measure(self, batch: Batch, stage: str) -> None:
        self.accuracy(self.network(batch.x).float(), batch.target)
        self.log(f"{stage}/accuracy", self.accuracy, on_epoch=True, on_step=False)

    def configure_optimizers(self) -> Any:
        """The injected optimiser and learning rate."""
        optimizer = self.optimizer(self.parameters())
        if self.lr_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.lr_scheduler(optimizer), "interval": "step"}}
