"""The critic, against closed forms: how much of I(X;Y) it finds, and that it does not claim what is not there."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from diffshare.errors import UserError
from diffshare.sharer.poisoning.critic import Critic, CriticFit, reproducible
from diffshare.stats.information import donsker_varadhan, mutual_information

RNG = np.random.default_rng
QUICK = {"hidden": (32,), "batch_size": 500, "learning_rate": 3e-3, "patience": 8, "max_epochs": 60}


def gaussians(
    n: int, distance: float, classes: int = 2, noise: int = 0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Y uniform, X | Y ~ N(distance * Y, 1), and further columns that say nothing."""
    rng = RNG(seed)
    y = rng.integers(0, classes, n)
    x = rng.standard_normal((n, 1 + noise)).astype(np.float32)
    x[:, 0] += distance * y
    return x, y


def information_of_gaussians(distance: float, classes: int = 2) -> float:
    """I(X;Y) = H(X) - H(X|Y) of that mixture by quadrature, nats."""
    x = np.linspace(-10, 10 + distance * classes, 200_001)
    each = np.exp(-((x[:, None] - distance * np.arange(classes)) ** 2) / 2) / np.sqrt(2 * np.pi)
    mixture = each.mean(1)
    entropy = -np.sum(mixture * np.log(np.maximum(mixture, 1e-300))) * (x[1] - x[0])
    return float(entropy - 0.5 * np.log(2 * np.pi * np.e))


def test_the_quadrature_has_its_limits():
    assert information_of_gaussians(0.0) == pytest.approx(0, abs=1e-9)
    assert information_of_gaussians(15.0) == pytest.approx(np.log(2), abs=1e-6)
    assert information_of_gaussians(15.0, 3) == pytest.approx(np.log(3), abs=1e-6)


@pytest.mark.parametrize(("distance", "classes"), [(1.0, 2), (2.5, 2), (2.0, 3)])
def test_it_finds_the_information_of_a_mixture_of_gaussians(distance, classes):
    x, y = gaussians(6000, distance, classes, noise=3)
    fitted = CriticFit(**QUICK).fit(x, y, classes, seed=0)
    truth = information_of_gaussians(distance, classes)
    # 1,200 held-out records: the bound's standard error is about sd(T) / sqrt(1,200) < 0.025
    assert truth - 0.08 < fitted.held_out < truth + 0.06
    fresh_x, fresh_y = gaussians(20_000, distance, classes, noise=3, seed=1)
    assert truth - 0.06 < donsker_varadhan(fitted.values(fresh_x), fresh_y) < truth + 0.03


def test_it_finds_the_information_of_a_discrete_x():
    joint = np.array([[0.25, 0.05], [0.05, 0.15], [0.1, 0.4]])
    cell = RNG(0).choice(6, 6000, p=joint.ravel())
    x, y = np.eye(3, dtype=np.float32)[cell // 2], cell % 2
    fitted = CriticFit(**QUICK).fit(x, y, 2, seed=1)
    truth = mutual_information(np.bincount(cell, minlength=6).reshape(3, 2))
    assert donsker_varadhan(fitted.values(x), y) == pytest.approx(truth, abs=0.01)
    # a lower bound of the plug-in value
    assert donsker_varadhan(fitted.values(x), y) <= truth + 1e-6
    ratio = np.log(joint / (joint.sum(1, keepdims=True) * joint.sum(0)))
    learnt = fitted.values(np.eye(3, dtype=np.float32))
    assert learnt - learnt.mean() == pytest.approx(ratio - ratio.mean(), abs=0.25)


def test_shuffled_marginals_with_the_moving_average_find_it_too():
    x, y = gaussians(4000, 2.5)
    fit = CriticFit(**QUICK, marginals="shuffled", moving_average=0.1)
    assert fit.fit(x, y, 2, seed=0).held_out == pytest.approx(
        information_of_gaussians(2.5), abs=0.08
    )


def test_held_out_it_claims_nothing_where_nothing_is_and_as_published_it_does():
    x, y = gaussians(300, 0.0, noise=39)
    stopped = CriticFit(**QUICK).fit(x, y, 2, seed=0)
    assert 0 <= stopped.held_out < 0.1
    overfitted = CriticFit(**(QUICK | {"patience": None})).fit(x, y, 2, seed=0)
    assert overfitted.held_out is None
    assert donsker_varadhan(overfitted.values(x), y) > 0.3
    fresh = gaussians(4000, 0.0, noise=39, seed=1)
    assert donsker_varadhan(overfitted.values(fresh[0]), fresh[1]) < 0


def test_features_that_say_nothing_give_a_constant_critic():
    fitted = CriticFit(**QUICK).fit(np.ones((100, 4), np.float32), np.arange(100) % 2, 2, seed=0)
    assert fitted.held_out == 0.0
    values = fitted.values(np.ones((100, 4), np.float32))
    assert np.ptp(values) == pytest.approx(0, abs=1e-6)


def test_it_is_a_function_of_its_arguments_and_leaves_torch_as_it_was():
    x, y = gaussians(200, 1.0, noise=2)
    fit = CriticFit(**(QUICK | {"max_epochs": 3}))
    torch.manual_seed(5)
    threads, before = torch.get_num_threads(), torch.get_rng_state()
    first = fit.fit(x, y, 2, seed=0).values(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    torch.manual_seed(6)
    with torch.inference_mode():  # a caller that samples
        assert np.array_equal(fit.fit(x, y, 2, seed=0).values(x), first)
    assert not np.array_equal(fit.fit(x, y, 2, seed=1).values(x), first)


def test_the_unit_of_a_feature_does_not_matter():
    x, y = gaussians(400, 2.0, noise=2)
    fit = CriticFit(**(QUICK | {"max_epochs": 5}))
    scaled = x * np.array([1e4, 1e-3, 8], np.float32) + np.array([5, 0, -3], np.float32)
    assert fit.fit(scaled, y, 2, seed=0).values(scaled) == pytest.approx(
        fit.fit(x, y, 2, seed=0).values(x), abs=0.05
    )


@pytest.mark.parametrize("moving_average", [None, 1.0])
def test_the_loss_is_minus_the_bound_of_the_batch_and_its_gradient_that_of_the_average(
    moving_average,
):
    x, y = torch.randn(64, 3), torch.arange(64) % 2
    with reproducible(0):
        network = torch.nn.Linear(3, 2)
    module = Critic(network, [0.5, 0.5], moving_average=moving_average)
    loss = module.training_step([x, y], 0)
    loss.backward()
    gradient = network.weight.grad.clone()
    if moving_average is None:
        assert loss.item() == pytest.approx(
            -donsker_varadhan(network(x).detach().numpy(), y.numpy()), abs=1e-6
        )
    network.zero_grad()
    values = network(x)
    plain = values.logsumexp(1).exp().mean().mul(0.5).log() - values.gather(1, y[:, None]).mean()
    plain.backward()
    assert torch.allclose(gradient, network.weight.grad, atol=1e-6)  # rate 1: the batch's own mean


def test_the_moving_average_divides_the_gradient():
    x, y = torch.randn(64, 3), torch.arange(64) % 2
    with reproducible(0):
        network = torch.nn.Linear(3, 2)
    module = Critic(network, [0.5, 0.5], moving_average=0.1)
    module.training_step([x, y], 0)
    first = float(module.average)
    module.training_step([3 * x, y], 1)
    mean = float(network(3 * x).detach().exp().mean())
    assert float(module.average) == pytest.approx(0.9 * first + 0.1 * mean, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"held_out": 0.0}, "critic.held_out is 0.0: a share lies between 0 and 1"),
        ({"held_out": 1.0}, "critic.held_out is 1.0"),
        ({"batch_size": 1}, "batch_size is at least 2"),
        ({"max_epochs": 0}, "max_epochs and patience at least 1"),
        ({"patience": 0}, "max_epochs and patience at least 1"),
        ({"moving_average": 0.0}, r"critic.moving_average is 0.0: it lies in \(0, 1\]"),
        ({"learning_rate": 0.0}, "critic.learning_rate is 0.0"),
        ({"weight_decay": -1.0}, "critic.weight_decay is -1.0"),
        ({"hidden": (8, 0)}, "critic.hidden"),
    ],
)
def test_settings_that_make_no_sense(change, words):
    with pytest.raises(UserError, match=words):
        CriticFit(**change)


@pytest.mark.parametrize("records", [1, 2, 3, 5])
@pytest.mark.parametrize("patience", [None, 3])
def test_the_smallest_sets_work(records, patience):
    x, y = RNG(0).standard_normal((records, 2)).astype(np.float32), np.arange(records) % 2
    fitted = CriticFit(max_epochs=2, patience=patience).fit(x, y, 2, seed=0)
    assert np.isfinite(fitted.values(x)).all()


def test_features_are_standardised_or_taken_as_they_are():
    x, y = gaussians(400, 2.0)
    quick = {**QUICK, "max_epochs": 3}
    values = {(on, by): CriticFit(**quick, standardise=on).fit(x * by, y, 2, seed=0).values(x * by)
              for on in (True, False) for by in (1, 64)}  # fmt: skip
    np.testing.assert_allclose(values[True, 1], values[True, 64], atol=1e-4)  # a unit is no matter
    assert np.abs(values[False, 1] - values[False, 64]).max() > 0.1
    raw = CriticFit(**quick, standardise=False).fit(x, y, 2, seed=0)
    with torch.inference_mode():
        np.testing.assert_array_equal(
            raw.values(x), raw.module(torch.from_numpy(x)).numpy().astype(np.float64)
        )


def test_the_paper_s_critic_does_not_standardise():
    overlay = Path(__file__).parents[3] / "configs" / "mix" / "paper.yaml"
    settings = yaml.safe_load(overlay.read_text())["data"]["init_args"]["mix"]["init_args"][
        "critic"
    ]["init_args"]
    assert CriticFit(**settings).standardise is False
    assert CriticFit().standardise is True
