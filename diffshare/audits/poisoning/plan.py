"""What an audit is to do: every choice that has a default."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from diffshare.audits.poisoning.verdict import MARGIN, POWER, WANTED, Terms
from diffshare.classifiers.recipe import Recipe
from diffshare.errors import UserError, check_number, check_seed
from diffshare.release.generator import MOST_SAMPLES

MOST_GUIDANCE = 20.0  # beyond, guided shares are 0 or 1 and nothing is left to compare
QUERIES = 2000  # of a model, where no number is given; of samples, all


@dataclass(frozen=True)
class Plan:
    """The choices of an audit.

    Attributes:
        queries: number of samples to look at; where None, 2000 of a model, or all that were received.
        sequential: look first at so many samples, then at twice as many, until something is decided.
        level: of the test: chance of calling a clean model poisoned, in (0, 1).
        alpha: poisoned share that must be seen before a model is called clean, in (0, 1).
        power: with which probability, in (0.5, 1).
        margin: log odds that count as clean, at least 0; 0.4 where None.
        margin_from: folders of samples of clean models, for the margin.
        guidance: at which the samples were drawn, as you know it, 0 to 20; what they claim where None.
        pool: ``balanced``: the sharer says that its S x Y cells were equal.
        clusters: audit also so many clusters of the records' features, at least 2.
        prompts: audit also sentences, one a group, that ``clip`` compares images with.
        clip: folder or hub name of a CLIP or SigLIP model.
        classifier: a recipe: how the group's classifier is trained; by the kind of data where None.
        folds: models of it, each for the records it has not seen, at least 2.
        degrade: train it on blurred and noisy copies of images as well.
        downstream: a recipe: the classifier whose gap is predicted.
        withhold: columns of a table that this classifier is not to see.
        gap_repeats: further trainings of it, for the interval, at least 2; 0 predicts no gap.
        seed: of training, samples and resampling.

    Raises:
        UserError: a value out of its range (names it).
    """

    queries: int | None = None
    sequential: int | None = None
    level: float = 0.05
    alpha: float = WANTED
    power: float = POWER
    margin: float | None = None
    margin_from: tuple[Path, ...] = ()
    guidance: float | None = None
    pool: Literal["natural", "balanced"] = "natural"
    clusters: int | None = None
    prompts: tuple[str, ...] = ()
    clip: str | None = None
    classifier: Recipe | None = None
    folds: int = 5
    degrade: bool = False
    downstream: Recipe | None = None
    withhold: tuple[str, ...] = ()
    gap_repeats: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        self.terms()
        check_seed("seed", self.seed)
        for name, least, most in (
            ("queries", 1, MOST_SAMPLES),
            ("sequential", 1, MOST_SAMPLES),
            ("folds", 2, None),
            ("clusters", 2, None),
        ):
            check_number(name, getattr(self, name), least, most)
        if not 0.5 < self.power < 1:
            raise UserError(f"`power` is {self.power}: it lies between 0.5 and 1")
        if self.gap_repeats < 0 or self.gap_repeats == 1:
            raise UserError(
                f"`gap_repeats` is {self.gap_repeats}: at least 2, or 0 for no prediction"
            )
        if self.guidance is not None and not 0 <= self.guidance <= MOST_GUIDANCE:
            raise UserError(
                f"`guidance` is {self.guidance}: it lies between 0 and {MOST_GUIDANCE:g} (1: plain conditional)"
            )
        if bool(self.prompts) != (self.clip is not None):
            raise UserError(
                "`prompts` and `clip` go together: a sentence for each group, and the model that reads them"
            )
        if self.margin is not None and self.margin_from:
            raise UserError("`margin` and `margin_from` both set the margin: give one of them")

    def but(self, **changes: Any) -> Self:
        """The plan with other choices."""
        return replace(self, **changes)

    def terms(self, looks: int = 1, candidates: int = 1) -> Terms:
        """What is asked of the test.

        Args:
            looks: how often a sequential audit looks.
            candidates: attributes that are audited as the group.
        """
        margin = MARGIN if self.margin is None else self.margin
        origin: Literal["the default margin", "`margin`"] = (
            "the default margin" if self.margin is None else "`margin`"
        )
        return Terms(
            margin, self.level, self.alpha, self.power, looks, max(1, candidates), origin=origin
        )

    def count_of(self, available: int | None) -> int:
        """Number of samples to look at.

        Args:
            available: samples that were received; None of a model.

        Raises:
            UserError: more are asked for than there are.
        """
        if available is not None and self.queries is not None and self.queries > available:
            raise UserError(
                f"{self.queries} queries asked of a folder of {available} samples: draw more, or lower `queries`"
            )
        return int(self.queries or available or QUERIES)
