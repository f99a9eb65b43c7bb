"""The tables of the protection study."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from diffshare.study.engine.base import Row
from diffshare.study.reports.protection_results import JUDGED, MEASURES, kind_of

WITH_INTERVAL = ("accuracy", "property_error", "advantage", "auroc", "audited_error")


def tables(rows: Sequence[Row], summary: Sequence[Row], level: float) -> list[Table]:
    """Every kind of model; of each share that is shown, every generator and what is aimed at."""
    made = [_models(summary, level)]
    for entry in (entry for entry in summary if entry["shown"] is not None):
        made += [_generators(rows, entry), _criteria(entry)]
    return made


def _models(summary: Sequence[Row], level: float) -> Table:
    """A line a kind of model; columns of which nothing is known are left out, and those that say nothing."""
    jpeg = [entry["jpeg"]["mean"] for entry in summary if entry["jpeg"]["mean"] is not None]
    caption = f"JPEG of quality 75 adds {jpeg[0]:.4f} to the MMD of records" if jpeg else None
    table = Table(title=f"models and records: means over generators, {level:.0%} t intervals", caption=caption)
    protected = any(entry["shown"] is not None for entry in summary)
    unsaid = ("jpeg",) if protected else ("jpeg", "queries_a_sample")
    fields = [f for f in MEASURES if f not in unsaid and any(entry[f]["mean"] is not None for entry in summary)]
    first = ("model", "protection", "shows") if protected else ("model",)
    for name in (*first, "records", "n", *(MEASURES[field][0] for field in fields)):
        table.add_column(name, justify="left" if name in ("model", "protection") else "right")
    for entry in summary:
        kind = (*kind_of(entry), "" if entry["shown"] is None else f"{entry['shown']:g}")[: len(first)]
        cells = [mean_text(entry[field], MEASURES[field][1], field in WITH_INTERVAL) for field in fields]
        records = "" if entry["records"] is None else str(entry["records"])
        table.add_row(*kind, records, str(entry["generators"]), *cells)
    return table


def _generators(rows: Sequence[Row], entry: Row) -> Table:
    """A line a generator whose samples were protected."""
    title = f"{entry['model']}, {entry['protection']}: samples that show {entry['shown']:g}, each generator"
    receivers = list(entry["best"])
    table = Table("seed", "p", title=title)
    for name in (
        f"plain read, {JUDGED}",
        *(f"protected read, {receiver} ({entry['best'][receiver]})" for receiver in receivers),
        "MMD +, true share",
        "MMD +, chosen share",
        "accuracy +",
        "queries a sample",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        if kind_of(row) != kind_of(entry):
            continue
        kids = [row["kid_difference"][f"{share:g}"] for share in (row["p"], row["shown"])]
        first = next(iter(row["read"]))
        table.add_row(
            str(row["seed"]), f"{row['p']:g}",
            "" if row["plain_read"] is None else f"{row['plain_read'][first][JUDGED]:.3f}",
            *(f"{row['read'][receiver][entry['best'][receiver]]:.3f}" for receiver in receivers),
            *(mean_text({"mean": kid["estimate"], "interval": kid["interval"]}, 4) for kid in kids),
            "" if row["accuracy_difference"] is None else f"{row['accuracy_difference']:+.3f}",
            "" if row["queries_a_sample"] is None else f"{row['queries_a_sample']:.1f}",
        )  # fmt: skip
    return table


def _criteria(entry: Row) -> Table:
    """What is aimed at, and whether it is reached."""
    title = f"{entry['model']}, {entry['protection']}: samples that show {entry['shown']:g}"
    title += f", over {entry['generators']} generators"
    title += f" ({entry['missing']} missing)" if entry["missing"] else ""
    table = Table("measure", "mean", "worst generator", "aim", "reached", title=title)
    for one in entry["criteria"]:
        said = {True: "yes", False: "no", None: ""}[one["reached"]]
        aim = "" if one["limit"] is None else f"{one['limit']:g}"
        table.add_row(one["what"], mean_text(one | {"mean": one["value"]}, 4), f"{one['worst']:.4f}", aim, said)
    return table


def mean_text(estimate: Mapping[str, Any], digits: int, interval: bool = True) -> str:
    """An estimate with its interval, where it has one; nothing where it is undefined."""
    if estimate["mean"] is None:
        return ""
    text = f"{estimate['mean']:.{digits}f}"
    if interval and estimate["interval"]:
        text += " [{:.{d}f}, {:.{d}f}]".format(*estimate["interval"], d=digits)
    return text
