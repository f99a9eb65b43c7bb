"""The figure of the study of the adaptive sharer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffshare.audits.figures import COLOURS
from diffshare.storage import atomic_file
from diffshare.study.engine.base import Row


def draw_adaptive(summary: Sequence[Row], path: Path) -> Path:
    """The gap that remains possible against queries, and the least alpha of the attack without a margin beside it."""
    sets, curve = ([entry for entry in summary if entry["of"] == kind] for kind in ("set", "curve"))
    figure = Figure((8.4, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _points(left, curve, "gap", COLOURS[0], f"flagged at most {curve[0]['risk']:.0%}")
    means = {entry["margin"]: entry["gap"]["mean"] for entry in sets}
    left.axhline(means[min(means)], color="grey", lw=1, ls=":", label="random set")
    widest = max(means)  # is in the grid to stand for no margin
    left.axhline(means[widest], color=COLOURS[1], lw=1, ls="--", label="attack without a margin")
    left.set(ylabel="demographic parity difference", title="largest gap that remains possible")
    left.set_ylim(bottom=0)
    left.legend(frameon=False, fontsize="small")
    _points(right, curve, "least_alpha", COLOURS[2], "")
    right.set(ylabel="poisoned share alpha", title="least alpha detected, attack without a margin", ylim=(0, 1))
    for axis in (left, right):
        axis.set(xlabel="queries", xscale="log")
        axis.set_xticks([entry["queries"] for entry in curve], [str(entry["queries"]) for entry in curve])
        axis.minorticks_off()
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.title.set_fontsize("medium")
    cuts, level = max(entry["cuts"] for entry in summary), summary[0]["level"]
    figure.suptitle(f"Mean over {cuts} cuts of the records (bars: {level:.0%} t interval)", fontsize="medium")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
    return path


def _points(axis: Any, curve: Sequence[Row], field: str, colour: str, label: str) -> None:
    known = [entry for entry in curve if entry[field]["mean"] is not None]
    x, y = ([f(entry) for entry in known] for f in (lambda e: e["queries"], lambda e: e[field]["mean"]))
    ends = [entry[field]["interval"] or [entry[field]["mean"]] * 2 for entry in known]
    bars = [[m - e[0] for m, e in zip(y, ends, strict=True)], [e[1] - m for m, e in zip(y, ends, strict=True)]]
    axis.errorbar(x, y, bars, color=colour, marker="o", ms=4, lw=1.5, capsize=3, label=label)
