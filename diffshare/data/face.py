"""The face: whose it is, and what is painted on it (lengths as in ``diffshare.data.drawing``)."""

from dataclasses import dataclass

import numpy as np

from diffshare.data.canvas import Array, Canvas, Dice, either, ellipse, rgb

_SKIN = (
    (0.98, 0.86, 0.76),
    (0.94, 0.77, 0.64),
    (0.85, 0.65, 0.50),
    (0.71, 0.50, 0.36),
    (0.53, 0.35, 0.25),
    (0.37, 0.24, 0.18),
)
_HAIR = (
    (0.07, 0.06, 0.07),
    (0.17, 0.10, 0.07),
    (0.34, 0.20, 0.11),
    (0.52, 0.23, 0.10),
    (0.66, 0.44, 0.19),
    (0.90, 0.74, 0.38),
)
_IRIS = ((0.20, 0.11, 0.06), (0.30, 0.20, 0.08), (0.20, 0.36, 0.20), (0.18, 0.36, 0.58))
_FRAMES = ((0.05, 0.05, 0.06), (0.10, 0.08, 0.20), (0.30, 0.07, 0.07), (0.25, 0.13, 0.05))


@dataclass
class Person:
    """What several layers of a portrait share.

    Attributes:
        smiling, glasses, hat, young, male: the attributes, bool, n.
        skin, hair: colours, 3 x n.
        half_width, half_height: of the bare head, n.
        light_u, light_v: how much brighter the head gets to the right and downwards, n.
    """

    smiling: Array
    glasses: Array
    hat: Array
    young: Array
    male: Array
    skin: Array
    hair: Array
    half_width: Array
    half_height: Array
    light_u: Array
    light_v: Array


def person_of(dice: Dice, codes: np.ndarray) -> Person:
    """What attributes and chance make of each person.

    Args:
        dice: of the layer.
        codes: 0 or 1 for Smiling, Eyeglasses, Hat, Young and Male, n x 5.
    """
    smiling, glasses, hat, young, male = codes.T.astype(bool)
    skin = dice.blend(_SKIN) * dice(0.95, 1.05)
    hair = dice.blend(_HAIR) * dice(0.9, 1.1)
    grey = dice(0.62, 0.9) * np.array([[0.98], [0.99], [1.02]], np.float32)
    hair = either(young, hair, hair + (grey - hair) * dice(0.8, 1.0))
    half_width = either(male, dice(0.52, 0.58), dice(0.48, 0.54))
    half_height, light_u, light_v = dice(0.62, 0.69), dice(-0.3, 0.3), dice(-0.25, 0.1)
    return Person(
        smiling, glasses, hat, young, male, skin, hair, half_width, half_height, light_u, light_v
    )


def paint_age(face: Canvas, person: Person, dice: Dice) -> None:
    """Lines of the forehead, beside the mouth and below the eyes; the cheeks of the young have colour instead."""
    face = face.window(0.13, 0.9, 0.2, 0.92)
    old = either(person.young, 0.0, dice(0.4, 0.75))
    dark = person.skin * np.array([[0.55], [0.48], [0.46]], np.float32)
    side = np.abs(face.u)
    fold = face.stroke(side - 0.17 - 0.3 * (face.v - 0.2), 0.04) * face.cover(
        np.abs(face.v - 0.29) - 0.08
    )
    eye = side - 0.21
    bag = face.stroke(face.v - 0.115 + 1.6 * eye * eye, 0.035) * face.cover(np.abs(eye) - 0.1)
    brow = np.abs(np.abs(face.v + 0.335) - 0.05) + 0.25 * face.u * face.u
    brow = face.stroke(brow, 0.04) * face.cover(side - dice(0.2, 0.3))
    face.paint(np.maximum(np.maximum(fold, bag), brow) * old, dark)
    blush = np.clip(
        1 - ((side - 0.3) * (side - 0.3) + (face.v - 0.17) * (face.v - 0.17)) * 40, 0, 1
    )
    face.paint(
        blush * either(person.young, dice(0.05, 0.3), 0.0), person.skin * rgb(1.0, 0.66, 0.62)
    )


def paint_beard(canvas: Canvas, face: Canvas, person: Person, dice: Dice, edge: Array) -> None:
    """A beard or its shadow within the face's ``edge`` (distance to it, h x w x n), and a moustache; of men alone."""
    low = canvas.window(0.08, 0.92, 0.33, 1)
    line = low.v - dice(0.16, 0.24) + 0.9 * np.clip(np.abs(low.u) - 0.25, 0, 2)
    beard = low.cover(np.maximum(-0.4 * line, edge[low.area] - 0.01))
    beard *= 1 - low.cover(ellipse(face.u[low.area], face.v[low.area] - 0.38, 0.27, 0.12))
    face = face.window(0.13, 0.87, 0.52, 0.87)
    strip = face.cover(
        ellipse(face.u, face.v - 0.255 - 0.3 * face.u * face.u, dice(0.15, 0.21), dice(0.03, 0.045))
    )
    full = dice.chance(0.45)
    strength = either(full, dice(0.6, 0.95), dice(0.1, 0.28)) * person.male
    low.paint(beard * strength, person.hair * 0.85)
    face.paint(strip * either(full | dice.chance(0.3), 0.9, 0.15) * person.male, person.hair * 0.8)


def paint_eyes(face: Canvas, person: Person, dice: Dice) -> None:
    """Eyes, lids and brows."""
    face = face.window(0.13, 0.87, 0.27, 0.73)
    iris, gaze = dice.pick(_IRIS), dice(-0.03, 0.03)
    wide, high = dice(0.095, 0.12), dice(0.055, 0.075) - either(person.young, 0.0, 0.01)
    side = np.abs(face.u) - dice(0.2, 0.23)
    v = face.v + 0.03
    lid = ellipse(side, v, wide, high)
    white = face.cover(lid)
    face.paint(face.cover(lid - 0.025) * 0.55, person.skin * 0.6)
    face.paint(white, rgb(0.97, 0.97, 0.96))
    across = side - gaze * np.where(face.u > 0, np.float32(1), np.float32(-1))
    ball = across * across + v * v
    radius = dice(0.058, 0.068)
    face.paint(white * face.cover(np.sqrt(ball) - radius), iris)
    face.paint(white * face.cover(np.sqrt(ball) - 0.03), rgb(0.03, 0.02, 0.02))
    # upper lid: lashes where the face is a woman's
    lash = np.abs(lid) + np.clip(v + 0.02, 0, 2)
    face.paint(
        face.stroke(lash, either(person.male, 0.02, dice(0.045, 0.06))), rgb(0.1, 0.07, 0.06)
    )
    tilt = either(person.male, dice(-0.15, 0.1), dice(-0.1, 0.1))
    arch = either(person.male, dice(0.3, 1.5), dice(2.0, 3.5))
    brow = face.v + dice(0.165, 0.2) - tilt * side - arch * side * side
    thick = either(person.male, dice(0.055, 0.085), dice(0.025, 0.04))
    mask = face.stroke(brow, thick) * face.cover(np.abs(side - 0.01) - dice(0.11, 0.135))
    face.paint(mask * 0.9, person.hair * 0.7)


def paint_nose(face: Canvas, person: Person, dice: Dice) -> None:
    """The light on the nose's bridge and the shadow below it."""
    face = face.window(0.27, 0.73, 0.4, 0.82)
    long, broad = dice(0.14, 0.2), dice(0.06, 0.09)
    bridge = np.clip(1 - np.abs(face.u - 0.03 * either(person.light_u > 0, -1.0, 1.0)) * 14, 0, 1)
    bridge *= face.cover(np.abs(face.v - long + 0.12) - 0.12)
    face.paint(bridge * 0.3, np.minimum(person.skin * 1.25, 1))
    face.paint(
        face.cover(ellipse(face.u, face.v - long - 0.01, broad, 0.03)) * 0.5, person.skin * 0.6
    )


def paint_mouth(face: Canvas, person: Person, dice: Dice) -> None:
    """Lips and, of those who smile, teeth."""
    face, smiling = face.window(0.13, 0.87, 0.52, 0.98), person.smiling
    wide = either(smiling, dice(0.26, 0.32), dice(0.13, 0.18))
    grin = either(smiling, dice(0.14, 0.19), dice(-0.035, 0.01))
    gap = either(smiling, either(dice.chance(0.8), dice(0.08, 0.13), dice(0.04, 0.06)), 0.0)
    middle = 0.37 + dice(-0.02, 0.02) - 0.5 * grin
    bow = 1 - (face.u * face.u) / (wide * wide)
    upper, lower = middle + (grin - 0.5 * gap) * bow, middle + (grin + 0.5 * gap) * bow
    side = np.abs(face.u) - wide
    lip = dice(0.03, 0.05)
    taper = lip * np.clip(0.3 + 0.9 * bow, 0, 1)
    full = np.maximum(np.maximum(upper - 0.8 * taper - face.v, face.v - lower - taper), side)
    rose = np.stack([dice(0.62, 0.75), dice(0.3, 0.38), dice(0.3, 0.4)])
    colour = person.skin * rose
    red = np.stack([dice(0.55, 0.8), dice(0.05, 0.2), dice(0.1, 0.25)])
    colour = np.where(person.male, colour, colour + (red - colour) * dice(0.4, 0.9))
    face.paint(face.cover(full), colour)
    inside = face.cover(np.maximum(np.maximum(upper - face.v, face.v - lower), side + 0.02))
    face.paint(inside, rgb(0.98, 0.97, 0.93))
    line = face.stroke(face.v - upper, 0.035) * face.cover(side - 0.01) * 0.85
    face.paint(line, person.skin * rgb(0.32, 0.18, 0.18))


def paint_glasses(face: Canvas, person: Person, dice: Dice) -> None:
    """Lenses, plain or dark, their glare and the frame."""
    face, worn = face.window(0.03, 0.97, 0.33, 0.79), person.glasses.astype(np.float32)
    side = np.abs(face.u) - dice(0.21, 0.24)
    wide, high, boxy = dice(0.155, 0.19), dice(0.12, 0.16), dice()
    v = face.v + 0.02
    oval = ellipse(side, v, wide, high)
    box = np.maximum(np.abs(side) - wide, np.abs(v) - high * 0.9)
    rim = oval + boxy * (box - oval)
    lens = face.cover(rim) * worn
    dark = dice.chance(0.15)
    face.paint(lens * either(dark, dice(0.75, 0.95), dice(0.0, 0.15)), rgb(0.1, 0.1, 0.13))
    glare = face.stroke(side + v + dice(-0.08, 0.08), 0.05) * lens
    face.paint(glare * dice(0.1, 0.45), rgb(1, 1, 1))
    bridge = face.stroke(v + 0.03, 0.05) * face.cover(side + wide)
    temple = (
        face.stroke(v + 0.05, 0.05)
        * face.cover(wide - side)
        * face.cover(np.abs(face.u) - person.half_width)
    )
    frame = np.maximum(face.stroke(rim, dice(0.05, 0.075)), np.maximum(bridge, temple))
    face.paint(frame * worn, dice.pick(_FRAMES))
