"""Samplers as plain functions: of a denoiser or a slope, a start and falling levels.

``denoise(y, sigma)`` is E[x | y] for y = x + sigma eps; the score of y is (denoise(y, sigma) - y) / sigma^2.
``normal()`` draws standard normal noise of y's shape, for each sample from its own stream.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from diffshare.generators.process import Denoiser

Slope = Callable[[Tensor, float], Tensor]  # (x, t) -> dx/dt
Normal = Callable[[], Tensor]
Bound = Callable[[Denoiser], Denoiser]  # what becomes of a denoiser before a sampler has it
CORRECTION = 0.16  # r of the corrector, "signal-to-noise ratio" (Song et al. 2021, table 5)


def bounded(denoise: Denoiser) -> Denoiser:
    """A denoiser of records in [-1, 1], kept there, as E[x | y] is whatever y.

    Where a network predicts noise, its error comes back multiplied by sigma: without this, one that was trained briefly
    drives samples to the ends of the range from the first steps on. The samplers' sources do not do it.
    """
    return lambda y, sigma: denoise(y, sigma).clamp(-1, 1)


def flow_slope(denoise: Denoiser) -> Slope:
    """Probability flow: dy/dsigma = (y - denoise(y, sigma)) / sigma (Karras et al. 2022, eq. 3)."""
    return lambda y, sigma: (y - denoise(y, sigma)) / sigma


def euler(slope: Slope, x: Tensor, times: Sequence[float]) -> Tensor:
    """Euler's method for dx/dt = slope along ``times``: one call a step."""
    for now, then in zip(times, times[1:], strict=False):
        x = x + (then - now) * slope(x, now)
    return x


def heun(slope: Slope, x: Tensor, times: Sequence[float]) -> Tensor:
    """Heun's method (Karras et al. 2022, algorithm 1): two calls a step, one where it ends at time 0."""
    for now, then in zip(times, times[1:], strict=False):
        here = slope(x, now)
        there = x + (then - now) * here
        x = x + (then - now) / 2 * (here + slope(there, then)) if then else there
    return x


def stochastic_heun(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    normal: Normal,
    *,
    churn: float = 40.0,
    low: float = 0.05,
    high: float = 50.0,
    inflate: float = 1.003,
) -> Tensor:
    """Heun's method that first adds fresh noise at each step (Karras et al. 2022, algorithm 2).

    Args:
        denoise: see above.
        x: start, of deviation ``sigmas[0]``.
        sigmas: falling; the last may be 0.
        normal: see above.
        churn: S_churn: how much noise.
        low: S_tmin: lowest level at which it is added.
        high: S_tmax: highest level at which it is added.
        inflate: S_noise: its deviation.
    """
    slope, steps = flow_slope(denoise), len(sigmas) - 1
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        gamma = min(churn / steps, math.sqrt(2) - 1) if low <= now <= high else 0.0
        raised = now * (1 + gamma)
        if gamma:
            x = x + math.sqrt(raised**2 - now**2) * inflate * normal()
        x = heun(slope, x, [raised, then])
    return x


def euler_maruyama(denoise: Denoiser, y: Tensor, sigmas: Sequence[float], normal: Normal) -> Tensor:
    """Reverse-time SDE dy = -(d sigma^2/dt) score dt + sqrt(d sigma^2/dt) dw (Song et al. 2021, eq. 6).

    One call a level; the last one denoises.
    """
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        variance = now**2 - then**2
        y = y + variance / now**2 * (denoise(y, now) - y) + math.sqrt(variance) * normal()
    return denoise(y, sigmas[-1])


def predictor_corrector(
    denoise: Denoiser, y: Tensor, sigmas: Sequence[float], normal: Normal, ratio: float = CORRECTION
) -> Tensor:
    """Ancestral predictor and Langevin corrector (Song et al. 2021, algorithms 1 and 2).

    The corrector's step is 2 (ratio sigma)^2: Song et al.'s 2 (ratio |z| / |score|)^2 with the norms' expectations,
    since their mean over the batch would make a sample depend on the others.
    Two calls a level; the last one denoises.
    """
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        kept = (then / now) ** 2
        y = y + (1 - kept) * (denoise(y, now) - y) + then * math.sqrt(1 - kept) * normal()
        y = _langevin(denoise, y, then, 2 * ratio**2, normal)
    return denoise(y, sigmas[-1])


def annealed_langevin(
    denoise: Denoiser, y: Tensor, sigmas: Sequence[float], normal: Normal, repeats: int, step: float
) -> Tensor:
    """Langevin dynamics at each level in turn (Song & Ermon 2020, algorithm 1), then the denoising last step.

    Args:
        denoise: see above.
        y: start.
        sigmas: falling.
        normal: see above.
        repeats: T, steps at each level.
        step: epsilon / sigma_L^2, see :func:`langevin_step`.
    """
    for sigma in sigmas:
        for _ in range(repeats):
            y = _langevin(denoise, y, sigma, step, normal)
    return denoise(y, sigmas[-1])


def _langevin(denoise: Denoiser, y: Tensor, sigma: float, step: float, normal: Normal) -> Tensor:
    """Y + a score + sqrt(2 a) z with a = step sigma^2."""
    return y + step * (denoise(y, sigma) - y) + math.sqrt(2 * step) * sigma * normal()


def langevin_step(gamma: float, repeats: int) -> float:
    """Epsilon / sigma_L^2 that keeps the noise at every level nearest to the deviation which the network expects.

    T steps of size e = epsilon / sigma_L^2 turn a variance v, in units of the level's, into rho v + q (1 - rho) with
    rho = (1 - e)^2T and q = 2 / (2 - e); at the next level it counts gamma^2 times as much. Technique 4 of Song & Ermon
    2020 brings the result of v = gamma^2 as near to 1 as can be, as if the level before had ended with 1. It did not:
    with T = 1 the excess adds up to v = 2. So what is minimised here is the v that a long chain settles at,
    q (1 - rho) / (1 - rho gamma^2).

    Args:
        gamma: ratio of one level to the next, > 1.
        repeats: T.
    """
    e = np.geomspace(1e-7, 0.99, 4000)
    rho, q = (1 - e) ** (2 * repeats), 2 / (2 - e)
    settles = rho * gamma**2 < 1
    v = np.where(settles, q * (1 - rho) / np.where(settles, 1 - rho * gamma**2, 1), np.inf)
    return float(e[np.argmin(v)])


def geometric_count(largest: float, least: float, dimension: int) -> int:
    """How many geometric levels make neighbouring ones overlap by half (Song & Ermon 2020, technique 2).

    The ratio gamma solves Phi(sqrt(2D)(gamma - 1) + 3 gamma) - Phi(sqrt(2D)(gamma - 1) - 3 gamma) = 0.5.

    Args:
        largest: the first level.
        least: the last level.
        dimension: D, numbers in a record.
    """

    def overlap(gamma: float) -> float:
        shift = math.sqrt(2 * dimension) * (gamma - 1)
        return (
            math.erf((shift + 3 * gamma) / math.sqrt(2))
            - math.erf((shift - 3 * gamma) / math.sqrt(2))
        ) / 2

    low, high = 1.0, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if overlap(middle) > 0.5 else (low, middle)
    return max(2, math.ceil(math.log(largest / least) / math.log(high)) + 1)
