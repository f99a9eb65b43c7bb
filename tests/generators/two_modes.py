"""A two-mode Gaussian mixture in two dimensions: the exact answer for every noise level, and a comparison with it."""

from collections.abc import Callable

import torch
from torch import Tensor

from diffshare.generators.process import Network, Process

WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)
MEANS = torch.tensor([[-0.5, 0.3], [0.4, -0.4]], dtype=torch.float64)
COVARIANCES = torch.tensor(
    [[[0.010, 0.006], [0.006, 0.010]], [[0.020, -0.003], [-0.003, 0.005]]], dtype=torch.float64
)


def draw(count: int, seed: int = 0) -> Tensor:
    """Records of the mixture, float64, count x 2."""
    generator = torch.Generator().manual_seed(seed)
    mode = torch.multinomial(WEIGHTS, count, replacement=True, generator=generator)
    noise = torch.randn(count, 2, 1, dtype=torch.float64, generator=generator)
    return MEANS[mode] + (torch.linalg.cholesky(COVARIANCES)[mode] @ noise)[..., 0]


def denoise(y: Tensor, sigma: float) -> Tensor:
    """E[x | y] of y = x + sigma eps, in any shape of two numbers a record."""
    flat = y.double().reshape(-1, 2)
    means, logs = [], []
    for weight, mean, covariance in zip(WEIGHTS, MEANS, COVARIANCES, strict=True):
        total = covariance + sigma**2 * torch.eye(2, dtype=torch.float64)
        away = flat - mean
        pulled = torch.linalg.solve(total, away.T).T
        means.append(mean + pulled @ covariance)
        logs.append(weight.log() - torch.logdet(total) / 2 - (away * pulled).sum(1) / 2)
    shares = torch.stack(logs).softmax(0)
    return (shares[:, :, None] * torch.stack(means)).sum(0).reshape(y.shape).to(y.dtype)


def network_of(
    process: Process,
    time_of: Callable[[Tensor], Tensor],
    denoised: Callable[[Tensor, float], Tensor] = denoise,
) -> Network:
    """The perfect network of a process: its raw output stands for E[x | x_t] at every time.

    Args:
        process: the process.
        time_of: the time, from what the network is told of it.
        denoised: what it denoises to.
    """

    def network(inputs: Tensor, told: Tensor) -> Tensor:
        time = time_of(told.double())
        noisy = inputs.double() / process.precondition(time).c_in
        alpha, sigma = process.levels(time)
        return process.target(denoised(noisy / alpha, float(sigma / alpha)), noisy, time).to(
            inputs.dtype
        )

    return network


def normal(count: int, seed: int = 1) -> Callable[[], Tensor]:
    """Standard normal noise for ``count`` records, float64, new at every call."""
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(count, 1, 1, 2, dtype=torch.float64, generator=generator)


def check(x: Tensor, errors: float = 4.0, bias: float = 0.0) -> None:
    """Mode weights, means and covariances agree within standard errors of the sampling and a bias of the sampler.

    Args:
        x: samples, two numbers each.
        errors: how many standard errors.
        bias: in weights; of deviations in means; relative in covariances (against the product of the deviations).
    """
    flat = x.double().reshape(-1, 2)
    mode = torch.cdist(flat, MEANS).argmin(1)  # the modes are ten deviations apart
    for k, (weight, mean, covariance) in enumerate(zip(WEIGHTS, MEANS, COVARIANCES, strict=True)):
        part = flat[mode == k]
        n, deviation = len(part), covariance.diagonal().sqrt()
        off = (n / len(flat) - weight).abs()
        assert off < errors * (weight * (1 - weight) / len(flat)).sqrt() + bias, (
            f"weight {k}: {n / len(flat):.4f}"
        )
        off = (part.mean(0) - mean).abs() / deviation
        assert off.max() < errors / n**0.5 + bias, f"mean {k}: {part.mean(0)}"
        off = (part.T.cov() - covariance).abs() / torch.outer(deviation, deviation)
        assert off.max() < errors * (2 / n) ** 0.5 + bias, f"covariance {k}: {part.T.cov()}"
