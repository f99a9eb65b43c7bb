"""Samples that show a chosen share: in numbers whose density is known, and as a receiver's own attack reads them."""

import numpy as np
import pytest
from scipy.stats import kstest, norm

from diffshare.classifiers.property import cross_fit
from diffshare.classifiers.recipes import KernelRecipe
from diffshare.data.derived import resolve
from diffshare.data.rendered import RenderedFaces
from diffshare.data.table import Column
from diffshare.errors import UserError
from diffshare.receiver.property.queries import ModelQueries
from diffshare.release.card import Card
from diffshare.release.generator import Generator, Ledger
from diffshare.sharer.protection.sampling import (
    ClassifierReader,
    ColumnReader,
    DerivedReader,
    TargetShare,
)
from diffshare.stats.prevalence import estimate

MEANS = (-1.0, 1.0)  # of the two kinds, which overlap


class Numbers:
    """A model of one number and its hidden kind, which is 1 with the probability ``own`` of the class."""

    def __init__(self, own: tuple[float, ...]) -> None:
        self.card = Card("ddpm", "table", tuple("ab"[: len(own)]), 1, columns=("value", "kind"))
        self.ledger, self.own = Ledger(), own

    def sample(self, labels, indices, *, seed, steps=None, guidance=1.0):
        self.ledger.record(labels, len(labels), 0.0)
        made = []
        for label, index in zip(labels, indices, strict=True):
            rng = np.random.default_rng([seed, int(index)])
            kind = int(rng.random() < self.own[max(int(label), 0)])
            made.append((rng.normal(MEANS[kind]), kind))
        return np.array(made, np.float32).reshape(-1, 2)


class ExactReader:
    """Bayes' rule with the true densities; the share by counting kinds."""

    def share(self, x):
        return float(x[:, 1].mean())

    def posterior(self, x, share):
        ratio = (
            np.exp(-0.5 * (x[:, 0] - MEANS[1]) ** 2 + 0.5 * (x[:, 0] - MEANS[0]) ** 2)
            * share
            / (1 - share)
        )
        return ratio / (1 + ratio)


class UnsureReader(ExactReader):
    """Half as sure of the samples as it may be, as a classifier of records is of what a model makes."""

    def posterior(self, x, share):
        return 0.5 * super().posterior(x, share) + 0.5 * share


class MeanReader:
    """Reads the share off the mean of the numbers, which no choice by another reader spoils."""

    def share(self, x):
        return float(x[:, 0].mean() - MEANS[0]) / (MEANS[1] - MEANS[0])


def drawn(
    box: TargetShare, count: int, classes: int = 1, seed: int = 0, start: int = 0
) -> np.ndarray:
    labels = np.arange(start, start + count) % classes
    return box.sample(labels, np.arange(start, start + count), seed=seed)


@pytest.mark.parametrize("own", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_what_shows_is_the_mixture_with_the_chosen_share(own, share):
    """Kinds that overlap: the density is the mixture's, which no attack on these numbers can tell from the real one."""
    made = drawn(TargetShare(Numbers((own,)), ExactReader(), share, pilot=400), 1500)[:, 0]

    def mixture(x):
        return share * norm.cdf(x, MEANS[1]) + (1 - share) * norm.cdf(x, MEANS[0])

    # 1500 numbers give 0.042 in a hundred, the pilot's error the rest
    assert kstest(made, mixture).statistic < 0.06
    assert made.mean() == pytest.approx(2 * share - 1, abs=0.15)


def test_kinds_that_are_plain_to_see_have_the_chosen_share():
    made = drawn(TargetShare(Numbers((0.1,)), ColumnReader(1, 1), 0.5, pilot=400), 1500)
    assert made[:, 1].mean() == pytest.approx(0.5, abs=0.07)


def test_what_is_derived_from_a_column_of_the_model_is_read_off_it():
    settled = resolve("value>=0", {}, {"value": np.array([-1.0, 1.0])})
    columns = (Column("value", "numeric"), Column("kind", "categorical", ("a", "b")))
    box = TargetShare(Numbers((0.1,)), DerivedReader(settled, columns, 1), 0.5, pilot=400)
    assert np.mean(drawn(box, 1500)[:, 0] >= 0) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize(("own", "share"), [(0.8, 0.6), (0.25, 0.4)])
def test_a_second_reader_makes_up_for_what_the_first_is_unsure_of(own, share):
    """What is read of the accepted is the share, though the chooser alone would leave it nearer to the model's own."""
    alone, checked = (
        MeanReader().share(
            drawn(TargetShare(Numbers((own,)), UnsureReader(), share, checker, pilot=500), 2000)
        )
        for checker in (None, MeanReader())
    )
    assert abs(alone - share) > 0.08
    # the pilot's standard error is 0.02, that of 2000 samples 0.011
    assert checked == pytest.approx(share, abs=0.05)


def test_a_share_that_choosing_cannot_reach_is_refused_with_those_that_it_can():
    box = TargetShare(Numbers((0.9,)), UnsureReader(), 0.2, MeanReader())
    with pytest.raises(
        UserError, match=r"class 'a' a share between 0\.\d\d and \d\.\d\d can be shown, not 0\.2"
    ):
        drawn(box, 5)


def test_the_share_holds_in_every_class_so_that_their_association_is_gone():
    plain, box = (
        Numbers((0.15, 0.7)),
        TargetShare(Numbers((0.15, 0.7)), ColumnReader(1, 1), 0.4, pilot=200),
    )
    made, before = (
        drawn(box, 2400, classes=2),
        plain.sample(np.arange(2400) % 2, np.arange(2400), seed=0),
    )
    assert abs(before[1::2, 1].mean() - before[::2, 1].mean()) > 0.45
    for part in (made[::2], made[1::2]):
        assert part[:, 1].mean() == pytest.approx(0.4, abs=0.07)


def test_a_sample_depends_on_its_number_alone_and_the_ledger_counts_all_candidates():
    box = TargetShare(Numbers((0.2,)), ExactReader(), 0.5, pilot=40)
    assert isinstance(box, Generator)
    whole = drawn(box, 60)
    assert box.ledger.queries > 60 + 40 / 0.2
    fresh = TargetShare(Numbers((0.2,)), ExactReader(), 0.5, pilot=40)
    parts = np.concatenate([drawn(fresh, 17), drawn(fresh, 43, start=17)])
    np.testing.assert_array_equal(whole, parts)
    assert not np.array_equal(whole, drawn(fresh, 60, seed=1))


class Faces:
    """Rendered faces, one of them after the other, in the place of a model that makes no mistakes."""

    def __init__(self, hats: float, count: int = 6000) -> None:
        self.card = Card("ddpm", "image", (), 1, image_size=16)
        self.ledger = Ledger()
        self.x = RenderedFaces(count, 16, 9, prevalence={"Hat": hats}).read(np.arange(count))

    def sample(self, labels, indices, *, seed, steps=None, guidance=1.0):
        self.ledger.record(labels, len(labels), 0.0)
        return self.x[
            [np.random.default_rng([seed, int(i)]).integers(len(self.x)) for i in indices]
        ]


def reader_of_hats(seed: int, count: int) -> ClassifierReader:
    source = RenderedFaces(count, 16, seed)
    labels = source.index().attribute("Hat").codes.astype(np.int64)
    recipe = KernelRecipe(components=40)
    return ClassifierReader(
        cross_fit(source.read(np.arange(count)), labels, ("not Hat", "Hat"), recipe, folds=2)
    )


def test_the_receivers_own_attack_reads_the_chosen_share_whatever_the_true_one_is():
    mine, second, receivers = (reader_of_hats(seed, 900) for seed in (1, 3, 2))
    receivers = receivers.classifier
    for hats in (0.15, 0.75):
        box = TargetShare(Faces(hats), mine, 0.5, second)
        x = ModelQueries(box, "none", seed=3).take(0, 700)
        scores = receivers.scores(x)
        for method in ("acc", "pacc", "emq", "dmy"):
            read = float(estimate(method, receivers.calibration, scores)[1])
            assert read == pytest.approx(0.5, abs=0.1)
        before = receivers.scores(Faces(hats).sample(np.full(700, -1), np.arange(700), seed=4))
        assert abs(float(estimate("pacc", receivers.calibration, before)[1]) - hats) < 0.1


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_cannot_be_shown_is_refused(share):
    with pytest.raises(UserError, match="it lies between 0 and 1"):
        TargetShare(Numbers((0.5,)), ExactReader(), share)


def test_a_model_without_the_property_is_refused_before_it_is_asked_for_ever():
    box = TargetShare(Numbers((0.0,)), ExactReader(), 0.5, pilot=50)
    with pytest.raises(UserError, match=r"0.0 % of its samples of class 'a'.*candidates a sample"):
        drawn(box, 5)
    assert box.ledger.queries < 2000
    with pytest.raises(UserError, match="pilot is 3"):
        TargetShare(Numbers((0.5,)), ExactReader(), 0.5, pilot=3)
