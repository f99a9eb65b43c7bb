"""Numbers as a cell of a coarse grid and a normal score within it: a coding that rests on two round bounds alone.

It takes the place of a quantile transform, whose quantiles say what share of the values lies below
each of them. What values are frequent is left to the model to learn: the grid is the same whatever
they are. As in the mode-specific normalisation of Xu et al. (2019, arXiv 1907.00503, section 4.2) a
value is a mode and a place within it; the modes are cells of the grid in place of a mixture that is
fitted to the values.
"""

import numpy as np
from scipy.special import ndtr, ndtri

CELLS = 25  # of a column, where there is room for as many
EDGE = 1e-4  # places within a cell are kept this far from its ends, scores within 3.8
# cells grow with the third power of the distance to 0: as wide as fits columns with long tails
ROOT = 1 / 3


def coarse_bounds(
    values: np.ndarray, beyond: int, dither: tuple[float, float, float], *, whole: bool = False
) -> tuple[float, float]:
    """Round numbers between which the values lie, but for fewer than ``beyond`` at each end.

    They are multiples of a power of ten that is at least as large as what lies between the values'
    ends. A step, and the step below or above each end, are taken further by a part that ``dither``
    says. Rounding alone would tell on which side of a round number an end lies, for certain; with a
    dither that the reader does not know, an end that moves by a tenth of a step makes other bounds
    with a probability of a tenth.

    Args:
        values: finite, N >= 1.
        beyond: records that it takes to move a bound, at least 1.
        dither: of the step's power of ten, of the lower and of the upper bound, each in [0, 1).
        whole: bounds are whole numbers.

    Returns:
        low < high; low >= 0 where fewer than ``beyond`` values are negative, high <= 0 where as few
        are positive.
    """
    place = min(beyond, (len(values) + 1) // 2) - 1
    ordered = np.sort(values.astype(np.float64))
    first, last = float(ordered[place]), float(ordered[-1 - place])
    span = last - first if last > first else abs(first) or 1.0
    step = 10.0 ** np.ceil(np.log10(span) + dither[0] - 1e-9)
    step = max(step, 1.0) if whole else step
    low, high = np.floor(first / step - dither[1]) * step, np.ceil(last / step + dither[2]) * step
    low = max(low, 0.0) if first >= 0 else low
    high = min(high, 0.0) if last <= 0 and low < 0 else high
    high = max(high, low + step)
    return float(f"{low:.6g}"), float(f"{high:.6g}")


def to_cells(
    values: np.ndarray, bounds: tuple[float, float], cells: int = CELLS, *, whole: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Cell and normal score of each value; values beyond the bounds count as these.

    The score is the standard normal quantile of the place within the cell: values that are spread
    evenly in a cell become standard normal.

    Args:
        values: finite, N.
        bounds: low < high.
        cells: how many; where there are as many whole numbers between the bounds, each has one.
        whole: the values are whole numbers, each with a place of its own, the middle of an
            interval.

    Returns:
        cells, int64, N, in 0..``cells`` - 1, and scores, float64, N, in [-3.8, 3.8].
    """
    low, high = bounds
    inside = np.clip(values.astype(np.float64), low, high) - low
    part = (np.round(inside) + 0.5) / (high - low + 1) if whole else inside / (high - low)
    place = _spread(part, bounds, cells, whole=whole) * cells
    cell = np.clip(np.floor(place), 0, cells - 1)
    return cell.astype(np.int64), ndtri(np.clip(place - cell, EDGE, 1 - EDGE))


def from_cells(
    codes: np.ndarray,
    scores: np.ndarray,
    bounds: tuple[float, float],
    cells: int = CELLS,
    *,
    whole: bool,
) -> np.ndarray:
    """The value of each code of a cell and score, float64, N: the inverse of :func:`to_cells`."""
    low, high = bounds
    part = _gathered((codes + ndtr(scores.astype(np.float64))) / cells, bounds, cells, whole=whole)
    if whole:
        return low + np.clip(np.floor(part * (high - low + 1)), 0, high - low)
    return low + part * (high - low)


def _even(bounds: tuple[float, float], cells: int, *, whole: bool) -> bool:
    """Whether cells are equally wide: 0 is not among the values, or each whole number has a cell."""
    low, high = bounds
    return not low <= 0 <= high or (whole and cells == high - low + 1)


def _zero(bounds: tuple[float, float]) -> float:
    return -bounds[0] / (bounds[1] - bounds[0])


def _spread(
    part: np.ndarray, bounds: tuple[float, float], cells: int, *, whole: bool
) -> np.ndarray:
    """Place on the grid, in [0, 1], of a part of the way between the bounds: the cells are narrow about 0."""
    if _even(bounds, cells, whole=whole):
        return part
    zero = _zero(bounds)
    ends = np.array([-(zero**ROOT), (1 - zero) ** ROOT])
    away = part - zero
    return (np.sign(away) * np.abs(away) ** ROOT - ends[0]) / (ends[1] - ends[0])


def _gathered(
    place: np.ndarray, bounds: tuple[float, float], cells: int, *, whole: bool
) -> np.ndarray:
    """The inverse of :func:`_spread`."""
    if _even(bounds, cells, whole=whole):
        return place
    zero = _zero(bounds)
    ends = np.array([-(zero**ROOT), (1 - zero) ** ROOT])
    away = ends[0] + place * (ends[1] - ends[0])
    return np.clip(zero + np.sign(away) * np.abs(away) ** (1 / ROOT), 0, 1)
