"""What audits of many generators say together: verdicts by alpha, predicted and measured gaps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from sklearn.metrics import roc_auc_score

from diffshare.stats.intervals import clopper_pearson
from diffshare.study.engine.base import Row
from diffshare.study.reports.common import colour_of, figure_of, number, plain, save


def audit_row(audit: Mapping[str, Any]) -> Row:
    """What a row keeps of an audit's file."""
    association, gap = audit["association"], audit["predicted_gap"]
    row = {
        name: audit[name]
        for name in ("verdict", "p_value", "margin", "minimum_detectable_alpha", "queries")
    }
    row |= {
        "difference": association["difference"],
        "difference_interval": association["difference_interval"],
    }
    row |= {"association": association["estimate"], "reference": association["reference"]}
    check = audit["assumption"]
    row |= {
        "classifier_accuracy": audit["classifier_accuracy"],
        "assumption_ok": check and check["ok"],
    }
    return row | {"predicted_gap": gap["estimate"], "predicted_interval": gap["interval"]}


def summarise(rows: Sequence[Row], guidance: float, level: float) -> Row:
    """Verdicts by alpha, and predicted against measured gaps.

    Args:
        rows: of one guidance.
        guidance: which.
        level: of the intervals of rates.
    """
    clean = [row for row in rows if row["alpha"] == 0]
    by_alpha = []
    for alpha in sorted({row["alpha"] for row in rows}):
        mine = [row for row in rows if row["alpha"] == alpha]
        verdicts = {
            v: sum(row["verdict"] == v for row in mine)
            for v in ("poisoned", "clean", "inconclusive")
        }
        flagged = clopper_pearson(verdicts["poisoned"], len(mine), level)
        entry: Row = {
            "alpha": alpha,
            "generators": len(mine),
            "verdicts": verdicts,
            "flagged": flagged.estimate,
        }
        entry |= {"flagged_interval": [flagged.low, flagged.high], "auroc": None}
        if alpha and clean:
            sizes = [abs(row["difference"]) for row in (*clean, *mine)]
            entry["auroc"] = float(roc_auc_score([False] * len(clean) + [True] * len(mine), sizes))
        entry["difference_mean"] = float(np.mean([row["difference"] for row in mine]))
        by_alpha.append(entry)
    return {"guidance": guidance, "by_alpha": by_alpha, "gap": gap_errors(rows, level)}


def gap_errors(rows: Sequence[Row], level: float) -> Row | None:
    """Mean absolute error of the predicted gap and how often its interval holds the measured one; None without any."""
    both = [r for r in rows if r["predicted_gap"] is not None and r["measured_gap"] is not None]
    if not both:
        return None
    errors = [abs(row["predicted_gap"] - row["measured_gap"]) for row in both]
    held = sum(
        r["predicted_interval"][0] <= r["measured_gap"] <= r["predicted_interval"][1] for r in both
    )
    covered = clopper_pearson(held, len(both), level)
    return {
        "generators": len(both),
        "mean_absolute_error": float(np.mean(errors)),
        "largest_error": float(np.max(errors)),
        "coverage": covered.estimate,
        "coverage_interval": [covered.low, covered.high],
    }


def verdict_table(summary: Sequence[Row]) -> Table:
    """Verdicts by guidance and alpha."""
    names = (
        "guidance",
        "alpha",
        "generators",
        "poisoned",
        "clean",
        "inconclusive",
        "AUROC",
        "mean d",
        "gap error",
    )
    table = Table(*names, title="audits of generators' samples")
    for entry in summary:
        error = "" if entry["gap"] is None else f"{entry['gap']['mean_absolute_error']:.3f}"
        for one in entry["by_alpha"]:
            counts = [str(one["verdicts"][name]) for name in ("poisoned", "clean", "inconclusive")]
            first = (f"{entry['guidance']:g}", f"{one['alpha']:g}", str(one["generators"]))
            table.add_row(
                *first,
                *counts,
                number(one["auroc"], ".3f"),
                f"{one['difference_mean']:+.2f}",
                error,
            )
    return table


def draw_audit(rows: Sequence[Row], path: Path) -> Path:
    """Difference of log odds against alpha with the margin; predicted against measured gap; a colour a guidance."""
    figure = figure_of(8.4, 3.6)
    left, right = figure.subplots(1, 2)
    guidances = list(dict.fromkeys(row["guidance"] for row in rows))
    for i, guidance in enumerate(guidances):
        mine = [row for row in rows if row["guidance"] == guidance]
        colour, name = colour_of(i), f"guidance {guidance:g}"
        place = [row["alpha"] + 0.012 * (i - (len(guidances) - 1) / 2) for row in mine]
        left.plot(
            place,
            [abs(row["difference"]) for row in mine],
            "o",
            ms=4,
            alpha=0.7,
            color=colour,
            label=name,
        )
        gaps = [r for r in mine if r["predicted_gap"] is not None and r["measured_gap"] is not None]
        measured, predicted = (
            [row[key] for row in gaps] for key in ("measured_gap", "predicted_gap")
        )
        bars = [
            [abs(row["predicted_interval"][k] - row["predicted_gap"]) for row in gaps]
            for k in (0, 1)
        ]
        if gaps:
            right.errorbar(
                measured, predicted, yerr=bars, fmt="o", ms=4, alpha=0.7, color=colour, label=name
            )
    for margin in {row["margin"] for row in rows}:
        left.axhline(margin, color="grey", lw=1, ls="--")
    left.set(xlabel="poisoned share alpha", ylabel="|difference of log odds|")
    right.axline((0, 0), slope=1, color="grey", lw=1, ls="--")
    right.set(xlabel="measured gap", ylabel="predicted gap")
    plain(left, "samples against the reference")
    plain(right, "demographic parity difference")
    left.legend(frameon=False)
    return save(figure, path)
