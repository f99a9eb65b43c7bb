"""A classifier that reads an attribute off a record."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
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
    """

    def __init__(self, network: nn.Module, classes: int = 2, optimizer: OptimizerCallable = torch.optim.AdamW) -> None:
        super().__init__()
        self.network, self.optimizer = network, optimizer
        self.accuracy = MulticlassAccuracy(classes, average="micro")

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
        return self.network(batch.x).float().softmax(1)

    def _measure(self, batch: Batch, stage: str) -> None:
        self.accuracy(self.network(batch.x).float(), batch.target)
        self.log(f"{stage}/accuracy", self.accuracy, on_epoch=True, on_step=False)

    def configure_optimizers(self) -> Any:
        """The injected optimiser."""
        return self.optimizer(self.parameters())
