"""What the rows of the fairness poisoning study say together: means, paired differences, a table, figures."""

from collections.abc import Mapping, Sequence
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
    figure_of,
    grouped,
    interval,
    means,
    number,
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
SHARED = (
    "policy",
    "alpha",
    "where",
    "guidance",
)
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
            entry |= differences(
                [paired(row, clean[seed]) for seed, row in mine.items() if seed in clean], level
            )
        entries.append(
            entry | {name: _mean_table([row[name] for row in mine.values()]) for name in SHARES}
        )
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
    for name, field in (("excess_gap", GAP), ("excess_equalized_odds", ODDS)):
        changes[name] = excess(pairs, field, level, directed)
        changes[f"{name}_absolute"] = excess(pairs, field, level, False)
    before, after = ([row.get("accuracy") for row in side] for side in (clean_rows, poisoned_rows))
    changes["accuracy_loss"] = paired_difference(before, after, level).json()
    return changes


def outcome_table(summary: Sequence[Row], level: float) -> Table:
    """Accuracy, gap and differences to clean of each cell; gaps of directed mixes in the direction of the mix."""
    title = f"fairness poisoning: means over seeds, {level:.0%} t intervals of paired differences to clean"
    columns = [
        "policy",
        "alpha",
        "trained on",
        "guidance",
        "seeds",
        "accuracy",
        "gap",
        "accuracy loss",
        "excess gap",
    ]
    lines = table(title, [*columns, "of absolute gaps"], left=("policy", "trained on"))
    for entry in sorted(summary, key=lambda e: (e["where"] != "mix", e["guidance"] or 0)):
        gap = entry["gap"]["poisoned"] if "gap" in entry else entry[GAP]
        plain_means = [
            text(estimate, ends=False, undefined=UNDEFINED) for estimate in (entry["accuracy"], gap)
        ]
        names = ("accuracy_loss", "excess_gap", "excess_gap_absolute")
        changes = [text(entry.get(name), undefined=UNDEFINED) for name in names]
        changes[1] += "" if entry.get("directed", True) else " (absolute)"
        cell = (entry["policy"], f"{entry['alpha']:g}", entry["where"], number(entry["guidance"]))
        lines.add_row(*cell, str(len(entry["seeds"])), *plain_means, *changes)
    return lines


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
    columns = list(dict.fromkeys((e["where"], e["guidance"]) for e in summary))
    columns.sort(key=lambda c: (c[0] != "mix", c[1] or 0))
    policies = list(dict.fromkeys(e["policy"] for e in summary if e["policy"] != "clean")) or [
        "clean"
    ]
    figure = figure_of(2.2 + 3.0 * len(columns), 5.6)
    axes = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for axis, (where, guidance) in zip(axes.T, columns, strict=True):
        here = [e for e in summary if (e["where"], e["guidance"]) == (where, guidance)]
        seeds = [r for r in rows if (r["where"], r["guidance"]) == (where, guidance)]
        axis[0].set_title(
            "classifier on the mix" if where == "mix" else f"on samples, guidance {guidance:g}"
        )
        axis[1].set_xlabel("poisoned share alpha")
        for i, policy in enumerate(policies):
            entries = sorted(
                (e for e in here if e["policy"] in (policy, "clean")), key=lambda e: e["alpha"]
            )
            dots = [r for r in seeds if r["policy"] in (policy, "clean")]
            # so that bars at one alpha stand side by side
            shift = 0.006 * (i - (len(policies) - 1) / 2)
            for panel, values in zip(
                axis, (_gaps(entries, dots), _accuracies(entries, dots)), strict=True
            ):
                _curve(panel, *values, shift, colour_of(i), policy)
    directed = any(e.get("directed") for e in summary)
    axes[0, 0].set_ylabel(
        "demographic parity difference" + (",\nin the direction of the mix" if directed else "")
    )
    axes[1, 0].set_ylabel("accuracy on real test records")
    for panel in axes.flat:
        plain(panel)
    axes[0, 0].set_ylim(bottom=min(0.0, axes[0, 0].get_ylim()[0]))
    axes[0, 0].legend(frameon=False, loc="upper left")
    seeds_drawn = max(len(e["seeds"]) for e in summary)
    figure.suptitle(seeds_text(seeds_drawn, summary[0]["level"], "single seeds"), fontsize="medium")
    return save(figure, path)


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


def _curve(
    panel: "Axes",
    points: Sequence[tuple[float, Row]],
    dots: Sequence[tuple[float, float]],
    shift: float,
    colour: str,
    label: str,
) -> None:
    curve(panel, points, colour, label, shift)
    panel.scatter(
        [a + shift for a, _ in dots], [v for _, v in dots], s=14, color=colour, alpha=0.35, lw=0
    )


def draw_amplifier(summary: Sequence[Row], path: Path) -> Path:
    """How far the classes differ in their share of the last group: mix, samples, decisions, against guidance.

    The height is P(s | y=1) - P(s | y=0) for two classes, the largest difference between classes for more. Of each
    policy the largest alpha is drawn.
    """
    through = at_largest_alpha([e for e in summary if e["where"] == "generator"])
    kinds = list(dict.fromkeys((e["policy"], e["alpha"]) for e in through))
    figure = figure_of(6.4, 3.8)
    axis = figure.subplots()
    styles = {
        "shares_in_mix": (":", "mix"),
        "shares_in_samples": ("--", "samples"),
        "shares_in_decisions": ("-", "decisions"),
    }
    for i, (policy, alpha) in enumerate(kinds):
        entries = [e for e in through if (e["policy"], e["alpha"]) == (policy, alpha)]
        entries.sort(key=lambda e: e["guidance"])
        colour = GREY if policy == "clean" else colour_of(i - 1)
        for field, (style, _) in styles.items():
            spreads = [(e["guidance"], _spread(e[field])) for e in entries]
            defined = [(x, y) for x, y in spreads if y is not None]
            axis.plot(
                [x for x, _ in defined],
                [y for _, y in defined],
                style,
                color=colour,
                marker="o",
                ms=4,
            )
        axis.plot(
            [],
            [],
            color=colour,
            label=policy if policy == "clean" else f"{policy}, alpha {alpha:g}",
        )
    for style, name in styles.values():
        axis.plot([], [], style, color="black", label=f"in the {name}")
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
