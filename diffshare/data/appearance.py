"""What a viewer shows of a picture file: upright, in the colours of sRGB, over white, 8 bits a channel.

The order is that of a viewer: samples, transparency, colour profile, background, orientation.
What cannot be followed is left out and named in ``Shown.notes``.
"""

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps

BACKGROUND = (255, 255, 255)  # of transparent pictures: the page of a browser, the paper of a print
# where pillow looks for an orientation
_EXIF = (
    "exif",
    "Raw profile type exif",
    "xmp",
    "XML:com.adobe.xmp",
)
# a profile's colour space, and the mode of pictures that it fits
_SPACES = {
    "GRAY": "L",
    "RGB": "RGB",
    "CMYK": "CMYK",
}
_MAX_PROFILE = 4 << 20  # bytes: those of printers have some two million
_SRGB_GAMMA = 0.45455


class Shown(NamedTuple):
    """A picture as a viewer shows it.

    Attributes:
        image: mode RGB.
        notes: what was left out, in words that complete "the picture ...".
    """

    image: Image.Image
    notes: tuple[str, ...] = ()


def as_shown(image: Image.Image) -> Shown:
    """Decode an opened picture as a viewer shows it.

    - The first picture alone of a file that holds several (animated PNG, WebP or GIF, TIFF of several
      pages, multi-picture JPEG).
    - 16 bits a channel: the higher 8 (the lower make no difference on a screen).
    - Transparent: over white, whether by an alpha channel, a palette or one transparent colour.
    - An embedded colour profile is converted to sRGB (perceptual intent). Without one the values
      are taken as sRGB, and CMYK by the plain formula.
    - Turned and mirrored as its EXIF (or XMP) orientation says, all 8 values.

    A PNG's own gamma and chromaticities are not applied, as in most viewers.

    Args:
        image: as ``Image.open`` returns it, not yet loaded.

    Raises:
        OSError: the file cannot be decoded (see ``PIL.Image.Image.load``).
        ValueError: its samples are of a kind of which no viewer's picture can be made without a choice
            (32 bits, signed, fractions, Lab).
    """
    raw_mode = _raw_mode(image)  # pillow forgets it when it loads
    _refuse_samples(image, raw_mode)
    image.load()
    notes = [_SEVERAL] if getattr(image, "n_frames", 1) > 1 else []
    picture, alpha = _samples(image, raw_mode, notes)
    picture = _in_srgb(picture, image.info, notes)
    if alpha is not None:
        picture = Image.composite(picture, Image.new("RGB", picture.size, BACKGROUND), alpha)
    return Shown(_upright(picture, image, notes), tuple(notes))


_SEVERAL = "holds several: only the first is used"
_KEY = "has a transparent colour of 16 bits: it is taken as opaque"
_UNREADABLE = "has a colour profile that cannot be read: its values are taken as sRGB"
_FOREIGN = "has a colour profile of another kind of picture: its values are taken as sRGB"
_GAMMA = "has a gamma of its own: it is not applied"
_BROKEN_EXIF = "has EXIF data that cannot be read: it is not turned"


def _raw_mode(image: Image.Image) -> str:
    """How the samples are stored, for instance ``L;4`` for grey of 4 bits."""
    tile = getattr(image, "tile", None)
    arguments = tile[0][3] if tile else ""
    return str(arguments if isinstance(arguments, str) else arguments[0] if arguments else "")


def _refuse_samples(image: Image.Image, raw_mode: str) -> None:
    """Refuse what would be decoded wrong: by its mode, and by what pillow is known to misread."""
    if image.mode not in _MODES and not image.mode.startswith("I;16"):
        raise ValueError(f"its samples are {_ODD.get(image.mode, image.mode)}: save it as PNG")
    tags = getattr(image, "tag_v2", None)
    if image.mode == "I" and (tags is not None or raw_mode not in ("", "I;16B")):
        raise ValueError(f"its samples are {_ODD['I']}: save it as PNG")
    if image.mode.startswith("I") and tags is not None and tags.get(_PHOTOMETRIC) == 0:
        # pillow does not turn them round
        raise ValueError("its 16-bit samples count from white to black: save it as PNG")


_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "I")
_ODD = {"I": "of 32 bits or signed", "F": "fractions", "LAB": "Lab colours"}
_PHOTOMETRIC = 262  # TIFF 6.0: 0 is white first


def _samples(
    image: Image.Image, raw_mode: str, notes: list[str]
) -> tuple[Image.Image, Image.Image | None]:
    """The picture in mode L, RGB or CMYK, and its alpha channel in mode L where it has transparency."""
    key = image.info.get("transparency")
    if image.mode.startswith("I"):  # grey of 16 bits
        values = np.asarray(image)
        alpha = (
            None
            if key is None
            else Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
        )
        shift = 4 if raw_mode == "I;12" else 8
        return Image.fromarray((values >> shift).astype(np.uint8)), alpha
    if image.mode in ("P", "PA"):
        return (
            _without_alpha(image.convert("RGBA"))
            if image.has_transparency_data
            else (image.convert("RGB"), None)
        )
    if image.mode in ("La", "RGBa"):  # colours that are multiplied by alpha
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode in ("LA", "RGBA"):
        return _without_alpha(image)
    if image.mode in ("RGBX", "YCbCr"):
        image = image.convert("RGB")
    picture = image.convert("L") if image.mode == "1" else image
    if key is None:
        return picture, None
    if ";16" in raw_mode:  # pillow keeps the higher bytes of the pixels, and both of the colour
        notes.append(_KEY)
        return picture, None
    # pillow scales the pixels to 0..255, not the colour
    scale = {"L;2": 85, "L;4": 17}.get(raw_mode, 1)
    values = np.asarray(picture)
    same = values == (np.multiply(key, scale))
    clear = same.all(-1) if values.ndim == 3 else same
    return picture, Image.fromarray(np.where(clear, 0, 255).astype(np.uint8))


def _without_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    return image.convert("RGB" if image.mode == "RGBA" else "L"), image.getchannel("A")


def _in_srgb(
    image: Image.Image, info: dict[str | tuple[int, int], object], notes: list[str]
) -> Image.Image:
    """The picture in mode RGB, its colours those that the embedded profile means."""
    profile = info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        try:
            transform = _transform(profile, image.mode)
            if (
                transform is not None
                and (converted := ImageCms.applyTransform(image, transform)) is not None
            ):
                return converted
            notes.append(_FOREIGN)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError, ImportError):
            notes.append(_UNREADABLE)
    elif "srgb" not in info and abs(_number(info.get("gamma"), _SRGB_GAMMA) - _SRGB_GAMMA) > 0.001:
        notes.append(_GAMMA)
    return image if image.mode == "RGB" else image.convert("RGB")


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) else default


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB, made once for the many pictures of one camera; None where it does not fit the mode."""
    if len(profile) > _MAX_PROFILE:
        raise ValueError(f"a profile of {len(profile)} bytes")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if _SPACES.get(source.profile.xcolor_space.strip()) != mode:
        return None
    target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.buildTransform(source, target, mode, "RGB", ImageCms.Intent.PERCEPTUAL)


def _upright(picture: Image.Image, image: Image.Image, notes: list[str]) -> Image.Image:
    """The picture turned as the file's metadata say."""
    if not any(key in image.info for key in _EXIF):
        return picture
    picture.info = {key: image.info[key] for key in _EXIF if key in image.info}
    try:
        return ImageOps.exif_transpose(picture)
    except MemoryError:
        raise
    # hostile bytes make pillow raise nearly anything; a viewer shows such a picture as it lies
    except Exception:
        notes.append(_BROKEN_EXIF)
        return picture
