"""Carries out ``protect``: calls the library, writes the samples folder and shows what came of it."""

from jsonargparse import Namespace

from diffshare.audits.protect import protect as draw_protected
from diffshare.classifiers.recipe import Recipe
from diffshare.commands.flags import say_each
from diffshare.commands.formulas import formula_notes, refuse_escape
from diffshare.data.source import Source
from diffshare.receiver.box import open_model
from diffshare.receiver.records import Records
from diffshare.release.table import TableGenerator
from diffshare.terminal import say

OPTIONS = ("share", "count", "value", "method", "guide_scale", "folds", "labels", "seed", "steps",
           "guidance", "batch_size")  # fmt: skip


def protect(config: Namespace, source: Source, recipe: Recipe | None) -> int:
    """Draw samples of a model that show a chosen share of a property.

    Args:
        config: the arguments.
        source: of the reference.
        recipe: of the classifier; None where not given.
    """
    box = open_model(config.model)
    refuse_escape(config.escape_formulas, box.generator)
    records = Records.from_source(source, part=config.part, split_seed=config.split_seed)
    say(f"records: {records.used}")
    options = {name: config[name] for name in OPTIONS}
    protected = draw_protected(box, records, config.property, classifier=recipe, **options)
    protected.write(config.out, overwrite=config.overwrite, escape=config.escape_formulas)
    say_each("note", *protected.notes)
    if isinstance(box.generator, TableGenerator):
        say_each("note", *formula_notes(config.escape_formulas, box.generator))
    say(f"samples: {config.out} ({config.count} of {protected.queries} that were drawn)")
    if config.method == "guide":
        say(
            "note:    guidance may fail: read the share with other records (infer-property), or change --guide-scale"
        )
    return 0
