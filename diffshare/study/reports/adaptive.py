"""What the cuts say together of a sharer who knows the audit: sets by margin, and the gap that remains possible.

The margin with the largest gap is not judged on the cuts that it was chosen on: a maximum of noisy means is too large.
The margin is chosen on one half of the cuts, and its gap and its alarms are read off the other half, both ways round.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from diffshare.stats.intervals import clopper_pearson
from diffshare.study.engine.base import Row
from diffshare.study.reports.common import (
    colour_of,
    estimate,
    field,
    figure_of,
    inner,
    interval,
    mean_of,
    means,
    plain,
    save,
    table,
    text,
)
from diffshare.study.reports.common import curve as draw_curve

FIELDS = ("difference", "gap", "excess_gap", "excess_gap_absolute", "accuracy")


def with_excess(rows: Sequence[Row]) -> list[Row]:
    """Rows with what their gap is beyond that of the random set (margin 0) of the same cut.

    ``excess_gap`` is the difference of the signed gaps in the direction in which the set's log odds ratio differs from
    the pool's, or, where a row has no signed gap (``directed`` false), of the absolute ones, as
    ``excess_gap_absolute`` always is. The random set's own lean is chance and gives no direction: a set that keeps a
    small margin may lean less than it.
    """
    clean = {row["seed"]: row for row in rows if row["margin"] == 0}
    return [row | _excess(row, clean[row["seed"]]) for row in rows]


def _excess(row: Row, clean: Row) -> Row:
    absolute = row["gap"] - clean["gap"]
    if "gap_signed" not in row or "gap_signed" not in clean:
        return {"excess_gap": absolute, "excess_gap_absolute": absolute, "directed": False}
    moved = float(np.sign(row["difference"])) * (row["gap_signed"] - clean["gap_signed"])
    return {"excess_gap": moved, "excess_gap_absolute": absolute, "directed": True}


def summarise(rows: Sequence[Row], risk: float, level: float) -> list[Row]:
    """An entry for each margin (``of: set``), then one for each number of queries (``of: curve``).

    Args:
        rows: of :func:`with_excess`.
        risk: probability of being flagged that the sharer takes.
        level: of Student's intervals, over cuts.
    """
    margins = list(dict.fromkeys(row["margin"] for row in rows))
    queries = list(rows[0]["flagged"]) if rows else []
    return [
        *(of_set(rows, m, level) for m in margins),
        *(of_curve(rows, q, risk, level) for q in queries),
    ]


def of_set(rows: Sequence[Row], margin: float, level: float) -> Row:
    """Means of the sets of one margin."""
    mine = [row for row in rows if row["margin"] == margin]
    entry: Row = {"of": "set", "margin": margin, "cuts": len(mine), "level": level}
    rates = {q: mean_of([row["flagged"][q] for row in mine]) for q in mine[0]["flagged"]}
    return entry | means(mine, FIELDS, level) | {"flagged": rates}


def of_curve(rows: Sequence[Row], queries: str, risk: float, level: float) -> Row:
    """The largest gap that so many queries let through, and the least alpha of the attack without a margin they detect.

    ``margins`` are those that were chosen on the two halves. ``gap_as_chosen`` is the mean of the gap where one margin
    is chosen and judged on all cuts: how much more the maximum promises.
    """
    seeds = sorted({row["seed"] for row in rows})
    halves = [set(seeds[0::2]), set(seeds[1::2])]
    margins, judged = [], []
    for mine, others in (halves, halves[::-1]):
        margin = hidden_margin([row for row in rows if row["seed"] in mine], queries, risk)
        margins.append(margin)
        judged += [row for row in rows if row["seed"] in others and row["margin"] == margin]
    everywhere = hidden_margin(rows, queries, risk)
    as_chosen = mean_of([row["gap"] for row in rows if row["margin"] == everywhere])
    alphas = [row["least_alpha"][queries] for row in rows if row["margin"] == 0]
    entry: Row = {"of": "curve", "queries": int(queries), "cuts": len(judged), "level": level}
    entry |= {"risk": risk, "margins": margins, "gap_as_chosen": as_chosen}
    entry |= means(judged, FIELDS, level)
    entry["flagged"] = alarm_rate([row["flagged"][queries] for row in judged], level)
    entry["least_alpha"] = interval(alphas, level)
    return entry | {"least_alpha_undefined": sum(alpha is None for alpha in alphas)}


def alarm_rate(rates: Sequence[float], level: float) -> Row:
    """Mean over cuts of the share of a cut's audits that flag, with Clopper and Pearson's interval.

    The cuts count, not the audits: those of a cut share its reference and mostly agree. A sum of rates that is no whole
    number is rounded down for the lower end and up for the upper one.
    """
    n, total = len(rates), float(np.sum(rates))
    if not n:
        return {"mean": None, "interval": None, "n": 0}
    low = clopper_pearson(int(np.floor(total)), n, level).low
    high = clopper_pearson(int(np.ceil(total)), n, level).high
    return {"mean": total / n, "interval": [low, high], "n": n}


def hidden_margin(rows: Sequence[Row], queries: str, risk: float) -> float | None:
    """The margin with the largest mean gap among those flagged with a probability of at most ``risk``.

    Returns:
        None where every set is flagged more often, the random one included, or there is none.
    """
    gaps = {}
    for margin in dict.fromkeys(row["margin"] for row in rows):
        mine = [row for row in rows if row["margin"] == margin]
        if np.mean([row["flagged"][queries] for row in mine]) <= risk:
            gaps[margin] = float(np.mean([row["gap"] for row in mine]))
    return max(gaps, key=gaps.__getitem__) if gaps else None


def tables(summary: Sequence[Row]) -> list[Table]:
    """Sets by margin; the curve."""
    sets, curve = (of_kind(summary, kind) for kind in ("set", "curve"))
    level = f"{summary[0]['level']:.0%}" if summary else ""
    by_margin: dict[str, Callable[[Row], str]] = {
        "margin": field("margin", "g"),
        "difference": estimate("difference", "+.2f", ends=False),
        f"gap ({level})": estimate("gap"),
        "excess": estimate("excess_gap"),
        "accuracy": estimate("accuracy", ends=False),
    }
    for queries in sets[0]["flagged"] if sets else []:
        by_margin[f"flagged, {queries}"] = inner("flagged", queries, form=".2f")
    through: dict[str, Callable[[Row], str]] = {
        "queries": field("queries"),
        "margins": lambda entry: ", ".join(
            "none" if margin is None else f"{margin:g}" for margin in entry["margins"]
        ),
        f"gap left ({level})": estimate("gap"),
        "excess": estimate("excess_gap"),
        "flagged": estimate("flagged"),
        "as chosen": field("gap_as_chosen", ".3f"),
        "least alpha detected": _least_alpha,
    }
    title = "largest gap that remains possible, on cuts that the margin was not chosen on"
    return [table("sets by the sharer's margin", sets, by_margin), table(title, curve, through)]


def _least_alpha(entry: Row) -> str:
    missed = entry["least_alpha_undefined"]
    return f"none in {missed} cuts" if missed else text(entry["least_alpha"])


def of_kind(summary: Sequence[Row], kind: str) -> list[Row]:
    """The entries of the summary that are of sets, or of the curve."""
    return [entry for entry in summary if entry["of"] == kind]


def draw_adaptive(summary: Sequence[Row], path: Path) -> Path:
    """The gap that remains possible against queries, and the least alpha of the attack without a margin beside it."""
    sets, entries = (of_kind(summary, kind) for kind in ("set", "curve"))
    figure = figure_of(8.4, 3.6)
    left, right = figure.subplots(1, 2)
    points = {
        field: [(e["queries"], e[field]) for e in entries] for field in ("gap", "least_alpha")
    }
    draw_curve(left, points["gap"], colour_of(0), f"flagged at most {entries[0]['risk']:.0%}")
    by_margin = {entry["margin"]: entry["gap"]["mean"] for entry in sets}
    left.axhline(by_margin[min(by_margin)], color="grey", lw=1, ls=":", label="random set")
    widest = max(by_margin)  # is in the grid to stand for no margin
    left.axhline(
        by_margin[widest], color=colour_of(1), lw=1, ls="--", label="attack without a margin"
    )
    left.set(ylabel="demographic parity difference")
    left.set_ylim(bottom=0)
    left.legend(frameon=False, fontsize="small")
    draw_curve(right, points["least_alpha"], colour_of(2), None)
    right.set(ylabel="poisoned share alpha", ylim=(0, 1))
    titles = ("largest gap that remains possible", "least alpha detected, attack without a margin")
    for axis, title in zip((left, right), titles, strict=True):
        axis.set(xlabel="queries", xscale="log")
        axis.set_xticks(
            [entry["queries"] for entry in entries], [str(entry["queries"]) for entry in entries]
        )
        axis.minorticks_off()
        plain(axis, title)
    cuts, level = max(entry["cuts"] for entry in summary), summary[0]["level"]
    title = f"Mean over {cuts} cuts of the records (bars: {level:.0%} t interval)"
    return save(figure, path, title)
