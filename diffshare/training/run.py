"""A run's folder: where it is, what it records of itself, and how a run is taken up again."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from diffshare.claim import check_shared, claim
from diffshare.data.module import MixDataModule
from diffshare.errors import UserError
from diffshare.layout import json_object
from diffshare.leftovers import restore, sweep
from diffshare.provenance import code_revision, versions
from diffshare.storage import read_json, write_json
from diffshare.training.processes import is_first, job

LAST = Path("checkpoints") / "last.ckpt"
_A_CORE = 4  # processes for each processor core, more than which only wait for each other


def run_folder(given: Path | None, config_name: str) -> Path:
    """The folder of this run: the one asked for, or a new one below ``lightning_logs/``.

    Processes that Lightning starts beside this one find the same folder through the environment; those of torchrun
    and SLURM through the name of their job.

    Raises:
        UserError: one of several processes that have no name in common.
    """
    if given is not None:
        return given
    inherited = os.environ.get("DIFFSHARE_RUN_DIR")
    if inherited is None:
        job = os.environ.get("TORCHELASTIC_RUN_ID") or os.environ.get("SLURM_JOB_ID")
        if "LOCAL_RANK" in os.environ and job in (None, "none"):
            raise UserError(
                "processes that are started from outside have no run folder in common: name one with `run_dir` "
                "(or the job with torchrun's rdzv-id)"
            )
        tail = f"job-{job}" if job and job != "none" else time.strftime("%Y%m%d-%H%M%S")
        inherited, number = f"lightning_logs/{config_name}-{tail}", 1
        while not job and Path(inherited).exists():
            inherited, number = f"lightning_logs/{config_name}-{tail}-{number}", number + 1
        os.environ["DIFFSHARE_RUN_DIR"] = inherited
    return Path(inherited)


def check_devices(trainer: Trainer) -> None:
    """Refuse a number of processes that would stop this machine, before the first of them is started.

    Raises:
        UserError: many more processes than processor cores are asked for.
    """
    cores = os.cpu_count() or 1
    if trainer.strategy.root_device.type == "cpu" and trainer.num_devices > _A_CORE * cores:
        raise UserError(
            f"trainer.devices is {trainer.num_devices}, this machine has {cores} processor cores: ask for at most "
            f"{cores}"
        )


def training_in(folder: Path) -> contextlib.AbstractContextManager[bool]:
    """Hold the folder of a run for one training; the processes of one job share it.

    Returns:
        within its block the folder is held; it yields whether a training has begun in it, one that was killed too.

    Raises:
        UserError: on entering, another training works in it.
    """
    busy = f"{{holder}} trains in {folder}: wait for its end, stop it, or name another `run_dir`"
    if is_first():
        return claim(folder, busy, job())
    check_shared(folder, busy, job())
    return contextlib.nullcontext(enter_result=True)  # the first one has looked what lies there


def check_own(folder: Path, names: Sequence[str]) -> None:
    """Refuse to write over files of a folder in which no run was ever begun.

    Args:
        folder: to write into.
        names: files that will be written.

    Raises:
        UserError: names the first that is there.
    """
    if (json_object(folder / "run.json") or {}).keys() >= {"seed", "precision", "versions"}:
        return
    if there := [name for name in names if os.path.lexists(folder / name)]:
        raise UserError(f"{folder} holds {there[0]}, which no run wrote: name another `run_dir`")


def check_new(folder: Path) -> None:
    """Refuse a folder that holds a run already.

    Raises:
        UserError: says how to go on with that run, or that another folder is needed.
    """
    if (folder / LAST).exists() or (folder / "release").exists():
        raise UserError(
            f"{folder} already holds a run: add `resume` to go on with it or name another `run_dir`"
        )


def check_resumable(folder: Path) -> Path:
    """The checkpoint from which the run of this folder goes on.

    Raises:
        UserError: there is nothing to resume.
    """
    if not (folder / LAST).is_file():
        raise UserError(
            f"nothing to resume: {folder} has no {LAST}; leave out `resume` to start a run there"
        )
    return folder / LAST


def log_steps(checkpoint: dict[str, Any]) -> int:
    """How many steps of the log a checkpoint has: the next entry's step."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"])


def finished(checkpoint: dict[str, Any], max_steps: int, max_epochs: int | None) -> int | None:
    """The optimizer steps of a checkpoint that has reached the end of its training; None where there is work to do."""
    step = int(checkpoint["global_step"])
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    ended = 0 <= max_steps <= step or (max_epochs is not None and 0 <= max_epochs <= epochs)
    return step if ended else None


def note_release(folder: Path, step: int) -> None:
    """Write into ``run.json`` which state the release is of: a run with a later end has an earlier one for a while."""
    write_json(
        folder / "run.json", (json_object(folder / "run.json") or {}) | {"released_step": step}
    )


def is_released(folder: Path, step: int) -> bool:
    """Whether the release is there, and of this step as far as it is noted."""
    restore(folder / "release")
    noted = (json_object(folder / "run.json") or {}).get("released_step", step)
    return (folder / "release").is_dir() and noted == step


class RunRecord(Callback):
    """Writes what a run is into its folder: ``run.json`` and the manifest of its mix; the S x Y table into the log.

    A resumed run must compute as it did: the same number of processes in the same precision, on the same source.

    Args:
        folder: of the run.
        seed: ``seed_everything`` of the run.
        resumed: the run goes on in a folder that already has these files.
    """

    def __init__(self, folder: Path, seed: int, resumed: bool) -> None:
        self.folder, self.seed, self.resumed = folder, seed, resumed

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write once, from the first process."""
        if trainer.is_global_zero:
            sweep(self.folder)
            sweep(self.folder / LAST.parent)
        if self.resumed:
            self._refuse_changes(trainer)
        elif trainer.is_global_zero:
            write_json(self.folder / "run.json", self._facts(trainer))
            data = getattr(trainer, "datamodule", None)
            if isinstance(data, MixDataModule):
                data.chosen_mix().write(self.folder / "mix", overwrite=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The table belongs to step 0 of the log: a run resumed from there has lost it."""
        data = getattr(trainer, "datamodule", None)
        if trainer.global_step or not trainer.is_global_zero or not isinstance(data, MixDataModule):
            return
        if isinstance(trainer.logger, TensorBoardLogger):
            trainer.logger.experiment.add_text("data/mix", mix_table(data), 0)

    def _refuse_changes(self, trainer: Trainer) -> None:
        path = self.folder / "run.json"
        before = read_json(path) if path.is_file() else {}
        for name, now in (("processes", trainer.world_size), ("precision", str(trainer.precision))):
            if before.get(name, now) != now:
                raise UserError(
                    f"{self.folder} was trained with {name} {before[name]}, now it would be {now}: resume it on a "
                    "machine like the one it was started on, or start a new run"
                )
        data = getattr(trainer, "datamodule", None)
        manifest = self.folder / "mix" / "mix.json"
        if isinstance(data, MixDataModule) and manifest.is_file():
            was, now = (
                str(read_json(manifest).get("source_sha256")),
                data.chosen_mix().source_sha256,
            )
            if was != now:
                raise UserError(
                    f"the source has changed since {self.folder} was started (source_sha256 was '{was[:12]}...', is "
                    f"now '{now[:12]}...'): put the records back as they were, or start a new run"
                )

    def _facts(self, trainer: Trainer) -> dict[str, Any]:
        return {
            "command": sys.argv,
            "working_directory": str(Path.cwd()),
            "seed": self.seed,
            "precision": str(trainer.precision),
            "processes": trainer.world_size,
            "code": code_revision(),
            "versions": versions(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "notes": list(getattr(getattr(trainer, "datamodule", None), "notes", ())),
        }


def mix_table(data: MixDataModule) -> str:
    """The S x Y counts of the mix as a Markdown table, with what else ``mix.json`` says below it."""
    mix = data.chosen_mix()
    groups, classes = mix.pool.s.classes, mix.pool.y.classes
    if data.sensitive is None:
        counts = [[int((mix.choice.target == y).sum()) for y in range(len(classes))]]
        groups = ("all",)
    else:
        counts = mix.counts().tolist()
    lines = ["| " + " | ".join(["", *classes, "sum"]) + " |", "|" + " --- |" * (len(classes) + 2)]
    for group, row in zip(groups, counts, strict=True):
        lines.append("| " + " | ".join([group, *map(str, row), str(sum(row))]) + " |")
    rest = {k: v for k, v in mix.summary().items() if k not in ("counts", "seconds")}
    return "\n".join(lines) + "\n\n```\n" + json.dumps(rest, indent=2) + "\n```"
