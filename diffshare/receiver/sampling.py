"""Drawing samples from a black box, batch after batch."""

import numpy as np

from diffshare.errors import UserError, check_number
from diffshare.progress import progress
from diffshare.release.generator import Generator
from diffshare.release.npz import MAX_BYTES

BATCH_SIZES = {"image": 64, "table": 4096}  # samples a pass, where nothing else is asked for


def draw_samples(
    generator: Generator,
    labels: np.ndarray,
    *,
    seed: int,
    batch_size: int | None = None,
    steps: int | None = None,
    guidance: float = 1.0,
) -> np.ndarray:
    """Ask a black box for one sample of each label.

    Sample i depends on (seed, i), its label, steps and guidance; another batch size changes it by one grey level at
    most, a cell of a table by a rounding (the order of floating-point sums).

    Args:
        generator: the black box.
        labels: int64, N: class of each sample, -1 for none.
        seed: chooses the noise.
        batch_size: samples a request; 64 images or 4096 rows where None.
        steps: sampling steps; the release's default where None.
        guidance: ``guidance_scale``, 1 is plain conditional sampling.

    Returns:
        uint8, N x H x W x C; of a table float32, N x columns.
    """
    check_asking(guidance, batch_size)
    if batch_size is None:
        batch_size = BATCH_SIZES[generator.card.modality]
    starts = range(0, len(labels), batch_size)
    indices = np.arange(len(labels))
    drawn: np.ndarray | None = None
    for start in progress(starts, "sampling", len(starts)):
        part = slice(start, start + batch_size)
        x = generator.sample(labels[part], indices[part], seed=seed, steps=steps, guidance=guidance)
        if drawn is None:
            _check_size(len(labels), x.nbytes / len(x))
            drawn = np.empty((len(labels), *x.shape[1:]), x.dtype)
        drawn[part] = x
    assert drawn is not None
    return drawn


def check_asking(guidance: float, batch_size: int | None) -> None:
    """Refuse how a model is asked where no model takes it; how many steps it takes is the model's.

    Raises:
        UserError: no sample a pass, or a guidance that is negative or no finite number.
    """
    check_number("batch_size", batch_size, 1)
    check_guidance(guidance)


def check_guidance(guidance: float) -> None:
    """Refuse a guidance scale that is none.

    Raises:
        UserError: it is negative, or no finite number.
    """
    if not 0 <= guidance < np.inf:
        raise UserError(
            f"`guidance` is {guidance}: it must be a number >= 0 (1 is plain conditional sampling)"
        )


def check_device(device: str) -> None:
    """Refuse a device that cannot be used here; any but the CPU needs torch.

    Raises:
        UserError: there is none of this name, or it has no memory.
    """
    if device == "cpu":
        return
    import torch

    try:
        torch.zeros(1, device=device).item()  # a device without memory ("meta") is made, not read
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"`device` {device} cannot be used here: choose cpu, or cuda where there is one"
        ) from error


def _check_size(count: int, each: float) -> None:
    """Refuse more samples than a samples folder can hold; ``each`` is the bytes of one."""
    if count * each > MAX_BYTES:
        raise UserError(
            f"{count} samples of this model take {count * each / 2**30:.0f} GiB: ask for at most "
            f"{int(MAX_BYTES // each)} at once"
        )
