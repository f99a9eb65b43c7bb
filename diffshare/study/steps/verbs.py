"""The verbs as functions of a step; most are called by way of the command line, whose flags are made here alone."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffshare.audits.protect import protect as draw_protected
from diffshare.classifiers.recipe import Recipe
from diffshare.data.source import Part, Source
from diffshare.receiver.box import open_model
from diffshare.receiver.records import Records
from diffshare.storage import write_json
from diffshare.study.engine.configs import below, built, with_settings
from diffshare.study.engine.step import function_of
from diffshare.study.steps.flags import flags

MAIN = "diffshare.cli:main"  # stands above the studies, so that it is named and not imported
CHECKPOINT = "checkpoints/last.ckpt"  # of a training that was stopped
TRUST = "--trust-code"  # the study itself made that run


def mix(**options: Any) -> None:
    """Choose a training set and write its manifest."""
    _call(["mix", *flags(options)])


def fit(*, run_dir: Path, **options: Any) -> None:
    """Train a model, and release a generator; a training that was stopped goes on."""
    _call(training(run_dir, options))


def fit_and_test(*, runs: Sequence[tuple[Path, int]], **options: Any) -> None:
    """Train and test a classifier.

    Args:
        runs: folder and ``seed_everything`` of each training.
        options: of ``fit``.
    """
    for run_dir, seed in runs:
        fit(run_dir=run_dir, **options, seed_everything=seed)
        _call(["test", *flags({"run_dir": run_dir}), TRUST])


def sample(**options: Any) -> None:
    """Draw samples from a release."""
    _call(["sample", *flags(options)])


def audit(**options: Any) -> None:
    """Audit samples or, ``as`` sharer, a release."""
    _call(["audit", *flags(options)])


def repair(**options: Any) -> None:
    """Repair poisoned samples."""
    _call(["repair", *flags(options)])


def protect(
    *,
    model: Path,
    reference: Mapping[str, Any],
    property: str,
    out: Path,
    report: Path,
    part: Part = "auxiliary",
    split_seed: int = 0,
    **options: Any,
) -> None:
    """Draw samples that show a chosen share of a property.

    Args:
        model: release folder.
        reference: block of the source of labelled records.
        property: whose share is chosen.
        out: samples folder to make, which goes out.
        report: JSON file to make, which stays: ``count`` samples were kept of the ``queries`` that the model was
            asked for.
        part: of the source.
        split_seed: of its parts.
        options: arguments of :func:`diffshare.audits.protect.protect`; dotted ones are settings of the source
            (``reference.count``) or of the recipe that ``classifier`` names (``classifier.steps``).
    """
    source = built(Source, with_settings(reference, below("reference.", options)))
    records = Records.from_source(source, part=part, split_seed=split_seed)
    arguments = {name: value for name, value in options.items() if "." not in name}
    if (recipe := arguments.get("classifier")) is not None:
        block = recipe if isinstance(recipe, Mapping) else {"class_path": recipe}
        block = with_settings(block, below("classifier.", options))
        arguments["classifier"] = built(Recipe, block)
    protected = draw_protected(open_model(model), records, property, **arguments)
    protected.write(out)
    counts = protected.to_json()
    write_json(report, {name: counts[name] for name in ("count", "queries")})


def training(run_dir: Path, options: Mapping[str, Any]) -> list[str]:
    """The command that trains in ``run_dir``, or goes on where a training there was stopped."""
    if (run_dir / CHECKPOINT).is_file():
        return ["fit", *flags({"run_dir": run_dir}), "--resume", TRUST]
    return ["fit", *flags({**options, "trainer.enable_progress_bar": False, "run_dir": run_dir})]


def _call(words: Sequence[str]) -> None:
    status = function_of(MAIN)(words)
    if status:
        sys.exit(status)  # the verb has said why
