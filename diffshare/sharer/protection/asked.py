"""What may be asked of a protection: the share to show, how it is shown, and how strongly to guide."""

from typing import Literal, get_args

from diffshare.errors import UserError, check_number, check_seed, one_of
from diffshare.release.generator import MOST_SAMPLES

MOST_SCALE = 1000.0  # a scale beyond it drives every pixel to its bound
SCALE = 8.0  # 1 is Bayes' rule; a classifier is less sure of a prediction than of the image that it becomes
Method = Literal["accept", "guide"]


def check_share(share: float) -> None:
    """Refuse a share that samples cannot show.

    Raises:
        UserError: it does not lie in (0, 1).
    """
    if not 0 < share < 1:
        raise UserError(f"the share to show is {share}: it lies between 0 and 1, both excluded")


def check_scale(scale: float) -> None:
    """Refuse a scale that is none.

    Raises:
        UserError: it is not in 0..1000.
    """
    if not 0 <= scale <= MOST_SCALE:
        raise UserError(
            f"the scale of the guide is {scale}: a number from 0 to {MOST_SCALE:g} is expected (1 is Bayes' rule)"
        )


def check_method(method: str, guide_scale: float | None) -> None:
    """Refuse a way of showing a share that there is not, and a scale that guides nothing.

    Args:
        method: ``accept`` or ``guide``.
        guide_scale: of ``guide``; None where none was given.

    Raises:
        UserError: names the argument.
    """
    if method not in get_args(Method):
        raise one_of("`method`", method, get_args(Method))
    if guide_scale is None:
        return
    if method != "guide":
        raise UserError("`guide_scale` is for `method` guide: choose that, or leave it out")
    check_scale(guide_scale)
    if not guide_scale:
        raise UserError(
            "`guide_scale` is 0, which guides nothing: give a number above 0, or draw plain samples"
        )


def check_numbers(
    *,
    count: int,
    folds: int,
    seed: int,
    steps: int | None,
    batch_size: int | None,
) -> None:
    """Refuse numbers of samples, folds, network calls or a seed that cannot be.

    Args:
        count: samples.
        folds: of the cross-fitting.
        seed: of classifier and samples.
        steps: network calls a sample; None where not given.
        batch_size: samples a pass; None where not given.

    Raises:
        UserError: names the argument.
    """
    check_number("count", count, 1, MOST_SAMPLES)
    check_number("folds", folds, 2)
    check_number("steps", steps, 1)
    check_number("batch_size", batch_size, 1)
    check_seed("seed", seed)
