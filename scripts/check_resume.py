#!/usr/bin/env python3
"""Stop training runs at random moments, go on with them, and compare them with an uninterrupted run, bit for bit.

    python scripts/check_resume.py --kills 240 --seed 0 --json docs/results/resume.json

A run is struck at a moment drawn uniformly from the time that an uninterrupted run takes, its start, checkpoints and
release included: by SIGKILL in one half of the cases, else by SIGTERM or SIGHUP, which must end it with status 143, or
Ctrl-C (130). It is gone on with (or started again, where no checkpoint was there yet) and may be struck again, until it
ends. Beside these, for each setting: two trainings at once in one folder, of which one is killed in every other case,
must not mix; and a run with a later end is killed while its new release takes the place of the old one. ``--points``
kills at chosen points instead (see faults.py), one after the other. Exit status 1 on any difference. The short form of
it is tests/training/test_resume.py.
"""

import argparse
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from faults import SIGNALS, fork, warm_up
from run_differences import differences

from diffshare.provenance import versions
from diffshare.storage import write_json
from diffshare.training.run import LAST

CONFIG: dict[str, Any] = {
    "seed_everything": 3,
    "model": {
        "class_path": "diffshare.generators.ddpm.DDPM",
        "init_args": {
            "denoiser": {
                "class_path": "diffusers.UNet2DModel",
                "init_args": {
                    "layers_per_block": 1,
                    "block_out_channels": [8, 8],
                    "down_block_types": ["DownBlock2D", "DownBlock2D"],
                    "up_block_types": ["UpBlock2D", "UpBlock2D"],
                    "add_attention": False,
                    "norm_num_groups": 4,
                    "num_class_embeds": 3,
                },
            },
            "optimizer": {
                "class_path": "torch.optim.AdamW",
                "init_args": {"lr": 1e-3, "foreach": True},
            },
            "lr_schedule": "cosine",
            "warmup_steps": 3,
            "sampling_steps": 2,
        },
    },
    "data": {
        "class_path": "diffshare.data.module.MixDataModule",
        "init_args": {
            "source": {
                "class_path": "diffshare.data.rendered.RenderedFaces",
                "init_args": {"count": 200, "image_size": 8},
            },
            "target": "Smiling",
            "sensitive": "Male",
            "batch_size": 8,
            "validation_share": 0.15,
        },
    },
    "checkpoint": {"every_n_batches": 3},
    "trainer": {
        "accelerator": "cpu",
        "precision": "32-true",
        "max_steps": 40,
        "gradient_clip_val": 1.0,
        "val_check_interval": 7,
        "check_val_every_n_epoch": None,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "callbacks": [
            {
                "class_path": "diffshare.generators.preview.SampleGrid",
                "init_args": {"every_n_steps": 6, "per_class": 2},
            },
            {"class_path": "diffshare.training.averaging.WarmupEMA", "init_args": {"decay": 0.9}},
        ],
    },
}
ACCUMULATION = ["--trainer.accumulate_grad_batches", "2", "--model.denoiser.dropout", "0.2"]
WORKERS = [
    "--data.num_workers",
    "2",
    "--trainer.precision",
    "bf16-mixed",
    "--trainer.val_check_interval",
    "3",
]
SETTINGS: dict[str, list[str]] = {
    "plain": [],
    "accumulation 2, dropout": [*ACCUMULATION, "--trainer.max_steps", "20"],
    "2 workers, validation, bf16": WORKERS,
}
STATUS = {
    "kill": (-signal.SIGKILL,),
    "term": (143, -signal.SIGTERM),
    "hup": (143, -signal.SIGHUP),
    "int": (130,),
}
HOW = ("kill", "kill", "kill", "term", "hup", "int")  # as often as each stands here
LATER = ["--model.lr_schedule", "constant", "--trainer.max_steps"]  # of a run whose end can move
HELD = re.compile(r"diffshare: (process \d+ on \S+|another process) trains in ")


class Strike(NamedTuple):
    """A signal at a moment: seconds after the start, or a fault of faults.py that strikes by itself."""

    how: str
    when: float | str


def write_config(folder: Path) -> Path:
    """The base config as a file."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    return path


def place(run: Path, before: set[Path]) -> str:
    """Where a strike hit, from what lies in the run's folder; ``before`` is what lay there before it."""
    if not (run / LAST).exists():
        return "before the first checkpoint"
    halves = {*run.glob(".*.part"), *(run / LAST).parent.glob(".*.part")} - before
    if any(half.name.startswith(".release.") for half in halves):
        return "while the release was written"
    return "while a checkpoint was written" if halves else "while it trained"


class Check:
    """Runs of one setting.

    Args:
        work: folder for the runs.
        name: of the setting, a key of ``SETTINGS``.
        timed: measure how long a run takes, and compare two that nothing interrupts.
    """

    def __init__(self, work: Path, name: str, timed: bool) -> None:
        self.work, self.name = work, name
        self.arguments = ["--config", str(write_config(work)), *SETTINGS[name]]
        self.reference = work / name.replace(" ", "-") / "uninterrupted"
        self._must_end(self.reference)
        self.seconds = 0.0
        if not timed:
            return
        started = time.monotonic()
        # the first one filled caches: this one tells how long a run takes
        again = self.one("again", ())
        self.seconds = time.monotonic() - started
        if again["differences"]:
            raise RuntimeError(f"two uninterrupted runs differ: {again['differences']}")

    def _log(self, run: Path, number: int = 0) -> Path:
        return run.with_suffix(f".{number}.log")

    def _start(
        self, run: Path, faults: Sequence[str] = (), more: Sequence[str] = (), number: int = 0
    ) -> int:
        run.parent.mkdir(exist_ok=True)
        resume = (run / LAST).exists()
        arguments = (
            ["--run-dir", str(run), "--resume"]
            if resume
            else [*self.arguments, "--run-dir", str(run)]
        )
        return fork(["fit", *arguments, *more], self._log(run, number), faults=faults)

    def _wait(self, process: int, strike: Strike | None = None) -> int:
        """Wait for the end of a process, which the strike may hasten. Returns its status, negative for a signal's."""
        began, due = time.monotonic(), strike is not None and isinstance(strike.when, float)
        while True:
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if due and strike is not None and time.monotonic() >= began + float(strike.when):
                os.kill(process, SIGNALS[strike.how])
                due = False
            time.sleep(0.001)

    def _must_end(self, run: Path, more: Sequence[str] = ()) -> None:
        if self._wait(self._start(run, more=more)):
            raise RuntimeError(f"an uninterrupted run failed: {self._log(run).read_text()}")

    def one(self, label: str, strikes: Sequence[Strike]) -> dict[str, Any]:
        """One run that suffers these strikes, one after the other, as long as it lasts."""
        run = self.reference.with_name(label)
        hits: list[tuple[str, str]] = []
        for strike in [*strikes, None]:
            before = {*run.glob(".*.part"), *(run / LAST).parent.glob(".*.part")}
            at_a_point = strike is not None and isinstance(strike.when, str)
            process = self._start(
                run, [str(strike.when)] if strike is not None and at_a_point else ()
            )
            status = self._wait(process, strike)
            if status == 0:
                break
            if strike is None or status not in STATUS[strike.how]:
                return self._row(
                    hits,
                    [f"exit status {status} after {strike}: {self._log(run).read_text()[-2000:]}"],
                )
            hits.append((strike.how, str(strike.when) if at_a_point else place(run, before)))
        return self._row(hits, differences(run, self.reference))

    def together(self, label: str, killed_after: float | None) -> dict[str, Any]:
        """Two at once in one folder, then two that go on with it at once; the first of each pair may be killed."""
        run, hits = self.reference.with_name(label), []
        for _ in range(2):
            processes = [self._start(run, number=number) for number in range(2)]
            strike = None if killed_after is None else Strike("kill", killed_after)
            statuses = [self._wait(processes[0], strike), self._wait(processes[1])]
            hits.append(("kill" if -signal.SIGKILL in statuses else "none", "two in one folder"))
            for number, status in enumerate(statuses):
                log = self._log(run, number).read_text()
                if status not in (0, 2, -signal.SIGKILL) or (status == 2 and not HELD.search(log)):
                    finished = status == 2 and "already holds a run" in log
                    if not finished:
                        return self._row(
                            hits, [f"exit status {status} beside another: {log[-2000:]}"]
                        )
        if self._wait(self._start(run)):
            return self._row(
                hits, [f"it cannot be gone on with: {self._log(run).read_text()[-2000:]}"]
            )
        return self._row(hits, differences(run, self.reference))

    def replaced(self, label: str) -> dict[str, Any]:
        """A run with a later end, killed before, between and after the renames that replace its release."""
        run, whole = self.reference.with_name(label), self.reference.with_name(f"{label}-whole")
        self._must_end(whole, [*LATER, "14"])
        self._must_end(run, [*LATER, "9"])
        hits = []
        for fault in ("release:1:kill", "replace:1:kill"):
            status = self._wait(self._start(run, [fault], ["--trainer.max_steps", "14"]))
            if status != -signal.SIGKILL:
                return self._row(
                    hits,
                    [f"exit status {status}, not killed: {self._log(run).read_text()[-2000:]}"],
                )
            hits.append(("kill", fault))
        self._must_end(run, ["--trainer.max_steps", "14"])
        return self._row(hits, [d for d in differences(run, whole) if not d.startswith("log:")])

    def _row(self, hits: list[tuple[str, str]], found: list[str]) -> dict[str, Any]:
        struck = [hit for hit in hits if hit[0] != "none"]
        return {"setting": self.name, "kills": len(struck), "hits": hits, "differences": found}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--kills", type=int, default=24, help="at least so many strikes at random moments in all"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--points",
        nargs="+",
        metavar="WHERE:NUMBER:kill",
        help="kill there instead, in each setting",
    )
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--json", type=Path, help="write the outcome here")
    options = parser.parse_args()
    warm_up()
    rng, started = random.Random(options.seed), time.monotonic()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        os.environ["DIFFSHARE_CACHE"] = f"{name}/cache"
        checks = [
            Check(Path(name), setting, timed=not options.points) for setting in options.settings
        ]
        if options.points:
            for check in checks:
                note(rows, check.one("killed", [Strike("kill", point) for point in options.points]))
        else:
            random_strikes(checks, options.kills, rng, rows)
            for number, check in enumerate(checks * 2):
                after = None if number < len(checks) else rng.uniform(0, check.seconds)
                note(rows, check.together(f"together-{number}", after))
            for check in checks:
                note(rows, check.replaced("replaced"))
    total, unequal = sum(row["kills"] for row in rows), [row for row in rows if row["differences"]]
    print(
        f"{len(rows)} runs, {total} strikes: {len(rows) - len(unequal)} equal, {len(unequal)} not"
    )
    if options.json:
        command = f"python scripts/check_resume.py --kills {options.kills} --seed {options.seed}"
        about = {"command": command, "seed": options.seed, "versions": versions()}
        write_json(
            options.json, about | outcome(rows) | {"seconds": round(time.monotonic() - started, 1)}
        )
    return 1 if unequal else 0


def random_strikes(
    checks: Sequence[Check], least: int, rng: random.Random, rows: list[dict[str, Any]]
) -> None:
    """Runs that are struck at random, of each setting about as often, until there were so many strikes."""
    while len(rows) < len(checks) or sum(row["kills"] for row in rows) < least:
        check = min(
            checks,
            key=lambda c: sum(max(1, row["kills"]) for row in rows if row["setting"] == c.name),
        )
        strikes = [Strike(rng.choice(HOW), rng.uniform(0, check.seconds)) for _ in range(20)]
        note(rows, check.one(f"struck-{len(rows)}", strikes))


def note(rows: list[dict[str, Any]], row: dict[str, Any]) -> None:
    """Keep one run's outcome and show it."""
    rows.append(row)
    verdict = "NOT EQUAL" if row["differences"] else "equal"
    hits = ", ".join(f"{n} {how} {place}" for (how, place), n in Counter(row["hits"]).items())
    line = f"{row['setting']:30}{row['kills']:3} strikes  {verdict:10} {hits}"
    print("\n".join([line, *(f"    {d}" for d in row["differences"][:10])]), flush=True)


def outcome(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The counts of all runs."""
    unequal = [row for row in rows if row["differences"]]
    hits = [hit for row in rows for hit in row["hits"] if hit[0] != "none"]
    settings = Counter()
    for row in rows:
        settings[row["setting"]] += row["kills"]
    return {
        "runs": len(rows),
        "kills": len(hits),
        "equal": len(rows) - len(unequal),
        "unequal": len(unequal),
        "kills_by_setting": dict(settings),
        "kills_by_signal": dict(Counter(how for how, _ in hits)),
        "kills_by_place": dict(Counter(place for _, place in hits)),
        "two_in_one_folder": sum(
            place == "two in one folder" for row in rows for _, place in row["hits"]
        ),
        "differences": [d for row in unequal for d in row["differences"]],
        "compared": "raw and averaged weights, optimizer, schedule, release, log, nothing left behind",
    }


if __name__ == "__main__":
    sys.exit(main())
