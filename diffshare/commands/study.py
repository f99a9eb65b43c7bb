"""The verb ``study``: a grid of whole experiments, with tables and figures."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ActionConfigFile, Namespace
from rich.console import Console

from diffshare.commands.configs import with_configs
from diffshare.commands.flags import in_flags
from diffshare.commands.parsing import VerbParser, add_class, verb_parser, without
from diffshare.commands.study_progress import StudyProgress
from diffshare.errors import check_number
from diffshare.settings import load_yaml
from diffshare.signals import Terminated
from diffshare.study.engine.base import Study
from diffshare.study.engine.local import LocalRunner
from diffshare.study.engine.run import StudyResult, run_study
from diffshare.terminal import console, say

WIDTH = 160  # columns of a table that goes to a file or a pipe, where rich would assume 80
STUDY_HELP = (
    "The study: --study.KEY VALUE changes one of its settings, such as --study.seeds [0,1,2]; --study.help CLASS "
    "explains those of a class."
)


def parser(arguments: Sequence[str], base: type | None = None) -> VerbParser:
    """The parser of ``study``.

    Args:
        arguments: that will be parsed.
        base: what the study is an instance of; None for a parser that imports no class.
    """
    verb = verb_parser(
        "study",
        "Run a grid of whole experiments; results, tables and figures are left in --out.",
        "--config study/families --out lightning_logs/study/families --workers 2",
    )
    add = verb.first.add_argument
    add("-c", "--config", action=ActionConfigFile, help="Config of the study; several merge.")
    add("--out", type=Path, required=True, help="Folder of the study.")
    add("--workers", type=int, default=1, help="Steps at once, each in a process of its own.")
    add(
        "--threads",
        type=int | None,
        default=None,
        help="Threads of each; cores / workers where left out.",
    )
    add(
        "--resume",
        action="store_true",
        help="Go on with the study in --out: what is done is not done again.",
    )
    add_class(verb, "study", base, arguments, STUDY_HELP)
    return verb


def parse(arguments: list[str]) -> Namespace:
    """Parse and check all but the study, whose class is not imported."""
    config = parser(arguments).parse_args(
        without(with_configs(arguments), ("study", "print_config"))
    )
    for name in ("workers", "threads"):
        check_number(f"--{name}", config[name], 1)
    return config


def study(arguments: list[str]) -> int:
    """Run a study, or go on with one.

    Returns:
        exit status: 0 done, 1 where a step failed, 130 where Ctrl-C stopped it, 143 where SIGTERM or SIGHUP did.
    """
    plain = parse(arguments)
    runner = LocalRunner(plain.workers, plain.threads)
    typed = parser(arguments, Study)
    config = typed.parse_args(with_configs(arguments))
    dumped = load_yaml(typed.dump(config, skip_validation=True), aliases=True)
    built: Study = typed.instantiate(config).study
    record = {"config": dumped["study"], "command": shlex.join(["diffshare", "study", *arguments])}
    shown = console(file=sys.stdout)
    try:
        result = run_study(
            built,
            config.out,
            runner=runner,
            record=record,
            resume=config.resume,
            watcher=StudyProgress(shown),
        )
    except KeyboardInterrupt as stop:
        again = [a for a in arguments if a != "--resume"]
        say(
            "",
            f"stopped; to go on: {shlex.join(['diffshare', 'study', *again, '--resume'])}",
        )
        return 143 if isinstance(stop, Terminated) else 130
    _show(result, shown)
    return 1 if result.failures else 0


def _show(result: StudyResult, shown: Console) -> None:
    """The tables, where the results lie, and which steps failed."""
    wide = shown if shown.is_terminal else console(file=shown.file, width=WIDTH)
    for table in result.tables:
        wide.print(table)
    lines = [f"results: {result.folder / 'results.json'}"]
    for line in (*lines, *(f"figure:  {path}" for path in result.figures)):
        shown.print(line, soft_wrap=True, highlight=False)
    for failure in result.failures:
        say(
            f"diffshare: step '{failure.step}' failed: {in_flags(failure.reason)} (log: {failure.log}); "
            "the other results are written, --resume tries it again",
            error=True,
        )
