"""The verb ``infer-property``: the share of a property among training records, read off the samples."""

import time
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from diffshare.commands.configs import with_files
from diffshare.commands.door import add_door, named, samples_of, show_records
from diffshare.commands.fields import add_fields, choices
from diffshare.commands.options import (
    add,
    add_recipe,
    changed,
    check_asking,
    check_one,
)
from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.data.source import Source
from diffshare.errors import UserError, check_number, check_seed, one_of
from diffshare.receiver.choices import choose
from diffshare.receiver.door import look_at
from diffshare.receiver.property.inference import AUTO, Inferred, asked
from diffshare.receiver.property.options import Options
from diffshare.receiver.property.queries import Queries
from diffshare.receiver.sampling import check_guidance
from diffshare.stats.prevalence import NAMES
from diffshare.storage import check_new_file, check_new_folder, write_result
from diffshare.terminal import say

ZERO_SHOT, SCHEMA = "zero-shot", "schema"
DRAWING = ("labels", "steps", "guidance", "batch_size")
# of a classifier that is trained
TRAINED = ("auxiliary", "degrade", "withhold", "manifest", "classifier", "surrogate", "widen")
# what a schema, which is read as it is, has no use for
OF_SAMPLES = (
    *TRAINED, "clip", "prompts", "label_sheet", "labelled", "queries", "width", "labels", "steps", "batch_size",
    "conditioned_on",
)  # fmt: skip
PROPERTY_HELP = (
    "Attribute of the auxiliary source; with zero-shot any name; with schema a column or age>=40."
)
AUXILIARY_HELP = (
    "YAML file of the auxiliary source; the class that it names is imported, which runs its code."
)
LABELS_HELP = "As for the verb sample: natural, none, balanced, a class. Natural where the card declares it, else none."


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``infer-property``."""
    verb = verb_parser(
        "infer-property",
        "Infer the share of a property in a model's training set from its samples, with an interval.",
        "synthetic.csv --against holdout.csv --property relationship=Husband --json property.json",
    )
    first, optional = verb.first, {"required": False, "default": None}
    first.add_argument("--property", required=True, help=PROPERTY_HELP)
    add_fields(first, Options, "value")
    add(first, "--model", type=Path | None, help="Release folder, asked for samples.", **optional)
    add(first, "--samples")
    add(first, "--auxiliary", help=AUXILIARY_HELP)
    add_fields(first, Options, "queries")
    methods = f"One of {', '.join(NAMES)}, {ZERO_SHOT}, {SCHEMA}; pacc where left out."
    add_fields(first, Options, "method", type=str | None, help=methods)
    add_fields(first, Options, "level")
    add(first, "--json")
    drawing = verb.add_argument_group("how a model is asked")
    add_fields(drawing, Options, "width")
    add(drawing, "--labels", help=LABELS_HELP)
    add(drawing, "--steps", "--guidance", "--batch-size", "--device")
    add_fields(drawing, Options, "conditioned_on")
    trained = verb.add_argument_group("the records and the classifier of the property")
    add(trained, "--part", help="Part of the auxiliary source to use.")
    add(trained, "--seed", help="Of the classifier's training, the samples and the resampling.")
    add(trained, "--split-seed", "--manifest")
    add_recipe(trained, "--classifier", arguments, "How to train: class_path of a recipe.")
    add_fields(trained, Options, "folds", "degrade", "withhold")
    remedies = verb.add_argument_group("where the classifier may err on samples")
    add_fields(remedies, Options, "surrogate", "surrogate_p", "widen", "labelled")
    sheet = "Write a picture and a CSV to fill in; infer nothing."
    remedies.add_argument("--label-sheet", type=Path | None, default=None, help=sheet)
    remedies.add_argument("--label-count", type=int, default=100, help="Samples on the sheet.")
    add(remedies, "--overwrite", help="Replace --label-sheet where it holds something.")
    add_door(verb, labels=False)
    bare = verb.add_argument_group("without records")
    folders = "Zero-shot: folder or hub name of a CLIP or SigLIP model."
    bare.add_argument("--clip", type=str | None, default=None, help=folders)
    sentences = "Zero-shot: a sentence a class, the asked-for first; | joins."
    bare.add_argument("--prompts", type=str, nargs="+", default=[], help=sentences)
    return verb


def parse(arguments: list[str]) -> tuple[Namespace, Options, Source | None]:
    """Parse and check.

    Returns:
        the arguments, the choices of the inference, and the auxiliary source; None where not given.

    Raises:
        UserError: an argument that is none, or two that do not go together.
    """
    verb = parser(arguments)
    config = verb.parse_args(with_files(named(arguments, "--auxiliary"), "--auxiliary"))
    if config.method not in (None, SCHEMA, ZERO_SHOT, *NAMES):
        raise one_of("method", config.method, (*NAMES, ZERO_SHOT, SCHEMA))
    check_guidance(config.guidance)
    check_one(config)
    # of images that nobody drew for this, --labels is a table
    there = config.samples is not None and config.samples.exists()
    own = there and look_at(config.samples) != "samples"
    drawing = DRAWING[1:] if own else DRAWING
    if config.samples is not None and (given := changed(config, verb, drawing)):
        raise UserError(
            f"{given[0]} is for --model: the samples of {config.samples} are drawn already; leave it out"
        )
    counts = config.method in (SCHEMA, ZERO_SHOT)
    if counts or config.clip is not None or config.prompts:
        _check_counting(config, verb)
    chosen = choices(Options, config)
    options = choose(Options, chosen | ({"method": "cc"} if counts else {}))
    if config.labelled is not None and config.label_sheet is not None:
        raise UserError(
            "--label-sheet writes a table to fill in, --labelled reads it: give one of them"
        )
    if not counts and config.label_sheet is None and config.auxiliary is None:
        raise UserError(
            "give --auxiliary FILE (labelled records), or --method zero-shot with --clip and --prompts"
        )
    check_seed("--split-seed", config.split_seed)
    check_number("--label-count", config.label_count, 1)
    if config.json is not None:
        check_new_file(config.json, Inferred.FIELDS)
    check_asking(config)
    built = verb.instantiate(config)
    return (
        config,
        choose(Options, vars(options) | {"classifier": built.classifier}),
        built.auxiliary,
    )


def _check_counting(config: Namespace, verb: VerbParser) -> None:
    """Refuse what does not go together with a method that trains no classifier, or with the words of one."""
    if config.method == SCHEMA:
        if config.model is None:
            raise UserError(
                "--method schema reads the schema of a release: name it with --model instead of --samples"
            )
        if given := changed(config, verb, OF_SAMPLES):
            raise UserError(
                f"{given[0]} is for reading samples, --method schema draws none: leave it out"
            )
        return
    if config.label_sheet is not None:
        return
    if config.method != ZERO_SHOT:
        raise UserError(
            "--clip and --prompts are for --method zero-shot: add it, or leave them out"
        )
    if config.clip is None or not config.prompts:
        raise UserError(
            "--method zero-shot needs --clip FOLDER and --prompts with a sentence for each class"
        )
    if given := changed(config, verb, (*TRAINED, "value")):
        raise UserError(
            f"{given[0]} is for a trained classifier, --method zero-shot has none: leave it out"
        )
    if config.queries == AUTO:
        raise UserError(
            "--queries auto needs a classifier whose errors are known: give a number of queries"
        )


def infer_property(arguments: list[str]) -> int:
    """Infer the share of a property from samples of a model."""
    config, options, source = parse(arguments)
    started = time.perf_counter()

    from diffshare.commands.infer_table import show

    if config.method == SCHEMA:
        result = _told(config)
    else:
        queries = _queries(config, options, source)
        if config.label_sheet is not None:
            return _label_sheet(config, options, queries, source)
        result = _read(config, options, queries, source)
    seconds = time.perf_counter() - started
    if config.json is not None:
        write_result(config.json, result.to_json(seconds), Inferred.FIELDS)
    show(result, seconds)
    return 0


def _told(config: Namespace) -> Inferred:
    """What the release's schema says by itself."""
    from diffshare.receiver.property.told import infer_told
    from diffshare.release.folder import open_release
    from diffshare.release.table import load_schema

    release = open_release(config.model)
    if release.card.modality != "table":
        raise UserError(
            f"{config.model} makes images, which have no schema: infer the property from samples"
        )
    return infer_told(load_schema(release), config.property, config.value, config.level)


def _queries(config: Namespace, options: Options, source: Source | None) -> Any:
    from diffshare.generators.families import open_generator
    from diffshare.receiver.property.queries import ModelQueries, SampleQueries
    from diffshare.receiver.samples import Samples

    if config.model is not None:
        generator, _ = open_generator(config.model, device=config.device)
        asking = {name: config[name] for name in ("seed", "steps", "guidance", "batch_size")}
        return ModelQueries(generator, config.labels, **asking)
    if source is not None and config.label_sheet is None:
        return samples_of(config)
    table: Any = source if source is not None and source.modality == "table" else None
    kinds = None if table is None else {column.name: column.kind for column in table.columns}
    samples = SampleQueries(
        Samples.from_path(config.samples), kinds, getattr(source, "missing", "?")
    )
    if options.queries == AUTO or options.count_of(samples) != samples.available:
        samples.shuffle(options.seed)
    return samples


def _read(config: Namespace, options: Options, queries: Any, source: Source | None) -> Inferred:
    from diffshare.receiver.property.infer import infer_property, zero_shot_share
    from diffshare.receiver.records import Records

    if source is None:
        return zero_shot_share(
            queries,
            config.property,
            clip=config.clip,
            prompts=config.prompts,
            count=options.count_of(queries),
            level=options.level,
            seed=options.seed,
            conditioned_on=options.conditioned_on,
            labels=options.labelled,
        )
    show_records(source, "records")
    records = Records.from_source(
        source, part=config.part, split_seed=config.split_seed, manifest=config.manifest
    )
    return infer_property(queries, records, config.property, options=options)


def _label_sheet(
    config: Namespace, options: Options, queries: Queries, source: Source | None
) -> int:
    from diffshare.receiver.labelling import LABELS, LAYOUT, SHEET, write_sheet
    from diffshare.receiver.property.infer import refuse_rows

    # what a 1 stands for: the class whose share is asked for
    name, value = config.property, config.value
    if source is not None:
        classes = source.index().attribute(name).classes
        value = asked(name, classes, value, options.level, options.seed).value
    meant = name if value in (None, name) else f"{name}: {value}"
    folder = config.label_sheet
    check_new_folder(folder, LAYOUT, overwrite=config.overwrite)
    x = queries.take(0, options.count_of(queries))
    refuse_rows(queries, "a label sheet")
    numbers = queries.numbers(len(x))
    write_sheet(
        folder, x, config.label_count, options.seed, numbers=numbers, overwrite=config.overwrite
    )
    say(
        f"sheet:   {folder / SHEET}",
        f"labels:  {folder / LABELS} (fill in 1 where a sample has '{meant}', else 0; then add --labelled to the same "
        "command without --label-sheet)",
    )
    return 0
