"""The work of ``infer-property``: the share of a property among training records, read off the samples."""

import time
from dataclasses import fields
from typing import Any

from jsonargparse import Namespace
from rich.table import Table

from diffshare.classifiers.recipe import Recipe
from diffshare.commands.flags import say_each
from diffshare.commands.infer_arguments import SCHEMA, ZERO_SHOT
from diffshare.errors import UserError
from diffshare.generators.families import open_generator
from diffshare.receiver.choices import choose
from diffshare.receiver.labelling import LABELS, LAYOUT, SHEET, write_sheet
from diffshare.receiver.property.infer import AUTO, refuse_rows, zero_shot_share
from diffshare.receiver.property.infer import infer_property as infer
from diffshare.receiver.property.inference import ALIKE, Inferred, asked
from diffshare.receiver.property.options import MODEL_QUERIES, Options
from diffshare.receiver.property.queries import ModelQueries, Queries, SampleQueries
from diffshare.receiver.property.told import infer_told
from diffshare.receiver.records import Records
from diffshare.receiver.samples import Samples
from diffshare.release.folder import open_release
from diffshare.release.table import load_schema
from diffshare.stats.intervals import check_level
from diffshare.storage import check_new_folder, write_result
from diffshare.terminal import cell_text, console, say


def infer_property(config: Namespace, source: Any, recipe: Any) -> int:
    """Infer the share of a property from samples of a model.

    Args:
        config: the arguments.
        source: of the auxiliary records; None where not given.
        recipe: of the classifier; None where not given.
    """
    started = time.perf_counter()
    if config.method == SCHEMA:
        return _finish(config, _told(config), started)
    queries = _queries(config, source)
    if config.label_sheet is not None:
        return _label_sheet(config, queries, _asked_for(config, source))
    if config.method == ZERO_SHOT:
        return _finish(config, _zero_shot(config, queries), started)
    assert source is not None  # the arguments were checked
    records = Records.from_source(
        source, part=config.part, split_seed=config.split_seed, manifest=config.manifest
    )
    return _finish(
        config, infer(queries, records, config.property, options=_options(config, recipe)), started
    )


def _options(config: Namespace, recipe: Recipe | None) -> Options:
    chosen = {field.name: config[field.name] for field in fields(Options)}
    count = config.queries if config.queries in (None, AUTO) else int(config.queries)
    return choose(Options, chosen | {"classifier": recipe, "queries": count})


def _finish(config: Namespace, result: Inferred, started: float) -> int:
    seconds = time.perf_counter() - started
    if config.json is not None:
        write_result(config.json, result.to_json(seconds), Inferred.FIELDS)
    _show(result, seconds)
    return 0


def _told(config: Namespace) -> Inferred:
    """What the release's schema says by itself."""
    check_level(config.level)
    release = open_release(config.model)
    if release.card.modality != "table":
        raise UserError(
            f"{config.model} makes images, which have no schema: infer the property from samples"
        )
    return infer_told(load_schema(release), config.property, config.value, config.level)


def _queries(config: Namespace, source: Any) -> Queries:
    if config.samples is not None:
        table = source is not None and source.modality == "table"
        kinds = {column.name: column.kind for column in source.columns} if table else None
        samples = SampleQueries(
            Samples.from_path(config.samples), kinds, getattr(source, "missing", "?")
        )
        if config.queries == AUTO or _count(config, samples) != samples.available:
            samples.shuffle(config.seed)
        return samples
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
        value = asked(
            name, source.index().attribute(name).classes, value, config.level, config.seed
        ).value
    return name if value in (None, name) else f"{name}: {value}"


def _label_sheet(config: Namespace, queries: Queries, asked_for: str) -> int:
    check_new_folder(config.label_sheet, LAYOUT, overwrite=config.overwrite)
    x = queries.take(0, _count(config, queries))
    refuse_rows(queries, "a label sheet")
    options = {"numbers": queries.numbers(len(x)), "overwrite": config.overwrite}
    write_sheet(config.label_sheet, x, config.label_count, config.seed, **options)
    say(
        f"sheet:   {config.label_sheet / SHEET}",
        f"labels:  {config.label_sheet / LABELS} (fill in 1 where a sample has "
        f"'{asked_for}', else 0; then add --labelled to the same command without --label-sheet)",
    )
    return 0


def _zero_shot(config: Namespace, queries: Queries) -> Inferred:
    return zero_shot_share(
        queries,
        config.property,
        clip=config.clip,
        prompts=config.prompts,
        count=_count(config, queries),
        level=config.level,
        seed=config.seed,
        conditioned_on=config.conditioned_on,
        labels=config.labelled,
    )


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
    estimate, interval = (
        f"{100 * result.estimate:.1f} %",
        f"{100 * result.low:.1f} - {100 * result.high:.1f} %",
    )
    table.add_row(
        "estimate", f"{estimate}, doubtful" if result.fails else f"[bold]{estimate}[/bold]"
    )
    table.add_row(f"{100 * result.level:g} % interval", interval)
    table.add_row("which assumes that", result.assumes or "the samples are drawn alike")
    table.add_row("method", result.method)
    table.add_row("counted without correction", f"{100 * result.naive:.1f} %")
    table.add_row("queries", str(result.queries))
    table.add_row("error: sampling", f"+- {100 * result.sampling:.1f} points")
    parts = (("classifier", result.classifier), ("generator", result.drift))
    for name, value in parts:
        table.add_row(
            f"error: {name}", "not known" if value is None else f"+- {100 * value:.1f} points"
        )
    table.add_row("seconds", f"{seconds:.1f}")
    console().print(table)
    say_each("note", *result.notes)
    if result.fails:
        say(
            "remedy:  --surrogate (samples of generators of known shares), --degrade, or --widen the interval"
        )


def _checked(result: Inferred) -> str:
    """What the check says, and whether the interval rests on it."""
    check = result.assumption
    if check.p_value is None:
        return "none is needed" if check.ok else "[bold red]nothing can be tested[/]"
    said = "passes" if check.ok else "[bold red]FAILS[/]"
    return f"{said} (p = {check.p_value:.3f})" + (
        "" if result.assumes == ALIKE else ", not relied on"
    )
