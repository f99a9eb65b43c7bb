"""How frequent is each class among the queries? Estimates from the scores of a classifier that errs.

All methods but EMQ are of one form (Firat 2016; Bunse 2022): a record's scores become features, the mean features of
the queries are a mixture q = sum_k p_k a_k of the class means of the calibration records, and p is solved for.
Where F cross-fitted models scored the data, features are averaged over the models on both sides: q = sum_k p_k a_k
then still holds, whatever the models are, if the scores of a class are distributed alike in both sets.

Symbols: N calibration records, M queries, K classes, F models, D features, R resamples.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np

from diffshare.errors import UserError, one_of
from diffshare.stats.calibration import Calibration
from diffshare.stats.intervals import ERRORS, SEPARATION
from diffshare.stats.simplex import least_hellinger, least_squares, most_likely

Method = Literal["cc", "pcc", "acc", "pacc", "emq", "dmy", "ml"]
NAMES: tuple[str, ...] = get_args(Method)
UNCORRECTED = ("cc", "pcc")

BINS = 8  # of a histogram of scores: the default of DMy in the literature and in QuaPy


def decisions(scores: np.ndarray) -> np.ndarray:
    """One-hot of the most probable class (two classes: class 1 from 0.5 up). ... x K to ... x K."""
    k = scores.shape[-1]
    chosen = (scores[..., 1] >= 0.5).astype(np.int64) if k == 2 else scores.argmax(-1)
    return np.eye(k)[chosen]


def histogram(scores: np.ndarray, bins: int = BINS) -> np.ndarray:
    """One-hot of the equal bins of [0, 1] that each class's score is in, divided by the number of histograms.

    Two classes have one histogram (of P(class 1)), more have one for each class, side by side. ... x K to ... x D.
    """
    channels = scores[..., 1:] if scores.shape[-1] == 2 else scores
    place = np.minimum((channels * bins).astype(np.int64), bins - 1)
    return (np.eye(bins)[place] / channels.shape[-1]).reshape(*scores.shape[:-1], -1)


def _as_counted(query: np.ndarray, classes: np.ndarray) -> np.ndarray:
    del classes
    return query


class Form(NamedTuple):
    """A method: features of a record, and the solution for p of mean features R x D and class means R x K x D."""

    features: Callable[[np.ndarray], np.ndarray]
    solve: Callable[[np.ndarray, np.ndarray], np.ndarray]


FORMS: dict[str, Form] = {
    "cc": Form(decisions, _as_counted),
    "pcc": Form(lambda scores: scores, _as_counted),
    "acc": Form(decisions, least_squares),
    "pacc": Form(lambda scores: scores, least_squares),
    "dmy": Form(histogram, least_hellinger),
    "ml": Form(histogram, most_likely),
}


def estimate(method: Method, calibration: Calibration, query_scores: np.ndarray) -> np.ndarray:
    """Prevalence of each class among the queries.

    - ``cc``: classify and count, the attack of Luo et al. 2024 (arXiv 2402.18607): share of each decision.
    - ``pcc``: probabilistic count (Bella et al. 2010): mean posterior.
    - ``acc``: adjusted count (Rogan & Gladen 1978; Forman 2008): two classes p = (CC - FPR) / (TPR - FPR), more the
      least-squares solution of CC = sum_k p_k P(decision | k) on the simplex.
    - ``pacc``: the same of mean posteriors (Bella et al. 2010).
    - ``emq``: greatest likelihood of the queries under the posteriors, re-weighted from the calibration records'
      prior to p (Saerens, Latinne & Decaestecker 2002): what their EM converges to. Needs calibrated posteriors.
    - ``dmy``: least Hellinger distance of histograms of scores, 8 bins (Gonzalez-Castro et al. 2013; Firat 2016).
    - ``ml``: greatest likelihood of the same histograms (the mixture's, not the posteriors': needs no calibration).

    Args:
        method: one of the names above.
        calibration: scores with labels of records that the classifier has not seen.
        query_scores: M x K (or M, two classes) of one model, F x M x K of the models of F folds.

    Returns:
        float64 in [0, 1], sum 1, K.

    Raises:
        UserError: an unknown method, scores that are none, or a corrected method and a classifier at chance.
    """
    queries = checked(method, calibration, query_scores)
    if method == "emq":
        points, rows = queries.reshape(-1, queries.shape[-1]), queries.shape[0] * queries.shape[1]
        return emq(np.full((1, rows), 1 / rows), points, calibration.prior)[0]
    form = FORMS[method]
    classes = calibration.class_means(form.features(calibration.scores))
    return form.solve(form.features(queries).mean((0, 1))[None], classes[None])[0]


def checked(method: Method, calibration: Calibration, query_scores: np.ndarray) -> np.ndarray:
    """Query scores as float64, F x M x K, after all that :func:`estimate` refuses was refused."""
    if method not in NAMES:
        raise one_of("method", method, NAMES)
    queries = calibration.queries(query_scores)
    if method not in UNCORRECTED:
        refuse_chance(calibration, correcting(method))
    if method in ("dmy", "ml"):
        _refuse_apart(method, calibration, queries)
    return queries


def _refuse_apart(method: Method, calibration: Calibration, queries: np.ndarray) -> None:
    """Refuse queries whose scores lie in bins that hold no calibration record: histograms then tell nothing."""
    features = FORMS[method].features
    occupied = features(calibration.scores).any(0)
    if not features(queries).mean((0, 1))[occupied].any():
        raise UserError(
            f"no score of the samples is near one of a record, so method {method} cannot compare them: use another "
            "`method`, or records more like the samples"
        )


def correcting(method: Method) -> Callable[[np.ndarray], np.ndarray]:
    """The features whose separation a method's correction divides by: decisions of ``acc``, else the posteriors."""
    return decisions if method == "acc" else (lambda scores: scores)


def emq(weights: np.ndarray, points: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Greatest likelihood of sum_i w_i log sum_k p_k post_k(x_i) / prior_k (Saerens et al. 2002, section 2.3).

    Args:
        weights: of each point, sum 1, R x Q.
        points: posteriors, Q x K.
        prior: of the posteriors, K.

    Returns:
        float64, R x K.
    """
    return most_likely(weights, (points / prior).T[None])


def separation(
    calibration: Calibration, features: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float]:
    """How far the classifier tells the classes apart, and the standard error of that.

    The least singular value of the matrix of class means over vectors that sum to 0: two classes |TPR - FPR| (of
    decisions) or the difference of mean posteriors. Every correction divides by it.
    """
    values = features(calibration.scores)
    means = calibration.class_means(values)
    basis = np.linalg.svd(np.ones((1, calibration.classes)))[2][1:]  # orthonormal, sum 0, K-1 x K
    least = float(np.linalg.svd(basis @ means, compute_uv=False)[-1])
    spread = (values - means[calibration.labels]) * calibration.weights()[:, None]
    return least, float(np.sqrt((spread**2).sum() / 2))


def refuse_chance(
    calibration: Calibration, features: Callable[[np.ndarray], np.ndarray] = decisions
) -> None:
    """Refuse a classifier whose errors cannot be corrected.

    Raises:
        UserError: a separation below 0.02 or below three standard errors.
    """
    value, error = separation(calibration, features)
    if value < max(SEPARATION, ERRORS * error):
        what = (
            "TPR - FPR"
            if features is decisions and calibration.classes == 2
            else "the separation of the classes"
        )
        raise UserError(
            f"the classifier is too near chance to correct its counts: {what} is {value:.3f} with a standard error of "
            f"{error:.3f}, at least {max(SEPARATION, ERRORS * error):.3f} is needed (a better classifier or more "
            "auxiliary records; method cc counts without correcting)"
        )


def median_sweep(
    calibration: Calibration, query_scores: np.ndarray, bins: range = range(10, 111, 10)
) -> np.ndarray:
    """Median of the ``dmy`` estimates over several numbers of bins, normalised (HDy, Gonzalez-Castro et al. 2013).

    Returns:
        float64, K.
    """
    queries = checked("dmy", calibration, query_scores)
    estimates = []
    for count in bins:
        classes = calibration.class_means(histogram(calibration.scores, count))
        estimates.append(
            least_hellinger(histogram(queries, count).mean((0, 1))[None], classes[None])[0]
        )
    middle = np.median(estimates, axis=0)
    return middle / middle.sum()
