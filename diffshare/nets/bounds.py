"""Sizes within reason: a received network's settings are bounded before anything is built from them."""

from collections.abc import Sequence

from diffshare.errors import UserError


def bounded(where: str, low: int, high: int, **values: int) -> None:
    """Refuse a size out of reason, one's own or a received one, before anything is built from it."""
    for name, value in values.items():
        if type(value) is not int or not low <= value <= high:
            raise UserError(
                f"{where}.{name} is {value}: a whole number from {low} to {high} is expected"
            )


def bounded_channels(where: str, block_out_channels: Sequence[int]) -> None:
    """Refuse more than 8 resolutions, none, or one of more than 2048 channels."""
    bounded(where, 1, 8, **{"len(block_out_channels)": len(block_out_channels)})
    bounded(
        where,
        1,
        2048,
        **{f"block_out_channels[{i}]": width for i, width in enumerate(block_out_channels)},
    )
