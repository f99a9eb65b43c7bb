"""The verbs of the command line as functions of a step: the one place that turns names into flags."""

import contextlib
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffshare.storage import write_json
from diffshare.study.engine.step import function_of
from diffshare.terminal import say

MAIN = "diffshare.cli:main"  # stands above the studies, so that it is named and not imported
CHECKPOINT = "checkpoints/last.ckpt"  # of a training that was stopped
# a flag of Lightning's; those with a dot keep their names as well
UNDERSCORED = ("seed_everything",)
TRUST = "--trust-code"  # the study itself made that run
DRAWN = re.compile(r"\((\d+) of (\d+) that were drawn\)")


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


def protect(*, report: Path, **options: Any) -> None:
    """Draw samples that show a chosen share of a property.

    Args:
        report: JSON file to make: ``count`` samples were kept of the ``queries`` that the model was
            asked for. The samples folder goes out and does not say it, since that would give the
            model's own share away.
        options: of the verb.
    """
    # the verb returns an exit status, so that what it counted is in its output alone
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            _call(["protect", *flags(options)])
    finally:
        say(*said.getvalue().splitlines())
    write_json(report, drawn(said.getvalue()))


def flag(name: str) -> str:
    """The flag of an argument: words are joined by hyphens, but for the names that Lightning's parser makes."""
    return f"--{name if '.' in name or name in UNDERSCORED else name.replace('_', '-')}"


def flags(options: Mapping[str, Any]) -> Iterator[str]:
    """Options by name as the words of a command; each entry of the list ``config`` is a flag of its own."""
    for name, value in options.items():
        for one in value if name == "config" else [value]:
            yield flag(name)
            yield str(one) if isinstance(one, str | Path) else json.dumps(one, sort_keys=True)


def training(run_dir: Path, options: Mapping[str, Any]) -> list[str]:
    """The command that trains in ``run_dir``, or goes on where a training there was stopped."""
    if (run_dir / CHECKPOINT).is_file():
        return ["fit", *flags({"run_dir": run_dir}), "--resume", TRUST]
    return ["fit", *flags({**options, "trainer.enable_progress_bar": False, "run_dir": run_dir})]


def drawn(said: str) -> dict[str, int]:
    """``count`` and ``queries`` of what the verb ``protect`` prints."""
    count, queries = map(int, DRAWN.findall(said)[-1])
    return {"count": count, "queries": queries}


def _call(words: Sequence[str]) -> None:
    status = function_of(MAIN)(words)
    if status:
        sys.exit(status)  # the verb has said why
