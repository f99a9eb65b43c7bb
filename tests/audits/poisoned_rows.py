"""For the tests of ``repair``: rows in which sex and income depend on each other more than in the reference."""

import csv
from pathlib import Path

import numpy as np
from audited import TABLE

from diffshare.stats.detection import poisoned_table

POISONED = poisoned_table(TABLE, 0.5)
WANTED = TABLE[1] / TABLE.sum(0)  # P(m | income), low then high
WITH = ("--sensitive", "sex", "--target", "income", "--gap-repeats", "0")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def shares(table: list[dict[str, str]]) -> np.ndarray:
    """P(m | income), low then high."""
    return np.array(
        [np.mean([r["sex"] == "m" for r in table if r["income"] == y]) for y in ("low", "high")]
    )
