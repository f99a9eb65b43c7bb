"""A contact sheet of images, for people to look at."""

import numpy as np


def image_grid(x: np.ndarray, columns: int, *, tile: int = 64, separator: int = 2) -> np.ndarray:
    """Images side by side, small ones enlarged so that a person can see them.

    Args:
        x: uint8, N x H x W x C with C 1 or 3, N >= 1, row after row.
        columns: images in a row, at least 1; the last row is filled up with the separators' grey.
        tile: an image of fewer pixels a side is enlarged by the least whole factor that reaches this (nearest pixel).
        separator: width in pixels of the grey lines between and around the images.

    Returns:
        uint8, rows x (tile + separator) + separator high, likewise wide, C channels.
    """
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[-1] not in (1, 3) or not x.size or columns < 1:
        raise ValueError(
            f"images must be uint8 N x H x W x 1 or 3 in at least one column, not {x.dtype} {x.shape}"
        )
    factor = max(1, -(-tile // min(x.shape[1:3])))
    x = x.repeat(factor, axis=1).repeat(factor, axis=2)
    n, height, width, channels = x.shape
    rows = -(-n // columns)
    down, right = height + separator, width + separator
    sheet = np.full((rows * down + separator, columns * right + separator, channels), 128, np.uint8)
    for i, image in enumerate(x):
        top, left = separator + i // columns * down, separator + i % columns * right
        sheet[top : top + height, left : left + width] = image
    return sheet
