"""One model of the protection study, one receiver, as its YAML names them; the noise that an epsilon takes."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scipy.optimize import brentq

from diffshare.errors import UserError
from diffshare.sharer.protection.dp import spent

REAL, PLAIN = "real", "plain"  # records in the place of samples; samples without protection
DIGITS = 1e4  # a noise multiplier is rounded up to 1 / DIGITS
LEAST, MOST = 0.3, 1e6  # noise multipliers; below the least the accountant is slow and the bound says nothing


@dataclass
class Model:
    """One kind of model.

    Attributes:
        n: records of its training set.
        epsilon: bound of a training by DP-SGD; a plain training where None.
        delta: of the bound.
        overrides: settings of ``fit`` over those of the study.
    """

    n: int
    epsilon: float | None = None
    delta: float = 1e-5
    overrides: dict[str, Any] | None = None


@dataclass
class Receiver:
    """Whoever infers the property: a classifier of it.

    Attributes:
        records: that it is trained and calibrated on, of the auxiliary part.
        steps: training steps of each fold.
        folds: of the classifier, 2 or more.
        source: settings of its source over the study's: ``{seed: 2}`` draws faces of its own.
    """

    records: int
    steps: int = 200
    folds: int = 3
    source: dict[str, Any] | None = None


@dataclass
class Protected:
    """One way of drawing samples by the verb ``protect``.

    Attributes:
        share: of the property that they show, in (0, 1).
        options: of the verb over those of the study: ``{folds: 3, reference.seed: 1}``.
    """

    share: float
    options: dict[str, Any] | None = None


@dataclass(frozen=True)
class Cell:
    """One training set and the model of it.

    Attributes:
        model: the model's name; ``real`` are the records themselves in the place of samples.
        p: true share of the property.
        seed: of parts, mix, training and samples.
    """

    model: str
    p: float
    seed: int

    @property
    def name(self) -> str:
        """For steps and folders."""
        return f"{self.model}-p{self.p:g}-s{self.seed}"

    def end(self, view: str) -> str:
        """For what is made of the samples that are drawn in one way."""
        return f"{self.name}-{view}"


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
            raise UserError(f"no noise reaches epsilon {epsilon:g} at delta {delta:g}: raise epsilon")
    while over(low) <= 0:
        low /= 1.25
        if low < LEAST:
            return LEAST
    sigma = math.ceil(brentq(over, low, high, xtol=0.1 / DIGITS) * DIGITS) / DIGITS
    return sigma if over(sigma) <= 0 else sigma + 1 / DIGITS
