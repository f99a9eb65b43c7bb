"""Permutation-invariant networks of sets."""

from typing import Any

import torch
from torch import Tensor, nn

_LEAST = 1e-6  # of a variance whose root is taken


class MomentSets(nn.Module):
    """DeepSets with moment pooling: rho(moments of phi(x) over the set's members).

    Deep Sets: Zaheer et al. 2017 (arXiv 1703.06114), here with means and central moments of the members instead of
    their sum, so that sets of different size give values of one scale.

    Args:
        features: D, of each member.
        hidden: width of phi and rho.
        moments: 1 pools means, 2 also standard deviations, 3 also the cube root of the third central moments.
        outputs: of a set.
        dropout: probability after the pooling.
    """

    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        features: int,
        hidden: int = 32,
        moments: int = 2,
        outputs: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if features < 1 or hidden < 1 or not 1 <= moments <= 3:
            raise ValueError(
                f"features {features} and hidden {hidden} must be 1 or more, moments {moments} 1 to 3"
            )
        self.moments = moments
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.phi = nn.Sequential(nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        pooled = moments * hidden
        self.rho = nn.Sequential(
            nn.LayerNorm(pooled),
            nn.Dropout(dropout),
            nn.Linear(pooled, hidden),
            nn.SiLU(),
            nn.Linear(hidden, outputs),
        )

    @torch.no_grad()
    def fit_scale(self, members: Tensor) -> None:
        """Standardise by the mean and standard deviation of these members, N x D."""
        self.centre.copy_(members.mean(0))
        self.scale.copy_(members.std(0).clamp_min(_LEAST))

    def forward(self, x: Tensor) -> Tensor:
        """Sets of members, N x M x D with M >= 1, => N x outputs; the order of members is of no matter."""
        embedded: Any = self.phi((x - self.centre) / self.scale)
        mean = embedded.mean(1)
        pooled = [mean]
        if self.moments > 1:
            pooled.append(embedded.var(1, correction=0).add(_LEAST).sqrt())
        if self.moments > 2:
            third = (embedded - mean[:, None]).pow(3).mean(1)
            pooled.append(third.sign() * (third.abs() + _LEAST).pow(1 / 3))
        return self.rho(torch.cat(pooled, 1))
