"""What repairs of poisoned samples brought: the part of the excess gap that is gone, and what it cost in accuracy."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from diffshare.stats.ratio import share_gone
from diffshare.stats.summary import paired_difference
from diffshare.study.engine.base import Row
from diffshare.study.reports.common import (
    GREY,
    colour_of,
    curve,
    draw_gap_and_accuracy,
    field,
    interval,
    mean_of,
    save,
    seeds_text,
    table,
    text,
)
from diffshare.study.reports.excess import GAP

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDES = ("clean", "poisoned", "repaired")


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
        mine = [
            row
            for row in rows
            if (row["policy"], row["alpha"]) == (policy, alpha)
            and row["repairs"].get(name)
            and None not in (row["clean_gap"], row["measured_gap"])
        ]
        if mine:
            entry: Row = {"repair": name, "policy": policy, "alpha": alpha}
            entry["seeds"] = [row["seed"] for row in mine]
            entries.append(entry | _effect(mine, name, level))
    return entries


def _effect(rows: Sequence[Row], name: str, level: float) -> Row:
    repaired = [row["repairs"][name] for row in rows]
    fields = {"clean": "clean_gap", "poisoned": "measured_gap"}
    signs = [row["direction"] for row in rows]
    absolute, signed = (
        {side: [row[name + end] for row in rows] for side, name in fields.items()}
        | {"repaired": [one["gap" + end] for one in repaired]}
        for end in ("", "_signed")
    )
    directed = None not in [*signs, *itertools.chain(*signed.values())]
    gap = absolute
    if directed:
        gap = {
            side: [sign * value for sign, value in zip(signs, values, strict=True)]
            for side, values in signed.items()
        }
    accuracy = {
        "clean": [row["clean_accuracy"] for row in rows],
        "poisoned": [row["accuracy"] for row in rows],
        "repaired": [one["accuracy"] for one in repaired],
    }

    def paired(values: Mapping[str, list[float]], one: str, other: str) -> Row:
        return paired_difference(values[one], values[other], level).json()

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
        "samples": mean_of([one["samples"] for one in repaired]),
        "queries": mean_of([one["queries"] for one in repaired]),
    }


def repair_table(summary: Sequence[Row]) -> Table:
    """Gaps, the share of the excess that is gone, and the accuracy, by guidance, alpha and repair.

    Args:
        summary: entries of guidances, each with ``repairs``.
    """
    level = next((one["level"] for entry in summary for one in entry["repairs"]), 0.95)
    entries = [
        one | {"guidance": entry["guidance"]} for entry in summary for one in entry["repairs"]
    ]
    columns: dict[str, Callable[[Row], str]] = {
        "guidance": field("guidance", "g"),
        "policy": field("policy"),
        "alpha": field("alpha", "g"),
        "repair": field("repair"),
        "seeds": lambda one: str(len(one["seeds"])),
        "gap clean": lambda one: text(one["gap"]["clean"], ends=False),
        "poisoned": lambda one: text(one["gap"]["poisoned"], ends=False),
        "repaired": lambda one: text(one["gap"]["repaired"], ends=False),
        "excess gone, %": lambda one: _percent(one["excess_gone"], "share", ".0f"),
        "accuracy change, points": lambda one: _percent(
            one["accuracy_change"]["poisoned"], "mean", "+.1f"
        ),
        "samples": field("samples", ".0f"),
    }
    title = f"repaired samples: means over seeds, {level:.0%} intervals"
    return table(title, entries, columns, left=("policy", "repair"))


def _percent(share: Row, name: str, form: str) -> str:
    """A share with its interval, in percent."""
    mean, ends = share[name], share["interval"]
    percent = {"mean": None if mean is None else 100 * mean}
    percent["interval"] = ends and [100 * end for end in ends]
    return text(percent, form, undefined="undefined")


def draw_repairs(summary: Sequence[Row], path: Path) -> Path:
    """Gap (upper row) and accuracy (lower) of clean, poisoned and repaired samples against alpha; a column a guidance.

    Args:
        summary: entries of guidances, each with ``repairs``; at least one of them not empty.
        path: of the picture.
    """
    columns = [entry for entry in summary if entry["repairs"]]
    shown = [one for entry in columns for one in entry["repairs"]]
    directed = all(one["directed"] for one in shown)
    axes = draw_gap_and_accuracy(
        [f"guidance {entry['guidance']:g}" for entry in columns],
        lambda column, axis, name: _repair_curves(axis, columns[column]["repairs"], name),
        gap=",\nthe group that is favoured first" if directed else "",
        width=3.2,
    )
    axes[0, 0].legend(frameon=False, fontsize="small")
    seeds = max(len(one["seeds"]) for one in shown)
    return save(axes[0, 0], path, seeds_text(seeds, shown[0]["level"]))


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
