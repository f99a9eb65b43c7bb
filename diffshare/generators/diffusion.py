"""Sampling from a denoiser with any scheduler of diffusers or sampler of ours, each sample from its own noise."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from diffshare.errors import UserError, one_of, reason_of
from diffshare.generators.losses import denoise
from diffshare.generators.process import Network, Preconditioning, Tilt, Tilted
from diffshare.generators.samplers import Bound, Normal, bounded
from diffshare.generators.scheduler_names import SAMPLERS
from diffshare.training.seeding import seed_of

# (guided network, noise, most network calls a sample) -> x
Sampler = Callable[[Network, Normal, int], Tensor]

PREDICTIONS = ("epsilon", "v_prediction")
LEAST_LOG_SNR = -5.1  # half log SNR of the first step: beyond it a cosine schedule is noise alone


class LogSnrSolver(DPMSolverMultistepScheduler):
    """DPM-Solver++ (Lu et al. 2022, order 2) with steps uniform in log SNR, each at a noise level that was trained.

    diffusers' default spacing halves the variance of fine detail at 25 steps: of exact Gaussian data with deviation
    0.05 it returns 0.016 (linear schedule) to 0.027 (cosine). Its ``use_lu_lambdas`` does not, but tells the network a
    rounded level where the cosine schedule is steep.
    """

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        mu: Any = None,
        timesteps: Any = None,
    ) -> None:
        """Choose ``num_inference_steps`` trained levels, as evenly spaced in log SNR as there are different ones."""
        assert num_inference_steps is not None
        super().set_timesteps(
            device=device, timesteps=log_snr_timesteps(self.lambda_t.numpy(), num_inference_steps)
        )


def log_snr_timesteps(half_log_snr: np.ndarray, steps: int) -> list[int]:
    """Different timesteps, falling, their half log SNR as evenly spaced as possible.

    Args:
        half_log_snr: of each of the T training timesteps, falling.
        steps: how many, 1 to T.
    """
    usable = max(steps, int(np.sum(half_log_snr >= LEAST_LOG_SNR)))
    levels = half_log_snr[:usable]
    wanted = np.linspace(levels[-1], levels[0], steps)
    nearest = usable - 1 - np.searchsorted(levels[::-1], wanted)
    chosen = np.empty(steps, int)
    # falling, and leaving room for those that follow
    for i, t in enumerate(np.clip(nearest, 0, usable - 1)):
        highest = usable - 1 if i == 0 else chosen[i - 1] - 1
        chosen[i] = max(min(t, highest), steps - 1 - i)
    return chosen.tolist()


def sampling_scheduler(trained: SchedulerMixin, name: str | None = None) -> SchedulerMixin:
    """A scheduler for sampling that has the noise levels of the one trained with.

    Args:
        trained: the scheduler of the training.
        name: one of ``SAMPLERS``; :class:`LogSnrSolver` where None.

    Raises:
        UserError: diffusers has no such scheduler, or it does not fit this model.
    """
    if name is not None and name not in SAMPLERS:
        raise one_of("scheduler", name, SAMPLERS)
    kind: Any = LogSnrSolver if name is None else getattr(diffusers, name)
    try:
        sample_once(kind.from_config(trained.config), 1)
        return kind.from_config(trained.config)
    # each scheduler has settings of its own that it does not take, found at any time
    except Exception as error:
        cause = error.__cause__ or error
        reason = reason_of(cause)
        raise UserError(
            f"{kind.__name__} does not sample with the settings of this {type(trained).__name__} ({reason:.120}): "
            "use others, or another scheduler"
        ) from error


def ddpm_sampler(trained: SchedulerMixin, name: str | None = None) -> SchedulerMixin:
    """:func:`sampling_scheduler` for what a DDPM can be trained with.

    Raises:
        UserError: another scheduler, or one that predicts something else than noise or velocity.
    """
    expect(trained, DDPMScheduler, DDIMScheduler)
    if trained.config.prediction_type not in PREDICTIONS:
        raise UserError(
            f"it predicts '{trained.config.prediction_type}': use epsilon or v_prediction"
        )
    return sampling_scheduler(trained, name)


def expect(scheduler: SchedulerMixin, *kinds: type[SchedulerMixin]) -> None:
    """Refuse a scheduler of another kind."""
    if not isinstance(scheduler, kinds):
        raise UserError(
            f"it is a {type(scheduler).__name__}: this family is trained with a "
            f"{' or '.join(kind.__name__ for kind in kinds)}"
        )


def chosen(name: str | None, samplers: Mapping[str, Any]) -> Any:
    """The sampler of that name; the first where None.

    Raises:
        UserError: there is none of that name.
    """
    if name is None:
        return next(iter(samplers.values()))
    if name not in samplers:
        raise one_of("scheduler", name, samplers)
    return samplers[name]


def both_ways(makers: Mapping[str, Callable[[Bound], Sampler]]) -> dict[str, Sampler]:
    """Samplers by name, each also as ``unbounded_NAME``.

    The first keep what is denoised within the range of the records (:func:`bounded`), which helps a network that was
    trained briefly; the others leave it as it is, as their sources do.
    """
    kept = {name: make(bounded) for name, make in makers.items()}
    return kept | {
        f"unbounded_{name}": make(lambda denoise: denoise) for name, make in makers.items()
    }


def noise_streams(seed: int, indices: np.ndarray) -> list[torch.Generator]:
    """A random stream for each sample, a function of (seed, index) alone; on the CPU, so the same for every device."""
    return [torch.Generator().manual_seed(seed_of(seed, int(i))) for i in indices]


def guided(
    denoiser: nn.Module,
    labels: Tensor | None,
    guidance: float = 1.0,
    null_label: int | None = None,
    on_call: Callable[[int], None] = lambda samples: None,
) -> Network:
    """The denoiser as a function of input and time alone; arguments as in :func:`sample_diffusion`."""
    both = None
    if (
        guidance != 1
        and labels is not None
        and null_label is not None
        and torch.ne(labels, null_label).any()
    ):
        both = torch.cat([labels, torch.full_like(labels, null_label)])

    def network(inputs: Tensor, time: Tensor) -> Tensor:
        on_call(len(inputs) * (1 if both is None else 2))
        if both is None:
            return denoise(denoiser, inputs, time, labels)
        conditional, free = denoise(denoiser, torch.cat([inputs, inputs]), time, both).chunk(2)
        return free + guidance * (conditional - free)

    return network


def _run_scheduler(
    network: Network, scheduler: Any, normal: Normal, streams: list[torch.Generator], steps: int
) -> Tensor:
    start = normal()
    with _stepping(scheduler, steps):
        scheduler.set_timesteps(steps, device=start.device)
    x = start * getattr(scheduler, "init_noise_sigma", 1.0)
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    extra = {"generator": streams if len(streams) > 1 else streams[0]} if takes_generator else {}
    for t in scheduler.timesteps:
        with _stepping(scheduler, steps):
            inputs = (
                scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            )
        output = (
            _tilted(network, scheduler, inputs, t)
            if isinstance(network, Tilted)
            else network(inputs, t)
        )
        with _stepping(scheduler, steps):
            x = scheduler.step(output, t, x, **extra).prev_sample
    return x


@contextlib.contextmanager
def _stepping(scheduler: Any, steps: int) -> Iterator[None]:
    """A scheduler of diffusers has its own opinion of how many steps its settings allow."""
    try:
        yield
    except (AssertionError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"{type(scheduler).__name__} of this model fails with {steps} steps ({str(error) or 'no reason given'}): "
            "use other `steps` or another `scheduler`"
        ) from error


def _tilted(network: Tilted, scheduler: Any, noisy: Tensor, t: Tensor) -> Tensor:
    """The output at a trained level of a DDPM: what the network sees is x_t, whatever the scheduler's own scale."""
    bars = getattr(scheduler, "alphas_cumprod", None)
    if bars is None:
        return network(noisy, t)
    bar = bars.to(noisy.device)[t.round().long()].double()
    alpha, sigma, one = bar.sqrt(), (1 - bar).sqrt(), torch.ones_like(bar)
    scales = Preconditioning(1 / alpha, -sigma / alpha, one, t)
    if scheduler.config.prediction_type == "v_prediction":
        scales = Preconditioning(alpha, -sigma, one, t)
    return network.output(noisy, scales, alpha, sigma)


def sample_diffusion(
    denoiser: nn.Module,
    scheduler: SchedulerMixin | Sampler,
    shape: tuple[int, ...],
    labels: Tensor | None,
    streams: list[torch.Generator],
    *,
    steps: int,
    guidance: float = 1.0,
    null_label: int | None = None,
    on_call: Callable[[int], None] = lambda samples: None,
    tilt: Tilt | None = None,
) -> Tensor:
    """Run the reverse process.

    With ``guidance`` w other than 1 the prediction is e(null) + w (e(y) - e(null)): classifier-free guidance
    (Ho & Salimans 2022) on diffusers' scale.

    Args:
        denoiser: diffusers' U-Net interface.
        scheduler: of :func:`sampling_scheduler`, or a sampler of a family.
        shape: C, H, W.
        labels: int64, N, ``null_label`` for an unconditional sample; None for an unconditional denoiser.
        streams: N random streams: start noise and every later draw of sample i come from stream i.
        steps: network calls a sample (twice that with guidance); a sampler with several calls a step makes at most
            so many.
        guidance: scale w.
        null_label: the label that stands for "no class".
        on_call: told the number of samples of each pass through the network.
        tilt: logarithm of the weight that each record is to be drawn with; see :class:`Tilted`. Each call of the
            network is then differentiated.

    Returns:
        float32, N x C x H x W.

    Raises:
        UserError: values that are not finite, or a sampler that takes no tilt.
    """
    device = next(denoiser.parameters()).device

    def normal() -> Tensor:
        return randn_tensor((len(streams), *shape), generator=streams, device=device)

    with torch.inference_mode(tilt is None), torch.no_grad():
        network = guided(denoiser, labels, guidance, null_label, on_call)
        tilted = None if tilt is None else Tilted(network, tilt)
        if isinstance(scheduler, SchedulerMixin):
            x = _run_scheduler(tilted or network, scheduler, normal, streams, steps)
        else:
            x = scheduler(tilted or network, normal, steps)
    if tilted is not None and not tilted.used:
        raise UserError(
            "the sampler of this model calls its network itself, so that it cannot be guided"
        )
    if not torch.isfinite(x).all():
        raise UserError(
            f"sampling gave values that are not finite: use other `steps` than {steps} or a smaller `guidance`"
        )
    return x


@torch.inference_mode()
def sample_once(scheduler: SchedulerMixin | Sampler, channels: int) -> None:
    """Two steps on a few pixels with a network that finds nothing: settings that do not step show in what they raise.

    Args:
        scheduler: as of :func:`sample_diffusion`.
        channels: of the images or latents.

    Raises:
        ValueError: values that are not finite.
        Exception: whatever the scheduler raises.
    """
    streams = noise_streams(0, np.arange(1))

    def normal() -> Tensor:
        return randn_tensor((1, channels, 4, 4), generator=streams)

    def still(inputs: Tensor, time: Tensor) -> Tensor:
        return torch.zeros_like(inputs)

    if isinstance(scheduler, SchedulerMixin):
        steps = min(2, scheduler.config.num_train_timesteps)
        x = _run_scheduler(still, scheduler, normal, streams, steps)
    else:
        x = scheduler(still, normal, 2)
    if not torch.isfinite(x).all():
        raise ValueError("values that are not finite")


def to_bytes(x: Tensor) -> np.ndarray:
    """Float N x C x H x W, cut to [-1, 1] => uint8 N x H x W x C, rounded to the nearest grey level."""
    return (
        ((x.clamp(-1, 1) + 1) * 127.5)
        .round()
        .to(torch.uint8)
        .permute(0, 2, 3, 1)
        .contiguous()
        .cpu()
        .numpy()
    )
