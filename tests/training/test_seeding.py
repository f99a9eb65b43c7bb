"""Noise of a training step: another at each step and in each process, the same where a step is done again."""

from types import SimpleNamespace
from typing import Any

import torch

from diffshare.training.seeding import BatchSeeding


def noise(seed: int, step: int, epoch_step: int, rank: int) -> float:
    loop = SimpleNamespace(total_batch_idx=step, batch_idx=epoch_step)
    trainer: Any = SimpleNamespace(fit_loop=loop, global_rank=rank)
    with torch.random.fork_rng(devices=[]):
        BatchSeeding(seed).on_train_batch_start(trainer, None, None, epoch_step)  # type: ignore[arg-type]
        return float(torch.rand(()))


def test_noise_is_of_seed_step_and_process_and_of_nothing_else():
    drawn = {
        noise(seed, epoch * 3 + step, step, rank)
        for seed in (0, 1)
        for epoch in (0, 1)
        for step in range(3)
        for rank in (0, 1)
    }
    assert len(drawn) == 2 * 2 * 3 * 2
    # epochs of another length do not change what the fifth batch draws
    assert noise(0, 4, 1, 0) == noise(0, 4, 4, 0)
