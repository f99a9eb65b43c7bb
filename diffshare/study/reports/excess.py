"""By how much poisoning widened a gap, in the direction that the mix took.

A gap has a sign, and a poisoned mix a direction: it moves one group towards class 1. A clean classifier may lean the
other way by chance. Its lean has then to be overcome first, which the difference of two absolute gaps hides: from -0.1
to 0.2 the attack moves the gap by 0.3, not by 0.1. Luo et al. 2024 report absolute gaps; their difference stands beside
the directed one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from diffshare.stats.summary import paired_difference
from diffshare.study.engine.base import Row

GAP, ODDS = "demographic_parity_difference", "equalized_odds_difference"
Shares = Sequence[Sequence[float | None]] | None


class Pair(NamedTuple):
    """What poisoning did, of one seed.

    Attributes:
        poisoned: row of the poisoned set, with a gap (``demographic_parity_difference``) and its signed twin.
        clean: row of the clean set of the same seed.
        direction: 1 where the mix moved group 1 towards class 1, -1 where group 0, None where it took none.
    """

    poisoned: Row
    clean: Row
    direction: int | None


def paired(poisoned: Row, clean: Row) -> Pair:
    """A poisoned row beside its clean one.

    The direction is the row's own (``direction``, of its ``mix.json``) or, of a mix that says nothing of it, read off
    the two mixes (``shares_in_mix``).
    """
    if "direction" in poisoned:
        return Pair(poisoned, clean, poisoned["direction"])
    return Pair(
        poisoned, clean, direction(poisoned.get("shares_in_mix"), clean.get("shares_in_mix"))
    )


def direction(poisoned: Shares, clean: Shares) -> int | None:
    """Whom the poisoning favours: 1 where it moved group 1 towards class 1, -1 where group 0.

    A policy may take the direction in which the random base of a seed happens to lean, so that it differs by seed, and
    signed gaps of several seeds would cancel. The mixes tell it without a look at any classifier.

    Args:
        poisoned: P(s | y) of the poisoned mix, [y][s].
        clean: of the clean mix of the same seed.

    Returns:
        None where either is unknown, with other than two groups and classes, or where the two lean alike.
    """
    tables = [np.array(table, np.float64) for table in (poisoned, clean) if table is not None]
    if len(tables) < 2 or any(table.shape != (2, 2) or np.isnan(table).any() for table in tables):
        return None
    leans = [float(table[1, 1] - table[0, 1]) for table in tables]
    return int(np.sign(leans[0] - leans[1])) or None


def is_directed(pairs: Sequence[Pair]) -> bool:
    """Whether each mix has a direction, and each gap that is known its sign; False without a pair."""
    rows = [row for pair in pairs for row in (pair.poisoned, pair.clean)]
    signed = all((row.get(f"{GAP}_signed") is None) == (row.get(GAP) is None) for row in rows)
    return bool(pairs) and signed and all(pair.direction is not None for pair in pairs)


def sides(
    pairs: Sequence[Pair], field: str, directed: bool
) -> tuple[list[float | None], list[float | None]]:
    """Gaps of the poisoned and of the clean sets: direction times the signed gap, or the absolute one."""

    def gap(row: Row, sign: int | None) -> float | None:
        value: float | None = row.get(f"{field}_signed" if directed else field)
        return value if value is None or not directed or sign is None else sign * value

    return [gap(p.poisoned, p.direction) for p in pairs], [gap(p.clean, p.direction) for p in pairs]


def excess(pairs: Sequence[Pair], field: str, level: float, directed: bool) -> Row:
    """The mean excess over seeds, paired with the clean sets.

    Args:
        pairs: a poisoned and a clean row of each seed.
        field: ``demographic_parity_difference`` or ``equalized_odds_difference``.
        level: of Student's interval.
        directed: whether gaps are taken in the direction of the mix.

    Returns:
        ``mean``, ``interval`` and ``n``.
    """
    return paired_difference(*sides(pairs, field, directed), level).json()
