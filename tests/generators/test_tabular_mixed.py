"""Sampling rows with exact denoisers reproduces their distribution; the loss is least at the exact one."""

import itertools

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler
from torch import Tensor, nn

from diffshare.errors import UserError
from diffshare.generators.mixed import MixedDiffusion, gaussian_step, mixed_loss, sample_mixed
from diffshare.stats.counters import RowStreams

STATES = list(itertools.product(range(2), range(3)))
# of the two columns, strongly dependent; one pair never occurs
JOINT = np.array([0.35, 0.05, 0.0, 0.1, 0.1, 0.4])
MEAN = np.array([-1.0, 1.5])  # of the score, given the first column
DEVIATION = 0.5


def cosine(prediction: str = "v_prediction", levels: int = 1000) -> DDPMScheduler:
    return DDPMScheduler(levels, beta_schedule="squaredcos_cap_v2", prediction_type=prediction)


class Exact(nn.Module):
    """The exact denoiser of one score and two columns: score | first column ~ N(MEAN, DEVIATION^2)."""

    def __init__(self, process: MixedDiffusion, skew: float = 0.0) -> None:
        super().__init__()
        self.process, self.unused = process, nn.Parameter(torch.zeros(1))
        self.skew = skew  # a mistake, in logits and in velocity

    def forward(self, row: Tensor, timesteps: Tensor, labels: Tensor | None) -> Tensor:
        bar = self.process.levels(timesteps)
        x, first, second = row[:, :1].double(), row[:, 1:3].double(), row[:, 3:6].double()
        mean, variance = torch.from_numpy(MEAN) * bar.sqrt(), bar * DEVIATION**2 + 1 - bar
        of_x = torch.exp(-((x - mean) ** 2) / (2 * variance))  # n x 2, given the first column
        of_first, of_second = (bar * ones + (1 - bar) / ones.shape[1] for ones in (first, second))
        joint = torch.from_numpy(JOINT.reshape(2, 3))
        # each column given all that is seen but the column itself
        w_first = of_x * (of_second @ joint.T)
        w_second = (of_x * of_first) @ joint
        posterior = w_first * of_first / (w_first * of_first).sum(1, keepdim=True)
        clean = torch.from_numpy(MEAN) + bar.sqrt() * DEVIATION**2 / variance * (x - mean)
        clean = (posterior * clean).sum(1, keepdim=True)
        noise = (x - bar.sqrt() * clean) / (1 - bar).sqrt()
        made = bar.sqrt() * noise - (1 - bar).sqrt() * clean if self.process.velocity else noise
        logits = torch.cat(
            [(w / w.sum(1, keepdim=True)).clamp_min(1e-30).log() for w in (w_first, w_second)], 1
        )
        tilt = self.skew * torch.tensor([0.0, 1.0, -1.0, 0.5, 0.0, 0.0])
        return (torch.cat([made, logits], 1) + tilt).float()


def records(n: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    codes = np.array(STATES)[rng.choice(6, n, p=JOINT)]
    scores = MEAN[codes[:, 0]] + DEVIATION * rng.normal(size=n)
    return torch.from_numpy(scores[:, None]).float(), torch.from_numpy(codes)


@pytest.mark.parametrize(
    ("prediction", "steps", "bias"), [("v_prediction", 100, 0.01), ("epsilon", 200, 0.006)]
)
def test_sampling_reaches_the_joint_distribution(prediction: str, steps: int, bias: float) -> None:
    process, n = MixedDiffusion.of(cosine(prediction), 1, [2, 3]), 20_000
    scores, codes = sample_mixed(
        Exact(process), process, None, RowStreams(0, np.arange(n)), n, steps=steps
    )
    shares = np.bincount(codes[:, 0] * 3 + codes[:, 1], minlength=6) / n
    assert np.abs(shares - JOINT).max() < bias + 4 * np.sqrt(0.25 / n)
    for group, mean in enumerate(MEAN):
        inside = scores[codes[:, 0] == group, 0]
        assert inside.mean() == pytest.approx(mean, abs=0.03)
        assert inside.std() == pytest.approx(DEVIATION, abs=0.03)


def test_the_exact_denoiser_has_the_least_loss() -> None:
    process, n = MixedDiffusion.of(cosine(levels=100), 1, [2, 3]), 20_000
    scores, codes = records(n)
    timesteps, noise = (
        torch.arange(n) % 100,
        torch.from_numpy(RowStreams(0, np.arange(n)).uniform(0, 3)),
    )
    losses = [
        mixed_loss(Exact(process, skew), process, scores, codes, None, timesteps, noise)
        .mean()
        .item()
        for skew in (-1.0, 0.0, 1.0)
    ]
    assert losses[1] < min(losses[0], losses[2]) - 0.01


def test_the_bound_is_tight_where_the_rows_are_independent_of_everything() -> None:
    """T times the mean divergence of the exact model is the entropy, less the prior's own divergence (here none)."""
    process, n = MixedDiffusion.of(cosine(levels=100), 0, [4]), 40_000
    p = np.array([0.6, 0.3, 0.1, 0.0])

    class Prior(nn.Module):
        def forward(self, row: Tensor, timesteps: Tensor, labels: Tensor | None) -> Tensor:
            return torch.from_numpy(p).clamp_min(1e-30).log().float().expand(len(row), 4)

    codes = torch.from_numpy(np.random.default_rng(0).choice(4, n, p=p))[:, None]
    uniform = torch.from_numpy(RowStreams(0, np.arange(n)).uniform(0, 1))
    loss = mixed_loss(
        Prior(), process, torch.zeros(n, 0), codes, None, torch.arange(n) % 100, uniform
    ).mean()
    entropy = -float(np.sum(p[:3] * np.log(p[:3])))
    assert loss.item() == pytest.approx(entropy, rel=0.03)


def test_gaussian_steps_are_those_of_bayes_rule() -> None:
    bar_s, bar_t, clean, noisy = 0.8, 0.3, 0.7, -0.4
    grid = np.linspace(-6, 6, 200_001)
    ratio = bar_t / bar_s
    joint = np.exp(-((grid - bar_s**0.5 * clean) ** 2) / (2 * (1 - bar_s)))
    joint *= np.exp(-((noisy - ratio**0.5 * grid) ** 2) / (2 * (1 - ratio)))
    joint /= joint.sum()
    mean = float(joint @ grid)
    deviation = float(np.sqrt(joint @ (grid - mean) ** 2))
    levels = [torch.tensor([[b]], dtype=torch.float64) for b in (bar_s, bar_t)]
    made = [
        gaussian_step(
            *(torch.full((1, 1), v) for v in (noisy, clean)), *levels, torch.full((1, 1), z)
        )
        for z in (0.0, 1.0)
    ]
    assert made[0].item() == pytest.approx(mean, abs=1e-5)
    assert (made[1] - made[0]).item() == pytest.approx(deviation, abs=1e-5)


def test_a_row_does_not_depend_on_its_batch() -> None:
    process = MixedDiffusion.of(cosine(), 1, [2, 3])
    exact, indices = Exact(process), np.arange(40)
    scores, codes = sample_mixed(exact, process, None, RowStreams(5, indices), 40, steps=10)
    for part in (indices[7:8], indices[30:4:-3]):
        again = sample_mixed(exact, process, None, RowStreams(5, part), len(part), steps=10)
        np.testing.assert_allclose(again[0], scores[part], atol=1e-5)
        np.testing.assert_array_equal(again[1], codes[part])


def test_a_model_that_knows_a_category_to_be_impossible_never_makes_it() -> None:
    process, n = MixedDiffusion.of(cosine(), 0, [3]), 5000

    class Never(Exact):
        def forward(self, row: Tensor, timesteps: Tensor, labels: Tensor | None) -> Tensor:
            return torch.tensor([0.0, 0.0, -80.0]).expand(len(row), 3)

    _, codes = sample_mixed(Never(process), process, None, RowStreams(0, np.arange(n)), n, steps=20)
    assert np.bincount(codes[:, 0], minlength=3)[2] == 0


def test_schedulers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="train with a DDPMScheduler or DDIMScheduler"):
        MixedDiffusion.of(EulerDiscreteScheduler(), 1, [2])
    with pytest.raises(UserError, match="predicts 'sample': use epsilon or v_prediction"):
        MixedDiffusion.of(cosine("sample"), 1, [2])
    with pytest.raises(UserError, match="noise levels do not rise"):
        MixedDiffusion.of(DDPMScheduler(2, trained_betas=[0.0, 1.0]), 1, [2])


def test_a_network_that_gives_no_numbers_is_reported() -> None:
    process = MixedDiffusion.of(cosine(), 1, [2, 3])

    class Broken(Exact):
        def forward(self, row: Tensor, timesteps: Tensor, labels: Tensor | None) -> Tensor:
            return torch.full_like(row, torch.nan)

    with pytest.raises(UserError, match="values that are not finite"):
        sample_mixed(Broken(process), process, None, RowStreams(0, np.arange(3)), 3, steps=2)
