"""Downstream classifiers that are kept fair: what a receiver can do where the samples stay as they are.

Two of Fairlearn's algorithms, for two classes. Both are randomised: a decision is drawn, from a seed.

Which rate the groups shall share is a choice with consequences here. A poisoned selection changes how often group and
class meet, P(s, y), and little of what records of one group and class look like, P(x | s, y). Equal rates of decisions
*within each class* (equalized odds) are a statement about P(x | s, y), so that they carry over from poisoned samples to
balanced records; equal selection rates (demographic parity) on samples whose groups differ in their classes do not.
"""

import warnings
from typing import Any, Literal

import numpy as np

from diffshare.classes import listed
from diffshare.errors import UserError

Constraint = Literal["equalized_odds", "demographic_parity"]


def constrained_decisions(
    classifier: Any,
    x: np.ndarray,
    y: np.ndarray,
    s: np.ndarray,
    records: np.ndarray,
    *,
    constraint: Constraint = "equalized_odds",
    slack: float = 0.01,
    rounds: int = 50,
    seed: int = 0,
) -> np.ndarray:
    """Decisions of a classifier that is trained under a constraint; no group is needed for the records it decides on.

    Fairlearn's ``ExponentiatedGradient`` (Agarwal et al. 2018, "A reductions approach to fair classification", ICML,
    Algorithm 1): a game between weighted fits of ``classifier`` and the multipliers of the constraint, whose outcome is
    a distribution over the fits.

    Args:
        classifier: of scikit-learn; its ``fit`` takes ``sample_weight``. It is cloned.
        x: rows, or features of images, to train on, float, N x D.
        y: their classes, 0 or 1, N.
        s: their groups, known or read, codes >= 0 or names, N.
        records: to decide on, float, M x D.
        constraint: which rates the groups shall share on the training records.
        slack: by how much each group's rates may differ from those of all, in (0, 1).
        rounds: of the game, each with one fit, at least 1.
        seed: draws the decisions.

    Returns:
        int64, M: 0 or 1.

    Raises:
        UserError: classes other than 0 and 1, unknown groups, or a group without one of the classes.
    """
    from fairlearn.reductions import DemographicParity, EqualizedOdds, ExponentiatedGradient

    if not 0 < slack < 1 or rounds < 1:
        raise UserError(f"slack {slack} must lie between 0 and 1 and rounds {rounds} be at least 1")
    y, s = _checked(y, s, len(x))
    bound = (EqualizedOdds if constraint == "equalized_odds" else DemographicParity)(
        difference_bound=slack
    )
    game = ExponentiatedGradient(classifier, bound, max_iter=rounds)
    # Fairlearn 0.15 writes to a Series in ways that pandas 4 gives up
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        game.fit(np.asarray(x, np.float64), y, sensitive_features=s)
    return np.asarray(game.predict(np.asarray(records, np.float64), random_state=seed), np.int64)


def thresholded_decisions(
    scores: np.ndarray,
    y: np.ndarray,
    s: np.ndarray,
    record_scores: np.ndarray,
    record_s: np.ndarray,
    *,
    constraint: Constraint = "equalized_odds",
    objective: Literal["balanced_accuracy_score", "accuracy_score"] = "balanced_accuracy_score",
    seed: int = 0,
) -> np.ndarray:
    """Decisions by a threshold of each group on the scores of a classifier, which is left as it is.

    Fairlearn's ``ThresholdOptimizer`` (Hardt et al. 2016, "Equality of opportunity in supervised learning", NeurIPS):
    the most accurate thresholds, or chance between two of them, under the constraint. The group of every record that is
    decided on is needed; one that is read by a classifier does, as far as it is read correctly.

    Args:
        scores: of labelled records that the classifier was not trained on, higher for class 1, float, N.
        y: their classes, 0 or 1, N.
        s: their groups, codes >= 0 or names, N.
        record_scores: of the records to decide on, float, M.
        record_s: their groups, among those of ``s`` and of the same kind, M: by name where both are names.
        constraint: which rates the groups shall share on the labelled records.
        objective: what the thresholds maximise; plain accuracy is of classes as frequent as in the labelled records.
        seed: draws the decisions.

    Returns:
        int64, M: 0 or 1.

    Raises:
        UserError: classes other than 0 and 1, unknown groups, a group without one of the classes, or a record of a
            group that no labelled record has.
    """
    from fairlearn.postprocessing import ThresholdOptimizer

    y, s = _checked(y, s, len(scores))
    record_s = _groups(record_s)
    if (record_s.dtype.kind == "U") != (s.dtype.kind == "U"):
        raise UserError(
            "the groups of one side are names, those of the other numbers: give both as names"
        )
    if len(record_s) != len(record_scores):
        raise UserError(
            f"{len(record_scores)} records have {len(record_s)} groups: give the group of each"
        )
    if unseen := sorted(set(record_s.tolist()) - set(s.tolist())):
        groups = listed(sorted(map(str, set(s.tolist()))))
        raise UserError(
            f"no labelled record is of group '{unseen[0]}', they are of {groups}: a threshold of it cannot be chosen; "
            "add some"
        )
    optimizer = ThresholdOptimizer(
        estimator=_scorer(),
        constraints=constraint,
        objective=objective,
        prefit=True,
        predict_method="predict",
    )
    optimizer.fit(_column(scores), y, sensitive_features=s)
    drawn = optimizer.predict(
        _column(record_scores), sensitive_features=record_s, random_state=seed
    )
    return np.asarray(drawn, np.int64)


def _scorer() -> Any:
    """An estimator whose soft prediction is its only feature: the scores were made elsewhere."""
    from sklearn.preprocessing import FunctionTransformer

    class Scores(FunctionTransformer):
        def predict(self, x: np.ndarray) -> np.ndarray:
            return np.asarray(x)[:, 0]

        def __sklearn_is_fitted__(self) -> bool:
            return True

    return Scores()


def _column(scores: np.ndarray) -> np.ndarray:
    return np.asarray(scores, np.float64).reshape(-1, 1)


def _groups(s: np.ndarray) -> np.ndarray:
    """Groups as int64 codes or as text."""
    groups = np.asarray(s)
    return groups.astype(np.str_) if groups.dtype.kind in "UO" else groups.astype(np.int64)


def _checked(y: np.ndarray, s: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes as int64 and groups as codes or names, each group with both classes."""
    y, s = np.asarray(y, np.int64), _groups(s)
    if not n == len(y) == len(s):
        raise UserError(f"{n} records have {len(y)} classes and {len(s)} groups: give both of each")
    if set(y.tolist()) != {0, 1}:
        raise UserError(
            f"the classes are {sorted(set(y.tolist()))[:5]}: fair decisions are for the two classes 0 and 1"
        )
    if s.dtype.kind != "U" and (s < 0).any():
        raise UserError(
            f"the group of {int((s < 0).sum())} of {n} records is unknown: read it or drop them"
        )
    for group in np.unique(s).tolist():
        if len(missing := {0, 1} - set(y[s == group].tolist())):
            raise UserError(
                f"no record of group {group} is of class {missing.pop()}: add some, or merge groups"
            )
    return y, s
