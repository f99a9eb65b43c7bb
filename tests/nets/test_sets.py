"""The network of sets: blind to order and to repetition, standardised, sensitive to moments."""

import pytest
import torch

from diffshare.nets.sets import MomentSets


@pytest.fixture
def network():
    torch.manual_seed(0)
    return MomentSets(5, hidden=8, moments=3).eval()


def test_order_and_repetition_do_not_matter(network):
    x = torch.randn(3, 20, 5)
    shuffled = x[:, torch.randperm(20)]
    torch.testing.assert_close(network(x), network(shuffled), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network(x), network(torch.cat([x, x], 1)), atol=1e-5, rtol=1e-4)
    assert network(x).shape == (3, 2)


def test_the_scale_of_the_features_does_not_matter(network):
    x = torch.randn(4, 30, 5)
    network.fit_scale(x.flatten(0, 1))
    before = network(x)
    scale, shift = (
        torch.tensor([1e-3, 1.0, 50.0, 3.0, 0.2]),
        torch.tensor([5.0, -2.0, 0.0, 1.0, 9.0]),
    )
    moved = x * scale + shift
    network.fit_scale(moved.flatten(0, 1))
    torch.testing.assert_close(network(moved), before, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("moments", [1, 2, 3])
def test_a_set_of_one_and_a_feature_that_never_changes_have_gradients(moments):
    network = MomentSets(5, hidden=8, moments=moments)
    network.fit_scale(torch.ones(10, 5))
    network(torch.ones(2, 1, 5)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_more_moments_see_a_spread_that_means_do_not():
    torch.manual_seed(0)
    narrow, wide = torch.randn(1, 500, 5) * 0.1, torch.randn(1, 500, 5)
    narrow, wide = (x - x.mean(1, keepdim=True) for x in (narrow, wide))
    linear = torch.nn.Identity()
    for moments, apart in ((1, False), (2, True)):
        network = MomentSets(5, hidden=5, moments=moments).eval()
        network.phi = linear  # so that means of phi are means of x
        network.rho = torch.nn.Flatten()
        distance = (network(narrow) - network(wide)).abs().max()
        assert (distance > 0.5) == apart


@pytest.mark.parametrize(
    "bad", [{"features": 0}, {"features": 3, "hidden": 0}, {"features": 3, "moments": 4}]
)
def test_sizes_that_are_none(bad):
    with pytest.raises(ValueError, match="must be 1 or more"):
        MomentSets(**bad)
