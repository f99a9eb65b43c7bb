"""Losses and sampling against closed forms."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import nn

from diffshare.errors import UserError
from diffshare.generators.base import Facts
from diffshare.generators.ddpm import DDPM
from diffshare.generators.diffusion import (
    noise_streams,
    sample_diffusion,
    sampling_scheduler,
    to_bytes,
)
from diffshare.generators.losses import diffusion_loss


def tiny(classes: int | None = 2) -> UNet2DModel:
    """A network of a few thousand weights for 8x8 images."""
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        add_attention=False,
        num_class_embeds=None if classes is None else classes + 1,
    ).eval()


class Exact(nn.Module):
    """The exact denoiser of data x ~ N(mean[label], deviation^2) in every pixel."""

    def __init__(self, scheduler: DDPMScheduler, deviation: float, means: list[float]) -> None:
        super().__init__()
        self.scheduler, self.deviation = scheduler, deviation
        self.means = nn.Parameter(torch.tensor(means), requires_grad=False)

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, class_labels: torch.Tensor | None
    ) -> UNet2DOutput:
        bar = self.scheduler.alphas_cumprod[t].reshape(-1, 1, 1, 1)
        mean = self.means[class_labels].reshape(-1, 1, 1, 1) * bar.sqrt()
        variance = bar * self.deviation**2 + 1 - bar
        noise = (1 - bar).sqrt() * (x - mean) / variance  # E[eps | x_t]
        if self.scheduler.config.prediction_type == "epsilon":
            return UNet2DOutput(sample=noise)
        clean = (x - (1 - bar).sqrt() * noise) / bar.sqrt()
        return UNet2DOutput(sample=bar.sqrt() * noise - (1 - bar).sqrt() * clean)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("name", [None, "DDPMScheduler", "DDIMScheduler"])
def test_sampling_reaches_the_distribution_of_an_exact_denoiser(
    kind: str, schedule: str, name: str | None
) -> None:
    trained = DDPMScheduler(prediction_type=kind, beta_schedule=schedule, clip_sample=False)
    steps = {None: 25, "DDIMScheduler": 200, "DDPMScheduler": 1000}[name]
    exact = Exact(trained, deviation=0.1, means=[-0.4, 0.3])
    labels = torch.arange(400) % 2
    x = sample_diffusion(
        exact,
        sampling_scheduler(trained, name),
        (1, 4, 4),
        labels,
        noise_streams(0, np.arange(400)),
        steps=steps,
    )
    for label, mean in ((0, -0.4), (1, 0.3)):
        of_class = x[labels == label]
        # standard errors of 3,200 values: 0.0018 and 0.00125
        assert of_class.mean().item() == pytest.approx(mean, abs=0.01)
        assert of_class.std().item() == pytest.approx(0.1, abs=0.007)


def test_guidance_extrapolates_from_the_unconditional_prediction() -> None:
    trained = DDPMScheduler(prediction_type="epsilon", clip_sample=False)
    exact = Exact(trained, deviation=0.1, means=[-0.2, 0.2, 0.0])  # the last one is "no class"
    labels = torch.ones(300, dtype=torch.long)
    means = {}
    for guidance in (0.0, 1.0, 2.0):
        x = sample_diffusion(
            exact,
            sampling_scheduler(trained),
            (1, 2, 2),
            labels,
            noise_streams(0, np.arange(300)),
            steps=25,
            guidance=guidance,
            null_label=2,
        )
        means[guidance] = x.mean().item()
    assert means[0.0] == pytest.approx(0.0, abs=0.02)
    assert means[1.0] == pytest.approx(0.2, abs=0.02)
    assert means[2.0] == pytest.approx(0.4, abs=0.03)


def test_velocity_loss_is_the_noise_loss_of_the_same_prediction_weighted_by_snr() -> None:
    # v and eps predictions that mean the same image differ by a factor: |v - v^|^2 = |eps - eps^|^2 (1 + 1/SNR)
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(64, 1, 2, 2, generator=generator) for _ in range(2))
    labels, t = torch.zeros(64, dtype=torch.long), torch.randint(1000, (64,), generator=generator)
    losses = {}
    for kind in ("epsilon", "v_prediction"):
        scheduler = DDPMScheduler(prediction_type=kind)
        losses[kind] = diffusion_loss(Exact(scheduler, 0.5, [0.1]), scheduler, x, labels, noise, t)
    bar = DDPMScheduler().alphas_cumprod[t]
    snr = bar / (1 - bar)
    torch.testing.assert_close(
        losses["v_prediction"], losses["epsilon"] * (1 + 1 / snr), rtol=2e-3, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_min_snr_weights_are_those_of_the_clean_image_loss(kind: str) -> None:
    # Hang et al.: min(SNR, gamma) |x - x^|^2, whatever is predicted
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(64, 1, 2, 2, generator=generator) for _ in range(2))
    labels, t = torch.zeros(64, dtype=torch.long), torch.randint(5, 995, (64,), generator=generator)
    scheduler = DDPMScheduler(prediction_type=kind)
    exact = Exact(scheduler, 0.5, [0.1])
    weighted = diffusion_loss(exact, scheduler, x, labels, noise, t, min_snr_gamma=5.0)
    bar = scheduler.alphas_cumprod[t].reshape(-1, 1, 1, 1).double()
    noisy = scheduler.add_noise(x, noise, t).double()
    variance = bar * 0.25 + 1 - bar
    clean = 0.1 + bar.sqrt() * 0.25 / variance * (noisy - bar.sqrt() * 0.1)  # E[x | x_t]
    snr = (bar / (1 - bar)).flatten()
    expected = torch.clamp(snr, max=5.0) * (x.double() - clean).square().flatten(1).mean(1)
    torch.testing.assert_close(weighted.double(), expected, rtol=5e-3, atol=1e-5)


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("steps", [1, 2, 25, 100, 1000])
def test_the_default_sampler_takes_different_trained_timesteps(schedule: str, steps: int) -> None:
    sampler = sampling_scheduler(DDPMScheduler(beta_schedule=schedule))
    sampler.set_timesteps(steps)
    timesteps = sampler.timesteps.tolist()
    assert len(timesteps) == steps
    assert timesteps == sorted(set(timesteps), reverse=True)
    assert all(0 <= t < 1000 for t in timesteps)
    if steps == 25:
        jumps = -np.diff(sampler.lambda_t[timesteps[::-1]].numpy())
        assert jumps.max() < 3 * np.median(jumps)


def test_a_sample_depends_on_its_seed_and_number_alone() -> None:
    network, trained = tiny(), DDPMScheduler(prediction_type="v_prediction")
    labels = torch.arange(6) % 2

    def draw(indices: list[int], seed: int = 3, name: str | None = None) -> np.ndarray:
        numbers = np.asarray(indices)
        x = sample_diffusion(
            network,
            sampling_scheduler(trained, name),
            (3, 8, 8),
            labels[numbers],
            noise_streams(seed, numbers),
            steps=5,
        )
        return to_bytes(x).astype(int)

    for name in (None, "DDPMScheduler"):  # the second draws noise at every step
        whole = draw([0, 1, 2, 3, 4, 5], name=name)
        assert np.array_equal(whole, draw([0, 1, 2, 3, 4, 5], name=name))
        parts = np.concatenate(
            [draw([0], name=name), draw([1, 2], name=name), draw([3, 4, 5], name=name)]
        )
        assert np.abs(whole - parts).max() <= 1
        assert np.abs(whole - draw([0, 1, 2, 3, 4, 5], seed=4, name=name)).max() > 20
        assert len(np.unique(whole.reshape(6, -1), axis=0)) == 6


def test_bytes_are_rounded_to_the_nearest_grey_level() -> None:
    levels = torch.arange(256, dtype=torch.float32)
    x = (levels / 127.5 - 1).reshape(1, 1, 16, 16)
    assert np.array_equal(to_bytes(x).ravel(), np.arange(256))
    assert np.array_equal(to_bytes(x + 0.003).ravel(), np.arange(256))


def test_an_unknown_scheduler_is_refused_with_those_that_fit() -> None:
    with pytest.raises(UserError, match="unknown scheduler 'Euler'.*DDIMScheduler"):
        sampling_scheduler(DDPMScheduler(), "Euler")


def test_values_that_are_not_finite_are_refused() -> None:
    network, trained = tiny(None), DDPMScheduler()
    with torch.no_grad():
        network.conv_out.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        sample_diffusion(
            network,
            sampling_scheduler(trained),
            (3, 8, 8),
            None,
            noise_streams(0, np.arange(2)),
            steps=2,
        )


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"labels": ("1", "-1")}, r"trained on classes \('-1', '1'\), the data has \('1', '-1'\)"),
        ({"labels": ("no", "yes")}, "the data has"),
        ({"target": "Male"}, "trained on classes of Smiling, the data has Male"),
        ({}, None),
        ({"target": ""}, None),  # a data module that does not tell
    ],
)
def test_a_checkpoint_of_other_classes_is_refused(now: dict[str, Any], said: str | None) -> None:
    trained = Facts(("-1", "1"), (3, 8, 8), (5, 5), None, target="Smiling")
    module = DDPM(tiny(), DDPMScheduler())
    module.facts = trained._replace(**now)
    checkpoint = {"diffshare": {"model": None, "facts": trained._asdict()}}
    if said is None:
        module.on_load_checkpoint(checkpoint)
        assert module.facts == trained
    else:
        with pytest.raises(UserError, match=said):
            module.on_load_checkpoint(checkpoint)
