"""The tables and figures of the protection study."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from diffshare.study.engine.base import Row
from diffshare.study.reports.common import (
    bars,
    colour_of,
    dots,
    draw_kinds,
    estimate,
    field,
    figure_of,
    inner,
    number,
    plain,
    save,
    table,
    text,
)
from diffshare.study.reports.protection import ACCURACY, JUDGED, KIND, MEASURES, READING, kind_of
from diffshare.study.steps.grid import REAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {
    "kid": ("MMD to real records of the true share", 0.0),
    "accuracy": ("downstream accuracy", None),
    "property_error": ("property error", 0.0),
    "advantage": ("membership advantage", 0.0),
}
WITH_INTERVAL = ("accuracy", "property_error", "advantage", "auroc", "audited_error")


def tables(rows: Sequence[Row], summary: Sequence[Row], level: float) -> list[Table]:
    """Every kind of model; of each share that is shown, every generator and what is aimed at."""
    shown = [_models(summary, level)]
    for entry in (entry for entry in summary if entry["shown"] is not None):
        shown += [_generators(rows, entry), _criteria(entry)]
    return shown


def _models(summary: Sequence[Row], level: float) -> Table:
    """A line a kind of model; columns of which nothing is known are left out, and those that say nothing."""
    jpeg = [entry["jpeg"]["mean"] for entry in summary if entry["jpeg"]["mean"] is not None]
    caption = f"JPEG of quality 75 adds {jpeg[0]:.4f} to the MMD of records" if jpeg else None
    protected = any(entry["shown"] is not None for entry in summary)
    unsaid = ("jpeg",) if protected else ("jpeg", "queries_a_sample")
    columns = {"model": field("model")}
    if protected:
        columns |= {"protection": field("protection"), "shows": field("shown", "g")}
    columns |= {"records": field("records"), "n": field("generators")}
    for name, (heading, digits) in MEASURES.items():
        if name not in unsaid and any(entry[name]["mean"] is not None for entry in summary):
            columns[heading] = estimate(name, f".{digits}f", ends=name in WITH_INTERVAL)
    title = f"models and records: means over generators, {level:.0%} t intervals"
    return table(title, summary, columns, KIND, caption)


def _generators(rows: Sequence[Row], entry: Row) -> Table:
    """A line a generator whose samples were protected."""
    first = next(iter(rows[0]["read"]))

    def cost(share: str) -> Callable[[Row], str]:
        def cell(row: Row) -> str:
            kid = row["kid_difference"][f"{row[share]:g}"]
            return text({"mean": kid["estimate"], "interval": kid["interval"]}, ".4f")

        return cell

    reads = {
        f"protected read, {receiver} ({method})": inner("read", receiver, method, form=".3f")
        for receiver, method in entry["best"].items()
    }
    columns: dict[str, Callable[[Row], str]] = {
        "seed": field("seed"),
        "p": field("p", "g"),
        f"plain read, {JUDGED}": lambda row: number(
            row["plain_read"] and row["plain_read"][first][JUDGED], ".3f"
        ),
        **reads,
        "MMD +, true share": cost("p"),
        "MMD +, chosen share": cost("shown"),
        "accuracy +": field("accuracy_difference", "+.3f"),
        "queries a sample": field("queries_a_sample", ".1f"),
    }
    title = f"{entry['model']}, {entry['protection']}: samples that show {entry['shown']:g}, each generator"
    mine = [row for row in rows if kind_of(row) == kind_of(entry)]
    return table(title, mine, columns, left=("seed", "p"))


def _criteria(entry: Row) -> Table:
    """What is aimed at, and whether it is reached."""
    title = f"{entry['model']}, {entry['protection']}: samples that show {entry['shown']:g}"
    title += f", over {entry['generators']} generators"
    title += f" ({entry['missing']} missing)" if entry["missing"] else ""
    columns: dict[str, Callable[[Row], str]] = {
        "measure": field("what"),
        "mean": lambda one: text(one | {"mean": one["value"]}, ".4f"),
        "worst generator": field("worst", ".4f"),
        "aim": field("limit", "g"),
        "reached": lambda one: {True: "yes", False: "no", None: ""}[one["reached"]],
    }
    return table(title, entry["criteria"], columns, left=("measure", "reached"))


def draw_models(rows: Sequence[Row], summary: Sequence[Row], path: Path) -> Path:
    """A line a kind of model and way of drawing, a panel a measure: mean with interval, single generators as dots."""
    panels = {
        name: panel
        for name, panel in PANELS.items()
        if any(entry[name]["mean"] is not None for entry in summary)
    }

    def colour(entry: Row) -> str:
        private = 1 if entry["bound"] is None else 2
        return colour_of(0 if entry["model"] == REAL else private)

    size = (1.2, 1.3 + 0.4 * len(summary))
    axes = draw_kinds(
        rows, summary, panels, keys=KIND, label=_label, colour=colour, size=size, panel=3.2
    )
    several = max(entry["generators"] for entry in summary) > 1
    bars_are = f"bars: {summary[0]['level']:.0%} t interval; " if several else ""
    title = f"{bars_are}dots: single generators; green: DP-SGD, blue: records"
    return save(axes[0], path, title)


def draw_shown(rows: Sequence[Row], entry: Row, path: Path) -> Path:
    """What each receiver reads of plain and protected samples against the true share, and what protection costs."""
    mine = [row for row in rows if kind_of(row) == kind_of(entry)]
    receivers = list(entry["best"])
    figure = figure_of(3.4 * (len(receivers) + 2), 3.6)
    axes = figure.subplots(1, len(receivers) + 2, squeeze=False)[0]
    for axis, receiver in zip(axes, receivers, strict=False):
        _draw_reading(axis, mine, entry, receiver)
    for kind, (name, share) in enumerate((("true", "p"), ("chosen", "shown"))):
        costs = [row["kid_difference"][f"{row[share]:g}"] for row in mine]
        means = [{"mean": cost["estimate"], "interval": cost["interval"]} for cost in costs]
        # so that bars stand side by side
        places = [row["p"] + 0.012 * (2 * kind - 1) for row in mine]
        look: dict[str, Any] = {"fmt": "o", "ms": 4, "capsize": 2, "color": colour_of(kind)}
        values = [mean["mean"] for mean in means]
        axes[-2].errorbar(places, values, bars(means), label=f"to the {name} share", **look)
    axes[-2].legend(frameon=False, fontsize="small")
    changes = [(row["p"], change) for row in mine for change in row["accuracy_differences"]]
    dots(axes[-1], changes, colour_of(0), alpha=0.6)
    axes[-1].axhline(ACCURACY, color="grey", lw=1, ls=":")
    for axis, title in (
        (axes[-2], "MMD that protection adds"),
        (axes[-1], "accuracy that protection adds"),
    ):
        axis.axhline(0.0, color="grey", lw=1, ls="--")
        plain(axis, title)
    for axis in axes:
        axis.set(xlabel="true share in the training set", xlim=(0, 1))
    return save(figure, path)


def _draw_reading(axis: "Axes", rows: Sequence[Row], entry: Row, receiver: str) -> None:
    """Plain readings along the diagonal, protected ones within the band about the chosen share."""
    method, chosen = entry["best"][receiver], entry["shown"]
    axis.plot([0, 1], [0, 1], color="#999999", lw=1)
    axis.axhspan(chosen - READING, chosen + READING, color=colour_of(1), alpha=0.12, lw=0)
    labels = {"plain_read": "plain samples", "read": f"samples that show {chosen:g}"}
    for k, (name, label) in enumerate(labels.items()):
        read = [row for row in rows if row[name] is not None]
        places = [(row["p"], row[name][receiver][method]) for row in read]
        dots(axis, places, colour_of(k), label, marker="os"[k], ms=5, alpha=0.8)
    axis.set(ylim=(0, 1), ylabel="share read")
    axis.legend(frameon=False, fontsize="small", loc="upper left")
    plain(axis, f"{receiver} receiver, {method}")


def _label(entry: Row) -> str:
    said = str(entry["model"])
    if entry["shown"] is not None:
        said += f", {entry['protection']}: shows {entry['shown']:g}"
    return said if entry["bound"] is None else f"{said} (epsilon {entry['bound']:g})"
