#!/usr/bin/env python3
"""Kill training runs with SIGKILL, resume them, and compare what they leave with an uninterrupted run, bit for bit.

    python scripts/check_resume.py --kills 24 --seed 0 --json docs/results/resume.json

A run is killed at a moment drawn uniformly from the time that an uninterrupted run takes, its start, checkpoints and
release included; it is resumed (or started again, where no checkpoint was there yet) and may be killed again, until it
ends. ``--points`` kills at chosen points instead (see faults.py), one after the other. Exit status 1 on any difference.
The short form of it is tests/training/test_resume.py.
"""

import argparse
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from faults import fork, warm_up
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

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
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3, "foreach": True}},
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
WORKERS = ["--data.num_workers", "2", "--trainer.precision", "bf16-mixed", "--trainer.val_check_interval", "3"]
SETTINGS: dict[str, list[str]] = {
    "plain": [],
    "accumulation 2, dropout": [*ACCUMULATION, "--trainer.max_steps", "20"],
    "2 workers, validation, bf16": WORKERS,
}
UNTIMED = "images_per_second"  # the one entry of the log that depends on the clock


def write_config(folder: Path) -> Path:
    """The base config as a file."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    return path


def log_entries(run: Path) -> Counter[tuple[str, int, bytes]]:
    """Every (tag, step, value) of a run's TensorBoard log that stands after purging, with how often it stands there.

    Written anew, so that it does not rest on TensorBoard's own purge: a session that starts at step s takes back what
    earlier ones wrote of step s and later.
    """
    entries: list[tuple[str, int, bytes]] = []
    for path in sorted(run.glob("events.out.tfevents.*")):
        for raw in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(raw)
            if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                entries = [entry for entry in entries if entry[1] < event.step]
            for value in event.summary.value:
                entries.append((value.tag, event.step, value.SerializeToString(deterministic=True)))
    return Counter(entries)


def tensorboard_steps(run: Path) -> dict[str, list[int]]:
    """Steps of every scalar and image as TensorBoard itself shows them."""
    shown = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0})
    shown.Reload()
    tags = shown.Tags()
    scalars = {tag: [e.step for e in shown.Scalars(tag)] for tag in tags["scalars"]}
    return scalars | {tag: [e.step for e in shown.Images(tag)] for tag in tags["images"]}


def differences(run: Path, reference: Path) -> list[str]:
    """What of ``run`` is not equal to the bit to the uninterrupted run."""
    mine, other = (torch.load(folder / LAST, weights_only=True) for folder in (run, reference))
    names = ("current_model_state", "state_dict", "averaging_state", "optimizer_states", "lr_schedulers", "global_step")
    found = [name for name in names if not equal(mine[name], other[name])]
    for path in sorted(p.relative_to(reference) for p in (reference / "release").rglob("*") if p.is_file()):
        if not (run / path).is_file() or (run / path).read_bytes() != (reference / path).read_bytes():
            found.append(str(path))
    found += [f"left behind: {path.relative_to(run)}" for path in run.rglob("*.part")]
    return found + log_differences(run, reference)


def equal(a: Any, b: Any) -> bool:
    """Whether two nested values are equal to the bit, types included."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def log_differences(run: Path, reference: Path) -> list[str]:
    """Entries of the log that are missing, doubled or of another value (times apart)."""
    mine, other = log_entries(run), log_entries(reference)
    found = []
    for entries, word in ((mine - other, "added"), (other - mine, "missing")):
        steps = sorted({(step, tag) for tag, step, _ in entries if tag != UNTIMED})
        found += [f"log: {tag} of step {step} {word}" for step, tag in steps]
    shown, expected = tensorboard_steps(run), tensorboard_steps(reference)
    speed = Counter(shown.pop(UNTIMED, []))
    found += [f"log: {UNTIMED} of step {step} doubled" for step, n in speed.items() if n > 1]
    expected.pop(UNTIMED, None)
    return found + [f"log: TensorBoard shows other steps of {t}" for t in expected if shown.get(t) != expected[t]]


def place(run: Path, before: int) -> str:
    """Where a kill hit, from what lies in the run's folder; ``before`` is the number of broken files before it."""
    if not (run / LAST).exists():
        return "before the first checkpoint"
    if any(run.glob(".release.*")):
        return "while the release was written"
    return (
        "while a checkpoint was written" if len(list((run / LAST).parent.glob(".*"))) > before else "while it trained"
    )


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
        if self._wait(self._start(self.reference, ()), None):
            raise RuntimeError(f"the uninterrupted run failed: {self._log(self.reference).read_text()}")
        self.seconds = 0.0
        if not timed:
            return
        started = time.monotonic()
        again = self.one("again", ())  # the first one filled caches: this one tells how long a run takes
        self.seconds = time.monotonic() - started
        if again["differences"]:
            raise RuntimeError(f"two uninterrupted runs differ: {again['differences']}")

    def _log(self, run: Path) -> Path:
        return run.with_suffix(".log")

    def _start(self, run: Path, faults: Sequence[str]) -> int:
        run.parent.mkdir(exist_ok=True)
        resume = (run / LAST).exists()
        arguments = ["--run-dir", str(run), "--resume"] if resume else [*self.arguments, "--run-dir", str(run)]
        return fork(["fit", *arguments], self._log(run), faults=faults)

    def _wait(self, process: int, limit: float | None) -> int:
        """Wait for the end of a process; kill it after ``limit`` seconds. Returns its status: -9 where killed."""
        end = time.monotonic() + (300 if limit is None else limit)
        while True:
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= end:
                os.kill(process, signal.SIGKILL)
            time.sleep(0.001)

    def one(self, label: str, kills: Sequence[str | float]) -> dict[str, Any]:
        """One run that is killed after each of these times (s) or at each of these faults, as long as it lasts."""
        run = self.reference.with_name(label)
        places: list[str] = []
        plan: list[str | float | None] = [*kills, None]
        for when in plan:
            broken = len(list((run / LAST).parent.glob(".*")))
            process = self._start(run, [when] if isinstance(when, str) else ())
            status = self._wait(process, when if isinstance(when, float) else None)
            if status == 0:
                break
            if status != -signal.SIGKILL:
                return self._row(places, [f"exit status {status}: {self._log(run).read_text()[-2000:]}"])
            places.append(when if isinstance(when, str) else place(run, broken))
        return self._row(places, differences(run, self.reference))

    def _row(self, places: list[str], found: list[str]) -> dict[str, Any]:
        return {"setting": self.name, "kills": len(places), "places": places, "differences": found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=24, help="at least so many SIGKILLs in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--points", nargs="+", metavar="WHERE:NUMBER:kill", help="kill there instead, in each setting")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--json", type=Path, help="write the outcome here")
    options = parser.parse_args()
    warm_up()
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of each purge
    rng, started = random.Random(options.seed), time.monotonic()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        os.environ["DIFFSHARE_CACHE"] = f"{name}/cache"
        checks = [Check(Path(name), setting, timed=not options.points) for setting in options.settings]
        while len(rows) < len(checks) or (not options.points and sum(r["kills"] for r in rows) < options.kills):
            check = min(checks, key=lambda c: sum(max(1, row["kills"]) for row in rows if row["setting"] == c.name))
            kills = options.points or [rng.uniform(0, check.seconds) for _ in range(20)]
            rows.append(check.one(f"killed-{len(rows)}", kills))
            print(show(rows[-1]), flush=True)
    total, unequal = sum(row["kills"] for row in rows), [row for row in rows if row["differences"]]
    print(f"{len(rows)} runs, {total} kills: {len(rows) - len(unequal)} equal, {len(unequal)} not")
    if options.json:
        places = Counter(p for row in rows for p in row["places"])
        command = f"python scripts/check_resume.py --kills {options.kills} --seed {options.seed}"
        settings = {s: sum(r["kills"] for r in rows if r["setting"] == s) for s in options.settings}
        write_json(
            options.json,
            {"command": command, "seed": options.seed, "versions": versions(), "runs": len(rows), "kills": total}
            | {"equal": len(rows) - len(unequal), "unequal": len(unequal), "kills_by_setting": settings}
            | {"kills_by_place": dict(places), "differences": [d for r in unequal for d in r["differences"]]}
            | {"compared": "raw and averaged weights, optimizer, schedule, release, log"}
            | {"seconds": round(time.monotonic() - started, 1)},
        )
    return 1 if unequal else 0


def show(row: dict[str, Any]) -> str:
    """One line of the table, and one for each difference."""
    verdict = "NOT EQUAL" if row["differences"] else "equal"
    hits = ", ".join(f"{n} {p}" if n > 1 else p for p, n in Counter(row["places"]).items())
    line = f"{row['setting']:30}{row['kills']:3} kills  {verdict:10} {hits}"
    return "\n".join([line, *(f"    {d}" for d in row["differences"][:10])])


if __name__ == "__main__":
    sys.exit(main())
