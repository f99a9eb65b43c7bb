"""What the rows of the property inference study say together: error, coverage, remedies, a table, figures."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from diffshare.stats.bootstrap import drift_size
from diffshare.stats.intervals import coverage_interval, hoeffding_half_width
from diffshare.study.engine.base import Row
from diffshare.study.reports.common import (
    GREY,
    bars,
    colour_of,
    dots,
    estimate,
    field,
    figure_of,
    grouped,
    interval,
    mean_of,
    plain,
    save,
    table,
    text,
)

VIEW = ("property", "family", "labels", "guidance", "training", "auxiliary", "queries")
# rows that agree in these differ in proportion, seed and run alone
SHARED = (*VIEW, "method", "calibration")
USUAL = 1000  # queries at which the figures of the literature are given
LOOK = ("family", "labels", "guidance", "training", "auxiliary")
KIND = ("method", "calibration")


def of_inference(shared: Row, accuracy: float, estimates: Row) -> list[Row]:
    """Rows of what was estimated with a calibration on real records.

    Args:
        shared: fields of the cell, ``p`` among them.
        accuracy: of the classifier.
        estimates: what :func:`diffshare.study.steps.shares.infer` left.
    """
    own = shared | {"accuracy": accuracy, "calibration": "real"}
    return [_judged(own | row) for row in estimates["rows"]]


def of_remedy(shared: Row, accuracy: float, estimates: Row, remedy: Row, level: float) -> list[Row]:
    """Rows of the two remedies by surrogates: the line through them, and intervals that are widened by their drift.

    An interval is widened on both sides by the ``level`` quantile of the sizes of the surrogates' drifts: the error of
    an estimate is at most the sum of both parts (triangle inequality).
    """
    drifts = {method: drift_size(sizes, level) for method, sizes in remedy["drifts"].items()}
    rows = []
    for row in of_inference(shared, accuracy, estimates):
        drift = drifts[row["method"]]
        wide = {"low": max(0.0, row["low"] - drift), "high": min(1.0, row["high"] + drift)}
        rows.append(_judged(row | wide | {"drift": drift, "calibration": "widened"}))
    own = shared | {"accuracy": accuracy, "calibration": "surrogate"}
    return rows + [_judged(own | {"drift": drifts[row["method"]]} | row) for row in remedy["rows"]]


def _judged(row: Row) -> Row:
    """The row with its ``error`` (estimate minus truth) and whether its interval has ``covered`` the truth."""
    return row | {
        "error": row["estimate"] - row["p"],
        "covered": row["low"] <= row["p"] <= row["high"],
    }


def summarise(rows: Sequence[Row], level: float) -> list[Row]:
    """Error and coverage of each method, over proportions, seeds and runs.

    Runs of one generator are no repetitions of the experiment: errors are averaged within a generator before an
    interval is made, and the interval of the coverage counts generators (:func:`coverage_interval`).

    Args:
        rows: of :class:`PropertyInference`.
        level: of the intervals.

    Returns:
        one mapping a cell: ``SHARED``; ``generators``, ``runs``; ``mean_absolute_error`` and ``bias`` (``mean``,
        ``interval``, ``n``); ``half_width``; ``coverage`` and ``coverage_interval``; ``accuracy`` of the classifier;
        ``error_to_counting``, the error divided by that of ``cc``, null where there is none; ``assumption_rejected``,
        share of runs with a p-value below 0.05, null where it was not tested.
    """
    cells = grouped(rows, SHARED).items()
    summary = [dict(zip(SHARED, key, strict=True)) | _together(mine, level) for key, mine in cells]
    counting = {
        tuple(e[k] for k in VIEW): e["mean_absolute_error"]["mean"]
        for e in summary
        if (e["method"], e["calibration"]) == ("cc", "real")
    }
    for entry in summary:
        naive = counting.get(tuple(entry[k] for k in VIEW))
        entry["error_to_counting"] = entry["mean_absolute_error"]["mean"] / naive if naive else None
    return summary


def _together(rows: Sequence[Row], level: float) -> Row:
    by_generator = grouped(rows, ("p", "seed")).values()

    def of_each(value: Callable[[Row], float]) -> list[float]:
        return [float(np.mean([value(row) for row in mine])) for mine in by_generator]

    covered = of_each(lambda row: row["covered"])
    tested = [row["assumption"] < 0.05 for row in rows if "assumption" in row]
    return {
        "generators": len(by_generator),
        "runs": len(rows),
        "mean_absolute_error": interval(of_each(lambda row: abs(row["error"])), level),
        "bias": interval(of_each(lambda row: row["error"]), level),
        "half_width": mean_of([(row["high"] - row["low"]) / 2 for row in rows]),
        "coverage": mean_of(covered),
        "coverage_interval": list(coverage_interval(covered, level)),
        "accuracy": mean_of([row["accuracy"] for row in rows]),
        "assumption_rejected": mean_of(tested),
    }


def usual_queries(entries: Sequence[Mapping[str, Any]]) -> int:
    """The number of queries among the entries that is nearest 1,000."""
    return min({int(e["queries"]) for e in entries}, key=lambda count: abs(count - USUAL))


def outcome_table(summary: Sequence[Row], name: str, level: float) -> Table:
    """Error and coverage of each method for one property, at the number of queries nearest 1,000."""
    mine = [e for e in summary if e["property"] == name]
    count = usual_queries(mine)
    title = f"{name}, {count} queries: mean absolute error over generators, coverage of {level:.0%} intervals"
    columns: dict[str, Callable[[Row], str]] = {
        "family": field("family"),
        "sampling": lambda e: (
            e["labels"] + ("" if e["labels"] == "none" else f", {e['guidance']:g}")
        ),
        "classifier": lambda e: f"{e['training']} {e['auxiliary']}: {e['accuracy']:.2f}",
        "method": field("method"),
        "calibration": field("calibration"),
        "generators": field("generators"),
        "error": estimate("mean_absolute_error", ends=False),
        "to counting": field("error_to_counting", ".2f"),
        "half width": field("half_width", ".3f"),
        "coverage": lambda e: text(
            {"mean": e["coverage"], "interval": e["coverage_interval"]}, ".2f"
        ),
    }
    usual = [entry for entry in mine if entry["queries"] == count]
    return table(title, usual, columns, left=list(columns)[:5])


def draw_truth(rows: Sequence[Row], path: Path, level: float) -> Path:
    """Estimate with its interval against the true share: a panel a method, the first run of the first view.

    Widened intervals are the pale bars behind those of the method.
    """
    count = usual_queries(rows)
    rows = [r for r in _first_view(rows) if r["queries"] == count and r["run"] == 0]
    kinds = [kind for kind in grouped(rows, KIND) if kind[1] != "widened"]
    columns = min(len(kinds), 4)
    lines = -(-len(kinds) // columns)
    figure = figure_of(2.5 * columns + 0.6, 2.6 * lines + 0.5)
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    seeds = list(dict.fromkeys(r["seed"] for r in rows))
    for axis, (method, calibration) in zip(axes.flat, kinds, strict=False):
        axis.plot([0, 1], [0, 1], color="#999999", lw=1)
        widened = ["widened"] if calibration == "real" else []
        for r in rows:
            if r["method"] != method or r["calibration"] not in (calibration, *widened):
                continue
            # so that bars stand side by side
            place = r["p"] + 0.015 * (seeds.index(r["seed"]) - (len(seeds) - 1) / 2)
            bar = bars([{"mean": r["estimate"], "interval": [r["low"], r["high"]]}])
            colour = colour_of(0) if r["covered"] else colour_of(1)
            pale, usual = {"lw": 4, "alpha": 0.2}, {"lw": 1, "capsize": 2}
            look = pale if r["calibration"] == "widened" else usual
            axis.errorbar(place, r["estimate"], bar, color=colour, marker="o", ms=3, **look)
        axis.set(xlim=(0, 1), ylim=(0, 1))
        plain(axis, _label(method, calibration))
    for axis in axes.flat[len(kinds) :]:
        axis.set_visible(False)
    figure.supxlabel("share in the sharer's training set")
    figure.supylabel("estimate")
    title = (
        f"{rows[0]['property']}, {count} queries, {level:.0%} intervals (blue: covers the truth)"
    )
    return save(figure, path, title)


def draw_error(summary: Sequence[Row], path: Path, level: float) -> Path:
    """Mean absolute error against the number of queries, with Hoeffding's half width, of the first view."""
    # whose estimates are those of "real"
    entries = [e for e in _first_view(summary) if e["calibration"] != "widened"]
    figure = figure_of(6.4, 4.0)
    axis = figure.subplots()
    kinds = grouped(entries, KIND)
    methods = list(dict.fromkeys(method for method, _ in kinds))
    for (method, calibration), mine in kinds.items():
        at, style = methods.index(method), "-" if calibration == "real" else "--"
        places = sorted((e["queries"], e["mean_absolute_error"]["mean"]) for e in mine)
        look: dict[str, Any] = {"ls": style, "lw": 1.4, "alpha": 1.0}
        dots(axis, places, colour_of(at) if at < 6 else GREY, _label(method, calibration), **look)
    counts = sorted({e["queries"] for e in entries})
    if len(counts) > 1:
        points = np.unique(np.geomspace(counts[0], counts[-1], 40).round().astype(int))
        bound = [hoeffding_half_width(int(count), level) for count in points]
        label = f"Hoeffding, {level:.0%} (sampling alone)"
        axis.plot(points, bound, color="black", lw=1, ls=":", label=label)
    axis.set(xscale="log", yscale="log", xlabel="queries", ylabel="mean absolute error")
    axis.set_xticks(counts, [str(count) for count in counts], minor=False)
    low, high = axis.get_ylim()
    ticks = [t for t in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if low <= t <= high]
    axis.set_yticks(ticks, [f"{t:g}" for t in ticks], minor=False)
    axis.minorticks_off()
    plain(axis, f"{entries[0]['property']}, over {entries[0]['generators']} generator(s)")
    figure.legend(frameon=False, loc="outside right upper")
    return save(figure, path)


def _first_view(entries: Sequence[Row]) -> list[Row]:
    return next(iter(grouped(entries, LOOK).values()))


def _label(method: str, calibration: str) -> str:
    return method if calibration == "real" else f"{method}, {calibration}"
