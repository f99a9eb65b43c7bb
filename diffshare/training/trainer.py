"""The trainer of a run: precision, checkpoints, log, and what is called at each step."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import (
    Checkpoint,
    LearningRateMonitor,
    ProgressBar,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import TensorBoardLogger

from diffshare.errors import UserError, reason_of
from diffshare.training.checkpoint import AtomicCheckpointIO, KeepCheckpoint, read_resumable
from diffshare.training.precision import default_precision
from diffshare.training.run import LAST, RunRecord, check_devices, log_steps
from diffshare.training.seeding import BatchSeeding
from diffshare.training.settings import check_precision
from diffshare.training.watch import Counted, NonFiniteStop, Throughput


def build_trainer(options: dict[str, Any], added: Sequence[Callback]) -> Trainer:
    """A trainer with the project's precision rule, safe checkpoints and a bar where somebody looks.

    Args:
        options: of Lightning's ``Trainer``; ``callbacks`` are the user's.
        added: what is called after those.

    Raises:
        UserError: options that do not go together, a device or a precision that cannot be used.
    """
    options, callbacks = dict(options), list(options["callbacks"] or [])
    if options["precision"] is None:
        options["precision"] = default_precision(str(options["accelerator"]))
    options["enable_model_summary"] = bool(options["enable_model_summary"])
    bars = any(isinstance(c, ProgressBar) for c in callbacks)
    if options["enable_progress_bar"] is not False and not bars:
        # in a file, a bar is one line of all its states
        options["enable_progress_bar"] = sys.stdout.isatty()
        callbacks.append(TQDMProgressBar(refresh_rate=10) if sys.stdout.isatty() else Counted())
    callbacks += added
    plugins = options["plugins"] or []
    options |= {
        "callbacks": callbacks,
        "enable_checkpointing": any(isinstance(c, Checkpoint) for c in callbacks),
        "plugins": [*(plugins if isinstance(plugins, list) else [plugins]), AtomicCheckpointIO()],
        # the data modules share records out themselves, without padding
        "use_distributed_sampler": False,
    }
    try:
        trainer = Trainer(**options)
    except (TypeError, ValueError, RuntimeError, ImportError) as error:
        raise UserError(f"the trainer cannot be set up: {reason_of(error)}") from error
    check_devices(trainer)
    check_precision(trainer)
    return trainer


def run_log(folder: Path, *, resumed: bool) -> TensorBoardLogger:
    """The log of a run in its folder.

    Args:
        folder: of the run.
        resumed: the run goes on: what a run that was killed logged after its checkpoint is written again.
    """
    purge = log_steps(read_resumable(folder / LAST)) if resumed else 0
    return TensorBoardLogger(folder.parent, name=folder.name, version="", purge_step=purge)


def training_callbacks(
    folder: Path, keeper: KeepCheckpoint, *, seed: int, resumed: bool, logged: bool
) -> list[Callback]:
    """What every training has; the order is part of the meaning.

    A checkpoint comes after weight averaging and pictures, which are the user's callbacks, and before what is
    logged of the next batch.

    Args:
        folder: of the run.
        keeper: keeps its checkpoint.
        seed: of the training.
        resumed: the run goes on.
        logged: there is a log, so that the learning rate has a place.
    """
    keeper.path = folder / LAST
    rate = [LearningRateMonitor("step")] if logged else []
    record = RunRecord(folder, seed, resumed)
    return [record, keeper, BatchSeeding(seed), NonFiniteStop(), Throughput(), *rate]
