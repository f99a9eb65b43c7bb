"""What repairs of poisoned samples brought: the part of the excess gap that is gone, and what it cost in accuracy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.table import Table
from scipy import stats

from diffshare.stats.summary import paired_difference
from diffshare.study.engine.base import Row
from diffshare.study.reports.common import (
    GREY,
    colour_of,
    curve,
    figure_of,
    interval,
    plain,
    save,
    seeds_text,
    text,
)
from diffshare.study.reports.excess import GAP

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDES = ("clean", "poisoned", "repaired")


class Gone(NamedTuple):
    """The part of an excess that a repair removed.

    Attributes:
        share: 1 where all of it is gone, above 1 where the gap is now below the clean one; None where undefined.
        low: lower end of the interval; None where the seeds do not bound it.
        high: upper end.
    """

    share: float | None
    low: float | None
    high: float | None

    def json(self) -> dict[str, Any]:
        """``share`` and ``interval`` ([low, high] or null)."""
        return {
            "share": self.share,
            "interval": None if self.low is None else [self.low, self.high],
        }


def share_gone(
    clean: Sequence[float],
    poisoned: Sequence[float],
    repaired: Sequence[float],
    level: float = 0.95,
) -> Gone:
    """Mean of poisoned[i] - repaired[i] over the mean of poisoned[i] - clean[i], with Fieller's interval.

    A ratio of means: a seed whose excess happens to be near 0 does not blow it up, as it would a mean of ratios. The
    interval holds every ratio r for which Student's interval of u - r v, over the pairs of numerator u and denominator
    v, holds 0. It is unbounded, and none is given, where the excess itself could be 0.

    Source: Fieller, "Some problems in interval estimation", Journal of the Royal Statistical Society B 16 (1954).

    Args:
        clean: gap of each seed's clean set.
        poisoned: gap of its poisoned one.
        repaired: gap after the repair.
        level: of the interval.
    """
    before, after, base = (np.asarray(v, np.float64) for v in (poisoned, repaired, clean))
    u, v = before - after, before - base
    n = len(u)
    if not n or v.mean() == 0:
        return Gone(None, None, None)
    share = float(u.mean() / v.mean())
    if n < 2:
        return Gone(share, None, None)
    errors = np.cov(u, v) * float(stats.t.ppf((1 + level) / 2, n - 1)) ** 2 / n
    a = v.mean() ** 2 - errors[1, 1]
    b = u.mean() * v.mean() - errors[0, 1]
    c = u.mean() ** 2 - errors[0, 0]
    if a <= 0:
        return Gone(share, None, None)
    half = np.sqrt(max(b * b - a * c, 0.0)) / a
    return Gone(share, float(b / a - half), float(b / a + half))


def outcome(result: Mapping[str, Any] | None, prefix: str = "") -> Row:
    """Gap, signed gap (group 1 minus group 0) and accuracy of a classifier's ``results.json``; None without it."""
    result = result or {}
    names = {"gap": GAP, "gap_signed": f"{GAP}_signed", "accuracy": "accuracy"}
    return {f"{prefix}{name}": result.get(field) for name, field in names.items()}


def repaired_row(result: Mapping[str, Any] | None, report: Mapping[str, Any] | None) -> Row | None:
    """What a row keeps of one repair: the classifier's outcome and what was left of the samples; None if undone."""
    if result is None or report is None:
        return None
    about = {"samples": report["count"], "effective_size": sum(report["effective_sizes"])}
    return (
        outcome(result)
        | about
        | {"weights_cut": report["weights_cut"], "queries": report["queries"]}
    )


def summarise_repairs(rows: Sequence[Row], level: float) -> list[Row]:
    """Of each repair, policy and alpha: gaps and accuracies over seeds, the share of the excess gone, the cost.

    Args:
        rows: of one guidance, as :class:`diffshare.study.audit_study.AuditStudy` makes them.
        level: of the intervals.

    Returns:
        one mapping each: ``repair``, ``policy``, ``alpha``, ``seeds``; ``directed``: whether gaps are selection rates
        of the group that is favoured minus the other's (two groups), or absolute; ``gap`` and ``accuracy`` of
        ``clean``, ``poisoned`` and ``repaired``, each with a t interval; ``excess`` of ``poisoned`` and ``repaired``
        over ``clean`` and ``accuracy_change`` to ``poisoned`` and ``clean``, both paired by seed; ``excess_gone``
        (:func:`share_gone`); mean ``samples`` and ``queries``.
    """
    keys = dict.fromkeys(
        (name, row["policy"], row["alpha"]) for row in rows for name in row.get("repairs", {})
    )
    entries = []
    for name, policy, alpha in keys:
        mine = [row for row in rows if (row["policy"], row["alpha"]) == (policy, alpha)]
        mine = [
            row
            for row in mine
            if row["repairs"].get(name) and None not in (row["clean_gap"], row["measured_gap"])
        ]
        if mine:
            entry = {
                "repair": name,
                "policy": policy,
                "alpha": alpha,
                "seeds": [row["seed"] for row in mine],
            }
            entries.append(entry | _effect(mine, name, level))
    return entries


def _effect(rows: Sequence[Row], name: str, level: float) -> Row:
    repaired = [row["repairs"][name] for row in rows]
    gaps = [
        {
            "clean": (row["clean_gap"], row["clean_gap_signed"]),
            "poisoned": (row["measured_gap"], row["measured_gap_signed"]),
            "repaired": (one["gap"], one["gap_signed"]),
        }
        for row, one in zip(rows, repaired, strict=True)
    ]
    signs = [row["direction"] for row in rows]
    directed = None not in [*signs, *(signed for sides in gaps for _, signed in sides.values())]
    gap = {
        side: [
            sign * sides[side][1] if directed else sides[side][0]
            for sign, sides in zip(signs, gaps, strict=True)
        ]
        for side in SIDES
    }
    accuracy = {
        "clean": [row["clean_accuracy"] for row in rows],
        "poisoned": [row["accuracy"] for row in rows],
    }
    accuracy["repaired"] = [one["accuracy"] for one in repaired]

    def paired(table: Mapping[str, list[float]], one: str, other: str) -> Row:
        return paired_difference(table[one], table[other], level).json()

    return {
        "directed": directed,
        "level": level,
        "gap": {side: interval(gap[side], level) for side in SIDES},
        "accuracy": {side: interval(accuracy[side], level) for side in SIDES},
        "excess": {side: paired(gap, side, "clean") for side in ("poisoned", "repaired")},
        "excess_gone": share_gone(**gap, level=level).json(),
        "accuracy_change": {
            side: paired(accuracy, "repaired", side) for side in ("poisoned", "clean")
        },
        "samples": float(np.mean([one["samples"] for one in repaired])),
        "queries": float(np.mean([one["queries"] for one in repaired])),
    }


def repair_table(summary: Sequence[Row]) -> Table:
    """Gaps, the share of the excess that is gone, and the accuracy, by guidance, alpha and repair.

    Args:
        summary: entries of guidances, each with ``repairs``.
    """
    names = ("guidance", "policy", "alpha", "repair", "seeds", "gap clean", "poisoned", "repaired", "excess gone, %",
             "accuracy change, points", "samples")  # fmt: skip
    level = next((one["level"] for entry in summary for one in entry["repairs"]), 0.95)
    table = Table(*names, title=f"repaired samples: means over seeds, {level:.0%} intervals")
    for entry in summary:
        for one in entry["repairs"]:
            gaps = [text(one["gap"][side], ends=False) for side in SIDES]
            gone, change = one["excess_gone"], one["accuracy_change"]["poisoned"]
            first = (f"{entry['guidance']:g}", one["policy"], f"{one['alpha']:g}", one["repair"])
            last = (
                _percent(gone["share"], gone["interval"], ".0f"),
                _percent(change["mean"], change["interval"], "+.1f"),
                f"{one['samples']:.0f}",
            )
            table.add_row(*first, str(len(one["seeds"])), *gaps, *last)
    return table


def _percent(value: float | None, ends: Sequence[float] | None, form: str) -> str:
    mean = None if value is None else 100 * value
    return text(
        {"mean": mean, "interval": ends and [100 * end for end in ends]},
        form,
        undefined="undefined",
    )


def draw_repairs(summary: Sequence[Row], path: Path) -> Path:
    """Gap (upper row) and accuracy (lower) of clean, poisoned and repaired samples against alpha; a column a guidance.

    Args:
        summary: entries of guidances, each with ``repairs``; at least one of them not empty.
        path: of the picture.
    """
    columns = [entry for entry in summary if entry["repairs"]]
    figure = figure_of(2.2 + 3.2 * len(columns), 5.6)
    axes = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for pair, entry in zip(axes.T, columns, strict=True):
        pair[0].set_title(f"guidance {entry['guidance']:g}")
        pair[1].set_xlabel("poisoned share alpha")
        for panel, field in zip(pair, ("gap", "accuracy"), strict=True):
            _repair_curves(panel, entry["repairs"], field)
    directed = all(one["directed"] for entry in columns for one in entry["repairs"])
    axes[0, 0].set_ylabel(
        "demographic parity difference"
        + (",\nthe group that is favoured first" if directed else "")
    )
    axes[1, 0].set_ylabel("accuracy on real test records")
    for panel in axes.flat:
        plain(panel)
    axes[0, 0].legend(frameon=False, fontsize="small")
    seeds = max(len(one["seeds"]) for entry in columns for one in entry["repairs"])
    figure.suptitle(seeds_text(seeds, columns[0]["repairs"][0]["level"]), fontsize="medium")
    return save(figure, path)


def _repair_curves(panel: "Axes", repairs: Sequence[Row], field: str) -> None:
    """One panel: of each policy the poisoned samples and each repair; clean ones, which belong to all, once."""
    policies = list(dict.fromkeys(one["policy"] for one in repairs))
    curves: list[tuple[str, str, list[Row]]] = []
    for policy in policies:
        mine = [one for one in repairs if one["policy"] == policy]
        first = [one for one in mine if one["repair"] == mine[0]["repair"]]
        curves += [("clean", "clean", first)] if policy == policies[0] else []
        curves.append((policy, "poisoned", first))
        for name in dict.fromkeys(one["repair"] for one in mine):
            label = name if len(policies) == 1 else f"{policy}, {name}"
            curves.append((label, "repaired", [one for one in mine if one["repair"] == name]))
    for i, (label, side, entries) in enumerate(curves):
        points = [
            (entry["alpha"], entry[field][side])
            for entry in sorted(entries, key=lambda e: float(e["alpha"]))
        ]
        colour = GREY if side == "clean" else colour_of(i - 1)
        curve(panel, points, colour, label, 0.006 * (i - (len(curves) - 1) / 2))
