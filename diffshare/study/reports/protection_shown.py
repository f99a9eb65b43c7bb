"""The tables and figures of the protection study."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from diffshare.study.engine.base import Row
from diffshare.study.reports.common import (
    bars,
    colour_of,
    figure_of,
    line_of_means,
    number,
    plain,
    save,
    table,
    text,
)
from diffshare.study.reports.protection import JUDGED, KIND, MEASURES, READING, kind_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {
    "kid": "MMD to real records of the true share",
    "accuracy": "downstream accuracy",
    "property_error": "property error",
    "advantage": "membership advantage",
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
    fields = [
        f
        for f in MEASURES
        if f not in unsaid and any(entry[f]["mean"] is not None for entry in summary)
    ]
    first = ("model", "protection", "shows") if protected else ("model",)
    columns = [*first, "records", "n", *(MEASURES[field][0] for field in fields)]
    lines = table(
        f"models and records: means over generators, {level:.0%} t intervals",
        columns,
        KIND,
        caption,
    )
    for entry in summary:
        kind = (*kind_of(entry), number(entry["shown"]))[: len(first)]
        cells = [text(entry[f], f".{MEASURES[f][1]}f", ends=f in WITH_INTERVAL) for f in fields]
        lines.add_row(*kind, number(entry["records"]), str(entry["generators"]), *cells)
    return lines


def _generators(rows: Sequence[Row], entry: Row) -> Table:
    """A line a generator whose samples were protected."""
    title = f"{entry['model']}, {entry['protection']}: samples that show {entry['shown']:g}, each generator"
    receivers = list(entry["best"])
    reads = [f"protected read, {receiver} ({entry['best'][receiver]})" for receiver in receivers]
    costs = ["MMD +, true share", "MMD +, chosen share", "accuracy +", "queries a sample"]
    lines = table(title, ["seed", "p", f"plain read, {JUDGED}", *reads, *costs], left=("seed", "p"))
    for row in (row for row in rows if kind_of(row) == kind_of(entry)):
        kids = [row["kid_difference"][f"{share:g}"] for share in (row["p"], row["shown"])]
        first = next(iter(row["read"]))
        lines.add_row(
            str(row["seed"]),
            f"{row['p']:g}",
            number(row["plain_read"] and row["plain_read"][first][JUDGED], ".3f"),
            *(f"{row['read'][receiver][entry['best'][receiver]]:.3f}" for receiver in receivers),
            *(text({"mean": kid["estimate"], "interval": kid["interval"]}, ".4f") for kid in kids),
            number(row["accuracy_difference"], "+.3f"),
            number(row["queries_a_sample"], ".1f"),
        )
    return lines


def _criteria(entry: Row) -> Table:
    """What is aimed at, and whether it is reached."""
    title = f"{entry['model']}, {entry['protection']}: samples that show {entry['shown']:g}"
    title += f", over {entry['generators']} generators"
    title += f" ({entry['missing']} missing)" if entry["missing"] else ""
    lines = Table("measure", "mean", "worst generator", "aim", "reached", title=title)
    for one in entry["criteria"]:
        said = {True: "yes", False: "no", None: ""}[one["reached"]]
        value = text(one | {"mean": one["value"]}, ".4f")
        lines.add_row(one["what"], value, f"{one['worst']:.4f}", number(one["limit"]), said)
    return lines


def draw_models(rows: Sequence[Row], summary: Sequence[Row], path: Path) -> Path:
    """A line a kind of model and way of drawing, a panel a measure: mean with interval, single generators as dots."""
    panels = {
        f: title
        for f, title in PANELS.items()
        if any(entry[f]["mean"] is not None for entry in summary)
    }
    figure = figure_of(3.2 * len(panels) + 1.2, 1.3 + 0.4 * len(summary))
    places = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (field, title) in zip(places, panels.items(), strict=True):
        for height, entry in enumerate(summary):
            colour = (
                colour_of(0)
                if entry["model"] == "real"
                else colour_of(1)
                if entry["bound"] is None
                else colour_of(2)
            )
            mine = [row for row in rows if kind_of(row) == kind_of(entry)]
            dots = [row[field] for row in mine if row.get(field) is not None]
            line_of_means(axis, height, entry[field], dots, colour)
        if field != "accuracy":
            axis.axvline(0.0, color="grey", lw=1, ls="--")
        plain(axis, title)
        axis.set(yticks=range(len(summary)), yticklabels=[_label(entry) for entry in summary])
    places[0].invert_yaxis()
    several = max(entry["generators"] for entry in summary) > 1
    bars_are = f"bars: {summary[0]['level']:.0%} t interval; " if several else ""
    figure.suptitle(
        f"{bars_are}dots: single generators; green: DP-SGD, blue: records", fontsize="medium"
    )
    return save(figure, path)


def draw_shown(rows: Sequence[Row], entry: Row, path: Path) -> Path:
    """What each receiver reads of plain and protected samples against the true share, and what protection costs."""
    mine = [row for row in rows if kind_of(row) == kind_of(entry)]
    receivers = list(entry["best"])
    figure = figure_of(3.4 * (len(receivers) + 2), 3.6)
    axes = figure.subplots(1, len(receivers) + 2, squeeze=False)[0]
    for axis, receiver in zip(axes, receivers, strict=False):
        _draw_reading(axis, mine, entry, receiver)
    for kind, (name, colour) in enumerate((("true", colour_of(0)), ("chosen", colour_of(1)))):
        for row in mine:
            share = row["p"] if name == "true" else row["shown"]
            one = row["kid_difference"][f"{share:g}"]
            bar = bars([{"mean": one["estimate"], "interval": one["interval"]}])
            place = row["p"] + 0.012 * (2 * kind - 1)  # so that bars stand side by side
            label = f"to the {name} share" if row is mine[0] else None
            axes[-2].errorbar(
                place, one["estimate"], bar, color=colour, marker="o", ms=4, capsize=2, label=label
            )
    axes[-2].legend(frameon=False, fontsize="small")
    pairs = [(row["p"], difference) for row in mine for difference in row["accuracy_differences"]]
    axes[-1].plot(
        [p for p, _ in pairs],
        [change for _, change in pairs],
        "o",
        ms=4,
        alpha=0.6,
        color=colour_of(0),
    )
    axes[-1].axhline(-0.02, color="grey", lw=1, ls=":")
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
    looks: list[tuple[str, str, dict[str, Any]]] = [
        ("plain_read", "plain samples", {"marker": "o", "color": colour_of(0)}),
        ("read", f"samples that show {chosen:g}", {"marker": "s", "color": colour_of(1)}),
    ]
    for field, label, look in looks:
        points = [
            (row["p"], row[field][receiver][method]) for row in rows if row[field] is not None
        ]
        axis.plot(
            [x for x, _ in points],
            [y for _, y in points],
            ls="",
            ms=5,
            alpha=0.8,
            label=label,
            **look,
        )
    axis.set(ylim=(0, 1), ylabel="share read")
    axis.legend(frameon=False, fontsize="small", loc="upper left")
    plain(axis, f"{receiver} receiver, {method}")


def _label(entry: Row) -> str:
    said = str(entry["model"])
    if entry["shown"] is not None:
        said += f", {entry['protection']}: shows {entry['shown']:g}"
    return said if entry["bound"] is None else f"{said} (epsilon {entry['bound']:g})"
