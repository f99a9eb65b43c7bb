"""Histograms of oriented gradients: what a small image looks like, in numbers that need no training."""

import numpy as np

# pixels a side, bins of 180 degrees, largest share of one number in a block
CELL, ORIENTATIONS, CLIP = (
    4,
    8,
    0.3,
)
_BLOCK = 250  # images that are worked on at a time: they stay in the processor's cache


def gradient_histograms(x: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients (Dalal & Triggs 2005): of 4x4 pixels, in overlapping blocks of 2x2 cells.

    Of the channels, the one with the steepest gradient counts. Each gradient votes with its length for the two
    nearest of 8 orientations; a block is normalised, cut at 0.3, and the root is taken.

    Args:
        x: uint8, N x H x W x C, sides of 8 pixels or more; pixels beyond the last whole cell are not looked at.

    Returns:
        float32, N x (H/4 - 1)(W/4 - 1) 32.
    """
    parts = [_histograms(x[i : i + _BLOCK]) for i in range(0, len(x), _BLOCK)]
    return np.concatenate(parts)


def _histograms(x: np.ndarray) -> np.ndarray:
    n, height, width = x.shape[0], x.shape[1] // CELL * CELL, x.shape[2] // CELL * CELL
    # exact: ties between channels stay ties in any light
    image = x[:, :height, :width].astype(np.int32)
    down, right = np.zeros_like(image), np.zeros_like(image)
    down[:, 1:-1] = image[:, 2:] - image[:, :-2]
    right[:, :, 1:-1] = image[:, :, 2:] - image[:, :, :-2]
    steepest = (down**2 + right**2).argmax(3)[..., None]
    y, x = (
        np.take_along_axis(a, steepest, 3)[..., 0].astype(np.float32) / 255 for a in (down, right)
    )
    length = np.hypot(x, y)
    place = np.arctan2(y, x) % np.pi / np.pi * ORIENTATIONS
    below = np.floor(place).astype(np.int64)
    share = (place - below).astype(np.float32)
    votes = np.zeros((n, height, width, ORIENTATIONS), np.float32)
    np.put_along_axis(
        votes, (below % ORIENTATIONS)[..., None], (length * (1 - share))[..., None], 3
    )
    np.put_along_axis(
        votes, ((below + 1) % ORIENTATIONS)[..., None], (length * share)[..., None], 3
    )
    cells = votes.reshape(n, height // CELL, CELL, width // CELL, CELL, ORIENTATIONS).mean((2, 4))
    rows, columns = cells.shape[1] - 1, cells.shape[2] - 1
    corners = [cells[:, i : rows + i, j : columns + j] for i in (0, 1) for j in (0, 1)]
    blocks = np.concatenate(corners, -1)
    blocks /= np.linalg.norm(blocks, axis=-1, keepdims=True) + 0.05
    return np.sqrt(np.minimum(blocks, CLIP)).reshape(n, -1)
