"""Pictures from files and bytes: decoded on all cores, cropped to a centred square, resized."""

import io
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, UnidentifiedImageError

from diffshare.data.appearance import Shown, as_shown
from diffshare.data.source import BadRecord
from diffshare.errors import UserError

LARGEST = 1024  # pixels: side of the largest array made of a picture
# other decoders of pillow are never reached, whatever a file claims to be
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")
# how the names of such files end
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp")
_logger = logging.getLogger(__name__)
_BLOCK = 16  # pictures per task: spares the pool's overhead and still stops soon at a bad one


@dataclass(frozen=True)
class Framing:
    """How a stored picture becomes a square array.

    Attributes:
        image_size: side of the result in pixels, 1 to 1024.
        crop: side in pixels of the centred square that is cut out first; None for the largest that fits.
        said: what was left out of pictures and has been logged; each is said once.

    Raises:
        UserError: a size that makes no sense.
    """

    image_size: int
    crop: int | None = None
    said: set[str] = field(default_factory=set, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.image_size <= LARGEST:
            raise UserError(
                f"image_size {self.image_size} makes no sense: choose 1 to {LARGEST} pixels"
            )
        if self.crop is not None and self.crop < 1:
            raise UserError(
                f"crop {self.crop} makes no sense: choose at least 1 pixel, or null for the largest square"
            )

    def __str__(self) -> str:
        square = f"centred square of {self.crop or 'largest'} pixels"
        return f"as shown (upright, sRGB, over white), {square}, bicubic to {self.image_size}"


def decode(path: str, framing: Framing, data: bytes | None = None) -> np.ndarray:
    """Decode one picture as a viewer shows it, crop its centre and resize it (bicubic, antialiased).

    See :func:`diffshare.data.appearance.as_shown`. What had to be left out is logged, once for each kind.

    Args:
        path: its file.
        framing: crop and size.
        data: the picture's bytes, where it is no file of its own; ``path`` then names it.

    Returns:
        uint8, image_size x image_size x 3.

    Raises:
        OSError: with an ``errno`` where the file cannot be read; without one where pillow cannot decode it.
        ValueError: the picture is too large, smaller than the crop, or of a kind that cannot be decoded right.
    """
    with Image.open(path if data is None else io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        # Pillow itself only warns up to twice its limit.
        if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
            raise ValueError(
                f"{width}x{height} pixels are more than the limit of {Image.MAX_IMAGE_PIXELS}"
            )
        crop = framing.crop or min(width, height)
        if min(width, height) < crop:
            raise ValueError(f"its {width}x{height} pixels are smaller than the crop of {crop}")
        shown = as_shown(image)
    _say(path, shown, framing.said)
    width, height = shown.image.size  # turned by a quarter, they are exchanged
    left, top = (width - crop) // 2, (height - crop) // 2
    size = (framing.image_size, framing.image_size)
    box = (left, top, left + crop, top + crop)
    return np.asarray(shown.image.crop(box).resize(size, Image.Resampling.BICUBIC))


def _say(path: str, shown: Shown, said: set[str]) -> None:
    for note in shown.notes:
        if note not in said:
            said.add(note)
            _logger.warning("the picture %s %s (said of the first such picture alone)", path, note)


def read_images(
    paths: Sequence[str],
    positions: np.ndarray,
    framing: Framing,
    out: np.ndarray | None = None,
    data: Sequence[bytes] | None = None,
) -> np.ndarray:
    """Decode these pictures on all cores (pillow decodes and resizes without holding the interpreter's lock).

    Args:
        paths: n files.
        positions: position of each in its source's index, n: what a ``BadRecord`` names.
        framing: crop and size.
        out: where to write, uint8, n x image_size x image_size x 3; a new array where None.
        data: n times the bytes of a picture, where they are no files of their own; ``paths`` then names them.

    Returns:
        ``out``, or the new array.

    Raises:
        BadRecord: the first file, in the order of ``paths``, that is missing or cannot be decoded.
        UserError: a file cannot be read for another reason (permission, a failing disk): never skipped.
    """
    result = (
        np.empty((len(paths), framing.image_size, framing.image_size, 3), np.uint8)
        if out is None
        else out
    )

    def block(start: int) -> None:
        for row in range(start, min(start + _BLOCK, len(paths))):
            raw = None if data is None else data[row]
            result[row] = _decode_record(paths[row], int(positions[row]), framing, raw)

    # one thread more than cores, for the one that waits for the disk; with more they fight for the interpreter's lock
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        for _ in pool.map(block, range(0, len(paths), _BLOCK)):
            pass
    return result


def _decode_record(path: str, position: int, framing: Framing, data: bytes | None) -> np.ndarray:
    try:
        return decode(path, framing, data)
    except MemoryError:
        raise
    except Exception as error:  # hostile bytes make pillow raise nearly anything
        if isinstance(error, UnidentifiedImageError):
            reason = f"it is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"
        elif isinstance(error, FileNotFoundError):
            reason = "it is missing"
        elif isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"cannot read {path}: {error.strerror}; make it readable") from error
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
        raise BadRecord(
            position, f"cannot decode {path}: {reason}; replace the file or set on_bad_image: skip"
        ) from error


def resize(x: np.ndarray, size: int) -> np.ndarray:
    """Images in another size, by the filter of :func:`decode` (bicubic, antialiased).

    Of images that are not square the largest centred square is taken, as of a picture file.

    Args:
        x: uint8, N x H x W x C, C 1 or 3.
        size: side of the result in pixels, 1 to 1024.

    Returns:
        uint8, N x size x size x C; ``x`` itself where it has that size.

    Raises:
        UserError: a size that makes no sense.
    """
    Framing(size)
    count, height, width, channels = x.shape
    if (height, width) == (size, size):
        return x
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    result = np.empty((count, size, size, channels), np.uint8)
    for row, image in enumerate(x):
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        small = np.asarray(picture.crop(box).resize((size, size), Image.Resampling.BICUBIC))
        result[row] = small[..., None] if channels == 1 else small
    return result
