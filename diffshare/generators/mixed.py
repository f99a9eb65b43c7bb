"""Diffusion of rows with numbers and categories (TabDDPM; Kotelnikov et al. 2023, arXiv 2209.15421).

Gaussian noise on the scores of the numbers, multinomial noise on the categories, one network and
one schedule for both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor, nn

from diffshare.errors import UserError
from diffshare.generators.multinomial import (
    TINY,
    Categories,
    divergence,
    log_forward,
    log_posterior,
)
from diffshare.stats.counters import RowStreams

FARTHEST = 5.2  # no record has a larger score: 3.8 on a grid, 5.2 by quantiles, as models of format 1 have them
PREDICTIONS = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class MixedDiffusion:
    """The noise of both kinds of columns.

    Attributes:
        bars: cumulated alpha of the timesteps 0..T-1, float64, T.
        velocity: the network predicts v = alpha eps - sigma x (Salimans & Ho 2022), else the noise eps.
        numeric: number of scores D; they are the first D places of a row, the categories the others.
        categories: the layout of the categories.
    """

    bars: Tensor
    velocity: bool
    numeric: int
    categories: Categories

    @classmethod
    def of(cls, scheduler: Any, numeric: int, sizes: list[int]) -> "MixedDiffusion":
        """The noise levels of a scheduler of diffusers.

        Raises:
            UserError: not a scheduler that this model is trained with.
        """
        if not isinstance(scheduler, DDPMScheduler | DDIMScheduler):
            raise UserError(
                f"model.scheduler is a {type(scheduler).__name__}: train with a DDPMScheduler or DDIMScheduler"
            )
        if scheduler.config.prediction_type not in PREDICTIONS:
            raise UserError(
                f"model.scheduler predicts '{scheduler.config.prediction_type}': use epsilon or v_prediction"
            )
        bars = torch.cumprod(1 - scheduler.betas.double(), 0)
        if not 0 < float(bars[-1]) <= float(bars[0]) < 1:  # also what is no number
            raise UserError(
                "the scheduler's noise levels do not rise from little noise to much: use other betas"
            )
        return cls(
            bars, scheduler.config.prediction_type == "v_prediction", numeric, Categories(sizes)
        )

    @property
    def steps(self) -> int:
        """Number of timesteps T."""
        return len(self.bars)

    def levels(self, timesteps: Tensor) -> Tensor:
        """Cumulated alpha of each timestep, float64, n x 1; 1 for timestep -1, the clean row."""
        bars = torch.cat([self.bars, torch.ones(1, dtype=torch.float64)]).to(timesteps.device)
        return bars[timesteps][:, None]  # -1 is the last entry

    def clean(self, noisy: Tensor, prediction: Tensor, bar: Tensor) -> Tensor:
        """The scores that a prediction stands for, within those that training records can have. n x D."""
        alpha, sigma = bar.sqrt().to(noisy.dtype), (1 - bar).sqrt().to(noisy.dtype)
        x = (
            alpha * noisy - sigma * prediction
            if self.velocity
            else (noisy - sigma * prediction) / alpha
        )
        return x.clamp(-FARTHEST, FARTHEST)


def mixed_loss(
    denoiser: nn.Module,
    process: MixedDiffusion,
    scores: Tensor,
    codes: Tensor,
    labels: Tensor | None,
    timesteps: Tensor,
    uniform: Tensor,
) -> Tensor:
    """Squared error of the scores plus T times the divergence of the categories, each a mean over columns (eq. 3).

    Args:
        denoiser: the network.
        process: the noise.
        scores: float32, n x D.
        codes: int64, n x J.
        labels: class to condition on, int64, n; None for an unconditional network.
        timesteps: int64 in 0..T-1, n.
        uniform: float64 in (0, 1), n x (D + J): the noise of each column.

    Returns:
        float32, n.
    """
    categories, numeric = process.categories, process.numeric
    bar_t, bar_s = process.levels(timesteps), process.levels(timesteps - 1)
    alpha, sigma = bar_t.sqrt().float(), (1 - bar_t).sqrt().float()
    noise = normal(uniform[:, :numeric])
    log_x = categories.one_hot(codes).clamp_min(TINY).log()
    seen = categories.one_hot(
        categories.draw(log_forward(categories, log_x, bar_t).float(), uniform[:, numeric:])
    )
    row = torch.cat([alpha * scores + sigma * noise, seen], 1)
    output = denoiser(row, timesteps, labels).float()
    wanted = alpha * noise - sigma * scores if process.velocity else noise
    squared = (output[:, :numeric] - wanted).square().sum(1) / max(numeric, 1)
    log_q = log_posterior(categories, log_x, seen, bar_s, bar_t)
    log_p = log_posterior(categories, categories.normalise(output[:, numeric:]), seen, bar_s, bar_t)
    return squared + process.steps / len(categories.sizes) * divergence(log_q, log_p)


def normal(uniform: Tensor) -> Tensor:
    """Standard normal numbers of uniform ones in (0, 1), float32."""
    return torch.special.ndtri(uniform.double()).float()


@torch.inference_mode()
def sample_mixed(
    denoiser: nn.Module,
    process: MixedDiffusion,
    labels: Tensor | None,
    streams: RowStreams,
    count: int,
    *,
    steps: int,
    guidance: float = 1.0,
    null_label: int | None = None,
    on_call: Callable[[int], None] = lambda samples: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Run the reverse process through ``steps`` of the timesteps, evenly spaced, by the posteriors of both kinds.

    With ``guidance`` w other than 1 the prediction is e(null) + w (e(y) - e(null)), for categories in logits.

    Args:
        denoiser: the network.
        process: the noise.
        labels: int64, n, ``null_label`` for an unconditional row; None for an unconditional network.
        streams: of the n rows: the start takes the first D + J numbers of each, every step the next D + J.
        count: number of rows n.
        steps: network calls a row (twice that with guidance), 1 to T.
        guidance: scale w.
        null_label: the label that stands for "no class".
        on_call: told the number of rows of each pass through the network.

    Returns:
        scores, float32, n x D, and codes, int64, n x J.

    Raises:
        UserError: the result is not finite.
    """
    device = next(denoiser.parameters()).device
    categories, numeric, places = (
        process.categories,
        process.numeric,
        process.numeric + len(process.categories.sizes),
    )

    def drawn(round_: int) -> Tensor:
        return torch.from_numpy(streams.uniform(round_ * places, places)).to(device)

    both = None
    if (
        guidance != 1
        and labels is not None
        and null_label is not None
        and torch.ne(labels, null_label).any()
    ):
        both = torch.cat([labels, torch.full_like(labels, null_label)])
    scores = normal(drawn(0)[:, :numeric])
    flat = categories.normalise(torch.zeros(count, categories.width, device=device))
    codes = categories.draw(flat, drawn(0)[:, numeric:])
    times = [*np.linspace(process.steps - 1, 0, steps).round().astype(int).tolist(), -1]
    for i, (t, s) in enumerate(zip(times, times[1:], strict=False)):
        seen = categories.one_hot(codes)
        row, at = torch.cat([scores, seen], 1), torch.full((count,), t, device=device)
        on_call(count * (1 if both is None else 2))
        if both is None:
            output = denoiser(row, at, labels).float()
        else:
            asked, free = (
                denoiser(torch.cat([row, row]), torch.cat([at, at]), both).float().chunk(2)
            )
            output = free + guidance * (asked - free)
        bar_t, bar_s = process.levels(at[:1]), process.levels(at[:1] * 0 + s)
        uniform = drawn(i + 1)
        clean = process.clean(scores, output[:, :numeric], bar_t)
        scores = gaussian_step(scores, clean, bar_s, bar_t, normal(uniform[:, :numeric]))
        log_p = log_posterior(
            categories, categories.normalise(output[:, numeric:]), seen, bar_s, bar_t
        )
        codes = categories.draw(log_p, uniform[:, numeric:])
        if not torch.isfinite(output).all():
            raise UserError(
                f"sampling gave values that are not finite: use other `steps` than {steps} or a smaller `guidance`"
            )
    return scores.cpu().numpy(), codes.cpu().numpy()


def gaussian_step(
    noisy: Tensor, clean: Tensor, bar_s: Tensor, bar_t: Tensor, noise: Tensor
) -> Tensor:
    """A draw of q(x_s | x_t, x_0), the normal distribution of Ho et al. (2020, eq. 6 and 7) for any s < t. n x D."""
    ratio = bar_t / bar_s
    of_clean = bar_s.sqrt() * (1 - ratio) / (1 - bar_t)
    of_noisy = ratio.sqrt() * (1 - bar_s) / (1 - bar_t)
    deviation = ((1 - bar_s) / (1 - bar_t) * (1 - ratio)).sqrt()
    return of_clean.float() * clean + of_noisy.float() * noisy + deviation.float() * noise
