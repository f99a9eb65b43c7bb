"""Undoes a choice inside the cells of group and class: weights with which samples of a cell look like its records.

A sharer can leave the table of group and class as it is and choose which records stand in each cell. Within a class a
second classifier learns to tell samples from reference records; its odds are an estimate of the density ratio of
records and samples (Bickel et al. 2007). A sample's weight is that ratio, cut and scaled to mean 1 in its cell, so that
the shares of the groups stay as they are.

Of rows of a table the classifier sees all columns. Of images it would tell real from generated ones and no more, so it
sees two numbers of each: how a classifier of the class and one of the group, trained on records, read it.
"""

from collections.abc import Sequence

import numpy as np

from diffshare.classifiers.property import stratified_folds
from diffshare.classifiers.recipe import Recipe, default_recipe
from diffshare.classifiers.recipes import TreesRecipe
from diffshare.progress import progress
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples

FOLDS = 5
TREES, RATE = 60, 0.08  # few: odds that are too sure make weights of a few samples
MOST_ODDS = 4.0  # log odds beyond it are cut


def inside_weights(
    records: Records,
    samples: CodedSamples,
    group: np.ndarray,
    *,
    reader: Recipe | None = None,
    group_name: str | None = None,
    most: float = 10.0,
    seed: int = 0,
) -> np.ndarray:
    """Weights of samples, float64, M, mean 1 in each cell of group and class.

    Args:
        records: with known class.
        samples: in their codes.
        group: of each sample, as its column says it or a reader took it, int64, M; -1 where not known.
        reader: how classifiers of class and group are trained for images; the default where None.
        group_name: attribute of the records that is the group; needed for images.
        most: largest weight, in units of the mean of its cell.
        seed: of folds and trainings.
    """
    ours, theirs, categorical = _features(records, samples, reader, group_name, seed)
    x = np.concatenate([theirs, ours])
    y = np.concatenate([samples.y, records.y])
    origin = np.repeat([0, 1], [len(theirs), len(ours)])
    rng = np.random.default_rng([seed, 12])
    fold = stratified_folds(2 * y + origin, FOLDS, rng)
    seen = np.column_stack([x, y]).astype(np.float32)
    columns = (*categorical, seen.shape[1] - 1)
    recipe = TreesRecipe(TREES, RATE)
    odds = np.zeros(len(theirs))
    for k in progress(range(FOLDS), "telling samples from records"):
        rest, here = fold != k, np.flatnonzero(fold[: len(theirs)] == k)
        scorer = recipe.train(seen[rest], origin[rest], 2, seed * 100 + k, columns)
        logits = scorer(seen[here])
        odds[here] = logits[:, 1] - logits[:, 0]
    return scaled(np.exp(np.clip(odds, -MOST_ODDS, MOST_ODDS)), group, samples.y, most)


def scaled(weights: np.ndarray, group: np.ndarray, y: np.ndarray, most: float) -> np.ndarray:
    """Weights with mean 1 in each cell, at most ``most`` before the last scaling; 1 where no group is known."""
    scaled_weights = np.ones(len(weights))
    for s in np.unique(group[group >= 0]):
        for k in np.unique(y):
            cell = (group == s) & (y == k)
            if cell.any():
                own = np.minimum(weights[cell] / weights[cell].mean(), most)
                scaled_weights[cell] = own / own.mean()
    return scaled_weights


def _features(
    records: Records,
    samples: CodedSamples,
    reader: Recipe | None,
    group_name: str | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, Sequence[int]]:
    """What the classifier sees of records and of samples, and which columns hold codes."""
    if records.columns:
        ours = records.features(samples.absent)
        theirs = np.delete(samples.x, records.places(samples.absent), 1)
        return ours, theirs, records.categorical(samples.absent)
    assert group_name is not None
    recipe = reader or default_recipe(())
    group = records.group(group_name)
    sides = []
    for number, (labels, classes) in enumerate(
        ((records.y, len(records.classes)), (group.codes.astype(np.int64), len(group.classes)))
    ):
        sides.append(_read(records.x, labels, classes, samples.x, recipe, seed * 1000 + number))
    return (
        np.concatenate([ours for ours, _ in sides], axis=1),
        np.concatenate([theirs for _, theirs in sides], axis=1),
        (),
    )


def _read(
    x: np.ndarray, labels: np.ndarray, classes: int, other: np.ndarray, recipe: Recipe, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of records by classifiers that have not seen them, and of samples by the mean of all; N x K - 1."""
    fold = stratified_folds(labels, FOLDS, np.random.default_rng([seed, 13]))
    own, theirs = np.zeros((len(x), classes)), np.zeros((len(other), classes))
    for k in range(FOLDS):
        scorer = recipe.train(x[fold != k], labels[fold != k], classes, seed * 10 + k, ())
        own[fold == k] = scorer(x[fold == k])
        theirs += scorer(other) / FOLDS
    return own[:, 1:] - own[:, :1], theirs[:, 1:] - theirs[:, :1]
