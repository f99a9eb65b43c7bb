"""Sampling from a denoiser with any scheduler of diffusers, each sample from its own noise."""

import inspect
from collections.abc import Callable

import diffusers
import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from diffshare.errors import UserError, one_of
from diffshare.generators.losses import denoise
from diffshare.training.seeding import seed_of


def sampling_scheduler(trained: SchedulerMixin, name: str | None = None) -> SchedulerMixin:
    """A scheduler for sampling that has the noise levels of the one trained with.

    Args:
        trained: the scheduler of the training.
        name: a class of diffusers that ``trained`` is compatible with; DPM-Solver++ (Lu et al. 2022) of order 2
            with steps uniform in log SNR where None.

    Raises:
        UserError: diffusers has no such scheduler, or it does not fit this model.
    """
    if name is None:
        # Steps that are uniform in log SNR keep the variance of fine detail, which diffusers' default spacing halves at
        # 25 steps: of exact Gaussian data with deviation 0.05 it returns 0.016 to 0.027, this 0.049.
        return DPMSolverMultistepScheduler.from_config(trained.config, use_lu_lambdas=True)
    known = {kind.__name__ for kind in trained.compatibles} | {type(trained).__name__}
    if name not in known:
        raise one_of("scheduler", name, known)
    return getattr(diffusers, name).from_config(trained.config)


def noise_streams(seed: int, indices: np.ndarray) -> list[torch.Generator]:
    """A random stream for each sample, a function of (seed, index) alone; on the CPU, so the same for every device."""
    return [torch.Generator().manual_seed(seed_of(seed, int(i))) for i in indices]


@torch.inference_mode()
def sample_diffusion(
    denoiser: nn.Module,
    scheduler: SchedulerMixin,
    shape: tuple[int, int, int],
    labels: Tensor | None,
    streams: list[torch.Generator],
    *,
    steps: int,
    guidance: float = 1.0,
    null_label: int | None = None,
    on_call: Callable[[int], None] = lambda samples: None,
) -> Tensor:
    """Run the reverse process.

    With ``guidance`` w other than 1 the prediction is e(null) + w (e(y) - e(null)): classifier-free guidance
    (Ho & Salimans 2022) on diffusers' scale.

    Args:
        denoiser: diffusers' U-Net interface.
        scheduler: of :func:`sampling_scheduler`.
        shape: C, H, W.
        labels: int64, N, ``null_label`` for an unconditional sample; None for an unconditional denoiser.
        streams: N random streams: start noise and every later draw of sample i come from stream i.
        steps: network calls a sample (twice that with guidance).
        guidance: scale w.
        null_label: the label that stands for "no class".
        on_call: told the number of samples of each pass through the network.

    Returns:
        float32 in [-1, 1], N x C x H x W.
    """
    device = next(denoiser.parameters()).device
    scheduler.set_timesteps(steps, device=device)
    x = randn_tensor((len(streams), *shape), generator=streams, device=device) * scheduler.init_noise_sigma
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    extra = {"generator": streams if len(streams) > 1 else streams[0]} if takes_generator else {}
    both = None
    if guidance != 1 and labels is not None and null_label is not None:
        both = torch.cat([labels, torch.full_like(labels, null_label)])
    for t in scheduler.timesteps:
        inputs = scheduler.scale_model_input(x, t)
        on_call(len(x) * (1 if both is None else 2))
        if both is not None:
            conditional, free = denoise(denoiser, torch.cat([inputs, inputs]), t, both).chunk(2)
            prediction = free + guidance * (conditional - free)
        else:
            prediction = denoise(denoiser, inputs, t, labels)
        x = scheduler.step(prediction, t, x, **extra).prev_sample
    if not torch.isfinite(x).all():
        raise UserError(
            f"sampling gave values that are not finite: use other --steps than {steps} or a smaller --guidance"
        )
    return x.clamp(-1, 1)


def to_bytes(x: Tensor) -> np.ndarray:
    """Float N x C x H x W in [-1, 1] => uint8 N x H x W x C, rounded to the nearest grey level."""
    return ((x + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
