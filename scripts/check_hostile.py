#!/usr/bin/env python3
"""Mutate what comes from somebody else and open it: a clean refusal or a correct load, nothing else may happen.

    python scripts/check_hostile.py --examples 6000 --seed 0 --json docs/results/hostile.json

Releases (of one family more closely, of all), samples of images and of tables, audits' files, declarations, manifests
and checkpoints. Exit status 1 if anything else happened: another exception, a message of more than a line, a wrong
load, a file opened outside the folder, a file written, a process or a connection, an unpickled object, an import of
what lies about, memory above the stated bound. Each example is a function of (seed, its number) alone:
``--first N --examples 1`` repeats number N. The short form of it is tests/release/test_fuzz.py.
"""

import argparse
import contextlib
import os
import platform
import random
import shutil
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import safetensors
import torch
from hostile_mutations import files_of
from hostile_originals import make_originals
from hostile_uses import KINDS

from diffshare.commands.failures import explain
from diffshare.errors import UserError
from diffshare.storage import write_json
from diffshare.terminal import LONGEST, printable

OUTCOMES = ("refused", "loaded", "failed")


class Watch:
    """Notes, through Python's audit events, whatever opening a folder must not do. One for a process."""

    FORBIDDEN = ("pickle.find_class", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.",
                 "os.remove", "os.rename", "os.mkdir", "os.link", "os.symlink", "urllib", "ctypes.dlopen")  # fmt: skip

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.reads = False
        self.events: list[str] = []
        self.libraries = tuple({sys.prefix, sys.base_prefix, str(Path(torch.__file__).parents[1])})
        self.own = str(Path(__file__).parents[1] / "diffshare")
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event.startswith(self.FORBIDDEN):
            self.events.append(event)
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.fsdecode(arguments[0])
            flags = arguments[2] if len(arguments) > 2 and isinstance(arguments[2], int) else 0
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if not writes and path.startswith((*self.libraries, self.own)):
                return  # a class of a library or of diffshare is imported when it is asked for
            if writes or not (self.reads or Path(path).is_relative_to(self.folder)):
                self.events.append(f"open {path}")

    @contextlib.contextmanager
    def over(self, folder: Path, *, reads: bool = False) -> Iterator[None]:
        """Watch while something is done with ``folder``; ``events`` then holds what was done besides.

        Args:
            folder: what may be read.
            reads: other places may be read as well: an audit's file names its reader's own records.
        """
        self.folder, self.reads, self.events = folder, reads, []
        try:
            yield
        finally:
            self.folder = None


def outcome_of(error: BaseException) -> str:
    """``refused`` where a user would see one plain line, else what is wrong with it."""
    if isinstance(error, UserError):
        line: str | None = str(error)
    else:
        line = explain(error) if isinstance(error, Exception) else None
        line = None if line is None else printable(line)
    if line is None:
        return f"{type(error).__name__}: {error}"
    return (
        "refused"
        if line.isprintable() and len(line) <= LONGEST + 100
        else f"no plain line: {line!r}"
    )


def one_example(
    originals: Path, work: Path, rng: random.Random, watch: Watch, only: str | None = None
) -> tuple[str, str, str, int]:
    """Mutate one copy and open it.

    Args:
        originals: what :func:`make_originals` made.
        work: an empty folder.
        rng: decides everything.
        watch: of this process.
        only: the kind of folder; any where None.

    Returns:
        Kind of folder, mutation, what happened (``refused``, ``loaded`` or a description of the failure), and the peak
        of memory in bytes that Python and numpy took.
    """
    name = rng.choices(list(KINDS), weights=[kind.weight for kind in KINDS.values()])[0]
    name = only or name
    kind = KINDS[name]
    source = originals / kind.folder
    source = (
        source / rng.choice(sorted(p.name for p in source.iterdir())) if kind.several else source
    )
    folder, marker = work / source.name, work / "marker"
    shutil.copytree(source, folder)
    (work / "secret.json").write_text("{}")
    mutation = kind.mutate(folder, rng, marker)
    bound = kind.bound(sum(file.stat().st_size for file in files_of(folder)))
    traced = tracemalloc.is_tracing()
    if not traced:
        tracemalloc.start(1)
    tracemalloc.reset_peak()
    start = tracemalloc.get_traced_memory()[0]
    with warnings.catch_warnings(), contextlib.chdir(work), _on_path(work):
        warnings.simplefilter("ignore")
        try:
            with watch.over(folder, reads=kind.reads):
                kind.use(folder, rng)
            outcome = "loaded"
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            outcome = outcome_of(error)
    peak = tracemalloc.get_traced_memory()[1] - start
    if not traced:
        tracemalloc.stop()
    if watch.events:
        outcome = f"did what it must not: {watch.events}"
    elif marker.exists():
        outcome = "ran code"
    elif peak > bound:
        outcome = f"took {peak} bytes, more than {bound}"
    elif mutation == "nothing" and outcome != "loaded":
        outcome = f"a sound folder was not loaded: {outcome}"
    return name, mutation, outcome, peak


@contextlib.contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """Modules that lie in the folder can be imported within the block, as those of a working directory can."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=6000)
    parser.add_argument("--first", type=int, default=0, help="number of the first example")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the counts here")
    options = parser.parse_args()
    diffusers.utils.logging.set_verbosity_error()
    counts: Counter[tuple[str, str, str]] = Counter()
    failures: list[str] = []
    peaks = dict.fromkeys(KINDS, 0)
    watch, start = Watch(), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        originals = Path(name, "originals")
        originals.mkdir()
        make_originals(originals)
        for number in range(options.first, options.first + options.examples):
            with tempfile.TemporaryDirectory(dir=name) as work:
                rng = random.Random(f"{options.seed}:{number}")
                kind, mutation, outcome, peak = one_example(originals, Path(work), rng, watch)
            if outcome not in ("refused", "loaded"):
                failures.append(printable(f"example {number}, {kind}, {mutation}: {outcome}", 300))
                print(failures[-1], file=sys.stderr)
                outcome = "failed"
            counts[kind, mutation, outcome] += 1
            peaks[kind] = max(peaks[kind], peak)
            if sys.stderr.isatty():
                print(f"\r{number + 1 - options.first}/{options.examples}", end="", file=sys.stderr)
    rows = [
        {"folder": kind, "mutation": mutation} | {o: counts[kind, mutation, o] for o in OUTCOMES}
        for kind, mutation in sorted({key[:2] for key in counts})
    ]
    print(f"{'folder':14}{'mutation':28}{'refused':>9}{'loaded':>9}{'failed':>9}")
    for row in rows:
        print("{folder:14}{mutation:28}{refused:9}{loaded:9}{failed:9}".format(**row))
    totals = {o: sum(n for key, n in counts.items() if key[2] == o) for o in OUTCOMES}
    print(f"{'all':42}{totals['refused']:9}{totals['loaded']:9}{totals['failed']:9}")
    if options.json:
        versions = {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        }
        versions |= {"diffusers": diffusers.__version__, "safetensors": safetensors.__version__}
        command = (
            f"python scripts/check_hostile.py --examples {options.examples} --first {options.first}"
        )
        write_json(
            options.json,
            {
                "command": f"{command} --seed {options.seed}",
                "seed": options.seed,
                "versions": versions,
            }
            | {"examples": options.examples, **totals, "failures": failures, "rows": rows}
            | {"peak_bytes": peaks, "seconds": round(time.monotonic() - start, 1)},
        )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
