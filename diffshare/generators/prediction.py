"""Writes what ``predict`` draws, on however many processes, as one samples folder."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from diffshare.errors import UserError
from diffshare.generators.base import GenerativeModule
from diffshare.release.info import Drawn, drawn_info
from diffshare.release.samples import write_samples
from diffshare.release.tables import write_table_samples
from diffshare.storage import atomic_file, sha256_file


class SamplesWriter(BasePredictionWriter):
    """Gathers the samples of all processes and writes them in the order of their numbers.

    Args:
        folder: the samples folder to make.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("epoch")
        self.folder = folder
        self._started = 0.0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a model that draws nothing, and a folder that is taken, before any time is spent."""
        if not isinstance(pl_module, GenerativeModule):
            raise UserError(
                "predict draws samples: it needs a generator; use test for a classifier"
            )
        if pl_module.loaded_step == 0:
            raise UserError(
                "the checkpoint is of a training that has made no step: go on with it, or name another run"
            )
        if self.folder.exists() and any(self.folder.iterdir()):
            raise UserError(
                f"{self.folder} already holds samples: move it away or predict into another `run_dir`"
            )
        self._started = time.perf_counter()

    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Each process leaves its part beside the folder; the first one joins them."""
        assert isinstance(pl_module, GenerativeModule)
        parts = [self.folder.parent / f".samples-{rank}.npz" for rank in range(trainer.world_size)]
        index, label, x = (np.concatenate(column) for column in zip(*predictions, strict=True))
        with atomic_file(parts[trainer.global_rank]) as temporary, temporary.open("wb") as stream:
            np.savez(stream, index=index, label=label, x=x)
        trainer.strategy.barrier("samples")
        if not trainer.is_global_zero:
            return
        loaded = [dict(np.load(part, allow_pickle=False)) for part in parts]
        index, label, x = (
            np.concatenate([part[name] for part in loaded]) for name in ("index", "label", "x")
        )
        order = np.argsort(index)
        facts = pl_module.facts
        info = drawn_info(
            Drawn(
                "balanced" if pl_module.conditional else "none",
                pl_module.sampling_seed,
                pl_module.sampling_steps,
                pl_module.guidance,
            ),
            facts.labels if facts is not None and pl_module.conditional else (),
            queries=len(order),
            seconds=time.perf_counter() - self._started,
            model=self.folder.parent.name,
            sha256=sha256_file(Path(str(trainer.ckpt_path))),
            target=facts.target or None if facts is not None and pl_module.conditional else None,
        )
        if (schema := getattr(pl_module, "schema", None)) is not None:
            write_table_samples(self.folder, schema, x[order], info)
        else:
            write_samples(self.folder, x[order], label[order], info)
        for part in parts:
            part.unlink()
