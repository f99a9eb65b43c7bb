"""Latent diffusion: latents in the cache, the denoiser on them, one release of both parts, what is refused."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DModel
from latent_runs import CONFIGS, DENOISER, fit, samples, saved, tiny_vae

from diffshare.data.cache import open_records
from diffshare.data.rendered import RenderedFaces
from diffshare.errors import UserError
from diffshare.generators.families import open_generator
from diffshare.generators.latent import LatentDiffusion
from diffshare.generators.latents import (
    decode_images,
    latent_shape,
    measure,
    open_latents,
    open_vae,
)
from diffshare.sharer.export import module_of_checkpoint

CPU = torch.device("cpu")


# --- the latents -----------------------------------------------------------------------------------------------------


def test_latents_are_encoded_once_and_mapped_from_then_on(tmp_path, monkeypatch) -> None:
    vae, identity = saved(tiny_vae(), tmp_path / "vae")
    source = RenderedFaces(count=150, image_size=8)
    records = open_records(source, tmp_path / "cache")
    latents = open_latents(source, records, vae, identity, device=CPU, cache_dir=tmp_path / "cache")
    assert isinstance(latents, np.memmap)
    assert latents.shape == (150, *latent_shape(vae, (3, 8, 8))) == (150, 4, 4, 4)
    one = torch.from_numpy(np.array(records.x[77:78])).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        np.testing.assert_allclose(
            latents[77:78], vae.encode(one).latent_dist.mean.numpy(), atol=1e-5
        )
    monkeypatch.setattr(vae, "encode", None)  # not called again
    again = open_latents(source, records, vae, identity, device=CPU, cache_dir=tmp_path / "cache")
    assert np.array_equal(latents, again)
    with pytest.raises(TypeError):
        open_latents(source, records, vae, "another VAE", device=CPU, cache_dir=tmp_path / "cache")


def test_scale_and_shift_are_those_of_the_training_records_roughly() -> None:
    latents = np.random.default_rng(0).normal(3, 5, (400, 2, 2, 2)).astype(np.float32)
    latents[200:] = 1e6  # no training records
    shift, scale = measure(latents, np.arange(200))
    assert abs((latents[:200].mean() - shift) * scale) <= 0.13
    assert 0.91 < latents[:200].std() * scale < 1.1


def test_scale_and_shift_hardly_tell_a_share() -> None:
    """Of records of two kinds whose latents differ by half a deviation the mean alone would tell the share exactly."""
    noise = np.random.default_rng(0).normal(0, 1, (4000, 2, 2, 2))
    told = {
        measure(
            (noise + 0.5 * (np.arange(4000) < p * 4000)[:, None, None, None]).astype(np.float32),
            np.arange(4000),
        )
        for p in np.linspace(0, 1, 41)
    }
    assert len(told) <= 4


def test_equal_latents_are_refused() -> None:
    with pytest.raises(UserError, match="the same latent"):
        measure(np.ones((9, 1, 2, 2), np.float32), np.arange(9))


def test_images_are_decoded_in_batches_and_as_one_by_one(tmp_path) -> None:
    vae, _ = saved(tiny_vae(), tmp_path / "vae")
    latents = torch.randn(130, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    made = decode_images(vae, latents)
    assert made.shape == (130, 8, 8, 3)
    one = np.concatenate([decode_images(vae, part) for part in latents.split(1)])
    assert np.abs(made.astype(int) - one).max() <= 1


# --- the denoiser on latents -----------------------------------------------------------------------------------------


def test_one_release_holds_both_parts_and_the_measured_scale(
    run_cli, autoencoder, latent, tmp_path
) -> None:
    card = json.loads((latent / "release" / "diffshare.json").read_text())
    assert card["family"] == "latent"
    assert card["image_size"] == 8
    assert {name.partition("/")[0] for name in card["files"]} >= {"unet", "scheduler", "vae"}
    config = json.loads((latent / "release" / "vae" / "config.json").read_text())
    assert config["scaling_factor"] != 0.18215  # diffusers' default
    weights = "vae/diffusion_pytorch_model.safetensors"
    assert (latent / "release" / weights).read_bytes() == (
        autoencoder / "release" / weights
    ).read_bytes()
    assert json.loads((latent / "release" / "unet" / "config.json").read_text())["sample_size"] == 4
    made = run_cli(
        "release", "--ckpt", latent / "checkpoints" / "last.ckpt", "--out", tmp_path / "again"
    )
    assert made.code == 0, made.err
    assert json.loads((tmp_path / "again" / "diffshare.json").read_text())["files"] == card["files"]


def test_samples_are_images_and_the_same_in_any_batch(run_cli, latent, tmp_path) -> None:
    whole = samples(run_cli, latent / "release", tmp_path / "a")
    assert whole.shape == (6, 8, 8, 3)
    parts = samples(run_cli, latent / "release", tmp_path / "b", "--batch-size", 4)
    assert np.abs(whole.astype(int) - parts).max() <= 1
    assert (
        len(samples(run_cli, latent / "release", tmp_path / "c", "--labels", "none", "--steps", 2))
        == 6
    )
    assert (
        len(
            samples(
                run_cli,
                latent / "release",
                tmp_path / "d",
                "--scheduler",
                "DDPMScheduler",
                "--steps",
                4,
            )
        )
        == 6
    )


def test_the_owner_and_the_receiver_draw_the_same(latent) -> None:
    module = module_of_checkpoint(latent / "checkpoints" / "last.ckpt")
    box, _ = open_generator(latent / "release")
    labels, indices = np.array([0, 1, 1]), np.arange(3)
    made = box.sample(labels, indices, seed=5).astype(int)
    assert np.abs(made - module.draw(labels, indices, 5)).max() <= 1


def test_a_run_resumes_to_the_same_weights(run_cli, autoencoder, tmp_path) -> None:
    states = []
    for name, steps in (("whole", [6]), ("parts", [3, 6])):
        for i, last in enumerate(steps):
            more = ["--resume"] if i else []
            outcome = fit(
                run_cli, "latent", tmp_path / name, *DENOISER, "--model.vae", autoencoder, "--trainer.max_steps", last,
                "--trainer.val_check_interval", 3, *more,
            )  # fmt: skip
            assert outcome.code == 0, outcome.err
        states.append(torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True))
    for key in ("state_dict", "current_model_state"):
        assert all(
            torch.equal(value, states[1][key][weight]) for weight, value in states[0][key].items()
        )
    assert not any("vae" in weight for weight in states[0]["state_dict"])
    assert states[0]["diffshare"]["vae"] == states[1]["diffshare"]["vae"]


def test_validation_and_predict_go_through_the_latents(run_cli, latent) -> None:
    outcome = run_cli("test", "--run-dir", latent)
    assert outcome.code == 0, outcome.err
    assert "test/loss" in outcome.out
    outcome = run_cli("predict", "--run-dir", latent)
    assert outcome.code == 0, outcome.err
    with np.load(latent / "samples" / "samples.npz") as arrays:
        assert arrays["x"].shape == (64, 8, 8, 3)


def test_any_vae_of_diffusers_will_do(run_cli, tmp_path) -> None:
    made = AutoencoderKL(
        block_out_channels=(4, 8),  # type: ignore[arg-type]
        down_block_types=("DownEncoderBlock2D",) * 2,  # type: ignore[arg-type]
        up_block_types=("UpDecoderBlock2D",) * 2,  # type: ignore[arg-type]
        latent_channels=2,
        norm_num_groups=2,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    made.save_pretrained(tmp_path / "pipeline" / "vae")
    channels = [f"--model.denoiser.{end}_channels=2" for end in ("in", "out")]
    outcome = fit(
        run_cli,
        "latent",
        tmp_path / "run",
        *DENOISER,
        *channels,
        "--model.vae",
        tmp_path / "pipeline",
    )
    assert outcome.code == 0, outcome.err
    assert len(samples(run_cli, tmp_path / "run" / "release", tmp_path / "samples")) == 6


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--data.source.image_size", 10], "do not divide by the VAE's factor 4"),
        (["--model.denoiser.in_channels", 3], "in_channels 3, the latents have 4 channels"),
        (
            ["--data.source.image_size", 12],
            "latents of 3x3 pixels do not divide by the denoiser's stride 2",
        ),
        (["--model.vae", "nowhere"], "nowhere holds no VAE"),
    ],
)
def test_a_vae_that_does_not_fit_is_refused(
    run_cli, autoencoder, tmp_path, arguments, named
) -> None:
    vae = tmp_path / "vae"
    tiny_vae(block_out_channels=[8, 8, 8]).save_pretrained(vae)
    outcome = fit(run_cli, "latent", tmp_path / "run", *DENOISER, "--model.vae", vae, *arguments)
    assert outcome.code == 2
    assert named in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_vae_of_other_channels_is_refused() -> None:
    with pytest.raises(UserError, match="in_channels 1, the images have 3 channels"):
        latent_shape(tiny_vae(in_channels=1), (3, 8, 8))


def test_a_folder_that_is_no_vae_is_refused(tmp_path) -> None:
    UNet2DModel(8, block_out_channels=(32,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
                add_attention=False).save_pretrained(tmp_path / "unet")  # fmt: skip
    with pytest.raises(UserError, match="holds a UNet2DModel: an AutoencoderKL is expected"):
        open_vae(tmp_path / "unet")
    tiny_vae().save_pretrained(tmp_path / "vae")
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is no VAE that diffusers can load"):
        open_vae(tmp_path / "vae")
    (tmp_path / "pickled").mkdir()
    shutil.copy(tmp_path / "vae" / "config.json", tmp_path / "pickled")
    torch.save(tiny_vae().state_dict(), tmp_path / "pickled" / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match="holds no VAE"):
        open_vae(tmp_path / "pickled")


def test_a_checkpoint_of_another_vae_is_refused(run_cli, latent, autoencoder, tmp_path) -> None:
    checkpoint = torch.load(latent / "checkpoints" / "last.ckpt", weights_only=True)
    tiny_vae().save_pretrained(tmp_path / "vae")
    denoiser = UNet2DModel(2, 4, 4, block_out_channels=(8, 8), norm_num_groups=4, down_block_types=("DownBlock2D",) * 2,
                           up_block_types=("UpBlock2D",) * 2, num_class_embeds=3, add_attention=False)  # fmt: skip
    model = LatentDiffusion(tmp_path / "vae", denoiser, DDPMScheduler())
    assert model.scheduler.config.clip_sample is False
    with pytest.raises(UserError, match="another VAE"):
        model.on_load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("part", "change", "named"),
    [
        ("vae", None, "a latent release without its decoder"),
        ("vae/config.json", {"scaling_factor": 0.0}, "scaling_factor 0"),
        ("vae/config.json", {"scaling_factor": "x"}, "scaling_factor x"),
        ("vae/config.json", {"latent_channels": 3}, "must have the shape"),
        ("vae/config.json", {"_class_name": "AutoencoderTiny"}, "unknown network"),
        ("unet/config.json", {"sample_size": 2}, "does not fit the card"),
        ("diffshare.json", {"image_size": 16}, "does not fit the card"),
    ],
)
def test_a_received_release_whose_parts_do_not_fit_is_refused(
    run_cli, latent, tmp_path, part, change, named
) -> None:
    release = shutil.copytree(latent / "release", tmp_path / "release")
    card = json.loads((release / "diffshare.json").read_text())
    if change is None:
        shutil.rmtree(release / part)
        card["files"] = {
            name: digest for name, digest in card["files"].items() if not name.startswith(part)
        }
    elif part == "diffshare.json":
        card |= change
    else:
        file = release / part
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        card["files"][part] = hashlib.sha256(file.read_bytes()).hexdigest()
    (release / "diffshare.json").write_text(json.dumps(card))
    outcome = run_cli("sample", "--model", release, "--count", 1, "--out", tmp_path / "samples")
    assert outcome.code == 2, outcome.err
    assert named in outcome.err
    assert outcome.err.count("\n") == 1


def test_the_faces_preset_is_the_autoencoder_of_the_latent_preset() -> None:
    first, second = (
        yaml.safe_load((CONFIGS / f"{n}_faces.yaml").read_text()) for n in ("autoencoder", "latent")
    )
    assert first["data"]["init_args"]["source"] == second["data"]["init_args"]["source"]
    latent_channels = first["model"]["init_args"]["network"]["init_args"]["latent_channels"]
    assert second["model"]["init_args"]["denoiser"]["init_args"]["in_channels"] == latent_channels
