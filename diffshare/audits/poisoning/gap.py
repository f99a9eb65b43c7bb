"""The demographic parity gap that a classifier would have if it were trained on these samples.

The classifier is trained on the samples and measured on the receiver's own records, whose groups are known: nothing has
to be unmixed, and what the classifier does with the association it was taught is measured, not modelled.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from diffshare.classifiers.recipe import Recipe
from diffshare.errors import UserError
from diffshare.progress import progress
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples
from diffshare.receiver.training_rows import training_rows
from diffshare.stats.fairness import bootstrap_counts, disparity
from diffshare.stats.intervals import student_quantile

RESAMPLES = 500  # of the reference's records


@dataclass(frozen=True)
class Gap:
    """Demographic parity difference of classifiers, measured on reference records.

    Attributes:
        estimate: absolute, in [0, 1].
        interval: of the gap of one such classifier.
        signed: group 1 minus group 0; None with other than two groups.
        accuracy: of the classifiers on those records.
    """

    estimate: float
    interval: tuple[float, float]
    signed: float | None
    accuracy: float

    def json(self) -> dict[str, Any]:
        """As the audit's file has it."""
        return asdict(self) | {"interval": list(self.interval)}


@dataclass(frozen=True)
class PredictedGap(Gap):
    """The gap of a classifier that is trained on such samples.

    Its interval is of the gap that another one, trained on as many new samples, has on the population.

    Attributes:
        classifier: how it was trained.
        training_error: standard deviation over trainings on resampled samples.
        reference_error: standard deviation over resampled records of the reference.
    """

    classifier: str
    training_error: float
    reference_error: float


def predict_gap(
    samples: CodedSamples,
    reference: Records,
    sensitive: str,
    recipe: Recipe,
    *,
    pool: Literal["natural", "balanced"] = "natural",
    withhold: tuple[str, ...] = (),
    positive: int = 1,
    repeats: int = 4,
    level: float = 0.95,
    seed: int = 0,
) -> PredictedGap:
    """Train on the samples, measure on the reference.

    The interval is estimate -+ t sqrt(2 v_training + v_reference): what one training differs by stands in it twice, for
    the training that predicts and for the one that is predicted. v_training is the variance over ``repeats`` trainings
    on samples drawn from the samples with replacement, v_reference that of a bootstrap over records; t has as many
    degrees of freedom as Satterthwaite (1946) gives.

    Args:
        samples: with their classes.
        reference: records with known group and class.
        sensitive: the group attribute.
        recipe: how the classifier is trained.
        pool: ``balanced`` weighs the reference's cells of group and class alike, as a balanced test set does.
        withhold: columns of a table that the classifier may not see.
        positive: class whose share of the decisions is compared.
        repeats: further trainings, at least 2.
        level: of the interval.
        seed: of trainings and resamples.

    Raises:
        UserError: too few trainings, or an interval that is none.
    """
    if repeats < 2:
        raise UserError(f"`gap_repeats` is {repeats}: a spread over trainings needs at least 2")
    withhold = (*withhold, *samples.absent)
    hidden = reference.places(withhold)
    x = np.delete(samples.x, hidden, 1) if reference.columns else samples.x
    records, s = reference.features(withhold), reference.group(sensitive)
    if records.ndim == 2 and not records.shape[1]:
        raise UserError(
            "no column is left to train the classifier on whose gap is predicted: withhold fewer of them"
        )
    classes, groups = len(reference.classes), len(s.classes)
    rng = np.random.default_rng([seed, 9])

    def counts(rows: np.ndarray, number: int) -> np.ndarray:
        scorer = recipe.train(
            x[rows], samples.y[rows], classes, seed * 1000 + number, reference.categorical(withhold)
        )
        return decisions(scorer(records), s.codes.astype(np.int64), reference.y, groups)

    own = training_rows(len(x), seed) if reference.columns else np.arange(len(x))
    drawn = [own, *(own[_drawn(samples.y[own], rng)] for _ in range(repeats))]
    title = "training the classifiers whose gap is predicted"
    whole, *again = [counts(rows, number) for number, rows in enumerate(progress(drawn, title))]
    resampled = bootstrap_counts(whole, RESAMPLES, rng)
    two = groups == 2
    point, trained, spread = (
        parity(c, pool, positive, signed=two) for c in (whole, np.stack(again), resampled)
    )
    of_training, of_reference = float(np.var(trained, ddof=1)), float(np.nanvar(spread))
    error = np.sqrt(2 * of_training + of_reference)
    freedom = (repeats - 1) * (error**2 / (2 * of_training)) ** 2 if of_training else np.inf
    half = student_quantile(level, freedom) * error
    estimate, interval = distance(float(point), half, signed=two)
    accuracy = float(disparity(weighed(whole, pool)).accuracy)
    return PredictedGap(
        estimate,
        interval,
        float(point) if two else None,
        accuracy,
        named(recipe),
        of_training**0.5,
        of_reference**0.5,
    )


def decisions(scores: np.ndarray, s: np.ndarray, y: np.ndarray, groups: int) -> np.ndarray:
    """Counts of group, class and decision, int64, G x K x K.

    Args:
        scores: of each class, N x K; the largest decides.
        s: groups, int64, N.
        y: classes, int64, N.
        groups: number of groups G.
    """
    classes = scores.shape[1]
    cells = (s * classes + y) * classes + scores.argmax(1)
    return np.bincount(cells, minlength=groups * classes**2).reshape(groups, classes, classes)


def _drawn(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many samples of each class, with replacement."""
    return np.concatenate(
        [rng.choice(np.flatnonzero(y == k), int((y == k).sum())) for k in np.unique(y)]
    )


def weighed(counts: np.ndarray, pool: str) -> np.ndarray:
    """Counts (... x G x K x K: group, class, decision) as they would be if group and class had equal cells."""
    if pool == "natural":
        return np.asarray(counts, np.float64)
    return counts / np.maximum(counts.sum(-1, keepdims=True), 1)


def parity(counts: np.ndarray, pool: str, positive: int, *, signed: bool) -> np.ndarray:
    """Demographic parity difference of counts (... x G x K x K), with its sign where there are two groups."""
    gaps = disparity(weighed(counts, pool), positive)
    return (
        gaps.demographic_parity_difference_signed if signed else gaps.demographic_parity_difference
    )


def distance(point: float, half: float, *, signed: bool) -> tuple[float, tuple[float, float]]:
    """|v| and its interval within [0, 1], for point -+ half of v; ``signed`` says that v has a sign."""
    low, high = point - half, point + half
    if signed:
        ends = sorted((abs(low), abs(high)))
        low, high = (0.0, ends[1]) if low < 0 < high else (ends[0], ends[1])
    return abs(point), (max(low, 0.0), min(high, 1.0))


def named(recipe: Recipe) -> str:
    """A recipe in words: its class, network and settings."""
    parts = []
    for name, value in vars(recipe).items():
        text = (
            getattr(value, "__name__", None)
            or getattr(getattr(value, "func", None), "__name__", None)
            or value
        )
        parts.append(f"{name}={text}")
    return f"{type(recipe).__name__}({', '.join(parts)})"
