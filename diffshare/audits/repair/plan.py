"""What a repair is to do: every choice that has a default."""

from dataclasses import dataclass
from typing import Literal

from diffshare.audits.repair.kinds import To, Weights
from diffshare.errors import UserError, check_number, check_seed
from diffshare.release.generator import MOST_SAMPLES


@dataclass(frozen=True)
class Plan:
    """The choices of a repair.

    Attributes:
        method: ``reweigh``: weights in samples.npz. ``resample``: a choice, which it is for rows of a table or with a
            model.
        count: samples wanted of ``resample`` with a model, at least 2; as many as given where None.
        seed: of the choice, and of further samples.
        to: P(s|y) of the ``reference``, ``equal``, or P(s) in every class.
        weights: ``density``: what a classifier sees is as wanted. ``checked``: the same, so that a second reader sees
            the wanted shares, each reader from half of the reference; the default where that has enough records.
            ``mass``: the true groups are as wanted, for a strong reader. ``inside``: as density, and the samples of
            each group and class look like its records, where they were chosen inside the cells.
        most: largest weight, in units of the mean.

    Raises:
        UserError: a value out of its range (names it).
    """

    method: Literal["reweigh", "resample"] | None = None
    count: int | None = None
    seed: int = 0
    to: To = "reference"
    weights: Weights | None = None
    most: float = 10.0

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)
        check_number("count", self.count, 2, MOST_SAMPLES)
        if not self.most > 1:
            raise UserError(f"`most` is {self.most}: a largest weight above 1, the mean, is needed")
