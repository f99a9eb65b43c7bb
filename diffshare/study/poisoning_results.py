"""What the rows of the fairness poisoning study say together: means, paired differences, a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from diffshare.stats.summary import paired_difference, t_interval
from diffshare.study.base import Row
from diffshare.study.group_shares import shares

SHARED = ("policy", "alpha", "where", "guidance")  # rows that agree in these differ in their seed alone
GAP = "demographic_parity_difference"
SHARES = ("shares_in_mix", "shares_in_samples", "shares_in_decisions")
# name in the summary: field of a row, and whether the difference is clean minus poisoned
DIFFERENCES = {
    "excess_gap": (GAP, False),
    "excess_gap_signed": (f"{GAP}_signed", False),  # group 1 minus group 0: a lean of the clean set does not hide it
    "accuracy_loss": ("accuracy", True),
    "excess_equalized_odds": ("equalized_odds_difference", False),
}


def summarise(rows: Sequence[Row], level: float) -> list[Row]:
    """Means over seeds of each cell, and its paired differences to the clean set of the same seed and guidance.

    Args:
        rows: of :class:`FairnessPoisoning`.
        level: of the t intervals.

    Returns:
        one mapping a cell: ``policy``, ``alpha``, ``where``, ``guidance``, ``seeds``, ``level``; ``mean``,
        ``interval`` and ``n`` of ``accuracy``, ``demographic_parity_difference``, ``equalized_odds_difference`` and,
        where the policy is not clean, of ``excess_gap``, ``accuracy_loss``, ``excess_equalized_odds`` over the seeds
        that have both (``pairs``); mean P(s | y) in the mix, in the samples, and P(s | yhat) in the decisions.
    """
    cells: dict[tuple[Any, ...], dict[int, Row]] = {}
    for row in rows:
        cells.setdefault(tuple(row[k] for k in SHARED), {})[row["seed"]] = row
    found = []
    for key, mine in cells.items():
        policy, _, where, guidance = key
        entry: Row = dict(zip(SHARED, key, strict=True)) | {"seeds": list(mine), "level": level}
        for name in ("accuracy", GAP, "equalized_odds_difference"):
            entry[name] = t_interval([row.get(name) for row in mine.values()], level).json()
        if policy != "clean":
            entry |= _differences(mine, cells.get(("clean", 0.0, where, guidance), {}), level)
        found.append(entry | {name: _mean_table([row[name] for row in mine.values()]) for name in SHARES})
    return found


def _differences(mine: Mapping[int, Row], clean: Mapping[int, Row], level: float) -> Row:
    seeds = [seed for seed in mine if seed in clean]
    found: Row = {"pairs": len(seeds)}
    for name, (field, loss) in DIFFERENCES.items():
        of_mine, of_clean = ([side[seed].get(field) for seed in seeds] for side in (mine, clean))
        pair = (of_clean, of_mine) if loss else (of_mine, of_clean)
        found[name] = paired_difference(pair[0], pair[1], level).json()
    return found


def outcome_table(summary: Sequence[Row], level: float) -> Table:
    """Accuracy, gap and differences to clean of each cell."""
    table = Table(title=f"fairness poisoning: means over seeds, {level:.0%} t intervals of paired differences to clean")
    for name in (
        "policy",
        "alpha",
        "trained on",
        "guidance",
        "seeds",
        "accuracy",
        "gap",
        "accuracy loss",
        "excess gap",
    ):
        table.add_column(name, justify="left" if name in ("policy", "trained on") else "right")
    for entry in sorted(summary, key=lambda e: (e["where"] != "mix", e["guidance"] or 0)):
        guidance = "" if entry["guidance"] is None else f"{entry['guidance']:g}"
        means = [_text({**entry[name], "interval": None}) for name in ("accuracy", GAP)]
        differences = [_text(entry.get(name)) for name in ("accuracy_loss", "excess_gap")]
        seeds = str(len(entry["seeds"]))
        table.add_row(entry["policy"], f"{entry['alpha']:g}", entry["where"], guidance, seeds, *means, *differences)
    return table


def _text(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None:
        return ""
    if estimate["mean"] is None:
        return "undefined"
    interval = "" if estimate["interval"] is None else " [{:.3f}, {:.3f}]".format(*estimate["interval"])
    return f"{estimate['mean']:.3f}{interval}"


def mix_shares(counts: Mapping[str, int] | None) -> list[list[float | None]] | None:
    """P(s | y), [y][s], of the counts of a ``mix.json`` (keys ``s0y1`` and so on); None where they are not known."""
    if counts is None:
        return None
    cells = {tuple(map(int, key[1:].split("y"))): n for key, n in counts.items()}
    groups, classes = (max(axis) + 1 for axis in zip(*cells, strict=True))
    return shares([[cells[s, y] for s in range(groups)] for y in range(classes)])


def _mean_table(tables: Sequence[list[list[float | None]] | None]) -> list[list[float | None]] | None:
    """The mean of tables of one shape; None where one is missing, an entry None where it is undefined in one."""
    if not tables or any(table is None for table in tables):
        return None
    mean = np.array(tables, np.float64).mean(0)  # None becomes NaN
    return [[None if np.isnan(v) else float(v) for v in row] for row in mean]
