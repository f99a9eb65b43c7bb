"""What the rows of the fairness poisoning study say together: means, paired differences, a table, figures."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from diffshare.stats.information import row_shares
from diffshare.stats.summary import paired_difference
from diffshare.study.engine.base import Row
from diffshare.study.reports.common import (
    GREY,
    colour_of,
    curve,
    dots,
    draw_gap_and_accuracy,
    estimate,
    field,
    figure_of,
    grouped,
    interval,
    means,
    plain,
    save,
    seeds_text,
    table,
    text,
)
from diffshare.study.reports.excess import GAP, ODDS, Pair, excess, is_directed, paired, sides

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# rows that agree in these differ in their seed alone
SHARED = ("policy", "alpha", "where", "guidance")
UNDEFINED = "undefined"
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
    cells = {key: {row["seed"]: row for row in mine} for key, mine in grouped(rows, SHARED).items()}
    entries = []
    for key, mine in cells.items():
        policy, _, where, guidance = key
        entry: Row = dict(zip(SHARED, key, strict=True)) | {"seeds": list(mine), "level": level}
        entry |= means(list(mine.values()), ("accuracy", GAP, ODDS), level)
        if policy != "clean":
            clean = cells.get(("clean", 0.0, where, guidance), {})
            pairs = [paired(row, clean[seed]) for seed, row in mine.items() if seed in clean]
            entry |= differences(pairs, level)
        entry |= {name: _mean_table([row[name] for row in mine.values()]) for name in SHARES}
        entries.append(entry)
    return entries


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
    changes["gap"] = {"clean": interval(clean, level), "poisoned": interval(poisoned, level)}
    for name, gap in (("excess_gap", GAP), ("excess_equalized_odds", ODDS)):
        changes[name] = excess(pairs, gap, level, directed)
        changes[f"{name}_absolute"] = excess(pairs, gap, level, False)
    before, after = ([row.get("accuracy") for row in side] for side in (clean_rows, poisoned_rows))
    changes["accuracy_loss"] = paired_difference(before, after, level).json()
    return changes


def outcome_table(summary: Sequence[Row], level: float) -> Table:
    """Accuracy, gap and differences to clean of each cell; gaps of directed mixes in the direction of the mix."""
    title = f"fairness poisoning: means over seeds, {level:.0%} t intervals of paired differences to clean"

    def gap(entry: Row) -> str:
        mean = entry["gap"]["poisoned"] if "gap" in entry else entry[GAP]
        return text(mean, ends=False, undefined=UNDEFINED)

    def directed(entry: Row) -> str:
        excess_gap = text(entry.get("excess_gap"), undefined=UNDEFINED)
        return excess_gap + ("" if entry.get("directed", True) else " (absolute)")

    columns: dict[str, Callable[[Row], str]] = {
        "policy": field("policy"),
        "alpha": field("alpha", "g"),
        "trained on": field("where"),
        "guidance": field("guidance", "g"),
        "seeds": lambda entry: str(len(entry["seeds"])),
        "accuracy": estimate("accuracy", ends=False, undefined=UNDEFINED),
        "gap": gap,
        "accuracy loss": estimate("accuracy_loss", undefined=UNDEFINED),
        "excess gap": directed,
        "of absolute gaps": estimate("excess_gap_absolute", undefined=UNDEFINED),
    }
    entries = sorted(summary, key=lambda e: (e["where"] != "mix", e["guidance"] or 0))
    return table(title, entries, columns, left=("policy", "trained on"))


def mix_shares(counts: Mapping[str, int] | None) -> list[list[float | None]] | None:
    """P(s | y), [y][s], of the counts of a ``mix.json`` (keys ``s0y1`` and so on); None where they are not known."""
    if counts is None:
        return None
    cells = {tuple(map(int, key[1:].split("y"))): n for key, n in counts.items()}
    groups, classes = (max(axis) + 1 for axis in zip(*cells, strict=True))
    return row_shares([[cells[s, y] for s in range(groups)] for y in range(classes)])


def _mean_table(
    tables: Sequence[list[list[float | None]] | None],
) -> list[list[float | None]] | None:
    """The mean of tables of one shape; None where one is missing, an entry None where it is undefined in one."""
    if not tables or any(table is None for table in tables):
        return None
    mean = np.array(tables, np.float64).mean(0)  # None becomes NaN
    return [[None if np.isnan(v) else float(v) for v in row] for row in mean]


def draw_curves(rows: Sequence[Row], summary: Sequence[Row], path: Path) -> Path:
    """Gap (upper row) and accuracy (lower) against alpha; a column for the mix and for each guidance.

    Gaps are in the direction of the mix where it has one; the clean set is drawn for each policy, in its direction.
    """
    columns = sorted(
        grouped(summary, ("where", "guidance")), key=lambda c: (c[0] != "mix", c[1] or 0)
    )
    policies = list(dict.fromkeys(e["policy"] for e in summary if e["policy"] != "clean"))
    policies = policies or ["clean"]

    def fill(column: int, axis: "Axes", name: str) -> None:
        here, seeds = (
            [one for one in some if (one["where"], one["guidance"]) == columns[column]]
            for some in (summary, rows)
        )
        for i, policy in enumerate(policies):
            mine, drawn = (
                [one for one in some if one["policy"] in (policy, "clean")]
                for some in (here, seeds)
            )
            mine.sort(key=lambda e: float(e["alpha"]))
            values = _gaps(mine, drawn) if name == "gap" else _accuracies(mine, drawn)
            # so that bars at one alpha stand side by side
            shift = 0.006 * (i - (len(policies) - 1) / 2)
            curve(axis, values[0], colour_of(i), policy, shift)
            places = [(alpha + shift, value) for alpha, value in values[1]]
            dots(axis, places, colour_of(i), alpha=0.35, mew=0)

    directed = any(e.get("directed") for e in summary)
    titles = (
        "classifier on the mix" if where == "mix" else f"on samples, guidance {guidance:g}"
        for where, guidance in columns
    )
    gap = ",\nin the direction of the mix" if directed else ""
    axes = draw_gap_and_accuracy(list(titles), fill, gap=gap, width=3.0)
    axes[0, 0].set_ylim(bottom=min(0.0, axes[0, 0].get_ylim()[0]))
    axes[0, 0].legend(frameon=False, loc="upper left")
    seeds_drawn = max(len(e["seeds"]) for e in summary)
    title = seeds_text(seeds_drawn, summary[0]["level"], "single seeds")
    return save(axes[0, 0], path, title)


# alpha and estimate; alpha and one seed's value
Points = tuple[list[tuple[float, Row]], list[tuple[float, float]]]


def _accuracies(entries: Sequence[Row], rows: Sequence[Row]) -> Points:
    dots = [(r["alpha"], r["accuracy"]) for r in rows if r.get("accuracy") is not None]
    return [(e["alpha"], e["accuracy"]) for e in entries], dots


def _gaps(entries: Sequence[Row], rows: Sequence[Row]) -> Points:
    """Gaps of the clean set and of one policy, in the direction of its mixes where they have one."""
    mine = [e for e in entries if "gap" in e]
    first = [
        (0.0, mine[0]["gap"]["clean"] if mine else e[GAP])
        for e in entries
        if e["policy"] == "clean"
    ]
    directed = bool(mine) and all(e["directed"] for e in mine)
    clean = {row["seed"]: row for row in rows if row["policy"] == "clean"}
    pairs = [paired(row, clean.get(row["seed"], {})) for row in rows if row["policy"] != "clean"]
    alone = [Pair(row, row, None) for row in clean.values() if not pairs]
    after, before = sides([*pairs, *alone], GAP, directed)
    places = [*(pair.poisoned["alpha"] for pair in pairs), *(0.0 for _ in before)]
    gaps = [*after[: len(pairs)], *before]
    dots = [(alpha, gap) for alpha, gap in zip(places, gaps, strict=True) if gap is not None]
    return [*first, *((e["alpha"], e["gap"]["poisoned"]) for e in mine)], dots


def draw_amplifier(summary: Sequence[Row], path: Path) -> Path:
    """How far the classes differ in their share of the last group: mix, samples, decisions, against guidance.

    The height is P(s | y=1) - P(s | y=0) for two classes, the largest difference between classes for more. Of each
    policy the largest alpha is drawn.
    """
    through = at_largest_alpha([e for e in summary if e["where"] == "generator"])
    figure = figure_of(6.4, 3.8)
    axis = figure.subplots()
    styles = dict(zip(SHARES, (":", "--", "-"), strict=True))
    for i, ((policy, alpha), entries) in enumerate(grouped(through, ("policy", "alpha")).items()):
        entries.sort(key=lambda e: float(e["guidance"]))
        colour = GREY if policy == "clean" else colour_of(i - 1)
        for name, style in styles.items():
            spreads = [(e["guidance"], _spread(e[name])) for e in entries]
            places = [(x, y) for x, y in spreads if y is not None]
            dots(axis, places, colour, ls=style, alpha=1.0)
        label = policy if policy == "clean" else f"{policy}, alpha {alpha:g}"
        axis.plot([], [], color=colour, label=label)
    for name, style in styles.items():
        axis.plot([], [], style, color="black", label=f"in the {name.removeprefix('shares_in_')}")
    axis.set_xlabel("guidance_scale")
    axis.set_ylabel("difference of P(last group | class)")
    axis.set_xticks(sorted({e["guidance"] for e in through}))
    plain(axis)
    figure.legend(frameon=False, loc="outside right upper")
    return save(figure, path)


def at_largest_alpha(entries: Sequence[Row]) -> list[Row]:
    """Of each policy the entries at its largest alpha."""
    largest: dict[str, float] = {}
    for entry in entries:
        largest[entry["policy"]] = max(entry["alpha"], largest.get(entry["policy"], 0.0))
    return [entry for entry in entries if entry["alpha"] == largest[entry["policy"]]]


def _spread(table: Sequence[Sequence[float | None]] | None) -> float | None:
    if table is None:
        return None
    last = [row[-1] for row in table]
    defined = [value for value in last if value is not None]
    if len(defined) < len(last) or len(last) < 2:
        return None
    return defined[1] - defined[0] if len(defined) == 2 else max(defined) - min(defined)
