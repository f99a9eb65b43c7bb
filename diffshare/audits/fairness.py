"""Measures the fairness of a classifier while it is validated and tested: counts first, everything else from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from diffshare.audits.figures import draw_groups
from diffshare.batch import Batch
from diffshare.errors import UserError
from diffshare.stats.fairness import Disparity, bootstrap_counts, disparity, group_rates

RATES = ("accuracy", "selection_rate", "tpr", "fpr")


class Fairness(Callback):
    """Counts S x Y x Yhat over batches and processes; reports them at the end of validation and test.

    The report goes to the log as scalars and as a bar figure, and to ``results``, from where the verb ``test`` writes
    ``results.json``. Records without a group are counted for the accuracy alone.

    Args:
        positive: class whose rates are compared between the groups.
        level: of the intervals.
        resamples: of the bootstrap over test records.
        min_group: a rate that rests on fewer records has no interval, and neither has a difference to it.
    """

    def __init__(
        self, positive: int = 1, level: float = 0.95, resamples: int = 1000, min_group: int = 10
    ) -> None:
        if not 0 < level < 1:
            raise UserError(f"`level` is {level}: it lies between 0 and 1")
        for name, value in (("resamples", resamples), ("min_group", min_group)):
            if value < 1:
                raise UserError(f"{name} is {value}: it must be at least 1")
        self.positive, self.level, self.resamples, self.min_group = (
            positive,
            level,
            resamples,
            min_group,
        )
        self.results: dict[str, Any] | None = None
        self._counts = torch.zeros(0, 0, 0, dtype=torch.int64)  # the last group is "not known"
        self._names: tuple[str, ...] = ()
        self._classes: tuple[str, ...] = ()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting."""
        self._start(trainer, pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting."""
        self._start(trainer, pl_module)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Count a batch."""
        self._count(outputs, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Count a batch."""
        self._count(outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on validation records, where their groups are known."""
        self._finish(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on test records."""
        self._finish(trainer, pl_module, "test")

    def _start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: Any = getattr(trainer, "datamodule", None)
        classes, self._names = getattr(data, "classes", None), getattr(data, "groups", None) or ()
        if classes is None:
            raise UserError(
                "fairness needs a data module that names its classes and groups: use one of diffshare.data"
            )
        if not 0 <= self.positive < len(classes):  # before an epoch is spent
            raise UserError(
                f"positive is {self.positive}: name one of the classes 0 to {len(classes) - 1}"
            )
        self._classes = classes
        self._counts = torch.zeros(
            len(self._names) + 1, len(classes), len(classes), dtype=torch.int64
        )

    def _count(self, predicted: Any, batch: Batch) -> None:
        if not isinstance(predicted, Tensor):
            raise UserError(
                "fairness is measured on decisions, this model makes none: leave the callback out"
            )
        groups, classes = self._counts.shape[:2]
        s, y, decided = (v.cpu() for v in (batch.sensitive, batch.target, predicted))
        s = torch.where(s < 0, groups - 1, s)
        cells = (s * classes + y) * classes + decided
        self._counts += torch.bincount(cells, minlength=self._counts.numel()).view_as(self._counts)

    def _finish(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        counts = self._counts.to(pl_module.device)
        counts = trainer.strategy.reduce(counts, reduce_op="sum").cpu()
        if trainer.sanity_checking or not int(counts.sum()):
            return
        counted, unknown = counts[:-1].numpy(), counts[-1].numpy()
        if unknown.any() and counted.any():
            raise UserError(
                f"the group of {unknown.sum()} of {counts.sum()} {stage} records is unknown: fill it in or drop them"
            )
        options: dict[str, Any] = {"positive": self.positive, "level": self.level}
        options |= {"resamples": self.resamples, "min_group": self.min_group}
        self.results = fairness_report(
            counted if counted.any() else unknown[None], grouped=bool(counted.any()), **options
        )
        # what the codes stand for
        self.results |= {
            "classes": list(self._classes),
            "groups": list(self._names),
        }
        self.results["positive_class"] = self._classes[self.positive]
        for name in Disparity._fields[1:]:  # the accuracy of all is in the classifier's own log
            if self.results[name] is not None:
                pl_module.log(f"{stage}/{name}", self.results[name], rank_zero_only=True)
        self._log_groups(trainer, self.results, stage)

    def _log_groups(self, trainer: Trainer, results: Mapping[str, Any], stage: str) -> None:
        """Rates by group, which would fill the terminal's table, to the log alone."""
        if not results["by_group"] or not trainer.is_global_zero or trainer.logger is None:
            return
        scalars = {
            f"{stage}/{rate}/{self._names[int(group)]}": rates[rate]
            for group, rates in results["by_group"].items()
            for rate in RATES
            if rates[rate] is not None
        }
        trainer.logger.log_metrics(scalars, trainer.global_step)
        if isinstance(trainer.logger, TensorBoardLogger):
            figure = draw_groups(results, self._names)
            trainer.logger.experiment.add_figure(f"{stage}/fairness", figure, trainer.global_step)


def fairness_report(
    counts: np.ndarray,
    *,
    grouped: bool = True,
    positive: int = 1,
    level: float = 0.95,
    resamples: int = 1000,
    min_group: int = 10,
    seed: int = 0,
) -> dict[str, Any]:
    """Accuracy, rates by group, and differences between groups, with bootstrap intervals over the records.

    Args:
        counts: integers, G x K x K: group, true class, decision.
        grouped: whether the groups are known; otherwise ``counts`` has one, and only the accuracy is reported.
        positive: class whose rates are compared.
        level: of the percentile intervals.
        resamples: of the bootstrap.
        min_group: least records under a rate that gets an interval.
        seed: of the bootstrap.

    Returns:
        plain JSON values: the fields of :class:`diffshare.stats.fairness.Disparity`; ``by_group``, by the code of the
        group as a string (``n`` and the rates); ``intervals`` of all of them; ``counts``; the settings. What is
        undefined is None.
    """
    counts = np.asarray(counts, np.int64)
    drawn = bootstrap_counts(counts, resamples, np.random.default_rng(seed))
    overall, drawn_overall = disparity(counts, positive), disparity(drawn, positive)
    enough = _enough(counts, positive, min_group)
    enough_by_name = {
        "accuracy": counts.sum() >= min_group,
        **dict.fromkeys(
            (n for n in Disparity._fields if "demographic" in n), enough["selection_rate"].all()
        ),
        **dict.fromkeys(
            (n for n in Disparity._fields if "odds" in n), (enough["tpr"] & enough["fpr"]).all()
        ),
    }
    fields = Disparity._fields if grouped else ("accuracy",)
    report: dict[str, Any] = dict.fromkeys(Disparity._fields)
    report |= {name: _plain(getattr(overall, name)) for name in fields}
    intervals: dict[str, Any] = {
        name: _interval(getattr(drawn_overall, name), level) if enough_by_name[name] else None
        for name in fields
    }
    report["by_group"] = _by_group(counts, positive) if grouped else {}
    if grouped:
        rates = group_rates(drawn, positive)
        intervals["by_group"] = {
            str(s): {
                n: _interval(getattr(rates, n)[:, s], level) if enough[n][s] else None
                for n in RATES
            }
            for s in range(len(counts))
        }
    settings = {
        "level": level,
        "positive": positive,
        "resamples": resamples,
        "min_group": min_group,
    }
    return report | {
        "intervals": intervals,
        "counts": counts.tolist(),
        "n": int(counts.sum()),
        **settings,
    }


def _by_group(counts: np.ndarray, positive: int) -> dict[str, dict[str, Any]]:
    """Rates of each group as Fairlearn's ``MetricFrame`` reports them, what is undefined taken out."""
    from fairlearn.metrics import (
        MetricFrame,
        false_positive_rate,
        selection_rate,
        true_positive_rate,
    )
    from sklearn.metrics import accuracy_score

    s, y, decided = np.nonzero(counts)  # a cell stands for its records by weight
    weights = {"sample_weight": counts[s, y, decided].astype(np.float64)}

    def binary(metric: Any) -> Any:
        return lambda true, rates, sample_weight: metric(
            np.asarray(true) == positive,
            np.asarray(rates) == positive,
            pos_label=True,
            sample_weight=sample_weight,
        )

    metrics = {
        "selection_rate": selection_rate,
        "tpr": true_positive_rate,
        "fpr": false_positive_rate,
    }
    frame = MetricFrame(
        metrics={"accuracy": accuracy_score}
        | {name: binary(metric) for name, metric in metrics.items()},
        y_true=y,
        y_pred=decided,
        sensitive_features=s.tolist(),  # an array of one cell is squeezed to none
        sample_params=dict.fromkeys(RATES, weights),
    )
    defined = group_rates(counts, positive)  # Fairlearn calls the rate of no record 0
    groups: dict[str, dict[str, Any]] = {}
    for group in range(len(counts)):
        n = int(defined.n[group])
        rates = {name: None if np.isnan(getattr(defined, name)[group]) else 0.0 for name in RATES}
        for name in [name for name, rate in rates.items() if rate is not None]:
            rates[name] = float(frame.by_group.loc[group, name])
        groups[str(group)] = {"n": n, **rates}
    return groups


def _enough(counts: np.ndarray, positive: int, least: int) -> Mapping[str, np.ndarray]:
    """Whether each rate of each group rests on enough records, boolean, G."""
    n = counts.sum((1, 2))
    positives = counts[:, positive].sum(1)
    under: Sequence[np.ndarray] = (n, n, positives, n - positives)
    return {name: records >= least for name, records in zip(RATES, under, strict=True)}


def _plain(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _interval(values: np.ndarray, level: float) -> list[float] | None:
    defined = values[~np.isnan(values)]  # a resample without any positive says nothing
    if not len(defined):
        return None
    return [float(v) for v in np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])]
