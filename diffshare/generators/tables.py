"""What generators of tables share: rows coded after the data, classes, a loss on noise that is the same every time."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torchmetrics import MeanMetric

from diffshare.batch import Batch
from diffshare.classes import listed
from diffshare.data.module import MixDataModule
from diffshare.errors import UserError
from diffshare.generators.base import Facts
from diffshare.generators.fitted import FittedModule
from diffshare.generators.rows import Rows
from diffshare.release.generator import UNCONDITIONAL
from diffshare.release.table import SCHEMA, TableSchema, parse_schema
from diffshare.storage import read_json, write_json
from diffshare.training.rates import Rate


class TableModule(FittedModule):
    """Base of the generators of tables. A family gives ``build_network``, ``loss`` and ``losses_of``.

    Numbers go through a quantile transform fitted to the mix. The target is one of the columns that the model makes,
    and also what it can be asked for: a row that is asked for a class has it in the target's cell, an unconditional
    row the class that the model gave it.

    What a released model can make are the categories that the mix holds, and numbers from the smallest to the largest
    of the mix. Its schema gives away those, and a quantile of each numeric column for every 30 records.

    Args:
        optimizer: of the network's weights.
        schema: a file like a release's ``table/schema.json`` by which rows are coded, in place of one that is fitted to
            the mix: the release then gives away no extremes of the mix, and models of several mixes code alike.
        conditional: whether the model can be asked for a class.
        condition_dropout: probability with which a training record's class is hidden.
        lr_schedule: ``constant`` or ``cosine`` (to zero at the last step), after the warm-up.
        warmup_steps: steps in which the rate rises linearly from 0.
        sampling_steps: network calls a row, here and as the release's default.
        guidance: ``guidance_scale`` of ``predict``; a receiver chooses his own.
    """

    modality: ClassVar[Literal["image", "table"]] = "table"

    def __init__(
        self,
        optimizer: OptimizerCallable,
        schema: Path | None,
        conditional: bool,
        condition_dropout: float,
        lr_schedule: Rate,
        warmup_steps: int,
        sampling_steps: int,
        guidance: float,
    ) -> None:
        super().__init__(optimizer, lr_schedule, warmup_steps, sampling_steps, guidance)
        if not 0 <= condition_dropout < 1:
            raise UserError(f"model.condition_dropout is {condition_dropout}: a probability below 1")
        self.given = schema
        self.asked, self.condition_dropout = conditional, condition_dropout
        self.rows: Rows
        self.val_mean: Any = MeanMetric()
        self._evaluated = 0  # records of the present validation or test that this process has seen

    # --- a family's own part -------------------------------------------------------------------------------------

    def build_network(self, classes: int | None) -> None:
        """Make the network for ``self.rows``, unless there is one that fits.

        Args:
            classes: number of classes and one more for "no class"; None for an unconditional network.
        """
        raise NotImplementedError

    def losses_of(self, scores: Tensor, codes: Tensor, labels: Tensor | None, number: np.ndarray) -> Tensor:
        """Loss of each record in validation, its noise a function of the record's number alone.

        Args:
            scores: float32, n x numeric columns.
            codes: int64, n x discrete columns.
            labels: classes as the network numbers them, int64, n.
            number: of each record in its set, n.

        Returns:
            float32, n.
        """
        raise NotImplementedError

    # --- the network and the rows follow the data ------------------------------------------------------------------

    @property
    def conditional(self) -> bool:
        """Whether the model can be asked for a class."""
        return self.asked

    @property
    def schema(self) -> TableSchema:
        """What the columns are."""
        return self.rows.schema

    def build(self, facts: Facts) -> None:
        """Make the coding and the network; see the base class."""
        fitted = parse_schema(facts.table)
        self.rows = Rows(fitted if self.given is None else read_schema(self.given, fitted))
        self.build_network(len(facts.labels) + 1 if self.asked else None)
        data = getattr(self._trainer, "datamodule", None)
        if isinstance(data, MixDataModule):
            source: Any = data.source
            self.rows.match(source.columns)

    def check(self, facts: Facts) -> None:
        """Refuse a class without records: a model cannot learn what it is never shown."""
        for label, count in zip(facts.labels, facts.label_counts, strict=True):
            if not count:
                raise UserError(
                    f"the mix holds no record of the class '{label}': choose another mix or drop the class from the "
                    "source"
                )

    # --- records -----------------------------------------------------------------------------------------------------

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, codes, and which records (boolean, n) have only categories that the mix holds."""
        scores, codes = (torch.from_numpy(part) for part in self.rows.encode(x.cpu().numpy()))
        known = (codes >= 0).all(1)
        return scores.to(x.device), codes.to(x.device), known.to(x.device)

    def labels(self, target: Tensor) -> Tensor | None:
        """Classes as the network numbers them: -1 becomes its last embedding."""
        if not self.asked:
            return None
        assert self.facts is not None
        return target.masked_fill(target == UNCONDITIONAL, len(self.facts.labels))

    def hidden_labels(self, target: Tensor) -> Tensor | None:
        """Classes as the network numbers them, some of them hidden."""
        hidden = torch.rand(len(target), device=target.device) < self.condition_dropout
        return self.labels(target.masked_fill(hidden, UNCONDITIONAL))

    # --- validation --------------------------------------------------------------------------------------------------

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
        scores, codes, known = self.encode(batch.x)
        labels = self.labels(batch.target)
        if known.any():
            kept = labels if labels is None else labels[known]
            self.val_mean.update(self.losses_of(scores[known], codes[known], kept, number[known.cpu().numpy()]))

    def _log_mean(self, stage: str) -> None:
        self.log(f"{stage}/loss", self.val_mean.compute(), prog_bar=True)
        self.val_mean.reset()
        self._evaluated = 0

    # --- release -----------------------------------------------------------------------------------------------------

    def save_parts(self, folder: Path) -> None:
        """Write ``table``."""
        write_json(folder / SCHEMA, self.schema.to_json())


def read_schema(path: Path, fitted: TableSchema) -> TableSchema:
    """A schema from a file, for records that another was fitted to.

    Raises:
        UserError: no schema, or one that does not cover these records (names the column).
    """
    given = parse_schema(read_json(path), str(path))
    if (given.target, given.mark) != (fitted.target, fitted.mark):
        raise UserError(
            f"{path} is for the target '{given.target}' and the mark '{given.mark}' of missing cells, the data has "
            f"'{fitted.target}' and '{fitted.mark}': make model.schema of the same source and target"
        )
    if [(c.name, c.kind) for c in given.columns] != [(c.name, c.kind) for c in fitted.columns]:
        raise UserError(f"{path} has other columns than the data: make model.schema of the same source")
    if given.target_column.categories != fitted.target_column.categories:
        raise UserError(
            f"{path} has the classes {listed(given.target_column.categories)} of '{given.target}', the mix "
            f"{listed(fitted.target_column.categories)}: make model.schema of both"
        )
    for mine, theirs in zip(given.columns, fitted.columns, strict=True):
        if beyond := set(theirs.categories) - set(mine.categories):
            raise UserError(f"{path}: column '{mine.name}' lacks the category '{min(beyond)}' of the mix: add it")
        if mine.constant and not theirs.constant:
            raise UserError(f"{path}: column '{mine.name}' is constant, that of the mix is not: widen it")
        if theirs.missing and not mine.missing:
            raise UserError(f"{path}: column '{mine.name}' has no missing cells, that of the mix has: set missing")
    return given
