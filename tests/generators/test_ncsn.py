"""NCSN: its levels, its samplers with a perfect network, what it refuses."""

import pytest
import torch
import two_modes

from diffshare.errors import UserError
from diffshare.generators.ncsn import NCSN, NoiseLevelsScheduler
from diffshare.generators.samplers import geometric_count

LEVELS = NoiseLevelsScheduler(sigma_max=5.0, sigma_min=0.01, num_levels=200)
NETWORK = two_modes.network_of(LEVELS.process(2), lambda told: told.long())


def test_annealed_langevin_reaches_the_mixture() -> None:
    two_modes.check(NCSN.sampler(LEVELS)(NETWORK, two_modes.normal(6000), 1001), bias=0.06)


def test_the_probability_flow_reaches_the_mixture() -> None:
    made = NCSN.sampler(LEVELS, "probability_flow")(NETWORK, two_modes.normal(6000), 399)
    two_modes.check(made, bias=0.02)


@pytest.mark.parametrize("name", ["annealed_langevin", "probability_flow"])
def test_what_is_denoised_stays_in_range_and_unbounded_is_left_as_it_is(name: str) -> None:
    wild = two_modes.network_of(
        LEVELS.process(2), lambda told: told.long(), lambda y, sigma: 3 + 0 * y
    )
    for key, end in ((name, 1.0), (f"unbounded_{name}", 3.0)):
        made = NCSN.sampler(LEVELS, key)(wild, two_modes.normal(5), 101)
        torch.testing.assert_close(made, torch.full_like(made, end))
    made = (
        NCSN.sampler(LEVELS, key)(NETWORK, two_modes.normal(50), 41)
        for key in (None, "annealed_langevin")
    )
    assert torch.equal(*made)


@pytest.mark.parametrize("name", ["annealed_langevin", "probability_flow"])
@pytest.mark.parametrize("steps", [1, 2, 3, 50, 201, 402])
def test_no_more_network_calls_than_asked_for(name: str, steps: int) -> None:
    calls = []

    def network(inputs: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        calls.append(float(told))
        return NETWORK(inputs, told)

    made = NCSN.sampler(LEVELS, name)(network, two_modes.normal(3), steps)
    assert torch.isfinite(made).all()
    assert max(1, steps // 2) <= len(calls) <= steps
    assert calls == sorted(calls)  # from the noisiest level, number 0, down


def test_the_number_of_levels_follows_the_size_of_the_records() -> None:
    scheduler = NoiseLevelsScheduler(sigma_max=60.0, sigma_min=0.02)
    for dimension in (192, 3072):
        process = scheduler.process(dimension)
        assert len(process.table) == geometric_count(60.0, 0.02, dimension)
        ratio = process.table[1:] / process.table[:-1]
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    given = NoiseLevelsScheduler(noise_levels=[3.0, 1.0, 0.5])
    assert given.process(3072).table.tolist() == [3.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"noise_levels": [0.1, 1.0]}, "not decreasing"),
        ({"noise_levels": [1.0, 1.0]}, "not decreasing"),
        ({"noise_levels": [1.0, -1.0]}, "not decreasing"),
        ({"sigma_max": 0.01, "sigma_min": 1.0}, "not decreasing"),
        ({"sigma_min": 0.0}, "not decreasing"),
        ({"num_levels": 1}, "num_levels is 1"),
    ],
)
def test_levels_that_do_not_fall_are_refused(settings: dict, named: str) -> None:
    with pytest.raises(UserError, match=named):
        NoiseLevelsScheduler(**settings)


def test_an_unknown_sampler_is_refused_with_those_that_fit() -> None:
    with pytest.raises(
        UserError, match="unknown scheduler 'heun'.*annealed_langevin, probability_flow"
    ):
        NCSN.sampler(LEVELS, "heun")
