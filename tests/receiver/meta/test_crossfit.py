"""Cross-fitted meta-classifiers: no shadow is judged by a model that saw it; the interval by its definition."""

import numpy as np
import pytest
import torch

from diffshare.errors import UserError
from diffshare.nets.sets import MomentSets
from diffshare.receiver.meta.classifier import MetaClassifier
from diffshare.receiver.meta.crossfit import CrossMeta, cross_fit_meta, guaranteed, means
from diffshare.receiver.meta.game import play


def make() -> MetaClassifier:
    return MetaClassifier(
        MomentSets(1, hidden=4), lambda p: torch.optim.AdamW(p, lr=1e-2), set_size=10
    )


class Constant(torch.nn.Module):
    """Says one number of every set."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full((len(x),), self.value), torch.ones(len(x))


def constant(values, folds, residuals) -> CrossMeta:
    return CrossMeta(tuple(map(Constant, values)), np.array(folds), np.array(residuals))  # type: ignore[arg-type]


def test_each_shadow_is_judged_by_the_model_without_it():
    rng = np.random.default_rng(0)
    p = np.linspace(0.1, 0.9, 12)
    x = (p[:, None, None] + 0.1 * rng.normal(size=(12, 20, 1))).astype(np.float32)
    made = cross_fit_meta(make, x, p, steps=5, folds=3, seed=1)
    assert np.bincount(made.folds).tolist() == [4, 4, 4]
    for i in range(12):
        model = made.models[made.folds[i]]
        assert made.residuals[i] == pytest.approx(
            abs(means(model, x[i : i + 1])[0] - p[i]), abs=1e-6
        )
    changed = x.copy()
    changed[made.folds == 0] += 1  # what fold 0's model has not seen cannot move it
    again = cross_fit_meta(make, changed, p, steps=5, folds=3, seed=1)
    other = x[:2] + 0.3
    assert means(again.models[0], other) == pytest.approx(means(made.models[0], other))
    assert means(again.models[1], other) != pytest.approx(means(made.models[1], other))


PROVED = [(32, 4, 0.7333), (32, 8, 0.8167), (32, 32, 0.9), (64, 4, 0.8118)]


@pytest.mark.parametrize(("shadows", "folds", "least"), PROVED)
def test_what_is_guaranteed(shadows, folds, least):
    assert guaranteed(shadows, folds) == pytest.approx(least, abs=1e-4)


def test_the_interval_is_the_one_of_the_paper():
    rng = np.random.default_rng(0)
    folds, residuals = np.arange(39) % 3, rng.uniform(0, 0.2, 39)
    values = np.array([0.4, 0.45, 0.5])
    [found] = constant(values, folds, residuals).intervals(np.zeros((1, 2, 1), np.float32), 0.9)
    lows, highs = sorted(values[folds] - residuals), sorted(values[folds] + residuals)
    # of 40: the 4th from below, the 36th
    assert found == pytest.approx((0.45, lows[4 - 1], highs[36 - 1]))


def test_it_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        errors = rng.normal(0, 0.1, 40)
        [found] = constant([0.5], np.zeros(39, int), np.abs(errors[:39])).intervals(
            np.zeros((1, 2, 1), np.float32)
        )
        held += found.low <= 0.5 + errors[39] <= found.high
    assert 0.92 <= held / 400 <= 0.985


def test_too_few_shadows():
    x = np.zeros((1, 2, 1), np.float32)
    with pytest.raises(
        UserError, match="18 shadows say nothing at level 0.95: at least 19 are needed"
    ):
        constant([0.5], np.zeros(18, int), np.zeros(18)).intervals(x)
    assert constant([0.5], np.zeros(19, int), np.zeros(19)).intervals(x)
    with pytest.raises(UserError, match="4 folds of 3 shadows"):
        cross_fit_meta(make, np.zeros((3, 2, 1), np.float32), np.zeros(3), steps=1, folds=4)


def test_the_game():
    perfect = play(np.array([0.3, 0.4, 0.45]), np.array([0.55, 0.6, 0.7]), 0.4, 0.6)
    assert perfect.auroc.estimate == perfect.accuracy.estimate == 1
    assert perfect.n_leaked == np.inf
    assert 0 <= perfect.n_leaked_low < 2
    blind = play(np.array([0.4, 0.6]), np.array([0.4, 0.6]), 0.4, 0.6)
    assert (blind.auroc.estimate, blind.accuracy.estimate, blind.n_leaked) == (0.5, 0.5, 0.0)
    with pytest.raises(ValueError, match="is none"):
        play(np.array([0.4, 0.6]), np.array([0.4, 0.6]), 0.6, 0.4)
