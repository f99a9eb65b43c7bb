"""The order of records: nobody reads a record twice, however many processes share it and wherever it is taken up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffshare.data.order import SequentialShard, ShuffledShard
from diffshare.errors import UserError


def shuffled(
    size: int = 50, batch: int = 4, seed: int = 3, rank: int = 0, world: int = 1, done: int = 0
) -> list[list[int]]:
    """The batches of one process from batch ``done`` of the training on."""
    order = list(ShuffledShard(size, batch, seed, rank, world, lambda: done))
    return [order[i : i + batch] for i in range(0, len(order), batch)]


@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 4), st.integers(0, 5))
def test_no_record_comes_twice_in_a_pass(size, batch, world, number):
    if size < batch * world:
        with pytest.raises(UserError, match=rf"^{size} training records do not fill one batch"):
            ShuffledShard(size, batch, 0, 0, world, lambda: 0)
        return
    done = number * (size // (batch * world))
    shards = [ShuffledShard(size, batch, 0, rank, world, lambda: done) for rank in range(world)]
    orders = [list(shard) for shard in shards]
    assert [len(order) for order in orders] == [len(shard) for shard in shards]
    together = sum(orders, [])
    assert len(set(together)) == len(together) == size // (batch * world) * batch * world
    assert set(together) <= set(range(size))


@pytest.mark.parametrize("world", [2, 3, 6])
@pytest.mark.parametrize("done", [0, 3, 4, 9])
def test_the_records_of_a_step_do_not_depend_on_how_many_processes_share_it(world, done):
    alone = shuffled(batch=12, done=done)
    shared = [
        shuffled(batch=12 // world, rank=rank, world=world, done=done) for rank in range(world)
    ]
    for step, batch in enumerate(alone):
        assert sorted(sum((rank[step] for rank in shared), [])) == sorted(batch)
    assert {len(rank) for rank in shared} == {len(alone)}


@pytest.mark.parametrize("world", [1, 2])
def test_taken_up_anywhere_it_goes_on_with_exactly_the_rest(world):
    for rank in range(world):
        n = len(shuffled(rank=rank, world=world))
        training = sum(
            (shuffled(rank=rank, world=world, done=number * n) for number in range(4)), []
        )
        for done in range(3 * n):
            assert shuffled(rank=rank, world=world, done=done) == training[done : done + n]


def test_a_loader_process_that_asked_early_reads_on_into_the_next_pass():
    n = len(shuffled())
    assert sorted(sum(shuffled(done=n), [])) != sorted(sum(shuffled(done=n - 1), []))
    assert shuffled(done=n - 1)[1:] == shuffled(done=n)[:-1]


def test_every_pass_and_every_seed_has_an_order_of_its_own():
    n = len(shuffled())
    orders = {str(shuffled(done=number * n, seed=seed)) for number in range(5) for seed in range(4)}
    assert len(orders) == 20
    assert shuffled(done=n) == shuffled(done=n)


def test_the_records_left_over_change_from_pass_to_pass():
    seen: set[int] = set()
    for number in range(30):
        seen |= set(sum(shuffled(size=10, batch=8, done=number), []))
    assert seen == set(range(10))


def test_the_number_of_finished_batches_is_asked_when_the_iteration_begins():
    done = [0]
    shard = ShuffledShard(20, 5, 0, 0, 1, lambda: done[0])
    whole = list(shard)
    done[0] = 3
    assert list(shard)[:5] == whole[15:]


def test_the_order_looks_random():
    first = np.array([shuffled(size=20, batch=20, seed=seed)[0][0] for seed in range(400)])
    # a place is missed with probability 20 * 0.95^400 < 10^-7
    assert np.bincount(first, minlength=20).min() > 0


def test_too_few_records_for_a_batch_name_the_setting():
    with pytest.raises(
        UserError,
        match=r"3 training records .* data\.batch_size 8: lower data\.batch_size to at most 3",
    ):
        ShuffledShard(3, 8, 0, 0, 1, lambda: 0)
    with pytest.raises(
        UserError, match=r"9 .* in each of 2 processes: lower data\.batch_size to at most 4"
    ):
        ShuffledShard(9, 8, 0, 0, 2, lambda: 0)


@given(st.integers(1, 40), st.integers(1, 6))
def test_a_sequential_shard_covers_each_record_once(size, world):
    if size < world:
        with pytest.raises(
            UserError, match=rf"{world} processes share {size} records: use at most {size} devices"
        ):
            SequentialShard(size, 0, world)
        return
    shards = [SequentialShard(size, rank, world) for rank in range(world)]
    assert sorted(sum((list(shard) for shard in shards), [])) == list(range(size))
    assert [len(shard) for shard in shards] == [len(list(shard)) for shard in shards]
    assert list(SequentialShard(size, 0, 1)) == list(range(size))
