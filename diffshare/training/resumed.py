"""A resumed run is the run that it was: which settings may change on the way, and the refusal of all others."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffshare.errors import UserError
from diffshare.layout import json_object
from diffshare.settings import read_yaml
from diffshare.storage import as_path

# Settings that may change when a run is resumed: they do not touch the weights, or only say when to stop.
MAY_CHANGE = (
    "checkpoint",
    "release",
    "data.init_args.num_workers",
    "data.init_args.cache_dir",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.profiler",
    "trainer.max_steps",
    "trainer.max_epochs",
    "trainer.max_time",
)
# Settings of the data that name a file or a folder.
PLACES = ("root", "path", "images", "labels", "samples", "manifest", "training_manifest", "model")


def refuse_changes(folder: Path, resolved: Mapping[str, Any]) -> None:
    """Refuse another configuration than the one that a run was started with.

    Args:
        folder: of the run; one without ``config.yaml`` is not looked at.
        resolved: the whole configuration now, plain values.

    Raises:
        UserError: names the first setting that has changed, with both values, and how many more have.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        return
    before, now = _flat(read_yaml(path, aliases=True)), _flat(resolved)
    allowed, started = _may_change(now), _started_in(folder)
    changed = [k for k in sorted(before.keys() | now.keys()) if before.get(k) != now.get(k)]
    changed = [k for k in changed if not _same_place(k, before.get(k), now.get(k), started)]
    changed = [
        k for k in changed if not any(k == may or k.startswith(f"{may}.") for may in allowed)
    ]
    if changed:
        key = changed[0]
        raise UserError(
            f"{folder} was started with another configuration: {key} was {before.get(key)!r}, is now "
            f"{now.get(key)!r}{f' (and {len(changed) - 1} more)' if len(changed) > 1 else ''}; leave out `config` "
            "and overrides to go on as it was, or start a new run"
        )


def refuse_elsewhere(folder: Path, resolved: Mapping[str, Any]) -> None:
    """Refuse relative paths of a run that led somewhere where it was started, and lead nowhere from here.

    Args:
        folder: of the run.
        resolved: the whole configuration now, plain values.

    Raises:
        UserError: names the setting and both working directories.
    """
    started, here = _started_in(folder), Path.cwd()
    if started is None or started == here:
        return
    for key, value in _flat(resolved).items():
        if _is_place(key, value) and not as_path(value).exists() and (started / value).exists():
            raise UserError(
                f"{key} is '{value}', relative to the working directory: that was {started} when {folder} was started, "
                f"and is {here} now; run this in {started}, or give `{key.replace('.init_args', '')}` {started / value}"
            )


def _started_in(folder: Path) -> Path | None:
    started = (json_object(folder / "run.json") or {}).get("working_directory")
    return Path(started) if isinstance(started, str) else None


def _is_place(key: str, value: Any) -> bool:
    return isinstance(value, str) and key.startswith("data.") and key.rpartition(".")[2] in PLACES


def _same_place(key: str, before: Any, now: Any, started: Path | None) -> bool:
    """Whether a path was only written in another way."""
    if not (_is_place(key, before) and _is_place(key, now)):
        return False
    return os.path.realpath((started or Path.cwd()) / as_path(before)) == os.path.realpath(
        as_path(now)
    )


def _may_change(now: Mapping[str, Any]) -> tuple[str, ...]:
    # the rate depends on the number of steps
    fixed_end = now.get("model.init_args.lr_schedule") == "cosine"
    return tuple(k for k in MAY_CHANGE if not (fixed_end and k.startswith("trainer.max_")))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level, keys joined by dots."""
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    joined = ((f"{prefix}.{k}" if prefix else str(k), v) for k, v in value.items())
    return {path: leaf for key, child in joined for path, leaf in _flat(child, key).items()}
