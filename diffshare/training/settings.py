"""Settings of the trainer that Lightning takes and that would stop a run with a traceback, or spoil it silently."""

from typing import Any

from lightning.pytorch import Trainer

from diffshare.errors import UserError

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # weights and losses stay in fp32
LIMITS = {
    "fit": "limit_train_batches",
    "validate": "limit_val_batches",
    "test": "limit_test_batches",
    "predict": "limit_predict_batches",
}


def check_counts(config: Any, verb: str = "fit") -> None:
    """Refuse counts of the trainer below their least value, and a limit that leaves a verb nothing to do.

    Args:
        config: arguments of the trainer, by attribute.
        verb: what is run.

    Raises:
        UserError: names the setting.
    """
    for name, least in (
        ("accumulate_grad_batches", 1),
        ("check_val_every_n_epoch", 1),
        ("gradient_clip_val", 0),
    ):
        value = getattr(config, name, None)
        if isinstance(value, int | float) and value < least:
            raise UserError(f"trainer.{name} is {value}: it must be at least {least}, or null")
    for name in ("val_check_interval", LIMITS[verb]):
        value = getattr(config, name, None)
        if isinstance(value, int | float) and value == 0:
            raise UserError(
                f"trainer.{name} is {value}: a share above 0, or at least 1 batch, is needed"
            )


def check_precision(trainer: Trainer) -> None:
    """Refuse a precision in which the weights themselves are not fp32.

    Raises:
        UserError: names those that can be used.
    """
    if trainer.precision not in PRECISIONS:
        raise UserError(
            f"trainer.precision is {trainer.precision}: weights and records are fp32 here, so use one of "
            f"{', '.join(PRECISIONS)}, or leave it out"
        )


def check_trained(trainer: Trainer) -> None:
    """Refuse to end a training that made no step as if it had made some.

    Raises:
        UserError: says which settings may have stopped it.
    """
    if not trainer.global_step:
        raise UserError(
            "no step was trained, so nothing is released: let trainer.max_time, trainer.limit_train_batches and the "
            "callbacks leave time for one"
        )
