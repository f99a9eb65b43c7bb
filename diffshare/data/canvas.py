"""Soft-edged shapes and random numbers for many small pictures at once, the same to the bit on every machine.

All arrays have the n pictures on the last axis, so that a parameter of a picture is a vector of n and broadcasts along
contiguous memory. Only additions, multiplications, divisions, square roots, minima and floors are used, which IEEE 754
defines to the bit: neither the machine, nor the number of threads, nor what is drawn together changes a pixel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray  # float32 where nothing else is said


def uniforms(seed: int, stream: int, counters: np.ndarray) -> np.ndarray:
    """64-bit random integers, each a function of (seed, stream, counter) alone: SplitMix64's output function.

    Args:
        seed: any integer >= 0.
        stream: number of the stream, >= 0.
        counters: integers >= 0 of any shape.

    Returns:
        uint64 of the shape of ``counters``.
    """
    key = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)
    z = counters.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    return z ^ (z >> np.uint64(31))


class Dice:
    """The chance of n faces: each call hands out the next column of one layer's stream, one number a face."""

    def __init__(self, seed: int, faces: np.ndarray, layer: int, columns: int = 20) -> None:
        counters = (
            faces.astype(np.uint64) * np.uint64(columns)
            + np.arange(columns, dtype=np.uint64)[:, None]
        )
        bits = (uniforms(seed, 1 + layer, counters) >> np.uint64(40)).astype(np.int32)
        self._columns = iter(bits.astype(np.float32) * np.float32(2**-24))

    def __call__(self, low: float = 0.0, high: float = 1.0) -> Array:
        """Uniform in [low, high), float32, n."""
        return next(self._columns) * np.float32(high - low) + np.float32(low)

    def chance(self, probability: float) -> Array:
        """True with this probability, n."""
        return next(self._columns) < probability

    def blend(self, palette: Sequence[tuple[float, float, float]]) -> Array:
        """A colour on the line through a palette's colours, float32, 3 x n."""
        colours = np.asarray(palette, np.float32).T
        place = self(0, len(palette) - 1)
        index = place.astype(np.int64)
        return colours[:, index] + (place - index.astype(np.float32)) * (
            colours[:, index + 1] - colours[:, index]
        )

    def pick(self, palette: Sequence[tuple[float, float, float]]) -> Array:
        """One of a palette's colours, with a little of its own, float32, 3 x n."""
        colours = np.asarray(palette, np.float32).T[:, self(0, len(palette)).astype(np.int64)]
        return colours * self(0.85, 1.15) + self(-0.03, 0.05)


@dataclass
class Canvas:
    """N pictures, or the same window of each, and the place on the head of every pixel.

    Attributes:
        rgb: the pictures, float32 in about [0, 1], 3 x h x w x n.
        u: place to the right of the head's centre, h x w x n.
        v: place below the head's centre, h x w x n.
        zoom: pixels a head unit, n.
        area: the window's rows and columns in the whole picture.
    """

    rgb: Array
    u: Array
    v: Array
    zoom: Array
    area: tuple[slice, slice] = (slice(None), slice(None))

    def window(self, left: float, right: float, top: float, bottom: float) -> "Canvas":
        """A window of whole pictures that shares their pixels; its bounds are fractions of width and height.

        A window saves time and must change nothing: it holds all that is painted through it.
        """
        size = len(self.u)
        area = (
            slice(int(top * size), math.ceil(bottom * size)),
            slice(int(left * size), math.ceil(right * size)),
        )
        return Canvas(self.rgb[:, *area], self.u[area], self.v[area], self.zoom, area)

    def cover(self, distance: Array) -> Array:
        """How much of each pixel lies inside a shape, in [0, 1]; ``distance`` to its edge is negative inside."""
        mask = distance * -self.zoom
        mask += np.float32(0.5)
        return np.clip(mask, 0, 1, out=mask)

    def stroke(self, distance: Array, width: Array | float) -> Array:
        """How much of each pixel a line of this width covers; thinner than a pixel, it fades instead of growing."""
        pixels = width * self.zoom
        mask = np.abs(distance)
        mask *= -self.zoom
        mask += 0.5 + 0.5 * pixels
        return np.clip(mask, 0, np.minimum(pixels, 1), out=mask)

    def paint(self, mask: Array, colour: Array, shade: Array | None = None) -> None:
        """Lay a colour (3 x n), multiplied by ``shade`` (h x w x n), over the pixels as far as ``mask`` covers them."""
        # one after the other: what is at work fits the cache
        for plane, tint in zip(self.rgb, colour, strict=True):
            change = tint - plane if shade is None else tint * shade - plane
            change *= mask
            plane += change


def ellipse(u: Array, v: Array, a: Array | float, b: Array | float) -> Array:
    """Distance to an ellipse with half axes a and b: exact on the edge, close to it nearby."""
    p, q = u * (1 / a), v * (1 / b)
    p *= p
    q *= q
    square = p + q
    p *= 1 / (a * a)
    q *= 1 / (b * b)
    p += q
    p += np.float32(1e-6)
    slope = np.sqrt(p, out=p)
    return (square - np.sqrt(square)) / slope


def wave(phase: Array) -> Array:
    """A smooth wave of period 1 in [-1, 1] made of parabolas."""
    turn = phase - np.floor(phase) - np.float32(0.5)
    return turn * (8 - 16 * np.abs(turn))


def either(condition: Array, yes: Array | float, no: Array | float) -> Array:
    """``np.where`` that stays float32 when it is given Python numbers."""
    return np.where(condition, np.asarray(yes, np.float32), np.asarray(no, np.float32))


def rgb(red: float, green: float, blue: float) -> Array:
    """A colour for all pictures, float32, 3 x 1."""
    return np.array([[red], [green], [blue]], np.float32)


def middles(size: int) -> Array:
    """Middles of the pixels of a picture that spans [-1, 1], size x 1."""
    return ((np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - 1)[
        :, None
    ]
