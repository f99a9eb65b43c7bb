"""Figures of the audit study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffshare.audits.figures import COLOURS
from diffshare.storage import atomic_file
from diffshare.study.engine.base import Row


def draw_audit(rows: Sequence[Row], path: Path) -> Path:
    """Difference of log odds against alpha with the margin; predicted against measured gap; a colour a guidance."""
    figure = Figure((8.4, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    guidances = list(dict.fromkeys(row["guidance"] for row in rows))
    for i, guidance in enumerate(guidances):
        mine = [row for row in rows if row["guidance"] == guidance]
        colour, name = COLOURS[i % len(COLOURS)], f"guidance {guidance:g}"
        place = [row["alpha"] + 0.012 * (i - (len(guidances) - 1) / 2) for row in mine]
        left.plot(place, [abs(row["difference"]) for row in mine], "o", ms=4, alpha=0.7, color=colour, label=name)
        gaps = [r for r in mine if r["predicted_gap"] is not None and r["measured_gap"] is not None]
        measured, predicted = ([row[key] for row in gaps] for key in ("measured_gap", "predicted_gap"))
        bars = [[abs(row["predicted_interval"][k] - row["predicted_gap"]) for row in gaps] for k in (0, 1)]
        if gaps:
            right.errorbar(measured, predicted, yerr=bars, fmt="o", ms=4, alpha=0.7, color=colour, label=name)
    for margin in {row["margin"] for row in rows}:
        left.axhline(margin, color="grey", lw=1, ls="--")
    left.set(xlabel="poisoned share alpha", ylabel="|difference of log odds|", title="samples against the reference")
    right.axline((0, 0), slope=1, color="grey", lw=1, ls="--")
    right.set(xlabel="measured gap", ylabel="predicted gap", title="demographic parity difference")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return path


def draw_repairs(summary: Sequence[Row], path: Path) -> Path:
    """Gap (upper row) and accuracy (lower) of clean, poisoned and repaired samples against alpha; a column a guidance.

    Args:
        summary: entries of guidances, each with ``repairs``; at least one of them not empty.
        path: of the picture.
    """
    columns = [entry for entry in summary if entry["repairs"]]
    figure = Figure((2.2 + 3.2 * len(columns), 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for pair, entry in zip(axes.T, columns, strict=True):
        pair[0].set_title(f"guidance {entry['guidance']:g}")
        pair[1].set_xlabel("poisoned share alpha")
        for panel, field in zip(pair, ("gap", "accuracy"), strict=True):
            _repair_curves(panel, entry["repairs"], field)
    directed = all(one["directed"] for entry in columns for one in entry["repairs"])
    axes[0, 0].set_ylabel("demographic parity difference" + (",\nthe group that is favoured first" if directed else ""))
    axes[1, 0].set_ylabel("accuracy on real test records")
    for panel in axes.flat:
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False, fontsize="small")
    seeds = max(len(one["seeds"]) for entry in columns for one in entry["repairs"])
    bars = f"bars: {columns[0]['repairs'][0]['level']:.0%} t interval" if seeds > 1 else "no interval"
    figure.suptitle(f"Mean over {seeds} seed{'s' if seeds > 1 else ''} ({bars})", fontsize="medium")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
    return path


def _repair_curves(panel: Any, repairs: Sequence[Row], field: str) -> None:
    """One panel: of each policy the poisoned samples and each repair; clean ones, which belong to all, once."""
    policies = list(dict.fromkeys(one["policy"] for one in repairs))
    curves: list[tuple[str, str, list[Row]]] = []
    for policy in policies:
        mine = [one for one in repairs if one["policy"] == policy]
        first = [one for one in mine if one["repair"] == mine[0]["repair"]]
        curves += [("clean", "clean", first)] if policy == policies[0] else []
        curves.append((policy, "poisoned", first))
        for name in dict.fromkeys(one["repair"] for one in mine):
            found = [one for one in mine if one["repair"] == name]
            curves.append((name if len(policies) == 1 else f"{policy}, {name}", "repaired", found))
    for i, (label, side, entries) in enumerate(curves):
        known = sorted((e for e in entries if e[field][side]["mean"] is not None), key=lambda e: float(e["alpha"]))
        middle = [e[field][side]["mean"] for e in known]
        half = [0.0 if e[field][side]["interval"] is None else e[field][side]["interval"][1] - m
                for e, m in zip(known, middle, strict=True)]  # fmt: skip
        colour = "#555555" if side == "clean" else COLOURS[(i - 1) % len(COLOURS)]
        place = [e["alpha"] + 0.006 * (i - (len(curves) - 1) / 2) for e in known]  # bars at one alpha side by side
        panel.errorbar(place, middle, half, color=colour, marker="o", ms=4, lw=1.5, capsize=3, label=label)
