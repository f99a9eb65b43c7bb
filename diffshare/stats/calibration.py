"""Scores of a classifier on records whose labels are known: what every corrected estimate of a prevalence rests on."""

from dataclasses import dataclass

import numpy as np

from diffshare.errors import UserError

SUM_TOLERANCE = 1e-4  # of a row of posteriors: float32 softmax stays well within
LEAST_PER_CELL = 5  # records of each class that each fold's model must have scored


def posteriors(scores: np.ndarray, what: str = "scores") -> np.ndarray:
    """Checked posteriors.

    Args:
        scores: P(class k | x), float, ... x K with K >= 2 and rows that sum to 1. One dimension is short for two
            classes: P(class 1 | x).
        what: the name in a refusal.

    Returns:
        float64, the same shape (N x 2 for N scores).

    Raises:
        UserError: scores that are not numbers, outside [0, 1], or rows that do not sum to 1.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim == 0 or scores.size == 0 or (scores.ndim > 1 and scores.shape[-1] < 2):
        raise UserError(
            f"{what} have shape {scores.shape}: expected N probabilities, or N x K with K >= 2 classes"
        )
    least, most = scores.min(), scores.max()  # NaN where one score is
    if np.isnan(least):
        raise UserError(
            f"{what} hold {int(np.isnan(scores).sum())} NaN: expected probabilities in [0, 1]"
        )
    if least < 0 or most > 1 + 1e-6:
        raise UserError(
            f"{what} reach from {least:.3g} to {most:.3g}: expected probabilities in [0, 1] "
            "(apply the sigmoid or softmax first)"
        )
    if scores.ndim == 1:
        return np.stack([1 - np.minimum(scores, 1), np.minimum(scores, 1)], -1)
    total = scores @ np.ones(scores.shape[-1])  # five times the speed of a sum over a short axis
    worst = float(total.flat[np.abs(total - 1).argmax()])
    if abs(worst - 1) > SUM_TOLERANCE:
        raise UserError(
            f"{what} have a row that sums to {worst:.4g}: expected the probabilities of all classes, sum 1"
        )
    return scores / total[..., None]


def _whole(codes: np.ndarray) -> bool:
    return (
        codes.dtype.kind in "biuf"
        and bool(np.isfinite(codes).all())
        and bool((codes == np.rint(codes)).all())
    )


@dataclass(frozen=True)
class Calibration:
    """Held-out scores with labels.

    Cross-fitting: record i was scored by the model of fold ``groups[i]``, which was trained without it. The queries
    are then scored by *every* fold's model, so that both sides average over the same models; where only one of
    several models scored the queries, the difference between the models is an error that no interval sees.

    Args:
        scores: posteriors, N x K, or N for two classes (P(class 1)).
        labels: true class, integers in 0..K-1, N.
        groups: fold of each record, integers in 0..F-1, N; one fold when left out.

    Raises:
        UserError: bad scores or labels, a class without records, a fold with fewer than 5 records of a class.
    """

    scores: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check, and hold everything as arrays."""
        scores, labels = posteriors(self.scores, "calibration scores"), np.asarray(self.labels)
        groups = np.zeros(len(labels), np.int64) if self.groups is None else np.asarray(self.groups)
        if scores.ndim != 2 or not len(scores) == len(labels) == len(groups):
            raise UserError(
                f"calibration scores {scores.shape}, labels {labels.shape} and folds {groups.shape} do not belong "
                "together: expected N x K, N and N"
            )
        if not _whole(labels) or labels.min() < 0 or labels.max() >= scores.shape[1]:
            raise UserError(f"calibration labels must be the classes 0 to {scores.shape[1] - 1}")
        if not _whole(groups) or groups.min() < 0:
            raise UserError("calibration folds must be integers from 0")
        for name, value in (("scores", scores), ("labels", labels), ("groups", groups)):
            object.__setattr__(self, name, value if name == "scores" else value.astype(np.int64))
        counts = self.counts
        if (counts.sum(0) == 0).any():
            raise UserError(
                f"calibration data have no record of class {int(counts.sum(0).argmin())}: every class is needed, "
                f"at least {LEAST_PER_CELL} records of each for each fold"
            )
        if counts.min() < LEAST_PER_CELL:
            fold, label = np.unravel_index(counts.argmin(), counts.shape)
            raise UserError(
                f"calibration data are too few: fold {fold} has {counts.min()} records of class {label}, "
                f"at least {LEAST_PER_CELL} are needed (more auxiliary records, or fewer folds)"
            )

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return self.scores.shape[1]

    @property
    def folds(self) -> int:
        """Number of models F that scored the records."""
        return int(self._groups.max()) + 1

    @property
    def counts(self) -> np.ndarray:
        """Records of each fold and class, int64, F x K."""
        cells = self._groups * self.classes + self.labels
        return np.bincount(cells, minlength=self.folds * self.classes).reshape(
            self.folds, self.classes
        )

    @property
    def prior(self) -> np.ndarray:
        """Share of each class, float64, K."""
        return self.counts.sum(0) / len(self.labels)

    @property
    def _groups(self) -> np.ndarray:
        assert self.groups is not None  # set in __post_init__
        return self.groups

    def weights(self) -> np.ndarray:
        """1 / (F n_fk) for a record of fold f and class k, float64, N: each fold counts alike within its class."""
        return 1 / (self.folds * self.counts[self._groups, self.labels])

    def class_means(self, features: np.ndarray) -> np.ndarray:
        """Mean features of each class, folds weighted alike. N x D to K x D."""
        member = (self.labels == np.arange(self.classes)[:, None]) * self.weights()
        return member @ features

    def queries(self, scores: np.ndarray) -> np.ndarray:
        """Checked scores of the queries.

        Args:
            scores: M x K (or M) of the one model, or F x M x K of the models of all folds.

        Returns:
            float64, F x M x K.

        Raises:
            UserError: bad scores, or another number of models or classes than the calibration records have.
        """
        checked = posteriors(scores, "query scores")
        checked = checked[None] if checked.ndim == 2 else checked
        if checked.ndim != 3 or checked.shape[2] != self.classes:
            raise UserError(
                f"query scores have shape {np.shape(scores)}: expected M x {self.classes} for each model"
            )
        if len(checked) != self.folds:
            raise UserError(
                f"{len(checked)} models scored the queries, {self.folds} the calibration records: "
                "score every query with the model of every fold"
            )
        return checked
