"""The command line: one entry for every verb. Nothing heavy is imported until a verb needs it."""

import importlib
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence

from diffshare.signals import exit_status, name_of, stoppable
from diffshare.terminal import plain_warnings, say, say_traceback

VERBS = {
    "fit": "train a model; a generator is released at the end",
    "validate": "loss on validation records",
    "test": "measure on test records",
    "predict": "draw samples with a trained model, on as many devices as it was trained on",
    "release": "make a release folder of a checkpoint",
    "sample": "draw samples from a release, as a black box",
    "mix": "choose a training set and write its manifest",
    "study": "run a grid of whole experiments, with tables and figures",
    "infer-property": "read the share of a property off samples, with an interval",
    "audit": "tell a poisoned model from a clean one; what a release leaks",
    "leak": "tell what a release gives away, before it goes out",
    "repair": "undo an association of group and class in samples, by weights or by choice",
    "protect": "draw samples that show a chosen share of a property",
    "configs": "the configs that come with diffshare: list, show, copy",
    "cache": "what lies decoded on this machine: list it, clear it, limit it",
}
# modules that are not called as the verb
ARGUMENTS = {"protect": "protect_arguments", "configs": "packaged"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: arguments without the program's name; ``sys.argv`` where None.

    Returns:
        exit status: 0 done; 2 a mistake of the user, told in one line on stderr; 130 stopped by Ctrl-C, 143 by SIGTERM
        or SIGHUP.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # one of several: torch's C++ side would report a lost connection in 30 lines
    if "LOCAL_RANK" in os.environ:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    if not arguments or arguments[0] in ("-h", "--help"):
        say(*_overview())
        return 0
    if arguments[0] == "--version":
        from diffshare import __version__

        say(f"diffshare {__version__}")
        return 0
    verb, *rest = map(_at_home, arguments)
    if verb not in VERBS:
        return _refuse(f"unknown verb '{verb}': choose one of {', '.join(VERBS)}")
    return _guarded(lambda: _run(verb, rest), debug)


def _at_home(argument: str) -> str:
    """An argument with the home folder in place of ``~``: shells put it in after a blank, not after ``=``."""
    option, equals, value = (
        argument.partition("=") if argument.startswith("--") else ("", "", argument)
    )
    return (
        option + equals + os.path.expanduser(value)
        if re.match(r"~[\w.-]*(/|$)", value)
        else argument
    )


def _run(verb: str, arguments: list[str]) -> int:
    from diffshare.commands import progress
    from diffshare.commands.configs import check_configs, read_plainly, with_sources

    progress.begin()  # of this verb alone: who calls the library is told nothing
    read_plainly()
    arguments = with_sources(arguments)
    if verb != "configs":  # which shows them as they are
        check_configs(arguments)
    if verb in ("fit", "validate", "test", "predict"):
        from diffshare.commands.training import run

        return run(verb, arguments)
    name = verb.replace("-", "_")
    module = importlib.import_module(f"diffshare.commands.{ARGUMENTS.get(verb, name)}")
    return int(getattr(module, name)(arguments))


def _guarded(action: Callable[[], int], debug: bool) -> int:
    """Run ``action``; a mistake of the user becomes one line and status 2."""
    with stoppable() as came:
        try:
            with plain_warnings():
                status = action()
            return _stopped(came) if came and not status else status  # a library swallowed the stop
        except SystemExit as stop:
            # Lightning makes this of it; or a library swallowed it before the help was printed
            if came or isinstance(stop.__context__, KeyboardInterrupt):
                return _stopped(came)
            return stop.code if isinstance(stop.code, int) else 1  # --help of the parsers
        except KeyboardInterrupt:
            return _stopped(came)
        except Exception as error:
            # an import that is stopped raises anything
            return _stopped(came) if came else _failed(error, debug)
        finally:
            # a process that a launcher started keeps the folder it was given
            if "LOCAL_RANK" not in os.environ:
                os.environ.pop("DIFFSHARE_RUN_DIR", None)


def _stopped(came: list[int]) -> int:
    signum = came[-1] if came else signal.SIGINT
    return _refuse(f"stopped by {name_of(signum)}", exit_status(signum))


def _failed(error: Exception, debug: bool) -> int:
    from diffshare.commands.failures import explain, lost

    line = explain(error)
    if debug or line is None:
        say_traceback()
    if line is None:
        return 1
    return _refuse(line, 1 if lost(error) else 2, error)


def _refuse(line: str, status: int = 2, error: Exception | None = None) -> int:
    who = ""
    # one of several processes: one of them speaks
    if os.environ.keys() & {
        "LOCAL_RANK",
        "SLURM_PROCID",
    }:
        from diffshare.training.processes import name, speaks

        if not speaks(error):
            return status
        who = name()
    say(f"diffshare: {who}{line}", error=True)
    return status


def _overview() -> list[str]:
    lines = ["usage: diffshare VERB [options]    (VERB --help explains each)", ""]
    lines += [f"  {verb:14} {text}" for verb, text in VERBS.items()]
    lines += ["", "  --debug    show the traceback of an error", "  --version  show the version"]
    return lines


if __name__ == "__main__":
    sys.exit(main())
