"""Fairness of a classifier, from counts of group x class x decision.

S is the group, Y the true class, Yhat the decision. Rates of one class, the ``positive`` one, against the others:
selection rate P(yhat=1 | s), true positive rate P(yhat=1 | y=1, s), false positive rate P(yhat=1 | y=0, s). What has
no records to be measured on is NaN, never 0: a group without positives has no true positive rate, and a difference to
it is undefined as well.
"""

from typing import NamedTuple

import numpy as np

from diffshare.errors import UserError


class GroupRates(NamedTuple):
    """Rates of each group; ``...`` are the leading axes of the counts.

    Attributes:
        n: records, float64, ... x G.
        accuracy: P(yhat = y | s), ... x G.
        selection_rate: P(yhat = 1 | s), ... x G.
        tpr: P(yhat = 1 | y = 1, s), ... x G.
        fpr: P(yhat = 1 | y = 0, s), ... x G.
    """

    n: np.ndarray
    accuracy: np.ndarray
    selection_rate: np.ndarray
    tpr: np.ndarray
    fpr: np.ndarray


class Disparity(NamedTuple):
    """How far the groups lie apart; each of the shape of the counts' leading axes.

    Attributes:
        accuracy: of all records, P(yhat = y).
        demographic_parity_difference: largest minus smallest selection rate (Agarwal et al. 2018).
        demographic_parity_difference_signed: selection rate of group 1 minus that of group 0; NaN with other than two
            groups.
        demographic_parity_ratio: smallest by largest selection rate.
        equalized_odds_difference: the larger of the differences of the true and the false positive rates (Hardt et
            al. 2016).
        equalized_odds_difference_signed: that difference as group 1 minus group 0; NaN with other than two groups.
    """

    accuracy: np.ndarray
    demographic_parity_difference: np.ndarray
    demographic_parity_difference_signed: np.ndarray
    demographic_parity_ratio: np.ndarray
    equalized_odds_difference: np.ndarray
    equalized_odds_difference_signed: np.ndarray


def group_rates(counts: np.ndarray, positive: int = 1) -> GroupRates:
    """Rates of each group.

    Args:
        counts: numbers >= 0, ... x G x K x K: group, true class, decision.
        positive: the class in 0..K-1 whose rates are meant.

    Raises:
        UserError: ``positive`` is no class, or there is no group.
    """
    counts = np.asarray(counts, np.float64)
    classes = counts.shape[-1]
    if counts.ndim < 3 or not counts.shape[-3]:
        raise UserError(
            f"counts have shape {counts.shape}: one or more groups, by class and decision, are expected"
        )
    if not 0 <= positive < classes:
        raise UserError(f"positive is {positive}: name one of the classes 0 to {classes - 1}")
    n = counts.sum((-2, -1))
    chosen = counts[..., positive]  # ... x G x K: decided as positive, by true class
    of_positive = counts[..., positive, :].sum(-1)
    return GroupRates(
        n,
        _ratio(np.trace(counts, axis1=-2, axis2=-1), n),
        _ratio(chosen.sum(-1), n),
        _ratio(chosen[..., positive], of_positive),
        _ratio(chosen.sum(-1) - chosen[..., positive], n - of_positive),
    )


def disparity(counts: np.ndarray, positive: int = 1) -> Disparity:
    """Accuracy and differences between the groups; see :class:`Disparity`.

    Args:
        counts: numbers >= 0, ... x G x K x K: group, true class, decision.
        positive: the class in 0..K-1 whose rates are meant.
    """
    rates = group_rates(counts, positive)
    counts = np.asarray(counts, np.float64)
    selected = rates.selection_rate
    gaps = np.stack([_spread(rates.tpr), _spread(rates.fpr)])
    signed = np.stack([_signed(rates.tpr), _signed(rates.fpr)])
    larger = np.where(np.abs(signed[0]) >= np.abs(signed[1]), signed[0], signed[1])
    total = counts.sum((-3, -2, -1))
    return Disparity(
        _ratio(np.trace(counts, axis1=-2, axis2=-1).sum(-1), total),
        _spread(selected),
        _signed(selected),
        _ratio(selected.min(-1), selected.max(-1)),
        gaps.max(0),  # NaN where one of them is
        np.where(np.isnan(signed).any(0), np.nan, larger),
    )


def bootstrap_counts(counts: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Counts of resampled records: drawing N of N records with replacement is one multinomial draw of the cells.

    Args:
        counts: integers >= 0, G x K x K, at least one record.
        resamples: R >= 1.
        rng: source of the draws.

    Returns:
        int64, R x G x K x K.

    Raises:
        UserError: no record.
    """
    flat = np.asarray(counts, np.int64).ravel()
    if not flat.sum():
        raise UserError(
            "there are no records to measure fairness on: test on a part that holds some"
        )
    return rng.multinomial(flat.sum(), flat / flat.sum(), resamples).reshape(
        resamples, *np.shape(counts)
    )


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Quotient; NaN where ``b`` is 0."""
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=np.asarray(b) > 0)


def _spread(rates: np.ndarray) -> np.ndarray:
    return rates.max(-1) - rates.min(-1)  # NaN where a group's rate is


def _signed(rates: np.ndarray) -> np.ndarray:
    if rates.shape[-1] != 2:
        return np.full(rates.shape[:-1], np.nan)
    return rates[..., 1] - rates[..., 0]
