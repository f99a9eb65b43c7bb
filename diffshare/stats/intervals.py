"""Intervals of a proportion: of counts alone, and of counts corrected for a classifier's errors (two classes)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv, ndtri, stdtrit

from diffshare.errors import UserError

# least TPR - FPR that a correction divides by, absolute and in standard errors
SEPARATION, ERRORS = (
    0.02,
    3.0,
)


class Interval(NamedTuple):
    """An estimate of a proportion and the ends of its interval, all in [0, 1]."""

    estimate: float
    low: float
    high: float


def check_level(level: float) -> None:
    """Refuse a confidence level that is none."""
    if not 0 < level < 1:
        raise UserError(
            f"level {level} is no confidence level: expected a number between 0 and 1, for instance 0.95"
        )


def normal_quantile(level: float) -> float:
    """Two-sided normal quantile of a checked level: 0.95 gives 1.96."""
    check_level(level)
    return float(ndtri((1 + level) / 2))


def student_quantile(level: float, freedom: float) -> float:
    """Two-sided quantile of Student's distribution: the level 0.95 with 4 degrees of freedom gives 2.78.

    Of ``scipy.special``: to import ``scipy.stats`` takes as long as an audit of a table.
    """
    check_level(level)
    return float(stdtrit(freedom, (1 + level) / 2))


def _check(positives: int, total: int) -> None:
    if total < 1 or not 0 <= positives <= total:
        raise UserError(
            f"{positives} of {total} is no proportion: expected 0 <= positives <= total and total >= 1"
        )


def hoeffding_half_width(total: int, level: float = 0.95) -> float:
    """Half width sqrt(log(2 / (1 - level)) / (2 n)) of a mean of n numbers in [0, 1] (Hoeffding 1963, theorem 2).

    The bound of Luo et al. 2024 (arXiv 2402.18607): it knows of the sampling of the generator alone.
    """
    check_level(level)
    _check(0, total)
    return float(np.sqrt(np.log(2 / (1 - level)) / (2 * total)))


def hoeffding(positives: int, total: int, level: float = 0.95) -> Interval:
    """Count with Hoeffding's interval, cut to [0, 1]."""
    _check(positives, total)
    share, half = positives / total, hoeffding_half_width(total, level)
    return Interval(share, max(0.0, share - half), min(1.0, share + half))


def wilson(positives: int, total: int, level: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927): the p with |share - p| <= z sqrt(p (1 - p) / n)."""
    _check(positives, total)
    z = normal_quantile(level)
    share, weight = positives / total, 1 + z**2 / total
    middle = (share + z**2 / (2 * total)) / weight
    half = z * float(np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))) / weight
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Interval(share, 0.0 if positives == 0 else low, 1.0 if positives == total else high)


def clopper_pearson(positives: int, total: int, level: float = 0.95) -> Interval:
    """Exact interval of a proportion by quantiles of beta distributions (Clopper & Pearson 1934)."""
    _check(positives, total)
    check_level(level)
    tail = (1 - level) / 2
    low = 0.0 if positives == 0 else float(betaincinv(positives, total - positives + 1, tail))
    high = (
        1.0 if positives == total else float(betaincinv(positives + 1, total - positives, 1 - tail))
    )
    return Interval(positives / total, low, high)


def unseen_share(total: int, level: float = 0.95) -> float:
    """The greatest share that ``total`` draws without a positive allow: the upper end of :func:`clopper_pearson`."""
    return clopper_pearson(0, total, level).high


class ErrorRates(NamedTuple):
    """A classifier's decisions on calibration records: hits of the positives, false alarms of the negatives."""

    true_positives: int
    positives: int
    false_positives: int
    negatives: int


def lang_reiczigel(positives: int, total: int, rates: ErrorRates, level: float = 0.95) -> Interval:
    """Adjusted count with an interval that includes the uncertainty of the error rates (Lang & Reiczigel 2014).

    Preventive Veterinary Medicine 113: 13-22. Counts are moved towards one half first: the queries' share with
    n' = n + z^2 and (x + z^2 / 2) / n', sensitivity and specificity with (x + 1) / (n + 2). With the adjusted
    P, Se, Sp, J = Se + Sp - 1 and p = (P + Sp - 1) / J, the standard error is

        s = sqrt( P(1-P)/n' + p^2 Se(1-Se)/(n_se+2) + (1-p)^2 Sp(1-Sp)/(n_sp+2) ) / |J|

    and the interval p + dp -+ z s with dp = 2 z^2 ( p Se(1-Se)/(n_se+2) - (1-p) Sp(1-Sp)/(n_sp+2) ), cut to [0, 1].

    Args:
        positives: queries that the classifier calls positive.
        total: queries.
        rates: the classifier's decisions on the calibration records.
        level: in (0, 1).

    Returns:
        the plain adjusted count (Rogan & Gladen 1978), cut to [0, 1], and the interval.

    Raises:
        UserError: impossible counts, or a TPR - FPR below 0.02 or three of its standard errors.
    """
    _check(positives, total)
    _check(rates.true_positives, rates.positives)
    _check(rates.false_positives, rates.negatives)
    z = normal_quantile(level)
    tpr, fpr = rates.true_positives / rates.positives, rates.false_positives / rates.negatives
    of_rates = tpr * (1 - tpr) / rates.positives + fpr * (1 - fpr) / rates.negatives
    _check_gap(tpr, fpr, error=of_rates**0.5)
    plain = float(np.clip(_adjust(positives / total, tpr, fpr), 0, 1))
    n, n_se, n_sp = total + z**2, rates.positives + 2, rates.negatives + 2
    share = (positives + z**2 / 2) / n
    se, sp = (rates.true_positives + 1) / n_se, (rates.negatives - rates.false_positives + 1) / n_sp
    # of a handful of records these may meet where the rates themselves do not
    _check_gap(se, 1 - sp)
    p = _adjust(share, se, 1 - sp)
    of_se, of_sp = se * (1 - se) / n_se, sp * (1 - sp) / n_sp
    error = float(np.sqrt(share * (1 - share) / n + p**2 * of_se + (1 - p) ** 2 * of_sp)) / abs(
        se + sp - 1
    )
    middle = p + 2 * z**2 * (p * of_se - (1 - p) * of_sp)
    low, high = (float(np.clip(middle + sign * z * error, 0, 1)) for sign in (-1, 1))
    return Interval(plain, min(low, plain), max(high, plain))


def _adjust(share: float, tpr: float, fpr: float) -> float:
    """(CC - FPR) / (TPR - FPR)."""
    return (share - fpr) / (tpr - fpr)


def _check_gap(tpr: float, fpr: float, error: float = 0.0) -> None:
    """Refuse a TPR - FPR that is too near 0, given its standard error: the correction divides by it."""
    least = max(SEPARATION, ERRORS * error)
    if abs(tpr - fpr) < least:
        raise UserError(
            f"the classifier is too near chance to correct its counts: TPR - FPR is {tpr - fpr:.3f}, at least "
            f"{least:.3g} is needed (a better classifier or more auxiliary records; the uncorrected count needs none)"
        )


def cleam(shares: np.ndarray, tpr: float, fpr: float, level: float = 0.95) -> Interval:
    """Classifier error-aware measurement (CLEAM; Teo, Abdollahzadeh & Cheung, NeurIPS 2023).

    With the mean m and standard deviation s of the counted shares of b batches of samples: the estimate
    (m - FPR) / (TPR - FPR), the interval the same map of m -+ z s / sqrt(b). The error rates are taken as known, so
    that the interval is of the sampling alone.

    Args:
        shares: share of positives that the classifier counts in each batch, b >= 2.
        tpr: P(called positive | positive).
        fpr: P(called positive | negative).
        level: in (0, 1).

    Returns:
        estimate and interval, cut to [0, 1].

    Raises:
        UserError: fewer than two batches, shares or rates outside [0, 1], or TPR - FPR below 0.02.
    """
    shares = np.asarray(shares, dtype=np.float64)
    if shares.ndim != 1 or len(shares) < 2:
        raise UserError(
            f"CLEAM needs the shares of two batches of samples at least, got shape {shares.shape}"
        )
    for name, values in (("shares", shares), ("TPR", np.array([tpr])), ("FPR", np.array([fpr]))):
        if not ((values >= 0) & (values <= 1)).all():
            raise UserError(
                f"CLEAM's {name} reach from {values.min():.3g} to {values.max():.3g}: expected [0, 1]"
            )
    _check_gap(tpr, fpr)
    half = normal_quantile(level) * float(shares.std(ddof=1)) / len(shares) ** 0.5
    mean = float(shares.mean())
    middle, *ends = (
        float(np.clip(_adjust(share, tpr, fpr), 0, 1)) for share in (mean, mean - half, mean + half)
    )
    return Interval(middle, min(ends), max(ends))


def coverage_interval(shares: Sequence[float], level: float) -> tuple[float, float]:
    """Interval of the mean over generators of the share of a generator's runs whose interval held.

    Clopper and Pearson's beta quantiles at the sum s of the n shares, which need not be whole:

        low = B((1 - level) / 2; s, n - s + 1),  high = B((1 + level) / 2; s + 1, n - s)

    and 0, 1 where s is 0, n. A share in [0, 1] varies no more than a single run of the same mean, so that the binomial
    quantiles are wide enough (the tests sum the chances for ten generators of two runs). Those of a rounded s miss the
    mean too often on one side, and Student's interval of the shares has no width where all are 0 or all are 1.

    Args:
        shares: one a generator, in [0, 1]; at least one.
        level: of the interval, in (0, 1).
    """
    n, s, tail = len(shares), float(np.sum(shares)), (1 - level) / 2
    low = 0.0 if s <= 0 else float(betaincinv(s, n - s + 1, tail))
    high = 1.0 if s >= n else float(betaincinv(s + 1, n - s, 1 - tail))
    return low, high
