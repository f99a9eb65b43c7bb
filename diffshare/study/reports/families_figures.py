"""The figure of the families study."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from diffshare.audits.figures import COLOURS
from diffshare.storage import atomic_file
from diffshare.study.engine.base import Row

PANELS = {
    "excess_gap": "excess gap by poisoning",
    "bias_passed_on": "bias passed on (1: unchanged)",
    "property_error": "property error",
    "kid": "MMD to test records (own features)",
}
KINDS = ("real", "diffusion", "gan", "vae")


def draw_families(rows: Sequence[Row], summary: Sequence[Row], path: Path) -> Path:
    """Mean with interval of each family in a panel a measure, single seeds as dots; a colour a kind of family."""
    entries = [entry for entry in summary if "family" in entry]
    figure = Figure((3.0 * len(PANELS), 1.2 + 0.32 * len(entries)), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, (field, title) in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS.items(), strict=True):
        for height, entry in enumerate(entries):
            colour = COLOURS[KINDS.index(entry["kind"]) % len(COLOURS)]
            dots = [row[field] for row in rows if row["family"] == entry["family"] and row.get(field) is not None]
            axis.plot(dots, [height] * len(dots), "o", ms=3, alpha=0.4, color=colour)
            mean, interval = entry[field]["mean"], entry[field]["interval"]
            if mean is not None:
                bars = None if interval is None else [[mean - interval[0]], [interval[1] - mean]]
                axis.errorbar([mean], [height], xerr=bars, fmt="D", ms=5, capsize=3, color=colour)
        axis.axvline(1.0 if field == "bias_passed_on" else 0.0, color="grey", lw=1, ls="--")
        axis.set(title=title, yticks=range(len(entries)), yticklabels=[entry["family"] for entry in entries])
        axis.title.set_fontsize("medium")
        axis.grid(axis="x", alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axis.invert_yaxis()
    n = max(len(entry["seeds"]) for entry in entries)
    bars_are = f"bars: {summary[0]['level']:.0%} t interval; " if n > 1 else ""
    figure.suptitle(f"Mean over {n} seed{'s' if n > 1 else ''} ({bars_are}dots: single seeds)", fontsize="medium")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
    return path
