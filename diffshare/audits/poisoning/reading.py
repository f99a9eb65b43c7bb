"""Reads the group of samples: off their own column, or with a classifier that is calibrated class by class."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from diffshare.classes import listed, quoted
from diffshare.classifiers.degrade import degrade
from diffshare.classifiers.property import PropertyClassifier, cross_fit
from diffshare.classifiers.recipe import Recipe, default_recipe
from diffshare.data.source import Attribute
from diffshare.errors import UserError
from diffshare.progress import progress
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples
from diffshare.receiver.training_rows import training_rows
from diffshare.release.samples import refuse_alike
from diffshare.stats.association import Reference
from diffshare.stats.calibration import LEAST_PER_CELL, Calibration
from diffshare.stats.information import contingency
from diffshare.stats.misfit import Fit, biases
from diffshare.stats.mixture import mixture_fit
from diffshare.stats.shares import GroupShares, counted_shares, unmixed_shares

REJECTED = 0.05  # p-value from which on down the classifier is said to err on samples in other ways than on records
RESAMPLES = 200  # of the check, in all; at least 40 a class, or the smallest p-value of many could not be rejected


@dataclass(frozen=True)
class GroupReader:
    """Reads one group attribute.

    Attributes:
        name: of the attribute.
        attribute: codes of the reference's records, and the names of the groups.
        reference: the records.
        classifier: cross-fitted on them; None where the samples have the attribute as a column.
        degraded: it was trained on blurred and noisy copies too.
    """

    name: str
    attribute: Attribute
    reference: Records
    classifier: PropertyClassifier | None = None
    degraded: bool = False

    @property
    def table(self) -> np.ndarray:
        """Counts of each group and class among the reference's records, K x C."""
        return self.reference.table(self.attribute)

    def calibrations(self) -> list[Calibration]:
        """Held-out scores of the reference's records, class by class, C."""
        assert self.classifier is not None
        calibration, y = self.classifier.calibration, self.reference.y
        assert calibration.groups is not None
        return [
            Calibration(
                calibration.scores[y == k], calibration.labels[y == k], calibration.groups[y == k]
            )
            for k in range(len(self.reference.classes))
        ]

    def scores(self, samples: CodedSamples) -> np.ndarray:
        """Posteriors of the samples' groups by every fold's model, F x M x K."""
        assert self.classifier is not None
        hidden = self.reference.places((self.name,))
        x = np.delete(samples.x, hidden, 1) if self.reference.columns else samples.x
        return self.classifier.scores(x)

    def groups(self, samples: CodedSamples) -> np.ndarray:
        """The group of each sample: as its column says it, -1 where not known, else the likeliest; int64, M."""
        if self.classifier is None:
            return samples.groups[self.name]
        return self.scores(samples).mean(0).argmax(1)

    def shares(self, samples: CodedSamples) -> GroupShares:
        """P(s|y) of the samples; of those whose group is known, where it is a column (see :meth:`unknown`).

        Raises:
            UserError: a classifier too weak for that, samples of a class that are all the same, or none with a known
                group in some class.
        """
        classes = len(self.reference.classes)
        if self.classifier is None:
            counts = contingency(
                samples.groups[self.name], samples.y, len(self.attribute.classes), classes
            )
            if len(empty := np.flatnonzero(counts.sum(0) == 0)):
                raise UserError(
                    f"no sample of class {quoted(self.reference.classes[empty[0]])} has a '{self.name}' that is one of "
                    f"{listed(self.attribute.classes)}: fill the column in, or draw samples of every class"
                )
            return counted_shares(counts)
        for k, label in enumerate(self.reference.classes):
            refuse_alike(samples.x[samples.y == k], f"the samples of class '{label}'")
        scores = self.scores(samples)
        try:
            return unmixed_shares(
                self.calibrations(), [scores[:, samples.y == k] for k in range(classes)]
            )
        except UserError as error:
            raise UserError(
                f"'{self.name}': {error} (held-out accuracy {self.classifier.accuracy:.3f})"
            ) from error

    def unknown(self, samples: CodedSamples) -> np.ndarray | None:
        """Samples of each class whose group no column tells, int64, C; None where a classifier reads it."""
        if self.classifier is not None:
            return None
        return np.bincount(
            samples.y[samples.groups[self.name] < 0], minlength=len(self.reference.classes)
        )

    def fit(self, samples: CodedSamples, seed: int = 0) -> Fit | None:
        """Whether the classifier seems to err on samples as on records; None where it is not needed."""
        if self.classifier is None:
            return None
        scores, rng = self.scores(samples), np.random.default_rng([seed, 5])
        calibrations = self.calibrations()
        classes = [scores[:, samples.y == k] for k in range(len(calibrations))]
        resamples = max(RESAMPLES, 40 * len(calibrations))
        fits = [
            mixture_fit(c, mine, rng, resamples)
            for c, mine in zip(calibrations, classes, strict=True)
        ]
        bias = biases(calibrations, classes, [one.prevalence for one in fits])
        smallest = min(1.0, len(fits) * min(one.p_value for one in fits))
        degrade = not (self.degraded or self.reference.columns)
        remedy = (
            "train it on degraded copies as well (`degrade`), or "
            if degrade
            else "name another `classifier`, or "
        )
        return Fit(
            smallest >= REJECTED, smallest, bias, f"{remedy}give a reference that is nearer to them"
        )


def group_reader(
    reference: Records,
    name: str,
    *,
    column: bool,
    recipe: Recipe | None = None,
    folds: int = 5,
    seed: int = 0,
    degraded: bool = False,
) -> GroupReader:
    """A reader of an attribute.

    Args:
        reference: the receiver's records.
        name: of the attribute.
        column: the samples have it as a column: nothing is trained.
        recipe: how to train one model; a small network for images, boosted trees for tables where None.
        folds: of the cross-fitting.
        seed: of folds and training.
        degraded: train on blurred and noisy copies of images too.

    Raises:
        UserError: an empty cell of group and class, or too few records of one for the folds.
    """
    attribute = reference.group(name)
    if column:
        return GroupReader(name, attribute, reference)
    if reference.columns:
        reference = reference.part(training_rows(len(reference), seed))
        attribute = reference.group(name)
    table = reference.table(attribute)
    needed = 2 * LEAST_PER_CELL * folds
    if table.min() < needed:
        group, label = np.unravel_index(int(table.argmin()), table.shape)
        raise UserError(
            f"the reference holds {table.min()} records that are '{attribute.classes[group]}' and "
            f"'{reference.classes[label]}', too few to calibrate a classifier on: at least {needed} of each cell are "
            f"needed for {folds} folds (more records, or `folds` 2)"
        )
    if degraded and reference.columns:
        raise UserError("`degrade` is for images: leave it out for a table")
    classifier = cross_fit(
        reference.features((name,)),
        attribute.codes.astype(np.int64),
        attribute.classes,
        recipe or default_recipe(reference.columns),
        folds=folds,
        seed=seed,
        categorical=reference.categorical((name,)),
        augment=degrade if degraded else None,
        progress=lambda steps: progress(steps, f"training classifiers of {name}", folds),
    )
    return GroupReader(name, attribute, reference, classifier, degraded)


def reference_of(reader: GroupReader, pool: Literal["natural", "balanced"]) -> Reference:
    """The reader's records as a reference: as they are, or with equal cells where the sharer balanced its pool."""
    return (
        Reference(np.ones(reader.table.shape), known=True)
        if pool == "balanced"
        else Reference(reader.table)
    )
