"""Sets of records, and of requests for samples, that a loader reads a whole batch at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from diffshare.batch import Batch, Request


@dataclass(frozen=True)
class RecordSet(Dataset[Batch]):
    """Some rows of an array of records with their labels, read a whole batch at a time.

    Attributes:
        x: all records (often memory-mapped), uint8 N x H x W x C or float32 N x columns.
        rows: which rows of ``x`` belong to the set, int64, n.
        target: class of each, int64, n.
        sensitive: group of each, int64, n; -1 where unknown.
        weight: of each in the training loss, float32, n, with mean 1; None where all count the same.
    """

    x: np.ndarray
    rows: np.ndarray
    target: np.ndarray
    sensitive: np.ndarray
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """The batch of these positions (the loader calls this once a batch)."""
        chosen = np.asarray(positions)
        # fancy indexing copies: the mapped file is never written
        x = torch.from_numpy(self.x[self.rows[chosen]])
        weight = None if self.weight is None else torch.from_numpy(self.weight[chosen])
        return Batch(
            x,
            torch.from_numpy(self.target[chosen]),
            torch.from_numpy(self.sensitive[chosen]),
            weight,
        )

    def __getitem__(self, position: int) -> Batch:
        x, target, sensitive, weight = self.__getitems__([position])
        return Batch(x[0], target[0], sensitive[0], None if weight is None else weight[0])


@dataclass(frozen=True)
class RequestSet(Dataset[Request]):
    """Requests for ``count`` samples, the classes in turn."""

    count: int
    classes: int

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, positions: Sequence[int]) -> Request:
        """The requests of these positions."""
        number = torch.as_tensor(positions)
        return Request(number, number % self.classes)

    def __getitem__(self, position: int) -> Request:
        return Request(*(part[0] for part in self.__getitems__([position])))


def scaled(x: Tensor) -> Tensor:
    """Images as networks take them: uint8 N x H x W x C in 0..255 => float32 N x C x H x W in [-1, 1]."""
    return (
        x.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format) / 127.5 - 1
    )
