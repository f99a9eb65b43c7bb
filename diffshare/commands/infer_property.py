"""The verb ``infer-property``: the share of a property among a generator's training records, read off its samples."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jsonargparse import Namespace
from rich.table import Table

from diffshare.classifiers.degrade import degrade
from diffshare.classifiers.property import HELD_OUT, PropertyClassifier, check_enough, cross_fit, single_fit
from diffshare.classifiers.recipes import default_recipe
from diffshare.commands.infer_arguments import AUTO, DEFAULT_METHOD, SCHEMA, ZERO_SHOT, parse
from diffshare.data.source import Attribute
from diffshare.errors import UserError
from diffshare.generators.families import open_generator
from diffshare.receiver.labelling import LABELS, LAYOUT, SHEET, read_labels, write_sheet
from diffshare.receiver.property.auxiliary import Auxiliary, open_auxiliary
from diffshare.receiver.property.conditioning import refuse_chosen
from diffshare.receiver.property.inference import ALIKE, Asked, Inferred, asked, counted, infer
from diffshare.receiver.property.plan import collect, plan_queries, stopped_interval
from diffshare.receiver.property.queries import FolderQueries, ModelQueries, Queries
from diffshare.receiver.property.reading import counted_column, is_column, reader
from diffshare.receiver.property.remedies import labelled, recalibrated, refuse_surrogates, widened
from diffshare.receiver.property.told import infer_told, told_beside
from diffshare.receiver.sampling import progress
from diffshare.receiver.zeroshot import ZeroShot
from diffshare.release.folder import open_release
from diffshare.release.samples import refuse_alike
from diffshare.release.table import TableGenerator, load_schema
from diffshare.stats.intervals import check_level
from diffshare.stats.prevalence import Method
from diffshare.storage import check_new_folder, write_result
from diffshare.terminal import cell_text, console, say

MODEL_QUERIES = 1000  # of a model, where no number is given; of a folder, all samples


def infer_property(arguments: list[str]) -> int:
    """Infer the share of a property from samples of a model."""
    config, source, recipe = parse(arguments)
    started = time.perf_counter()
    if config.method == SCHEMA:
        return _finish(config, _told(config), started)
    queries = _queries(config, source)
    if config.label_sheet is not None:
        return _label_sheet(config, queries, _asked_for(config, source))
    if config.method == ZERO_SHOT:
        result = _zero_shot(config, queries)
    else:
        result = _with_auxiliary(config, queries, source, recipe)
    notes = (*result.notes, *_drawn_by(queries, config), *_of_schema(queries, result))
    return _finish(config, replace(result, notes=notes), started)


def _finish(config: Namespace, result: Inferred, started: float) -> int:
    seconds = time.perf_counter() - started
    if config.json is not None:
        write_result(config.json, result.json(seconds), Inferred.FIELDS)
    _show(result, seconds)
    return 0


def _told(config: Namespace) -> Inferred:
    """What the release's schema says by itself."""
    check_level(config.level)
    release = open_release(config.model)
    if release.card.modality != "table":
        raise UserError(f"{config.model} makes images, which have no schema: infer the property from samples")
    return infer_told(load_schema(release), config.property, config.value, config.level)


def _of_schema(queries: Queries, result: Inferred) -> Sequence[str]:
    """What the release's schema says of the property beside the samples."""
    if not isinstance(queries, ModelQueries) or not isinstance(queries.generator, TableGenerator):
        return ()
    return told_beside(queries.generator.schema, result.name, result.value)


def _queries(config: Namespace, source: Any) -> Queries:
    if config.samples is not None:
        table = source is not None and source.modality == "table"
        kinds = {column.name: column.kind for column in source.columns} if table else None
        folder = FolderQueries(config.samples, kinds, getattr(source, "missing", "?"))
        if config.queries == AUTO or _count(config, folder) != folder.available:
            folder.shuffle(config.seed)
        return folder
    generator, _ = open_generator(config.model, device=config.device)
    options = {name: config[name] for name in ("seed", "steps", "guidance", "batch_size")}
    return ModelQueries(generator, config.labels, **options)


def _count(config: Namespace, queries: Queries) -> int:
    if config.queries not in (None, AUTO):
        return int(config.queries)
    return queries.available or MODEL_QUERIES


def _asked_for(config: Namespace, source: Any) -> str:
    """What a 1 on a label sheet stands for: the class whose share is asked for."""
    name, value = config.property, config.value
    if source is not None:
        value = asked(name, source.index().attribute(name).classes, value, config.level, config.seed).value
    return name if value in (None, name) else f"{name}: {value}"


def _label_sheet(config: Namespace, queries: Queries, asked_for: str) -> int:
    check_new_folder(config.label_sheet, LAYOUT, overwrite=config.overwrite)
    x = queries.take(0, _count(config, queries))
    _refuse_rows(queries, "a label sheet")
    options = {"numbers": queries.numbers(len(x)), "overwrite": config.overwrite}
    write_sheet(config.label_sheet, x, config.label_count, config.seed, **options)
    say(
        f"sheet:   {config.label_sheet / SHEET}",
        f"labels:  {config.label_sheet / LABELS} (fill in 1 where a sample has "
        f"'{asked_for}', else 0; then add --labelled to the same command without --label-sheet)",
    )
    return 0


def _refuse_rows(queries: Queries, what: str) -> None:
    if queries.columns:
        raise UserError(f"{what} is for images, the samples are rows of a table: use --auxiliary")


def _zero_shot(config: Namespace, queries: Queries) -> Inferred:
    _refuse_rows(queries, "zero-shot")
    names = (config.property, *config.prompts[1:])
    what = asked(config.property, names, config.property, config.level, config.seed)
    _refuse_chosen_name(config, queries)
    reader = ZeroShot(config.clip, config.prompts)
    x = queries.take(0, _count(config, queries))
    scores = reader(x, progress)
    result = counted(what, scores.argmax(1), "zero-shot")
    if config.labelled is not None:
        return labelled(what, result, scores[:, 0], *read_labels(config.labelled, queries.numbers(len(x))))
    note = "nobody knows how often the prompts err: label some samples (--label-sheet, --labelled) to correct"
    return replace(result, notes=(*result.notes, note))


def _refuse_chosen_name(config: Namespace, queries: Queries) -> None:
    """Without auxiliary records, the names alone tell whether the property is what the samples were drawn by."""
    name = config.property
    classes = queries.classes if name in queries.classes else (name,)
    conditioned_on = name if name in (config.conditioned_on, queries.target) else None
    attributes = {name: Attribute(np.zeros(0, np.int16), classes)}
    refuse_chosen(name, attributes, labels=queries.labels, classes=queries.classes, conditioned_on=conditioned_on)


def _with_auxiliary(config: Namespace, queries: Queries, source: Any, recipe: Any) -> Inferred:
    name = config.property
    auxiliary = open_auxiliary(
        source, name, config.part, split_seed=config.split_seed, withhold=config.withhold, manifest=config.manifest
    )
    what = asked(name, auxiliary.classes, config.value, config.level, config.seed)
    if config.surrogate:
        refuse_surrogates(config.method or DEFAULT_METHOD, config.surrogate_p, len(what.classes))
    refuse_chosen(
        name,
        auxiliary.attributes,
        labels=queries.labels,
        classes=queries.classes,
        conditioned_on=config.conditioned_on,
        target=queries.target,
    )
    if is_column(name, queries) and name not in config.withhold:
        result = _column(config, queries, what)
        return replace(result, notes=(*filter(None, (what.note,)), *result.notes))
    result = _classified(config, queries, what, auxiliary, source, recipe)
    unknown = f"{auxiliary.unknown} auxiliary records left out: '{name}' unknown" if auxiliary.unknown else ""
    notes = (auxiliary.used, unknown, auxiliary.disjoint, what.note)
    return replace(result, notes=(*filter(None, notes), *result.notes))


def _classified(
    config: Namespace, queries: Queries, what: Asked, auxiliary: Auxiliary, source: Any, recipe: Any
) -> Inferred:
    """Train a classifier, score the samples, estimate, and apply the remedy that is asked for."""
    check_enough(auxiliary.labels, auxiliary.classes, config.folds, 1 / HELD_OUT if config.folds == 1 else 1.0)
    ready = reader(auxiliary, queries)
    x = None if config.queries == AUTO else ready(queries.take(0, _count(config, queries)))
    if x is not None:
        refuse_alike(x, "the samples")
    missing = getattr(source, "missing", "?")
    surrogates = [FolderQueries(folder, _kinds(auxiliary), missing) for folder in config.surrogate]
    given = None if config.labelled is None or x is None else read_labels(config.labelled, queries.numbers(len(x)))
    classifier = _train(config, auxiliary, recipe)
    calibration = classifier.calibration
    method: Method = config.method or DEFAULT_METHOD
    if x is None:
        return _stopping(config, queries, what, classifier, lambda made: classifier.scores(ready(made)), method)
    scores = classifier.scores(x)
    result = infer(what, method, calibration, scores)
    if surrogates:
        others = [classifier.scores(reader(auxiliary, one)(one.take(0, one.available or 0))) for one in surrogates]
        result = recalibrated(result, what, calibration, scores, others, config.surrogate_p)
    if config.widen:
        result = widened(result, what, calibration, scores)
    if given is not None:
        result = labelled(what, result, scores[..., what.place].mean(0), *given)
    single = "one classifier that only counts, as in Luo et al. 2024: nothing corrects its errors"
    return replace(result, notes=(*result.notes, *([single] if config.folds == 1 else [])))


def _stopping(
    config: Namespace,
    queries: Queries,
    what: Asked,
    classifier: PropertyClassifier,
    scores_of: Callable[[np.ndarray], np.ndarray],
    method: Method,
) -> Inferred:
    """Ask until the wanted half width is reached; says first what that will cost."""
    calibration = classifier.calibration
    plan = plan_queries(calibration, config.width, config.level)
    calls = f", {plan.queries * queries.network_calls} network calls" if isinstance(queries, ModelQueries) else ""
    say(
        f"plan:    about {plan.queries} queries{calls} at most for +-{config.width} at level {config.level}; the "
        f"classifier's own part of that is +-{plan.classifier:.3f}",
        flush=True,
    )
    scores = collect(queries, scores_of, calibration, plan, config.level)
    return stopped_interval(infer(what, method, calibration, scores), what, plan, calibration, scores)


def _column(config: Namespace, queries: Queries, what: Asked) -> Inferred:
    """Read the property off its own column."""
    if config.method is not None:
        raise UserError(
            f"the samples have the column '{what.name}', which is read as it is: leave out --method, or add --withhold "
            f"'{what.name}' to estimate it from the other columns"
        )
    if config.queries == AUTO:
        raise UserError("--queries auto is for a classifier: give a number of queries to count in a column")
    if given := [name for name in ("classifier", "degrade", "surrogate", "widen", "labelled") if config[name]]:
        raise UserError(
            f"--{given[0]} is for a classifier, the column '{what.name}' of the samples is counted as it is: leave it "
            f"out, or add --withhold '{what.name}'"
        )
    return counted_column(what, queries, queries.take(0, _count(config, queries)))


def _kinds(auxiliary: Auxiliary) -> dict[str, Any] | None:
    return {column.name: column.kind for column in auxiliary.columns} or None


def _train(config: Namespace, auxiliary: Auxiliary, recipe: Any) -> PropertyClassifier:
    if config.degrade and auxiliary.columns:
        raise UserError("--degrade is for images: leave it out for a table")
    records = (auxiliary.x, auxiliary.labels, auxiliary.classes, recipe or default_recipe(auxiliary.columns))
    options: dict[str, Any] = {"seed": config.seed, "categorical": auxiliary.categorical}
    options["augment"] = degrade if config.degrade else None
    if config.folds == 1:
        return single_fit(*records, **options)
    options["progress"] = lambda folds: progress(folds, "training classifiers", config.folds)
    return cross_fit(*records, folds=config.folds, **options)


def _drawn_by(queries: Queries, config: Namespace) -> Sequence[str]:
    """What to know of samples whose classes somebody chose."""
    if isinstance(queries, ModelQueries) and queries.asked.note:
        return (queries.asked.note, *_share_of(queries, config))
    return _share_of(queries, config)


def _share_of(queries: Queries, config: Namespace) -> Sequence[str]:
    if queries.labels in ("none", "natural"):
        return ()
    if queries.labels == "unknown":
        hint = "" if config.conditioned_on else "; name with --conditioned-on what their classes stand for"
        return (f"it is not known how the samples' classes were chosen: the share is that of these samples{hint}",)
    return (f"samples drawn with labels '{queries.labels}': the share is that of this choice, not of the training set",)


def _show(result: Inferred, seconds: float) -> None:
    """The check stands above the number: a share whose check fails is no share yet."""
    check = result.assumption
    if result.fails:
        say(
            f"FAILS:   the classifier errs on these samples otherwise than on real records (p = {check.p_value:.3f}): "
            "the interval below assumes that it does not, and may miss the truth"
        )
    table = Table(title=cell_text(f"share of {result.name}: {result.value}"), show_header=False)
    table.add_row("check of the classifier", _checked(result))
    estimate, interval = f"{100 * result.estimate:.1f} %", f"{100 * result.low:.1f} - {100 * result.high:.1f} %"
    table.add_row("estimate", f"{estimate}, doubtful" if result.fails else f"[bold]{estimate}[/bold]")
    table.add_row(f"{100 * result.level:g} % interval", interval)
    table.add_row("which assumes that", result.assumes or "the samples are drawn alike")
    table.add_row("method", result.method)
    table.add_row("counted without correction", f"{100 * result.naive:.1f} %")
    table.add_row("queries", str(result.queries))
    table.add_row("error: sampling", f"+- {100 * result.sampling:.1f} points")
    parts = (("classifier", result.classifier), ("generator", result.drift))
    for name, value in parts:
        table.add_row(f"error: {name}", "not known" if value is None else f"+- {100 * value:.1f} points")
    table.add_row("seconds", f"{seconds:.1f}")
    console().print(table)
    for note in result.notes:
        say(f"note:    {note}")
    if result.fails:
        say("remedy:  --surrogate (samples of generators of known shares), --degrade, or --widen the interval")


def _checked(result: Inferred) -> str:
    """What the check says, and whether the interval rests on it."""
    check = result.assumption
    if check.p_value is None:
        return "none is needed" if check.ok else "[bold red]nothing can be tested[/]"
    said = "passes" if check.ok else "[bold red]FAILS[/]"
    return f"{said} (p = {check.p_value:.3f})" + ("" if result.assumes == ALIKE else ", not relied on")
