"""Score SDEs: each process and sampler with a perfect network, what they refuse."""

import pytest
import torch
import two_modes
from diffusers import DDPMScheduler, ScoreSdeVeScheduler

from diffshare.errors import UserError
from diffshare.generators.sde import SDE, BetaSdeScheduler, process_of

SCHEDULERS = {
    "vp": BetaSdeScheduler(kind="vp"),
    "sub_vp": BetaSdeScheduler(kind="sub_vp"),
    "ve": ScoreSdeVeScheduler(sigma_max=20.0, sigma_min=0.005, snr=0.16),
}
# calls and bias; errors of a few hundred calls are those of Song et al.'s samplers, not of the sampling
SAMPLERS = {
    "probability_flow": (79, 0.015),
    "euler_maruyama": (500, 0.05),
    "predictor_corrector": (999, 0.05),
}


def network_of(name: str):
    return two_modes.network_of(process_of(SCHEDULERS[name]), lambda told: told / 999)


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_network_that_is_a_little_off_is_kept_within_the_range_of_the_records(
    name: str, sampler: str
) -> None:
    exact = network_of(name)
    made = SDE.sampler(SCHEDULERS[name], sampler)(
        lambda x, t: 0.97 * exact(x, t), two_modes.normal(500), 50
    )
    # a share of the first level's noise that is not seen would lie far outside
    assert made.abs().max() <= 1.0
    first = torch.cdist(made.reshape(-1, 2), two_modes.MEANS).argmin(1) == 0
    assert 0.1 < first.double().mean() < 0.6


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_is_denoised_stays_in_range_and_unbounded_is_left_as_it_is(
    name: str, sampler: str
) -> None:
    process = process_of(SCHEDULERS[name])
    wild = two_modes.network_of(process, lambda told: told / 999, lambda y, sigma: 3 + 0 * y)
    for key, end in ((sampler, 1.0), (f"unbounded_{sampler}", 3.0)):
        made = SDE.sampler(SCHEDULERS[name], key)(wild, two_modes.normal(5), 20)
        torch.testing.assert_close(made, torch.full_like(made, end))


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_of_every_process_reaches_the_mixture(name: str, sampler: str) -> None:
    steps, bias = SAMPLERS[sampler]
    made = SDE.sampler(SCHEDULERS[name], sampler)(network_of(name), two_modes.normal(4000), steps)
    two_modes.check(made, bias=bias)


def test_predictor_and_corrector_sample_where_nothing_is_said() -> None:
    made = [
        SDE.sampler(SCHEDULERS["vp"], s)(network_of("vp"), two_modes.normal(5), 9)
        for s in (None, "predictor_corrector")
    ]
    assert torch.equal(*made)


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_no_more_network_calls_than_asked_for(name: str, sampler: str, steps: int) -> None:
    calls, network = [], network_of(name)

    def counted(inputs: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        calls.append(float(told))
        return network(inputs, told)

    made = SDE.sampler(SCHEDULERS[name], sampler)(counted, two_modes.normal(3), steps)
    assert torch.isfinite(made).all()
    assert max(1, steps - 1) <= len(calls) <= steps
    assert calls == sorted(calls, reverse=True)


@pytest.mark.parametrize(
    ("scheduler", "named"),
    [
        (ScoreSdeVeScheduler(sigma_max=0.001), "not decreasing"),
        (ScoreSdeVeScheduler(sigma_min=2.0, sigma_max=2.0), "not decreasing"),
        (ScoreSdeVeScheduler(snr=2.0), "snr is 2"),
        (ScoreSdeVeScheduler(sampling_eps=0.9), "sampling_eps is 0.9"),
        (BetaSdeScheduler(beta_min=5.0, beta_max=1.0), "must rise"),
        (DDPMScheduler(), "BetaSdeScheduler or ScoreSdeVeScheduler"),
    ],
)
def test_settings_that_make_no_process_are_refused(scheduler, named: str) -> None:
    with pytest.raises(UserError, match=named):
        SDE.sampler(scheduler)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="vp or sub_vp"):
        BetaSdeScheduler(kind="ve")  # type: ignore[arg-type]
