"""What may be asked of a protection: the share to show, and how strongly to guide."""

from diffshare.errors import UserError

MOST_SCALE = 1000.0  # a scale beyond it drives every pixel to its bound
SCALE = 8.0  # 1 is Bayes' rule; a classifier is less sure of a prediction than of the image that it becomes


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
