"""The autoencoder: its loss, its adversarial term, what it releases."""

import json

import numpy as np
import pytest
import torch
from latent_runs import NETWORK, fit, samples, tiny_vae

from diffshare.batch import Batch
from diffshare.data.recordsets import scaled
from diffshare.data.rendered import RenderedFaces
from diffshare.errors import UserError
from diffshare.generators.autoencoder import Autoencoder
from diffshare.generators.latents import decode_images
from diffshare.generators.losses import autoencoder_loss, hinge_loss
from diffshare.generators.perceptual import Perceptual
from diffshare.nets.classifiers import SmallResNet


def test_an_autoencoder_is_released_and_samples_from_its_prior(
    run_cli, autoencoder, tmp_path
) -> None:
    card = json.loads((autoencoder / "release" / "diffshare.json").read_text())
    assert (card["family"], card["labels"], card["steps"]) == ("autoencoder", [], 1)
    made = samples(run_cli, autoencoder / "release", tmp_path / "samples")
    again = samples(run_cli, autoencoder / "release", tmp_path / "again", "--batch-size", 1)
    assert made.shape == (6, 8, 8, 3)
    assert np.abs(made.astype(int) - again).max() <= 1
    refused = run_cli(
        "sample",
        "--model",
        autoencoder / "release",
        "--count",
        1,
        "--steps",
        2,
        "--out",
        tmp_path / "x",
    )
    assert refused.code == 2
    assert "samples in 1" in refused.err


def test_it_learns_to_reconstruct() -> None:
    faces = RenderedFaces(count=64, image_size=8).read(np.arange(64))
    x = scaled(torch.from_numpy(faces))
    module = Autoencoder(tiny_vae())
    batch = Batch(x, torch.zeros(64, dtype=torch.long), torch.zeros(64, dtype=torch.long))

    def error() -> float:
        with torch.no_grad():
            made = decode_images(module.network, module.network.encode(x).latent_dist.mode())
        return float(np.abs(made.astype(int) - faces).mean())

    before, optimizer = error(), torch.optim.AdamW(module.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        module.loss(batch).backward()
        optimizer.step()
    assert error() < before / 2


def test_the_adversarial_term_trains_both_networks_and_resumes(
    run_cli, autoencoder, tmp_path
) -> None:
    adversarial = [
        "--model.discriminator", "diffshare.nets.patches.PatchDiscriminator", "--model.discriminator.width", 8,
        "--trainer.gradient_clip_val", "null", "--model.adversarial_start", 2,
    ]  # fmt: skip
    states = {}
    for name, steps in (("whole", [6]), ("parts", [3, 6])):
        folder = tmp_path / name
        for i, last in enumerate(steps):
            resume = ["--resume"] if i else []
            options = [*NETWORK, *adversarial, "--trainer.max_steps", last, *resume]
            outcome = fit(
                run_cli, "autoencoder", folder, *options, "--trainer.val_check_interval", 3
            )
            assert outcome.code == 0, outcome.err
        states[name] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert states["whole"]["global_step"] == states["parts"]["global_step"] == 6
    for key in ("state_dict", "current_model_state"):
        for weight, value in states["whole"][key].items():
            assert torch.equal(value, states["parts"][key][weight]), weight
    refused = fit(
        run_cli,
        "autoencoder",
        tmp_path / "no",
        *NETWORK,
        *adversarial,
        "--trainer.gradient_clip_val",
        1.0,
    )
    assert refused.code == 2
    assert "gradient clipping" in refused.err


def test_the_discriminator_is_pulled_apart_and_the_images_towards_the_real_ones() -> None:
    real, made = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert hinge_loss(real, made).item() == pytest.approx(0.25 + 0.5)


def test_the_loss_of_a_record_is_its_error_and_its_divergence_a_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    x, made = (torch.randn(5, 3, 8, 8, generator=generator) for _ in range(2))
    mean, logvar = (torch.randn(5, 4, 2, 2, generator=generator) for _ in range(2))
    posterior = torch.distributions.Normal(mean, (logvar / 2).exp())
    divergence = torch.distributions.kl_divergence(
        posterior, torch.distributions.Normal(0.0, 1.0)
    ).sum((1, 2, 3))
    expected = (x - made).abs().mean((1, 2, 3)) + 0.3 * divergence / (3 * 8 * 8)
    torch.testing.assert_close(autoencoder_loss(x, made, mean, logvar, 0.3), expected)


def test_the_perceptual_term_reads_a_classifier_of_ours(tmp_path) -> None:
    torch.manual_seed(0)
    network = SmallResNet(width=8)
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "global_step": 0}, tmp_path / "last.ckpt")
    perceptual = Perceptual(SmallResNet(width=8), tmp_path / "last.ckpt")
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert perceptual(x, x).tolist() == [0, 0, 0]
    near, far = (perceptual(x, x + step * torch.ones_like(x).cumsum(3)) for step in (0.001, 0.1))
    assert bool((near < far).all())
    assert not any(p.requires_grad for p in perceptual.parameters())
    with pytest.raises(
        UserError, match="does not hold the weights of model.perceptual.network SmallResNet"
    ):
        Perceptual(SmallResNet(width=16), tmp_path / "last.ckpt")
