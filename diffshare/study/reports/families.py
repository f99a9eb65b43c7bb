"""What the families study found: a row a family and seed, means, differences of kinds, tables, a figure."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from rich.table import Table

from diffshare.stats.detection import holm
from diffshare.stats.summary import t_test
from diffshare.study.engine.base import Row
from diffshare.study.reports.common import (
    colour_of,
    draw_kinds,
    estimate,
    field,
    grouped,
    interval,
    mean_of,
    means,
    save,
    seeds_text,
    table,
)
from diffshare.study.reports.excess import GAP, is_directed, paired, sides

# what the summary averages: the field, its heading, its digits
MEASURES: dict[str, tuple[str, int]] = {
    "kid": ("MMD", 3),
    "images_per_second": ("images/s", 0),
    "training_seconds": ("training s", 0),
    "before_seconds": ("before s", 0),
    "samples_per_second": ("samples/s", 0),
    "network_calls": ("calls", 0),
    "accuracy": ("accuracy", 3),
    "accuracy_loss": ("accuracy loss", 3),
    "excess_gap": ("excess gap", 3),
    "excess_gap_absolute": ("of absolute gaps", 3),
    "bias_passed_on": ("bias passed on", 2),
    "bias_error": ("bias error", 2),
    "property_error": ("property error", 3),
    "class_shown": ("class shown", 2),
    "checks_passed": ("checks passed", 2),
}
CHECK = 0.05  # level of the readers' check
COST = tuple(MEASURES)[:6]
OF_KINDS = ("excess_gap", "bias_passed_on", "bias_error", "property_error", "class_shown")
CONTRASTED = ("kid", "accuracy", *OF_KINDS)
CONTRASTS = (("diffusion", ("gan", "vae")), ("diffusion", ("gan",)), ("diffusion", ("vae",)))
# the paper's ordering: the sign of diffusion minus the others that it foresees
FORESEEN = {"excess_gap": 1, "bias_passed_on": 1, "bias_error": -1, "property_error": -1}

PANELS = {
    "excess_gap": ("excess gap by poisoning", 0.0),
    "bias_passed_on": ("bias passed on (1: unchanged)", 1.0),
    "property_error": ("property error", 0.0),
    "kid": ("MMD to test records (own features)", 0.0),
}
KINDS = ("real", "diffusion", "gan", "vae")


def family_row(
    who: Row,
    attack: Sequence[Row],
    cells: Mapping[str, tuple[Row | None, Row | None]],
    properties: Sequence[str],
    sensitive: str,
    target: str,
) -> Row | None:
    """One family and seed.

    Args:
        who: ``family``, ``kind`` (diffusion, gan or vae) and ``seed``.
        attack: the two rows of the fairness poisoning study, fewer where a step failed.
        cells: by policy, what the steps ``measure`` and ``sample`` left, None where a step failed.
        properties: attributes whose shares are inferred.
        sensitive: the group S.
        target: the class Y.

    Returns:
        None where nothing was measured. ``accuracy_loss`` is clean minus poisoned; ``gap``,
        ``poisoned_gap`` and ``excess_gap``, their difference, are in the direction of the mix where
        ``directed`` is true, else of absolute gaps (:mod:`diffshare.study.reports.excess`);
        ``excess_gap_absolute`` is the paper's. With D = P(S=1 | Y=1) - P(S=1 | Y=0),
        ``bias_passed_on`` is what poisoning added to D in the samples over what it added in the
        training set (1: unchanged), ``bias_error`` its distance to 1. ``property_error`` is
        the mean over properties of |estimate - share in the training set|. ``class_shown`` is the read share of Y=1
        among samples of class 1 minus that among samples of class 0 (1: the samples are what was asked for).
        ``checks_passed`` is the share of the readers' checks (all properties, classes and both generators) that do not
        reject, at 0.05, that a reader errs on the samples as on records.
    """
    clean, poisoned = (measured for measured, _ in cells.values())
    if clean is None:
        return None
    row = who | {name: clean[name] for name in ("kid", "kid_over_real")}
    row |= _cost(
        [m for m in (clean, poisoned) if m], [drawn for _, drawn in cells.values() if drawn]
    )
    row |= _attack(attack)
    row |= _bias(clean, poisoned, sensitive)
    row |= _property_errors(clean, properties)
    row["class_shown"] = difference_by_class(clean["shares_by_class"][target])
    checks = ((one or {}).get("checks", {}).values() for one in (clean, poisoned))
    p_values = chain.from_iterable(chain.from_iterable(checks))
    row["checks_passed"] = mean_of([float(p >= CHECK) for p in p_values])
    return row


def real_row(
    seed: int, attack: Sequence[Row], halves: Row | None, properties: Sequence[str]
) -> Row | None:
    """What records are like by the same measures: the attack without a generator, and held-out records as samples."""
    if halves is None:
        return None
    row: Row = {"family": "real", "kind": "real", "seed": seed, "kid": halves["kid"]}
    row |= _attack(attack) | _property_errors(halves, properties)
    return row | {"reader_accuracy": halves["accuracy"]}


def _property_errors(measured: Row, properties: Sequence[str]) -> Row:
    """How far off the shares are that were read."""
    shares, exact = measured["shares"], measured["exact"]
    errors = {name: abs(shares[name] - exact[name]) for name in properties}
    error = float(np.mean(list(errors.values())))
    return {"property_errors": errors, "property_error": error, "shares": shares, "exact": exact}


def difference_by_class(by_class: Sequence[float | None]) -> float | None:
    """The share in class 1 minus that in class 0; None where one is not known."""
    if len(by_class) < 2 or by_class[0] is None or by_class[1] is None:
        return None
    return by_class[1] - by_class[0]


def _cost(measured: Sequence[Row], samples: Sequence[Row]) -> Row:
    """Speed and budget, averaged over the two generators; what was trained before counts once."""
    own = [m["training"][0] for m in measured]
    before = [part["seconds"] for part in measured[0]["training"][1:]]
    return {
        "images_per_second": mean_of([part["images_per_second"] for part in own]),
        "training_seconds": mean_of([part["seconds"] for part in own]),
        "before_seconds": None if None in before else float(sum(before)),
        "samples_per_second": mean_of([info["count"] / info["seconds"] for info in samples]),
        "network_calls": mean_of([info["network_calls"] / info["count"] for info in samples]),
    }


def _attack(rows: Sequence[Row]) -> Row:
    """Accuracy, and what poisoning did."""
    by_policy = {row["policy"]: row for row in rows}
    clean = by_policy.get("clean", {})
    poisoned = next((row for policy, row in by_policy.items() if policy != "clean"), {})
    pairs = [paired(poisoned, clean)]
    directed = is_directed(pairs)
    (after,), (before,) = sides(pairs, GAP, directed)
    return {
        "accuracy": clean.get("accuracy"),
        "poisoned_accuracy": poisoned.get("accuracy"),
        "directed": directed,
        "gap": before,
        "poisoned_gap": after,
        "excess_gap": _minus(after, before),
        "excess_gap_absolute": _minus(poisoned.get(GAP), clean.get(GAP)),
        "accuracy_loss": _minus(clean.get("accuracy"), poisoned.get("accuracy")),
    }


def _bias(clean: Row, poisoned: Row | None, sensitive: str) -> Row:
    names = ("bias_added_in_mix", "bias_added_in_samples", "bias_passed_on", "bias_error")
    if poisoned is None:
        return dict.fromkeys(names)
    in_mix, in_samples = (
        _minus(*(difference_by_class(side[field][sensitive]) for side in (poisoned, clean)))
        for field in ("exact_by_class", "shares_by_class")
    )
    passed = in_samples / in_mix if in_mix and in_samples is not None else None
    error = None if passed is None else abs(passed - 1)
    return dict(zip(names, (in_mix, in_samples, passed, error), strict=True))


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def summarise(rows: Sequence[Row], level: float) -> list[Row]:
    """Means over seeds of each family, then differences of kinds of family.

    A difference is taken within a seed (mean over the families of one kind minus mean over those of the others), over
    the seeds that have all families. ``ordering`` says of the paper's claim ``confirmed``, ``contradicted`` or
    ``undecided``, by Student's test of each difference, its p-values adjusted for all of these verdicts (Holm).

    Args:
        rows: of :class:`diffshare.study.families.Families`.
        level: of the t intervals.

    Returns:
        entries with ``family``, ``kind``, ``seeds`` and ``mean``, ``interval``, ``n`` of each of ``MEASURES``; then
        entries with ``contrast``, ``seeds``, the same of each of ``CONTRASTED``, and of each of ``FORESEEN`` its
        ``p_values`` (adjusted) and ``ordering``.
    """
    entries = []
    for (name, kind), mine in grouped(rows, ("family", "kind")).items():
        seeds = [row["seed"] for row in mine]
        entry: Row = {"family": name, "kind": kind, "seeds": seeds, "level": level}
        entry["directed"] = all(row.get("directed", False) for row in mine)
        entries.append(entry | means(mine, MEASURES, level))
    kinds = {entry["kind"] for entry in entries}
    contrasts = [
        _contrast(rows, one, others, level) for one, others in CONTRASTS if {one, *others} <= kinds
    ]
    _judge(contrasts, level)
    return entries + contrasts


def _judge(contrasts: Sequence[Row], level: float) -> None:
    """Adjust the p-values of all contrasts for each other and fill in ``ordering``; what is undefined is no test."""
    tests = [
        (entry, name)
        for entry in contrasts
        for name, p in entry["p_values"].items()
        if p is not None
    ]
    adjusted = holm([entry["p_values"][name] for entry, name in tests])
    for (entry, name), p in zip(tests, adjusted.tolist(), strict=True):
        entry["p_values"][name] = p
        if p <= 1 - level:
            foreseen = entry[name]["mean"] * FORESEEN[name] > 0
            entry["ordering"][name] = "confirmed" if foreseen else "contradicted"


def _contrast(rows: Sequence[Row], one: str, others: Sequence[str], level: float) -> Row:
    compared = [row for row in rows if row["kind"] in (one, *others)]
    families = {row["family"] for row in compared}
    by_seed = grouped(compared, ("seed",)).items()
    whole = {seed: some for (seed,), some in by_seed if {row["family"] for row in some} == families}
    title = f"{one} - {' and '.join(others)}"
    entry: Row = {"contrast": title, "seeds": list(whole), "level": level}
    entry |= {"p_values": {}, "ordering": dict.fromkeys(FORESEEN, "undecided")}
    for name in CONTRASTED:
        differences = []
        for some in whole.values():
            both = ([r[name] for r in some if (r["kind"] == one) is side] for side in (True, False))
            differences.append(_minus(*map(mean_of, both)))
        entry[name] = interval(differences, level)
        if name in FORESEEN:
            entry["p_values"][name] = t_test(differences)
    return entry


def tables(summary: Sequence[Row], level: float) -> list[Table]:
    """What each family costs, what it passes on, and how the kinds differ."""
    families = [entry for entry in summary if "family" in entry]
    passed = [field for field in MEASURES if field not in COST]
    cost = "families: quality and cost, means over seeds"
    outcome = f"families: what is passed on, means and {level:.0%} t intervals"
    shown = [
        _table(cost, families, "family", COST, ends=False),
        _table(outcome, families, "family", passed),
    ]
    if contrasts := [entry for entry in summary if "contrast" in entry]:
        title = f"differences of kinds within a seed, {level:.0%} t intervals; the paper's ordering, adjusted (Holm)"
        shown.append(_table(title, contrasts, "contrast", CONTRASTED))
    return shown


def _table(
    title: str, entries: Sequence[Row], key: str, names: Sequence[str], ends: bool = True
) -> Table:
    def measure(name: str) -> Callable[[Row], str]:
        mean = estimate(name, f".{MEASURES[name][1]}f", ends=ends)
        return lambda entry: f"{mean(entry)} {entry.get('ordering', {}).get(name, '')}".rstrip()

    columns = {MEASURES[name][0]: measure(name) for name in names}
    return table(title, entries, {key: field(key), **columns}, left=[key])


def draw_families(rows: Sequence[Row], summary: Sequence[Row], path: Path) -> Path:
    """Mean with interval of each family in a panel a measure, single seeds as dots; a colour a kind of family."""
    entries = [entry for entry in summary if "family" in entry]
    axes = draw_kinds(
        rows,
        entries,
        PANELS,
        keys=["family"],
        label=field("family"),
        colour=lambda entry: colour_of(KINDS.index(entry["kind"])),
        size=(0.0, 1.2 + 0.32 * len(entries)),
        panel=3.0,
    )
    seeds = max(len(entry["seeds"]) for entry in entries)
    return save(axes[0], path, seeds_text(seeds, summary[0]["level"], "single seeds"))
