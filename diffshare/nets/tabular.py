"""The denoiser of tables: a residual perceptron that is told the timestep and the class."""

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from diffshare.nets.bounds import bounded


class TableDenoiser(ModelMixin, ConfigMixin):
    """Maps a noisy row to what was asked for of each of its features.

    After the perceptron of Kotelnikov et al. (2023, section 3): timestep and class are embedded and added to the
    projected row. The hidden layers are residual with layer normalisation (Gorishniy et al. 2021, section 3.2), which
    trains faster.

    Args:
        features: numbers in a row, F.
        num_class_embeds: classes and one more for "no class"; None makes an unconditional network.
        width: units of a hidden layer.
        layers: residual layers.
        dropout: probability with which a hidden unit is dropped in training.
    """

    @register_to_config
    def __init__(
        self,
        features: int,
        num_class_embeds: int | None = None,
        width: int = 512,
        layers: int = 4,
        dropout: float = 0.0,
    ) -> None:
        bounded("denoiser", 1, 8192, width=width)
        bounded("denoiser", 0, 64, layers=layers)
        super().__init__()
        bounded("denoiser", 1, 8192, width=width)
        bounded("denoiser", 0, 64, layers=layers)
        self.frequencies = Timesteps(128, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time = TimestepEmbedding(128, width)
        self.label = None if num_class_embeds is None else nn.Embedding(num_class_embeds, width)
        self.enter = nn.Linear(features, width)
        self.hidden = nn.ModuleList(_layer(width, dropout) for _ in range(layers))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, features))

    def forward(self, x: Tensor, timesteps: Tensor, class_labels: Tensor | None = None) -> Tensor:
        """Prediction for each feature.

        Args:
            x: noisy rows, float32, N x F.
            timesteps: int64, N.
            class_labels: int64, N; None for an unconditional network.

        Returns:
            N x F.
        """
        told = self.time(self.frequencies(timesteps).to(x.dtype))
        if self.label is not None and class_labels is not None:
            told = told + self.label(class_labels)
        hidden = self.enter(x) + told
        for layer in self.hidden:
            hidden = hidden + layer(hidden)
        return self.leave(hidden)


def _layer(width: int, dropout: float) -> nn.Module:
    inner, outer = nn.Linear(width, width), nn.Linear(width, width)
    return nn.Sequential(nn.LayerNorm(width), inner, nn.SiLU(), nn.Dropout(dropout), outer)
