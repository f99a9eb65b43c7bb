"""Small classifiers of images and of rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffshare.errors import UserError
from diffshare.nets.bounds import bounded


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm beside a shortcut; halves the resolution where ``stride`` is 2.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output, a multiple of 8.
        stride: 1 or 2.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
            # no running statistics: nothing to average, nothing to share over processes
            nn.GroupNorm(8, channels_out),
            nn.SiLU(),
            nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False),
            nn.GroupNorm(8, channels_out),
        )
        self.shortcut: Any = nn.Identity()
        if stride > 1 or channels_in != channels_out:
            self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """N x channels_in x H x W => N x channels_out x H/stride x W/stride."""
        return torch.nn.functional.silu(self.body(x) + self.shortcut(x))


class SmallResNet(nn.Module):
    """A residual network of four stages for images of 16 to 128 pixels.

    Args:
        classes: number of classes.
        in_channels: channels of the images.
        width: channels of the first stage, a multiple of 8; later stages have 2, 3 and 4 times as many.
        dropout: probability before the last layer.
    """

    def __init__(
        self, classes: int = 2, in_channels: int = 3, width: int = 24, dropout: float = 0.2
    ) -> None:
        super().__init__()
        bounded("network", 8, 2048, width=width)
        widths = [width, 2 * width, 3 * width, 4 * width]
        stages = [ResidualBlock(a, b, 2) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        self.body = nn.Sequential(nn.Conv2d(in_channels, width, 3, 1, 1), nn.SiLU(), *stages)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(widths[-1], classes))

    def features(self, x: Tensor) -> Tensor:
        """Images in [-1, 1], N x C x H x W => penultimate activations, N x 4 width."""
        return self.body(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Images in [-1, 1], N x C x H x W => logits, N x classes."""
        return self.head(self.features(x))


class LeNet(nn.Module):
    """The paper's receiver (Luo et al. 2024), for images of 32 x 32 pixels alone.

    Two 5x5 convolutions of 6 and 16 channels, then 400-100-20-classes. The paper's classifiers of a
    property are of the same shape with ``hidden`` 120, 50. An image of another size does not have
    400 features: 16 x 16 has 16 of them, which pooling to 5 x 5 would only copy.

    Args:
        classes: number of classes.
        in_channels: channels of the images.
        dropout: probability after each hidden layer.
        hidden: units of the two hidden layers.
    """

    SIZE = 32

    def __init__(
        self,
        classes: int = 2,
        in_channels: int = 3,
        dropout: float = 0.5,
        hidden: tuple[int, int] = (100, 20),
    ) -> None:
        super().__init__()
        first, last = hidden
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(400, first), nn.ReLU(), nn.Dropout(dropout), nn.Linear(first, last), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, classes))

    def features(self, x: Tensor) -> Tensor:
        """Images in [-1, 1], N x C x 32 x 32 => penultimate activations, N x 20.

        Raises:
            UserError: images of another size.
        """
        height, width = x.shape[-2:]
        if (height, width) != (self.SIZE, self.SIZE):
            raise UserError(
                f"LeNet is the paper's network for images of {self.SIZE} x {self.SIZE} pixels, these have {height} x "
                f"{width}: set the source's image_size to {self.SIZE}, or take diffshare.nets.classifiers.SmallResNet"
            )
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        """Images in [-1, 1], N x C x 32 x 32 => logits, N x classes; see :meth:`features`."""
        return self.head(self.features(x))


class TableMLP(nn.Module):
    """A perceptron over the rows of a table: standardised numbers, one-hot categories.

    ``fit_rows`` has to be called before anything else; what it learns is part of the state dict.

    Args:
        classes: number of classes.
        width: units of the two hidden layers.
        dropout: probability after each hidden layer.
    """

    def __init__(self, classes: int = 2, width: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        bounded("network", 1, 8192, width=width)
        self.classes, self.width, self.dropout = classes, width, dropout
        self.layers = nn.Sequential()
        self.columns: list[int] = []  # those seen
        self.sizes: list[int] = []
        self.mean: Tensor
        self.std: Tensor

    def fit_rows(self, rows: np.ndarray, sizes: Sequence[int], hidden: Sequence[int]) -> None:
        """Learn mean and spread of the numbers, and make the layers.

        Args:
            rows: training rows, float32, N x columns; NaN where a number is missing.
            sizes: number of categories of each column, 0 of a number.
            hidden: positions of columns that are not to be seen.
        """
        columns = [i for i in range(len(sizes)) if i not in set(hidden)]
        if columns == self.columns and self.sizes == [sizes[i] for i in columns]:
            return  # the layers are there, perhaps with weights
        self.columns, self.sizes = columns, [sizes[i] for i in columns]
        numbers = rows[:, [i for i in columns if not sizes[i]]].astype(np.float64)
        filled = ~np.isnan(numbers)
        count = np.maximum(filled.sum(0), 1)
        mean = np.where(filled, numbers, 0).sum(0) / count
        spread = np.sqrt(np.where(filled, (numbers - mean) ** 2, 0).sum(0) / count)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer(
            "std", torch.tensor(np.where(spread > 0, spread, 1.0), dtype=torch.float32)
        )
        features = sum(size or 2 for size in self.sizes)  # a number and whether it is missing
        units = [features, self.width, self.width]
        hidden_layers = [
            layer
            for a, b in zip(units[:-1], units[1:], strict=True)
            for layer in (nn.Linear(a, b), nn.SiLU(), nn.Dropout(self.dropout))
        ]
        self.layers = nn.Sequential(*hidden_layers, nn.Linear(self.width, self.classes))

    def encode(self, rows: Tensor) -> Tensor:
        """Rows, float32, N x columns => features, N x F; an outlier counts as 5 standard deviations.

        NaN is a missing number, and a category that the table does not know.
        """
        parts, number = [], 0
        for column, size in zip(self.columns, self.sizes, strict=True):
            cell = rows[:, column]
            if size:
                code = cell.nan_to_num(0.0).long().clamp(0, size - 1)
                parts.append(nn.functional.one_hot(code, size).float() * ~cell.isnan()[:, None])
                continue
            value = ((cell - self.mean[number]) / self.std[number]).clamp(-5, 5)
            parts.append(torch.stack([value.nan_to_num(0.0), cell.isnan().float()], 1))
            number += 1
        return torch.cat(parts, 1)

    def features(self, x: Tensor) -> Tensor:
        """Rows, float32, N x columns => penultimate activations, N x width."""
        return self.layers[:-1](self.encode(x))

    def forward(self, x: Tensor) -> Tensor:
        """Rows, float32, N x columns => logits, N x classes."""
        return self.layers(self.encode(x))
