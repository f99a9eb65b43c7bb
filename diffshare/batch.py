"""What a data loader hands to a model."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """N records with their labels.

    Attributes:
        x: images, float32 in [-1, 1], N x C x H x W (uint8 N x H x W x C until it is on the device),
            or rows of a table, float32, N x columns.
        target: class that a downstream classifier predicts and a conditional generator is asked for,
            int64 in 0..K-1, N.
        sensitive: group of each record, int64 in 0..G-1, N; -1 where it is not known.
        weight: of each record in a classifier's loss, float32, N; None where all count the same.
    """

    x: Tensor
    target: Tensor
    sensitive: Tensor
    weight: Tensor | None = None


class Request(NamedTuple):
    """Samples that ``predict`` asks a generator for.

    Attributes:
        number: of each sample within its seed, int64, N.
        label: class asked for, int64, N.
    """

    number: Tensor
    label: Tensor
