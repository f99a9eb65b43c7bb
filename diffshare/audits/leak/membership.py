"""Does a diffusion model give away which records it was trained on? The loss-threshold test on its own network.

A model that has learnt its records by heart denoises them better than others of the same kind (Carlini et al. 2023,
arXiv 2301.13188, section 5.1; Matsumoto, Miura & Yanai 2023, arXiv 2302.03262). The test needs the network and the
records: it is the sharer's question about a release, and what a receiver can ask who holds a candidate record. It is a
lower bound: attacks with shadow models find more (LiRA, Carlini et al. 2022, arXiv 2112.03570).
"""

from typing import Any

import numpy as np
import torch

from diffshare.data.recordsets import scaled
from diffshare.errors import UserError
from diffshare.generators.denoising import DenoisingModule
from diffshare.generators.diffusion import noise_streams
from diffshare.generators.families import families
from diffshare.generators.received import DiffusionBox
from diffshare.progress import progress
from diffshare.release.folder import Release
from diffshare.release.generator import UNCONDITIONAL
from diffshare.release.schedulers import load_scheduler

LEVELS = 6  # noise levels
NOISES = 3  # noises at each
REACH = 0.6  # share of the training's noise levels, from the least, that they are spread over: with more noise, hardly
# anything of a record is left that could be known (chosen on one small model, which is in no measurement)
BATCH = 256


def released(release: Release, *, device: str = "cpu") -> DenoisingModule:
    """The family's module around the network that goes out: its training losses are the test's.

    Args:
        release: of :func:`diffshare.release.folder.open_release`.
        device: where to compute.

    Raises:
        UserError: the release is no diffusion model of images, or its parts do not fit.
    """
    kind = families().get(release.card.family)
    if kind is None or not issubclass(kind, DenoisingModule) or kind.box is not DiffusionBox:
        raise UserError(
            f"the membership test reads a denoising loss of images, which a release of the family "
            f"'{release.card.family}' does not have"
        )
    box: Any = kind.receive(release, device=device)
    trained = load_scheduler(release, own=kind.own_schedulers)
    module = kind(box.denoiser, trained, sampling_steps=release.card.steps)
    return module.to(device).eval()


@torch.no_grad()
def denoising_losses(
    model: DenoisingModule,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    levels: int = LEVELS,
    noises: int = NOISES,
    seed: int = 0,
    batch_size: int = BATCH,
) -> np.ndarray:
    """Training loss of each record, averaged over fixed noise levels and noises: the same ones for every record.

    What one noise is easier to remove than another adds nothing to the difference of two records then. The levels are
    the middles of ``levels`` equal parts of the lower 0.6 of the family's own training distribution.

    Args:
        model: of pixels, as trained or of :func:`released`; it is put into evaluation mode.
        x: records, uint8, N x H x W x C.
        labels: class of each as it was trained on, int64, N; -1 asks for no class. Unread by a model without classes.
        levels: how many noise levels.
        noises: how many noises at each.
        seed: of the noises.
        batch_size: records a pass.

    Returns:
        float64, N.

    Raises:
        UserError: a loss that is not finite.
    """
    model.eval()
    device, null = model.device, model.null_label
    shape = (x.shape[3], *x.shape[1:3])
    uniform = REACH * (torch.arange(levels, dtype=torch.float64) + 0.5) / levels
    times = model.times(uniform)
    times = (times if times.dtype == torch.long else times.float()).to(device)
    streams = noise_streams(seed, np.arange(levels * noises))
    noise = torch.stack([torch.randn(shape, generator=s) for s in streams]).to(device)
    losses = np.zeros(len(x))
    for start in progress(range(0, len(x), batch_size), "losses of records"):
        these = slice(start, start + batch_size)
        records = scaled(torch.from_numpy(np.ascontiguousarray(x[these]))).to(device)
        given = None
        if null is not None:
            given = torch.from_numpy(
                np.where(labels[these] == UNCONDITIONAL, null, labels[these])
            ).to(device)
        for number in range(levels * noises):
            at = times[number // noises].expand(len(records))
            here = model.losses(records, given, noise[number].expand_as(records), at)
            losses[these] += here.double().cpu().numpy() / (levels * noises)
    if not np.isfinite(losses).all():
        raise UserError(
            "the model's loss is not finite on these records: it cannot be tested for membership"
        )
    return losses
