"""Figures of audits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito, for every eye
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
)
HATCHES = ("", "///", "...", "xxx")  # where there are more groups than colours
SHOWN = {
    "selection_rate": "selection rate",
    "tpr": "true positive rate",
    "fpr": "false positive rate",
}


def draw_groups(results: Mapping[str, Any], names: Sequence[str] = ()) -> Figure:
    """Bars of each group's rates with their intervals; a rate that is undefined has no bar but the words "n/a".

    Args:
        results: of :func:`diffshare.audits.fairness.fairness_report`.
        names: of the groups, by their codes.
    """
    figure = Figure((6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    groups = list(results["by_group"])
    shown = {**SHOWN, "accuracy": "accuracy"}
    width = 0.8 / len(groups)
    for i, group in enumerate(groups):
        rates = results["by_group"][group]
        intervals = results["intervals"]["by_group"][group]
        heights = np.array([np.nan if rates[n] is None else rates[n] for n in shown])
        # none is not one of length 0
        bounds = np.array([intervals[n] or (np.nan, np.nan) for n in shown])
        errors = np.abs(bounds.T - heights)
        place = np.arange(len(shown)) + (i - (len(groups) - 1) / 2) * width
        name = names[int(group)] if int(group) < len(names) else f"group {group}"
        label = f"{name} (n = {rates['n']})"
        look: dict[str, Any] = {
            "color": COLOURS[i % len(COLOURS)],
            "hatch": HATCHES[i // len(COLOURS) % len(HATCHES)],
        }
        axis.bar(
            place,
            heights,
            width * 0.92,
            yerr=errors,
            capsize=2,
            label=label,
            edgecolor="white",
            **look,
        )
        for x in place[np.isnan(heights)]:
            axis.text(
                x, 0.01, "n/a", ha="center", va="bottom", fontsize="x-small", color=look["color"]
            )
    axis.set_xticks(np.arange(len(shown)), shown.values())
    axis.set_ylim(0, 1)
    axis.spines[["top", "right"]].set_visible(False)
    longest = max(map(len, axis.get_legend_handles_labels()[1]))
    figure.legend(
        frameon=False,
        loc="outside lower center",
        ncols=max(1, min(3, len(groups), 75 // (longest + 6))),
    )
    gap = results["demographic_parity_difference"]
    axis.set_title(
        "demographic parity difference " + ("undefined" if gap is None else f"{gap:.3f}"),
        fontsize="medium",
    )
    return figure
