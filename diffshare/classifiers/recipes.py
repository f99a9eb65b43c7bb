"""How to train one classifier of records: a network, boosted trees, or a kernel machine that takes a second."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.svm import SVC
from torch import nn

from diffshare.classifiers.gradients import gradient_histograms
from diffshare.classifiers.quick import fit_quickly
from diffshare.classifiers.recipe import Recipe, Scorer

# found here by who trains with one
from diffshare.classifiers.recipe import (
    default_recipe as default_recipe,
)
from diffshare.data.module import RecordsDataModule
from diffshare.data.recordsets import RecordSet, scaled
from diffshare.data.table import Column
from diffshare.errors import UserError
from diffshare.nets.classifiers import SmallResNet, TableMLP

_MOST_CATEGORIES = (
    255  # that the trees split as categories; a column with more is split by its codes
)


class NetworkRecipe(Recipe):
    """A network for images, trained as a LightningModule with AdamW and one cycle of the learning rate.

    Args:
        network: number of classes and number of channels to a new network.
        steps: optimizer steps.
        batch_size: images a step, fewer where there are fewer.
    """

    def __init__(
        self,
        network: Callable[[int, int], nn.Module] = SmallResNet,
        steps: int = 400,
        batch_size: int = 64,
    ) -> None:
        _check_steps(steps, batch_size)
        self.network, self.steps, self.batch_size = network, steps, batch_size

    def train(
        self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Sequence[int]
    ) -> Scorer:
        """Train a new network; see :class:`Recipe`."""
        if x.ndim != 4:
            raise UserError(
                "NetworkRecipe is for images: choose diffshare.classifiers.recipes.TreesRecipe for a table"
            )
        data = _Rows((), self.batch_size, x, labels, seed % 2**32)
        network = _fit(lambda: self.network(classes, x.shape[-1]), data, self.steps)
        return lambda records: logits(network, records)


class TableNetworkRecipe(Recipe):
    """A network for rows of a table, trained as a LightningModule with AdamW and one cycle of the learning rate.

    Args:
        network: number of classes to a new network that has ``fit_rows``, such as ``TableMLP``.
        steps: optimizer steps.
        batch_size: rows a step, fewer where there are fewer.
    """

    def __init__(
        self,
        network: Callable[[int], nn.Module] = TableMLP,
        steps: int = 600,
        batch_size: int = 128,
    ) -> None:
        _check_steps(steps, batch_size)
        self.network, self.steps, self.batch_size = network, steps, batch_size

    def train(
        self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Sequence[int]
    ) -> Scorer:
        """Train a new network; see :class:`Recipe`. A category that is not known is one of its own."""
        if x.ndim != 2:
            raise UserError(
                "TableNetworkRecipe is for tables: choose diffshare.classifiers.recipes.NetworkRecipe"
            )
        sizes = np.zeros(x.shape[1], np.int64)
        for i in categorical:
            sizes[i] = 2 + np.nanmax(x[:, i], initial=0)
        columns = [Column(str(i), "categorical", tuple(map(str, range(n)))) if n else Column(str(i), "numeric")
                   for i, n in enumerate(sizes.tolist())]  # fmt: skip
        data = _Rows(columns, self.batch_size, code_rows(x, sizes), labels, seed % 2**32)
        network = _fit(lambda: self.network(classes), data, self.steps)
        return lambda rows: logits(network, code_rows(rows, sizes))


def code_rows(rows: np.ndarray, sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    """Rows in which a category that a network does not know is the last one of its column.

    Args:
        rows: float32, N x D.
        sizes: number of categories of each column, the one for all unknown ones among them; 0 of a number.

    Returns:
        float32, N x D.
    """
    sizes = np.asarray(sizes)
    unknown = np.where(sizes > 0, sizes - 1, np.nan).astype(np.float32)
    return np.where((sizes > 0) & ~(rows < sizes - 1), unknown, rows).astype(np.float32)


class _Rows(RecordsDataModule):
    """Training records alone, images or rows with their columns."""

    def __init__(
        self,
        columns: Sequence[Column],
        batch_size: int,
        x: np.ndarray,
        labels: np.ndarray,
        seed: int,
    ) -> None:
        super().__init__(batch_size=min(batch_size, len(x)), seed=seed)
        self._columns = tuple(columns)
        self.sets["train"] = RecordSet(x, np.arange(len(x)), labels, np.full(len(x), -1))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a table; none of images."""
        return self._columns


def _check_steps(steps: int, batch_size: int) -> None:
    if steps < 1 or batch_size < 1:
        raise UserError(
            f"steps {steps} and batch_size {batch_size} of a classifier must be at least 1"
        )


def _fit(network: Callable[[], nn.Module], data: _Rows, steps: int) -> nn.Module:
    with isolate_rng():
        torch.manual_seed(data.seed)
        return fit_quickly(network(), data, steps=steps, seed=data.seed).network


@torch.inference_mode()
def logits(network: nn.Module, x: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """Logits of records (uint8 images, or float32 rows as the network sees them), float32, N x K."""
    parts = []
    for start in range(0, len(x), batch_size):
        part = torch.from_numpy(np.ascontiguousarray(x[start : start + batch_size]))
        parts.append(network(scaled(part) if part.dtype == torch.uint8 else part).float().numpy())
    return np.concatenate(parts)


class TreesRecipe(Recipe):
    """Gradient-boosted trees on histograms, for tables: categories and missing cells are taken as they are.

    Args:
        trees: boosting rounds.
        rate: learning rate.
    """

    def __init__(self, trees: int = 150, rate: float = 0.1) -> None:
        if trees < 1 or rate <= 0:
            raise UserError(f"trees {trees} must be at least 1 and rate {rate} above 0")
        self.trees, self.rate = trees, rate

    def train(
        self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Sequence[int]
    ) -> Scorer:
        """Train; see :class:`Recipe`."""
        if x.ndim != 2:
            raise UserError(
                "TreesRecipe is for tables: choose diffshare.classifiers.recipes.NetworkRecipe for images"
            )
        # a column without any value, which scikit-learn cannot bin
        x = np.where(np.isnan(x).all(0), np.float32(0), x)
        few = [i for i in categorical if not (x[:, i] >= _MOST_CATEGORIES).any()]
        model = HistGradientBoostingClassifier(
            max_iter=self.trees,
            learning_rate=self.rate,
            categorical_features=few,
            early_stopping=False,
            random_state=seed % 2**32,
        ).fit(x, labels)
        return lambda records: _two_columns(model.decision_function(records))


class KernelRecipe(Recipe):
    """A support vector machine with a Gaussian kernel: a second instead of a minute.

    Images are seen as histograms of oriented gradients, tables as their numbers; leading principal components of them.

    Args:
        components: number of components; fewer where there are fewer records or features.
        penalty: C, the price of a record on the wrong side.
    """

    def __init__(self, components: int = 150, penalty: float = 1.0) -> None:
        if components < 1 or penalty <= 0:
            raise UserError(
                f"components {components} must be at least 1 and penalty {penalty} above 0"
            )
        self.components, self.penalty = components, penalty

    def train(
        self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Sequence[int]
    ) -> Scorer:
        """Train; see :class:`Recipe`. A category counts as its code, a missing cell as 0."""
        features = _features(x)
        count = min(self.components, *features.shape)
        with np.errstate(invalid="ignore"):  # the share of a variance of 0, which is not looked at
            pca = PCA(count, svd_solver="randomized", random_state=seed % 2**32).fit(features)
        seen = pca.transform(features)
        gamma = 1 / (seen.shape[1] * max(float(seen.var()), 1e-12))
        model = SVC(C=self.penalty, gamma=gamma).fit(seen, labels)
        if classes > 2:
            return lambda records: model.decision_function(pca.transform(_features(records)))
        vectors, weights = model.support_vectors_, model.dual_coef_[0]

        # as the library's own, but thirty times as fast
        def log_odds(
            records: np.ndarray,
        ) -> np.ndarray:
            points = pca.transform(_features(records))
            squares = (points**2).sum(1)[:, None] + (vectors**2).sum(1) - 2 * points @ vectors.T
            return _two_columns(np.exp(-gamma * squares) @ weights + model.intercept_[0])

        return log_odds


def _features(x: np.ndarray) -> np.ndarray:
    return gradient_histograms(x) if x.ndim == 4 else np.nan_to_num(x).astype(np.float32)


def _two_columns(values: np.ndarray) -> np.ndarray:
    """Log-odds of class 1 (N) as logits of two classes (N x 2); logits of more classes as they are."""
    return np.stack([np.zeros_like(values), values], 1) if values.ndim == 1 else values
