"""What audits of many generators say together: verdicts by alpha, predicted and measured gaps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from sklearn.metrics import roc_auc_score

from diffshare.stats.intervals import clopper_pearson
from diffshare.study.engine.base import Row
from diffshare.study.reports.common import (
    bars,
    colour_of,
    dots,
    field,
    figure_of,
    grouped,
    mean_of,
    plain,
    save,
    table,
)

ERROR = "mean_absolute_error"


KEPT = (
    "verdict",
    "p_value",
    "margin",
    "minimum_detectable_alpha",
    "queries",
    "classifier_accuracy",
)
VERDICTS = ("poisoned", "clean", "inconclusive")


def audit_row(audit: Mapping[str, Any]) -> Row:
    """What a row keeps of an audit's file."""
    association, gap, check = audit["association"], audit["predicted_gap"], audit["assumption"]
    row = {name: audit[name] for name in KEPT}
    row |= {name: association[name] for name in ("difference", "difference_interval", "reference")}
    row |= {"association": association["estimate"], "assumption_ok": check and check["ok"]}
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
    for (alpha,), mine in sorted(grouped(rows, ("alpha",)).items()):
        verdicts = {verdict: sum(row["verdict"] == verdict for row in mine) for verdict in VERDICTS}
        flagged = clopper_pearson(verdicts["poisoned"], len(mine), level)
        entry: Row = {"alpha": alpha, "generators": len(mine), "verdicts": verdicts}
        entry |= {"flagged": flagged.estimate, "flagged_interval": [flagged.low, flagged.high]}
        entry |= {"auroc": None, "difference_mean": mean_of([row["difference"] for row in mine])}
        if alpha and clean:
            sizes = [abs(row["difference"]) for row in (*clean, *mine)]
            entry["auroc"] = float(roc_auc_score([False] * len(clean) + [True] * len(mine), sizes))
        by_alpha.append(entry)
    return {"guidance": guidance, "by_alpha": by_alpha, "gap": gap_errors(rows, level)}


def with_both_gaps(rows: Sequence[Row]) -> list[Row]:
    """Rows with a predicted and a measured gap."""
    return [r for r in rows if None not in (r["predicted_gap"], r["measured_gap"])]


def gap_errors(rows: Sequence[Row], level: float) -> Row | None:
    """Mean absolute error of the predicted gap and how often its interval holds the measured one; None without any."""
    both = with_both_gaps(rows)
    if not both:
        return None
    errors = [abs(row["predicted_gap"] - row["measured_gap"]) for row in both]
    held = sum(
        r["predicted_interval"][0] <= r["measured_gap"] <= r["predicted_interval"][1] for r in both
    )
    covered = clopper_pearson(held, len(both), level)
    return {
        "generators": len(both),
        ERROR: float(np.mean(errors)),
        "largest_error": float(np.max(errors)),
        "coverage": covered.estimate,
        "coverage_interval": [covered.low, covered.high],
    }


def verdict_table(summary: Sequence[Row]) -> Table:
    """Verdicts by guidance and alpha."""
    entries = []
    for entry in summary:
        shared = {"guidance": entry["guidance"], "error": (entry["gap"] or {}).get(ERROR)}
        entries += [one | one["verdicts"] | shared for one in entry["by_alpha"]]
    columns = {
        "guidance": field("guidance", "g"),
        "alpha": field("alpha", "g"),
        "generators": field("generators"),
        **{verdict: field(verdict) for verdict in VERDICTS},
        "AUROC": field("auroc", ".3f"),
        "mean d": field("difference_mean", "+.2f"),
        "gap error": field("error", ".3f"),
    }
    return table("audits of generators' samples", entries, columns)


def draw_audit(rows: Sequence[Row], path: Path) -> Path:
    """Difference of log odds against alpha with the margin; predicted against measured gap; a colour a guidance."""
    figure = figure_of(8.4, 3.6)
    left, right = figure.subplots(1, 2)
    guidances = grouped(rows, ("guidance",)).items()
    for i, ((guidance,), mine) in enumerate(guidances):
        colour, name = colour_of(i), f"guidance {guidance:g}"
        shift = 0.012 * (i - (len(guidances) - 1) / 2)
        sizes = ((row["alpha"] + shift, abs(row["difference"])) for row in mine)
        dots(left, sizes, colour, name)
        if gaps := with_both_gaps(mine):
            predicted = [
                {"mean": row["predicted_gap"], "interval": row["predicted_interval"]}
                for row in gaps
            ]
            look: dict[str, Any] = {"fmt": "o", "ms": 4, "alpha": 0.7, "color": colour}
            places = [row["measured_gap"] for row in gaps], [one["mean"] for one in predicted]
            right.errorbar(*places, yerr=bars(predicted), label=name, **look)
    for margin in {row["margin"] for row in rows}:
        left.axhline(margin, color="grey", lw=1, ls="--")
    left.set(xlabel="poisoned share alpha", ylabel="|difference of log odds|")
    right.axline((0, 0), slope=1, color="grey", lw=1, ls="--")
    right.set(xlabel="measured gap", ylabel="predicted gap")
    plain(left, "samples against the reference")
    plain(right, "demographic parity difference")
    left.legend(frameon=False)
    return save(figure, path)
