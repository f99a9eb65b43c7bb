"""Undoes what an audit found in samples: weights for each, and a choice of them by these."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from diffshare.audits.poisoning.candidates import NAME, PROMPTED, clusters
from diffshare.audits.poisoning.reading import GroupReader, group_reader
from diffshare.audits.poisoning.result import Audit
from diffshare.audits.repair.inside import inside_weights
from diffshare.audits.repair.kinds import To, Weights
from diffshare.audits.repair.weights import Repair, accept, reweigh, wanted_shares
from diffshare.classes import listed
from diffshare.classifiers.property import stratified_folds
from diffshare.classifiers.recipe import Recipe
from diffshare.errors import UserError, check_seed
from diffshare.receiver.box import check_kinds
from diffshare.receiver.choices import checked
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples, Samples, same_size
from diffshare.stats.reweighing import effective_size


class Reading(NamedTuple):
    """How the group is read: as the audit read it.

    Attributes:
        name: of the group.
        classifier: recipe of its classifier; by the kind of data where None.
        folds: of the cross-fitting.
        degraded: trained on blurred and noisy copies as well.
        seed: of folds and training.
    """

    name: str
    classifier: Recipe | None = None
    folds: int = 5
    degraded: bool = False
    seed: int = 0

    def reader(self, records: Records, samples: CodedSamples, again: int = 0) -> GroupReader:
        """A reader of the group; ``again`` is added to the seed."""
        return group_reader(
            records,
            self.name,
            column=self.name in samples.groups,
            recipe=self.classifier,
            folds=self.folds,
            seed=self.seed + again,
            degraded=self.degraded,
        )


class Solved(NamedTuple):
    """Weights and how they came about.

    Attributes:
        repair: the weights.
        reader: of the group, by which they were made.
        checker: a second reader that checked them; None where none did.
        weights: their kind.
        notes: why no second reader checked them.
    """

    repair: Repair
    reader: GroupReader
    checker: GroupReader | None
    weights: Weights
    notes: tuple[str, ...] = ()


def solve(
    records: Records,
    samples: CodedSamples,
    wanted: np.ndarray,
    reading: Reading,
    *,
    weights: Weights | None = None,
    most: float = 10.0,
    seed: int = 0,
) -> Solved:
    """Weights that give the groups of each class the wanted shares.

    Args:
        records: the labelled records of the audit.
        samples: in their codes.
        wanted: P(s|y) to aim at, [y][s].
        reading: how the group is read.
        weights: their kind; ``checked`` where there are enough records for two readers, else ``density``, where None.
            ``inside`` are those of ``density`` times those of :func:`diffshare.audits.repair.inside.inside_weights`.
        most: largest weight.
        seed: of the halves of the records that two readers have.

    Raises:
        UserError: a group that is wanted is not there, or a reader too weak.
    """
    notes = []
    if weights in (None, "checked") and reading.name not in samples.groups:
        try:
            first, second = _halves(records, samples, reading, seed)
            checked = reweigh(first, samples, wanted, most, "checked", second)
        except UserError as error:
            told = f"half of the reference is too little for each of two readers: {error}"
            if weights is not None:
                raise UserError(f"`weights` checked: {told}; or use `weights` density") from error
            notes.append(
                f"weights that no second reader checks, which may repair too little; {told}"
            )
        else:
            return Solved(checked, first, second, "checked")
    kind = weights or "density"
    reader = reading.reader(records, samples)
    if kind == "inside":
        repaired = reweigh(reader, samples, wanted, most, "density")
        group = reader.groups(samples)
        name = reading.name
        options: dict[str, Any] = {
            "reader": reading.classifier,
            "group_name": name,
            "most": most,
            "seed": seed,
        }
        ratio = inside_weights(records, samples, group, **options)
        product = repaired.weights * ratio
        for k in range(len(records.classes)):
            product[samples.y == k] /= product[samples.y == k].mean()
        return Solved(replace(repaired, weights=product), reader, None, kind, tuple(notes))
    return Solved(reweigh(reader, samples, wanted, most, kind), reader, None, kind, tuple(notes))


def _halves(
    records: Records, samples: CodedSamples, reading: Reading, seed: int
) -> tuple[GroupReader, GroupReader]:
    """Two readers, each from half of the records and with initial weights of its own: equal ones would err alike."""
    cells = records.group(reading.name).codes.astype(np.int64) * len(records.classes) + records.y
    half = stratified_folds(cells, 2, np.random.default_rng([seed, 2])) == 0
    return reading.reader(records.part(half), samples), reading.reader(
        records.part(~half), samples, again=1
    )


@dataclass(frozen=True, repr=False, eq=False)
class Repaired:
    """Samples as they are safe to train on.

    Attributes:
        weights: of the M samples, float64 >= 0, with mean 1 in each class.
        rows: positions of the samples that a choice by these weights keeps, ascending.
        kind: of the weights: ``density``, ``mass``, ``checked`` or ``inside``.
        cells: P(s|y) of each cell, by ``s0y0``: ``before``, ``wanted`` and the estimate ``after``.
        effective_sizes: of each class, with the weights.
        groups: names of the groups.
        classes: names of the classes.
        notes: what the reader should know.
    """

    weights: np.ndarray
    rows: np.ndarray
    kind: Weights
    cells: dict[str, dict[str, float]]
    effective_sizes: tuple[float, ...]
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        worst = max(abs(cell["after"] - cell["wanted"]) for cell in self.cells.values())
        sizes = ", ".join(f"{size:.0f}" for size in self.effective_sizes)
        return f"Repaired({len(self.weights)} samples, effective sizes {sizes}, shares within {worst:.3f})"

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the weights."""
        return {
            "weights": self.kind,
            "cells": self.cells,
            "effective_sizes": list(self.effective_sizes),
            "groups": list(self.groups),
            "classes": list(self.classes),
            "notes": list(self.notes),
        }


def repair(
    samples: Samples,
    records: Records,
    audit: Audit,
    *,
    to: To = "reference",
    weights: Weights | None = None,
    most: float = 10.0,
    seed: int = 0,
) -> Repaired:
    """Undo the association of group and class that an audit found, by weights.

    Args:
        samples: those that were audited.
        records: those that they were audited against.
        audit: of :func:`diffshare.audits.poisoning.audit.audit`.
        to: shares of the groups to aim at: those of the records, P(s) in each class, or equal ones.
        weights: their kind; ``checked`` where the records suffice for two readers, else ``density``, where None.
        most: largest weight, above 1.
        seed: of the choice, and of the halves of the records that two readers have.

    Raises:
        UserError: other samples than the audit's, a group that is wanted is not there, a reader too weak.

    Example:
        >>> import numpy as np, diffshare as ds
        >>> rng = np.random.default_rng(0)
        >>> s, y = rng.integers(0, 2, (2, 2000))
        >>> own = ds.Records.from_frame({"s": s, "x": rng.normal(size=2000), "y": y}, target="y", sensitive="s")
        >>> tied = {"s": np.where(rng.random(2000) < 0.7, y, s), "x": rng.normal(size=2000), "y": y}
        >>> samples = ds.Samples(tied)
        >>> weights = ds.repair(samples, own, ds.audit(samples, own, gap_repeats=0)).weights
        >>> bool(abs(np.cov(tied["s"], y)[0, 1]) > 0.1), bool(abs(np.cov(tied["s"], y, aweights=weights)[0, 1]) < 0.01)
        (True, True)
    """
    check_kinds(samples, (Samples,), records)
    if not isinstance(audit, Audit):
        raise UserError(
            f"a {type(audit).__name__} was given as the audit: give what audit returned"
        )
    if samples.sha256 != audit.samples_sha256:
        raise UserError("the audit is of other samples: audit these first")
    name, plan = audit.names[0], audit.plan
    if name == PROMPTED:
        raise UserError(
            "the audit found its group with prompts, which a repair does not read: audit named groups"
        )
    checked(repair, {"to": to, "weights": weights, "most": most, "seed": seed})
    check_seed("seed", seed)
    if not most > 1:
        raise UserError(f"`most` is {most}: a largest weight above 1, the mean, is needed")
    if records.target is None:
        raise UserError("the records have no class: give y, or name the target")
    records = records.with_groups(tuple(dict.fromkeys((*audit.sensitive, *records.sensitive))))
    samples, records, _ = same_size(samples, records)
    coded = samples.coded(records)
    if plan.clusters is not None and name == NAME:
        records, coded = clusters(records, coded, plan.clusters, plan.seed)
    group = records.group(name)
    for theirs, ours, what in (
        (audit.groups, group.classes, name),
        (audit.classes, records.classes, "the class"),
    ):
        if set(theirs) != set(ours):
            raise UserError(
                f"the audit is of {listed(theirs)} of {what}, the records have {listed(ours)}: repair with those "
                "of the audit"
            )
    table = records.table(group)
    wanted = wanted_shares(np.ones(table.shape) if plan.pool == "balanced" else table, to)
    reading = Reading(name, plan.classifier, plan.folds, plan.degrade, plan.seed)
    solved = solve(records, coded, wanted, reading, weights=weights, most=most, seed=seed)
    kept = accept(solved.repair, coded.y, np.random.default_rng([seed, 7]))
    sizes = tuple(effective_size(solved.repair.weights[coded.y == k]) for k in range(len(wanted)))
    return Repaired(
        weights=solved.repair.weights,
        rows=np.sort(kept),
        kind=solved.weights,
        cells=solved.repair.json(coded.y)["cells"],
        effective_sizes=sizes,
        groups=solved.reader.attribute.classes,
        classes=records.classes,
        notes=(*coded.notes, *solved.notes),
    )
