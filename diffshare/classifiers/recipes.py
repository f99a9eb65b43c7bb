"""How to train one classifier of records: a network, boosted trees, or a kernel machine that takes a second."""

from abc import ABC, abstractmethod
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
from diffshare.data.module import RecordsDataModule, RecordSet, scaled
from diffshare.errors import UserError
from diffshare.nets.classifiers import SmallResNet

Scorer = Callable[[np.ndarray], np.ndarray]  # records to logits, N x K
_MOST_CATEGORIES = 255  # that the trees split as categories; a column with more is split by its codes


class Recipe(ABC):
    """How to train one model. A new kind is a subclass that is named by its ``class_path``."""

    @abstractmethod
    def train(self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Sequence[int]) -> Scorer:
        """Train on records.

        Args:
            x: uint8, N x H x W x C, or float32, N x D (codes of categories; NaN where a cell is missing).
            labels: int64 in 0..classes-1, N.
            classes: K.
            seed: the same records and seed give the same model.
            categorical: positions of the columns of a table that hold codes.

        Returns:
            a function from records to logits, N x K.
        """


class NetworkRecipe(Recipe):
    """A network for images, trained as a LightningModule with AdamW and one cycle of the learning rate.

    Args:
        network: number of classes and number of channels to a new network.
        steps: optimizer steps.
        batch_size: images a step, fewer where there are fewer.
    """

    def __init__(
        self, network: Callable[[int, int], nn.Module] = SmallResNet, steps: int = 400, batch_size: int = 64
    ) -> None:
        if steps < 1 or batch_size < 1:
            raise UserError(f"steps {steps} and batch_size {batch_size} of a classifier must be at least 1")
        self.network, self.steps, self.batch_size = network, steps, batch_size

    def train(self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Sequence[int]) -> Scorer:
        """Train a new network; see :class:`Recipe`."""
        if x.ndim != 4:
            raise UserError("NetworkRecipe is for images: choose diffshare.classifiers.recipes.TreesRecipe for a table")
        data = RecordsDataModule(batch_size=min(self.batch_size, len(x)), seed=seed)
        data.sets["train"] = RecordSet(x, np.arange(len(x)), labels, np.full(len(x), -1))
        with isolate_rng():
            torch.manual_seed(seed)
            network = fit_quickly(self.network(classes, x.shape[-1]), data, steps=self.steps, seed=seed).network
        return lambda records: _logits(network, records)


@torch.inference_mode()
def _logits(network: nn.Module, x: np.ndarray, batch_size: int = 500) -> np.ndarray:
    starts = range(0, len(x), batch_size)
    passes = (scaled(torch.from_numpy(np.ascontiguousarray(x[i : i + batch_size]))) for i in starts)
    return np.concatenate([network(images).float().numpy() for images in passes])


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

    def train(self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Sequence[int]) -> Scorer:
        """Train; see :class:`Recipe`."""
        if x.ndim != 2:
            raise UserError("TreesRecipe is for tables: choose diffshare.classifiers.recipes.NetworkRecipe for images")
        few = [i for i in categorical if not (x[:, i] >= _MOST_CATEGORIES).any()]
        model = HistGradientBoostingClassifier(
            max_iter=self.trees,
            learning_rate=self.rate,
            categorical_features=few,
            early_stopping=False,
            random_state=seed,
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
            raise UserError(f"components {components} must be at least 1 and penalty {penalty} above 0")
        self.components, self.penalty = components, penalty

    def train(self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Sequence[int]) -> Scorer:
        """Train; see :class:`Recipe`. A category counts as its code, a missing cell as 0."""
        features = _features(x)
        count = min(self.components, *features.shape)
        pca = PCA(count, svd_solver="randomized", random_state=seed).fit(features)
        model = SVC(C=self.penalty).fit(pca.transform(features), labels)
        return lambda records: _two_columns(model.decision_function(pca.transform(_features(records))))


def _features(x: np.ndarray) -> np.ndarray:
    return gradient_histograms(x) if x.ndim == 4 else np.nan_to_num(x).astype(np.float32)


def _two_columns(values: np.ndarray) -> np.ndarray:
    """Log-odds of class 1 (N) as logits of two classes (N x 2); logits of more classes as they are."""
    return np.stack([np.zeros_like(values), values], 1) if values.ndim == 1 else values
