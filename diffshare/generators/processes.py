"""The noise processes of the families, side by side, so that their difference is the text."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffshare.errors import UserError
from diffshare.generators.process import Preconditioning, Process

TICKS = 999.0  # what times in [0, 1] are multiplied by for the network's embedding, as in Song et al.'s code


def _of_noise(alpha: Tensor, sigma: Tensor, c_in: Tensor, c_noise: Tensor) -> Preconditioning:
    """The network predicts the noise: x = (x_t - sigma F) / alpha."""
    return Preconditioning(1 / alpha, -sigma / alpha, c_in, c_noise)


class NoiseLevels(Process):
    """NCSN: x + sigma_i eps for a falling list of levels (Song & Ermon 2019, 2020). Time is the level's number i.

    Args:
        levels: sigma_0 > ... > sigma_L-1 > 0; two at least.

    Raises:
        UserError: they do not fall.
    """

    def __init__(self, levels: list[float]) -> None:
        if len(levels) < 2 or not all(
            later < earlier for earlier, later in zip(levels, levels[1:], strict=False)
        ):
            raise UserError(
                f"noise levels that are not decreasing ({len(levels)} of them): give at least two, the largest first"
            )
        super().__init__(levels[0], levels[-1])
        self.table = torch.tensor(levels, dtype=torch.float64)

    def levels(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha = 1; sigma from the list, float32."""
        sigma = self.table.to(time.device)[time.long()].float()
        return torch.ones_like(sigma), sigma

    def time_at(self, ratio: Tensor) -> Tensor:
        """The nearest level's number."""
        return (self.table.log() - ratio.log().cpu()[..., None]).abs().argmin(-1)

    def times(self, uniform: Tensor) -> Tensor:
        """Every level alike."""
        return (uniform * len(self.table)).long().clamp(max=len(self.table) - 1)

    def precondition(self, time: Tensor) -> Preconditioning:
        """Noise is predicted, as in NCSNv2's s = F / sigma; the input is brought to variance 1, which NCSN leaves."""
        alpha, sigma = self.levels(time)
        return _of_noise(alpha, sigma, (1 + sigma**2).rsqrt(), time.float())

    def ratios(self, steps: int) -> list[float]:
        """``steps`` of the levels, evenly spread; all of them where there are fewer."""
        chosen = (
            np.linspace(0, len(self.table) - 1, min(steps, len(self.table))).round().astype(int)
        )
        return self.table[chosen].tolist()


class VarianceExploding(Process):
    """VE: x + sigma(t) eps, sigma = sigma_min (sigma_max / sigma_min)^t, t in [eps, 1] (Song et al. 2021, eq. 31).

    Args:
        sigma_max: about the largest distance between two training records (Song & Ermon 2020, technique 1).
        sigma_min: below what the eye sees.
        least_time: eps.
    """

    def __init__(self, sigma_max: float, sigma_min: float, least_time: float) -> None:
        super().__init__(sigma_max, sigma_min)
        self.log_range = math.log(sigma_max / sigma_min)
        self.least_time = _proper(least_time)

    def levels(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha = 1 and the geometric sigma."""
        return torch.ones_like(time), self.least * torch.exp(self.log_range * time)

    def time_at(self, ratio: Tensor) -> Tensor:
        """Inverse of sigma(t)."""
        return torch.log(ratio / self.least) / self.log_range

    def times(self, uniform: Tensor) -> Tensor:
        """Uniform: all orders of magnitude alike."""
        return self.least_time + (1 - self.least_time) * uniform

    def precondition(self, time: Tensor) -> Preconditioning:
        """Noise is predicted, from an input that is brought to variance 1."""
        alpha, sigma = self.levels(time)
        return _of_noise(alpha, sigma, (1 + sigma**2).rsqrt(), TICKS * time)

    def ratios(self, steps: int) -> list[float]:
        """Geometric."""
        return np.geomspace(self.largest, self.least, steps).tolist()


class VariancePreserving(Process):
    """VP: alpha^2 + sigma^2 = 1, alpha = exp(-B(t)/2), B(t) = beta_min t + (beta_max - beta_min) t^2 / 2.

    Song et al. 2021, eq. 32 and 33: DDPM's linear schedule in continuous time.

    Args:
        beta_min, beta_max: rate of the noise at t = 0 and t = 1.
        least_time: eps, where training and sampling stop.
    """

    def __init__(self, beta_min: float, beta_max: float, least_time: float) -> None:
        if not 0 < beta_min < beta_max < 200:
            raise UserError(
                f"beta_min {beta_min:g} and beta_max {beta_max:g}: they must rise, between 0 and 200"
            )
        self.beta_min, self.slope = float(beta_min), float(beta_max - beta_min)
        self.least_time = _proper(least_time, least=1e-9)
        super().__init__(
            *(self._ratio(torch.tensor(t, dtype=torch.float64)).item() for t in (1.0, least_time))
        )

    def _integral(self, time: Tensor) -> Tensor:
        return self.beta_min * time + self.slope * time**2 / 2

    def _time_of_integral(self, integral: Tensor) -> Tensor:
        root = torch.sqrt(self.beta_min**2 + 2 * self.slope * integral)
        return 2 * integral / (self.beta_min + root)

    def _ratio(self, time: Tensor) -> Tensor:
        alpha, sigma = self.levels(time)
        return sigma / alpha

    def levels(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha = exp(-B/2), sigma = sqrt(1 - exp(-B))."""
        integral = self._integral(time)
        return torch.exp(-integral / 2), torch.sqrt(-torch.expm1(-integral))

    def time_at(self, ratio: Tensor) -> Tensor:
        """s^2 = exp(B) - 1."""
        return self._time_of_integral(torch.log1p(ratio**2))

    def times(self, uniform: Tensor) -> Tensor:
        """Uniform in [eps, 1)."""
        return self.least_time + (1 - self.least_time) * uniform

    def precondition(self, time: Tensor) -> Preconditioning:
        """Noise is predicted, from x_t as it is."""
        return _of_noise(*self.levels(time), torch.ones_like(time), TICKS * time)

    def ratios(self, steps: int) -> list[float]:
        """Uniform in time."""
        return self._ratio(torch.linspace(1, self.least_time, steps, dtype=torch.float64)).tolist()


class SubVariancePreserving(VariancePreserving):
    """Sub-VP: the alpha of VP with sigma = 1 - alpha^2, never above VP's (Song et al. 2021, eq. 29)."""

    def levels(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha = exp(-B/2), sigma = 1 - exp(-B)."""
        integral = self._integral(time)
        return torch.exp(-integral / 2), -torch.expm1(-integral)

    def time_at(self, ratio: Tensor) -> Tensor:
        """S = 2 sinh(B/2)."""
        return self._time_of_integral(2 * torch.asinh(ratio / 2))


class Elucidated(Process):
    """EDM: x + t eps, the network's input and target of variance 1 at every level (Karras et al. 2022, table 1).

    Args:
        sigma_max, sigma_min: range of the sampling.
        sigma_data: standard deviation of the data.
        rho: spacing of the sampling levels.
        p_mean, p_std: of the logarithm of the training levels.
    """

    def __init__(
        self,
        sigma_max: float,
        sigma_min: float,
        sigma_data: float,
        rho: float = 7.0,
        p_mean: float = -1.2,
        p_std: float = 1.2,
    ) -> None:
        super().__init__(sigma_max, sigma_min)
        if not (0 < sigma_data < 1e3 and 1 <= rho <= 100 and p_std > 0):
            raise UserError(
                f"sigma_data {sigma_data:g}, rho {rho:g}, p_std {p_std:g}: positive, rho from 1 to 100"
            )
        self.sigma_data, self.rho, self.p_mean, self.p_std = sigma_data, rho, p_mean, p_std

    def levels(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha = 1, sigma = t."""
        return torch.ones_like(time), time

    def time_at(self, ratio: Tensor) -> Tensor:
        """T itself."""
        return ratio

    def times(self, uniform: Tensor) -> Tensor:
        """Log-normal, by its quantiles."""
        inside = uniform.clamp(1e-6, 1 - 1e-6)
        return torch.exp(self.p_mean + self.p_std * torch.special.ndtri(inside))

    def precondition(self, time: Tensor) -> Preconditioning:
        """Table 1, column EDM."""
        total = time**2 + self.sigma_data**2
        return Preconditioning(
            c_skip=self.sigma_data**2 / total,
            c_out=time * self.sigma_data * total.rsqrt(),
            c_in=total.rsqrt(),
            c_noise=time.log() / 4,
        )

    def ratios(self, steps: int) -> list[float]:
        """Eq. 5."""
        return karras_levels(self.largest, self.least, steps, self.rho)


class Rectified(Process):
    """Rectified flow: (1 - t) x + t eps, the network predicts the velocity eps - x (Liu et al. 2023, eq. 1).

    Args:
        logit_normal: training times from a logistic of a standard normal, the middle more often (Esser et al. 2024,
            section 3.1), in place of uniform ones.
        least_time: where ratios end and, from 1, begin; the flow's own sampler goes from 1 to 0.
    """

    def __init__(self, logit_normal: bool = False, least_time: float = 1e-3) -> None:
        super().__init__((1 - least_time) / least_time, least_time / (1 - least_time))
        self.logit_normal, self.least_time = logit_normal, least_time

    def levels(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha = 1 - t, sigma = t."""
        return 1 - time, time

    def time_at(self, ratio: Tensor) -> Tensor:
        """S = t / (1 - t)."""
        return ratio / (1 + ratio)

    def times(self, uniform: Tensor) -> Tensor:
        """Uniform or logit-normal."""
        if not self.logit_normal:
            return uniform
        return torch.sigmoid(torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6)))

    def precondition(self, time: Tensor) -> Preconditioning:
        """X = x_t - t v."""
        return Preconditioning(torch.ones_like(time), -time, torch.ones_like(time), 1000 * time)

    def ratios(self, steps: int) -> list[float]:
        """Uniform in time."""
        times = np.linspace(1 - self.least_time, self.least_time, steps)
        return (times / (1 - times)).tolist()


def karras_levels(largest: float, least: float, steps: int, rho: float = 7.0) -> list[float]:
    """``steps`` falling levels, their rho-th roots evenly spaced (Karras et al. 2022, eq. 5)."""
    return (np.linspace(largest ** (1 / rho), least ** (1 / rho), steps) ** rho).tolist()


def _proper(least_time: Any, least: float = 0.0) -> float:
    if not least <= least_time < 0.5:
        raise UserError(
            f"sampling_eps is {least_time:g}: a small time from {least:g} to 0.5 is expected"
        )
    return float(least_time)
