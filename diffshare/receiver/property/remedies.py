"""What to do where a classifier may err otherwise on samples: surrogates, labels by hand, a wider interval."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from diffshare.errors import UserError
from diffshare.receiver.property.inference import Asked, Assumption, Inferred
from diffshare.stats.bootstrap import bootstrap, drift_size
from diffshare.stats.calibration import Calibration
from diffshare.stats.inverse import feature_mean, inverse_prediction, refuse_line
from diffshare.stats.prediction_powered import prediction_powered
from diffshare.stats.prevalence import Method, estimate

# whose bootstrap resamples the calibration records
CORRECTED: tuple[Method, ...] = (
    "acc",
    "pacc",
    "dmy",
    "ml",
)
# methods that a line over known proportions can be drawn through
LINEAR: tuple[Method, ...] = (
    "acc",
    "pacc",
)


def widened(
    result: Inferred, what: Asked, calibration: Calibration, scores: np.ndarray
) -> Inferred:
    """Where the assumption fails, an interval that holds those of all corrected methods.

    If the classifier erred on samples as on real records, the methods would agree up to their errors. Each leans on
    another part of the scores' distribution, so what they differ by shows how far off they may be: a heuristic, not a
    bound.
    """
    if result.assumption.ok:
        return replace(
            result, notes=(*result.notes, "the assumption holds: the interval was not widened")
        )
    rng = np.random.default_rng([what.seed, 2])
    intervals = []
    for method in CORRECTED:
        # one that says nothing of these samples widens nothing
        with contextlib.suppress(UserError):
            intervals.append(
                bootstrap(method, calibration, scores, rng, what.level, what.resamples)
            )
    low = min(result.low, *(float(one.low[what.place]) for one in intervals))
    high = max(result.high, *(float(one.high[what.place]) for one in intervals))
    note = f"widened to the intervals of {', '.join(CORRECTED)}"
    assumes = "one of the methods is right"
    return replace(result, low=low, high=high, assumes=assumes, notes=(*result.notes, note))


def refuse_surrogates(method: str, proportions: Sequence[float], classes: int = 2) -> None:
    """Refuse what :func:`recalibrated` cannot use, before anything is sampled or trained.

    Raises:
        UserError: a method without a line, more than two classes, or too few different shares.
    """
    if method not in LINEAR:
        raise UserError(
            f"surrogates recalibrate the methods {' and '.join(LINEAR)}, not '{method}': add `method` {LINEAR[-1]}"
        )
    if classes != 2:
        raise UserError(
            f"surrogates recalibrate a property of two classes, not of {classes}: leave them out"
        )
    refuse_line(proportions)


def recalibrated(
    result: Inferred,
    what: Asked,
    calibration: Calibration,
    scores: np.ndarray,
    surrogates: Sequence[np.ndarray],
    proportions: Sequence[float],
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
        proportions: share of class 1 in each surrogate's training set, S.

    Returns:
        ``classifier`` is Student's quantile of the level (S - 2 degrees of freedom) times the surrogates' scatter about
        the line: a half width at the level, as ``sampling`` is. ``drift`` is of the estimates without the line.
    """
    method: Any = result.method
    refuse_surrogates(method, proportions, len(what.classes))
    proportions = [p if what.place == 1 else 1 - p for p in proportions]
    means, variances = zip(
        *(feature_mean(method, one, what.place) for one in surrogates), strict=True
    )
    predicted = inverse_prediction(
        proportions, means, variances, *feature_mean(method, scores, what.place), what.level
    )
    drifts = [
        float(estimate(method, calibration, one)[what.place]) - p
        for one, p in zip(surrogates, proportions, strict=True)
    ]
    shares = np.full(2, 1 - predicted.estimate)
    shares[what.place] = predicted.estimate
    note = (
        f"recalibrated on {len(proportions)} surrogates, whose shares are taken for those of '{what.classes[1]}'; the "
        "error's classifier part is the half width of their scatter"
    )
    return replace(
        result,
        estimate=predicted.estimate,
        low=predicted.low,
        high=predicted.high,
        classifier=predicted.half_width,
        drift=drift_size(drifts, what.level),
        assumes="the generator is like the surrogates",
        shares=what.named(shares),
        notes=(*result.notes, note),
    )


def labelled(
    what: Asked, result: Inferred, scores: np.ndarray, places: np.ndarray, labels: np.ndarray
) -> Inferred:
    """Correct a classifier with a handful of samples that a person labelled; needs no assumption on its errors.

    Args:
        what: the property.
        result: what was read off without the labels.
        scores: P(the class asked for) of each sample, M.
        places: positions of the labelled samples, a random choice, n.
        labels: whether each has the class asked for, bool, n.
    """
    corrected = prediction_powered(scores, places, labels, what.level)
    rest = {name: share for name, share in result.shares.items() if name != what.value}
    # all samples were read as the class asked for: nothing tells the others apart
    if not sum(rest.values()):
        rest = dict.fromkeys(rest, 1.0)
    scale = (1 - corrected.estimate) / sum(rest.values())
    return replace(
        result,
        estimate=corrected.estimate,
        low=corrected.low,
        high=corrected.high,
        sampling=corrected.of_scores,
        classifier=corrected.of_labels,
        assumption=Assumption(ok=True),
        assumes="",
        shares={what.value: corrected.estimate}
        | {name: share * scale for name, share in rest.items()},
        notes=(
            *result.notes,
            f"corrected with {len(labels)} samples labelled by hand: no assumption on the errors",
        ),
    )
