"""A classifier that was kept is the classifier that was trained."""

import numpy as np
import pytest

from diffshare.classifiers.kept import read_kept, train_and_keep
from diffshare.classifiers.property import cross_fit, single_fit
from diffshare.classifiers.recipes import NetworkRecipe, TableNetworkRecipe
from diffshare.errors import UserError


@pytest.fixture(scope="module")
def records():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    x = np.clip(100 + 40 * labels[:, None, None, None] + rng.normal(0, 30, (60, 16, 16, 3)), 0, 255)
    return x.astype(np.uint8), labels


def test_scores_and_calibration_come_back(records, tmp_path):
    x, labels = records
    train_and_keep(tmp_path / "kept", x, labels, ("no", "yes"), steps=5, folds=2, seed=3)
    kept = read_kept(tmp_path / "kept")
    made = cross_fit(x, labels, ("no", "yes"), NetworkRecipe(steps=5), folds=2, seed=3)
    np.testing.assert_allclose(kept.classifier.scores(x), made.scores(x), atol=1e-5)
    np.testing.assert_allclose(
        kept.classifier.calibration.scores, made.calibration.scores, rtol=1e-14
    )
    np.testing.assert_array_equal(kept.classifier.calibration.groups, made.calibration.groups)
    assert kept.classifier.accuracy == made.accuracy
    assert (kept.classes, len(kept.networks)) == (("no", "yes"), 2)


def test_a_single_network_comes_back(records, tmp_path):
    x, labels = np.tile(records[0], (4, 1, 1, 1)), np.tile(records[1], 4)
    train_and_keep(tmp_path / "kept", x, labels, ("no", "yes"), steps=5, folds=1, seed=3)
    kept = read_kept(tmp_path / "kept")
    made = single_fit(x, labels, ("no", "yes"), NetworkRecipe(steps=5), seed=3)
    np.testing.assert_allclose(kept.classifier.scores(x), made.scores(x), atol=1e-5)
    assert (len(kept.networks), kept.classifier.calibration.folds) == (1, 1)
    np.testing.assert_allclose(
        kept.classifier.calibration.scores, made.calibration.scores, rtol=1e-14
    )


def test_a_tables_classifier_comes_back_and_sees_only_its_columns(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    x = np.stack(
        [labels, rng.normal(labels), rng.integers(0, 4, 80), rng.normal(size=80)], 1
    ).astype(np.float32)
    x[::9, 1] = np.nan
    options = {"folds": 2, "seed": 3}
    train_and_keep(
        tmp_path / "kept",
        x,
        labels,
        ("f", "m"),
        steps=5,
        categorical=[0, 2],
        seen=[1, 2, 3],
        **options,
    )
    kept = read_kept(tmp_path / "kept")
    made = cross_fit(
        x[:, 1:], labels, ("f", "m"), TableNetworkRecipe(steps=5), categorical=[1], **options
    )
    new = x.copy()
    new[:, 2] = 7  # a category that no fold has seen
    for rows in (x, new):
        np.testing.assert_allclose(
            kept.classifier.scores(rows), made.scores(rows[:, 1:]), atol=1e-5
        )
    assert kept.features(x).shape == (80, 128)
    other = x.copy()
    other[:, 0] = 1 - x[:, 0]
    np.testing.assert_array_equal(kept.features(other), kept.features(x))
    assert not np.array_equal(kept.features(new), kept.features(x))


def test_nothing_stays_of_a_training_that_cannot_be(records, tmp_path):
    x, _ = records
    with pytest.raises(UserError, match="a classifier needs records of every class"):
        train_and_keep(tmp_path / "kept", x, np.ones(60, np.int64), ("no", "yes"), steps=1, folds=2)
    assert not (tmp_path / "kept").exists()
