"""Classifiers on data whose answer is known."""

import numpy as np
import pytest
import torch

from diffshare.classifiers.attribute import AttributeClassifier
from diffshare.classifiers.quick import fit_quickly, probabilities
from diffshare.data.module import MixDataModule
from diffshare.data.rendered import RenderedFaces
from diffshare.nets.classifiers import SmallResNet


def test_a_hat_is_learnt_in_a_moment_and_the_result_repeats() -> None:
    data = MixDataModule(
        RenderedFaces(count=1500, image_size=16), "Hat", part="auxiliary", validation_share=0
    )

    def fit() -> AttributeClassifier:
        torch.manual_seed(1)
        return fit_quickly(SmallResNet(width=8), data, steps=60, seed=1)

    first = fit()
    test = data.sets["test"]
    x = test.x[test.rows]
    found = probabilities(first, x)
    assert found.shape == (len(x), 2)
    assert np.allclose(found.sum(1), 1, atol=1e-5)
    assert (found.argmax(1) == test.target).mean() > 0.9
    assert np.allclose(found, probabilities(first, x, batch_size=7), atol=1e-4)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), fit().parameters(), strict=True)
    )


@pytest.mark.parametrize("size", [16, 28, 64])
def test_the_network_takes_any_image_size(size: int) -> None:
    network = SmallResNet(classes=3, in_channels=1, width=8).eval()
    x = torch.zeros(2, 1, size, size)
    assert network(x).shape == (2, 3)
    assert network.features(x).shape == (2, 32)
