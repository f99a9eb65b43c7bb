#!/usr/bin/env python3
"""Mutate releases and samples folders and open them: a clean refusal or a correct load, nothing else may happen.

    python scripts/check_hostile.py --examples 2000 --seed 0 --json docs/results/hostile.json

Exit status 1 if anything else happened: another exception, a message of more than a line, a wrong load, a file opened
outside the folder, a file written, a process or a connection, an unpickled object, memory above the stated bound.
Each example is a function of (seed, its number) alone: ``--first N --examples 1`` repeats number N.
The short form of it is tests/release/test_fuzz.py.
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
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import safetensors
import safetensors.torch
import torch
from diffusers import UNet2DModel
from hostile_mutations import WEIGHTS, files_of, make_originals, mutate_release, mutate_samples

from diffshare.errors import UserError
from diffshare.release.folder import open_release
from diffshare.release.samples import read_samples
from diffshare.release.schedulers import load_scheduler
from diffshare.release.weights import load_part
from diffshare.storage import write_json

NETWORKS = {"UNet2DModel": UNet2DModel}
RELEASE_BYTES = 128 << 20  # bound of memory for opening a release, beyond 4 times its size
SAMPLES_BYTES = 80 << 20  # bound of memory for reading samples: 64 MiB and what checking them takes


class Watch:
    """Notes, through Python's audit events, whatever opening a folder must not do. One for a process."""

    FORBIDDEN = ("pickle.find_class", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.",
                 "os.remove", "os.rename", "os.mkdir", "os.link", "os.symlink", "urllib", "ctypes.dlopen")  # fmt: skip

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.events: list[str] = []
        self.libraries = tuple({sys.prefix, sys.base_prefix, str(Path(torch.__file__).parents[1])})
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event.startswith(self.FORBIDDEN):
            self.events.append(event)
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.fsdecode(arguments[0])
            if path.startswith(self.libraries) and path.endswith((".py", ".pyc", ".so")):
                return  # diffusers imports a scheduler's own module when it is asked for
            flags = arguments[2] if len(arguments) > 2 and isinstance(arguments[2], int) else 0
            if not Path(path).is_relative_to(self.folder) or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.events.append(f"open {path}")

    @contextlib.contextmanager
    def over(self, folder: Path) -> Iterator[None]:
        """Watch while something is done with ``folder``; ``events`` then holds what was done besides."""
        self.folder, self.events = folder, []
        try:
            yield
        finally:
            self.folder = None


def use_release(folder: Path) -> None:
    """Open all of a release and compare what was loaded with what the library itself reads."""
    release = open_release(folder)
    network = load_part(release, "unet", NETWORKS)
    load_scheduler(release)
    expected = safetensors.torch.load((folder / WEIGHTS).read_bytes())
    state = network.state_dict()
    if set(state) != set(expected) or not all(torch.equal(state[k], expected[k].float()) for k in state):
        raise AssertionError("the weights that were loaded are not those of the file")


def use_samples(folder: Path) -> None:
    """Read samples and compare them with what numpy itself reads."""
    samples = read_samples(folder)
    with np.load(folder / "samples.npz", allow_pickle=False) as arrays:
        loaded = {"x": samples.x, "y": samples.y} | ({} if samples.weight is None else {"weight": samples.weight})
        if set(arrays) != set(loaded) or not all(np.array_equal(arrays[key], loaded[key]) for key in loaded):
            raise AssertionError("the samples that were loaded are not those of the file")


def one_example(originals: Path, work: Path, rng: random.Random, watch: Watch) -> tuple[str, str, str, int]:
    """Mutate one copy and open it.

    Returns:
        Kind of folder, mutation, what happened (``refused``, ``loaded`` or a description of the failure), and the peak
        of memory in bytes that Python and numpy took.
    """
    kind = rng.choice(("release", "samples"))
    folder, marker = work / kind, work / "marker"
    shutil.copytree(originals / kind, folder)
    (work / "secret.json").write_text("{}")
    mutate, use = (mutate_release, use_release) if kind == "release" else (mutate_samples, use_samples)
    mutation = mutate(folder, rng, marker)
    size = sum(file.stat().st_size for file in files_of(folder))
    bound = RELEASE_BYTES + 4 * size if kind == "release" else max(SAMPLES_BYTES, 101 * size + (16 << 20))
    traced = tracemalloc.is_tracing()
    if not traced:
        tracemalloc.start(1)
    tracemalloc.reset_peak()
    start = tracemalloc.get_traced_memory()[0]
    try:
        with watch.over(folder):
            use(folder)
        outcome = "loaded"
    except UserError as error:
        outcome = "refused" if str(error).isprintable() else f"a message that is not one line: {str(error)!r}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        outcome = f"{type(error).__name__}: {error}"
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
    return kind, mutation, outcome, peak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first example")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the counts here")
    options = parser.parse_args()
    diffusers.utils.logging.set_verbosity_error()
    counts: Counter[tuple[str, str, str]] = Counter()
    failures: list[str] = []
    peaks = {"release": 0, "samples": 0}
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
                failures.append(f"example {number}, {kind}, {mutation}: {outcome}")
                print(failures[-1], file=sys.stderr)
                outcome = "failed"
            counts[kind, mutation, outcome] += 1
            peaks[kind] = max(peaks[kind], peak)
            if sys.stderr.isatty():
                print(f"\r{number + 1 - options.first}/{options.examples}", end="", file=sys.stderr)
    rows = [
        {"folder": kind, "mutation": mutation} | {o: counts[kind, mutation, o] for o in ("refused", "loaded", "failed")}
        for kind, mutation in sorted({key[:2] for key in counts})
    ]
    print(f"{'folder':10}{'mutation':28}{'refused':>9}{'loaded':>9}{'failed':>9}")
    for row in rows:
        print("{folder:10}{mutation:28}{refused:9}{loaded:9}{failed:9}".format(**row))
    totals = {o: sum(n for key, n in counts.items() if key[2] == o) for o in ("refused", "loaded", "failed")}
    print(f"{'all':38}{totals['refused']:9}{totals['loaded']:9}{totals['failed']:9}")
    if options.json:
        versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
        versions |= {"diffusers": diffusers.__version__, "safetensors": safetensors.__version__}
        command = f"python scripts/check_hostile.py --examples {options.examples} --first {options.first}"
        write_json(
            options.json,
            {"command": f"{command} --seed {options.seed}", "seed": options.seed, "versions": versions}
            | {"examples": options.examples, **totals, "failures": failures, "rows": rows}
            | {"peak_bytes": peaks, "seconds": round(time.monotonic() - start, 1)},
        )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
