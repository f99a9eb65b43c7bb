"""The membership test on networks whose memory is known, and on releases as they go out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, EDMEulerScheduler, UNet2DModel
from diffusers.models.unets.unet_2d import UNet2DOutput
from random_release import random_ddpm
from torch import nn

from diffshare.audits.leak import members as member_leak
from diffshare.audits.leak.membership import denoising_losses, released
from diffshare.audits.leak.training import TrainingSet
from diffshare.data.recordsets import scaled
from diffshare.data.rendered import RenderedFaces
from diffshare.errors import UserError
from diffshare.generators.ddpm import DDPM
from diffshare.generators.edm import EDM
from diffshare.release.folder import open_release, write_release
from diffshare.stats.membership import membership

SIZE = 8


class Memory(nn.Module):
    """The exact denoiser of a training set: E[eps | x_t] where x is one of these records, no two of one class alike."""

    def __init__(
        self, x: np.ndarray, scheduler: DDPMScheduler, classes: np.ndarray | None = None
    ) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_class_embeds=None if classes is None else 3)
        self.records, self.scheduler, self.classes = (
            scaled(torch.from_numpy(x)).flatten(1),
            scheduler,
            classes,
        )
        self.calls: list[int] = []

    def forward(
        self, noisy: torch.Tensor, t: torch.Tensor, class_labels: torch.Tensor | None = None
    ) -> UNet2DOutput:
        self.calls.append(len(noisy))
        bar = self.scheduler.alphas_cumprod[t].reshape(-1, 1)
        flat = noisy.flatten(1)
        logs = -torch.cdist(flat / bar.sqrt(), self.records).square() * bar / (2 * (1 - bar))
        if class_labels is not None:
            other = torch.from_numpy(self.classes)[None] != class_labels[:, None]
            logs = logs.masked_fill(other & (class_labels[:, None] != 2), -torch.inf)
        clean = logs.softmax(1) @ self.records
        return UNet2DOutput(
            sample=((flat - bar.sqrt() * clean) / (1 - bar).sqrt()).reshape(noisy.shape)
        )


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return RenderedFaces(count=160, image_size=SIZE, seed=1).read(np.arange(160))


def of(network: Memory) -> Any:
    return DDPM(network, network.scheduler)  # type: ignore[arg-type]


NONE = np.full(80, -1)


def test_a_model_that_has_its_records_by_heart_is_found_out_and_one_of_other_records_is_not(faces):
    members, others = faces[:80], faces[80:]
    knows = of(Memory(members, DDPMScheduler()))
    found = membership(
        denoising_losses(knows, members, NONE), denoising_losses(knows, others, NONE)
    )
    assert found.advantage.low > 0.9
    assert found.auroc.estimate == 1
    strange = RenderedFaces(count=160, image_size=SIZE, seed=2).read(np.arange(160))
    other = of(Memory(strange, DDPMScheduler()))
    found = membership(
        denoising_losses(other, members, NONE), denoising_losses(other, others, NONE)
    )
    assert found.advantage.low <= 0 <= found.advantage.high
    assert found.auroc.low <= 0.5 <= found.auroc.high


class Layers(nn.Module):
    """Two layers, which learn a few records in a second."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.config = SimpleNamespace(num_class_embeds=None)
        self.layers = nn.Sequential(
            nn.Linear(3 * SIZE**2 + 1, 256), nn.SiLU(), nn.Linear(256, 3 * SIZE**2)
        )

    def forward(
        self, noisy: torch.Tensor, t: torch.Tensor, class_labels: torch.Tensor | None = None
    ) -> UNet2DOutput:
        seen = torch.cat([noisy.flatten(1), t.reshape(-1, 1) / 1000], 1)
        return UNet2DOutput(sample=self.layers(seen).reshape(noisy.shape))


def test_a_network_trained_for_long_on_a_few_records_is_found_out(faces):
    scheduler = DDPMScheduler(prediction_type="v_prediction", beta_schedule="squaredcos_cap_v2")
    model: Any = DDPM(Layers(), scheduler)  # type: ignore[arg-type]
    members, others = faces[:10], faces[80:]
    tested = [denoising_losses(model, part, np.full(len(part), -1)) for part in (members, others)]
    before = membership(*tested).auroc
    assert before.low <= 0.5 <= before.high
    x = scaled(torch.from_numpy(members)).repeat(16, 1, 1, 1)
    optimizer = torch.optim.Adam(model.denoiser.parameters(), lr=3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        model.losses(
            x, None, torch.randn_like(x), model.times(torch.rand(len(x)))
        ).mean().backward()
        optimizer.step()
    tested = [denoising_losses(model, part, np.full(len(part), -1)) for part in (members, others)]
    assert membership(*tested).auroc.low > 0.6


def test_a_record_has_the_same_loss_whatever_is_tested_with_it(faces):
    model = of(Memory(faces[:40], DDPMScheduler()))
    whole = denoising_losses(model, faces[:80], NONE, batch_size=80)
    parts = denoising_losses(model, faces[:80], NONE, batch_size=33)
    np.testing.assert_allclose(whole, parts, rtol=1e-5)
    np.testing.assert_allclose(
        whole[70:], denoising_losses(model, faces[70:80], NONE[70:]), rtol=1e-5
    )
    assert not np.allclose(whole, denoising_losses(model, faces[:80], NONE, seed=1), rtol=1e-3)
    model.denoiser.calls.clear()
    denoising_losses(model, faces[:50], NONE, levels=3, noises=2, batch_size=20)
    assert model.denoiser.calls == [20] * 6 + [20] * 6 + [10] * 6


def test_the_loss_is_that_of_the_class_that_a_record_was_trained_as(faces):
    classes = np.arange(80) % 2
    model = of(Memory(faces[:80], DDPMScheduler(), classes))
    right, wrong, free = (
        denoising_losses(model, faces[:80], y) for y in (classes, 1 - classes, NONE)
    )
    assert right.mean() < 0.5 * wrong.mean()  # under another class its own record is not to be had
    assert right.mean() < free.mean()


def small(classes: int | None) -> UNet2DModel:
    torch.manual_seed(3)
    down, up = ("DownBlock2D",) * 2, ("UpBlock2D",) * 2
    return UNet2DModel(SIZE, down_block_types=down, up_block_types=up, block_out_channels=(8, 16), norm_num_groups=4,
                       layers_per_block=1, add_attention=False, num_class_embeds=classes)  # fmt: skip


@pytest.mark.parametrize(("family", "kind", "scheduler"), [
    ("ddpm", DDPM, DDPMScheduler(20, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")),
    ("edm", EDM, EDMEulerScheduler(sigma_max=20.0)),
])  # fmt: skip
def test_a_release_has_the_losses_of_the_model_that_was_trained(
    faces, tmp_path, family, kind, scheduler
):
    network = small(3)

    def save(to: Path) -> None:
        network.save_pretrained(to / "unet")
        scheduler.save_pretrained(to / "scheduler")

    card = {
        "family": family,
        "modality": "image",
        "image_size": SIZE,
        "steps": 2,
        "labels": ["a", "b"],
    }
    write_release(tmp_path / "release", card, save)
    labels = np.arange(60) % 3 - 1
    mine = denoising_losses(
        kind(network, scheduler, sampling_steps=2), faces[:60], labels, levels=4, noises=1
    )
    received = released(open_release(tmp_path / "release"))
    np.testing.assert_allclose(
        denoising_losses(received, faces[:60], labels, levels=4, noises=1), mine, rtol=1e-4
    )
    network.conv_out.weight.data.fill_(torch.nan)
    with pytest.raises(UserError, match="loss is not finite"):
        denoising_losses(kind(network, scheduler, sampling_steps=2), faces[:10], labels[:10])


def test_a_release_without_a_denoising_loss_is_refused():
    release: Any = SimpleNamespace(card=SimpleNamespace(family="tabular"))
    for family in ("tabular", "latent", "nonesuch"):
        release.card.family = family
        with pytest.raises(UserError, match=f"the family '{family}' does not have"):
            released(release)


@pytest.mark.parametrize("labels", [("not Smiling", "Smiling"), ("Smiling", "not Smiling")])
def test_a_record_s_loss_is_that_of_the_class_that_is_called_so(tmp_path, monkeypatch, labels):
    """The model's numbers of the classes need not be the source's."""
    source = RenderedFaces(count=120, image_size=SIZE, seed=1)
    index = source.index()
    smiling = index.attribute("Smiling").codes.astype(np.int64)
    training = TrainingSet(
        {"Smiling": smiling[:60]}, True, tuple(index.names[:60].tolist()), {"target": "Smiling"}
    )
    asked: list[tuple[np.ndarray, np.ndarray]] = []

    def spied(model: Any, x: np.ndarray, given: np.ndarray, **options: Any) -> np.ndarray:
        asked.append((x, given))
        return denoising_losses(model, x, given, **options)

    monkeypatch.setattr(member_leak, "denoising_losses", spied)
    folder = random_ddpm(tmp_path / "release", SIZE, labels=list(labels), steps=2)
    assert member_leak.member_leak(folder, source, training, "all").reason is None
    called = {
        x.tobytes(): ("not Smiling", "Smiling")[y]
        for x, y in zip(source.read(np.arange(120)), smiling.tolist(), strict=True)
    }
    assert len(called) == 120
    for records, given in asked:
        assert [labels[k] for k in given] == [
            called[np.ascontiguousarray(x).tobytes()] for x in records
        ]
