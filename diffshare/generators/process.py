"""What a Gaussian noise process x_t = alpha(t) x + sigma(t) eps is: its levels, times and preconditioning.

Divided by alpha(t) each process adds noise of the ratio s = sigma(t) / alpha(t) to the record and does nothing else;
samplers work on y = x_t / alpha(t) and on falling ratios (Karras et al. 2022, section 2), whatever the process.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from diffshare.errors import UserError

Network = Callable[[Tensor, Tensor], Tensor]  # (scaled input, c_noise) -> raw output
Denoiser = Callable[[Tensor, float], Tensor]  # (y, ratio) -> E[x | y]
Tilt = Callable[[Tensor], Tensor]  # records in [-1, 1], N x ... -> log w(x), N, differentiable


class Preconditioning(NamedTuple):
    """D(x_t; t) = c_skip x_t + c_out F(c_in x_t; c_noise), F the network (Karras et al. 2022, eq. 7)."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor
    c_noise: Tensor


@dataclass
class Tilted:
    """A network that predicts records drawn with weights w(x), by the gradient of log w at what it predicts.

    Bayes' rule adds the gradient of log E[w(x) | x_t] to the score (Dhariwal & Nichol 2021, section 4, where w is
    P(y | x)^s); with x^ = E[x | x_t] that is about log w(x^) (Bansal et al. 2023, eq. 6), and the prediction moves by
    (sigma^2 / alpha) times its gradient to x_t (Tweedie's formula). It is exact where log w is linear and x Gaussian.

    The move is cut so that a prediction in [-1, 1] stays there, and left out where the noise is longer than the record
    (ratio above the root of its numbers): there the prediction says nothing of the record. It is added to the network's
    own output, bounded or not, so that a tilt of 0 changes nothing: where that output lies outside, a sampler that
    bounds its predictions takes some of the move back.

    Attributes:
        network: the network.
        tilt: log w.
        used: a sampler has asked for it; one that calls the network itself would not.
    """

    network: Network
    tilt: Tilt
    used: bool = False

    def __call__(self, inputs: Tensor, told: Tensor) -> Tensor:
        """The network's own output."""
        return self.network(inputs, told)

    def output(
        self, noisy: Tensor, scales: Preconditioning, alpha: Tensor, sigma: Tensor
    ) -> Tensor:
        """F that stands for the moved record.

        Args:
            noisy: x_t, N x ...
            scales: of the network at this time.
            alpha: share of the record in x_t.
            sigma: deviation of its noise.
        """
        self.used = True
        if (sigma > alpha * noisy[0].numel() ** 0.5).any():
            return self.network(_like(scales.c_in, noisy) * noisy, scales.c_noise)
        with torch.enable_grad():
            x = noisy.detach().requires_grad_()
            output = self.network(_like(scales.c_in, x) * x, scales.c_noise)
            clean = (_like(scales.c_skip, x) * x + _like(scales.c_out, x) * output).clamp(-1, 1)
            (slope,) = torch.autograd.grad(self.tilt(clean).sum(), x)
        clean = clean.detach()
        move = (clean + _like(sigma**2 / alpha, clean) * slope).clamp(-1, 1) - clean
        return output.detach() + move / _like(scales.c_out, move)


class Process:
    """Base of the processes.

    Args:
        largest: ratio s that sampling starts from.
        least: ratio s that it ends at.

    Raises:
        UserError: the two are not positive and falling.
    """

    def __init__(self, largest: float, least: float) -> None:
        if not 0 < least < largest < 1e6:
            raise UserError(
                f"noise levels that are not decreasing: from {largest:g} to {least:g}; the largest comes first, "
                "below a million, and the last is above 0"
            )
        self.largest, self.least = float(largest), float(least)

    # --- a process's own part ------------------------------------------------------------------------------------

    def levels(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and sigma at times, of the shape of ``time``."""
        raise NotImplementedError

    def time_at(self, ratio: Tensor) -> Tensor:
        """The time at which sigma / alpha is ``ratio``."""
        raise NotImplementedError

    def times(self, uniform: Tensor) -> Tensor:
        """Times of the training, from uniform numbers in [0, 1), rising."""
        raise NotImplementedError

    def precondition(self, time: Tensor) -> Preconditioning:
        """Scales of the network's input and output at times, each of the shape of ``time``."""
        raise NotImplementedError

    def ratios(self, steps: int) -> list[float]:
        """``steps`` falling ratios from ``largest`` to ``least`` in the spacing that the process's source uses."""
        raise NotImplementedError

    # --- shared --------------------------------------------------------------------------------------------------

    def add_noise(self, x: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """x_t of records at times. x, noise: N x ...; time: N."""
        alpha, sigma = (_like(level, x) for level in self.levels(time))
        return alpha * x + sigma * noise

    def output(self, network: Network, noisy: Tensor, time: Tensor) -> Tensor:
        """F(c_in x_t; c_noise): the network's raw output. noisy: N x ...; time: N or scalar."""
        scales = self.precondition(time)
        scales = scales._replace(c_noise=scales.c_noise.to(noisy.dtype))
        if isinstance(network, Tilted):
            return network.output(noisy, scales, *self.levels(time))
        return network(_like(scales.c_in, noisy) * noisy, scales.c_noise)

    def clean(self, noisy: Tensor, output: Tensor, time: Tensor) -> Tensor:
        """The record D(x_t; t) that a raw output stands for."""
        scales = self.precondition(time)
        return _like(scales.c_skip, noisy) * noisy + _like(scales.c_out, noisy) * output

    def target(self, x: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """The raw output that stands for the record ``x``: inverse of ``clean``."""
        scales = self.precondition(time)
        return (x - _like(scales.c_skip, noisy) * noisy) / _like(scales.c_out, noisy)

    def denoiser(self, network: Network) -> Denoiser:
        """E[x | y] at y = x_t / alpha and a ratio, as the samplers ask for it."""

        def denoise(y: Tensor, ratio: float) -> Tensor:
            time = self.time_at(torch.tensor(ratio, dtype=torch.float64))
            noisy = _like(self.levels(time)[0], y) * y
            return self.clean(noisy, self.output(network, noisy, time), time)

        return denoise


def _like(value: Tensor, x: Tensor) -> Tensor:
    """A number a record, or one for all, that multiplies N x ...; in the type of ``x``."""
    return value.to(x).reshape(-1, *[1] * (x.ndim - 1))
