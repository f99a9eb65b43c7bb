"""One model of the protection study, one receiver, as its YAML names them; the noise that an epsilon takes."""

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from diffshare.errors import UserError

REAL, PLAIN = "real", "plain"  # records in the place of samples; samples without protection
DIGITS = 1e4  # a noise multiplier is rounded up to 1 / DIGITS


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
    try:
        from opacus.accountants.utils import get_noise_multiplier
    except ImportError as error:
        raise UserError(
            "DP-SGD needs the package opacus, which is not installed: pip install 'diffshare[dp]'"
        ) from error
    aim: dict[str, Any] = {"target_epsilon": epsilon, "target_delta": delta, "sample_rate": rate, "steps": steps}
    try:
        with warnings.catch_warnings():  # that the best order is the largest or least it has: the bound holds the same
            warnings.simplefilter("ignore")
            sigma = get_noise_multiplier(**aim, accountant="rdp", epsilon_tolerance=epsilon / 1000)
    except ValueError as error:
        raise UserError(f"no noise reaches epsilon {epsilon:g} at delta {delta:g}: raise epsilon") from error
    return math.ceil(sigma * DIGITS) / DIGITS
