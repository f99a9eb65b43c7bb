"""Pictures of what a generator makes while it trains."""

from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.seed import isolate_rng

from diffshare.errors import UserError
from diffshare.generators.base import GenerativeModule
from diffshare.release.generator import UNCONDITIONAL
from diffshare.release.grid import image_grid
from diffshare.training.averaging import averaged_weights


class SampleGrid(Callback):
    """Puts a grid of samples into TensorBoard: a row for each class, always from the same noise, averaged weights.

    Args:
        every_n_steps: optimizer steps from one picture to the next; one more is made at the end.
        per_class: samples of each class.
    """

    def __init__(self, every_n_steps: int = 1000, per_class: int = 8) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("per_class", per_class)):
            if value < 1:
                raise UserError(f"{name} of SampleGrid is {value}: it must be at least 1")
        self.every_n_steps, self.per_class = every_n_steps, per_class
        self._drawn = -1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw where it is time to, after the optimizer's step (not after each batch that it accumulates)."""
        if (
            trainer.global_step % self.every_n_steps == 0
            and not trainer.fit_loop._should_accumulate()
        ):
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last state."""
        if trainer.global_step != self._drawn:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, module: LightningModule) -> None:
        self._drawn = trainer.global_step
        logger = trainer.logger
        fits = isinstance(module, GenerativeModule) and module.modality == "image"
        fits = fits and isinstance(logger, TensorBoardLogger)
        if not fits or not trainer.is_global_zero or trainer.global_step == 0:
            return
        assert isinstance(module, GenerativeModule)
        assert isinstance(logger, TensorBoardLogger)
        assert module.facts is not None
        classes = range(len(module.facts.labels)) if module.conditional else [UNCONDITIONAL]
        labels = np.repeat(np.asarray(classes, np.int64), self.per_class)
        indices = np.tile(np.arange(self.per_class), len(classes))
        training = module.training
        module.eval()
        with (
            isolate_rng(),
            averaged_weights(trainer, module),
            trainer.precision_plugin.forward_context(),
        ):
            images = module.draw(labels, indices, seed=0)
        module.train(training)
        grid = image_grid(images, self.per_class)
        # steps count from 0 in the log: this one is complete, and what a resumed run will do again begins after it
        logger.experiment.add_image("samples", grid, trainer.global_step - 1, dataformats="HWC")
