"""Figures of the protection study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffshare.audits.figures import COLOURS
from diffshare.storage import atomic_file
from diffshare.study.engine.base import Row
from diffshare.study.reports.protection_results import READING, kind_of

PANELS = {
    "kid": "MMD to real records of the true share",
    "accuracy": "downstream accuracy",
    "property_error": "property error",
    "advantage": "membership advantage",
}


def draw_models(rows: Sequence[Row], summary: Sequence[Row], path: Path) -> Path:
    """A line a kind of model and way of drawing, a panel a measure: mean with interval, single generators as dots."""
    panels = {f: title for f, title in PANELS.items() if any(entry[f]["mean"] is not None for entry in summary)}
    figure = Figure((3.2 * len(panels) + 1.2, 1.3 + 0.4 * len(summary)), layout="constrained")
    places = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (field, title) in zip(places, panels.items(), strict=True):
        for height, entry in enumerate(summary):
            colour = COLOURS[0] if entry["model"] == "real" else COLOURS[1] if entry["bound"] is None else COLOURS[2]
            mine = [row for row in rows if kind_of(row) == kind_of(entry)]
            dots = [row[field] for row in mine if row.get(field) is not None]
            axis.plot(dots, [height] * len(dots), "o", ms=3, alpha=0.4, color=colour)
            mean, interval = entry[field]["mean"], entry[field]["interval"]
            if mean is not None:
                bars = None if interval is None else [[mean - interval[0]], [interval[1] - mean]]
                axis.errorbar([mean], [height], xerr=bars, fmt="D", ms=5, capsize=3, color=colour)
        if field != "accuracy":
            axis.axvline(0.0, color="grey", lw=1, ls="--")
        _plain_axis(axis, title)
        axis.set(yticks=range(len(summary)), yticklabels=[_label(entry) for entry in summary])
    places[0].invert_yaxis()
    several = max(entry["generators"] for entry in summary) > 1
    bars_are = f"bars: {summary[0]['level']:.0%} t interval; " if several else ""
    figure.suptitle(f"{bars_are}dots: single generators; green: DP-SGD, blue: records", fontsize="medium")
    return _save(figure, path)


def draw_shown(rows: Sequence[Row], entry: Row, path: Path) -> Path:
    """What each receiver reads of plain and protected samples against the true share, and what protection costs."""
    mine = [row for row in rows if kind_of(row) == kind_of(entry)]
    receivers = list(entry["best"])
    figure = Figure((3.4 * (len(receivers) + 2), 3.6), layout="constrained")
    axes = figure.subplots(1, len(receivers) + 2, squeeze=False)[0]
    for axis, receiver in zip(axes, receivers, strict=False):
        _draw_reading(axis, mine, entry, receiver)
    for kind, (name, colour) in enumerate((("true", COLOURS[0]), ("chosen", COLOURS[1]))):
        for row in mine:
            share = row["p"] if name == "true" else row["shown"]
            one = row["kid_difference"][f"{share:g}"]
            low, high = one["interval"]
            bar = [[one["estimate"] - low], [high - one["estimate"]]]
            place = row["p"] + 0.012 * (2 * kind - 1)  # so that bars stand side by side
            label = f"to the {name} share" if row is mine[0] else None
            axes[-2].errorbar(place, one["estimate"], bar, color=colour, marker="o", ms=4, capsize=2, label=label)
    axes[-2].legend(frameon=False, fontsize="small")
    pairs = [(row["p"], difference) for row in mine for difference in row["accuracy_differences"]]
    axes[-1].plot([p for p, _ in pairs], [change for _, change in pairs], "o", ms=4, alpha=0.6, color=COLOURS[0])
    axes[-1].axhline(-0.02, color="grey", lw=1, ls=":")
    for axis, title in ((axes[-2], "MMD that protection adds"), (axes[-1], "accuracy that protection adds")):
        axis.axhline(0.0, color="grey", lw=1, ls="--")
        _plain_axis(axis, title)
    for axis in axes:
        axis.set(xlabel="true share in the training set", xlim=(0, 1))
    return _save(figure, path)


def _draw_reading(axis: Axes, rows: Sequence[Row], entry: Row, receiver: str) -> None:
    """Plain readings along the diagonal, protected ones within the band about the chosen share."""
    method, chosen = entry["best"][receiver], entry["shown"]
    axis.plot([0, 1], [0, 1], color="#999999", lw=1)
    axis.axhspan(chosen - READING, chosen + READING, color=COLOURS[1], alpha=0.12, lw=0)
    looks: list[tuple[str, str, dict[str, Any]]] = [
        ("plain_read", "plain samples", {"marker": "o", "color": COLOURS[0]}),
        ("read", f"samples that show {chosen:g}", {"marker": "s", "color": COLOURS[1]}),
    ]
    for field, label, look in looks:
        points = [(row["p"], row[field][receiver][method]) for row in rows if row[field] is not None]
        axis.plot([x for x, _ in points], [y for _, y in points], ls="", ms=5, alpha=0.8, label=label, **look)
    axis.set(ylim=(0, 1), ylabel="share read")
    axis.legend(frameon=False, fontsize="small", loc="upper left")
    _plain_axis(axis, f"{receiver} receiver, {method}")


def _label(entry: Row) -> str:
    said = (
        entry["model"]
        if entry["shown"] is None
        else f"{entry['model']}, {entry['protection']}: shows {entry['shown']:g}"
    )
    return said if entry["bound"] is None else f"{said} (epsilon {entry['bound']:g})"


def _plain_axis(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize="medium")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    return path
