"""Data modules: the base that all share, and ``MixDataModule``, the sharer's view of a source."""

import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from diffshare.batch import Batch, Request
from diffshare.data.cache import Decoded, open_records
from diffshare.data.manifest import ChosenMix
from diffshare.data.mixes import Clean, Mix, Pool, balanced
from diffshare.data.order import SequentialShard, ShuffledShard
from diffshare.data.recordsets import RecordSet, RequestSet, scaled
from diffshare.data.roles import Roles
from diffshare.data.source import PARTS, Index, Source, portion, split
from diffshare.data.table import Column
from diffshare.errors import UserError, check_number, check_seed
from diffshare.release.generator import MOST_SAMPLES
from diffshare.signals import heeded


def _whole(batch: Any) -> Any:
    """The set already made a batch; there is nothing to collate."""
    return batch


def _leave_signals(_: int) -> None:
    """A loader process goes on when its whole group is asked to stop: the training still has a batch to finish."""
    for signum in heeded():
        signal.signal(signum, signal.SIG_IGN)


class RecordsDataModule(LightningDataModule):
    """Loaders over sets of records; a subclass fills ``sets`` in ``setup`` and may say what the labels are called.

    Args:
        batch_size: records a training step of one process.
        eval_batch_size: records a step of validation and test; ``batch_size`` where left out.
        num_workers: loader processes. 0 is fastest where records come from the decoded cache.
        seed: fixes the disjoint parts, the mix and the order of records; ``seed_everything`` fixes the training.
    """

    def __init__(
        self,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", batch_size if eval_batch_size is None else eval_batch_size, 1),
            ("num_workers", num_workers, 0),
        ):
            check_number(f"data.{name}", value, least)
        check_seed("data.seed", seed)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.num_workers, self.seed = num_workers, seed
        self.sets: dict[str, RecordSet] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the target: their codes where nothing else is known."""
        return tuple(
            map(
                str,
                range(
                    1 + max(int(records.target.max(initial=-1)) for records in self.sets.values())
                ),
            )
        )

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups: their codes where nothing else is known; none where no group is known."""
        return tuple(
            map(
                str,
                range(
                    1
                    + max(int(records.sensitive.max(initial=-1)) for records in self.sets.values())
                ),
            )
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a table; none of images."""
        return ()

    @property
    def target_columns(self) -> tuple[str, ...]:
        """The columns of a table that tell the class: a classifier is not to see them."""
        target = getattr(self, "target", None)
        return (target,) if target else ()

    @property
    def used(self) -> str:
        """How many records of which part are used, in words; empty where there are no parts."""
        return ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of how the records were read."""
        return ()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled whole batches, resumable in mid-epoch, disjoint over processes."""
        assert self.trainer is not None
        loop = self.trainer.fit_loop
        sampler = ShuffledShard(
            len(self.sets["train"]),
            self.batch_size,
            self.seed,
            self.trainer.global_rank,
            self.trainer.world_size,
            lambda: loop.total_batch_idx + 1,
        )
        return self._loader(self.sets["train"], sampler, self.batch_size, drop_last=True)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Each validation record once; nothing where there are none."""
        return self._sequential("val") if "val" in self.sets else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Each test record once.

        Raises:
            UserError: there are no test records, or the class of some is not known.
        """
        target = self.sets["test"].target
        if not len(target):
            raise UserError(
                "the test part of the source holds no records: change the source's shares or its files"
            )
        if unknown := int(np.sum(target < 0)):
            raise UserError(
                f"the class of {unknown} of {len(target)} test records is unknown: fill it in or drop them"
            )
        return self._sequential("test")

    def _shard(self, size: int) -> SequentialShard:
        assert self.trainer is not None
        return SequentialShard(size, self.trainer.global_rank, self.trainer.world_size)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Bytes become floats on the device, so that a quarter of the data travels."""
        if isinstance(batch, Batch) and batch.x.dtype == torch.uint8:
            return batch._replace(x=scaled(batch.x))
        return batch

    def _sequential(self, name: str) -> DataLoader[Batch]:
        records = self.sets[name]
        return self._loader(
            records, self._shard(len(records)), self.eval_batch_size, drop_last=False
        )

    def _loader(
        self, records: Any, sampler: Any, batch_size: int, *, drop_last: bool
    ) -> DataLoader[Any]:
        return DataLoader(
            records,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            collate_fn=_whole,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_leave_signals,
        )


class MixDataModule(RecordsDataModule):
    """The sharer's data: a source, cut into disjoint parts, and a mix chosen from the sharer's part.

    Training reads the mix alone. Validation reads records of the same part that are kept out of the pool, test the
    test part; no record stands in two of them.

    ``predict`` asks a generator for ``predict_count`` samples, the classes in turn.

    Args:
        source: where the records come from.
        target: attribute that is the class Y: what a conditional model is asked for.
        sensitive: attribute that is the group S.
        mix: which records of the pool to train on; all of them where left out.
        pool: ``natural`` offers the mix every record, ``balanced`` as many of each S x Y cell as the rarest has.
        test_balance: cut the test set down to equal S x Y cells.
        part: part of the source that the pool is made of; a receiver trains on ``auxiliary``.
        validation_share: share of that part that is kept for validation, by a hash of the record's name.
        predict_count: samples that ``predict`` draws.
        cache_dir: where decoded records are kept; ``$DIFFSHARE_CACHE`` or the user's cache folder where left out.
        batch_size: records a training step of one process.
        eval_batch_size: records a step of validation and test; ``batch_size`` where left out.
        num_workers: loader processes. 0 is fastest where records come from the decoded cache.
        seed: fixes the disjoint parts, the mix and the order of records; ``seed_everything`` fixes the training.
    """

    def __init__(
        self,
        source: Source,
        target: str,
        sensitive: str | None = None,
        mix: Mix | None = None,
        pool: Literal["natural", "balanced"] = "natural",
        test_balance: bool = False,
        part: Literal["sharer", "auxiliary"] = "sharer",
        validation_share: float = 0.05,
        predict_count: int = 64,
        cache_dir: Path | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        if not 0 <= validation_share < 1:
            raise UserError(f"data.validation_share is {validation_share}: it lies in [0, 1)")
        if pool == "balanced" and sensitive is None:
            raise UserError(
                "data.pool balanced needs data.sensitive: name the attribute to balance with the target"
            )
        self.source, self.target, self.sensitive = source, target, sensitive
        self.roles = Roles(target, sensitive)
        self.mix: Mix = mix or Clean()
        self.pool, self.test_balance = pool, test_balance
        self.part, self.validation_share = part, validation_share
        if predict_count < 1:
            raise UserError(f"data.predict_count is {predict_count}: ask for at least 1 sample")
        check_number("data.predict_count", predict_count, 1, MOST_SAMPLES)
        self.predict_count, self.cache_dir = predict_count, cache_dir
        self._records: Decoded | None = None
        self._available = 0  # records of the part
        self.chosen: ChosenMix | None = None

    def prepare_data(self) -> None:
        """Decode the source into the cache where that was not done yet."""
        self.records()

    def records(self) -> Decoded:
        """The decoded source."""
        if self._records is None:
            self._records = open_records(self.source, self.cache_dir)
        return self._records

    def setup(self, stage: str | None = None) -> None:
        """Cut the parts, choose the mix, make the sets."""
        if self.sets:
            return
        records = self.records()
        parts = split(records.index, self.source.shares, self.seed)
        whole = np.flatnonzero(parts == PARTS.index(self.part))
        self._available = len(whole)
        self.roles.check_known(records.index, whole, self.part)
        mine, kept = self._hold_out(whole, records.index)
        auxiliary = self._pool(records, np.flatnonzero(parts == PARTS.index("auxiliary")))
        self.chosen, rows = self._choose(
            records, mine, None if self.part == "auxiliary" else auxiliary
        )
        pool, choice = self.chosen.pool, self.chosen.choice
        sensitive = pool.s.codes[choice.positions].astype(np.int64)
        self.sets["train"] = RecordSet(records.x, rows[choice.positions], choice.target, sensitive)
        if len(kept):
            self.sets["val"] = RecordSet(records.x, kept, *self.roles.codes(records.index, kept))
        test = self.roles.rows_of(
            records.index, parts, "test", balance=self.test_balance, seed=self.seed
        )
        self.sets["test"] = RecordSet(records.x, test, *self.roles.codes(records.index, test))

    def predict_dataloader(self) -> DataLoader[Request]:
        """Requests for samples, each to one process."""
        requests = RequestSet(self.predict_count, len(self.classes))
        return self._loader(
            requests, self._shard(len(requests)), self.eval_batch_size, drop_last=False
        )

    def chosen_mix(self) -> ChosenMix:
        """The mix that training reads (``setup`` is called where it was not)."""
        self.setup()
        assert self.chosen is not None
        return self.chosen

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes of the target."""
        return self.chosen_mix().pool.y.classes

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups; none where no sensitive attribute is named."""
        return self.roles.groups(self.records().index)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a table; none of images."""
        return getattr(self.source, "columns", ())

    @property
    def target_columns(self) -> tuple[str, ...]:
        """The columns of a table that tell the class."""
        return self.records().index.columns_of(self.target)

    @property
    def used(self) -> str:
        """How many records of which part are used, in words."""
        chosen, total = len(self.chosen_mix().choice.positions), len(self.records().index)
        kept = len(self.sets["val"]) if "val" in self.sets else 0
        return (
            f"{portion(self.part, self._available, total)}, {chosen:,} of them in the mix, {kept:,} for validation; "
            f"{portion('test', len(self.sets['test']), total)}"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of the source, and what the mix has to say of itself."""
        told = self.chosen_mix().choice.report.get("notes", ())
        return (*getattr(self.source, "notes", ()), *told)

    def _hold_out(self, rows: np.ndarray, index: Index) -> tuple[np.ndarray, np.ndarray]:
        """The records for the pool and those kept for validation."""
        if self.validation_share == 0:
            return rows, rows[:0]
        # the same hash as the parts, under a key of its own: independent of them and stable when records come or go
        bare = replace(index.take(rows), parts=None)
        kept = (
            split(bare, (1 - self.validation_share, self.validation_share, 0.0), -1 - self.seed)
            == 1
        )
        if kept.all():
            raise UserError(
                f"data.validation_share {self.validation_share} leaves none of the {len(rows)} {self.part} records "
                "to train on: lower it"
            )
        return rows[~kept], rows[kept]

    def _pool(self, records: Decoded, rows: np.ndarray, auxiliary: Pool | None = None) -> Pool:
        """The records of these rows as a mix sees them."""
        return Pool(
            records.index.take(rows),
            self.target,
            self.sensitive,
            read=lambda positions: records.x[rows[positions]],
            auxiliary=auxiliary,
            source_sha256=records.source_sha256,
        )

    def _choose(
        self, records: Decoded, rows: np.ndarray, auxiliary: Pool | None
    ) -> tuple[ChosenMix, np.ndarray]:
        """Choose the mix; also the row of ``records`` of each record of the pool."""
        if self.pool == "balanced":
            assert self.sensitive is not None
            rows = rows[
                balanced(records.index.take(rows), [self.sensitive, self.target], self.seed)
            ]
        pool = self._pool(records, rows, auxiliary)
        started = time.perf_counter()
        choice = self.mix.choose(pool, self.seed)
        seconds = time.perf_counter() - started
        shares = None if records.index.parts is not None else self.source.shares
        sha256 = records.source_sha256
        return ChosenMix(
            self.mix.policy, pool, choice, self.seed, seconds, sha256, self.part, shares
        ), rows
