"""Released models that make a sample in one call of their network, as the receiver has them."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffshare.errors import UserError
from diffshare.release.card import Card
from diffshare.release.generator import Ledger


@dataclass
class OneStepBox:
    """A network from noise to samples behind the ``Generator`` protocol. A family gives ``make``.

    Attributes:
        card: what the sharer says of it.
        network: what makes the samples.
        ledger: what was asked of it so far.
    """

    card: Card
    network: Any
    ledger: Ledger = field(default_factory=Ledger)

    def make(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """The samples; arguments and result as of :meth:`sample`."""
        raise NotImplementedError

    def sample(
        self, labels: np.ndarray, indices: np.ndarray, *, seed: int, steps: int | None = None, guidance: float = 1.0
    ) -> np.ndarray:
        """Make one sample for each label; see :class:`diffshare.release.generator.Generator`.

        Raises:
            UserError: other steps or another guidance than 1.
        """
        if steps not in (None, 1):
            raise UserError(f"steps is {steps}: a model of the family {self.card.family} samples in 1; leave it out")
        if guidance != 1:
            raise UserError(
                f"guidance is {guidance:g}: a model of the family {self.card.family} has none, only diffusion models "
                "do; leave it out"
            )
        started = time.perf_counter()
        made = self.make(labels, indices, seed)
        self.ledger.record(labels, len(labels), time.perf_counter() - started)
        return made
