"""Rectified flow: a velocity along the straight path from noise to record."""

from typing import Any, ClassVar

import numpy as np
from diffusers import FlowMatchEulerDiscreteScheduler, SchedulerMixin, UNet2DModel
from torch import Tensor

from diffshare.errors import UserError
from diffshare.generators.denoising import DenoisingModule
from diffshare.generators.diffusion import Sampler, chosen, expect
from diffshare.generators.losses import flow_loss
from diffshare.generators.process import Network
from diffshare.generators.processes import Rectified
from diffshare.generators.samplers import Normal, Slope, euler, heun


class Flow(DenoisingModule):
    """Rectified flow (Liu et al. 2023), also known as flow matching with straight paths.

    Args:
        denoiser: predicts the velocity eps - x.
        scheduler: ``shift`` moves the sampling times towards the noise; 1, evenly spaced, where left out.
        logit_normal: train more often in the middle of the path (Esser et al. 2024) than uniformly.
        sampling_steps: most network calls a sample.
        options: of :class:`diffshare.generators.denoising.DenoisingModule`.
    """

    family: ClassVar[str] = "flow"

    def __init__(
        self,
        denoiser: UNet2DModel,
        scheduler: FlowMatchEulerDiscreteScheduler | None = None,
        logit_normal: bool = True,
        sampling_steps: int = 50,
        **options: Any,
    ) -> None:
        scheduler = FlowMatchEulerDiscreteScheduler() if scheduler is None else scheduler
        super().__init__(denoiser, scheduler, sampling_steps=sampling_steps, **options)
        self.process = Rectified(logit_normal)

    def times(self, uniform: Tensor) -> Tensor:
        """Logit-normal or uniform."""
        return self.process.times(uniform)

    def losses(self, x: Tensor, labels: Tensor | None, noise: Tensor, times: Tensor) -> Tensor:
        """Error of the velocity."""
        return flow_loss(self.denoiser, self.process, x, labels, noise, times)

    @classmethod
    def sampler(cls, scheduler: SchedulerMixin, name: str | None = None) -> Sampler:
        """``heun`` or ``euler``."""
        expect(scheduler, FlowMatchEulerDiscreteScheduler)
        config: Any = scheduler.config
        if not 0 < config.shift <= 100:
            raise UserError(
                f"shift is {config.shift}: a number above 0 and at most 100 is expected"
            )
        return chosen(name, {"heun": heun_of(config.shift), "euler": euler_of(config.shift)})


def shifted(steps: int, shift: float) -> list[float]:
    """``steps + 1`` times from 1 to 0: u => shift u / (1 + (shift - 1) u) of even ones (Esser et al. 2024, eq. 23)."""
    u = np.linspace(1, 0, steps + 1)
    return (shift * u / (1 + (shift - 1) * u)).tolist()


def velocity(network: Network) -> Slope:
    """dx/dt of the path is what the network predicts."""
    process = Rectified()

    def slope(x: Tensor, time: float) -> Tensor:
        return process.output(network, x, x.new_tensor(time))

    return slope


def heun_of(shift: float) -> Sampler:
    """Heun's method from noise to record: n steps take 2n - 1 network calls."""

    def sample(network: Network, normal: Normal, steps: int) -> Tensor:
        return heun(velocity(network), normal(), shifted((steps + 1) // 2, shift))

    return sample


def euler_of(shift: float) -> Sampler:
    """Euler's method: a call a step."""

    def sample(network: Network, normal: Normal, steps: int) -> Tensor:
        return euler(velocity(network), normal(), shifted(steps, shift))

    return sample
