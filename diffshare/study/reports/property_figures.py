"""Figures of the property inference study."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffshare.audits.figures import COLOURS
from diffshare.stats.intervals import hoeffding_half_width
from diffshare.storage import atomic_file
from diffshare.study.engine.base import Row
from diffshare.study.reports.property_results import usual_queries

LOOK = ("family", "labels", "guidance", "training", "auxiliary")
KIND = ("method", "calibration")


def draw_truth(rows: Sequence[Row], path: Path, level: float) -> Path:
    """Estimate with its interval against the true share: a panel a method, the first run of the first view.

    Widened intervals are the pale bars behind those of the method.
    """
    count = usual_queries(rows)
    rows = [r for r in _first_view(rows) if r["queries"] == count and r["run"] == 0]
    kinds = [kind for kind in dict.fromkeys(tuple(r[k] for k in KIND) for r in rows) if kind[1] != "widened"]
    columns = min(len(kinds), 4)
    lines = -(-len(kinds) // columns)
    figure = Figure((2.5 * columns + 0.6, 2.6 * lines + 0.5), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    seeds = list(dict.fromkeys(r["seed"] for r in rows))
    for axis, kind in zip(axes.flat, kinds, strict=False):
        axis.plot([0, 1], [0, 1], color="#999999", lw=1)
        for r in (r for r in rows if r["method"] == kind[0] and r["calibration"] in (kind[1], "widened")):
            if r["calibration"] == "widened" and kind[1] != "real":
                continue
            place = r["p"] + 0.015 * (seeds.index(r["seed"]) - (len(seeds) - 1) / 2)  # so that bars stand side by side
            bar = [[r["estimate"] - r["low"]], [r["high"] - r["estimate"]]]
            colour = COLOURS[0] if r["covered"] else COLOURS[1]
            wide = {"lw": 4, "alpha": 0.2} if r["calibration"] == "widened" else {"lw": 1, "capsize": 2}
            axis.errorbar(place, r["estimate"], bar, color=colour, marker="o", ms=3, **wide)
        axis.set_title(_label(*kind), fontsize="medium")
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[len(kinds) :]:
        axis.set_visible(False)
    figure.supxlabel("share in the sharer's training set")
    figure.supylabel("estimate")
    title = f"{rows[0]['property']}, {count} queries, {level:.0%} intervals (blue: covers the truth)"
    figure.suptitle(title, fontsize="medium")
    return _save(figure, path)


def draw_error(summary: Sequence[Row], path: Path, level: float) -> Path:
    """Mean absolute error against the number of queries, with Hoeffding's half width, of the first view."""
    entries = [e for e in _first_view(summary) if e["calibration"] != "widened"]  # whose estimates are those of "real"
    figure = Figure((6.4, 4.0), layout="constrained")
    axis = figure.subplots()
    kinds = list(dict.fromkeys(tuple(e[k] for k in KIND) for e in entries))
    methods = list(dict.fromkeys(method for method, _ in kinds))
    for kind in kinds:
        curve = sorted((e for e in entries if tuple(e[k] for k in KIND) == kind), key=lambda e: e["queries"])
        at = methods.index(kind[0])
        axis.plot(
            [e["queries"] for e in curve],
            [e["mean_absolute_error"]["mean"] for e in curve],
            "-" if kind[1] == "real" else "--",
            color=COLOURS[at % len(COLOURS)] if at < len(COLOURS) else "#555555",
            marker="o",
            ms=4,
            lw=1.4,
            label=_label(*kind),
        )
    counts = sorted({e["queries"] for e in entries})
    if len(counts) > 1:
        points = np.unique(np.geomspace(counts[0], counts[-1], 40).round().astype(int))
        bound = [hoeffding_half_width(int(count), level) for count in points]
        axis.plot(points, bound, color="black", lw=1, ls=":", label=f"Hoeffding, {level:.0%} (sampling alone)")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(counts, [str(count) for count in counts], minor=False)
    low, high = axis.get_ylim()
    ticks = [t for t in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if low <= t <= high]
    axis.set_yticks(ticks, [f"{t:g}" for t in ticks], minor=False)
    axis.minorticks_off()
    axis.set_xlabel("queries")
    axis.set_ylabel("mean absolute error")
    axis.set_title(f"{entries[0]['property']}, over {entries[0]['generators']} generator(s)", fontsize="medium")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside right upper")
    return _save(figure, path)


def _first_view(entries: Sequence[Row]) -> list[Row]:
    first = tuple(entries[0][k] for k in LOOK)
    return [e for e in entries if tuple(e[k] for k in LOOK) == first]


def _label(method: str, calibration: str) -> str:
    return method if calibration == "real" else f"{method}, {calibration}"


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    return path
