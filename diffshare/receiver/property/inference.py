"""The share of a property among a generator's samples, with an interval, the parts of its error, and a check."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from diffshare.classes import Place, place_of
from diffshare.errors import UserError
from diffshare.stats.bootstrap import bootstrap, error_parts
from diffshare.stats.calibration import Calibration
from diffshare.stats.intervals import check_level, clopper_pearson, hoeffding_half_width
from diffshare.stats.mixture import mixture_fit
from diffshare.stats.prevalence import UNCORRECTED, Method, estimate

AUTO: Literal["auto"] = "auto"  # as many queries as an interval of a wanted width takes
DEFAULT_METHOD: Method = "pacc"
PART_RESAMPLES = 1000  # of the error's parts, at most
ALIKE = "the classifier errs as on real records"
NEVER = "the classifier never errs"
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


@dataclass(frozen=True, repr=False)
class Inferred:
    """A share that was read off samples.

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
        assumes: what the interval takes for granted, in words that follow "assumes that"; empty where nothing but that
            the samples are drawn alike.
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
    assumes: str = ""
    drift: float | None = None
    notes: tuple[str, ...] = field(default=())

    # by which its file is told from others
    FIELDS: ClassVar[tuple[str, ...]] = ("property", "method", "estimate", "naive", "hoeffding")

    @property
    def fails(self) -> bool:
        """The interval rests on the check, and the check says no."""
        return (
            self.assumes == ALIKE and self.assumption.p_value is not None and not self.assumption.ok
        )

    def __repr__(self) -> str:
        return (
            f"Inferred({self.name}={self.value!r}, {self.estimate:.3f}, {100 * self.level:g} % interval "
            f"{self.low:.3f} to {self.high:.3f}, {self.method}, queries={self.queries})"
        )

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the interval."""
        return self.low, self.high

    def to_json(self, seconds: float = 0.0) -> dict[str, Any]:
        """The fields of the file that the verb ``infer-property`` writes."""
        return {
            "property": self.name,
            "value": self.value,
            "method": self.method,
            "estimate": self.estimate,
            "interval": [self.low, self.high],
            "level": self.level,
            "naive": self.naive,
            "queries": self.queries,
            "error": {
                "sampling": self.sampling,
                "classifier": self.classifier,
                "drift": self.drift,
            },
            "hoeffding": hoeffding_half_width(self.queries, self.level) if self.queries else None,
            "assumption": self.assumption._asdict(),
            "assumes": self.assumes,
            "shares": self.shares,
            "notes": list(self.notes),
            "seconds": round(seconds, 3),
        }


class Asked(NamedTuple):
    """What is to be inferred: the property, its classes, the class whose share is asked for, and how surely.

    ``note`` says that the class was not named, or told by its position.
    """

    name: str
    classes: Sequence[str]
    place: int
    level: float
    seed: int = 0
    resamples: int = 2000
    note: str | None = None

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
        raise UserError(
            f"the property '{name}' has {len(classes)} classes: name one with `value` ({_few(classes)})"
        )
    place = None if value is None else place_of(value, classes, f"value of '{name}'")
    if len(classes) < 2:
        raise UserError(
            f"the property '{name}' has one class only, {_few(classes)}: choose another"
        )
    if place is None:
        place = Place(
            1,
            None
            if name in classes
            else f"the share is that of '{classes[1]}', not of '{classes[0]}'",
        )
    return Asked(name, tuple(classes), place.code, level, seed, note=place.note)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


class Read(NamedTuple):
    """A share with its interval and the half widths of its parts, as in :class:`Inferred`; ``shares`` is of all K."""

    estimate: float
    low: float
    high: float
    sampling: float
    classifier: float | None
    shares: np.ndarray


def read_share(
    what: Asked,
    method: Method,
    calibration: Calibration,
    scores: np.ndarray,
    rng: np.random.Generator,
) -> Read:
    """The estimate with a bootstrap interval, of ``cc`` Clopper and Pearson's; see :func:`infer`."""
    interval = bootstrap(method, calibration, scores, rng, what.level, what.resamples)
    fewer = min(PART_RESAMPLES, what.resamples)
    parts = error_parts(method, calibration, scores, rng, what.level, fewer, place=what.place)
    point, low, high = (float(ends[what.place]) for ends in interval[:3])
    sampling = parts.sampling
    if method == "cc":  # a bootstrap of decisions that are all alike has no width
        exact = clopper_pearson(round(point * scores.shape[1]), scores.shape[1], what.level)
        low, high = min(exact.low, point), max(exact.high, point)
        sampling = (high - low) / 2
    return Read(point, low, high, sampling, parts.classifier, interval.estimate)


def infer(what: Asked, method: Method, calibration: Calibration, scores: np.ndarray) -> Inferred:
    """Estimate with a cross-fitted classifier, and check what the estimate rests on.

    Args:
        what: the property.
        method: of :func:`diffshare.stats.prevalence.estimate`.
        calibration: held-out scores of auxiliary records.
        scores: of the queries by every fold's model, F x M x K.

    Raises:
        UserError: a classifier at chance and a method that corrects; scores that are none.
    """
    rng = np.random.default_rng([what.seed, 1])
    read = read_share(what, method, calibration, scores, rng)
    fit = mixture_fit(calibration, scores, rng)
    return Inferred(
        name=what.name,
        value=what.value,
        method=method,
        estimate=read.estimate,
        low=read.low,
        high=read.high,
        level=what.level,
        naive=float(estimate("cc", calibration, scores)[what.place]),
        queries=scores.shape[1],
        sampling=read.sampling,
        classifier=read.classifier,
        assumption=Assumption(fit.p_value >= REJECTED, fit.statistic, fit.p_value),
        shares=what.named(read.shares),
        assumes=NEVER if method in UNCORRECTED else ALIKE,
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
    interval = clopper_pearson(int(np.sum(codes == what.place)), total, what.level)
    exact = method == "column"
    return Inferred(
        name=what.name,
        value=what.value,
        method=method,
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        level=what.level,
        naive=interval.estimate,
        queries=total,
        sampling=(interval.high - interval.low) / 2,
        classifier=0.0 if exact else None,
        assumption=Assumption(ok=exact),
        shares=what.named(shares),
        assumes="" if exact else NEVER,
    )
