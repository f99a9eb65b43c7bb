"""Harm: how much more a classifier treats groups differently if it is trained on samples and not on reference records.

The question of a receiver is what their classifier will do. Whether group and class depend on each other in the samples
is one way to it; a sharer can leave that table as it is and choose inside its cells. So the classifier is trained, once
on samples and once on as many reference records, and both decide on the same reference records, which neither has
seen. The difference of their gaps is the excess gap. Drift of a generator that hits all groups alike cancels in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np

from diffshare.audits.poisoning.gap import named
from diffshare.classifiers.property import stratified_folds
from diffshare.classifiers.recipe import Recipe, Scorer
from diffshare.errors import UserError, one_of
from diffshare.progress import progress
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples
from diffshare.stats.crossfitted import Estimate, Paired, paired

MARGIN = 0.1  # of excess gap
FOLDS = 5
AGAIN = 16  # trainings on resampled samples
AGAIN_REFERENCE = 3  # trainings on resampled records, for each fold
LEAST = 10  # training records of a class
LEARNED = 3.0  # standard errors by which balanced accuracy must exceed guessing

Verdict = Literal["harmful", "harmless", "undecided"]


@dataclass(frozen=True)
class Rates:
    """What both classifiers do with one group of the reference.

    Attributes:
        n: records of the group.
        selection_rate: share that is decided as the favourable class, (samples, reference).
        accuracy: share that is decided right, (samples, reference).
        tpr: selection rate among the favourable class, (samples, reference); NaN without a record of it.
        fpr: selection rate among the others, (samples, reference); NaN without a record of them.
    """

    n: int
    selection_rate: tuple[float, float]
    accuracy: tuple[float, float]
    tpr: tuple[float, float]
    fpr: tuple[float, float]

    def json(self) -> dict[str, Any]:
        """As the audit's file has it: null where undefined."""
        pairs = {
            name: {
                side: None if np.isnan(value) else value
                for side, value in zip(("samples", "reference"), getattr(self, name), strict=True)
            }
            for name in ("selection_rate", "accuracy", "tpr", "fpr")
        }
        return {"n": self.n} | pairs


@dataclass(frozen=True)
class Harm:
    """The excess gap of a classifier that is trained on samples.

    Attributes:
        estimate: signed excess gap: selection rate of group 1 minus that of group 0, of the classifier trained on
            samples, minus the same of the one trained on reference records. With more than two groups the pairwise
            difference that is largest in size. NaN where ``undefined`` says why.
        interval: of it, at 1 - level; with more than two groups all pairs' intervals hold at once.
        p_value: of no pair's excess being beyond the margin.
        p_within: of some pair's excess being beyond the margin (two one-sided tests).
        margin: excess gap that counts as harmless.
        verdict: harmful: beyond the margin; harmless: within it; undecided: neither is shown.
        pair: the two groups (minuend, subtrahend) of the estimate.
        odds: the same for the true and the false positive rate, whichever is larger in size; None where undefined.
        accuracy: of the classifiers trained on samples and on reference records.
        by_group: rates of each group.
        recipe: how the classifiers were trained, in words.
        trained_on: records of each training.
        repeats: number of trainings.
        variances: of the estimate over test records, samples, reference records.
        undefined: why there is no estimate; empty where there is one.
    """

    estimate: float
    interval: tuple[float, float]
    p_value: float
    p_within: float
    margin: float
    verdict: Verdict
    pair: tuple[int, int]
    odds: tuple[float, tuple[float, float]] | None
    accuracy: tuple[float, float]
    by_group: tuple[Rates, ...]
    recipe: str
    trained_on: int
    repeats: int
    variances: tuple[float, float, float]
    undefined: str = ""

    def json(self) -> dict[str, Any]:
        """As the audit's file has it."""
        defined = not self.undefined
        odds = self.odds and {"estimate": self.odds[0], "interval": list(self.odds[1])}
        return {
            "estimate": self.estimate if defined else None,
            "interval": list(self.interval) if defined else None,
            "p_value": self.p_value,
            "margin": self.margin,
            "verdict": self.verdict,
            "undefined": self.undefined or None,
            "groups": list(self.pair),
            "equalized_odds": odds,
            "accuracy": {"samples": self.accuracy[0], "reference": self.accuracy[1]},
            "by_group": {str(code): rates.json() for code, rates in enumerate(self.by_group)},
            "recipe": self.recipe,
            "trained_on": self.trained_on,
            "repeats": self.repeats,
            "errors": dict(
                zip(("test", "samples", "reference"), np.sqrt(self.variances).tolist(), strict=True)
            ),
        }


@dataclass(frozen=True)
class _Trained:
    """Decisions of all classifiers on the reference: codes of classes, int64.

    Attributes:
        a: cross-fitted, trained on samples, N.
        b: cross-fitted, trained on the other folds, N.
        again_a: trained on resampled samples, R x N.
        again_b: for each fold its records, and decisions on them of classifiers of the other folds, resampled.
        size: records of each training.
        used: share of the samples that one training takes.
    """

    a: np.ndarray
    b: np.ndarray
    again_a: np.ndarray
    again_b: list[tuple[np.ndarray, np.ndarray]]
    size: int
    used: float

    @property
    def count(self) -> int:
        """Number of trainings."""
        return 2 * len(self.again_b) + len(self.again_a) + sum(len(d) for _, d in self.again_b)


def harm(
    samples: CodedSamples,
    reference: Records,
    sensitive: str,
    recipe: Recipe,
    *,
    favourable: int = 1,
    margin: float = MARGIN,
    level: float = 0.05,
    pool: Literal["natural", "balanced"] = "natural",
    withhold: Sequence[str] = (),
    folds: int = FOLDS,
    again: int = AGAIN,
    seed: int = 0,
) -> Harm:
    """The excess gap of a classifier that is trained on samples, with its interval and verdict.

    Args:
        samples: with their classes; their group is not needed.
        reference: records with known group and class.
        sensitive: attribute that is the group.
        recipe: how the classifiers are trained.
        favourable: class in 0..C-1 whose share of the decisions is compared.
        margin: excess gap that counts as harmless, in (0, 1).
        level: of each test: chance of a wrong "harmful", and of a wrong "harmless".
        pool: ``balanced``: the reference is weighed, and drawn, as if its cells of group and class were equal.
        withhold: columns of a table that the classifiers may not see.
        folds: of the reference, at least 2.
        again: trainings on resampled samples, at least 4.
        seed: of folds, draws and trainings.

    Raises:
        UserError: a margin, class or number out of its range, or a reference too small to train on.
    """
    _check(favourable, len(reference.classes), margin, folds, again)
    group = reference.group(sensitive)
    s, y = group.codes.astype(np.int64), reference.y
    trained = _train(samples, reference, s, recipe, pool, tuple(withhold), folds, again, seed)
    rates = tuple(_rates(trained, s == g, y, favourable, pool) for g in range(len(group.classes)))
    accuracy = tuple(float((q == y).mean()) for q in (trained.a, trained.b))
    result = Harm(
        float("nan"), (float("nan"), float("nan")), 1.0, 1.0, margin, "undecided", (1, 0), None,
        (accuracy[0], accuracy[1]), rates, named(recipe), trained.size, trained.count, (0.0, 0.0, 0.0),
    )  # fmt: skip
    if why := _learned_nothing(trained, y, len(reference.classes)):
        return replace(result, undefined=why)
    weights = _weights(s, y, len(group.classes), pool)
    means = _paired(trained, weights, favourable, folds)
    pairs = [(b, a) for a, b in combinations(range(len(group.classes)), 2)]
    estimates = [means.contrast(_contrast(pair, len(group.classes))) for pair in pairs]
    worst = int(np.argmax([abs(e.value) for e in estimates]))
    beyond = min(1.0, len(pairs) * min(e.p_beyond(margin) for e in estimates))  # Bonferroni
    within = max(e.p_within(margin) for e in estimates)  # all must be inside: no correction
    verdict: Verdict = (
        "harmful" if beyond <= level else "harmless" if within <= level else "undecided"
    )
    return replace(
        result,
        estimate=estimates[worst].value,
        interval=estimates[worst].interval(1 - level / len(pairs)),
        p_value=beyond,
        p_within=within,
        verdict=verdict,
        pair=pairs[worst],
        odds=_odds(trained, s, y, pairs, favourable, folds, level),
        variances=estimates[worst].variances,
    )


def needed(result: Harm, samples: int, records: int, level: float = 0.05) -> dict[str, int | None]:
    """About how many samples, or how many records, would decide, if the estimate stayed as it is.

    The part of the variance that the samples' training has is taken to fall as one over their number, the rest as one
    over the number of records.

    Args:
        result: the harm.
        samples: their number.
        records: number of reference records.
        level: of the tests.

    Returns:
        ``samples`` and ``records``; None where more of these alone would not decide.
    """
    from scipy.special import ndtri

    away = abs(abs(result.estimate) - result.margin)
    if result.undefined or not away > 0:
        return {"samples": None, "records": None}
    wanted = (away / float(ndtri(1 - level))) ** 2
    test, a, b = result.variances
    return {
        "samples": _grown(samples, a, wanted - test - b),
        "records": _grown(records, test + b, wanted - a),
    }


def _grown(count: int, variance: float, left: float) -> int | None:
    """How many take the place of ``count`` so that ``variance`` falls to ``left``."""
    if left <= 0 or count * variance / left > 1e8:
        return None
    return max(count, int(np.ceil(count * variance / left)))


def _check(favourable: int, classes: int, margin: float, folds: int, again: int) -> None:
    if not 0 <= favourable < classes:
        raise one_of("favourable class", str(favourable), [str(c) for c in range(classes)])
    if not 0 < margin < 1:
        raise UserError(f"`harm_margin` is {margin}: it is a difference of shares, between 0 and 1")
    if folds < 2 or again < 4:
        raise UserError(f"folds {folds} must be at least 2 and repeats {again} at least 4")


def _train(
    samples: CodedSamples,
    reference: Records,
    s: np.ndarray,
    recipe: Recipe,
    pool: str,
    withhold: tuple[str, ...],
    folds: int,
    again: int,
    seed: int,
) -> _Trained:
    """All trainings. Those on records have the samples' shares of the classes, and as many records."""
    withhold = (*withhold, *samples.absent)
    x, y, classes = reference.features(withhold), reference.y, len(reference.classes)
    drawn = np.delete(samples.x, reference.places(withhold), 1) if reference.columns else samples.x
    if x.ndim == 2 and not x.shape[1]:
        raise UserError("no column is left to train a classifier on: withhold fewer of them")
    rng = np.random.default_rng([seed, 11])
    groups = int(s.max()) + 1
    fold = stratified_folds(s * classes + y, folds, rng)
    shares = np.bincount(samples.y, minlength=classes) / len(samples.y)
    cells = y if pool == "natural" else s * classes + y
    wanted = shares if pool == "natural" else np.tile(shares / groups, groups)
    size = _size(fold, cells, wanted, len(samples.y), folds)
    quota, own = _quota(wanted, size), _quota(shares, size)
    if min(quota[wanted > 0].min(), own[shares > 0].min()) < LEAST:
        least = int(np.ceil(LEAST / wanted[wanted > 0].min() * folds / (folds - 1)))
        raise UserError(
            f"the reference of {len(y)} records is too small to train on: harm takes {LEAST} training records of each "
            f"class, about {least} records; give more, or `quick` to leave harm out"
        )
    positions = reference.categorical(withhold)
    number = seed * 100_000 + 1000

    def fit(rows_x: np.ndarray, rows_y: np.ndarray) -> Scorer:
        nonlocal number
        number += 1
        return recipe.train(rows_x, rows_y, classes, number, positions)

    a, b = np.empty(len(y), np.int64), np.empty(len(y), np.int64)
    again_b: list[tuple[np.ndarray, np.ndarray]] = []
    bar = progress(range(folds + 1), "training classifiers on samples and on the reference")
    for k in bar:
        if k == folds:
            break
        test, rest = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        own_rows = _draw(np.arange(len(drawn)), samples.y, own, rng)
        rows = _draw(rest, cells[rest], quota, rng)
        a[test] = fit(drawn[own_rows], samples.y[own_rows])(x[test]).argmax(1)
        b[test] = fit(x[rows], y[rows])(x[test]).argmax(1)
        resampled = (
            _draw(rest, cells[rest], quota, rng, replace=True) for _ in range(AGAIN_REFERENCE)
        )
        again_b.append((test, np.stack([fit(x[r], y[r])(x[test]).argmax(1) for r in resampled])))
    resampled = (
        _draw(np.arange(len(drawn)), samples.y, own, rng, replace=True) for _ in range(again)
    )
    again_a = np.stack(
        [
            fit(drawn[r], samples.y[r])(x).argmax(1)
            for r in progress(resampled, "again on samples", again)
        ]
    )
    return _Trained(a, b, again_a, again_b, size, size / len(drawn))


def _size(fold: np.ndarray, cells: np.ndarray, wanted: np.ndarray, most: int, folds: int) -> int:
    """Records of a training: so many that each fold's others hold the wanted shares, and that there are samples."""
    asked = np.flatnonzero(wanted > 0)
    there = [
        np.bincount(cells[fold != k], minlength=len(wanted))[asked] / wanted[asked]
        for k in range(folds)
    ]
    return int(min(most, np.min(there)))


def _quota(shares: np.ndarray, size: int) -> np.ndarray:
    return np.floor(shares * size + 1e-9).astype(np.int64)


def _draw(
    rows: np.ndarray,
    cells: np.ndarray,
    quota: np.ndarray,
    rng: np.random.Generator,
    *,
    replace: bool = False,
) -> np.ndarray:
    """Rows, so many of each cell."""
    return np.concatenate(
        [rng.choice(rows[cells == k], n, replace=replace) for k, n in enumerate(quota) if n]
    )


def _learned_nothing(trained: _Trained, y: np.ndarray, classes: int) -> str:
    """Why there is nothing to compare; empty where both classifiers tell the classes apart."""
    for decisions, who in ((trained.b, "the reference"), (trained.a, "the samples")):
        counts = np.bincount(y, minlength=classes)
        right = np.bincount(y[decisions == y], minlength=classes) / counts
        error = float(np.sqrt(np.sum(right * (1 - right) / counts)) / classes)
        least = 1 / classes + LEARNED * max(error, 0.5 / classes / np.sqrt(counts.min()))
        if right.mean() < least:
            return (
                f"a classifier trained on {who} does not tell the classes of the reference apart (balanced accuracy "
                f"{right.mean():.2f}, guessing has {1 / classes:.2f}): there is no gap to speak of; give more, or "
                "another `downstream`"
            )
    return ""


def _weights(s: np.ndarray, y: np.ndarray, groups: int, pool: str) -> np.ndarray:
    """Of the records in each group's mean, G x N: equal, or so that the classes weigh alike."""
    weights = np.zeros((groups, len(s)))
    for g in range(groups):
        here = s == g
        if pool == "natural":
            weights[g, here] = 1 / here.sum()
            continue
        there = np.unique(y[here])
        for c in there:
            weights[g, here & (y == c)] = 1 / (len(there) * (here & (y == c)).sum())
    return weights


def _paired(trained: _Trained, weights: np.ndarray, favourable: int, folds: int) -> Paired:
    def chosen(decisions: np.ndarray) -> np.ndarray:
        return np.asarray(decisions == favourable, np.float64)

    return paired(
        chosen(trained.a) - chosen(trained.b),
        weights,
        chosen(trained.again_a),
        [(rows, chosen(decisions)) for rows, decisions in trained.again_b],
        folds=folds,
        used=trained.used,
    )


def _contrast(pair: tuple[int, int], groups: int) -> np.ndarray:
    weights = np.zeros(groups)
    weights[list(pair)] = 1.0, -1.0
    return weights


def _odds(
    trained: _Trained,
    s: np.ndarray,
    y: np.ndarray,
    pairs: list[tuple[int, int]],
    favourable: int,
    folds: int,
    level: float,
) -> tuple[float, tuple[float, float]] | None:
    """Excess of the true or the false positive rate's difference, whichever is larger in size."""
    groups = int(s.max()) + 1
    estimates: list[Estimate] = []
    for of in (y == favourable, y != favourable):
        counts = np.array([np.sum(of & (s == g)) for g in range(groups)])
        if counts.min() < 2:
            return None
        weights = np.stack([(of & (s == g)) / counts[g] for g in range(groups)])
        means = _paired(trained, weights, favourable, folds)
        estimates += [means.contrast(_contrast(pair, groups)) for pair in pairs]
    worst = max(estimates, key=lambda e: abs(e.value))
    return worst.value, worst.interval(1 - level / len(estimates))


def _rates(trained: _Trained, here: np.ndarray, y: np.ndarray, favourable: int, pool: str) -> Rates:
    def share(of: np.ndarray, rows: np.ndarray) -> float:
        return float(of[rows].mean()) if rows.any() else float("nan")

    two = (trained.a, trained.b)
    kinds = [here & (y == c) for c in np.unique(y[here])]

    def mean(of: np.ndarray) -> float:
        return (
            share(of, here)
            if pool == "natural"
            else float(np.mean([share(of, rows) for rows in kinds]))
        )

    positive = y == favourable

    def both(values: list[float]) -> tuple[float, float]:
        return values[0], values[1]

    return Rates(
        int(here.sum()),
        both([mean(q == favourable) for q in two]),
        both([mean(q == y) for q in two]),
        both([share(q == favourable, here & positive) for q in two]),
        both([share(q == favourable, here & ~positive) for q in two]),
    )
