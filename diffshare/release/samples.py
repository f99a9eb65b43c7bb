"""The samples folder: what a receiver keeps of a generator, and what other people's samples come as.

Images are ``samples.npz``. Samples of tables are ``samples.csv`` in the same folder: ``diffshare.release.tables``
has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diffshare.errors import UserError
from diffshare.leftovers import restore
from diffshare.release.grid import image_grid
from diffshare.release.info import GRID, INFO, NPZ, SAMPLES, read_info
from diffshare.release.npz import MAX_BYTES, read_npz
from diffshare.storage import atomic_folder, write_json

GRID_IMAGES = 64
_KINDS = {"x": "uint8", "y": "int64", "weight": "float32"}
_MAX_SIDE = 4096


@dataclass(frozen=True)
class Samples:
    """N samples of a generator.

    Attributes:
        x: images, uint8, N x H x W x C with C 1 or 3, N >= 1.
        y: the class that each was asked for, int64, N; -1 where none was.
        weight: of each sample in training, float32, N, finite, >= 0; None where all count the same.
        info: what ``samples.json`` says (count, labels, classes, seed, steps, guidance, model, queries, seconds); empty
            where there is none. It is a claim of whoever made the folder.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


def write_samples(
    folder: str | Path,
    x: np.ndarray,
    y: np.ndarray,
    info: Mapping[str, Any],
    *,
    weight: np.ndarray | None = None,
    overwrite: bool = False,
    grid_columns: int = 8,
) -> None:
    """Write a samples folder as a whole: ``samples.npz``, ``samples.json`` and ``grid.png`` (see ``contact_sheet``).

    Args:
        folder: where to.
        x: uint8, N x H x W x C with C 1 or 3.
        y: int64, N, -1 where no class was asked for.
        info: JSON for ``samples.json``; ``count`` is added.
        weight: float32, N, or None.
        overwrite: replace a samples folder.
        grid_columns: images in a row of ``grid.png``.

    Raises:
        UserError: arrays that do not fit each other, or a folder that cannot be written.
    """
    arrays = {"x": x, "y": y} | ({} if weight is None else {"weight": weight})
    for name, array in arrays.items():
        if array.dtype != np.dtype(_KINDS[name]):
            raise UserError(f"samples: {name} must be {_KINDS[name]}, not {array.dtype}")
    _check(arrays, "samples")
    with atomic_folder(folder, SAMPLES, overwrite=overwrite) as temporary:
        stored: Any = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        np.savez(temporary / NPZ, **stored)
        write_json(temporary / INFO, {"count": len(x)} | dict(info))
        sheet = contact_sheet(x, y, grid_columns)
        Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet).save(temporary / GRID)


def contact_sheet(x: np.ndarray, y: np.ndarray, columns: int) -> np.ndarray:
    """The first samples of each class, class by class in rows, at most 64 images in all.

    Args:
        x: uint8, N x H x W x C.
        y: int64, N: each value is a class.
        columns: images in a row.

    Returns:
        uint8, height x width x C.
    """
    classes = np.unique(y)[: max(1, GRID_IMAGES // columns)]
    rows = max(1, GRID_IMAGES // columns // len(classes))  # of each class
    chosen = [np.flatnonzero(y == label)[: rows * columns] for label in classes]
    blank = np.full((1, *x.shape[1:]), 128, np.uint8)
    tiles = []
    for positions in chosen:
        tiles.append(x[positions])
        tiles += [blank] * (-len(positions) % columns)  # the next class starts a new row
    return image_grid(np.concatenate(tiles), columns)


def read_samples(folder: str | Path, *, max_bytes: int = MAX_BYTES) -> Samples:
    """Read a samples folder, one's own or anybody's.

    Only ``samples.npz`` is required; other files than that and ``samples.json`` are not opened. Nothing is unpickled,
    and no more memory is taken than ``read_npz`` says.

    Raises:
        UserError: no such folder or file, or arrays that are not samples (what was found and what was expected).
    """
    folder = Path(folder)
    restore(folder)
    if not folder.is_dir():
        raise UserError(
            f"no such samples: {folder} is not a folder; give the folder that holds {NPZ}"
        )
    if not (folder / NPZ).exists() and not (folder / NPZ).is_symlink():
        raise UserError(
            f"{folder} is no samples folder: it has no {NPZ}; give a folder that 'sample' wrote"
        )
    arrays = read_npz(folder / NPZ, _KINDS, max_bytes=max_bytes)
    _check(arrays, str(folder / NPZ))
    return Samples(arrays["x"], arrays["y"], arrays.get("weight"), read_info(folder))


def refuse_alike(x: np.ndarray, what: str) -> None:
    """Refuse samples that are one sample many times over: no classifier reads anything off them.

    Args:
        x: images, uint8, N x H x W x C, or rows, float32, N x columns. Fewer than ten rows may be alike by chance.
        what: which samples, in words.

    Raises:
        UserError: all are the same.
    """
    if len(x) < (2 if x.ndim == 4 else 10) or not np.array_equal(
        x[0], x[-1], equal_nan=x.dtype.kind == "f"
    ):
        return
    if np.array_equal(x[1:], np.broadcast_to(x[:1], x[1:].shape), equal_nan=x.dtype.kind == "f"):
        raise UserError(
            f"{what} are {len(x)} times the same: the model is broken, or they were drawn wrongly"
        )


def _check(arrays: Mapping[str, np.ndarray], where: str) -> None:
    """Refuse arrays whose shapes or values are not those of samples; their types were checked before."""
    for name in ("x", "y"):
        if name not in arrays:
            raise UserError(
                f"{where} lacks {name}: expected x (images) and y (their classes, -1 where none)"
            )
    x, y, weight = arrays["x"], arrays["y"], arrays.get("weight")
    if x.ndim != 4 or x.shape[3] not in (1, 3) or min(x.shape) < 1 or max(x.shape[1:]) > _MAX_SIDE:
        raise UserError(
            f"{where}: x must be N x H x W x C with N >= 1, C 1 or 3, sides up to {_MAX_SIDE}, not {x.shape}"
        )
    if y.shape != x.shape[:1] or y.min() < -1:
        raise UserError(f"{where}: y must be {len(x)} numbers, one an image, each -1 or more")
    if weight is not None and (
        weight.shape != y.shape or not np.isfinite(weight).all() or weight.min() < 0
    ):
        raise UserError(
            f"{where}: weight must be {len(x)} finite numbers, one an image, each 0 or more"
        )
