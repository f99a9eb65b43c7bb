"""A classifier whose decisions are written in the records, and what a test of it by several processes leaves.

As a script: ``deciding.py DEVICES FOLDER`` tests it by that many processes; each writes ``FOLDER/RANK.json``.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from diffshare.audits.fairness import Fairness
from diffshare.batch import Batch
from diffshare.data.module import RecordsDataModule
from diffshare.data.recordsets import RecordSet


class Deciding(LightningModule):
    """Decides as the first column of a row says."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.weight**2

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return batch.x[:, 0].long()

    test_step = validation_step

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Decided(RecordsDataModule):
    """Records that are given as (group, class, decision), int64, N x 3."""

    def __init__(self, records: np.ndarray, batch_size: int = 5) -> None:
        super().__init__(batch_size)
        s, y, decided = records.T
        made = RecordSet(decided[:, None].astype(np.float32), np.arange(len(y)), y, s)
        self.sets = {"train": made, "val": made, "test": made}


def draw(n: int, groups: int, classes: int, seed: int = 0) -> np.ndarray:
    """Random records."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, k, n) for k in (groups, classes, classes)], 1)


def trainer(folder: Path, **options: Any) -> Trainer:
    """A trainer without anything that a test does not look at."""
    quiet = {
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    given = {"accelerator": "cpu", "devices": 1, "logger": False, "use_distributed_sampler": False}
    return Trainer(default_root_dir=folder, **{**quiet, **given, **options})


def measure(folder: Path, data: RecordsDataModule, devices: int = 1) -> Fairness:
    """Test by so many processes; gives the callback."""
    fairness = Fairness(resamples=50)
    strategy = {"strategy": "ddp", "devices": devices} if devices > 1 else {}
    trainer(folder, callbacks=[fairness], **strategy).test(
        Deciding(), datamodule=data, verbose=False
    )
    return fairness


if __name__ == "__main__":
    devices, folder = int(sys.argv[1]), Path(sys.argv[2])
    measured = measure(folder, Decided(draw(37, 3, 2)), devices)
    rank = torch.distributed.get_rank() if devices > 1 else 0
    (folder / f"{rank}.json").write_text(json.dumps(measured.results))
