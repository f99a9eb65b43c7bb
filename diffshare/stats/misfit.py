"""How far off may an association be whose classifier errs on samples in other ways than on records?

The scores of a class of samples should be a mixture of the groups' scores among records. Where they are not, the shares
that were unmixed from them are off, by an amount that scores alone do not tell: a generator whose men look as the
women of the records do leaves no trace. What does leave one is how far the scores lie from the nearest mixture, and in
what way. The bias here is what these two stand for, and no more:

- what the classes of samples have *in common* may be an error of either group, the same in every class, for one
  generator drew them. It moves the shares of all classes alike: p^ = (1 - p) b_0 + p (1 + b_1), with |b_0| and |b_1|
  at most b, the distance in the scale of shares;
- what a class has of its *own*, its distance from what the classes have in common, moves that class as is worst;
- scores that a mixture of groups closer together fits better (a blur) leave g of a share's distance from the mean m:
  p^ = m + g (p - m).

Symbols as in :mod:`diffshare.stats.shares`: K groups, C classes, F models.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from diffshare.errors import UserError
from diffshare.stats.association import Association, Root, log_odds_root, shifted
from diffshare.stats.calibration import Calibration
from diffshare.stats.shares import Share
from diffshare.stats.simplex import least_squares

GRID = 200  # scores at which two distributions are compared
PLACES = (np.arange(GRID) + 0.5) / GRID
SLOPES = np.arange(1, 21) / 20  # of a blur


class Bias(NamedTuple):
    """How far off unmixed shares may be.

    Attributes:
        common: b, the same for every class, of the share of each group, >= 0, K.
        own: of each class's own, >= 0, C x K.
        slope: g, what is left of the distance of each group from the others, in [0, 1], K.
    """

    common: np.ndarray
    own: np.ndarray
    slope: np.ndarray


class Fit(NamedTuple):
    """Whether the samples' scores look like a mixture of the groups' calibration scores, over all classes.

    Attributes:
        ok: they do: the p-value is at least 0.05. Of samples that are records, one in twenty fails.
        p_value: of the least likely class, times the number of classes.
        bias: how far off the shares P(s|y) may be, as far as it shows.
        remedy: what to do where it is not ok.
    """

    ok: bool
    p_value: float
    bias: Bias
    remedy: str


def score_gap(
    calibration: Calibration, query_scores: np.ndarray, prevalence: np.ndarray
) -> np.ndarray:
    """Distribution of the queries' scores less that of a mixture of the calibration scores.

    Q(t) - sum_k p_k F_k(t), averaged over the models of the folds, at 200 scores t in the middles of equal steps.

    Args:
        calibration: N scores with labels.
        query_scores: M x K (or M), or F x M x K.
        prevalence: p, K, of :func:`diffshare.stats.mixture.mixture_fit`.

    Returns:
        of the posterior of each class, float64 in [-1, 1], K x 200.
    """
    observed = _below(calibration.queries(query_scores)).mean((0, 1))
    records = _below(calibration.scores).reshape(len(calibration.scores), -1)
    return observed - (prevalence @ calibration.class_means(records)).reshape(observed.shape)


def distance(gap: np.ndarray) -> np.ndarray:
    """Integral of |gap|, K: the Wasserstein distance of order 1, which bounds the difference of the mean scores."""
    return np.abs(gap).mean(-1)


def share_bias(calibration: Calibration, error: np.ndarray) -> np.ndarray:
    """How far off unmixed shares are at most where mean posteriors are off by at most ``error``.

    The shares are p = A^-T q (:func:`diffshare.stats.shares.unmixed_shares`), so an error e of q moves p_k by
    sum_j (A^-T)_kj e_j. Posteriors sum to 1 and e to 0: a constant may be taken off each row, and the best one, which
    is one of its entries, makes the bound sum_j |(A^-T)_kj - c| error_j exact. Of two groups it is
    error / (a_1 - a_0), a the mean scores of the records of each.

    Args:
        calibration: scores with labels.
        error: >= 0, K.

    Returns:
        float64 >= 0, K.

    Raises:
        UserError: scores that tell the groups apart by nothing.
    """
    try:
        solve = np.linalg.inv(calibration.class_means(calibration.scores)).T
    except np.linalg.LinAlgError as error:
        raise UserError(
            "the classifier of the group tells the groups of a class apart by nothing"
        ) from error
    return np.array([min(np.abs(row - c) @ error for c in row) for row in solve])


def blur(
    calibrations: Sequence[Calibration],
    scores: Sequence[np.ndarray],
    prevalences: Sequence[np.ndarray],
) -> np.ndarray:
    """What is left of the distance of each group from the others where the samples' scores say that it has shrunk.

    For g = 0.05, 0.1, ..., 1 the log odds of each group's calibration records are moved as a whole, until their mean
    has kept g of its distance from that of all groups, and the samples' scores are compared with mixtures of the moved
    scores (squared distance of the distributions, summed over the classes, at the p that makes it least). The g that
    fits best is taken.

    Args:
        calibrations: held-out scores of records of each class with their groups, C.
        scores: of the samples of each class, C of F x M x K.
        prevalences: of the nearest mixture of each class, C of K: of the mean of all groups.

    Returns:
        float64 in (0, 1], K.
    """
    groups = len(prevalences[0])
    channels = [1] if groups == 2 else list(range(groups))  # of two groups one posterior says all
    apart = np.zeros((len(SLOPES), len(channels)))
    for calibration, queries, p in zip(calibrations, scores, prevalences, strict=True):
        observed = np.tile(_below(queries[..., channels]).mean((0, 1)), (len(SLOPES), 1))
        places = logit(np.clip(calibration.scores, 1e-6, 1 - 1e-6))
        means = calibration.class_means(places)
        way = (p @ means - means)[calibration.labels]
        rows = [expit(places + (1 - slope) * way)[:, channels] for slope in SLOPES]
        means = np.array(
            [calibration.class_means(_below(moved).reshape(len(moved), -1)) for moved in rows]
        )
        components = (
            means.reshape(len(SLOPES), groups, len(channels), GRID)
            .swapaxes(1, 2)
            .reshape(-1, groups, GRID)
        )
        fitted = np.einsum("rk,rkd->rd", least_squares(observed, components), components)
        apart += ((observed - fitted) ** 2).sum(-1).reshape(apart.shape)
    best = SLOPES[apart.argmin(0)]
    return np.repeat(best, 2) if groups == 2 else best


def _below(scores: np.ndarray) -> np.ndarray:
    """Whether each score is up to each of the 200 places, ... x K to ... x K x 200."""
    return scores[..., None] <= PLACES


def biases(
    calibrations: Sequence[Calibration],
    scores: Sequence[np.ndarray],
    prevalences: Sequence[np.ndarray],
) -> Bias:
    """The bias that the scores of all classes of samples stand for; see the module.

    Args:
        calibrations: held-out scores of records of each class with their groups, C.
        scores: of the samples of each class, C of F x M x K.
        prevalences: of the nearest mixture of each class (:func:`diffshare.stats.mixture.mixture_fit`), C of K.
    """
    classes = list(zip(calibrations, scores, prevalences, strict=True))
    gaps = [score_gap(*each) for each in classes]
    shared = np.mean(gaps, axis=0)
    common = [share_bias(c, distance(gap)) for c, gap in zip(calibrations, gaps, strict=True)]
    own = [share_bias(c, distance(gap - shared)) for c, gap in zip(calibrations, gaps, strict=True)]
    return Bias(np.max(common, axis=0), np.array(own), blur(calibrations, scores, prevalences))


def extremes(association: Association, bias: Bias, label_weights: np.ndarray) -> list[Root] | None:
    """The difference d of an association for shares that are off by the bias, in the directions that move it most.

    With p^ as the module has it and an own part e, p = (p^ - e - b_0) / (1 + b_1 - b_0), so that the odds ratio of two
    classes is ((h - b_0) / (l - b_0)) ((1 + b_1 - l) / (1 + b_1 - h)) with h, l = p^ - e: monotone in b_0, in b_1 and
    in each e, and its extremes lie at their ends. A blur, b_0 = (1 - g) m and b_1 = (g - 1) (1 - m), is taken about the
    mean m of the two shares, where it leaves as many of each group as there seem to be.

    Args:
        association: of :func:`diffshare.stats.association.compare`.
        bias: of the shares.
        label_weights: of the classes in the reference, C.

    Returns:
        one for each choice of ends; None where some share may be 0 or 1, for there is no bound then.
    """
    (group, label), odds = association.contrast, []
    others = np.array(label_weights, np.float64)
    others[label] = 0
    b, lost = bias.common[group], 1 - bias.slope[group]
    own = bias.own[label, group], -(others @ bias.own[:, group]) / others.sum()
    middle = sum(share.estimate for share in association.pair) / 2
    shared = [*product((-b, b), (-b, b)), (lost * middle, -lost * (1 - middle))]
    for (low, high), sign in product(shared, (-1, 1)):
        two = [
            _undone(share, low, high, sign * by)
            for share, by in zip(association.pair, own, strict=True)
        ]
        if not all(0 < share.estimate < 1 for share in two):
            return None
        odds.append(shifted(log_odds_root(*two), *association.reference))
    return odds


def _undone(share: Share, low: float, high: float, own: float) -> Share:
    """The share without the errors b_0 = ``low``, b_1 = ``high`` and ``own``; its variance grows as it is spread."""
    slope = float(1 + high - low)
    if slope <= 1e-6:
        return share._replace(estimate=0.0)
    estimate = float((share.estimate - own - low) / slope)
    binomial = max(share.estimate * (1 - share.estimate), 0.0)
    return Share(
        estimate,
        share.n,
        max((share.queries + binomial) / slope**2 - estimate * (1 - estimate), 0.0),
        share.calibration / slope**2,
    )
