"""The demographic parity gap that a classifier has if it is trained on the reference's own records.

A predicted gap says nothing by itself: where class and group depend on each other in the
population, honest records make one too. What counts is how far samples are above it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from diffshare.audits.poisoning.gap import Gap, PredictedGap, decisions, distance, parity
from diffshare.classifiers.property import stratified_folds
from diffshare.classifiers.recipe import Recipe
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples
from diffshare.receiver.training_rows import training_rows
from diffshare.stats.intervals import student_quantile

CUTS = 2  # of the reference into halves, at least


@dataclass(frozen=True)
class OwnGap(Gap):
    """The gap of classifiers of one half of the reference, measured on the other half.

    Attributes:
        records: that each was trained on.
        trainings: number of classifiers.
    """

    records: int
    trainings: int


def own_gap(
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
) -> OwnGap | None:
    """Train on reference records as :func:`.gap.predict_gap` trains on samples; measure on others.

    The reference is cut into halves several times. Each half trains a classifier, on records drawn
    so that the classes have the shares that they have among the samples, and with ``pool``
    ``balanced`` the groups equal shares of each class; the other half measures it. The counts of
    all are summed for the estimate. The interval is estimate -+ t sqrt((1 + 1/m) v) of the variance
    v of the m classifiers' gaps, whose halves' own sampling error is in it: it is rather too wide.

    Args:
        samples: what the reference is compared with; of them the class shares count, and how many
            there are.
        reference: records with known group and class.
        sensitive: the group attribute.
        recipe: as of the predicted gap.
        pool: as of the predicted gap.
        withhold: columns of a table that the classifier may not see.
        positive: class whose share of the decisions is compared.
        repeats: trainings that the predicted gap has beyond its first; here there are as many in
            all, at least 4.
        level: of the interval.
        seed: of cuts and trainings.

    Returns:
        the gap; None where a half of the reference has too few records of a class (or of a group in
        it).
    """
    withhold = (*withhold, *samples.absent)
    x, s = reference.features(withhold), reference.group(sensitive).codes.astype(np.int64)
    groups, classes = len(reference.group(sensitive).classes), len(reference.classes)
    shares = np.bincount(samples.y, minlength=classes) / len(samples.y)
    cells = reference.y if pool == "natural" else s * classes + reference.y
    wanted = shares if pool == "natural" else np.tile(shares / groups, groups)
    rng = np.random.default_rng([seed, 10])
    most = len(training_rows(len(samples.y), seed)) if reference.columns else len(samples.y)
    counts, sizes = [], []
    for cut in range(max(CUTS, repeats // 2)):
        half = stratified_folds(s * classes + reference.y, 2, rng)
        for side in (0, 1):
            rows = _drawn(np.flatnonzero(half == side), cells, wanted, most, rng)
            if rows is None:
                return None
            number = seed * 1000 + 500 + 2 * cut + side
            scorer = recipe.train(
                x[rows], reference.y[rows], classes, number, reference.categorical(withhold)
            )
            others = half != side
            counts.append(decisions(scorer(x[others]), s[others], reference.y[others], groups))
            sizes.append(len(rows))
    two = groups == 2
    each = np.stack(counts)
    whole = each.sum(0)
    point, spread = (parity(counted, pool, positive, signed=two) for counted in (whole, each))
    m = len(counts)
    half_width = float(student_quantile(level, m - 1) * np.std(spread, ddof=1) * (1 + 1 / m) ** 0.5)
    estimate, interval = distance(float(point), half_width, signed=two)
    accuracy = float(np.einsum("gkk->", whole) / whole.sum())
    return OwnGap(estimate, interval, float(point) if two else None, accuracy, min(sizes), m)


def _drawn(
    rows: np.ndarray, cells: np.ndarray, wanted: np.ndarray, most: int, rng: np.random.Generator
) -> np.ndarray | None:
    """As many of these rows as there are, at most ``most``, whose cells have the wanted shares; None without some."""
    there = np.bincount(cells[rows], minlength=len(wanted))
    asked = wanted > 0
    total = min(most, int((there[asked] / wanted[asked]).min()))
    counts = np.floor(wanted * total + 1e-9).astype(np.int64)
    if (counts[asked] < 1).any():
        return None
    return np.sort(
        np.concatenate(
            [
                rng.choice(rows[cells[rows] == k], n, replace=False)
                for k, n in enumerate(counts)
                if n
            ]
        )
    )


def excess(gap: PredictedGap, own: OwnGap) -> float:
    """How far the predicted gap is above the reference's own in its direction, in [-1, 2].

    With two groups the gaps have signs, and the reference's own counts against the predicted one
    where they favour different groups; with more, absolute gaps are subtracted.
    """
    if gap.signed is None or own.signed is None:
        return gap.estimate - own.estimate
    return gap.estimate - float(np.sign(gap.signed)) * own.signed
