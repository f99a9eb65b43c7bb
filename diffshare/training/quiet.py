"""Lightning without its advice that does not hold here, and trainers that leave no trace."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Trainer

NOISE = (
    "LightningCLI's args parameter",  # the entry point parses the arguments once and hands them on
    "The '.*' does not have many workers",  # records come from a memory-mapped cache: workers make it slower
    "The number of training batches",  # short epochs are normal: steps count, not epochs
    "You're resuming from a checkpoint that ended before",  # the loader goes on where the checkpoint ended
    "You're using the WeightAveraging callback, but loading",  # validate, test and predict want the average alone
    "You're using the WeightAveraging callback with a model that overrides",  # no layer is sharded here
    "It is recommended to use `self.log.*sync_dist=True",  # what is logged is summed over processes already
    "Total length of `list` across ranks is zero",  # without validation records there is nothing to validate on
    ".*isinstance.treespec, LeafSpec",  # Lightning's own use of torch
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within the block, warnings that are listed above and Lightning's chatter are not shown; all others are."""
    # Lightning calls an old name of its parser
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in NOISE:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def passing_trainer(**options: Any) -> Trainer:
    """A trainer in this process for a training that is a step of something else: no log, checkpoint, bar or summary.

    One device: several would start the calling script again.

    Args:
        options: of ``Trainer``, over these.
    """
    off = (
        "logger",
        "enable_checkpointing",
        "enable_progress_bar",
        "enable_model_summary",
        "use_distributed_sampler",
    )
    settings: dict[str, Any] = {"accelerator": "cpu", "devices": 1} | dict.fromkeys(off, False)
    return Trainer(**(settings | options))
