"""The receiver's data: trained on samples of a black box, tested on real records."""

from pathlib import Path
from typing import Literal

import numpy as np

from diffshare.data.cache import open_records
from diffshare.data.module import RecordsDataModule, RecordSet
from diffshare.data.source import PARTS, Source, split
from diffshare.errors import UserError
from diffshare.release.samples import read_samples


class SyntheticDataModule(RecordsDataModule):
    """Training reads a samples folder, test real records that the generator was not trained on.

    Args:
        samples: samples folder with a class for each sample.
        test_source: source of the real records.
        target: attribute of ``test_source`` that the samples' classes stand for.
        sensitive: attribute of ``test_source`` that is the group S.
        test_part: part of ``test_source`` to test on.
        cache_dir: where decoded records are kept; ``$DIFFSHARE_CACHE`` or the user's cache folder where left out.
        batch_size: samples a training step of one process.
        eval_batch_size: records a step of test; ``batch_size`` where left out.
        num_workers: loader processes.
        seed: fixes the parts of ``test_source`` and the order of samples. Where the source has no official parts, it
            must be the ``data.seed`` of the generator's training, or the parts are others.
    """

    def __init__(
        self,
        samples: Path,
        test_source: Source,
        target: str,
        sensitive: str | None = None,
        test_part: Literal["auxiliary", "test"] = "test",
        cache_dir: Path | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        self.samples, self.test_source, self.test_part = samples, test_source, test_part
        self.target, self.sensitive, self.cache_dir = target, sensitive, cache_dir

    def setup(self, stage: str | None = None) -> None:
        """Read the samples and the test records.

        Raises:
            UserError: the samples have no classes, or are of another size than the test records.
        """
        if self.sets:
            return
        samples = read_samples(self.samples)
        if (samples.y < 0).any():
            raise UserError(f"{self.samples} has samples without a class: draw them with --labels balanced or natural")
        records = open_records(self.test_source, self.cache_dir)
        if samples.x.shape[1:] != records.x.shape[1:]:
            raise UserError(
                f"the samples in {self.samples} are {samples.x.shape[1:]}, the test records {records.x.shape[1:]}: "
                "give the test source the same image_size"
            )
        n = len(samples.x)
        self.sets["train"] = RecordSet(samples.x, np.arange(n), samples.y, np.full(n, -1))
        parts = split(records.index, self.test_source.shares, self.seed)
        rows = np.flatnonzero(parts == PARTS.index(self.test_part))
        target = records.index.attribute(self.target).codes[rows].astype(np.int64)
        sensitive = np.full(len(rows), -1)
        if self.sensitive is not None:
            sensitive = records.index.attribute(self.sensitive).codes[rows].astype(np.int64)
        self.sets["test"] = RecordSet(records.x, rows, target, sensitive)
