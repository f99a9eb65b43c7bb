"""Settings of the trainer that Lightning takes unchecked."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from diffshare.errors import MOST_SEED, UserError, check_seed
from diffshare.training.settings import LIMITS, check_counts, check_precision, check_trained


@pytest.mark.parametrize("seed", [-1, 2**32, 10**30, True, False, 1.0, "1"])
def test_seeds_that_no_run_can_be_repeated_with(seed: Any) -> None:
    with pytest.raises(
        UserError, match="`seed_everything` is .*: give a number from 0 to 4294967295"
    ):
        check_seed("seed_everything", seed)


@pytest.mark.parametrize("seed", [0, 1, MOST_SEED])
def test_seeds(seed: int) -> None:
    check_seed("seed_everything", seed)


@pytest.mark.parametrize(
    "name", ["64-true", "bf16-true", "16-true", "transformer-engine", "transformer-engine-float16"]
)
def test_precisions_of_the_weights_themselves(name: str) -> None:
    with pytest.raises(
        UserError, match=f"trainer.precision is {name}: .* 32-true, bf16-mixed, 16-mixed"
    ):
        check_precision(SimpleNamespace(precision=name))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["32-true", "bf16-mixed", "16-mixed"])
def test_precisions(name: str) -> None:
    check_precision(SimpleNamespace(precision=name))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accumulate_grad_batches", 0),
        ("accumulate_grad_batches", -1),
        ("check_val_every_n_epoch", 0),
        ("gradient_clip_val", -1.0),
        ("val_check_interval", 0),
        ("val_check_interval", 0.0),
        ("limit_train_batches", 0),
        ("limit_train_batches", 0.0),
    ],
)
def test_counts_that_divide_by_zero_or_train_nothing(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"trainer.{name} is {value}: "):
        check_counts(SimpleNamespace(**{name: value}))


@pytest.mark.parametrize("verb", LIMITS)
def test_a_limit_of_nothing_is_refused_for_the_verb_that_it_stops(verb: str) -> None:
    for other in LIMITS:
        config = SimpleNamespace(**{LIMITS[other]: 0})
        if other == verb:
            with pytest.raises(UserError, match=f"trainer.{LIMITS[verb]} is 0"):
                check_counts(config, verb)
        else:
            check_counts(config, verb)  # a training without validation is one


def test_counts() -> None:
    names = (
        "accumulate_grad_batches",
        "check_val_every_n_epoch",
        "gradient_clip_val",
        "val_check_interval",
    )
    for value in (1, None, timedelta(seconds=1), "00:01:00:00"):
        check_counts(SimpleNamespace(**dict.fromkeys((*names, "limit_train_batches"), value)))
    check_counts(
        SimpleNamespace(gradient_clip_val=0, limit_train_batches=0.5, val_check_interval=0.25)
    )


def test_no_step_is_no_training() -> None:
    check_trained(SimpleNamespace(global_step=1))  # type: ignore[arg-type]
    with pytest.raises(
        UserError, match="no step was trained, so nothing is released: let trainer.max_time"
    ):
        check_trained(SimpleNamespace(global_step=0))  # type: ignore[arg-type]
