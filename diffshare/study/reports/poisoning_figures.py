"""Figures of the fairness poisoning study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffshare.audits.figures import COLOURS
from diffshare.storage import atomic_file
from diffshare.study.engine.base import Row
from diffshare.study.reports.excess import GAP, Pair, paired, sides


def draw_curves(rows: Sequence[Row], summary: Sequence[Row], path: Path) -> Path:
    """Gap (upper row) and accuracy (lower) against alpha; a column for the mix and for each guidance.

    Gaps are in the direction of the mix where it has one; the clean set is drawn for each policy, in its direction.
    """
    columns = list(dict.fromkeys((e["where"], e["guidance"]) for e in summary))
    columns.sort(key=lambda c: (c[0] != "mix", c[1] or 0))
    policies = list(dict.fromkeys(e["policy"] for e in summary if e["policy"] != "clean")) or ["clean"]
    figure = Figure((2.2 + 3.0 * len(columns), 5.6), layout="constrained")
    axes = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for axis, (where, guidance) in zip(axes.T, columns, strict=True):
        here = [e for e in summary if (e["where"], e["guidance"]) == (where, guidance)]
        seeds = [r for r in rows if (r["where"], r["guidance"]) == (where, guidance)]
        axis[0].set_title("classifier on the mix" if where == "mix" else f"on samples, guidance {guidance:g}")
        axis[1].set_xlabel("poisoned share alpha")
        for i, policy in enumerate(policies):
            curve = sorted((e for e in here if e["policy"] in (policy, "clean")), key=lambda e: e["alpha"])
            dots = [r for r in seeds if r["policy"] in (policy, "clean")]
            shift = 0.006 * (i - (len(policies) - 1) / 2)  # so that bars at one alpha stand side by side
            for panel, values in zip(axis, (_gaps(curve, dots), _accuracies(curve, dots)), strict=True):
                _curve(panel, *values, shift, COLOURS[i % len(COLOURS)], policy)
    directed = any(e.get("directed") for e in summary)
    axes[0, 0].set_ylabel("demographic parity difference" + (",\nin the direction of the mix" if directed else ""))
    axes[1, 0].set_ylabel("accuracy on real test records")
    for panel in axes.flat:
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylim(bottom=min(0.0, axes[0, 0].get_ylim()[0]))
    axes[0, 0].legend(frameon=False, loc="upper left")
    n = max(len(e["seeds"]) for e in summary)
    bars = f"bars: {summary[0]['level']:.0%} t interval" if n > 1 else "no interval"
    seeds_text = f"{n} seed{'s' if n > 1 else ''}"
    figure.suptitle(f"Mean over {seeds_text} ({bars}; dots: single seeds)", fontsize="medium")
    return _save(figure, path)


Points = tuple[list[tuple[float, Row]], list[tuple[float, float]]]  # alpha and estimate; alpha and one seed's value


def _accuracies(curve: Sequence[Row], rows: Sequence[Row]) -> Points:
    dots = [(r["alpha"], r["accuracy"]) for r in rows if r.get("accuracy") is not None]
    return [(e["alpha"], e["accuracy"]) for e in curve], dots


def _gaps(curve: Sequence[Row], rows: Sequence[Row]) -> Points:
    """Gaps of the clean set and of one policy, in the direction of its mixes where they have one."""
    mine = [e for e in curve if "gap" in e]
    first = [(0.0, mine[0]["gap"]["clean"] if mine else e[GAP]) for e in curve if e["policy"] == "clean"]
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
    panel: Any, curve: Sequence[tuple[float, Row]], dots: Sequence[tuple[float, float]], shift: float, colour: str,
    label: str,
) -> None:  # fmt: skip
    known = [(alpha, e) for alpha, e in curve if e["mean"] is not None]
    x = np.array([alpha for alpha, _ in known]) + shift
    y = np.array([e["mean"] for _, e in known])
    half = np.array([0.0 if e["interval"] is None else e["interval"][1] - e["mean"] for _, e in known])
    panel.errorbar(x, y, half, color=colour, marker="o", ms=4, lw=1.5, capsize=3, label=label)
    panel.scatter([a + shift for a, _ in dots], [v for _, v in dots], s=14, color=colour, alpha=0.35, lw=0)


def draw_amplifier(summary: Sequence[Row], path: Path) -> Path:
    """How far the classes differ in their share of the last group: mix, samples, decisions, against guidance.

    The height is P(s | y=1) - P(s | y=0) for two classes, the largest difference between classes for more. Of each
    policy the largest alpha is drawn.
    """
    through = at_largest_alpha([e for e in summary if e["where"] == "generator"])
    kinds = list(dict.fromkeys((e["policy"], e["alpha"]) for e in through))
    figure = Figure((6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    styles = {
        "shares_in_mix": (":", "mix"),
        "shares_in_samples": ("--", "samples"),
        "shares_in_decisions": ("-", "decisions"),
    }
    for i, (policy, alpha) in enumerate(kinds):
        curve = sorted(
            (e for e in through if (e["policy"], e["alpha"]) == (policy, alpha)), key=lambda e: e["guidance"]
        )
        colour = "#555555" if policy == "clean" else COLOURS[(i - 1) % len(COLOURS)]
        for field, (style, _) in styles.items():
            spreads = [(e["guidance"], _spread(e[field])) for e in curve]
            known = [(x, y) for x, y in spreads if y is not None]
            axis.plot([x for x, _ in known], [y for _, y in known], style, color=colour, marker="o", ms=4)
        axis.plot([], [], color=colour, label=policy if policy == "clean" else f"{policy}, alpha {alpha:g}")
    for style, name in styles.values():
        axis.plot([], [], style, color="black", label=f"in the {name}")
    axis.set_xlabel("guidance_scale")
    axis.set_ylabel("difference of P(last group | class)")
    axis.set_xticks(sorted({e["guidance"] for e in through}))
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside right upper")
    return _save(figure, path)


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
    known = [value for value in last if value is not None]
    if len(known) < len(last) or len(last) < 2:
        return None
    return known[1] - known[0] if len(known) == 2 else max(known) - min(known)


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    return path
