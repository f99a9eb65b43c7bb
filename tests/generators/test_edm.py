"""EDM: its samplers and those of diffusers with a perfect network, what it refuses."""

import numpy as np
import pytest
import torch
import two_modes
from diffusers import DDPMScheduler, EDMEulerScheduler
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

from diffshare.errors import UserError
from diffshare.generators.diffusion import noise_streams, sample_diffusion
from diffshare.generators.edm import EDM, process_of

SCHEDULER = EDMEulerScheduler(sigma_max=20.0, sigma_min=0.005)
NETWORK = two_modes.network_of(process_of(SCHEDULER), lambda told: torch.exp(4 * told))


class Perfect(nn.Module):
    """The perfect network behind diffusers' interface."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x: Tensor, t: Tensor, class_labels: Tensor | None) -> UNet2DOutput:
        return UNet2DOutput(sample=NETWORK(x, t))


@pytest.mark.parametrize(("name", "steps"), [("heun", 79), ("stochastic_heun", 199)])
def test_the_samplers_reach_the_mixture(name: str, steps: int) -> None:
    made = EDM.sampler(SCHEDULER, name)(NETWORK, two_modes.normal(6000), steps)
    two_modes.check(made, bias=0.02 if name == "heun" else 0.05)


@pytest.mark.parametrize(
    ("name", "steps"), [("EDMEulerScheduler", 200), ("EDMDPMSolverMultistepScheduler", 60)]
)
def test_the_schedulers_of_diffusers_agree_with_heun(name: str, steps: int) -> None:
    streams, shape = noise_streams(0, np.arange(40)), (1, 1, 2)
    made = sample_diffusion(
        Perfect(), EDM.sampler(SCHEDULER, name), shape, None, streams, steps=steps
    )
    streams = noise_streams(0, np.arange(40))
    heun = sample_diffusion(Perfect(), EDM.sampler(SCHEDULER), shape, None, streams, steps=99)
    assert (made - heun).abs().median() < 0.01


@pytest.mark.parametrize("name", ["heun", "stochastic_heun"])
@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_no_more_network_calls_than_asked_for(name: str, steps: int) -> None:
    calls = []

    def network(inputs: Tensor, told: Tensor) -> Tensor:
        calls.append(float(told))
        return NETWORK(inputs, told)

    assert torch.isfinite(EDM.sampler(SCHEDULER, name)(network, two_modes.normal(3), steps)).all()
    assert max(1, steps - 1) <= len(calls) <= steps


@pytest.mark.parametrize(
    ("scheduler", "named"),
    [
        (EDMEulerScheduler(sigma_max=0.001), "not decreasing"),
        (EDMEulerScheduler(sigma_data=-0.5), "sigma_data -0.5"),
        (EDMEulerScheduler(prediction_type="v_prediction"), "epsilon"),
        (DDPMScheduler(), "EDMEulerScheduler"),
    ],
)
def test_settings_that_make_no_process_are_refused(scheduler, named: str) -> None:
    with pytest.raises(UserError, match=named):
        EDM.sampler(scheduler)
