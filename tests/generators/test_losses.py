"""The losses of the score families against their papers' formulas."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

from diffshare.generators.losses import edm_loss, flow_loss, noise_loss
from diffshare.generators.processes import (
    Elucidated,
    NoiseLevels,
    Rectified,
    VarianceExploding,
    VariancePreserving,
)

EDM = Elucidated(80.0, 0.002, 0.5)


class Remembers(nn.Module):
    """A network whose output is a function of its input and what it is told; keeps both."""

    def __init__(self, answer: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, t: Tensor, class_labels: Tensor | None) -> UNet2DOutput:
        self.x, self.t, self.labels = x, t, class_labels
        return UNet2DOutput(sample=self.answer(x, t))


def batch(n: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(n, 3, 4, 4, generator=generator) for _ in range(2))
    return 0.5 * x, noise, torch.rand(n, generator=generator)


@pytest.mark.parametrize(
    ("loss", "process"),
    [
        (noise_loss, NoiseLevels([10.0, 1.0, 0.1])),
        (noise_loss, VarianceExploding(50.0, 0.01, 1e-5)),
        (noise_loss, VariancePreserving(0.1, 20.0, 1e-3)),
        (flow_loss, Rectified()),
        (edm_loss, EDM),
    ],
)
def test_the_loss_is_0_where_the_record_is_found_and_its_targets_square_where_nothing_is(
    loss: Any, process: Any
) -> None:
    x, noise, uniform = batch()
    times, labels = process.times(uniform), torch.arange(len(x))
    target = process.target(x.double(), process.add_noise(x, noise, times).double(), times)
    finds, nothing = (
        Remembers(lambda *_: target.float()),
        Remembers(lambda inputs, _: torch.zeros_like(inputs)),
    )
    assert loss(finds, process, x, labels, noise, times).max() < 1e-3
    expected = target.square().flatten(1).mean(1).float()
    torch.testing.assert_close(
        loss(nothing, process, x, labels, noise, times), expected, rtol=1e-2, atol=1e-3
    )
    assert finds.labels is labels
    assert loss(nothing, process, x, None, noise, times).shape == (len(x),)
    assert nothing.labels is None


def test_the_edm_loss_is_the_weighted_error_of_the_denoised_record() -> None:
    x, noise, uniform = batch()
    sigma = EDM.times(uniform)
    network = Remembers(lambda inputs, told: torch.sin(3 * inputs) + told.reshape(-1, 1, 1, 1))
    s = sigma.reshape(-1, 1, 1, 1)
    noisy, total = x + s * noise, s**2 + 0.25
    raw = torch.sin(3 * noisy / total.sqrt()) + s.log() / 4
    denoised = 0.25 / total * noisy + s * 0.5 / total.sqrt() * raw
    weight = total / (s * 0.5) ** 2  # lambda(sigma), table 1
    expected = (weight * (denoised - x).square()).flatten(1).mean(1)
    torch.testing.assert_close(
        edm_loss(network, EDM, x, None, noise, sigma), expected, rtol=1e-4, atol=1e-4
    )


def test_the_score_loss_is_sigma_squared_times_the_error_of_the_score() -> None:
    process = VarianceExploding(50.0, 0.01, 1e-5)
    x, noise, uniform = batch()
    times = process.times(uniform)
    network = Remembers(lambda inputs, _: torch.cos(inputs))
    sigma = (0.01 * (50 / 0.01) ** times).reshape(-1, 1, 1, 1)
    noisy = x + sigma * noise
    score = -torch.cos(noisy / (1 + sigma**2).sqrt()) / sigma
    wanted = -(noisy - x) / sigma**2  # of the Gaussian that noised the record
    expected = (sigma**2 * (score - wanted).square()).flatten(1).mean(1)
    torch.testing.assert_close(
        noise_loss(network, process, x, None, noise, times), expected, rtol=1e-3, atol=1e-3
    )
