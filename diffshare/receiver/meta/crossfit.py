"""Meta-classifiers of several folds of shadows, and an interval with a guarantee, whatever they are."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng

from diffshare.data.module import RecordsDataModule
from diffshare.data.recordsets import RecordSet
from diffshare.errors import UserError
from diffshare.receiver.meta.classifier import MetaClassifier
from diffshare.stats.intervals import Interval, check_level
from diffshare.training.quiet import passing_trainer, quiet
from diffshare.training.seeding import BatchSeeding, seed_of


def guaranteed(shadows: int, folds: int, level: float = 0.95) -> float:
    """What a CV+ interval covers at the least, of generators that are drawn like the shadows.

    1 - 2 alpha - min(2 (1 - 1/F) / (S/F + 1), (1 - F/S) / (F + 1)), alpha = 1 - level (Barber, Candes, Ramdas &
    Tibshirani 2021, Annals of Statistics 49, section 3): 0.733 with 32 shadows and 4 folds at 0.95, 0.9 where every
    shadow is a fold of its own. As a rule it covers about the level.

    Args:
        shadows: S.
        folds: F, of equal size.
        level: of the interval.
    """
    check_level(level)
    parts = (2 * (1 - 1 / folds) / (shadows / folds + 1), (1 - folds / shadows) / (folds + 1))
    return max(0.0, 1 - 2 * (1 - level) - min(parts))


class CrossMeta(NamedTuple):
    """Meta-classifiers of F folds.

    Attributes:
        models: each was trained without the shadows of its fold.
        folds: fold of each of the S shadows, int64.
        residuals: size of the error on each by the model that has not seen it, float64, S.
    """

    models: tuple[MetaClassifier, ...]
    folds: np.ndarray
    residuals: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Estimates of every fold's model of sets, float32, N x M x D => float64, F x N."""
        return np.stack([means(model, x) for model in self.models])

    def intervals(self, x: np.ndarray, level: float = 0.95) -> list[Interval]:
        """Estimate (the mean over models) and CV+ interval of each set, N x M x D, cut to [0, 1].

        Barber, Candes, Ramdas & Tibshirani 2021 (Annals of Statistics 49), section 3: with v_i = the prediction of the
        model that has not seen shadow i, and R_i its error on shadow i, the ends are the floor(alpha (S + 1))-th
        smallest of v_i - R_i and the ceil((1 - alpha)(S + 1))-th smallest of v_i + R_i, alpha = 1 - level. Whatever the
        models, it covers with the probability of :func:`guaranteed` at the least, if the new generator is drawn like
        the shadows; a sharer's model that was trained otherwise is not.

        Raises:
            UserError: too few shadows for the level.
        """
        check_level(level)
        count = len(self.residuals)
        rank = int(np.floor((1 - level) * (count + 1) + 1e-9))
        if rank < 1:
            raise UserError(
                f"{count} shadows say nothing at level {level:g}: at least {int(np.ceil(1 / (1 - level) - 1e-9)) - 1} "
                "are needed"
            )
        predictions = self.predict(x)
        of_shadow = predictions[self.folds]  # S x N
        lows = np.sort(of_shadow - self.residuals[:, None], axis=0)[rank - 1]
        highs = np.sort(of_shadow + self.residuals[:, None], axis=0)[count - rank]
        middles = np.clip(predictions.mean(0), 0, 1)
        ends = zip(
            np.minimum(np.clip(lows, 0, 1), middles),
            np.maximum(np.clip(highs, 0, 1), middles),
            strict=True,
        )
        return [
            Interval(float(m), float(low), float(high))
            for m, (low, high) in zip(middles, ends, strict=True)
        ]


def cross_fit_meta(
    make: Callable[[], MetaClassifier],
    x: np.ndarray,
    p: np.ndarray,
    *,
    steps: int,
    folds: int = 8,
    batch_size: int = 16,
    seed: int = 0,
) -> CrossMeta:
    """Train a meta-classifier without each fold of shadows in turn.

    Args:
        make: a new meta-classifier.
        x: embedded samples, float32, S x M x D.
        p: known proportions, S.
        steps: training steps of each.
        folds: F, at least 2.
        batch_size: shadows a step, fewer where there are fewer.
        seed: of folds, starts and training.

    Raises:
        UserError: fewer shadows than folds.
    """
    if not 2 <= folds <= len(x):
        raise UserError(
            f"{folds} folds of {len(x)} shadows: at least 2 folds, and a shadow in each, are needed"
        )
    groups = np.random.default_rng([seed, folds]).permutation(np.arange(len(x)) % folds)
    residuals = np.empty(len(x))
    models = []
    for fold in range(folds):
        model = _fitted(
            make, x[groups != fold], p[groups != fold], steps, batch_size, seed_of(seed, fold)
        )
        residuals[groups == fold] = np.abs(means(model, x[groups == fold]) - p[groups == fold])
        models.append(model)
    return CrossMeta(tuple(models), groups, residuals)


def _fitted(
    make: Callable[[], MetaClassifier],
    x: np.ndarray,
    p: np.ndarray,
    steps: int,
    batch_size: int,
    seed: int,
) -> MetaClassifier:
    data = RecordsDataModule(batch_size=min(batch_size, len(x)), seed=seed % 2**31)
    data.sets["train"] = RecordSet(x, np.arange(len(x)), p.astype(np.float32), np.full(len(x), -1))
    with isolate_rng(), quiet():
        torch.manual_seed(seed)
        model = make()
        trainer = passing_trainer(
            max_steps=steps,
            callbacks=[BatchSeeding(seed)],
            limit_val_batches=0,
            gradient_clip_val=1.0,
        )
        trainer.fit(model, datamodule=data)
    return model.eval()


@torch.inference_mode()
def means(model: MetaClassifier, x: np.ndarray) -> np.ndarray:
    """The mean that a model gives of each set, float32, N x M x D => float64, N; it may lie outside [0, 1]."""
    return model(torch.from_numpy(np.ascontiguousarray(x)))[0].double().numpy()
