"""How many queries? What a wanted half width costs, and asking until it is reached.

The sampling's band and the classifier's part are added in quadrature, as the deviations of
independent errors are. That has no proof here: the first is half the width of a confidence sequence
where asking stopped, no normal error, and the level of the sum does not follow from the levels of
the two. Their plain sum, each at half of what the level leaves, would have one and is wider.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from diffshare.errors import UserError
from diffshare.receiver.property.inference import Asked, Inferred
from diffshare.receiver.property.queries import Queries
from diffshare.stats.calibration import Calibration
from diffshare.stats.intervals import normal_quantile
from diffshare.stats.prevalence import decisions, refuse_chance
from diffshare.stats.sequential import (
    adjusted_sequence,
    confidence_sequence,
    enough_queries,
    queries_needed,
    stopped,
)

FIRST, STEP = 100, 0.1  # queries of the first look; share of the plan between two looks
MOST = 10_000_000  # queries that a plan goes up to
LONGER = 20  # a confidence sequence takes less than so many times the queries of a fixed number


class Plan(NamedTuple):
    """What a half width costs.

    Attributes:
        width: the half width of the whole interval.
        room: half width that is left for the sampling, sqrt(width^2 - classifier^2); without proof,
            see the module.
        classifier: half width at the level that the finite calibration set leaves at the worst proportion.
        queries: at which the sampling's half width is expected to be reached where it takes longest; those of the first
            look at least.
    """

    width: float
    room: float
    classifier: float
    queries: int


def plan_queries(calibration: Calibration, width: float, level: float) -> Plan:
    """Plan before the first query.

    Args:
        calibration: held-out scores, two classes.
        width: half width of the interval, in (0, 0.5).
        level: of the interval.

    Raises:
        UserError: a width that is none, or one that the calibration set does not allow whatever is asked.
    """
    if not 0 < width < 0.5:
        raise UserError(f"`width` is {width}: the half width of a share lies between 0 and 0.5")
    if calibration.classes != 2:
        raise UserError(
            f"`queries` auto is for two classes, not {calibration.classes}: give a number of queries"
        )
    refuse_chance(calibration)
    hits = decisions(calibration.scores)[:, 1]
    fpr, tpr = calibration.class_means(hits[:, None])[:, 0]
    spread = (hits - np.array([fpr, tpr])[calibration.labels]) ** 2 * calibration.weights() ** 2
    worst = max(float(spread[calibration.labels == k].sum()) for k in (0, 1))
    classifier = normal_quantile(level) * worst**0.5 / abs(tpr - fpr)
    if classifier >= 0.95 * width:
        raise UserError(
            f"`width` {width} cannot be reached: the {len(calibration.labels)} auxiliary records alone leave a half "
            f"width of up to {classifier:.3f}; give more of them or ask for a wider interval"
        )
    room = float(np.sqrt(width**2 - classifier**2))
    return Plan(width, room, float(classifier), max(FIRST, _worst(room * abs(tpr - fpr), level)))


def _worst(half: float, level: float) -> int:
    """Queries at which the confidence sequence has the half width where decisions vary most: half of them are 1."""
    least = queries_needed(half, level)
    if LONGER * least > MOST:
        raise UserError(
            f"`width` needs more than {MOST} queries with this classifier: ask for a wider interval"
        )
    enough = enough_queries(confidence_sequence(np.arange(LONGER * least) % 2, level), half)
    return enough or LONGER * least


def collect(
    queries: Queries,
    scores_of: Callable[[np.ndarray], np.ndarray],
    calibration: Calibration,
    plan: Plan,
    level: float,
) -> np.ndarray:
    """Ask until the sampling's half width is reached, looking every tenth of the plan.

    Args:
        queries: where samples come from.
        scores_of: samples to scores, F x M x 2.
        calibration: held-out scores.
        plan: of :func:`plan_queries`.
        level: of the interval.

    Returns:
        scores of all that was asked, F x M x 2.

    Raises:
        UserError: a folder holds fewer samples than that takes, or twice the plan was not enough.
    """
    step = max(FIRST, round(STEP * plan.queries))
    parts: list[np.ndarray] = []
    start = 0
    while start < 2 * plan.queries:
        stop = start + step
        if queries.available is not None and start < queries.available < stop:
            stop = queries.available
        if queries.available is not None and stop > queries.available:
            raise UserError(
                f"`width` {plan.width} is not reached with the {queries.available} samples there are (some "
                f"{plan.queries} are expected to do): draw more, or ask for a wider interval"
            )
        parts.append(scores_of(queries.take(start, stop)))
        start = stop
        scores = np.concatenate(parts, 1)
        if enough_queries(adjusted_sequence(calibration, scores, level), plan.room) is not None:
            return scores
    raise UserError(
        f"`width` {plan.width} is not reached with {start} queries: ask for a wider interval"
    )


def stopped_interval(
    result: Inferred, what: Asked, plan: Plan, calibration: Calibration, scores: np.ndarray
) -> Inferred:
    """The interval after stopping at will: the confidence sequence, and in quadrature the plan's classifier part.

    Both are of the adjusted count, whatever the method of ``result``, whose estimate is moved into
    the interval. That the sum in quadrature has the level is not proved; see the module.
    """
    band = adjusted_sequence(calibration, scores, what.level)
    if what.place == 0:
        band = 1 - band[:, ::-1]
    end = stopped(band, result.estimate)
    middle, sampling = (end.low + end.high) / 2, (end.high - end.low) / 2
    half = float(np.hypot(sampling, plan.classifier))
    note = f"stopped after {result.queries} queries, planned for at most some {plan.queries}; valid under peeking"
    other = 1 - end.estimate
    return replace(
        result,
        estimate=end.estimate,
        low=max(0.0, middle - half),
        high=min(1.0, middle + half),
        sampling=sampling,
        classifier=plan.classifier,
        shares={name: end.estimate if name == what.value else other for name in result.shares},
        notes=(*result.notes, note),
    )
