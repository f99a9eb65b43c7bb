#!/usr/bin/env python3
"""The command line with a fault at a chosen point: what check_resume.py and the tests break runs with.

    python scripts/faults.py batch:7:kill fit --config configs/ddpm_faces.yaml --run-dir run

A fault is WHERE:NUMBER:HOW. WHERE is ``batch`` (number of the training batch, from 0, before its backward pass),
``validation`` (number of its batch, from 1 in this process), ``write`` (of a checkpoint, from 1 in this process, when
half of it is written), ``release`` (when its networks are written) or ``replace`` (of a folder that another takes the
place of, from 1 in this process, between the two renames). HOW is ``kill`` (SIGKILL), ``int`` (Ctrl-C), ``term``
(SIGTERM), ``hup`` (SIGHUP), ``group`` (SIGTERM to the process and all that it started), ``full`` (no space left on the
device), ``error`` (an exception that nobody foresaw) or ``slow`` (five seconds of waiting). Processes are real and so
are their signals; nothing else of the program is changed.

``serve`` in place of a fault reads requests from standard input. It imports the libraries once and forks a process for
each run, which saves some seconds a run.
"""

import errno
import io
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


SIGNALS = {
    "kill": signal.SIGKILL,
    "int": signal.SIGINT,
    "term": signal.SIGTERM,
    "hup": signal.SIGHUP,
}
LIMIT = 240  # seconds after which a forked run that hangs is ended by SIGALRM


def strike(how: str) -> None:
    """Let the fault happen now, to this process."""
    if how in SIGNALS:
        os.kill(os.getpid(), SIGNALS[how])
    elif how == "group":
        os.killpg(0, signal.SIGTERM)
    elif how == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    elif how == "error":
        raise RuntimeError("a fault that nobody foresaw")
    elif how == "slow":
        time.sleep(5)
    else:
        raise ValueError(f"unknown fault '{how}'")


def arm(fault: str) -> None:
    """Make ``fault`` (WHERE:NUMBER:HOW) happen in this process."""
    import torch

    from diffshare.generators.ddpm import DDPM
    from diffshare.training import checkpoint
    from diffshare.training.watch import NonFiniteStop

    where, text, how = fault.split(":")
    number, calls = int(text), 0

    def counted(action: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any) -> None:
            nonlocal calls
            calls += 1
            action(*args, calls == number)

        return call

    def write(state: Any, path: Path, now: bool) -> None:
        buffer = io.BytesIO()
        torch_save(state, buffer)
        content = buffer.getvalue()
        with open(path, "wb") as stream:
            stream.write(content[: len(content) // 2])
            stream.flush()
            if now:
                strike(how)
            stream.write(content[len(content) // 2 :])

    def before(original: Callable[..., None]) -> Callable[..., None]:
        return counted(lambda *args: (strike(how) if args[-1] else None, original(*args[:-1]))[1])

    if where == "batch":
        look = NonFiniteStop.on_before_backward

        def on_batch(self: NonFiniteStop, trainer: Any, module: Any, loss: Any) -> None:
            if trainer.fit_loop.total_batch_idx == number:
                strike(how)
            look(self, trainer, module, loss)

        NonFiniteStop.on_before_backward = on_batch  # type: ignore[method-assign]
    elif where == "write":
        torch_save = torch.save
        checkpoint.torch = _With(torch, save=counted(write))  # type: ignore[assignment]
    elif where == "validation":
        DDPM.validation_step = before(DDPM.validation_step)  # type: ignore[method-assign]
    elif where == "release":
        save = DDPM.save_parts

        def on_release(self: DDPM, folder: Path) -> None:
            save(self, folder)
            strike(how)

        DDPM.save_parts = on_release  # type: ignore[method-assign]
    elif where == "replace":
        rename = Path.rename

        def on_rename(self: Path, target: Path) -> Path:
            nonlocal calls
            moved = rename(self, target)
            calls += str(target).endswith(".old")
            if str(target).endswith(".old") and calls == number:
                strike(how)
            return moved

        Path.rename = on_rename  # type: ignore[method-assign]
    else:
        raise ValueError(f"unknown place '{where}'")


class _With:
    """A module with some of its names replaced."""

    def __init__(self, module: Any, **names: Any) -> None:
        self._module = module
        vars(self).update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def warm_up() -> None:
    """Import what a run needs. Nothing is computed: a process with threads of its own must not be forked."""
    import diffusers  # noqa: F401
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel  # noqa: F401
    from torch.utils.tensorboard import SummaryWriter  # noqa: F401

    import diffshare.commands.training
    import diffshare.data.rendered
    import diffshare.generators.preview  # noqa: F401


def fork(
    arguments: Sequence[str],
    log: Path,
    *,
    faults: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> int:
    """Run ``diffshare ARGUMENTS`` in a process of its own, its output in ``log``.

    Returns:
        the process id.
    """
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.setpgrp()  # a signal to the group is for this run alone
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # whoever called may ignore one of them (nohup)
        for signum in (
            signal.SIGTERM,
            signal.SIGHUP,
        ):
            signal.signal(signum, signal.SIG_DFL)
        signal.alarm(LIMIT)
        os.environ.update(env or {})
        sys.argv = ["diffshare", *arguments]
        status = _main(arguments, faults)
    except KeyboardInterrupt:  # before the command line listens
        status = 130
    finally:  # no exit handlers: those of the parent would remove the parent's files
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _main(arguments: Sequence[str], faults: Sequence[str]) -> int:
    from diffshare.cli import main

    for fault in faults:
        arm(fault)
    return main(arguments)


def serve() -> None:
    """For each line of standard input, a JSON list of processes, run them at once and answer their outcomes.

    A process is ``{"arguments": [...], "faults": [...], "env": {...}}``; an outcome is its exit status (negative: ended
    by that signal) and its output.
    """
    warm_up()
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as name:
            wanted = json.loads(line)
            logs = [Path(name, str(i)) for i in range(len(wanted))]
            processes = [
                fork(p["arguments"], log, faults=p.get("faults", ()), env=p.get("env"))
                for p, log in zip(wanted, logs, strict=True)
            ]
            statuses = [
                os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes
            ]
            outcomes = [
                {"status": s, "output": log.read_text()}
                for s, log in zip(statuses, logs, strict=True)
            ]
        print(json.dumps(outcomes), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve()
    else:
        sys.exit(_main(sys.argv[2:], sys.argv[1].split(",")))
