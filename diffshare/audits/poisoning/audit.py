"""The audit of a generator's samples against labelled records: every candidate for the group, look by look."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diffshare.audits.poisoning.candidates import (
    NAME,
    PROMPTED,
    clusters,
    corrected,
    overall,
    prompted,
)
from diffshare.audits.poisoning.claims import (
    at_guidance,
    declaration_of,
    guidance_notes,
    judgement_notes,
)
from diffshare.audits.poisoning.declaration import declaration_test
from diffshare.audits.poisoning.declared import read_declared
from diffshare.audits.poisoning.drawing import Drawing
from diffshare.audits.poisoning.gap import PredictedGap, predict_gap
from diffshare.audits.poisoning.own_gap import OwnGap, own_gap
from diffshare.audits.poisoning.plan import Plan
from diffshare.audits.poisoning.reading import GroupReader, group_reader, reference_of
from diffshare.audits.poisoning.result import Audit
from diffshare.audits.poisoning.surrogates import surrogate_margin, surrogate_note
from diffshare.audits.poisoning.table import counted_table
from diffshare.audits.poisoning.verdict import Terms, judge
from diffshare.classifiers.recipe import default_recipe
from diffshare.errors import UserError, one_of
from diffshare.receiver.box import Box, check_kinds
from diffshare.receiver.choices import checked, choose, names_of
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples, Samples, claimed_guidance, same_size
from diffshare.receiver.training_rows import training_note
from diffshare.release.card import Card
from diffshare.stats.association import Reference
from diffshare.stats.detection import looks
from diffshare.stats.shares import counted_shares


def audit(
    what: Samples | Box | Drawing,
    records: Records,
    *,
    sensitive: str | Sequence[str] | None = None,
    declared: Path | None = None,
    plan: Plan | None = None,
    **options: Any,
) -> Audit:
    """Were the samples' training records chosen to make a classifier unfair, and what would its gap be?

    Args:
        what: the samples, or a model that is asked for them.
        records: labelled records that the sharer has not trained on.
        sensitive: the group, or several candidates for it; the records' own where None.
        declared: a file with the table of groups and classes that the sharer declares.
        plan: the choices; the usual ones where None.
        options: choices of :class:`diffshare.audits.poisoning.plan.Plan`, over those of ``plan``.

    Returns:
        of several candidates that which decides; ``candidates`` has all.

    Raises:
        UserError: an option out of its range, samples that do not fit the records, a group of which
            too little is there.

    Example:
        >>> import numpy as np, diffshare as ds
        >>> rng = np.random.default_rng(0)
        >>> s, y = rng.integers(0, 2, (2, 2000))
        >>> own = ds.Records.from_frame({"s": s, "x": rng.normal(size=2000), "y": y}, target="y", sensitive="s")
        >>> tied = {"s": np.where(rng.random(2000) < 0.7, y, s), "x": rng.normal(size=2000), "y": y}
        >>> ds.audit(ds.Samples(tied), own, gap_repeats=0).verdict
        'poisoned'
    """
    given = checked(audit, {"declared": declared, "plan": plan})
    plan = choose(Plan, ({} if plan is None else vars(plan)) | options)
    if isinstance(what, Box):
        what = Drawing(
            what.folder, seed=plan.seed, guidance=1.0 if plan.guidance is None else plan.guidance
        )
        plan = plan.but(guidance=1.0 if plan.guidance is None else plan.guidance)
    check_kinds(what, (Samples, Drawing), records)
    if records.target is None:
        raise UserError("the records have no class: give y, or name the target")
    named = () if sensitive is None else names_of("sensitive", sensitive)
    names = tuple(dict.fromkeys(named or records.sensitive))
    if not names and plan.clusters is None and not plan.prompts:
        raise UserError("name the group with `sensitive`, or ask for `clusters` or `prompts`")
    if records.target in names:
        raise UserError(
            f"`sensitive` and `target` are both '{records.target}': name two attributes"
        )
    records = records.with_groups(tuple(dict.fromkeys((*names, *records.sensitive))))
    note = ""
    if isinstance(what, Samples):
        what, records, note = same_size(what, records)
    case = _Case(plan, records, names, given["declared"], note)
    audits = case.looked_at(what)
    strongest = overall(audits)
    return replace(strongest, candidates=tuple(audits) if len(audits) > 1 else ())


@dataclass(frozen=True)
class _Case:
    """One audit: plan, records, names of the groups, the file that declares a table, and what was resized."""

    plan: Plan
    records: Records
    names: tuple[str, ...]
    declared: Path | None
    resized: str = ""

    def looked_at(self, what: Samples | Drawing) -> list[Audit]:
        """The audits of all candidates, look by look."""
        plan, records = self.plan, self.records
        for name in self.names:
            records.group(name)  # refused before samples are drawn
        _check_columns(plan, records)
        notes = (
            *filter(None, (records.used, self.resized)),
            *(
                [rows]
                if (rows := training_note(len(records), "the reference")) and records.columns
                else []
            ),
            *((records.disjoint,) if records.compared else ()),
        )
        if isinstance(what, Drawing):
            what.check_classes(records)
            total, whole = plan.count_of(None), None
        else:
            whole = what.coded(records)
            total = plan.count_of(len(whole.y))
            notes += guidance_notes(plan, whole.info)
            if records.columns and (rows := training_note(len(whole.y), "the samples")):
                notes += (rows,)
        counts = looks(plan.sequential, total) if plan.sequential else [total]
        zero_shot = _zero_shot(plan)
        readers: dict[str, GroupReader] = {}
        audits: list[Audit] = []
        for count in counts:
            last = count == counts[-1]
            if isinstance(what, Drawing):
                # as many of each class: some have none yet
                if not last and count < len(what.card.labels):
                    continue
                samples = what.first(count).coded(records)
            else:
                assert whole is not None
                samples = _drawn(whole, count, plan.seed)
            if not last and not _each_class(samples, self.names, len(records.classes)):
                continue  # nothing to judge by yet, which decides nothing
            named, samples = _unnamed(plan, records, samples, zero_shot)
            wanted = dict.fromkeys(
                [*self.names, *(name for name in (NAME, PROMPTED) if name in samples.groups)]
            )
            for name in wanted:
                column = name in samples.groups
                if name not in readers or column:
                    readers[name] = group_reader(
                        named, name, column=column, recipe=plan.classifier, folds=plan.folds,
                        seed=plan.seed, degraded=plan.degrade,
                    )  # fmt: skip
            asked = replace(
                at_guidance(plan, plan.terms(len(counts), len(self.names)), samples.info),
                candidates=len(wanted),
            )
            card = what.card if isinstance(what, Drawing) else None
            audits = [self._one(readers[name], samples, asked, card) for name in wanted]
            audits = corrected(audits) if len(audits) > 1 else audits
            if overall(audits).judgement.verdict != "inconclusive":
                break
        notes += samples.notes
        gaps = [_gaps(plan, one, samples, named) for one in audits]
        return [
            replace(one, gap=gap, own=own, notes=(*one.notes, *notes))
            for one, (gap, own) in zip(audits, gaps, strict=True)
        ]

    def _one(
        self, reader: GroupReader, samples: CodedSamples, asked: Terms, card: Card | None
    ) -> Audit:
        """One candidate's audit at one look."""
        plan, reference = self.plan, reference_of(reader, self.plan.pool)
        notes = []
        if plan.margin_from:
            margin, said = _margin(plan, reader, reference, asked)
            asked = replace(
                asked, margin=margin, fixed=True, origin="the margin from `margin_from`"
            )
            notes.append(said)
        shares, fit = reader.shares(samples), reader.fit(samples, plan.seed)
        unknown = reader.unknown(samples)
        declaration, told = declaration_of(
            self.declared, self.names, reader, shares, asked, card, fit, unknown
        )
        notes += told
        judgement = judge(shares, reference, asked, fit, unknown)
        notes += judgement_notes(judgement, asked, reader.name, reader.reference.classes)
        if fit is not None and judgement.misfit is not None:
            notes.append(
                f"the classifier of {reader.name} errs on the samples otherwise than on records (p = "
                f"{fit.p_value:.3f}): what shows of that may hide {judgement.misfit.size}; {fit.remedy}"
            )
        return Audit(
            judgement=judgement,
            shares=shares,
            reference=reference,
            terms=asked,
            names=(reader.name, str(self.records.target)),
            groups=reader.attribute.classes,
            classes=reader.reference.classes,
            queries=len(samples.y),
            samples_sha256=samples.sha256,
            accuracy=None if reader.classifier is None else reader.classifier.accuracy,
            fit=fit,
            declaration=declaration,
            notes=tuple(notes),
            plan=plan,
            sensitive=self.names,
        )


def declared_audit(
    samples: Samples, declared: Path, *, sensitive: str, target: str, **options: Any
) -> Audit:
    """The audit of a table against a declared one: no record is needed, group and class are columns.

    Args:
        samples: rows.
        declared: a file with the table of groups and classes, see
            :func:`diffshare.audits.poisoning.declared.read_declared`.
        sensitive: column of the group.
        target: column of the class.
        options: as of :func:`audit`.

    Raises:
        UserError: samples that are images, no such column, a table that does not fit.
    """
    plan = choose(Plan, options)
    if samples.images is not None:
        raise UserError(
            "the group of an image must be read by a classifier, which needs labelled records: give a reference "
            "(the declared table is then tested beside it)"
        )
    counted = counted_table(samples, sensitive, target, plan.queries)
    asked = at_guidance(plan, plan.terms(), samples.info)
    table = read_declared(declared, counted.groups, counted.classes)
    reference = Reference(table.table, known=True)
    shares = counted_shares(counted.counts)
    judgement = judge(shares, reference, asked, unknown=counted.unknown)
    return Audit(
        judgement=judgement,
        shares=shares,
        reference=reference,
        terms=asked,
        names=(sensitive, target),
        groups=counted.groups,
        classes=counted.classes,
        queries=counted.rows,
        samples_sha256=samples.sha256,
        declaration=declaration_test(
            shares, reference.table, asked, counted.rows, unknown=counted.unknown
        ),
        notes=(
            *judgement_notes(judgement, asked, sensitive, counted.classes),
            *guidance_notes(plan, samples.info),
            *table.notes,
            "no gap is predicted without records to measure it on",
        ),
        plan=plan,
    )


def _each_class(samples: CodedSamples, groups: Sequence[str], classes: int) -> bool:
    """Whether each class has a sample whose group is known, for each group that is a column."""
    grouped = [
        np.ones(len(samples.y), bool),
        *(samples.groups[name] >= 0 for name in groups if name in samples.groups),
    ]
    return all(np.bincount(samples.y[rows], minlength=classes).all() for rows in grouped)


def _zero_shot(plan: Plan) -> Callable[[np.ndarray], np.ndarray] | None:
    if plan.clip is None:
        return None
    from diffshare.receiver.zeroshot import ZeroShot

    return ZeroShot(plan.clip, plan.prompts)


def _unnamed(
    plan: Plan,
    reference: Records,
    samples: CodedSamples,
    zero_shot: Callable[[np.ndarray], np.ndarray] | None,
) -> tuple[Records, CodedSamples]:
    """Both with the groups that no attribute names, where they are asked for."""
    if plan.clusters:
        reference, samples = clusters(reference, samples, plan.clusters, plan.seed)
    if zero_shot is not None:
        reference, samples = prompted(reference, samples, zero_shot, plan.prompts)
    return reference, samples


def _check_columns(plan: Plan, reference: Records) -> None:
    """Refuse columns to withhold that are none: a slip would leave the group's own column to the classifier."""
    columns = [column.name for column in reference.columns]
    if unknown := [name for name in plan.withhold if name not in columns]:
        raise one_of(
            "column to withhold", unknown[0], columns or ["none, for the reference holds images"]
        )


def _drawn(samples: CodedSamples, count: int, seed: int) -> CodedSamples:
    """So many samples of a folder, which may be sorted by class: the first of an order that the seed draws."""
    order = np.random.default_rng([seed, 3]).permutation(len(samples.y))
    return samples if count == len(samples.y) else samples.take(order[:count])


def _margin(
    plan: Plan, reader: GroupReader, reference: Reference, asked: Terms
) -> tuple[float, str]:
    """A margin from clean surrogates, and what to know of it."""
    surrogates = [Samples.from_path(folder).coded(reader.reference) for folder in plan.margin_from]
    said = {claimed_guidance(one.info) for one in surrogates} - {asked.guidance}
    if reader.name in (NAME, PROMPTED):
        zero_shot = _zero_shot(plan)
        surrogates = [_unnamed(plan, reader.reference, one, zero_shot)[1] for one in surrogates]
    margin = surrogate_margin([(reader, one) for one in surrogates], reference)
    note = "; ".join(
        [
            surrogate_note(margin, len(surrogates), asked.level),
            *(told for one in surrogates for told in one.notes),
        ]
    )
    if said:
        note += (
            "; some of them were drawn at another guidance than the samples: draw them at the same"
        )
    return margin, note


def _gaps(
    plan: Plan, one: Audit, samples: CodedSamples, reference: Records
) -> tuple[PredictedGap | None, OwnGap | None]:
    """The gap of classifiers that are trained on the samples, and of others that are trained on the reference."""
    if not plan.gap_repeats:
        return None, None
    options: dict[str, Any] = {
        "pool": plan.pool,
        "withhold": plan.withhold,
        "repeats": plan.gap_repeats,
        "level": 1 - plan.level,
        "seed": plan.seed,
    }
    trained = plan.downstream or default_recipe(reference.columns)
    name = one.names[0]
    return (
        predict_gap(samples, reference, name, trained, **options),
        own_gap(samples, reference, name, trained, **options),
    )
