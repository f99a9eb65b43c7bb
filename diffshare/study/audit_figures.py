"""The figure of the audit study."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffshare.audit.figures import COLOURS
from diffshare.storage import atomic_file
from diffshare.study.base import Row


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
