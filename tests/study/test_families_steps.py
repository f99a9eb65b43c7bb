"""The steps of the families study: features, shares and speeds against hand computation."""

import numpy as np
import pytest
import yaml
from torch.utils.tensorboard import SummaryWriter

from diffshare.classifiers.kept import train_and_keep
from diffshare.data.source import Attribute, Index
from diffshare.errors import UserError
from diffshare.study.steps.measures import exact_shares, read_readers, training_speed, whitening


def test_whitened_features_are_uncorrelated():
    rng = np.random.default_rng(0)
    records = rng.normal(size=(4000, 3)) @ np.array([[3.0, 1, 0], [0, 1, 0], [0, 0, 1]]) + 5
    mean, axes = whitening(records)
    covariance = np.cov(((records - mean) @ axes).T)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-9)
    assert 0.9 < np.diag(covariance).min() <= np.diag(covariance).max() < 1


def test_a_direction_without_variance_stays_small():
    rng = np.random.default_rng(0)
    records = np.c_[rng.normal(size=(500, 2)), np.full(500, 7.0)]
    mean, axes = whitening(records)
    variances = ((records - mean) @ axes).var(0)
    assert np.isfinite(axes).all()
    assert np.sort(variances) == pytest.approx([0, 1, 1], abs=0.05)


def index() -> Index:
    codes = np.array([1, 0, 1, 1], np.int16)
    return Index(
        np.array(["a", "b", "c", "d"]),
        np.full(4, 3, np.int64),
        {"Hat": Attribute(codes, ("not Hat", "Hat"))},
    )


def test_the_shares_of_a_training_set_are_counted(tmp_path):
    path = tmp_path / "records.csv"
    # in another order than the source's, one record twice, one left out
    path.write_text(
        "record,target,sensitive,origin\nd,1,0,base\nb,0,0,base\na,0,1,poison\nd,1,0,base\n"
    )
    shares = exact_shares(path, index(), ["Hat"])
    assert shares == {"exact": {"Hat": 3 / 4}, "exact_by_class": {"Hat": [1 / 2, 1.0]}}


def test_a_mix_of_another_source(tmp_path):
    path = tmp_path / "records.csv"
    path.write_text("record,target,sensitive,origin\na,1,0,base\nz,0,0,base\n")
    with pytest.raises(
        UserError, match="lists 'z', which the source does not hold: name the mix's own source"
    ):
        exact_shares(path, index(), ["Hat"])


@pytest.fixture
def run(tmp_path):
    """The folder of a run with batches of 10, without a log."""
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({"data": {"init_args": {"batch_size": 10}}})
    )
    return tmp_path


def test_the_speed_of_a_training_is_records_over_seconds(run):
    with SummaryWriter(str(run)) as log:
        for step, speed in ((24, 100.0), (49, 50.0)):  # 250 records in 2.5 s, then 250 in 5 s
            log.add_scalar("images_per_second", speed, step)
    speed = training_speed(run)
    assert speed == pytest.approx({"images_per_second": 500 / 7.5, "seconds": 7.5})


def test_a_run_too_short_to_say(run):
    assert training_speed(run) == {"images_per_second": None, "seconds": None}


@pytest.mark.parametrize(
    ("classes", "fits"), [(["not Hat", "Hat"], True), (["Hat", "not Hat"], False)]
)
def test_a_reader_of_other_numbers_than_the_source_is_refused(tmp_path, classes, fits):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (120, 8, 8, 3), dtype=np.uint8), np.arange(120) % 2
    train_and_keep(tmp_path / "Hat", x, y, classes, steps=1, folds=2)
    if fits:
        assert list(read_readers(tmp_path, ["Hat"], index())) == ["Hat"]
    else:
        with pytest.raises(
            UserError,
            match="reads the classes 'Hat', 'not Hat', the source's 'Hat' has 'not Hat', 'Hat'",
        ):
            read_readers(tmp_path, ["Hat"], index())
