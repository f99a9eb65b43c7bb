"""What the rows of the property inference study say together: error, coverage, remedies, a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from scipy.special import betaincinv

from diffshare.stats.bootstrap import drift_size
from diffshare.stats.summary import t_interval
from diffshare.storage import read_json
from diffshare.study.engine.base import Row

VIEW = ("property", "family", "labels", "guidance", "training", "auxiliary", "queries")
SHARED = (*VIEW, "method", "calibration")  # rows that agree in these differ in proportion, seed and run alone
USUAL = 1000  # queries at which the figures of the literature are given


def of_inference(shared: Row, card: Path, estimates: Path) -> list[Row]:
    """Rows of what was estimated with a calibration on real records.

    Args:
        shared: fields of the cell, ``p`` among them.
        card: ``classifier.json``.
        estimates: what :func:`diffshare.study.steps.property.infer` left.
    """
    accuracy = read_json(card)["accuracy"]
    return [_judged(shared | {"accuracy": accuracy, "calibration": "real"} | r) for r in read_json(estimates)["rows"]]


def of_remedy(shared: Row, card: Path, estimates: Path, remedied: Path, level: float) -> list[Row]:
    """Rows of the two remedies by surrogates: the line through them, and intervals that are widened by their drift.

    An interval is widened on both sides by the ``level`` quantile of the sizes of the surrogates' drifts: the error of
    an estimate is at most the sum of both parts (triangle inequality).
    """
    found = read_json(remedied)
    rows = []
    for row in of_inference(shared, card, estimates):
        drift = drift_size(found["drifts"][row["method"]], level)
        wide = {"low": max(0.0, row["low"] - drift), "high": min(1.0, row["high"] + drift), "drift": drift}
        rows.append(_judged(row | wide | {"calibration": "widened"}))
    accuracy = read_json(card)["accuracy"]
    for row in found["rows"]:
        drift = drift_size(found["drifts"][row["method"]], level)
        rows.append(_judged(shared | {"accuracy": accuracy, "calibration": "surrogate", "drift": drift} | row))
    return rows


def _judged(row: Row) -> Row:
    """The row with its ``error`` (estimate minus truth) and whether its interval has ``covered`` the truth."""
    return row | {"error": row["estimate"] - row["p"], "covered": row["low"] <= row["p"] <= row["high"]}


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
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[k] for k in SHARED), []).append(row)
    summary = [dict(zip(SHARED, key, strict=True)) | _together(mine, level) for key, mine in groups.items()]
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
    by_generator: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        by_generator.setdefault((row["p"], row["seed"]), []).append(row)
    errors = [float(np.mean([abs(r["error"]) for r in mine])) for mine in by_generator.values()]
    signed = [float(np.mean([r["error"] for r in mine])) for mine in by_generator.values()]
    covered = [float(np.mean([r["covered"] for r in mine])) for mine in by_generator.values()]
    tested = [r["assumption"] < 0.05 for r in rows if "assumption" in r]
    return {
        "generators": len(by_generator),
        "runs": len(rows),
        "mean_absolute_error": t_interval(errors, level).json(),
        "bias": t_interval(signed, level).json(),
        "half_width": float(np.mean([(r["high"] - r["low"]) / 2 for r in rows])),
        "coverage": float(np.mean(covered)),
        "coverage_interval": list(coverage_interval(covered, level)),
        "accuracy": float(np.mean([r["accuracy"] for r in rows])),
        "assumption_rejected": float(np.mean(tested)) if tested else None,
    }


def coverage_interval(shares: Sequence[float], level: float) -> tuple[float, float]:
    """Interval of the mean over generators of the share of a generator's runs whose interval held.

    Clopper and Pearson's beta quantiles at the sum s of the n shares, which need not be whole:

        low = B((1 - level) / 2; s, n - s + 1),  high = B((1 + level) / 2; s + 1, n - s)

    and 0, 1 where s is 0, n. A share in [0, 1] varies no more than a single run of the same mean, so that the binomial
    quantiles are wide enough (the tests sum the chances for ten generators of two runs). Those of a rounded s miss the
    mean too often on one side, and Student's interval of the shares has no width where all are 0 or all are 1.

    Args:
        shares: one a generator, in [0, 1]; at least one.
        level: of the interval, in (0, 1).
    """
    n, s, tail = len(shares), float(np.sum(shares)), (1 - level) / 2
    low = 0.0 if s <= 0 else float(betaincinv(s, n - s + 1, tail))
    high = 1.0 if s >= n else float(betaincinv(s + 1, n - s, 1 - tail))
    return low, high


def usual_queries(entries: Sequence[Mapping[str, Any]]) -> int:
    """The number of queries among the entries that is nearest 1,000."""
    return min({int(e["queries"]) for e in entries}, key=lambda count: abs(count - USUAL))


def outcome_table(summary: Sequence[Row], name: str, level: float) -> Table:
    """Error and coverage of each method for one property, at the number of queries nearest 1,000."""
    mine = [e for e in summary if e["property"] == name]
    count = usual_queries(mine)
    table = Table(
        title=f"{name}, {count} queries: mean absolute error over generators, coverage of {level:.0%} intervals"
    )
    columns = ("family", "sampling", "classifier", "method", "calibration", "generators", "error", "to counting")
    for column in (*columns, "half width", "coverage"):
        table.add_column(column, justify="left" if column in columns[:5] else "right")
    for e in (e for e in mine if e["queries"] == count):
        sampling = e["labels"] if e["labels"] == "none" else f"{e['labels']}, {e['guidance']:g}"
        ratio = "" if e["error_to_counting"] is None else f"{e['error_to_counting']:.2f}"
        held = "{:.2f} [{:.2f}, {:.2f}]".format(e["coverage"], *e["coverage_interval"])
        error = f"{e['mean_absolute_error']['mean']:.3f}"
        reader = f"{e['training']} {e['auxiliary']}: {e['accuracy']:.2f}"
        table.add_row(
            e["family"], sampling, reader, e["method"], e["calibration"],
            str(e["generators"]), error, ratio, f"{e['half_width']:.3f}", held,
        )  # fmt: skip
    return table
