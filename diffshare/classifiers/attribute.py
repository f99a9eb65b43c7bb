"""A classifier that reads an attribute off a record: the receiver's downstream classifier among others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric

from diffshare.batch import Batch
from diffshare.classes import join, listed
from diffshare.data.module import RecordsDataModule
from diffshare.data.recordsets import RecordSet, scaled
from diffshare.data.table import column_positions
from diffshare.errors import UserError
from diffshare.training.rates import Rate, optimizer_and_rate


class AttributeClassifier(LightningModule):
    """Predicts the target of a record with an injected network.

    A network of tables is one with ``fit_rows`` (see :class:`diffshare.nets.classifiers.TableMLP`): it learns from
    the training rows how to encode their columns, the target's own column left out.

    Args:
        network: images (N x C x H x W in [-1, 1]) or rows of a table (N x columns) to logits (N x classes).
        optimizer: of the network's weights.
        lr_schedule: ``constant`` or ``cosine`` (to zero at the last step), after the warm-up.
        warmup_steps: steps in which the rate rises linearly from 0.
        withhold: columns of a table that the network may not see, beside the target's.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_schedule: Rate = "constant",
        warmup_steps: int = 0,
        withhold: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if warmup_steps < 0:
            raise UserError(f"model.warmup_steps is {warmup_steps}: it must be at least 0")
        self.network, self.optimizer, self.withhold = network, optimizer, tuple(withhold)
        self.lr_schedule, self.warmup_steps = lr_schedule, warmup_steps
        self.classes: tuple[str, ...] = ()  # of the data at hand, by the numbers of its targets
        self.notes: tuple[str, ...] = ()
        self._outputs: list[int] | None = (
            None  # the network's output of each of these classes; None where in order
        )
        self.val_loss, self.val_accuracy, self.test_accuracy = (
            MeanMetric(),
            MeanMetric(),
            MeanMetric(),
        )

    def setup(self, stage: str) -> None:
        """Fit the network's encoding of a table, and see that the network fits the data.

        Raises:
            UserError: images for a network of tables or the other way round, or another number of classes.
        """
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, RecordsDataModule) and "train" in data.sets:
            self._fit_rows(data)
            self._check(data)
            self.classes = tuple(data.classes)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the network's outputs are called."""
        names = (
            self.classes
            if self._outputs is None
            else [self.classes[i] for i in np.argsort(self._outputs)]
        )
        checkpoint["diffshare"] = {"classes": list(names)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Join the classes that were trained on to those of the data at hand, by their names.

        Raises:
            UserError: they contradict each other, or a training would go on with others.
        """
        if not self.classes:
            return
        trained = (checkpoint.get("diffshare") or {}).get("classes") or ()
        joined = join(trained, self.classes, "the classifier", "the data")
        if joined.beyond:
            raise joined.refusal(joined.beyond[0])
        if self.trainer.state.fn == "fit" and trained and tuple(trained) != self.classes:
            raise UserError(
                f"the classifier was trained on the classes {listed(trained)}, the data has {listed(self.classes)}: "
                "use the run's own config and data"
            )
        self.notes = (joined.note,) if joined.note else ()
        codes = joined.codes.tolist()
        self._outputs = None if codes == sorted(codes) else np.argsort(codes).tolist()

    def _logits(self, batch: Batch) -> Tensor:
        """Logits of the network, one for each class of the data at hand, N x classes."""
        logits: Tensor = self.network(batch.x).float()
        return logits if self._outputs is None else logits[:, self._outputs]

    def _fit_rows(self, data: RecordsDataModule) -> None:
        train: RecordSet = data.sets["train"]
        fit_rows: Any = getattr(self.network, "fit_rows", None)
        name = type(self.network).__name__
        if (fit_rows is None) == bool(data.columns):
            kinds = ("images", "a table") if fit_rows is None else ("a table", "images")
            raise UserError(
                f"model.network {name} reads {kinds[0]}, the data is {kinds[1]}: choose another network"
            )
        if fit_rows is None:
            if self.withhold:
                raise UserError(
                    "model.withhold names columns of a table, the data is images: leave it out"
                )
            return
        hidden = column_positions(data.columns, [*data.target_columns, *self.withhold])
        sizes = [len(column.categories) for column in data.columns]
        fit_rows(train.x[train.rows], sizes, hidden.tolist())

    @torch.no_grad()
    def _check(self, data: RecordsDataModule) -> None:
        batch = data.sets["train"].__getitems__([0])
        x = scaled(batch.x) if batch.x.dtype == torch.uint8 else batch.x
        training = self.network.training
        self.network.eval()
        try:
            outputs = self.network(x.to(self.device)).shape[1]
        except RuntimeError as error:
            raise UserError(
                f"model.network {type(self.network).__name__} does not take records of {tuple(batch.x.shape[1:])}: "
                f"mend model.network ({str(error).splitlines()[0]:.120})"
            ) from error
        finally:
            self.network.train(training)
        if outputs != len(data.classes):
            raise UserError(
                f"model.network has {outputs} outputs, the target has the {len(data.classes)} classes "
                f"{', '.join(data.classes[:12])}: set `model.network.classes` {len(data.classes)}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Class probabilities, N x classes."""
        return self.network(x).float().softmax(1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross entropy, weighted where the records have weights; logged as ``train/loss``."""
        loss = self._loss(self.network(batch.x).float(), batch).mean()
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss and accuracy on validation records; returns the predicted classes, int64, N."""
        logits = self._logits(batch)
        self.val_loss(self._loss(logits, batch))
        self.log("val/loss", self.val_loss, on_epoch=True, on_step=False)
        return self._measure(logits, batch, "val/accuracy", self.val_accuracy)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Accuracy on test records; returns the predicted classes, int64, N."""
        return self._measure(self._logits(batch), batch, "test/accuracy", self.test_accuracy)

    @staticmethod
    def _loss(logits: Tensor, batch: Batch) -> Tensor:
        losses = cross_entropy(logits, batch.target, reduction="none")
        return losses if batch.weight is None else losses * batch.weight

    def _measure(self, logits: Tensor, batch: Batch, name: str, mean: MeanMetric) -> Tensor:
        predicted = logits.argmax(1)
        mean((predicted == batch.target).float())
        self.log(name, mean, on_epoch=True, on_step=False, prog_bar=True)
        return predicted

    def configure_optimizers(self) -> Any:
        """The injected optimiser and learning rate."""
        return optimizer_and_rate(self, self.optimizer, self.lr_schedule, self.warmup_steps)
