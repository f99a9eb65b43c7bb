"""Arrays of images as people save them, as uint8 of one shape; what could be meant in two ways is refused."""

from typing import Any

import numpy as np

from diffshare.errors import UserError

_CHANNELS = (1, 3)
_BRIGHT = 64  # floats that are no brighter may be of any scale
_SLACK = 1e-3  # by which a generator's values may pass the ends of their range
_BLOCK = 1024  # images that are turned at once


def as_images(x: Any, name: str = "x") -> np.ndarray:
    """Images as uint8, N x H x W x C.

    - uint8 is taken as it is; truth values are black and white; whole numbers of another type, lie
      within 0..255 and reach beyond 1; floats within 0..255 reach to 64 or more.
    - Floats within [0, 1] are multiplied by 255; with negative values within [-1, 1] they are moved to [0, 1] first.
    - N x C x H x W is told by its 1 or 3 channels in the second place, N x H x W is grey.

    Args:
        x: the array.
        name: what it is called, for messages.

    Returns:
        uint8, N x H x W x C, C 1 or 3; ``x`` itself where it is that.

    Raises:
        UserError: another shape or type, values of another range, or what could be meant in two ways.
    """
    array = np.asarray(x)
    if array.dtype.kind not in "buif":
        raise UserError(
            f"{name} is of type {array.dtype}: images are numbers, best uint8 from 0 to 255"
        )
    array = _channels_last(array, name)
    if array.dtype == np.uint8:
        return array
    scale, shift = _range(array, name)
    result = np.empty(array.shape, np.uint8)
    for start in range(0, len(array), _BLOCK):
        block = array[start : start + _BLOCK].astype(np.float64)
        result[start : start + _BLOCK] = np.clip(np.rint((block + shift) * scale), 0, 255)
    return result


def _channels_last(array: np.ndarray, name: str) -> np.ndarray:
    shape = array.shape
    told = f"{name} has the shape {shape}"
    if not array.size:
        raise UserError(f"{told}: it holds no image")
    if len(shape) == 3:
        if shape[2] in _CHANNELS:
            raise UserError(
                f"{told}: is it one image or many grey ones? Give N x height x width x channels"
            )
        return array[..., None]
    if len(shape) != 4:
        raise UserError(f"{told}: images are N x height x width x channels, or N x height x width")
    last, first = shape[3] in _CHANNELS, shape[1] in _CHANNELS
    if last and first:
        raise UserError(
            f"{told}: are the channels second or last? Give images with more than 3 pixels a side"
        )
    if not last and not first:
        raise UserError(f"{told}: images have 1 or 3 channels, which stand last")
    return array if last else np.moveaxis(array, 1, 3)


def _range(array: np.ndarray, name: str) -> tuple[float, float]:
    """What values are multiplied by after something is added to them."""
    least, most = float(array.min()), float(array.max())
    told = f"{name} ({array.dtype}) has values from {least:.6g} to {most:.6g}"
    if not np.isfinite([least, most]).all():
        raise UserError(f"{name} has values that are no finite numbers: an image has none")
    if array.dtype.kind == "b":
        return 255.0, 0.0
    if array.dtype.kind in "iu":
        if least >= 0 and 1 < most <= 255:
            return 1.0, 0.0
        raise UserError(f"{told}: whole numbers are 0 to 255; scale them and save uint8")
    if least >= -_SLACK and most <= 1 + _SLACK:
        return 255.0, 0.0
    if least >= -1 - _SLACK and most <= 1 + _SLACK:
        return 127.5, 1.0
    if least >= -_SLACK and _BRIGHT <= most <= 255:
        return 1.0, 0.0
    raise UserError(
        f"{told}: floats are within [0, 1] or [-1, 1]; scale them, or save uint8 from 0 to 255"
    )
