#!/usr/bin/env python3
"""Two gloo processes with one thread each against one process with two threads: images/s of the whole training.

    python scripts/bench_ddp.py --json docs/results/ddp.json

The global batch, the network and the records of each step are the same. Both are started in turn, ``--rounds`` times;
a figure is the median of what the runs logged after their first entries.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _bench import Row, report
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).resolve().parents[1]
BATCH = 64
FIT = (
    ["-m", "diffshare.cli", "fit", "--config", str(ROOT / "configs" / "ddpm_faces.yaml")]
    + [
        "--data.source.count",
        "4000",
        "--data.source.image_size",
        "16",
        "--trainer.accelerator",
        "cpu",
    ]
    + ["--trainer.enable_progress_bar", "false", "--trainer.limit_val_batches", "0"]
    + ["--trainer.log_every_n_steps", "10", "--model.sampling_steps", "1"]
)
SETTINGS = {
    "one process, two threads": ("2", ["--data.batch_size", str(BATCH)]),
    "two processes, one thread each": (
        "1",
        [
            "--data.batch_size",
            str(BATCH // 2),
            "--trainer.strategy",
            "ddp",
            "--trainer.devices",
            "2",
        ],
    ),
}


def speeds(name: str, steps: int, work: Path, number: int) -> list[float]:
    """images_per_second that one run logged, without its first two entries."""
    threads, arguments = SETTINGS[name]
    run = work / f"{number}-{threads}"
    env = os.environ | {
        "OMP_NUM_THREADS": threads,
        "DIFFSHARE_CACHE": str(work / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    command = [
        sys.executable,
        *FIT,
        *arguments,
        "--trainer.max_steps",
        str(steps),
        "--run-dir",
        str(run),
    ]
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    logged = EventAccumulator(str(run)).Reload().Scalars("images_per_second")
    return [entry.value for entry in logged][2:]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100, help="of each run")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in SETTINGS}
    with tempfile.TemporaryDirectory() as work:
        for number in range(options.rounds):
            for name, values in found.items():
                values += speeds(name, options.steps, Path(work), number)
    one, two = SETTINGS
    alone, together = statistics.median(found[one]), statistics.median(found[two])
    report(
        [Row(one, alone, "images/s"), Row(two, together, "images/s", one, together / alone)],
        options.json,
    )


if __name__ == "__main__":
    main()
