"""What an inference is to do: every choice that has a default."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffshare.classifiers.recipe import Recipe
from diffshare.errors import UserError, check_number, check_seed
from diffshare.receiver.property.inference import AUTO, DEFAULT_METHOD
from diffshare.receiver.property.queries import Queries
from diffshare.receiver.property.remedies import refuse_surrogates
from diffshare.release.generator import MOST_SAMPLES
from diffshare.stats.intervals import check_level
from diffshare.stats.prevalence import UNCORRECTED, Method

MODEL_QUERIES = 1000  # of a model, where no number is given; of samples, all


@dataclass(frozen=True)
class Options:
    """The choices of an inference.

    Attributes:
        value: class whose share is asked for; the second of two where None.
        method: a prevalence estimator, ``pacc`` where None.
        queries: number of samples; ``auto``: until ``width`` is reached; 1000 of a model, all that were
            received where None.
        width: half width that is wanted, in (0, 0.5), with ``auto``.
        level: confidence level of the interval.
        conditioned_on: attribute that the samples' classes stand for.
        withhold: columns of a table that the classifier is not to see.
        classifier: a recipe: how it is trained; by the kind of data where None.
        folds: models of it, each for the records it has not seen; 1, of the method ``cc``, is the paper's one.
        degrade: train on blurred and noisy copies of images as well.
        surrogate: folders of samples of surrogate generators, 3 or more.
        surrogate_p: share of class 1 in each one's training set.
        widen: where the check fails, widen the interval to those of all methods.
        labelled: CSV file of samples that a person labelled, which corrects the estimate.
        seed: of the classifier's training and the resampling.

    Raises:
        UserError: a value out of its range, or two that do not go together (names them).
    """

    value: str | None = None
    method: Method | None = None
    queries: int | Literal["auto"] | None = None
    width: float | None = None
    level: float = 0.95
    conditioned_on: str | None = None
    withhold: tuple[str, ...] = ()
    classifier: Recipe | None = None
    folds: int = 5
    degrade: bool = False
    surrogate: tuple[Path, ...] = ()
    surrogate_p: tuple[float, ...] = ()
    widen: bool = False
    labelled: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_level(self.level)
        check_seed("seed", self.seed)
        check_number("folds", self.folds, 1, None)
        if self.queries != AUTO:
            check_number("queries", self.queries, 1, MOST_SAMPLES)
        if (self.queries == AUTO) != (self.width is not None):
            raise UserError(
                "`queries` auto and `width` go together: give both, or a number of queries"
            )
        if self.queries == AUTO and self.method in UNCORRECTED:
            raise UserError(
                f"`queries` auto plans a corrected share, the `method` {self.method} corrects none"
            )
        if self.folds == 1 and (self.method != "cc" or self.widen):
            raise UserError(
                "`folds` is 1: a single classifier only counts, as the paper's does; take `method` cc"
            )
        if len(self.surrogate) != len(self.surrogate_p):
            raise UserError(
                f"{len(self.surrogate)} folders in `surrogate`, {len(self.surrogate_p)} shares in `surrogate_p`: "
                "give the known share of each"
            )
        for share in self.surrogate_p:
            check_number("surrogate_p", share, 0, 1)
        remedies = {"surrogate": self.surrogate, "labelled": self.labelled, "widen": self.widen}
        given = [name for name, value in remedies.items() if value]
        if len(given) > 1:
            raise UserError(
                f"{' and '.join(f'`{name}`' for name in given)} each make an interval of their own: give one of them"
            )
        if given and self.queries == AUTO:
            raise UserError(
                f"`{given[0]}` makes an interval of its own: give a number of queries instead of auto"
            )
        if self.surrogate:
            refuse_surrogates(self.method or DEFAULT_METHOD, self.surrogate_p)

    def count_of(self, queries: Queries) -> int:
        """Number of samples to ask for, where it is fixed."""
        if self.queries not in (None, AUTO):
            return int(self.queries)
        return queries.available or MODEL_QUERIES
