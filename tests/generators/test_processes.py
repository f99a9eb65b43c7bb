"""Noise processes against closed forms, simulated diffusions and a mixture whose exact denoiser is known."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
import two_modes
from torch import Tensor

from diffshare.errors import UserError
from diffshare.generators.process import Process
from diffshare.generators.processes import (
    Elucidated,
    NoiseLevels,
    Rectified,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    karras_levels,
)
from diffshare.generators.samplers import flow_slope, heun


class Case(NamedTuple):
    """A process and the times at which it is looked at."""

    process: Process
    times: list[float]


CASES = {
    "levels": Case(NoiseLevels(np.geomspace(20, 0.002, 500).tolist()), [0, 7, 250, 499]),
    "ve": Case(VarianceExploding(20.0, 0.002, 1e-5), [1e-5, 0.3, 0.7, 1.0]),
    "vp": Case(VariancePreserving(0.1, 20.0, 1e-3), [1e-3, 0.1, 0.5, 1.0]),
    "sub_vp": Case(SubVariancePreserving(0.1, 20.0, 1e-3), [1e-3, 0.1, 0.5, 1.0]),
    "edm": Case(Elucidated(80.0, 0.002, 0.5), [0.002, 0.1, 1.0, 80.0]),
    "rectified": Case(Rectified(), [0.01, 0.3, 0.7, 0.99]),
}
processes = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def column(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)


@processes
def test_noise_is_added_by_alpha_and_sigma(case: Case) -> None:
    x = two_modes.draw(40_000).reshape(-1, 1, 1, 2)
    mean, covariance = (two_modes.WEIGHTS @ two_modes.MEANS), x.reshape(-1, 2).T.cov()
    for time in case.times:
        noisy = case.process.add_noise(
            x, torch.randn_like(x), torch.full((len(x),), time, dtype=torch.float64)
        )
        alpha, sigma = (
            float(level) for level in case.process.levels(torch.tensor(time, dtype=torch.float64))
        )
        expected = alpha**2 * covariance + sigma**2 * torch.eye(2)
        error = 5 * expected.diagonal().max().item() / len(x) ** 0.5
        flat = noisy.reshape(-1, 2)
        assert (
            flat.mean(0) - alpha * mean
        ).abs().max() < 5 * expected.diagonal().max().sqrt() / len(x) ** 0.5
        assert (flat.T.cov() - expected).abs().max() < 1.5 * error


@pytest.mark.parametrize("name", ["ve", "vp", "sub_vp"])
def test_levels_solve_the_moments_of_the_stochastic_differential_equation(name: str) -> None:
    # dx = -beta/2 x dt + g dw: dm/dt = -beta/2 m and dV/dt = -beta V + g^2, from t = 0 (Song et al. 2021, appendix B)
    process, end, steps = CASES[name].process, 0.8, 200_000
    mean, variance = 1.0, (0.002**2 if name == "ve" else 0.0)
    integral = 0.0
    for i in range(steps):
        t, dt = (i + 0.5) * end / steps, end / steps
        beta = 0.0 if name == "ve" else 0.1 + 19.9 * t
        middle = integral + beta * dt / 2
        g2 = {
            "ve": 2 * math.log(20 / 0.002) * (0.002 * (20 / 0.002) ** t) ** 2,
            "vp": beta,
            "sub_vp": beta * (1 - math.exp(-2 * middle)),
        }[name]
        mean *= 1 - beta / 2 * dt
        variance += (g2 - beta * variance) * dt
        integral += beta * dt
    alpha, sigma = process.levels(torch.tensor(end, dtype=torch.float64))
    assert alpha.item() == pytest.approx(mean, rel=1e-3)
    assert sigma.item() ** 2 == pytest.approx(variance, rel=1e-3)


def test_sub_vp_is_never_noisier_than_vp() -> None:
    t = torch.linspace(1e-3, 1, 200, dtype=torch.float64)
    vp, sub_vp = (CASES[name].process.levels(t) for name in ("vp", "sub_vp"))
    assert torch.equal(vp[0], sub_vp[0])
    assert bool((sub_vp[1] < vp[1]).all())
    torch.testing.assert_close(vp[0] ** 2 + vp[1] ** 2, torch.ones_like(t))


@processes
def test_a_time_is_found_by_its_ratio(case: Case) -> None:
    for time in case.times:
        alpha, sigma = case.process.levels(torch.tensor(time, dtype=torch.float64))
        assert case.process.time_at((sigma / alpha).double()).item() == pytest.approx(
            time, rel=1e-9
        )


@processes
def test_the_clean_record_and_the_output_that_stands_for_it(case: Case) -> None:
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(4, 1, 2, 2, dtype=torch.float64, generator=generator) for _ in range(2))
    times = torch.tensor(case.times, dtype=torch.float64)
    noisy = case.process.add_noise(x, noise, times)
    target = case.process.target(x, noisy, times)
    torch.testing.assert_close(case.process.clean(noisy, target, times), x)
    alpha, sigma = (column(level) for level in case.process.levels(times))
    if isinstance(case.process, Rectified):
        torch.testing.assert_close(target, noise - x)
    elif isinstance(case.process, Elucidated):
        # (x - c_skip x_t) / c_out of table 1, written out
        expected = (x - 0.25 / (sigma**2 + 0.25) * noisy) * (sigma**2 + 0.25).sqrt() / (0.5 * sigma)
        torch.testing.assert_close(target, expected)
    else:
        torch.testing.assert_close(target, noise, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(noisy, alpha * x + sigma * noise, rtol=1e-6, atol=1e-6)


@processes
def test_the_network_is_told_each_level_apart_and_sees_inputs_of_like_size(case: Case) -> None:
    times = torch.tensor(case.times, dtype=torch.float64)
    scales = case.process.precondition(times)
    assert len(set(scales.c_noise.tolist())) == len(times)
    alpha, sigma = case.process.levels(times)
    deviation = scales.c_in * (0.25 * alpha**2 + sigma**2).sqrt()  # of data of deviation 0.5
    assert bool(((deviation > 0.25) & (deviation < 1.01)).all())


def test_edm_inputs_and_targets_have_variance_1_at_every_level() -> None:
    process, generator = Elucidated(80.0, 0.002, 0.5), torch.Generator().manual_seed(0)
    x, noise = (
        torch.randn(20_000, 1, 1, 1, dtype=torch.float64, generator=generator) for _ in range(2)
    )
    for level in (0.002, 0.5, 80.0):
        time = torch.full((len(x),), level, dtype=torch.float64)
        noisy = process.add_noise(0.5 * x, noise, time)
        assert (column(process.precondition(time).c_in) * noisy).std().item() == pytest.approx(
            1, abs=0.03
        )
        assert process.target(0.5 * x, noisy, time).std().item() == pytest.approx(1, abs=0.03)


@processes
def test_training_times_rise_with_the_noise_and_stay_inside(case: Case) -> None:
    uniform = torch.linspace(0, 1, 1001, dtype=torch.float64)[:-1]
    times = case.process.times(1 - uniform if isinstance(case.process, NoiseLevels) else uniform)
    alpha, sigma = case.process.levels(times)
    ratio = sigma / alpha
    assert bool((ratio.diff() >= 0).all())
    assert bool(torch.isfinite(ratio).all())
    if isinstance(case.process, NoiseLevels):
        counts = np.bincount(times.numpy(), minlength=500)
        assert len(counts) == 500
        assert counts.min() >= 1


def test_edm_trains_on_log_normal_levels_and_flow_on_logit_normal_times() -> None:
    uniform = torch.rand(100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for values in (
        (Elucidated(80.0, 0.002, 0.5).times(uniform).log() + 1.2) / 1.2,
        torch.logit(Rectified(logit_normal=True).times(uniform)),
    ):
        assert values.mean().item() == pytest.approx(0, abs=0.02)
        assert values.std().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(Rectified().times(uniform), uniform)


@processes
@pytest.mark.parametrize("steps", [1, 2, 18])
def test_ratios_fall_from_the_largest_to_the_least(case: Case, steps: int) -> None:
    ratios = case.process.ratios(steps)
    assert len(ratios) == steps
    assert ratios[0] == pytest.approx(case.process.largest, rel=1e-6)
    assert steps == 1 or ratios[-1] == pytest.approx(case.process.least, rel=1e-6)
    assert all(later < earlier for earlier, later in zip(ratios, ratios[1:], strict=False))


def test_karras_levels_are_those_of_the_paper() -> None:
    # equation 5, written out
    levels = karras_levels(80.0, 0.002, 5)
    root = 1 / 7
    expected = [(80**root + i / 4 * (0.002**root - 80**root)) ** 7 for i in range(5)]
    assert levels == pytest.approx(expected)


@processes
def test_a_perfect_network_takes_every_process_to_the_mixture_and_back(case: Case) -> None:
    by_name = {
        NoiseLevels: lambda told: told.long(),
        Elucidated: lambda told: torch.exp(4 * told),
        Rectified: lambda told: told / 1000,
    }
    time_of = by_name.get(type(case.process), lambda told: told / 999)
    denoise = case.process.denoiser(two_modes.network_of(case.process, time_of))
    slope = flow_slope(denoise)
    levels = karras_levels(20.0, 0.005, 40)
    if isinstance(case.process, NoiseLevels):
        levels = case.process.ratios(250)  # it is told the number of a level, so no others
    made = heun(slope, 20 * two_modes.normal(8000)(), [*levels, 0.0])
    two_modes.check(made, bias=0.01)
    x = two_modes.draw(200).reshape(-1, 1, 1, 2)
    up = heun(slope, x, levels[::-1])
    torch.testing.assert_close(heun(slope, up, levels), x, atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: NoiseLevels([1.0, 1.0, 0.1]), "not decreasing"),
        (lambda: NoiseLevels([0.1, 1.0]), "not decreasing"),
        (lambda: NoiseLevels([1.0]), "at least two"),
        (lambda: NoiseLevels([1.0, 0.0]), "not decreasing"),
        (lambda: NoiseLevels([float("nan"), 1.0]), "not decreasing"),
        (lambda: VarianceExploding(0.1, 1.0, 1e-5), "not decreasing"),
        (lambda: VarianceExploding(1.0, 0.0, 1e-5), "not decreasing"),
        (lambda: VarianceExploding(float("inf"), 0.1, 1e-5), "not decreasing"),
        (lambda: VarianceExploding(1.0, 0.1, 0.7), "sampling_eps is 0.7"),
        (lambda: VariancePreserving(20.0, 0.1, 1e-3), "must rise"),
        (lambda: VariancePreserving(0.1, 20.0, 0.0), "sampling_eps is 0"),
        (lambda: Elucidated(1.0, 2.0, 0.5), "not decreasing"),
        (lambda: Elucidated(80.0, 0.002, 0.0), "sigma_data 0"),
        (lambda: Elucidated(80.0, 0.002, 0.5, rho=0.0), "rho 0"),
    ],
)
def test_numbers_that_make_no_process_are_refused(make, named: str) -> None:
    with pytest.raises(UserError, match=named):
        make()
