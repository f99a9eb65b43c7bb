"""Networks of a VAE of rows: perceptrons that are told the class."""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from diffshare.nets.bounds import bounded
from diffshare.nets.vae import LARGEST_LATENT, LOGVAR, embedding, told

CLASS_WIDTH = 16  # numbers that stand for a class
LOG_SCALE = (-5.0, 1.0)  # of normal scores


class RowEncoder(nn.Module):
    """Row and class to mean and log variance of the latent; arguments as of :class:`RowDecoder`."""

    def __init__(
        self,
        features: int,
        num_class_embeds: int | None,
        latent_dim: int,
        width: int,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.label = embedding(num_class_embeds, CLASS_WIDTH)
        entering = features + (0 if self.label is None else CLASS_WIDTH)
        self.layers = _perceptron(entering, width, layers, 2 * latent_dim, dropout)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Rows, N x F, and classes, int64, N => mean and log variance, float32, N x latent_dim each."""
        mean, logvar = self.layers(told(x, self.label, labels)).float().chunk(2, 1)
        return mean, logvar.clamp(*LOGVAR)


class RowDecoder(ModelMixin, ConfigMixin):
    """Latent and class to a distribution of rows: normal numbers, categories in logits.

    Args:
        features: numbers in a row, F: scores first, then a place for each category.
        numeric: how many of them are scores, D.
        num_class_embeds: classes and one more for "no class"; None makes an unconditional network.
        latent_dim: numbers in a latent.
        width: units of a hidden layer.
        layers: hidden layers.
        dropout: probability with which a hidden unit is dropped in training.
    """

    @register_to_config
    def __init__(
        self,
        features: int,
        numeric: int,
        num_class_embeds: int | None = None,
        latent_dim: int = 64,
        width: int = 256,
        layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        bounded("network", 1, LARGEST_LATENT, latent_dim=latent_dim)
        bounded("network", 1, 8192, width=width)
        bounded("network", 0, 64, layers=layers)
        self.label = embedding(num_class_embeds, CLASS_WIDTH)
        entering = latent_dim + (0 if self.label is None else CLASS_WIDTH)
        self.body = _perceptron(entering, width, layers, features, dropout)
        self.log_scale = nn.Parameter(torch.full((numeric,), -1.0))

    def forward(
        self, latents: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The distribution of each row.

        Args:
            latents: float32, N x latent_dim.
            labels: int64, N; None for an unconditional network.

        Returns:
            means of the scores, float32, N x D; their log deviations, D; logits of the categories, N x (F - D).
        """
        output = self.body(told(latents, self.label, labels)).float()
        numeric = len(self.log_scale)
        return output[:, :numeric], self.log_scale.clamp(*LOG_SCALE), output[:, numeric:]


class RowVAE(nn.Module):
    """An encoder and the decoder that mirrors it; arguments as of :class:`RowDecoder`."""

    def __init__(
        self,
        features: int,
        numeric: int,
        num_class_embeds: int | None,
        latent_dim: int = 64,
        width: int = 256,
        layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.decoder = RowDecoder(
            features, numeric, num_class_embeds, latent_dim, width, layers, dropout
        )
        self.encoder = RowEncoder(features, num_class_embeds, latent_dim, width, layers, dropout)


def _perceptron(
    entering: int, width: int, layers: int, leaving: int, dropout: float
) -> nn.Sequential:
    widths = [entering, *[width] * layers]
    hidden = [
        layer
        for a, b in zip(widths[:-1], widths[1:], strict=True)
        for layer in (nn.Linear(a, b), nn.SiLU(), nn.Dropout(dropout))
    ]
    return nn.Sequential(*hidden, nn.Linear(widths[-1], leaving))
