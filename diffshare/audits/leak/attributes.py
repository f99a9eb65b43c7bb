"""One attribute under attack: every method on the same samples, and how many queries it would take."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np

from diffshare.classifiers.degrade import degrade
from diffshare.classifiers.property import check_enough, cross_fit
from diffshare.classifiers.recipe import Recipe, default_recipe
from diffshare.data.derived import Derivation
from diffshare.errors import UserError
from diffshare.receiver.property.inference import Asked, Assumption, Inferred, infer, read_share
from diffshare.receiver.property.queries import Queries
from diffshare.receiver.property.reading import counted_column, is_column
from diffshare.receiver.records import Labelled
from diffshare.stats.calibration import Calibration
from diffshare.stats.prevalence import NAMES, UNCORRECTED, Method

WIDTH = 0.05  # half width at which a share counts as read
USUAL: Method = "pacc"  # the default of infer-property, by which an attribute is judged
Verdict = Literal["read", "near", "missed", "doubtful", "not read"]
RESAMPLES = 500  # of the other methods and of fewer queries; the usual one has as many as the verb
FIRST = 125  # queries of the first point of the curve, doubled up to all


@dataclass(frozen=True)
class Reading:
    """A share read off by one method.

    Attributes:
        method: of :func:`diffshare.stats.prevalence.estimate`, or ``column``.
        queries: samples it was read off.
        estimate: share in [0, 1].
        low: lower end of the interval.
        high: upper end.
        sampling: half width that more queries shrink.
        classifier: half width, or bias, that they do not.
    """

    method: str
    queries: int
    estimate: float
    low: float
    high: float
    sampling: float
    classifier: float | None

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2

    def needed(self, width: float = WIDTH) -> int | None:
        """Queries for this half width: n s^2 / (width^2 - c^2) for the two independent parts s (at n queries) and c.

        None where the classifier's part alone is wider: no number of queries is enough with this reference.
        """
        room = width**2 - (self.classifier or 0.0) ** 2
        return max(1, int(np.ceil(self.queries * self.sampling**2 / room))) if room > 0 else None

    def json(self, truth: float | None) -> dict[str, Any]:
        """JSON values; ``error`` is estimate minus truth."""
        return {
            "method": self.method,
            "estimate": self.estimate,
            "interval": [self.low, self.high],
            "queries": self.queries,
            "half_width": self.half_width,
            "parts": {"sampling": self.sampling, "classifier": self.classifier},
            "queries_needed": self.needed(),
            "error": None if truth is None else self.estimate - truth,
        }


@dataclass(frozen=True)
class Leak:
    """What is read of one attribute.

    Attributes:
        name: of the attribute.
        value: the class whose share is read.
        readings: by every method that could be used.
        usual: the method that the attribute is judged by; None where it cannot be read.
        assumption: whether the classifier seems to err on samples as on records; None where nothing was classified.
        curve: the usual method at fewer queries, rising.
        accuracy: of the classifier on held-out records; None where there is none.
        truth: share among the training records, where the sharer gave their manifest.
        reason: why it cannot be read.
    """

    name: str
    value: str
    readings: tuple[Reading, ...] = ()
    usual: str | None = None
    assumption: Assumption | None = None
    curve: tuple[Reading, ...] = ()
    accuracy: float | None = None
    truth: float | None = None
    reason: str | None = None

    @property
    def best(self) -> Reading | None:
        """What the usual method reads."""
        return next((one for one in self.readings if one.method == self.usual), None)

    @property
    def fails(self) -> bool:
        """Whether the check says that the classifier errs on the samples otherwise than on records."""
        return (
            self.assumption is not None
            and self.assumption.p_value is not None
            and not self.assumption.ok
        )

    @property
    def error(self) -> float | None:
        """Estimate minus truth of the usual method; None where either is not known."""
        return None if self.best is None or self.truth is None else self.best.estimate - self.truth

    @property
    def verdict(self) -> Verdict:
        """Whether the share is read to +- 0.05.

        Where the truth is known its distance to the estimate decides: ``read``, or ``near`` where
        the interval is wider, so that the receiver cannot know it; else ``missed``. Where it is not
        known the half width decides, and the check of what the half width rests on: ``read``,
        ``doubtful`` where the check fails, ``not read``.
        """
        if self.best is None:
            return "not read"
        narrow = self.best.half_width <= WIDTH
        if self.error is not None:
            return "missed" if abs(self.error) > WIDTH else "read" if narrow else "near"
        return "not read" if not narrow else "doubtful" if self.fails else "read"

    @property
    def readable(self) -> bool:
        """Whether the usual method's estimate is known, or has to be taken, to be within 0.05 of the truth."""
        return self.verdict in ("read", "near")

    @property
    def nearer(self) -> str | None:
        """The method that comes nearest to the truth, where the usual one misses it by more than 0.05 and it not."""
        if self.truth is None or self.verdict != "missed":
            return None
        truth = self.truth
        nearest = min(self.readings, key=lambda one: abs(one.estimate - truth))
        return nearest.method if abs(nearest.estimate - truth) <= WIDTH else None

    @property
    def said(self) -> str:
        """The verdict in words."""
        words = {
            "read": f"read to +-{WIDTH:g}",
            "near": f"within {WIDTH:g} of the truth, by an interval that is wider",
            "missed": f"missed by more than {WIDTH:g}",
            "doubtful": f"doubtful: +-{WIDTH:g} by the interval, whose check fails",
            "not read": "not read",
        }[self.verdict]
        words += "" if self.nearer is None else f" ({self.nearer} comes within it)"
        return words + ("; the check fails" if self.fails and self.verdict != "doubtful" else "")

    def json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "property": self.name,
            "value": self.value,
            "method": self.usual,
            "verdict": self.verdict,
            "readable": self.readable,
            "truth": self.truth,
            "classifier_accuracy": self.accuracy,
            "assumption": None if self.assumption is None else self.assumption._asdict(),
            "methods": [one.json(self.truth) for one in self.readings],
            "curve": [one.json(self.truth) for one in self.curve],
            "reason": self.reason,
        }


def unread(name: str, value: str, reason: str, truth: float | None) -> Leak:
    """An attribute that this attack cannot be turned on, and why."""
    return Leak(name, value, truth=truth, reason=reason)


def attack(
    what: Asked,
    records: Labelled,
    queries: Queries,
    x: np.ndarray,
    ready: Callable[[np.ndarray], np.ndarray],
    *,
    recipe: Recipe | None,
    folds: int,
    seed: int,
    degraded: bool,
    truth: float | None,
) -> Leak:
    """Read one attribute off samples: counted where it is a column of theirs, else by a classifier and every method.

    Args:
        what: the attribute.
        records: the records to train on.
        queries: where the samples are from.
        x: the samples.
        ready: samples to records in the codes of ``records``.
        recipe: how to train; a small network for images, boosted trees for tables where None.
        folds: of the cross-fitting.
        seed: of folds and training.
        degraded: train on blurred and noisy copies of images too.
        truth: share among the training records, or None.
    """
    if is_column(what.name, queries, records.derivation):
        return _counted(what, queries, x, truth, records.derivation)
    if degraded and records.columns:
        raise UserError("`degrade` is for images: leave it out for a table")
    try:
        check_enough(records.labels, records.classes, folds)
    except UserError as error:
        return unread(what.name, what.value, str(error), truth)
    classifier = cross_fit(
        records.x,
        records.labels,
        records.classes,
        recipe or default_recipe(records.columns),
        folds=folds,
        seed=seed,
        categorical=records.categorical,
        augment=degrade if degraded else None,
    )
    scores, calibration = classifier.scores(ready(x)), classifier.calibration
    result = Leak(what.name, what.value, accuracy=classifier.accuracy, truth=truth)
    try:
        usual = infer(what, USUAL, calibration, scores)
    except UserError as error:
        plain = tuple(
            _by(what, cast(Method, method), calibration, scores) for method in UNCORRECTED
        )
        return replace(result, readings=plain, reason=str(error))
    readings = [_of(usual)]
    for method in (cast(Method, name) for name in NAMES if name != USUAL):
        # one that says nothing of these samples: the usual one reads them
        with contextlib.suppress(UserError):
            readings.append(_by(what, method, calibration, scores))
    curve = [_by(what, USUAL, calibration, scores[:, :n]) for n in _counts(scores.shape[1])]
    return replace(
        result,
        readings=tuple(readings),
        usual=USUAL,
        assumption=usual.assumption,
        curve=(*curve, readings[0]),
    )


def _counts(total: int) -> list[int]:
    counts, count = [], FIRST
    while count < total:
        counts.append(count)
        count *= 2
    return counts


def _counted(
    what: Asked,
    queries: Queries,
    x: np.ndarray,
    truth: float | None,
    derivation: Derivation | None,
) -> Leak:
    try:
        curve = [
            _of(counted_column(what, queries, x[:n], derivation))
            for n in (*_counts(len(x)), len(x))
        ]
    except UserError as error:
        return unread(what.name, what.value, str(error), truth)
    return Leak(what.name, what.value, (curve[-1],), "column", curve=tuple(curve), truth=truth)


def _of(one: Inferred) -> Reading:
    return Reading(
        one.method,
        one.queries,
        one.estimate,
        one.low,
        one.high,
        one.sampling,
        one.classifier or 0.0,
    )


def _by(what: Asked, method: Method, calibration: Calibration, scores: np.ndarray) -> Reading:
    rng = np.random.default_rng([what.seed, 1])
    estimate = read_share(what._replace(resamples=RESAMPLES), method, calibration, scores, rng)
    return Reading(method, scores.shape[1], *estimate[:5])
