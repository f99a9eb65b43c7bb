"""Draws samples of a release that show a chosen share of a property, for a sharer who publishes samples, not the model.

A classifier of the property is trained on labelled records (``--reference``, the source file of ``audit``); of a table
that has the property as a column, the column is read. The samples folder is that of the verb ``sample``; its
``samples.json`` says under ``protections`` what was done.
"""

import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jsonargparse import ArgumentParser, Namespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.classifiers.property import cross_fit  # noqa: E402
from diffshare.classifiers.recipes import NetworkRecipe, Recipe, TreesRecipe  # noqa: E402
from diffshare.commands.configs import with_files  # noqa: E402
from diffshare.commands.failures import explain  # noqa: E402
from diffshare.data.source import Source  # noqa: E402
from diffshare.errors import UserError  # noqa: E402
from diffshare.generators.families import open_generator  # noqa: E402
from diffshare.receiver.property.auxiliary import open_auxiliary  # noqa: E402
from diffshare.receiver.property.inference import asked  # noqa: E402
from diffshare.receiver.property.queries import ModelQueries, recode  # noqa: E402
from diffshare.receiver.property.reading import is_column, reader  # noqa: E402
from diffshare.receiver.sampling import draw_samples  # noqa: E402
from diffshare.release.generator import plan_labels  # noqa: E402
from diffshare.release.samples import write_samples  # noqa: E402
from diffshare.release.table import TableGenerator  # noqa: E402
from diffshare.release.tables import write_table_samples  # noqa: E402
from diffshare.sharer.protection.sampling import (  # noqa: E402
    ClassifierReader,
    ColumnReader,
    PosteriorReader,
    TargetShare,
)
from diffshare.storage import check_new_folder  # noqa: E402


def arguments(given: list[str]) -> tuple[Namespace, Source, Recipe | None]:
    """Parse."""
    parser = ArgumentParser(description=__doc__, exit_on_error=False, allow_abbrev=False)
    add = parser.add_argument
    add("--model", type=Path, required=True, help="Release folder.")
    add("--reference", type=Source, sub_configs=True, required=True, help="YAML file of labelled records.")
    add("--part", type=Literal["auxiliary", "test", "all"], default="auxiliary", help="Part of it to use.")
    add("--property", required=True, help="Attribute of the reference.")
    add("--value", type=str | None, default=None, help="Class whose share is chosen; class 1 of two.")
    add("--share", type=float, required=True, help="Share to show, between 0 and 1, in every class.")
    add("--count", type=int, required=True, help="Number of samples.")
    add("--labels", type=str | None, default=None, help="As for the verb sample.")
    add("--seed", type=int, default=0, help="Of the classifier and the samples.")
    add("--steps", type=int | None, default=None, help="Network calls a sample.")
    add("--guidance", type=float, default=1.0, help="guidance_scale.")
    add("--batch-size", type=int | None, default=None, help="Samples a pass.")
    add("--classifier", type=Recipe | None, default=None, help="How the classifier is trained: a recipe.")
    add("--folds", type=int, default=5, help="Models of it.")
    add("--out", type=Path, required=True, help="Folder to make.")
    add("--overwrite", action="store_true", help="Replace --out where it holds something.")
    config = parser.parse_args(with_files(given, "--reference"))
    built = parser.instantiate(config)
    return config, built.reference, built.classifier


def property_reader(config: Namespace, source: Any, recipe: Recipe | None, queries: ModelQueries) -> PosteriorReader:
    """What reads the property in the model's samples."""
    known = open_auxiliary(source, config.property, config.part)
    what = asked(config.property, known.classes, config.value, 0.95, config.seed)
    if is_column(what.name, queries):
        place = [column.name for column in queries.columns].index(what.name)
        if what.value not in queries.columns[place].categories:
            raise UserError(f"the model never makes '{what.value}' in its column '{what.name}': name another --value")
        return ColumnReader(place, queries.columns[place].categories.index(what.value))
    ready = reader(known, queries, "reference")
    ready(queries.take(0, 1))  # refused before the training
    chosen = recipe or (TreesRecipe() if known.columns else NetworkRecipe())
    options: dict[str, Any] = {"folds": config.folds, "seed": config.seed, "categorical": known.categorical}
    made = cross_fit(known.x, known.labels, known.classes, chosen, **options)
    if known.columns:
        scorers = tuple(lambda x, one=one: one(recode(x, queries.columns, known.columns)) for one in made.scorers)
        made = type(made)(scorers, made.scalings, made.calibration)
    return ClassifierReader(made, what.place)


def draw(given: list[str]) -> None:
    """Train the classifier, draw, write."""
    config, source, recipe = arguments(given)
    check_new_folder(config.out, overwrite=config.overwrite)
    generator, identity = open_generator(config.model)
    wanted = config.labels or ("balanced" if generator.card.labels else "none")
    labels = plan_labels(wanted, config.count, generator.card)
    queries = ModelQueries(generator, wanted, seed=config.seed, steps=config.steps, guidance=config.guidance)
    TargetShare(generator, ColumnReader(0, 0), config.share)  # refuses a share that is none
    box = TargetShare(generator, property_reader(config, source, recipe, queries), config.share)
    started = time.perf_counter()
    x = draw_samples(
        box, labels, seed=config.seed, batch_size=config.batch_size, steps=config.steps, guidance=config.guidance
    )
    info = {
        "labels": wanted,
        "seed": config.seed,
        "steps": config.steps or generator.card.steps,
        "guidance": config.guidance,
        "model": {"name": config.model.resolve().name, "sha256": identity},
        "queries": generator.ledger.queries,
        "seconds": round(time.perf_counter() - started, 3),
        "protections": [f"share of '{config.property[:40]}' shown as {config.share:g} in every class"],
    }
    if isinstance(generator, TableGenerator):
        write_table_samples(config.out, generator.schema, x, info, overwrite=config.overwrite)
    else:
        write_samples(config.out, x, labels.astype(np.int64), info, overwrite=config.overwrite)
    print(f"samples: {config.out} ({config.count} accepted of {generator.ledger.queries} candidates)")


def main(given: list[str]) -> int:
    """Exit status 2 and one line for a mistake of the user, as the verbs have it."""
    try:
        draw(given)
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        print(f"sample_protected: {line}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
