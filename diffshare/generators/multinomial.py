"""Multinomial diffusion (Hoogeboom et al. 2021, arXiv 2102.05379) on several categorical columns at once.

The columns' categories stand side by side: column j with K_j categories takes K_j places of a row of F = sum K_j.
Probabilities are kept as logarithms. ``bar`` is the cumulated alpha of a timestep, ``bar_t`` of the noisier one and
``bar_s`` of a less noisy one, s < t, not necessarily t - 1; ``bar_s`` 1 is the clean row.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

TINY = 1e-30  # stands for a probability of 0


class Categories:
    """The layout of the columns' categories in a row.

    Args:
        sizes: number of categories K_j of each of the J columns.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = list(sizes)
        self.width = sum(sizes)
        self.starts = torch.tensor([0, *accumulate(sizes)][:-1], dtype=torch.int64)
        self.log_sizes = torch.tensor(
            [k for k in sizes for _ in range(k)], dtype=torch.float64
        ).log()

    def one_hot(self, codes: Tensor) -> Tensor:
        """Codes (int64, N x J) as zeros and ones (float32, N x F)."""
        x = torch.zeros(len(codes), self.width, device=codes.device)
        return x.scatter_(1, codes + self.starts.to(codes.device), 1.0)

    def normalise(self, log: Tensor) -> Tensor:
        """Subtract the logarithm of each column's sum (N x F)."""
        if not self.sizes:
            return log
        return torch.cat([column.log_softmax(1) for column in log.split(self.sizes, 1)], 1)

    def draw(self, log_p: Tensor, uniform: Tensor) -> Tensor:
        """The category whose interval of the cumulated probabilities holds the uniform number.

        A category of probability 0 has an empty interval and is never drawn.

        Args:
            log_p: normalised, N x F.
            uniform: in (0, 1), N x J.

        Returns:
            int64, N x J.
        """
        codes = torch.zeros(uniform.shape, dtype=torch.int64, device=log_p.device)
        for j, column in enumerate(log_p.exp().double().split(self.sizes, 1) if self.sizes else ()):
            total = column.cumsum(1)
            codes[:, j] = torch.searchsorted(
                total, uniform[:, j : j + 1] * total[:, -1:], right=True
            )[:, 0]
        return torch.minimum(
            codes, torch.tensor(self.sizes, dtype=torch.int64, device=codes.device) - 1
        )


def log_forward(categories: Categories, log_x: Tensor, bar: Tensor) -> Tensor:
    """Log of q(x_t | x_0) = bar x_0 + (1 - bar) / K (eq. 11 and 12).

    Args:
        categories: the layout.
        log_x: log of x_0's probabilities (of zeros and ones: 0 and log ``TINY``), N x F.
        bar: cumulated alpha, N x 1, best in float64: of 1 - bar little is left in float32.

    Returns:
        N x F.
    """
    stay, leave = (p.double().clamp_min(TINY).log() for p in (bar, 1 - bar))
    noise = leave - categories.log_sizes.to(log_x.device)
    return torch.logaddexp(log_x + stay.to(log_x.dtype), noise.to(log_x.dtype))


def log_posterior(
    categories: Categories, log_x: Tensor, noisy: Tensor, bar_s: Tensor, bar_t: Tensor
) -> Tensor:
    """Log of q(x_s | x_t, x_0), proportional to q(x_t | x_s) q(x_s | x_0) (eq. 13 and 14, for any s < t).

    With the network's probabilities in place of x_0 it is the model's p(x_s | x_t). The best such probabilities are
    proportional to p(x_0 | x_t) / q(x_t | x_0), which does not depend on s: a network that was trained with s = t - 1
    is right for longer strides too.

    Args:
        categories: the layout.
        log_x: log of x_0's probabilities, N x F.
        noisy: x_t as zeros and ones, N x F.
        bar_s: cumulated alpha of s, N x 1.
        bar_t: cumulated alpha of t, N x 1.

    Returns:
        normalised, N x F.
    """
    # q(x_t | x_s) as a function of x_s: the chance to stay is symmetric, so it is the forward step of x_t
    seen = log_forward(categories, noisy.clamp_min(TINY).log(), bar_t / bar_s)
    return categories.normalise(seen + log_forward(categories, log_x, bar_s))


def divergence(log_q: Tensor, log_p: Tensor) -> Tensor:
    """Kullback-Leibler divergence of p from q, summed over all columns, in nats (N x F to N).

    Where q is the clean row (s = 0) it is minus the log-likelihood of that row, the last term of the bound (eq. 8).
    """
    return (log_q.exp() * (log_q - log_p)).sum(1)
