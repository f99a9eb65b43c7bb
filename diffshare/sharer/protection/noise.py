"""The noise that DP-SGD needs for a bound."""

import math
from functools import lru_cache

from scipy.optimize import brentq

from diffshare.errors import UserError
from diffshare.sharer.protection.dp import spent, told_rate

DIGITS = 1e4  # a noise multiplier is rounded up to 1 / DIGITS
# noise multipliers; below the least the accountant is slow and the bound says nothing
LEAST, MOST = (
    0.3,
    1e6,
)


@lru_cache
def noise_multiplier(epsilon: float, rate: float, steps: int, delta: float) -> float:
    """The least sigma, rounded up, whose (epsilon, delta) by the Renyi accountant is within the bound.

    Args:
        epsilon: above 0.
        rate: probability with which a record is in a step, in (0, 1].
        steps: of the optimizer.
        delta: in (0, 1).

    Raises:
        UserError: no Opacus, or a bound that no noise reaches.
    """

    def over(sigma: float) -> float:
        return spent(sigma, rate, steps, delta) - epsilon

    # not Opacus' own search, which tries noises so small that their series take minutes
    low = high = 1.0
    while over(high) > 0:
        high *= 2
        if high > MOST:
            raise UserError(
                f"no noise reaches epsilon {epsilon:g} at delta {delta:g}: raise epsilon"
            )
    while over(low) <= 0:
        low /= 1.25
        if low < LEAST:
            return LEAST
    sigma = math.ceil(brentq(over, low, high, xtol=0.1 / DIGITS) * DIGITS) / DIGITS
    return sigma if over(sigma) <= 0 else sigma + 1 / DIGITS


def noise_of_batch(epsilon: float, share: float, steps: int, delta: float) -> float:
    """The least sigma of a training whose batch is this share of the records; see :func:`noise_multiplier`."""
    return noise_multiplier(epsilon, told_rate(share), steps, delta)
