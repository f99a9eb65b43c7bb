"""Score-based generative models through stochastic differential equations: VE, VP and sub-VP."""

from functools import partial
from typing import Any, ClassVar, Literal

from diffusers import ConfigMixin, SchedulerMixin, ScoreSdeVeScheduler, UNet2DModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from diffshare.errors import UserError
from diffshare.generators.denoising import DenoisingModule
from diffshare.generators.diffusion import Sampler, both_ways, chosen, expect
from diffshare.generators.losses import noise_loss
from diffshare.generators.process import Network, Process
from diffshare.generators.processes import (
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    karras_levels,
)
from diffshare.generators.samplers import (
    CORRECTION,
    Bound,
    Normal,
    euler_maruyama,
    flow_slope,
    heun,
    predictor_corrector,
)


class BetaSdeScheduler(SchedulerMixin, ConfigMixin):
    """The VP and sub-VP SDE of linear beta, as a release keeps them (diffusers' ScoreSdeVpScheduler is deprecated).

    Args:
        kind: ``vp`` or ``sub_vp``.
        beta_min, beta_max: rate of the noise at t = 0 and t = 1.
        sampling_eps: time at which training and sampling stop.
        snr: r of the corrector.
    """

    @register_to_config
    def __init__(
        self,
        kind: Literal["vp", "sub_vp"] = "vp",
        beta_min: float = 0.1,
        beta_max: float = 20.0,
        sampling_eps: float = 1e-3,
        snr: float = CORRECTION,
    ) -> None:
        if kind not in ("vp", "sub_vp"):
            raise UserError(f"kind is '{kind}': vp or sub_vp is expected")


class SDE(DenoisingModule):
    """Score-based model (Song et al. 2021): the scheduler chooses VE, VP or sub-VP.

    Args:
        denoiser: predicts the noise: its score is -F / sigma.
        scheduler: ``diffusers.ScoreSdeVeScheduler`` (set its sigma_max: the default is for 1024 pixels) or
            ``BetaSdeScheduler``; VP where left out.
        sampling_steps: most network calls a sample.
        options: of :class:`diffshare.generators.denoising.DenoisingModule`.
    """

    family: ClassVar[str] = "sde"
    own_schedulers: ClassVar[Any] = {"BetaSdeScheduler": BetaSdeScheduler}

    def __init__(
        self,
        denoiser: UNet2DModel,
        scheduler: SchedulerMixin | None = None,
        sampling_steps: int = 50,
        **options: Any,
    ) -> None:
        super().__init__(
            denoiser,
            BetaSdeScheduler() if scheduler is None else scheduler,
            sampling_steps=sampling_steps,
            **options,
        )
        self.process = process_of(self.scheduler)

    def times(self, uniform: Tensor) -> Tensor:
        """Uniform in [eps, 1)."""
        return self.process.times(uniform)

    def losses(self, x: Tensor, labels: Tensor | None, noise: Tensor, times: Tensor) -> Tensor:
        """Score matching in continuous time, weighted by sigma^2."""
        return noise_loss(self.denoiser, self.process, x, labels, noise, times)

    @classmethod
    def sampler(cls, scheduler: SchedulerMixin, name: str | None = None) -> Sampler:
        """``predictor_corrector``, ``probability_flow``, ``euler_maruyama``, or ``unbounded_`` and one of these."""
        process, snr = process_of(scheduler), scheduler.config.snr
        makers = {
            "predictor_corrector": partial(corrected, process, snr),
            "probability_flow": partial(flow_of, process),
            "euler_maruyama": partial(maruyama_of, process),
        }
        return chosen(name, both_ways(makers))


def process_of(scheduler: Any) -> Process:
    """The process that a scheduler describes.

    Raises:
        UserError: another scheduler, or numbers that make no process.
    """
    expect(scheduler, BetaSdeScheduler, ScoreSdeVeScheduler)
    config = scheduler.config
    if not 0 <= config.snr < 1:
        raise UserError(f"snr is {config.snr}: a number from 0 to 1 is expected")
    if isinstance(scheduler, ScoreSdeVeScheduler):
        return VarianceExploding(config.sigma_max, config.sigma_min, config.sampling_eps)
    kind = VariancePreserving if config.kind == "vp" else SubVariancePreserving
    return kind(config.beta_min, config.beta_max, config.sampling_eps)


def flow_of(process: Process, bound: Bound) -> Sampler:
    """Probability flow by Heun's method, at Karras et al.'s levels whatever the process (their section 3)."""

    def sample(network: Network, normal: Normal, steps: int) -> Tensor:
        levels = [*karras_levels(process.largest, process.least, (steps + 1) // 2), 0.0]
        return heun(
            flow_slope(bound(process.denoiser(network))), process.largest * normal(), levels
        )

    return sample


def corrected(process: Process, snr: float, bound: Bound) -> Sampler:
    """Predictor and corrector at the process's own levels."""

    def sample(network: Network, normal: Normal, steps: int) -> Tensor:
        levels = process.ratios((steps + 1) // 2)
        return predictor_corrector(
            bound(process.denoiser(network)), process.largest * normal(), levels, normal, snr
        )

    return sample


def maruyama_of(process: Process, bound: Bound) -> Sampler:
    """Euler-Maruyama at the process's own levels."""

    def sample(network: Network, normal: Normal, steps: int) -> Tensor:
        denoise = bound(process.denoiser(network))
        return euler_maruyama(denoise, process.largest * normal(), process.ratios(steps), normal)

    return sample
