"""Faces that are drawn, not photographed: the default data, with nothing to download and the truth known exactly."""

import itertools
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Literal

import numpy as np

from diffshare.data.canvas import uniforms
from diffshare.data.drawing import ATTRIBUTES, VERSION, draw
from diffshare.data.rows import ChosenRows
from diffshare.data.source import Attribute, Index, check_shares
from diffshare.errors import UserError, check_number, check_seed, one_of

MOST = 10**7  # faces
_SIZES = range(8, 257)
_TOLERANCE = 1e-6  # of a sum of probabilities
_KEPT = 16 << 20  # bytes


class RenderedFaces(ChosenRows):
    """Small drawn faces with the binary attributes Smiling, Eyeglasses, Hat, Young and Male.

    The counts of the attributes are exact: ``count`` times the probability, with what is left over given to the largest
    remainders. Which faces get which values is drawn from ``seed``, separately for each attribute that stands alone.
    Everything else about face number i (pose, light, background, skin, hair, clothes, shapes) is a function of ``seed``
    and i alone and is independent of the attributes, but for what shows them: a man has shorter hair, a broader jaw
    and perhaps a beard; the old have grey hair and wrinkles.

    Args:
        count: number of faces, 1 or more.
        image_size: height and width in pixels, 8 to 256.
        seed: 0 or more. Another seed gives other faces.
        prevalence: share in [0, 1] of the faces that have an attribute, by its name; 0.5 for those not named. These
            attributes are independent of one another and of those in ``joint``.
        joint: probability of each combination of values of two or more attributes, for instance
            ``{"Smiling=1,Male=0": 0.4, "Smiling=1,Male=1": 0.1, "Smiling=0,Male=0": 0.1, "Smiling=0,Male=1": 0.4}``.
            All combinations have to be there and sum to 1.
        shares: shares of the sharer's, the auxiliary and the test part; they sum to 1.
        on_bad_image: what to do with an image that cannot be read; a drawn face always can.
        rows: derived attributes, the choice of records and their groups, see :class:`diffshare.data.rows.ChosenRows`.
    """

    modality: Literal["image", "table"] = "image"

    def __init__(
        self,
        count: int = 20000,
        image_size: int = 32,
        seed: int = 0,
        prevalence: dict[str, float] | None = None,
        joint: dict[str, float] | None = None,
        shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
        on_bad_image: Literal["error", "skip"] = "error",
        **rows: Any,
    ) -> None:
        super().__init__(**rows)
        if count < 1:
            raise UserError(f"count {count} of rendered faces must be 1 or more")
        check_number("count of rendered faces", count, 1, MOST)
        if image_size not in _SIZES:
            raise UserError(
                f"image_size {image_size} of rendered faces must be from {_SIZES[0]} to {_SIZES[-1]} pixels"
            )
        check_seed("seed of rendered faces", seed)
        self.shares = check_shares(shares)
        self.on_bad_image = on_bad_image
        self._count, self._size, self._seed = count, image_size, seed
        self._codes = _assign(count, seed, prevalence or {}, joint or {})

    @cached_property
    def _index(self) -> Index:
        """Names, sizes (of the decoded image) and attributes of all faces."""
        names = np.array([f"face-{self._seed}-{i:06d}" for i in range(self._count)])
        sizes = np.full(self._count, 3 * self._size**2, np.int64)
        attributes = {
            name: Attribute(self._codes[:, k].astype(np.int16), (f"not {name}", name))
            for k, name in enumerate(ATTRIBUTES)
        }
        return Index(names, sizes, attributes)

    def decoding(self) -> str:
        """Class, version of the drawing and image size."""
        return f"RenderedFaces drawing={VERSION} image_size={self._size}"

    def _read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Draw the faces at these positions, on all cores.

        Args:
            positions: integers in 0..count-1, n.
            out: where to draw, uint8, n x image_size x image_size x 3; a new array where None.

        Returns:
            uint8, n x image_size x image_size x 3. A face is the same to the bit whatever else is drawn with it.
        """
        positions = np.asarray(positions, np.int64)
        if len(positions) and not 0 <= positions.min() <= positions.max() < self._count:
            raise IndexError(f"positions of rendered faces must be in 0..{self._count - 1}")
        if out is None:
            out = np.empty((len(positions), self._size, self._size, 3), np.uint8)

        def fill(chunk: slice) -> None:
            faces = positions[chunk]
            out[chunk] = draw(self._seed, faces, self._codes[faces], self._size)

        # a large block that is freed makes glibc keep later ones: a third of the time went into returning freed planes
        # to the system and getting them back page by page
        np.empty(_KEPT, np.uint8)
        with ThreadPoolExecutor(_cores()) as pool:
            list(pool.map(fill, _chunks(len(positions), self._size)))
        return out


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _chunks(n: int, size: int) -> Iterator[slice]:
    """Runs of faces of which one plane of float32 is about a megabyte, so that several fit into a cache."""
    step = min(max(2**18 // size**2, 16), 512)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _assign(
    count: int, seed: int, prevalence: Mapping[str, float], joint: Mapping[str, float]
) -> np.ndarray:
    """The values of ``ATTRIBUTES`` of every face, uint8, count x 5: exact counts in an order drawn from the seed."""
    for name, share in prevalence.items():
        if name not in ATTRIBUTES:
            raise one_of("attribute", name, ATTRIBUTES)
        if not 0 <= share <= 1:
            raise UserError(f"prevalence {share} of '{name}' must be from 0 to 1")
    together, cells = _cells(joint)
    if twice := [name for name in together if name in prevalence]:
        raise UserError(
            f"attribute '{twice[0]}' is in both joint and prevalence: name it in one of them"
        )
    groups: list[tuple[tuple[str, ...], dict[tuple[int, ...], float]]] = [
        ((name,), {(0,): 1 - (share := prevalence.get(name, 0.5)), (1,): share})
        for name in ATTRIBUTES
        if name not in together
    ]
    groups += [(together, cells)] if together else []
    codes = np.empty((count, len(ATTRIBUTES)), np.uint8)
    for names, probabilities in groups:
        columns = [ATTRIBUTES.index(name) for name in names]
        values = np.repeat(
            np.array(list(probabilities)), _exact(list(probabilities.values()), count), axis=0
        )
        order = np.argsort(uniforms(seed, 100 + columns[0], np.arange(count)), kind="stable")
        codes[order[:, None], columns] = values
    return codes


def _exact(probabilities: list[float], count: int) -> np.ndarray:
    """Whole numbers that sum to ``count``, in proportion, by largest remainder (ties: the first)."""
    quotas = np.array(probabilities) / sum(probabilities) * count
    # 0.29 * 100 is 28.999...: without the rounding, the floor would be one short of an exact product
    whole = np.floor(np.round(quotas, 9)).astype(np.int64)
    rest = np.argsort(-np.round(quotas - whole, 9), kind="stable")[: count - whole.sum()]
    whole[rest] += 1
    return whole


def _cells(joint: Mapping[str, float]) -> tuple[tuple[str, ...], dict[tuple[int, ...], float]]:
    """Names (in the order of ``ATTRIBUTES``) and probabilities of its cells, by values, of what the user wrote."""
    parsed: dict[frozenset[tuple[str, int]], float] = {}
    for text, probability in joint.items():
        pairs = [
            tuple(part.strip() for part in pair.partition("=")[::2]) for pair in text.split(",")
        ]
        if any(value not in ("0", "1") for _, value in pairs) or len(
            {name for name, _ in pairs}
        ) < len(pairs):
            raise UserError(f"joint cell '{text}' must look like 'Smiling=1,Male=0'")
        for name, _ in pairs:
            if name not in ATTRIBUTES:
                raise one_of("attribute", name, ATTRIBUTES)
        if not 0 <= probability <= 1:
            raise UserError(f"joint probability {probability} of '{text}' must be from 0 to 1")
        cell = frozenset((name, int(value)) for name, value in pairs)
        if cell in parsed:
            raise UserError(f"joint cell '{text}' is there twice: give each combination once")
        parsed[cell] = probability
    if not parsed:
        return (), {}
    named = {name for name, _ in next(iter(parsed))}
    names = tuple(name for name in ATTRIBUTES if name in named)
    if len(names) < 2:
        raise UserError(
            f"joint names '{names[0]}' alone: name two or more attributes, or use prevalence"
        )
    cells = {}
    for values in itertools.product((0, 1), repeat=len(names)):
        cell = frozenset(zip(names, values, strict=True))
        if cell not in parsed:
            text = ",".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
            raise UserError(
                f"joint has no cell '{text}': give the probability of each combination, 0 where there is none"
            )
        cells[values] = parsed.pop(cell)
    if parsed:
        text = ",".join(f"{name}={value}" for name, value in sorted(next(iter(parsed))))
        raise UserError(
            f"joint cell '{text}' does not name the attributes {', '.join(names)} of the others"
        )
    if abs(sum(cells.values()) - 1) > _TOLERANCE:
        raise UserError(f"joint probabilities sum to {sum(cells.values()):g}: they must sum to 1")
    return names, cells
