"""Guidance by a gradient: exact for Gaussian records and a linear log weight, whatever the network predicts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    ScoreSdeVeScheduler,
)
from test_diffusion import Exact, tiny
from torch import Tensor

from diffshare.errors import UserError
from diffshare.generators import edm, sde
from diffshare.generators.diffusion import (
    Sampler,
    noise_streams,
    sample_diffusion,
    sampling_scheduler,
)
from diffshare.generators.edm import EDM
from diffshare.generators.flow import Flow
from diffshare.generators.ncsn import NCSN, NoiseLevelsScheduler
from diffshare.generators.process import Network, Process, Tilted
from diffshare.generators.processes import TICKS, Rectified
from diffshare.generators.sde import SDE, BetaSdeScheduler

COUNT, NUMBERS = 2000, 64
MEAN = torch.linspace(-0.2, 0.2, NUMBERS, dtype=torch.float64)
COVARIANCE = 0.01 * torch.eye(NUMBERS, dtype=torch.float64) + 0.001
WEIGHT = 8 * (torch.arange(NUMBERS) == 3).double() - 5 * (torch.arange(NUMBERS) == 40).double()


def network_of(process: Process, time_of: Callable[[Tensor], Tensor]) -> Network:
    """The perfect network of a process for records of N(MEAN, COVARIANCE); see ``two_modes``."""
    values, vectors = torch.linalg.eigh(COVARIANCE)

    def network(inputs: Tensor, told: Tensor) -> Tensor:
        time = time_of(told.double())
        noisy = inputs.double() / process.precondition(time).c_in
        alpha, sigma = process.levels(time)
        pull = vectors * (alpha * values / (alpha**2 * values + sigma**2)) @ vectors.T
        clean = MEAN + (noisy - alpha * MEAN) @ pull
        return process.target(clean, noisy, time).to(inputs.dtype)

    return network


EDM_SCHEDULER = EDMEulerScheduler(sigma_min=0.002, sigma_max=20.0, sigma_data=0.5)
VE, VP = ScoreSdeVeScheduler(sigma_max=20.0, sigma_min=0.005), BetaSdeScheduler()
SUB_VP, LEVELS = BetaSdeScheduler("sub_vp"), NoiseLevelsScheduler(20.0, 0.01, 200)
FLOW = FlowMatchEulerDiscreteScheduler()
CASES: dict[str, tuple[Process, Callable[[Tensor], Tensor], Sampler]] = {
    "edm": (
        edm.process_of(EDM_SCHEDULER),
        lambda told: torch.exp(4 * told),
        EDM.sampler(EDM_SCHEDULER),
    ),
    "ve": (sde.process_of(VE), lambda told: told / TICKS, SDE.sampler(VE, "probability_flow")),
    "vp": (sde.process_of(VP), lambda told: told / TICKS, SDE.sampler(VP, "probability_flow")),
    "sub_vp": (
        sde.process_of(SUB_VP),
        lambda told: told / TICKS,
        SDE.sampler(SUB_VP, "probability_flow"),
    ),
    "ncsn": (
        LEVELS.process(NUMBERS),
        lambda told: told.long(),
        NCSN.sampler(LEVELS, "probability_flow"),
    ),
    "flow": (Rectified(), lambda told: told / 1000, Flow.sampler(FLOW)),
}


def linear(x: Tensor) -> Tensor:
    return x.flatten(1).double() @ WEIGHT


@pytest.mark.parametrize("name", CASES)
def test_gaussian_records_with_a_linear_log_weight_are_moved_by_the_covariance_times_it(
    name: str,
) -> None:
    process, time_of, sampler = CASES[name]
    generator = torch.Generator().manual_seed(1)

    def normal() -> Tensor:
        return torch.randn(COUNT, 1, 1, NUMBERS, dtype=torch.float64, generator=generator)

    with torch.no_grad():
        x = sampler(Tilted(network_of(process, time_of), linear), normal, 59).flatten(1)
    # standard error of a mean 0.0024; the tilt is left out where the noise is above 8, and the last step denoises
    torch.testing.assert_close(x.mean(0), MEAN + COVARIANCE @ WEIGHT, atol=0.01, rtol=0)
    torch.testing.assert_close(x.std(0), COVARIANCE.diagonal().sqrt(), atol=0.01, rtol=0)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", [None, "DDIMScheduler"])
def test_a_ddpm_is_tilted_at_its_trained_levels(kind: str, name: str | None) -> None:
    trained = DDPMScheduler(prediction_type=kind, clip_sample=False)
    exact, labels = Exact(trained, deviation=0.1, means=[-0.4, 0.3]), torch.arange(400) % 2
    sampler = sampling_scheduler(trained, name)
    x = sample_diffusion(exact, sampler, (1, 4, 4), labels, noise_streams(0, np.arange(400)), steps=200,
                         tilt=lambda x: 12 * x.flatten(1).sum(1))  # fmt: skip
    for label, mean in ((0, -0.4), (1, 0.3)):
        assert x[labels == label].mean().item() == pytest.approx(mean + 12 * 0.1**2, abs=0.012)
        assert x[labels == label].std().item() == pytest.approx(0.1, abs=0.01)


def sampled(tilt: Any, sampler: Any = None) -> Tensor:
    network, labels = tiny(), torch.arange(6) % 2
    sampler = sampler or sampling_scheduler(DDPMScheduler())
    options: dict[str, Any] = {"steps": 3, "guidance": 2.0, "null_label": 2, "tilt": tilt}
    return sample_diffusion(
        network, sampler, (3, 8, 8), labels, noise_streams(0, np.arange(6)), **options
    )


def test_a_weight_that_is_the_same_everywhere_changes_nothing() -> None:
    calls = []

    def level(x: Tensor) -> Tensor:
        calls.append(len(x))
        assert x.abs().max() <= 1
        return 0 * x.flatten(1).sum(1)

    assert torch.equal(sampled(level), sampled(None))
    assert calls == [6, 6]  # of three steps; in the first the noise is longer than any record
    assert not torch.equal(sampled(lambda x: 5 * x.flatten(1).sum(1)), sampled(None))


@pytest.mark.parametrize("name", CASES)
def test_a_prediction_stays_in_range_however_strong_the_weight(name: str) -> None:
    process, time_of, _ = CASES[name]
    time = process.time_at(torch.tensor(0.5, dtype=torch.float64))
    noisy = process.levels(time)[0] * torch.randn(20, 1, 1, NUMBERS, dtype=torch.float64)
    tilted = Tilted(network_of(process, time_of), lambda x: 1e6 * x.flatten(1).double().sum(1))
    moved = process.clean(noisy, process.output(tilted, noisy, time), time)
    free = process.clean(noisy, process.output(tilted.network, noisy, time), time)
    inside = free.abs() <= 1
    assert inside.any()
    torch.testing.assert_close(moved[inside], torch.ones_like(moved[inside]), atol=1e-4, rtol=0)


def test_a_sampler_that_calls_its_network_itself_is_refused() -> None:
    with pytest.raises(UserError, match="cannot be guided"):
        sampled(
            lambda x: x.flatten(1).sum(1),
            lambda network, normal, steps: network(normal(), torch.tensor(1)),
        )
    assert torch.isfinite(
        sampled(None, lambda network, normal, steps: network(normal(), torch.tensor(1)))
    ).all()
