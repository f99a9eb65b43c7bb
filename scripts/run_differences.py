"""What two runs differ in: weights, optimizer, release and log, bit for bit, and what was left behind."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from diffshare.training.run import LAST

logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of each purge
UNTIMED = "images_per_second"  # the one entry of the log that depends on the clock


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
    names = (
        "current_model_state",
        "state_dict",
        "averaging_state",
        "optimizer_states",
        "lr_schedulers",
        "global_step",
    )
    found = [name for name in names if not equal(mine[name], other[name])]
    for path in sorted(
        p.relative_to(reference) for p in (reference / "release").rglob("*") if p.is_file()
    ):
        if (
            not (run / path).is_file()
            or (run / path).read_bytes() != (reference / path).read_bytes()
        ):
            found.append(str(path))
    left = [
        path for kind in ("part", "old", "lock", "lock.json") for path in run.rglob(f"*.{kind}")
    ]
    found += [
        f"left behind: {path.relative_to(run)}" for path in sorted({*left, *run.glob(".lock*")})
    ]
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
    return found + [
        f"log: TensorBoard shows other steps of {t}"
        for t in expected
        if shown.get(t) != expected[t]
    ]
