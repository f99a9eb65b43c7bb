"""The verb ``infer-property``: the share of a property among a generator's training records, read off its samples."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from diffshare.classifiers.degrade import degrade
from diffshare.classifiers.property import HELD_OUT, PropertyClassifier, check_enough, cross_fit, single_fit
from diffshare.classifiers.recipes import default_recipe
from diffshare.commands.infer_arguments import AUTO, DEFAULT_METHOD, ZERO_SHOT, parse
from diffshare.data.source import Attribute
from diffshare.errors import UserError
from diffshare.generators.families import open_generator
from diffshare.receiver.labelling import LABELS, SHEET, read_labels, write_sheet
from diffshare.receiver.property.auxiliary import Auxiliary, open_auxiliary
from diffshare.receiver.property.conditioning import refuse_chosen
from diffshare.receiver.property.inference import Asked, Inferred, asked, counted, infer
from diffshare.receiver.property.plan import collect, plan_queries, stopped_interval
from diffshare.receiver.property.queries import FolderQueries, ModelQueries, Queries
from diffshare.receiver.property.reading import counted_column, is_column, reader
from diffshare.receiver.property.remedies import labelled, recalibrated, refuse_surrogates, widened
from diffshare.receiver.sampling import progress
from diffshare.receiver.zeroshot import ZeroShot
from diffshare.stats.prevalence import Method
from diffshare.storage import check_new_folder, write_json

MODEL_QUERIES = 1000  # of a model, where no number is given; of a folder, all samples


def infer_property(arguments: list[str]) -> int:
    """Infer the share of a property from samples of a model."""
    config, source, recipe = parse(arguments)
    started = time.perf_counter()
    queries = _queries(config, source)
    if config.label_sheet is not None:
        return _label_sheet(config, queries, _asked_for(config, source))
    if config.method == ZERO_SHOT:
        result = _zero_shot(config, queries)
    else:
        result = _with_auxiliary(config, queries, source, recipe)
    result = replace(result, notes=(*result.notes, *_drawn_by(queries, config)))
    seconds = time.perf_counter() - started
    if config.json is not None:
        write_json(config.json, result.json(seconds))
    _show(result, seconds)
    return 0


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
    check_new_folder(config.label_sheet, overwrite=config.overwrite)
    x = queries.take(0, _count(config, queries))
    _refuse_rows(queries, "a label sheet")
    options = {"numbers": queries.numbers(len(x)), "overwrite": config.overwrite}
    write_sheet(config.label_sheet, x, config.label_count, config.seed, **options)
    print(
        f"sheet:   {config.label_sheet / SHEET}\nlabels:  {config.label_sheet / LABELS} (fill in 1 where a sample has "
        f"'{asked_for}', else 0; then add --labelled to the same command without --label-sheet)"
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
    conditioned_on = name if config.conditioned_on == name else None
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
    )
    if is_column(name, queries) and name not in config.withhold:
        return _column(config, queries, what)
    result = _classified(config, queries, what, auxiliary, source, recipe)
    unknown = f"{auxiliary.unknown} auxiliary records left out: '{name}' unknown" if auxiliary.unknown else ""
    return replace(result, notes=(*filter(None, (unknown, auxiliary.disjoint)), *result.notes))


def _classified(
    config: Namespace, queries: Queries, what: Asked, auxiliary: Auxiliary, source: Any, recipe: Any
) -> Inferred:
    """Train a classifier, score the samples, estimate, and apply the remedy that is asked for."""
    check_enough(auxiliary.labels, auxiliary.classes, config.folds, 1 / HELD_OUT if config.folds == 1 else 1.0)
    ready = reader(auxiliary, queries)
    x = None if config.queries == AUTO else ready(queries.take(0, _count(config, queries)))
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
    print(
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
            f"'[{what.name}]' to estimate it from the other columns"
        )
    if config.queries == AUTO:
        raise UserError("--queries auto is for a classifier: give a number of queries to count in a column")
    if given := [name for name in ("classifier", "degrade", "surrogate", "widen", "labelled") if config[name]]:
        raise UserError(
            f"--{given[0]} is for a classifier, the column '{what.name}' of the samples is counted as it is: leave it "
            f"out, or add --withhold '[{what.name}]'"
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
    if queries.labels in ("none", "natural"):
        return ()
    if queries.labels == "unknown":
        hint = "" if config.conditioned_on else "; name with --conditioned-on what their classes stand for"
        return (f"it is not known how the samples' classes were chosen: the share is that of these samples{hint}",)
    return (f"samples drawn with labels '{queries.labels}': the share is that of this choice, not of the training set",)


def _show(result: Inferred, seconds: float) -> None:
    table = Table(title=f"share of {result.name}: {result.value}", show_header=False)
    interval = f"{100 * result.low:.1f} - {100 * result.high:.1f} %"
    table.add_row("estimate", f"[bold]{100 * result.estimate:.1f} %[/bold]")
    table.add_row(f"{100 * result.level:g} % interval", interval)
    table.add_row("method", result.method)
    table.add_row("counted without correction", f"{100 * result.naive:.1f} %")
    table.add_row("queries", str(result.queries))
    table.add_row("error: sampling", f"+- {100 * result.sampling:.1f} points")
    parts = (("classifier", result.classifier), ("generator", result.drift))
    for name, value in parts:
        table.add_row(f"error: {name}", "not known" if value is None else f"+- {100 * value:.1f} points")
    check = result.assumption
    p_value = "not tested" if check.p_value is None else f"p = {check.p_value:.3f}"
    verdict = "holds" if check.ok else "FAILS" if check.p_value is not None else "not known to hold"
    table.add_row("classifier errs on samples as on real records", f"{verdict} ({p_value})")
    table.add_row("seconds", f"{seconds:.1f}")
    Console().print(table)
    for note in result.notes:
        print(f"note:    {note}")
    if check.p_value is not None and not check.ok and result.drift is None:  # surrogates are the remedy
        print("remedy:  --surrogate (samples of generators of known shares), --degrade, or --widen the interval")
