"""Images as a generator would have made them: training on such copies brings a classifier nearer to samples."""

import numpy as np


def degrade(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A blur of up to one pixel and a little noise.

    Args:
        x: uint8, N x H x W x C.
        rng: chooses the blur (Gaussian, sigma uniform in [0.3, 1] pixels) and the noise (sigma uniform in [0, 8] grey
            levels) of each image.

    Returns:
        uint8, the same shape.
    """
    image = x.astype(np.float32)
    sigma = rng.uniform(0.3, 1.0, len(x)).astype(np.float32)
    taps = np.exp(-(np.arange(-2, 3, dtype=np.float32) ** 2) / (2 * sigma[:, None] ** 2))
    taps /= taps.sum(1, keepdims=True)
    for axis in (1, 2):
        widths = [(2, 2) if a == axis else (0, 0) for a in range(4)]
        padded = np.pad(image, widths, "edge")
        image = np.zeros_like(image)
        for i in range(taps.shape[1]):
            image += taps[:, i, None, None, None] * np.take(
                padded, np.arange(i, i + x.shape[axis]), axis
            )
    noise = rng.standard_normal(x.shape, np.float32) * rng.uniform(0, 8, (len(x), 1, 1, 1)).astype(
        np.float32
    )
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
