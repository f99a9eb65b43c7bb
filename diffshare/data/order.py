"""The order in which records are read: a function of (seed, pass), shared out over processes without padding."""

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler

from diffshare.errors import UserError


class ShuffledShard(Sampler[int]):
    """One process's share of the shuffled records, in whole batches, resumable at any batch.

    The order is a function of (seed, pass over the data): pass p reads the permutation ``default_rng([seed, p])``.
    Global batch b of a pass is one run of ``world * batch_size`` records of it; rank r reads the r-th slice of that
    run. So the records of a step do not depend on how many processes share it, and a resumed run goes on with the very
    next batch. What is left over at the end of a pass (less than a global batch) is not read in that pass.

    Args:
        size: number of records.
        batch_size: records in a batch of one process.
        seed: of the order.
        rank: of this process.
        world: number of processes.
        batches_done: tells how many batches of the training were finished before this iteration began. The sampler
            counts on that alone: the trainer sets epochs too late for loader processes that fetch ahead.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        rank: int,
        world: int,
        batches_done: Callable[[], int],
    ) -> None:
        self.batches = size // (batch_size * world)
        if self.batches == 0:
            each = f" in each of {world} processes" if world > 1 else ""
            raise UserError(
                f"{size} training records do not fill one batch of data.batch_size {batch_size}{each}: "
                f"lower data.batch_size to at most {max(1, size // world)} or train on more records"
            )
        self.size, self.batch_size, self.seed, self.rank, self.world = (
            size,
            batch_size,
            seed,
            rank,
            world,
        )
        self.batches_done = batches_done

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        """As many batches as a pass has, from the next one on (the trainer leaves an epoch when it has enough)."""
        done, first = divmod(self.batches_done(), self.batches)
        yield from self._pass(done)[first:].reshape(-1).tolist()
        yield from self._pass(done + 1)[:first].reshape(-1).tolist()

    def _pass(self, number: int) -> np.ndarray:
        """Positions that this process reads in one pass over the data, int64, batches x batch_size."""
        order = np.random.default_rng([self.seed, number]).permutation(self.size)
        whole = order[: self.batches * self.world * self.batch_size]
        return whole.reshape(self.batches, self.world, self.batch_size)[:, self.rank]


class SequentialShard(Sampler[int]):
    """Every ``world``-th record from ``rank`` on: each record is read once by one process, none is padded."""

    def __init__(self, size: int, rank: int, world: int) -> None:
        if size < world:
            raise UserError(
                f"{world} processes share {size} records: use at most {max(size, 1)} devices"
            )
        self.positions = range(rank, size, world)

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[int]:
        return iter(self.positions)
