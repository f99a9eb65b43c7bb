"""What generators of tables share: rows coded after the data, classes, a loss on noise that is the same every time."""

from collections.abc import Mapping
from dataclasses import replace
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
from diffshare.release.disclosure import OTHER, with_cells
from diffshare.release.generator import UNCONDITIONAL
from diffshare.release.table import SCHEMA, TableSchema, parse_schema
from diffshare.storage import read_json, write_json
from diffshare.training.rates import Rate

CUT = 0.1  # share of a column's values that given bounds may cut


class TableModule(FittedModule):
    """Base of the generators of tables. A family gives ``build_network``, ``loss`` and ``losses_of``.

    The target is one of the columns that the model makes, and also what it can be asked for: a row
    that is asked for a class has it in the target's cell, an unconditional row the class that the
    model gave it.

    Numbers are coded by a grid between two round bounds, and categories by their names. The release
    gives away both, and nothing else of the columns: see :mod:`diffshare.release.disclosure`.
    Numbers beyond the bounds count as these. A record with a category or a missing cell that is too
    rare to be named is left out of the training where nothing else can stand for it.

    Args:
        optimizer: of the network's weights.
        bounds: the least and the largest value of a numeric column by its name, from a code book
            for instance; those of the others are fitted to the mix.
        schema: a file like a release's ``table/schema.json`` by which rows are coded, in place of
            one that is fitted to the mix: the release then says nothing of the mix's columns, and
            models of several mixes code alike.
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
        bounds: Mapping[str, tuple[float, float]] | None,
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
            raise UserError(
                f"model.condition_dropout is {condition_dropout}: a probability below 1"
            )
        if schema is not None and bounds:
            raise UserError(
                "model.bounds and model.schema both say how numbers are coded: give one of them"
            )
        self.given, self.bounds = schema, dict(bounds or {})
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

    def losses_of(
        self, scores: Tensor, codes: Tensor, labels: Tensor | None, number: np.ndarray
    ) -> Tensor:
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
        fitted = parse_schema(facts.table, "the training's schema")
        self.rows = Rows(
            bounded(fitted, self.bounds) if self.given is None else read_schema(self.given, fitted)
        )
        self.build_network(len(facts.labels) + 1 if self.asked else None)
        data = getattr(self._trainer, "datamodule", None)
        if isinstance(data, MixDataModule):
            source: Any = data.source
            self.rows.match(source.columns)
            refuse_cut(_trained(data), self.schema, self.bounds)

    def on_fit_start(self) -> None:
        """Say how many records cannot be trained on; shadows, whose schema is given, say nothing."""
        if self.given is not None:
            return
        rows = _trained(self.trainer.datamodule)  # type: ignore[attr-defined]
        if left := int((self.rows.encode(rows)[1] < 0).any(1).sum()):
            self.print(
                f"note:    {left} of {len(rows)} records are left out: a cell of theirs is too rare for the release to "
                "name it"
            )

    def check(self, facts: Facts) -> None:
        """Refuse a class without records: a model cannot learn what it is never shown."""
        for label, count in zip(facts.labels, facts.label_counts, strict=True):
            if not count:
                raise UserError(
                    f"the mix holds no record of the class '{label}': choose another mix or drop the class from the "
                    "source"
                )

    # --- records -----------------------------------------------------------------------------------------------------

    def trained_on(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, codes and classes of those records of a batch whose cells the schema names."""
        scores, codes, named = self.encode(batch.x)
        return scores[named], codes[named], batch.target[named]

    def no_loss(self) -> Tensor:
        """The loss of a batch without such a record: 0, whose gradient is 0."""
        return 0 * torch.stack([p.sum() for p in self.parameters() if p.requires_grad]).sum()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, codes, and which records (boolean, n) have only cells that the schema names."""
        scores, codes = (torch.from_numpy(part) for part in self.rows.encode(x.cpu().numpy()))
        named = (codes >= 0).all(1)
        return scores.to(x.device), codes.to(x.device), named.to(x.device)

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
        """Add the losses of a batch, without records that have a cell which the schema does not name."""
        # of the record's number in its set, so that neither batches nor processes change what is measured
        number = (
            self._evaluated + np.arange(len(batch.x))
        ) * self.trainer.world_size + self.global_rank
        self._evaluated += len(batch.x)
        scores, codes, named = self.encode(batch.x)
        labels = self.labels(batch.target)
        if named.any():
            kept = labels if labels is None else labels[named]
            self.val_mean.update(
                self.losses_of(scores[named], codes[named], kept, number[named.cpu().numpy()])
            )

    def _log_mean(self, stage: str) -> None:
        self.log(f"{stage}/loss", self.val_mean.compute(), prog_bar=True)
        self.val_mean.reset()
        self._evaluated = 0

    # --- release -----------------------------------------------------------------------------------------------------

    def save_parts(self, folder: Path) -> None:
        """Write ``table``."""
        write_json(folder / SCHEMA, self.schema.to_json())


def _trained(data: MixDataModule) -> np.ndarray:
    """The training records of a data module."""
    records = data.sets["train"]
    return records.x[records.rows]


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
        raise UserError(
            f"{path} has other columns than the data: make model.schema of the same source"
        )
    if given.target_column.categories != fitted.target_column.categories:
        raise UserError(
            f"{path} has the classes {listed(given.target_column.categories)} of '{given.target}', the mix "
            f"{listed(fitted.target_column.categories)}: make model.schema of both"
        )
    for mine, theirs in zip(given.columns, fitted.columns, strict=True):
        if beyond := set(theirs.categories) - {*mine.categories, OTHER}:
            raise UserError(
                f"{path}: column '{mine.name}' lacks the category '{min(beyond)}' of the mix: add it"
            )
        if mine.constant and not theirs.constant:
            raise UserError(
                f"{path}: column '{mine.name}' is constant, that of the mix is not: widen it"
            )
        if theirs.missing and not mine.missing:
            raise UserError(
                f"{path}: column '{mine.name}' has no missing cells, that of the mix has: set missing"
            )
    return given


def bounded(schema: TableSchema, bounds: Mapping[str, tuple[float, float]]) -> TableSchema:
    """The schema with these bounds of its numeric columns.

    Raises:
        UserError: a name is no numeric column, or two numbers do not bound one.
    """
    numeric = {schema.columns[i].name: schema.columns[i] for i in schema.numeric}
    for name, ends in bounds.items():
        if name not in numeric:
            raise UserError(
                f"model.bounds names '{name}', which is no numeric column of the table ({', '.join(numeric)!r:.200}): "
                "leave it out, or add `model.bounds` null"
            )
        whole = not numeric[name].integer or all(float(end).is_integer() for end in ends)
        if not (np.isfinite(ends).all() and ends[0] < ends[1] and whole):
            kind = "whole numbers" if numeric[name].integer else "numbers"
            raise UserError(
                f"model.bounds of '{name}' are {list(ends)}: two rising {kind} are expected"
            )
    changed = {
        name: replace(numeric[name], bounds=(float(low), float(high)))
        for name, (low, high) in bounds.items()
    }
    return with_cells(
        replace(
            schema, columns=tuple(changed.get(column.name, column) for column in schema.columns)
        )
    )


def refuse_cut(
    rows: np.ndarray, schema: TableSchema, bounds: Mapping[str, tuple[float, float]]
) -> None:
    """Refuse given bounds that cut more than a tenth of the records.

    Raises:
        UserError: names the column.
    """
    for name, (low, high) in bounds.items():
        values = rows[:, schema.names.index(name)]
        values = values[~np.isnan(values)]
        cut = float(np.mean((values < low) | (values > high)))
        if cut > CUT:
            raise UserError(
                f"model.bounds of '{name}' are {low:g} and {high:g}: {100 * cut:.0f} % of the values lie beyond; give "
                "bounds that hold nearly all of them"
            )
