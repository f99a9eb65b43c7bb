"""Rectified flow: its samplers with a perfect network, there and back, what it refuses."""

import pytest
import torch
import two_modes
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

from diffshare.errors import UserError
from diffshare.generators.flow import Flow, shifted, velocity
from diffshare.generators.processes import Rectified
from diffshare.generators.samplers import heun

SCHEDULER = FlowMatchEulerDiscreteScheduler()


def network(inputs: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """The perfect network: the mean of eps - x behind x_t. At time 1 nothing is known of x."""
    time = min(float(told) / 1000, 1 - 1e-6)
    clean = two_modes.denoise(inputs / (1 - time), time / (1 - time))
    return (inputs - clean) / time  # x_t = (1 - t) x + t eps


def test_the_perfect_network_is_the_one_of_the_process() -> None:
    other = two_modes.network_of(Rectified(), lambda told: told / 1000)
    x = two_modes.normal(50)()
    for told in (10.0, 500.0, 990.0):
        torch.testing.assert_close(network(x, torch.tensor(told)), other(x, torch.tensor(told)))


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(("name", "steps"), [("heun", 299), ("euler", 600)])
def test_the_samplers_reach_the_mixture(name: str, steps: int, shift: float) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    two_modes.check(
        Flow.sampler(scheduler, name)(network, two_modes.normal(3000), steps), bias=0.04
    )


def test_the_flow_there_and_back_again() -> None:
    x = two_modes.draw(500).reshape(-1, 1, 1, 2)
    times = [1e-4 + (1 - 2e-4) * t for t in shifted(400, 1.0)]
    up = heun(velocity(network), x, times[::-1])
    assert up.std().item() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(heun(velocity(network), up, times), x, atol=2e-3, rtol=0)


def test_shift_keeps_the_ends_and_moves_the_middle_towards_the_noise() -> None:
    for shift in (1.0, 3.0):
        times = shifted(10, shift)
        assert (times[0], times[-1], len(times)) == (1.0, 0.0, 11)
        assert all(later < earlier for earlier, later in zip(times, times[1:], strict=False))
    assert shifted(2, 3.0)[1] == pytest.approx(0.75)


@pytest.mark.parametrize("name", ["heun", "euler"])
@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_no_more_network_calls_than_asked_for(name: str, steps: int) -> None:
    calls = []

    def counted(inputs: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        calls.append(float(told))
        return network(inputs, told)

    assert torch.isfinite(Flow.sampler(SCHEDULER, name)(counted, two_modes.normal(3), steps)).all()
    assert max(1, steps - 1) <= len(calls) <= steps


@pytest.mark.parametrize(
    ("scheduler", "named"),
    [
        (FlowMatchEulerDiscreteScheduler(shift=0.0), "shift is 0"),
        (DDPMScheduler(), "FlowMatchEulerDiscreteScheduler"),
    ],
)
def test_settings_that_make_no_flow_are_refused(scheduler, named: str) -> None:
    with pytest.raises(UserError, match=named):
        Flow.sampler(scheduler)
