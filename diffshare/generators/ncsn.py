"""Noise-conditional score network: a falling list of noise levels and annealed Langevin dynamics."""

from functools import partial
from typing import Any, ClassVar

import numpy as np
from diffusers import ConfigMixin, SchedulerMixin, UNet2DModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from diffshare.errors import UserError
from diffshare.generators.base import Facts
from diffshare.generators.denoising import DenoisingModule
from diffshare.generators.diffusion import Sampler, both_ways, chosen, expect
from diffshare.generators.losses import noise_loss
from diffshare.generators.process import Network
from diffshare.generators.processes import NoiseLevels
from diffshare.generators.samplers import (
    Bound,
    Normal,
    annealed_langevin,
    flow_slope,
    geometric_count,
    heun,
    langevin_step,
)

MOST_LEVELS = 10_000


class NoiseLevelsScheduler(SchedulerMixin, ConfigMixin):
    """The noise levels of an NCSN, as a release keeps them.

    Args:
        sigma_max: first level: about the largest distance between two training records (Song & Ermon 2020, technique
            1), for images in [-1, 1].
        sigma_min: last level.
        num_levels: how many, geometrically spaced; by technique 2 from the size of the images where left out.
        noise_levels: the levels themselves, falling, in place of the three.
    """

    long_lists: ClassVar[tuple[str, ...]] = ("noise_levels",)

    @register_to_config
    def __init__(
        self,
        sigma_max: float = 50.0,
        sigma_min: float = 0.01,
        num_levels: int | None = None,
        noise_levels: list[float] | None = None,
    ) -> None:
        if num_levels is not None and not 2 <= num_levels <= MOST_LEVELS:
            raise UserError(f"num_levels is {num_levels}: 2 to {MOST_LEVELS} are expected")
        self.process(dimension=1)

    def process(self, dimension: int) -> NoiseLevels:
        """The process of these levels, for records of ``dimension`` numbers."""
        config: Any = self.config
        if config.noise_levels is not None:
            return NoiseLevels([float(level) for level in config.noise_levels])
        largest, least = config.sigma_max, config.sigma_min
        if not 0 < least < largest:
            raise UserError(
                f"noise levels that are not decreasing: sigma_max {largest:g} must be above sigma_min {least:g}, and "
                "that above 0"
            )
        count = config.num_levels or min(geometric_count(largest, least, dimension), MOST_LEVELS)
        return NoiseLevels(np.geomspace(largest, least, count).tolist())


class NCSN(DenoisingModule):
    """Noise-conditional score network (Song & Ermon 2019, 2020) with annealed Langevin sampling.

    Args:
        denoiser: predicts the noise: its score is -F / sigma (technique 3).
        scheduler: the noise levels; geometric by Song & Ermon's rules where left out.
        sampling_steps: most network calls a sample: levels times steps at each, and one to denoise.
        options: of :class:`diffshare.generators.denoising.DenoisingModule`.
    """

    family: ClassVar[str] = "ncsn"
    own_schedulers: ClassVar[Any] = {"NoiseLevelsScheduler": NoiseLevelsScheduler}

    def __init__(
        self,
        denoiser: UNet2DModel,
        scheduler: NoiseLevelsScheduler | None = None,
        sampling_steps: int = 500,
        **options: Any,
    ) -> None:
        super().__init__(
            denoiser,
            NoiseLevelsScheduler() if scheduler is None else scheduler,
            sampling_steps=sampling_steps,
            **options,
        )
        self.process: NoiseLevels = self.scheduler.process(dimension=1)

    def check(self, facts: Facts) -> None:
        """As of every denoiser; the number of levels follows the size of the images."""
        super().check(facts)
        self.process = self.scheduler.process(int(np.prod(facts.shape)))
        self.scheduler.register_to_config(num_levels=len(self.process.table))

    def times(self, uniform: Tensor) -> Tensor:
        """Numbers of levels; the first is the noisiest."""
        return self.process.times(1 - uniform)

    def losses(self, x: Tensor, labels: Tensor | None, noise: Tensor, times: Tensor) -> Tensor:
        """Score matching at each level, weighted by sigma^2."""
        return noise_loss(self.denoiser, self.process, x, labels, noise, times)

    @classmethod
    def sampler(cls, scheduler: SchedulerMixin, name: str | None = None) -> Sampler:
        """``annealed_langevin`` or ``probability_flow``, or ``unbounded_`` and one of these names."""
        expect(scheduler, NoiseLevelsScheduler)
        assert isinstance(scheduler, NoiseLevelsScheduler)
        makers = {"annealed_langevin": langevin_of, "probability_flow": flow_of}
        process = scheduler.process(dimension=1)
        return chosen(
            name, both_ways({key: partial(make, process) for key, make in makers.items()})
        )


def langevin_of(process: NoiseLevels, bound: Bound) -> Sampler:
    """Annealed Langevin dynamics within a number of network calls: over fewer levels where there are not enough."""

    def sample(network: Network, normal: Normal, steps: int) -> Tensor:
        denoise, start = bound(process.denoiser(network)), process.largest * normal()
        if steps == 1:
            return denoise(start, process.largest)
        levels = process.ratios(steps - 1)
        repeats = (steps - 1) // len(levels)
        gamma = (levels[0] / levels[-1]) ** (1 / max(1, len(levels) - 1))
        return annealed_langevin(
            denoise, start, levels, normal, repeats, langevin_step(gamma, repeats)
        )

    return sample


def flow_of(process: NoiseLevels, bound: Bound) -> Sampler:
    """Heun's method through the levels."""

    def sample(network: Network, normal: Normal, steps: int) -> Tensor:
        levels = process.ratios((steps + 1) // 2)
        return heun(
            flow_slope(bound(process.denoiser(network))), process.largest * normal(), [*levels, 0.0]
        )

    return sample
