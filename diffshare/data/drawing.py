"""Draws small faces: a portrait is a stack of soft-edged shapes.

Lengths are in head units: a picture is 2 x 2 of them, a head about 1.1 wide and 1.35 high; u runs to the right and v
down from the head's centre. Each layer has its own ``Dice``, so that a change of one leaves the others as they are.
"""

from dataclasses import replace

import numpy as np

from diffshare.data.canvas import Array, Canvas, Dice, either, ellipse, middles, rgb, wave
from diffshare.data.face import (
    Person,
    paint_age,
    paint_beard,
    paint_eyes,
    paint_glasses,
    paint_mouth,
    paint_nose,
    person_of,
)

ATTRIBUTES = ("Smiling", "Eyeglasses", "Hat", "Young", "Male")
VERSION = 1  # of the pictures: raise it when a byte of any face changes, it is part of the decoded cache's key

_CLOTH = (
    (0.13, 0.15, 0.24),
    (0.72, 0.16, 0.18),
    (0.94, 0.92, 0.88),
    (0.12, 0.45, 0.42),
    (0.93, 0.72, 0.18),
    (0.40, 0.24, 0.55),
)
_HATS = (
    (0.80, 0.12, 0.16),
    (0.95, 0.70, 0.12),
    (0.10, 0.52, 0.34),
    (0.10, 0.32, 0.78),
    (0.50, 0.18, 0.62),
    (0.20, 0.22, 0.26),
)
_WALLS = (
    (0.86, 0.86, 0.82),
    (0.55, 0.70, 0.83),
    (0.28, 0.38, 0.50),
    (0.36, 0.48, 0.40),
    (0.68, 0.74, 0.55),
    (0.88, 0.76, 0.60),
    (0.66, 0.46, 0.42),
    (0.40, 0.33, 0.42),
    (0.20, 0.20, 0.23),
)


def _background(canvas: Canvas, dice: Dice) -> None:
    x = middles(len(canvas.u))
    y = x[:, None]
    slope = np.clip((0.5 + dice(-0.5, 0.5) * x) + dice(-0.5, 0.5) * y, 0, 1)
    across, down, sharp = x - dice(-1, 1), y - dice(-1, 1), dice(1, 4)
    spot = np.clip((1 - across * across * sharp) - down * down * sharp, 0, 1)
    near = dice.blend(_WALLS)
    far = dice.blend(_WALLS) * dice(0.7, 1.0) - near
    lamp = rgb(1, 0.97, 0.9) * dice(-0.15, 0.3)
    for plane, first, change, glow in zip(canvas.rgb, near, far, lamp, strict=True):
        np.multiply(slope, change, out=plane)
        plane += spot * glow
        plane += first


def _hair_shape(canvas: Canvas, person: Person, dice: Dice) -> tuple[Array, Array, Array]:
    """Distances to all hair, to the face's opening in it, and the hair's shade."""
    u, v, male = canvas.u, canvas.v, person.male
    volume = dice(0.03, 0.13) + either(male, 0, dice(0.01, 0.07))
    bald = male & dice.chance(0.2)
    top = either(bald, person.half_height - 0.12, person.half_height + volume)
    wide = person.half_width + either(bald, 0.02, volume)
    below = np.clip(v, 0, 2)
    length = either(male, dice(-0.12, 0.12), dice(0.32, 1.05))
    flare = either(male, 0.3, dice(0.85, 1.25))
    # one dome above the eyes, sides that hang down from it and flare or close towards the ends
    spread = wide * (1 + (flare - 1) * below)
    curl = either(dice.chance(0.4), dice(0.02, 0.045), 0)
    place = middles(len(u))
    ripple = curl * wave(3.1 * place + dice()) * wave(3.3 * place + dice())[:, None]
    p, q = u / spread, np.clip(v, -2, 0) / top
    outer = (np.sqrt(p * p + q * q) - 1) * wide + ripple
    outer = np.maximum(outer, v - length + 0.5 * u * u)
    # the forehead: an arch, cut by a fringe that may slant
    arch_u = (u - dice(-0.1, 0.1)) / (person.half_width - either(male, 0.04, dice(0.04, 0.12)))
    arch_v = np.clip(v + 0.02, -2, 0) / either(bald, 0.9, dice(0.34, 0.5))
    opening = (np.sqrt(arch_u * arch_u + arch_v * arch_v) - 1) * 0.45
    fringe = either(dice.chance(0.45), dice(-0.34, -0.24), -0.6) + dice(-0.25, 0.25) * u
    opening = either(bald, opening, np.maximum(opening, fringe - v))
    shine = 0.92 + 0.22 * wave(0.9 * place + dice())[:, None]
    return outer, opening, shine + person.light_u * u


def _body(canvas: Canvas, person: Person, dice: Dice) -> None:
    low = canvas.window(0, 1, 0.55, 1)
    neck = low.cover(
        np.maximum(
            np.abs(low.u) - either(person.male, dice(0.24, 0.3), dice(0.19, 0.24)), 0.1 - low.v
        )
    )
    low.paint(neck, person.skin * 0.78)
    cloth, broad = dice.pick(_CLOTH), either(person.male, dice(0.85, 1.05), dice(0.7, 0.85))
    shoulders = low.cover(ellipse(low.u, low.v - 1.3, broad, dice(0.48, 0.56)))
    collar = low.cover(0.5 * (np.abs(low.u) * dice(1.2, 2.4) + low.v - dice(0.88, 1.0)))
    low.paint(shoulders * (1 - collar), cloth, 1 + 0.35 * person.light_u * low.u)


def _head(canvas: Canvas, person: Person, dice: Dice) -> Array:
    """Paint ears and the bare face; return the distance to the face's edge."""
    sides = canvas.window(0.03, 0.97, 0.33, 0.8)
    away = np.abs(sides.u) - person.half_width
    sides.paint(
        sides.cover(ellipse(away, sides.v - 0.02, dice(0.06, 0.09), dice(0.1, 0.15))),
        person.skin * 0.86,
    )
    # the lower half narrows towards the chin, less so with a broad jaw
    below = np.clip(canvas.v, 0, 2)
    jaw = either(person.male, dice(0.1, 0.26), dice(0.3, 0.44))
    p = canvas.u / (person.half_width * (1 - jaw * below * below * 1.6))
    q = canvas.v / person.half_height
    square = p * p + q * q
    edge = (np.sqrt(square) - 1) * person.half_width
    round_ = np.sqrt(np.clip(1 - square, 0, 1))
    shade = dice(0.78, 0.86) + 0.2 * round_ + person.light_u * p * 0.55 + person.light_v * q * 0.4
    canvas.paint(canvas.cover(edge), person.skin, shade)
    return edge


def _hat(canvas: Canvas, person: Person, dice: Dice) -> None:
    worn = person.hat.astype(np.float32)
    top = canvas.window(0, 1, 0, 0.67)
    kind = dice()
    cap, straw = (kind < 0.4), (kind > 0.7)
    colour = dice.pick(_HATS)
    wide = person.half_width + dice(0.1, 0.16)
    band = -dice(0.3, 0.36) + 0.12 * top.u * top.u
    height = person.half_height - 0.3 + dice(0.14, 0.3)
    above = top.v - band
    dome = np.maximum(ellipse(top.u, above, wide, height), above)
    shade = (
        0.95
        + 0.6 * person.light_u * top.u
        - 0.35 * above
        + 0.1 * wave(top.u * either(cap | straw, 1.5, 5.0))
    )
    top.paint(top.cover(dome) * worn, colour, shade)
    ribbon = top.cover(np.maximum(dome, -above - dice(0.1, 0.16))) * either(cap, 0.0, 1.0)
    top.paint(ribbon * worn, dice.pick(_CLOTH))
    turn = either(dice.chance(0.5), 1.0, -1.0) * cap * 0.28
    reach = either(straw, dice(0.85, 0.98), either(cap, dice(0.5, 0.6), wide + 0.02))
    thick = either(straw, dice(0.05, 0.08), either(cap, 0.06, dice(0.07, 0.1)))
    brim = top.cover(ellipse(top.u - turn, above, reach, thick))
    top.paint(brim * worn, colour * 0.72, shade)


def _frame(n: int, size: int, dice: Dice) -> tuple[Canvas, Canvas]:
    """The empty pictures in the head's coordinates, and the same in those of the face, which is turned and nods."""
    x = middles(size)
    scale, lean = dice(0.9, 1.1), dice(-0.16, 0.16)
    cos = 1 / np.sqrt(1 + lean * lean)
    across, down = x - dice(-0.09, 0.09), x[:, None] - dice(0.08, 0.2)
    cos_s, sin_s = cos / scale, cos * lean / scale
    u = across * cos_s + down * sin_s
    v = down * cos_s - across * sin_s
    canvas = Canvas(np.empty((3, size, size, n), np.float32), u, v, scale * np.float32(size / 2))
    turn, nod = dice(-0.12, 0.12), dice(-0.05, 0.05)
    shifted = u - turn
    face = replace(canvas, u=shifted * (1 + 2.2 * turn * np.clip(shifted, -0.5, 0.5)), v=v - nod)
    return canvas, face


def draw(seed: int, faces: np.ndarray, codes: np.ndarray, size: int) -> np.ndarray:
    """Draw faces.

    Args:
        seed: of the nuisance: pose, light, colours and shapes that no attribute fixes.
        faces: numbers of the faces, integers >= 0, n; a number names the same person and pose wherever it stands.
        codes: 0 or 1 for each of ``ATTRIBUTES``, n x 5.
        size: height and width in pixels.

    Returns:
        uint8, n x size x size x 3.
    """
    canvas, face = _frame(len(faces), size, Dice(seed, faces, 0))
    person = person_of(Dice(seed, faces, 1), codes)
    _background(canvas, Dice(seed, faces, 2))
    hair, opening, shine = _hair_shape(canvas, person, Dice(seed, faces, 3))
    canvas.paint(canvas.cover(hair), person.hair * 0.72, shine)
    _body(canvas, person, Dice(seed, faces, 4))
    edge = _head(canvas, person, Dice(seed, faces, 5))
    paint_age(face, person, Dice(seed, faces, 6))
    paint_beard(canvas, face, person, Dice(seed, faces, 7), edge)
    paint_nose(face, person, Dice(seed, faces, 8))
    paint_eyes(face, person, Dice(seed, faces, 9))
    paint_mouth(face, person, Dice(seed, faces, 10))
    canvas.paint(canvas.cover(np.maximum(hair, -opening)), person.hair, shine)
    paint_glasses(face, person, Dice(seed, faces, 11))
    _hat(canvas, person, Dice(seed, faces, 12))
    light = Dice(seed, faces, 13)
    gain = light(217, 275) * np.stack([light(0.98, 1.02) for _ in range(3)])
    levels = np.empty((len(faces), 3, size * size), np.uint8)
    for channel, (plane, tint) in enumerate(zip(canvas.rgb, gain, strict=True)):
        plane *= tint
        plane += np.float32(0.5)
        levels[:, channel] = (
            np.clip(plane, 0, 255, out=plane).astype(np.uint8).reshape(-1, len(faces)).T
        )
    return levels.reshape(-1, 3, size, size).transpose(0, 2, 3, 1)
