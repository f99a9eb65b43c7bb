"""The share of a property among a generator's samples, with an interval, the parts of its error, and a check."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from diffshare.errors import UserError
from diffshare.stats.bootstrap import bootstrap, drift_size, error_parts
from diffshare.stats.calibration import Calibration
from diffshare.stats.intervals import check_level, clopper_pearson, hoeffding_half_width
from diffshare.stats.inverse import feature_mean, inverse_prediction, refuse_line
from diffshare.stats.mixture import mixture_fit
from diffshare.stats.prediction_powered import prediction_powered
from diffshare.stats.prevalence import Method, estimate

CORRECTED: tuple[Method, ...] = ("acc", "pacc", "dmy", "ml")  # whose bootstrap resamples the calibration records
LINEAR: tuple[Method, ...] = ("acc", "pacc")  # methods that a line over known proportions can be drawn through
REJECTED = 0.05  # p-value from which on down the assumption of the corrections is called wrong


class Assumption(NamedTuple):
    """Whether the classifier seems to err on samples as on real records.

    Attributes:
        ok: False where a test says no, or where nothing can be tested.
        statistic: of the test; None where there is none.
        p_value: likewise.
    """

    ok: bool
    statistic: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Inferred:
    """What was read off the samples.

    Attributes:
        name: of the property.
        value: the class whose share this is.
        method: how it was estimated.
        estimate: share in [0, 1].
        low: lower end of the interval.
        high: upper end.
        level: of the interval.
        naive: share that the classifier counts, uncorrected.
        queries: number of samples.
        sampling: half width that more queries shrink.
        classifier: half width, or for a method that does not correct the bias, that more queries do not; None where
            nothing tells.
        drift: size of what generators of known training sets did to the estimate before it was recalibrated (the
            generator's own drift and the classifier's errors on its samples, not told apart); None without surrogates.
        assumption: the check.
        shares: of every class.
        notes: what else the reader should know.
    """

    name: str
    value: str
    method: str
    estimate: float
    low: float
    high: float
    level: float
    naive: float
    queries: int
    sampling: float
    classifier: float | None
    assumption: Assumption
    shares: dict[str, float]
    drift: float | None = None
    notes: tuple[str, ...] = field(default=())

    def json(self, seconds: float) -> dict[str, Any]:
        """The fields of the file that ``infer-property --json`` writes."""
        return {
            "property": self.name,
            "value": self.value,
            "method": self.method,
            "estimate": self.estimate,
            "interval": [self.low, self.high],
            "level": self.level,
            "naive": self.naive,
            "queries": self.queries,
            "error": {"sampling": self.sampling, "classifier": self.classifier, "drift": self.drift},
            "hoeffding": hoeffding_half_width(self.queries, self.level),
            "assumption": self.assumption._asdict(),
            "shares": self.shares,
            "notes": list(self.notes),
            "seconds": round(seconds, 3),
        }


class Asked(NamedTuple):
    """What is to be inferred: the property, its classes, the class whose share is asked for, and how surely."""

    name: str
    classes: Sequence[str]
    place: int
    level: float
    seed: int = 0
    resamples: int = 2000

    @property
    def value(self) -> str:
        """Name of the class."""
        return self.classes[self.place]

    def named(self, shares: np.ndarray) -> dict[str, float]:
        """Shares (K) by the names of the classes."""
        return dict(zip(self.classes, map(float, shares), strict=True))


def asked(name: str, classes: Sequence[str], value: str | None, level: float, seed: int) -> Asked:
    """Check what is asked for.

    Raises:
        UserError: no such class, a property of more than two classes and none named, or a level that is none.
    """
    check_level(level)
    if value is None and len(classes) > 2:
        raise UserError(f"the property '{name}' has {len(classes)} classes: name one with --value ({_few(classes)})")
    if value is not None and value not in classes:
        raise UserError(f"the property '{name}' has no class '{value}': its classes are {_few(classes)}")
    if len(classes) < 2:
        raise UserError(f"the property '{name}' has one class only, {_few(classes)}: choose another")
    return Asked(name, tuple(classes), 1 if value is None else list(classes).index(value), level, seed)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def infer(what: Asked, method: Method, calibration: Calibration, scores: np.ndarray) -> Inferred:
    """Estimate with a cross-fitted classifier. The interval is a bootstrap's, of ``cc`` Clopper and Pearson's.

    Args:
        what: the property.
        method: of :func:`diffshare.stats.prevalence.estimate`.
        calibration: held-out scores of auxiliary records.
        scores: of the queries by every fold's model, F x M x K.

    Raises:
        UserError: a classifier at chance and a method that corrects; scores that are none.
    """
    rng = np.random.default_rng([what.seed, 1])
    found = bootstrap(method, calibration, scores, rng, what.level, what.resamples)
    parts = error_parts(method, calibration, scores, rng, what.level, place=what.place)
    fit = mixture_fit(calibration, scores, rng)
    point, low, high = (float(ends[what.place]) for ends in found[:3])
    if method == "cc":  # a bootstrap of decisions that are all alike has no width
        exact = clopper_pearson(round(point * scores.shape[1]), scores.shape[1], what.level)
        low, high = min(exact.low, point), max(exact.high, point)
        parts = parts._replace(sampling=(high - low) / 2)
    return Inferred(
        name=what.name,
        value=what.value,
        method=method,
        estimate=point,
        low=low,
        high=high,
        level=what.level,
        naive=float(estimate("cc", calibration, scores)[what.place]),
        queries=scores.shape[1],
        sampling=parts.sampling,
        classifier=parts.classifier,
        assumption=Assumption(fit.p_value >= REJECTED, fit.statistic, fit.p_value),
        shares=what.named(found.estimate),
    )


def widened(result: Inferred, what: Asked, calibration: Calibration, scores: np.ndarray) -> Inferred:
    """Where the assumption fails, an interval that holds those of all corrected methods.

    If the classifier erred on samples as on real records, the methods would agree up to their errors. Each leans on
    another part of the scores' distribution, so what they differ by shows how far off they may be: a heuristic, not a
    bound.
    """
    if result.assumption.ok:
        return replace(result, notes=(*result.notes, "the assumption holds: the interval was not widened"))
    rng = np.random.default_rng([what.seed, 2])
    found = [bootstrap(method, calibration, scores, rng, what.level, what.resamples) for method in CORRECTED]
    low = min(result.low, *(float(one.low[what.place]) for one in found))
    high = max(result.high, *(float(one.high[what.place]) for one in found))
    note = f"widened to the intervals of {', '.join(CORRECTED)}"
    return replace(result, low=low, high=high, notes=(*result.notes, note))


def refuse_surrogates(method: str, known: Sequence[float], classes: int = 2) -> None:
    """Refuse what :func:`recalibrated` cannot use, before anything is sampled or trained.

    Raises:
        UserError: a method without a line, more than two classes, or too few different shares.
    """
    if method not in LINEAR:
        raise UserError(
            f"surrogates recalibrate the methods {' and '.join(LINEAR)}, not '{method}': add --method {LINEAR[-1]}"
        )
    if classes != 2:
        raise UserError(f"surrogates recalibrate a property of two classes, not of {classes}: leave them out")
    refuse_line(known)


def recalibrated(
    result: Inferred,
    what: Asked,
    calibration: Calibration,
    scores: np.ndarray,
    surrogates: Sequence[np.ndarray],
    known: Sequence[float],
) -> Inferred:
    """Read the share off a line through surrogate generators, which were trained at known shares.

    The line holds what such a generator does to the share and to the classifier's errors, so the assumption that the
    classifier errs on samples as on real records is not needed; instead, the generator must be like the surrogates.

    Args:
        result: of :func:`infer` by the method ``acc`` or ``pacc``.
        what: the property; two classes.
        calibration: as in ``infer``.
        scores: as in ``infer``.
        surrogates: scores of each surrogate's samples, S arrays of F x M_s x 2.
        known: share of class 1 in each surrogate's training set, S.

    Returns:
        ``classifier`` is Student's quantile of the level (S - 2 degrees of freedom) times the surrogates' scatter about
        the line: a half width at the level, as ``sampling`` is. ``drift`` is of the estimates without the line.
    """
    method: Any = result.method
    refuse_surrogates(method, known, len(what.classes))
    known = [p if what.place == 1 else 1 - p for p in known]
    means, variances = zip(*(feature_mean(method, one, what.place) for one in surrogates), strict=True)
    found = inverse_prediction(known, means, variances, *feature_mean(method, scores, what.place), what.level)
    drifts = [
        float(estimate(method, calibration, one)[what.place]) - p for one, p in zip(surrogates, known, strict=True)
    ]
    shares = np.full(2, 1 - found.estimate)
    shares[what.place] = found.estimate
    note = f"recalibrated on {len(known)} surrogates; the error's classifier part is the half width of their scatter"
    return replace(
        result,
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        classifier=found.half_width,
        drift=drift_size(drifts, what.level),
        shares=what.named(shares),
        notes=(*result.notes, note),
    )


def counted(what: Asked, codes: np.ndarray, method: Literal["column", "zero-shot"]) -> Inferred:
    """A share that is simply counted: of a column of the samples, or of a classifier whose errors nobody knows.

    The interval is Clopper and Pearson's, of the sampling alone.

    Args:
        what: the property.
        codes: class of each sample, int64 in 0..K-1, M; -1 where it is none of them.
        method: ``column`` is exact, ``zero-shot`` is not.
    """
    total = len(codes)
    shares = np.bincount(codes[codes >= 0], minlength=len(what.classes)) / total
    found = clopper_pearson(int(np.sum(codes == what.place)), total, what.level)
    exact = method == "column"
    return Inferred(
        name=what.name,
        value=what.value,
        method=method,
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        level=what.level,
        naive=found.estimate,
        queries=total,
        sampling=(found.high - found.low) / 2,
        classifier=0.0 if exact else None,
        assumption=Assumption(ok=exact),
        shares=what.named(shares),
    )


def labelled(what: Asked, result: Inferred, scores: np.ndarray, places: np.ndarray, labels: np.ndarray) -> Inferred:
    """Correct a classifier with a handful of samples that a person labelled; needs no assumption on its errors.

    Args:
        what: the property.
        result: what was read off without the labels.
        scores: P(the class asked for) of each sample, M.
        places: positions of the labelled samples, a random choice, n.
        labels: whether each has the class asked for, bool, n.
    """
    found = prediction_powered(scores, places, labels, what.level)
    rest = {name: share for name, share in result.shares.items() if name != what.value}
    if not sum(rest.values()):  # all samples were read as the class asked for: nothing tells the others apart
        rest = dict.fromkeys(rest, 1.0)
    scale = (1 - found.estimate) / sum(rest.values())
    return replace(
        result,
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        sampling=found.of_scores,
        classifier=found.of_labels,
        assumption=Assumption(ok=True),
        shares={what.value: found.estimate} | {name: share * scale for name, share in rest.items()},
        notes=(*result.notes, f"corrected with {len(labels)} samples labelled by hand: no assumption on the errors"),
    )
