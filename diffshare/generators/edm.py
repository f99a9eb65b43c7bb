"""EDM: preconditioned denoising at log-normal noise levels, sampled by Heun's method."""

from typing import Any, ClassVar

from diffusers import EDMDPMSolverMultistepScheduler, EDMEulerScheduler, SchedulerMixin, UNet2DModel
from torch import Tensor

from diffshare.errors import UserError
from diffshare.generators.denoising import DenoisingModule
from diffshare.generators.diffusion import Sampler, chosen, expect
from diffshare.generators.losses import edm_loss
from diffshare.generators.process import Network
from diffshare.generators.processes import Elucidated
from diffshare.generators.samplers import Normal, flow_slope, heun, stochastic_heun


class EDM(DenoisingModule):
    """Karras et al. 2022: the network's input, output and loss have variance 1 at every noise level.

    Args:
        denoiser: the network F.
        scheduler: ``sigma_min``, ``sigma_max``, ``sigma_data`` and ``rho``; those of the paper where left out.
        p_mean, p_std: mean and deviation of the logarithm of the training's noise levels.
        sampling_steps: most network calls a sample; n steps of Heun's method take 2n - 1.
        options: of :class:`diffshare.generators.denoising.DenoisingModule`.
    """

    family: ClassVar[str] = "edm"

    def __init__(
        self,
        denoiser: UNet2DModel,
        scheduler: EDMEulerScheduler | None = None,
        p_mean: float = -1.2,
        p_std: float = 1.2,
        sampling_steps: int = 35,
        **options: Any,
    ) -> None:
        super().__init__(
            denoiser,
            EDMEulerScheduler() if scheduler is None else scheduler,
            sampling_steps=sampling_steps,
            **options,
        )
        self.process = process_of(self.scheduler, p_mean=p_mean, p_std=p_std)

    def times(self, uniform: Tensor) -> Tensor:
        """Log-normal noise levels."""
        return self.process.times(uniform)

    def losses(self, x: Tensor, labels: Tensor | None, noise: Tensor, times: Tensor) -> Tensor:
        """Weighted error of the denoised record."""
        return edm_loss(self.denoiser, self.process, x, labels, noise, times)

    @classmethod
    def sampler(
        cls, scheduler: SchedulerMixin, name: str | None = None
    ) -> SchedulerMixin | Sampler:
        """``heun``, ``stochastic_heun`` or one of diffusers' EDM schedulers."""
        process = process_of(scheduler)
        samplers = {
            "heun": heun_of(process),
            "stochastic_heun": churned(process),
            "EDMEulerScheduler": scheduler,
        }
        solver = "EDMDPMSolverMultistepScheduler"
        return chosen(
            name, samplers | {solver: EDMDPMSolverMultistepScheduler.from_config(scheduler.config)}
        )


def process_of(scheduler: Any, **levels: float) -> Elucidated:
    """The process that a scheduler describes.

    Raises:
        UserError: another scheduler, or numbers that make no process.
    """
    expect(scheduler, EDMEulerScheduler)
    config = scheduler.config
    if config.prediction_type != "epsilon":
        raise UserError(
            f"prediction_type is '{config.prediction_type}': EDM is trained with diffusers' epsilon"
        )
    return Elucidated(config.sigma_max, config.sigma_min, config.sigma_data, config.rho, **levels)


def heun_of(process: Elucidated) -> Sampler:
    """Algorithm 1."""

    def sample(network: Network, normal: Normal, steps: int) -> Tensor:
        levels = [*process.ratios((steps + 1) // 2), 0.0]
        return heun(flow_slope(process.denoiser(network)), process.largest * normal(), levels)

    return sample


def churned(process: Elucidated) -> Sampler:
    """Algorithm 2."""

    def sample(network: Network, normal: Normal, steps: int) -> Tensor:
        levels = [*process.ratios((steps + 1) // 2), 0.0]
        return stochastic_heun(
            process.denoiser(network), process.largest * normal(), levels, normal
        )

    return sample
