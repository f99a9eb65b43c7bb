"""Samplers against a mixture of two Gaussians whose exact denoiser is known."""

import math

import numpy as np
import pytest
import torch
import two_modes

from diffshare.generators.processes import karras_levels
from diffshare.generators.samplers import (
    annealed_langevin,
    bounded,
    euler,
    euler_maruyama,
    flow_slope,
    geometric_count,
    heun,
    langevin_step,
    predictor_corrector,
    stochastic_heun,
)

LARGEST, LEAST, COUNT = 20.0, 0.002, 8000


def start() -> torch.Tensor:
    return LARGEST * two_modes.normal(COUNT)()


def test_the_reference_denoiser_is_the_mean_of_the_records_that_could_be_behind_the_noise() -> None:
    x = two_modes.draw(400_000)
    sigma, at = 0.3, torch.tensor([-0.1, 0.05], dtype=torch.float64)
    likely = torch.softmax(-(x - at).square().sum(1) / (2 * sigma**2), 0)
    torch.testing.assert_close(two_modes.denoise(at, sigma), likely @ x, atol=3e-3, rtol=0)


def test_the_reference_check_sees_a_wrong_weight_mean_and_covariance() -> None:
    x = two_modes.draw(COUNT)
    two_modes.check(x)
    first = torch.cdist(x, two_modes.MEANS).argmin(1) == 0
    for broken in (x[~first | (torch.arange(COUNT) % 5 > 0)], x + 0.02, 1.05 * (x - x[0]) + x[0]):
        with pytest.raises(AssertionError):
            two_modes.check(broken)


def test_bounds_leave_a_perfect_denoiser_as_it_is_and_hold_a_wild_one() -> None:
    x = two_modes.draw(2000).reshape(-1, 1, 1, 2)
    for sigma in (LARGEST, 0.5, 0.01):
        y = x + sigma * two_modes.normal(2000)()
        assert torch.equal(bounded(two_modes.denoise)(y, sigma), two_modes.denoise(y, sigma))
    assert bounded(lambda y, sigma: 9 * y)(y, 1.0).abs().max() == 1


def test_heun_along_the_probability_flow_reaches_the_mixture() -> None:
    levels = [*karras_levels(LARGEST, LEAST, 30), 0.0]
    two_modes.check(heun(flow_slope(two_modes.denoise), start(), levels), bias=0.01)


def test_euler_along_the_probability_flow_reaches_the_mixture_with_more_steps() -> None:
    levels = [*karras_levels(LARGEST, LEAST, 300), 0.0]
    two_modes.check(euler(flow_slope(two_modes.denoise), start(), levels), bias=0.02)


def test_heun_is_of_second_order_and_euler_of_first() -> None:
    y, slope = LARGEST * two_modes.normal(200)(), flow_slope(two_modes.denoise)
    exact = heun(slope, y, karras_levels(LARGEST, 0.05, 1000))
    for method, order in ((euler, 1), (heun, 2)):
        errors = [
            (method(slope, y, karras_levels(LARGEST, 0.05, n)) - exact).abs().mean()
            for n in (50, 100)
        ]
        assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


def test_probability_flow_there_and_back_again() -> None:
    x = two_modes.draw(500).reshape(-1, 1, 1, 2)
    slope, levels = flow_slope(two_modes.denoise), karras_levels(LARGEST, LEAST, 400)
    noise = heun(slope, x, levels[::-1])
    assert (noise / LARGEST).std().item() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(heun(slope, noise, levels), x, atol=2e-3, rtol=0)


def test_stochastic_heun_reaches_the_mixture() -> None:
    levels = [*karras_levels(LARGEST, LEAST, 60), 0.0]
    made = stochastic_heun(
        two_modes.denoise, start(), levels, two_modes.normal(COUNT, 2), churn=20, inflate=1.0
    )
    two_modes.check(made, bias=0.02)


def test_euler_maruyama_reaches_the_mixture() -> None:
    levels = np.geomspace(LARGEST, LEAST, 300).tolist()
    two_modes.check(
        euler_maruyama(two_modes.denoise, start(), levels, two_modes.normal(COUNT, 2)), bias=0.03
    )


def test_predictor_corrector_reaches_the_mixture() -> None:
    levels = np.geomspace(LARGEST, LEAST, 200).tolist()
    two_modes.check(
        predictor_corrector(two_modes.denoise, start(), levels, two_modes.normal(COUNT, 2)),
        bias=0.04,
    )


@pytest.mark.parametrize(("count", "repeats", "bias"), [(400, 1, 0.1), (200, 5, 0.06)])
def test_annealed_langevin_reaches_the_mixture(count: int, repeats: int, bias: float) -> None:
    levels = np.geomspace(5.0, 0.01, count).tolist()
    step = langevin_step(levels[0] / levels[1], repeats)
    y = 5 * two_modes.normal(COUNT)()
    made = annealed_langevin(
        two_modes.denoise, y, levels, two_modes.normal(COUNT, 2), repeats, step
    )
    two_modes.check(made, bias=bias)


def test_the_last_step_of_langevin_removes_the_noise_of_the_last_level() -> None:
    levels = np.geomspace(5.0, 0.2, 60).tolist()
    step, sigma = langevin_step(levels[0] / levels[1], 5), levels[-1]
    y = 5 * two_modes.normal(COUNT)()
    made = annealed_langevin(
        two_modes.denoise, y, levels, two_modes.normal(COUNT, 2), 5, step
    ).reshape(-1, 2)
    noisy = two_modes.draw(COUNT) + sigma * two_modes.normal(COUNT, 3)().reshape(-1, 2)
    expected, left = two_modes.denoise(noisy, sigma).T.cov(), noisy.T.cov()
    assert (made.T.cov() - expected).abs().max() < 0.015 < 0.035 < (left - expected).abs().max()


@pytest.mark.parametrize(("gamma", "repeats"), [(1.02, 1), (1.04, 5), (1.3, 3)])
def test_no_other_langevin_step_keeps_the_variance_of_the_levels_better(
    gamma: float, repeats: int
) -> None:
    # data at one point: the variance in units of the level's, after many levels
    def settled(
        step: float,
    ) -> float:
        variance = 1.0
        for _ in range(300):
            variance *= gamma**2
            for _ in range(repeats):
                variance = (1 - step) ** 2 * variance + 2 * step
        return variance

    step = langevin_step(gamma, repeats)
    assert 1 < settled(step) < 1.6
    assert settled(step) <= min(settled(step * factor) for factor in (0.5, 0.9, 1.1, 1.5)) + 1e-9


def test_the_count_of_levels_makes_neighbours_overlap_by_half() -> None:
    dimension = 3 * 32 * 32
    count = geometric_count(60.0, 0.02, dimension)
    gamma = (60.0 / 0.02) ** (1 / (count - 1))
    # of noise at a level up
    radius = torch.distributions.Normal(gamma * math.sqrt(dimension), gamma / math.sqrt(2))
    inside = radius.cdf(
        torch.tensor([math.sqrt(dimension) + s * 3 / math.sqrt(2) for s in (-1.0, 1.0)])
    )
    overlap = (inside[1] - inside[0]).item()
    assert overlap == pytest.approx(0.5, abs=0.05)
    assert geometric_count(60.0, 0.02, 4 * dimension) > 1.5 * count
