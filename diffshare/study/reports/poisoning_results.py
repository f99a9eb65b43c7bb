"""What the rows of the fairness poisoning study say together: means, paired differences, a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from diffshare.stats.summary import paired_difference, t_interval
from diffshare.study.engine.base import Row
from diffshare.study.reports.excess import GAP, ODDS, Pair, excess, is_directed, paired, sides
from diffshare.study.steps.group_shares import shares

SHARED = ("policy", "alpha", "where", "guidance")  # rows that agree in these differ in their seed alone
SHARES = ("shares_in_mix", "shares_in_samples", "shares_in_decisions")


def summarise(rows: Sequence[Row], level: float) -> list[Row]:
    """Means over seeds of each cell, and its paired differences to the clean set of the same seed and guidance.

    Args:
        rows: of :class:`FairnessPoisoning`.
        level: of the t intervals.

    Returns:
        one mapping a cell: ``policy``, ``alpha``, ``where``, ``guidance``, ``seeds``, ``level``; ``mean``,
        ``interval`` and ``n`` of ``accuracy``, ``demographic_parity_difference``, ``equalized_odds_difference``; mean
        P(s | y) in the mix, in the samples, and P(s | yhat) in the decisions. Where the policy is not clean also, over
        the seeds that have both (``pairs``), :func:`differences`.
    """
    cells: dict[tuple[Any, ...], dict[int, Row]] = {}
    for row in rows:
        cells.setdefault(tuple(row[k] for k in SHARED), {})[row["seed"]] = row
    found = []
    for key, mine in cells.items():
        policy, _, where, guidance = key
        entry: Row = dict(zip(SHARED, key, strict=True)) | {"seeds": list(mine), "level": level}
        for name in ("accuracy", GAP, ODDS):
            entry[name] = t_interval([row.get(name) for row in mine.values()], level).json()
        if policy != "clean":
            clean = cells.get(("clean", 0.0, where, guidance), {})
            entry |= differences([paired(row, clean[seed]) for seed, row in mine.items() if seed in clean], level)
        found.append(entry | {name: _mean_table([row[name] for row in mine.values()]) for name in SHARES})
    return found


def differences(pairs: Sequence[Pair], level: float) -> Row:
    """What poisoning changed, by seed.

    Args:
        pairs: a poisoned and a clean row of each seed.
        level: of the t intervals.

    Returns:
        ``pairs``, their number; ``directed``, whether ``gap``, ``excess_gap`` and ``excess_equalized_odds`` are in
        the direction of the mix (:mod:`diffshare.study.reports.excess`), or of absolute gaps where a mix has none;
        ``gap`` of the ``clean`` and the ``poisoned`` sets; ``excess_gap_absolute`` and
        ``excess_equalized_odds_absolute``, the paper's; ``accuracy_loss``.
    """
    directed = is_directed(pairs)
    poisoned, clean = sides(pairs, GAP, directed)
    poisoned_rows, clean_rows = [pair.poisoned for pair in pairs], [pair.clean for pair in pairs]
    changes: Row = {"pairs": len(pairs), "directed": directed}
    changes["gap"] = {"clean": t_interval(clean, level).json(), "poisoned": t_interval(poisoned, level).json()}
    for name, field in (("excess_gap", GAP), ("excess_equalized_odds", ODDS)):
        changes[name] = excess(pairs, field, level, directed)
        changes[f"{name}_absolute"] = excess(pairs, field, level, False)
    before, after = ([row.get("accuracy") for row in side] for side in (clean_rows, poisoned_rows))
    changes["accuracy_loss"] = paired_difference(before, after, level).json()
    return changes


def outcome_table(summary: Sequence[Row], level: float) -> Table:
    """Accuracy, gap and differences to clean of each cell; gaps of directed mixes in the direction of the mix."""
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
        "of absolute gaps",
    ):
        table.add_column(name, justify="left" if name in ("policy", "trained on") else "right")
    for entry in sorted(summary, key=lambda e: (e["where"] != "mix", e["guidance"] or 0)):
        guidance = "" if entry["guidance"] is None else f"{entry['guidance']:g}"
        gap = entry["gap"]["poisoned"] if "gap" in entry else entry[GAP]
        means = [_text({**estimate, "interval": None}) for estimate in (entry["accuracy"], gap)]
        changes = [_text(entry.get(name)) for name in ("accuracy_loss", "excess_gap", "excess_gap_absolute")]
        changes[1] += "" if entry.get("directed", True) else " (absolute)"
        seeds = str(len(entry["seeds"]))
        table.add_row(entry["policy"], f"{entry['alpha']:g}", entry["where"], guidance, seeds, *means, *changes)
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
