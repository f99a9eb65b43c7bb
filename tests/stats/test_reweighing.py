"""Weights by a classifier that errs."""

import numpy as np
import pytest

from diffshare.errors import UserError
from diffshare.stats.reweighing import bounded, coefficients, effective_size, systematic


def drawn(
    seed: int, shares: list[float], confusion: np.ndarray, n: int = 200_000
) -> tuple[np.ndarray, np.ndarray]:
    """True groups, and posteriors that are the groups' rows of ``confusion`` with noise of mean 0."""
    rng = np.random.default_rng(seed)
    s = rng.choice(len(shares), n, p=shares)
    noise = rng.normal(0, 0.05, n)
    posterior = confusion[s].copy()
    posterior[:, 0] += noise
    posterior[:, 1] -= noise
    return s, posterior


@pytest.mark.parametrize("shares", [[0.75, 0.25], [0.1, 0.9]])
@pytest.mark.parametrize("wanted", [[0.5, 0.5], [0.3, 0.7]])
def test_the_mass_of_the_true_groups_comes_out_right(
    shares: list[float], wanted: list[float]
) -> None:
    confusion = np.array([[0.8, 0.2], [0.3, 0.7]])
    s, posterior = drawn(0, shares, confusion)
    weights = posterior @ coefficients(confusion, np.array(shares), np.array(wanted))
    mass = [float((weights * (s == g)).mean()) for g in range(2)]
    assert mass == pytest.approx(wanted, abs=0.01)
    # takes the posteriors for the groups: under-corrects
    naive = posterior @ (np.array(wanted) / np.array(shares))
    off = abs((naive * (s == 0)).sum() / naive.sum() - wanted[0])
    assert off > 0.05


def test_a_group_that_is_known_gets_the_ratio_of_shares() -> None:
    shares, wanted = np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.4, 0.2])
    assert coefficients(np.eye(3), shares, wanted) == pytest.approx(wanted / shares)


def test_bounds_leave_the_mean_and_say_what_they_cut() -> None:
    weights, cut = bounded(np.array([-1.0, 1, 1, 1]), 10)
    assert weights == pytest.approx([0, 4 / 3, 4 / 3, 4 / 3])
    assert cut == 0.25
    weights, cut = bounded(np.array([1.0] * 99 + [100]), 5)
    assert cut == 0.01
    assert weights.mean() == pytest.approx(1)
    assert weights.max() / weights.min() < 10
    same, none = bounded(np.array([1.0, 3.0]), 10)
    assert none == 0
    assert same == pytest.approx([0.5, 1.5])


def test_the_effective_size_is_the_number_of_equal_weights() -> None:
    assert effective_size(np.full(7, 3.0)) == pytest.approx(7)
    assert effective_size(np.array([1.0, 0, 0])) == pytest.approx(1)


def test_what_cannot_be_weighted_is_refused() -> None:
    with pytest.raises(UserError, match="group 1 has no share"):
        coefficients(np.eye(2), np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    with pytest.raises(UserError, match="does not tell the groups apart"):
        coefficients(np.full((2, 2), 0.5), np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    with pytest.raises(UserError, match="no sample has a weight above 0"):
        bounded(np.array([-1.0, 0.0]), 10)


@pytest.mark.parametrize("weights", [[1.0, 0.0, 2.0], [0.3], [0.0, 0.0, 1e-9, 3e-9]])
def test_positions_are_drawn_as_often_as_their_weights_say(weights):
    weights = np.array(weights)
    times = np.bincount(systematic(weights), minlength=len(weights))
    assert times.sum() == len(weights)
    assert (abs(times - len(weights) * weights / weights.sum()) < 1).all()
    assert (times[weights == 0] == 0).all()
