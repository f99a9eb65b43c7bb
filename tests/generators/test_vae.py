"""The VAE baseline: its bound, its classes, its release, what is refused."""

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from latent_runs import fit, samples

from diffshare.batch import Batch
from diffshare.data.recordsets import scaled
from diffshare.data.rendered import RenderedFaces
from diffshare.errors import UserError
from diffshare.generators.families import open_generator
from diffshare.generators.losses import gaussian_nats, kl_divergence, vae_loss
from diffshare.generators.one_step import generate
from diffshare.generators.vae import VAE
from diffshare.nets.vae import ConvVAE

NETWORK = ["--model.network.block_out_channels", "[8,8]", "--model.network.norm_num_groups", 4]
NETWORK += ["--model.network.latent_dim", 6]


def tiny(num_class_embeds: int | None = 3, **settings: Any) -> ConvVAE:
    torch.manual_seed(0)
    options: dict[str, Any] = {"latent_dim": 6, "block_out_channels": [8, 8], "norm_num_groups": 4}
    return ConvVAE(3, 8, num_class_embeds, **(options | settings)).eval()


def module(network: ConvVAE, **options: Any) -> VAE:
    made = VAE(conditional=network.num_class_embeds is not None, **options)
    made.network = network
    return made


@pytest.fixture(scope="module")
def run(run_cli: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vae") / "run"
    outcome = fit(run_cli, "vae", folder, *NETWORK)
    assert outcome.code == 0, outcome.err
    return folder


# --- mathematics -------------------------------------------------------------------------------------------------


def test_the_divergence_is_that_of_torchs_distributions_and_0_at_the_prior() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, logvar = (torch.randn(5, 7, generator=generator) for _ in range(2))
    posterior = torch.distributions.Normal(mean, (logvar / 2).exp())
    expected = torch.distributions.kl_divergence(
        posterior, torch.distributions.Normal(0.0, 1.0)
    ).sum(1)
    torch.testing.assert_close(kl_divergence(mean, logvar), expected)
    assert kl_divergence(torch.zeros(2, 7), torch.zeros(2, 7)).tolist() == [0, 0]


@pytest.mark.parametrize("kl_weight", [1.0, 0.25])
def test_the_loss_is_the_bound_counted_value_by_value(kl_weight: float) -> None:
    rng = np.random.default_rng(0)
    x, made = rng.uniform(-1, 1, (2, 3, 3, 4, 4))
    mean, logvar = rng.normal(size=(2, 3, 5))
    scale = 0.3
    expected = []
    for i in range(3):
        nats = 0.0
        for value, wanted in zip(made[i].ravel(), x[i].ravel(), strict=True):
            nats -= math.log(
                math.exp(-((wanted - value) ** 2) / (2 * scale**2))
                / (scale * math.sqrt(2 * math.pi))
            )
        grid = np.linspace(-12, 12, 24001)
        for m, v in zip(mean[i], np.exp(logvar[i]), strict=True):  # the integral of q log(q / p)
            q = np.exp(-((grid - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)
            log_ratio = (grid**2 - (grid - m) ** 2 / v - np.log(v)) / 2
            nats += kl_weight * float(np.sum(q * log_ratio) * (grid[1] - grid[0]))
        expected.append(nats / x[i].size)
    tensors = (torch.from_numpy(a) for a in (x, made, mean, logvar))
    loss = vae_loss(*tensors, scale, kl_weight)
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-6)


def test_the_scale_that_is_left_out_is_the_likeliest() -> None:
    error = torch.tensor([0.02, 0.05, 0.11], dtype=torch.float64)
    best = gaussian_nats(error).sum()
    torch.testing.assert_close(best, gaussian_nats(error, 0.06**0.5).sum())
    assert all(best < gaussian_nats(error, scale).sum() for scale in (0.05, 0.24, 0.25, 1.0))


def test_it_learns_to_reconstruct() -> None:
    faces = RenderedFaces(count=48, image_size=8).read(np.arange(48))
    x, y = scaled(torch.from_numpy(faces)), torch.arange(48) % 2
    vae = module(tiny(latent_dim=16), kl_weight=0.1)
    optimizer = torch.optim.AdamW(vae.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        vae.loss(Batch(x, y, y)).backward()
        optimizer.step()
    with torch.no_grad():
        mean, _ = vae.network.encoder(x, y)
        error = (vae.network.decoder(mean, y) - x).square().mean()
    assert error < x.var(0).mean() / 2


def test_encoder_and_decoder_hear_the_class() -> None:
    network = tiny()
    x, z = torch.rand(2, 3, 8, 8) * 2 - 1, torch.randn(2, 6)
    one, other, none = (torch.full((2,), label) for label in range(3))
    assert not torch.equal(network.encoder(x, one)[0], network.encoder(x, other)[0])
    assert not torch.equal(network.decoder(z, one), network.decoder(z, other))
    assert not torch.equal(network.decoder(z, one), network.decoder(z, none))
    assert tiny(None).decoder(z).shape == (2, 3, 8, 8)
    assert tiny(layers_per_block=1).decoder(z, one).shape == (2, 3, 8, 8)


@pytest.mark.parametrize(
    ("dropout", "moved"), [(0.0, [True, True, False]), (0.999999, [False, False, True])]
)
def test_hidden_classes_train_the_class_none(dropout: float, moved: list[bool]) -> None:
    vae = module(tiny(), condition_dropout=dropout)
    x, y = torch.rand(8, 3, 8, 8) * 2 - 1, torch.arange(8) % 2
    vae.loss(Batch(x, y, y)).backward()
    for part in (vae.network.encoder, vae.network.decoder):
        assert (part.label.weight.grad.abs().sum(1) > 0).tolist() == moved


# --- the way to a release and back ---------------------------------------------------------------------------------


def test_only_the_decoder_is_released_and_release_makes_the_same_again(
    run_cli, run, tmp_path
) -> None:
    card = json.loads((run / "release" / "diffshare.json").read_text())
    assert (card["family"], len(card["labels"]), card["steps"], card["image_size"]) == (
        "vae",
        2,
        1,
        8,
    )
    assert {name.partition("/")[0] for name in card["files"]} == {"decoder", "README.md"}
    made = run_cli(
        "release", "--ckpt", run / "checkpoints" / "last.ckpt", "--out", tmp_path / "again"
    )
    assert made.code == 0, made.err
    assert json.loads((tmp_path / "again" / "diffshare.json").read_text())["files"] == card["files"]


@pytest.mark.parametrize("labels", ["balanced", "none", "natural", "1"])
def test_a_sample_is_the_same_again_and_in_any_batch(run_cli, run, tmp_path, labels) -> None:
    whole, again, single = (
        samples(run_cli, run / "release", tmp_path / name, "--labels", labels, "--batch-size", size)
        for name, size in (("a", 6), ("b", 6), ("c", 1))
    )
    assert whole.shape == (6, 8, 8, 3)
    assert np.array_equal(whole, again)
    assert np.abs(whole.astype(int) - single).max() <= 1
    assert len(np.unique(whole.reshape(6, -1), axis=0)) == 6
    info = json.loads((tmp_path / "a" / "samples.json").read_text())
    assert (info["queries"], info["network_calls"]) == (6, 6)


def test_a_sample_depends_on_its_class_seed_and_number_alone(run) -> None:
    box, _ = open_generator(run / "release")
    labels, indices = np.array([0, 1, -1, 0]), np.array([7, 7, 7, 8])
    made = box.sample(labels, indices, seed=3)
    swapped = box.sample(labels[::-1].copy(), indices[::-1].copy(), seed=3)[::-1]
    assert np.abs(made.astype(int) - swapped).max() <= 1
    assert len(np.unique(made.reshape(4, -1), axis=0)) == 4
    assert not np.array_equal(made, box.sample(labels, indices, seed=4))


def test_the_released_decoder_draws_what_the_trained_one_draws() -> None:
    vae = module(tiny())
    labels, indices = np.array([0, 1, -1]), np.arange(3)
    expected = generate(vae.network.decoder, labels, indices, 5)
    assert np.array_equal(vae.draw(labels, indices, 5), expected)


def test_validation_reports_loss_divergence_and_error(run_cli, run) -> None:
    outcome = run_cli(
        "test", "--config", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "last.ckpt"
    )
    assert outcome.code == 0, outcome.err
    for name in ("test/loss", "test/kl_nats", "test/psnr_db"):
        assert name in outcome.out


def test_an_unconditional_model(run_cli, tmp_path) -> None:
    outcome = fit(run_cli, "vae", tmp_path / "run", *NETWORK, "--model.conditional", "false")
    assert outcome.code == 0, outcome.err
    assert len(samples(run_cli, tmp_path / "run" / "release", tmp_path / "samples")) == 6


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (
            ["--model.network.block_out_channels", "[8,8,8,8]"],
            "8x8 pixels do not divide by the network's stride 16",
        ),
        (["--model.network.block_out_channels", "[]"], "len(block_out_channels) is 0"),
        (["--model.network.latent_dim", 0], "latent_dim is 0"),
        (["--model.condition_dropout", 1], "condition_dropout is 1"),
        (["--model.kl_weight", -1], "kl_weight is -1"),
        (["--model.scale", 0], "scale is 0"),
    ],
)
def test_settings_that_make_no_model_are_refused(run_cli, tmp_path, options, named) -> None:
    outcome = fit(run_cli, "vae", tmp_path / "run", *NETWORK, *options)
    assert outcome.code == 2
    assert named in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--steps", 2], "samples in 1"),
        (["--guidance", 3], "guidance is 3"),
        (["--scheduler", "DDIMScheduler"], "a model of the family vae has none"),
    ],
)
def test_what_a_vae_does_not_have_cannot_be_asked_for(
    run_cli, run, tmp_path, options, named
) -> None:
    refused = run_cli(
        "sample", "--model", run / "release", "--count", 1, *options, "--out", tmp_path / "x"
    )
    assert refused.code == 2
    assert named in refused.err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        ("decoder/config.json", {"sample_size": 16}, "must have the shape"),
        ("decoder/config.json", {"sample_size": 10}, "do not divide"),
        ("decoder/config.json", {"latent_dim": 5}, "must have the shape"),
        ("decoder/config.json", {"latent_dim": 8000}, "latent_dim is 8000"),
        ("decoder/config.json", {"block_out_channels": []}, "len(block_out_channels) is 0"),
        (
            "decoder/config.json",
            {"block_out_channels": [10**9, 8]},
            "must be a list of plain values",
        ),
        ("decoder/config.json", {"block_out_channels": [8, 4096]}, "block_out_channels[1] is 4096"),
        ("decoder/config.json", {"sample_size": 4096}, "sample_size is 4096"),
        ("decoder/config.json", {"layers_per_block": 10**6}, "must be a plain value"),
        ("decoder/config.json", {"norm_num_groups": 0}, "cannot be built"),
        ("decoder/config.json", {"_class_name": "VAEEncoder"}, "unknown network"),
        ("decoder/config.json", {"another": 1}, "does not know it"),
        (
            "diffshare.json",
            {"labels": ["a", "b", "c"], "label_frequencies": None},
            "does not fit the card",
        ),
        ("diffshare.json", {"image_size": 32}, "does not fit the card"),
    ],
)
def test_a_changed_release_is_refused(run_cli, run, tmp_path, file, change, named) -> None:
    release = shutil.copytree(run / "release", tmp_path / "release")
    path = release / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    card = json.loads((release / "diffshare.json").read_text())
    if file in card["files"]:
        card["files"][file] = hashlib.sha256(path.read_bytes()).hexdigest()
        (release / "diffshare.json").write_text(json.dumps(card))
    outcome = run_cli("sample", "--model", release, "--count", 1, "--out", tmp_path / "samples")
    assert outcome.code == 2, outcome.err
    assert named in outcome.err
    assert outcome.err.count("\n") == 1


def test_images_that_are_not_square_and_another_datas_model_are_refused() -> None:
    from diffshare.generators.base import Facts

    with pytest.raises(UserError, match="a VAE takes square ones"):
        VAE().build(Facts(("a", "b"), (3, 8, 16), (1, 1), None))
    with pytest.raises(UserError, match="made for images of 8 pixels"):
        module(tiny()).check(Facts(("a", "b"), (3, 16, 16), (1, 1), None))
