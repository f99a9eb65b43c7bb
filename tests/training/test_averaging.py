"""The averaged weights: against a slow reference in float64, and where they are kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from training_steps import Drift, fit

from diffshare.errors import UserError
from diffshare.training.averaging import WarmupEMA, averaged_weights
from diffshare.training.checkpoint import KeepCheckpoint, read_checkpoint
from diffshare.training.quiet import quiet


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with quiet():
        yield


class Watch(Callback):
    """The average after each batch."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        raw = pl_module.weight.detach().clone()
        with averaged_weights(trainer, pl_module):
            self.seen.append(pl_module.weight.detach().numpy().copy())
        assert pl_module.weight.equal(raw)


def reference(steps: int, accumulate: int, decay: float) -> list[np.ndarray]:
    """The average after each optimizer step k: a <- d a + (1 - d) w with d = min(decay, (1 + k) / (10 + k)).

    The first one is the weights after the first step: the random start is no part of it.
    """
    weight = average = np.arange(3.0)
    found = []
    for k in range(1, steps + 1):
        batches = range((k - 1) * accumulate, k * accumulate)
        weight = weight - 0.25 * sum(b + 1 for b in batches) / accumulate
        d = min(decay, (1 + k) / (10 + k))
        average = weight if k == 1 else d * average + (1 - d) * weight
        found.append(average.copy())
    return found


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9999])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_is_that_of_a_slow_reference(
    tmp_path: Path, accumulate: int, decay: float
) -> None:
    watch, model = Watch(), Drift()
    fit(
        model,
        tmp_path,
        [WarmupEMA(decay), watch],
        20 * accumulate,
        accumulate_grad_batches=accumulate,
    )
    found = watch.seen[accumulate - 1 :: accumulate]
    np.testing.assert_allclose(found, reference(20, accumulate, decay), rtol=1e-6)
    if accumulate == 2:  # nothing moves between two optimizer steps
        np.testing.assert_array_equal(watch.seen[1:-1:2], watch.seen[2::2])
    # after the fit the model is its average
    np.testing.assert_array_equal(model.weight.detach(), found[-1])


def test_the_decay_warms_up(tmp_path: Path) -> None:
    watch = Watch()
    fit(Drift(), tmp_path, [WarmupEMA(0.9999), watch], 2)
    first, second = np.arange(3.0) - 0.25, np.arange(3.0) - 0.75
    np.testing.assert_allclose(watch.seen, [first, 3 / 12 * first + 9 / 12 * second], rtol=1e-6)


def test_the_weights_come_back_after_an_error(tmp_path: Path) -> None:
    class Fail(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
            raw = pl_module.weight.detach().clone()
            with pytest.raises(KeyError), averaged_weights(trainer, pl_module):
                raise KeyError
            assert pl_module.weight.equal(raw)

    fit(Drift(), tmp_path, [WarmupEMA(0.9), Fail()], 3)


def test_without_an_average_nothing_is_swapped(tmp_path: Path) -> None:
    class Same(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
            raw = pl_module.weight.detach().clone()
            with averaged_weights(trainer, pl_module):
                assert pl_module.weight.equal(raw)

    fit(Drift(), tmp_path, [Same()], 2)


def test_a_checkpoint_holds_the_average_and_the_raw_weights(tmp_path: Path) -> None:
    keeper, model = KeepCheckpoint(), Drift()
    keeper.path = tmp_path / "last.ckpt"
    fit(model, tmp_path, [WarmupEMA(0.9), keeper], 20)
    checkpoint = read_checkpoint(keeper.path)
    np.testing.assert_allclose(
        checkpoint["state_dict"]["weight"], reference(20, 1, 0.9)[-1], rtol=1e-6
    )
    np.testing.assert_allclose(
        checkpoint["current_model_state"]["weight"], np.arange(3.0) - 0.25 * 210, rtol=1e-6
    )
    # copied, not averaged
    assert checkpoint["state_dict"]["count"] == checkpoint["current_model_state"]["count"] == 20
    assert torch.equal(model.weight.detach(), checkpoint["state_dict"]["weight"])


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_without_meaning(decay: float) -> None:
    with pytest.raises(UserError, match="must lie in"):
        WarmupEMA(decay)
