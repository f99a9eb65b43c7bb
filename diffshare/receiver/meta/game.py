"""The distinguishing game: was a generator trained at p0 or at p1? Played with estimates of any method."""

from typing import NamedTuple

import numpy as np

from diffshare.stats.distinguishing import auroc, n_leaked
from diffshare.stats.intervals import Interval, clopper_pearson


class Game(NamedTuple):
    """How well estimates tell p0 from p1.

    Attributes:
        auroc: probability that an estimate at p1 is above one at p0, with its interval.
        accuracy: of the guess "p1 where the estimate is above the middle", with its interval over generators.
        n_leaked: records of the training set that would tell as much if they were seen (Suri & Evans 2022).
        n_leaked_low: the same at the lower end of the accuracy.
    """

    auroc: Interval
    accuracy: Interval
    n_leaked: float
    n_leaked_low: float


def play(first: np.ndarray, second: np.ndarray, p0: float, p1: float, level: float = 0.95) -> Game:
    """Play it once with each generator.

    The threshold is (p0 + p1) / 2, which is fixed before any estimate is seen; so each guess is an independent trial.

    Args:
        first: estimates of generators that were trained at p0, two or more.
        second: estimates of as many generators that were trained at p1 > p0.
        p0: smaller proportion.
        p1: greater proportion.
        level: of the intervals.

    Raises:
        ValueError: p0 is not below p1, or the game is not balanced.
        UserError: fewer than two estimates on a side.
    """
    if not p0 < p1 or len(first) != len(second):
        raise ValueError(
            f"a game of {p0} against {p1} with {len(first)} and {len(second)} generators is none"
        )
    middle = (p0 + p1) / 2
    right = int((np.asarray(first) < middle).sum() + (np.asarray(second) > middle).sum())
    accuracy = clopper_pearson(right, 2 * len(first), level)
    area = auroc(np.asarray(first), np.asarray(second), level)
    return Game(area, accuracy, n_leaked(accuracy.estimate, p0, p1), n_leaked(accuracy.low, p0, p1))
