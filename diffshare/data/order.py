"""The order in which records are read: a function of (seed, epoch), shared out over processes without padding."""

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler

from diffshare.errors import UserError


class ShuffledShard(Sampler[int]):
    """One process's share of a shuffled epoch, in whole batches, resumable in the middle.

    The permutation of an epoch is ``default_rng([seed, epoch])``. Global batch b is one run of ``world * batch_size``
    records of it; rank r reads the r-th slice of that run. So the records of a step do not depend on how many
    processes share it, and a resumed run goes on with the very next batch.

    Args:
        size: number of records.
        batch_size: records in a batch of one process.
        seed: of the order.
        rank: of this process.
        world: number of processes.
        batches_done: tells how many batches of the training were finished before this iteration began.
    """

    def __init__(
        self, size: int, batch_size: int, seed: int, rank: int, world: int, batches_done: Callable[[], int]
    ) -> None:
        self.batches = size // (batch_size * world)
        if self.batches == 0:
            each = f" in each of {world} processes" if world > 1 else ""
            raise UserError(
                f"{size} training records do not fill one batch of data.batch_size {batch_size}{each}: "
                f"lower data.batch_size to at most {max(1, size // world)} or train on more records"
            )
        self.size, self.batch_size, self.seed, self.rank, self.world = size, batch_size, seed, rank, world
        self.batches_done = batches_done
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        whole = order[: self.batches * self.world * self.batch_size]
        mine = whole.reshape(self.batches, self.world, self.batch_size)[:, self.rank]
        first = self.batches_done() % self.batches
        yield from mine[first:].reshape(-1).tolist()


class SequentialShard(Sampler[int]):
    """Every ``world``-th record from ``rank`` on: each record is read once by one process, none is padded."""

    def __init__(self, size: int, rank: int, world: int) -> None:
        if size < world:
            raise UserError(f"{world} processes share {size} records: use at most {max(size, 1)} devices")
        self.positions = range(rank, size, world)

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[int]:
        return iter(self.positions)
