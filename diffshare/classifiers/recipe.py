"""What a recipe of a classifier is; the recipes themselves, which need torch, stand in :mod:`recipes`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

Scorer = Callable[[np.ndarray], np.ndarray]  # records to logits, N x K


class Recipe(ABC):
    """How to train one model. A new kind is a subclass that is named by its ``class_path``."""

    @abstractmethod
    def train(
        self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Sequence[int]
    ) -> Scorer:
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


def default_recipe(columns: Sequence[object]) -> Recipe:
    """The recipe where none is named: boosted trees for a table, which has columns, and a small network for images."""
    from diffshare.classifiers.recipes import NetworkRecipe, TreesRecipe

    return TreesRecipe() if columns else NetworkRecipe()
