"""Which records are missing or too many: how a reference classifier sees the samples of each cell of group and class.

A classifier of the class, trained on reference records, gives every record a score. Within a cell the mean score of the
samples is compared with that of reference records. A generator that drifts moves both groups alike; a choice inside the
cells moves them apart. It costs no training on samples.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

LEAST = 5  # records of a cell on each side, fewer are not compared


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        samples: number of samples in it whose group is known.
        records: number of reference records.
        shift: mean score of the samples minus that of the records; None where one side has fewer than five.
        error: standard error of the shift.
    """

    samples: int
    records: int
    shift: float | None
    error: float | None


@dataclass(frozen=True)
class CellsShift:
    """The shift of all cells, and how far it differs between groups.

    Attributes:
        cells: by group and class, G x C.
        apart: for each class, the difference of shifts between two groups that is largest in standard errors:
            (minuend, subtrahend, difference, standard error); None where it cannot be told.
        p_value: of all groups of each class being shifted alike, Bonferroni over pairs and classes; 1 where nothing can
            be compared.
        level: of the intervals.
    """

    cells: tuple[tuple[Cell, ...], ...]
    apart: tuple[tuple[int, int, float, float] | None, ...]
    p_value: float
    level: float = 0.95

    def json(self) -> dict[str, Any]:
        """As the audit's file has it."""
        z = float(ndtri((1 + self.level) / 2))

        def interval(value: float, error: float) -> list[float]:
            return [value - z * error, value + z * error]

        cells = {}
        for s, row in enumerate(self.cells):
            for y, cell in enumerate(row):
                told = cell.shift is not None and cell.error is not None
                cells[f"s{s}y{y}"] = {
                    "shift": cell.shift,
                    "interval": interval(cell.shift, cell.error) if told else None,  # type: ignore[arg-type]
                    "samples": cell.samples,
                    "records": cell.records,
                }
        apart = {
            f"y{y}": None
            if one is None
            else {
                "groups": [one[0], one[1]],
                "difference": one[2],
                "interval": interval(one[2], one[3]),
            }
            for y, one in enumerate(self.apart)
        }
        return {"cells": cells, "apart": apart, "p_value": self.p_value}


def cells_shift(
    samples: tuple[np.ndarray, np.ndarray, np.ndarray],
    records: tuple[np.ndarray, np.ndarray, np.ndarray],
    groups: int,
    classes: int,
) -> CellsShift:
    """Compare the scores of each cell.

    Args:
        samples: score (float, M), group (int64, M, -1 where not known) and class (int64, M) of each sample.
        records: the same of reference records, scored by classifiers that have not seen them; their group is to be
            read in the same way as the samples', where those' is.
        groups: number of groups G.
        classes: number of classes C.
    """
    cells = tuple(
        tuple(_cell(samples, records, s, y) for y in range(classes)) for s in range(groups)
    )
    apart: list[tuple[int, int, float, float] | None] = []
    pairs, smallest = 0, 1.0
    for y in range(classes):
        best: tuple[int, int, float, float] | None = None
        for a, b in combinations(range(groups), 2):
            one, other = cells[b][y], cells[a][y]
            if one.shift is None or other.shift is None or one.error is None or other.error is None:
                continue
            pairs += 1
            error = float(np.hypot(one.error, other.error))
            difference = one.shift - other.shift
            p = 2 * float(ndtr(-abs(difference) / error)) if error else float(difference == 0)
            smallest = min(smallest, p)
            if best is None or abs(difference) * best[3] > abs(best[2]) * error:
                best = (b, a, difference, error)
        apart.append(best)
    return CellsShift(cells, tuple(apart), min(1.0, smallest * pairs) if pairs else 1.0)


def _cell(
    samples: tuple[np.ndarray, np.ndarray, np.ndarray],
    records: tuple[np.ndarray, np.ndarray, np.ndarray],
    s: int,
    y: int,
) -> Cell:
    theirs, ours = (
        score[(group == s) & (label == y)] for score, group, label in (samples, records)
    )
    if min(len(theirs), len(ours)) < LEAST:
        return Cell(len(theirs), len(ours), None, None)
    error = float(np.sqrt(theirs.var(ddof=1) / len(theirs) + ours.var(ddof=1) / len(ours)))
    return Cell(len(theirs), len(ours), float(theirs.mean() - ours.mean()), error)
