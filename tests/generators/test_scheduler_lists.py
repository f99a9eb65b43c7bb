"""What ``--scheduler`` may be: the lists of README and ``sample --help`` are the code's, and each name samples."""

import inspect
import re
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    SchedulerMixin,
)
from diffusers.models.unets.unet_2d import UNet2DOutput
from test_diffusion import Exact

from diffshare.errors import UserError
from diffshare.generators.ddpm import DDPM
from diffshare.generators.diffusion import noise_streams, sample_diffusion, sampling_scheduler
from diffshare.generators.edm import EDM
from diffshare.generators.flow import Flow
from diffshare.generators.latent import LatentDiffusion
from diffshare.generators.ncsn import NCSN, NoiseLevelsScheduler
from diffshare.generators.scheduler_names import SAMPLERS
from diffshare.generators.sde import SDE, BetaSdeScheduler

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
FAMILIES: list[tuple[Any, SchedulerMixin]] = [
    (DDPM, DDPMScheduler()),
    (LatentDiffusion, DDPMScheduler()),
    (EDM, EDMEulerScheduler()),
    (Flow, FlowMatchEulerDiscreteScheduler()),
    (NCSN, NoiseLevelsScheduler()),
    (SDE, BetaSdeScheduler()),
]


def told(family: str) -> set[str]:
    """The names in README's row of a family."""
    rows = [line.split("|")[1:3] for line in README.splitlines() if line.startswith("| `")]
    (names,) = [
        cells[1]
        for cells in rows
        if f"`{family}`" in cells[0] and "`" in cells[1] and "--" not in cells[1]
    ]
    return set(re.findall("`([^`]+)`", names))


@pytest.mark.parametrize(
    ("family", "trained"), FAMILIES, ids=lambda value: getattr(value, "family", "")
)
def test_readme_lists_the_samplers_of_each_family(family, trained):
    with pytest.raises(
        UserError, match="unknown scheduler 'none of them': choose one of "
    ) as refused:
        family.sampler(trained, "none of them")
    known = set(str(refused.value).split("choose one of ")[1].split(", "))
    assert told(family.family) == known
    for name in known:
        family.sampler(trained, name)


def test_help_lists_those_of_a_ddpm(run_cli):
    text = " ".join(run_cli("sample", "--help-all").out.split())
    assert ", ".join(SAMPLERS) in text
    assert len(SAMPLERS) == len(set(SAMPLERS)) == 8


class Rounded(Exact):
    """The exact denoiser at the trained level that is nearest: some schedulers go between levels."""

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, class_labels: torch.Tensor | None
    ) -> UNet2DOutput:
        return super().forward(x, torch.as_tensor(t).round().long(), class_labels)


# of diffusers' DEIS under NumPy 2
@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
@pytest.mark.parametrize("name", SAMPLERS)
def test_each_of_the_list_reaches_the_distribution_of_an_exact_denoiser(name):
    trained = DDPMScheduler(prediction_type="v_prediction", clip_sample=False)
    exact = Rounded(trained, deviation=0.3, means=[-0.4, 0.3])
    labels = torch.arange(200) % 2
    steps = 300 if name in ("DDPMScheduler", "EulerAncestralDiscreteScheduler") else 60
    x = sample_diffusion(
        exact,
        sampling_scheduler(trained, name),
        (1, 4, 4),
        labels,
        noise_streams(0, np.arange(200)),
        steps=steps,
    )
    for label, mean in ((0, -0.4), (1, 0.3)):
        of_class = x[labels == label]
        assert of_class.mean().item() == pytest.approx(mean, abs=0.05)
        assert of_class.std().item() == pytest.approx(0.3, abs=0.05)


def test_every_other_scheduler_of_diffusers_is_refused():
    others = [
        name
        for name, kind in vars(diffusers.schedulers).items()
        if inspect.isclass(kind) and issubclass(kind, SchedulerMixin) and name not in SAMPLERS
    ]
    for name in others:
        with pytest.raises(UserError, match="unknown scheduler"):
            sampling_scheduler(DDPMScheduler(), name)
