"""The verb ``study``: a grid of whole experiments, with tables and figures."""

import shlex
import sys
from pathlib import Path

from jsonargparse import ActionConfigFile, ArgumentParser

from diffshare.settings import load_yaml
from diffshare.signals import Terminated
from diffshare.study.engine.base import Study
from diffshare.study.engine.local import LocalRunner
from diffshare.study.engine.run import run_study
from diffshare.terminal import console, say


def study(arguments: list[str]) -> int:
    """Run a study, or go on with one.

    Returns:
        exit status: 0 done, 1 where a step failed, 130 where Ctrl-C stopped it, 143 where SIGTERM or SIGHUP did.
    """
    parser = ArgumentParser(
        prog="diffshare study",
        description="Run a grid of whole experiments; results, tables and figures are left in --out.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="Config of the study; several merge.")
    parser.add_subclass_arguments(Study, "study", required=True)
    parser.add_argument("--out", type=Path, required=True, help="Folder of the study.")
    parser.add_argument("--workers", type=int, default=1, help="Steps at once, each in a process of its own.")
    parser.add_argument("--threads", type=int | None, default=None, help="Threads of each; by default cores / workers.")
    parser.add_argument(
        "--resume", action="store_true", help="Go on with the study in --out: what is done is not done again."
    )
    config = parser.parse_args(arguments)
    dumped = load_yaml(parser.dump(config, skip_validation=True), aliases=True)
    built: Study = parser.instantiate(config).study
    runner = LocalRunner(config.workers, config.threads)
    record = {"config": dumped["study"], "command": shlex.join(["diffshare", "study", *arguments])}
    try:
        failures = run_study(built, config.out, runner, record, resume=config.resume, console=console(file=sys.stdout))
    except KeyboardInterrupt as stop:
        again = [a for a in arguments if a != "--resume"]
        say("", f"stopped; to go on: {shlex.join(['python', '-m', 'diffshare.cli', 'study', *again, '--resume'])}")
        return 143 if isinstance(stop, Terminated) else 130
    for failure in failures:
        say(
            f"diffshare: step '{failure.step}' failed: {failure.reason} (log: {failure.log}); "
            "the other results are written, --resume tries it again",
            error=True,
        )
    return 1 if failures else 0
