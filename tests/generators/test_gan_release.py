"""GANs: what their release holds, what of a received one is refused, a word when one has collapsed."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from gan_runs import fit, samples

from diffshare.generators.received_gan import deviations, warn_of_collapse

WEIGHTS = "generator/diffusion_pytorch_model.safetensors"
NONE = {"init_args": {"num_class_embeds": None}}
UNCONDITIONAL = {"model": {"init_args": {"generator": NONE, "discriminator": NONE}}}


def test_a_run_ends_with_a_release_of_the_generator_alone(run_cli, gan, tmp_path) -> None:
    card = json.loads((gan / "release" / "diffshare.json").read_text())
    assert (card["family"], card["steps"], len(card["labels"])) == ("gan", 1, 2)
    assert {name.partition("/")[0] for name in card["files"]} == {"generator", "README.md"}
    made = run_cli(
        "release", "--ckpt", gan / "checkpoints" / "last.ckpt", "--out", tmp_path / "again"
    )
    assert made.code == 0, made.err
    assert json.loads((tmp_path / "again" / "diffshare.json").read_text())["files"] == card["files"]


def test_the_release_has_the_averaged_weights_and_the_averaged_statistics(gan) -> None:
    checkpoint = torch.load(gan / "checkpoints" / "last.ckpt", weights_only=True)
    released = safetensors.torch.load_file(gan / "release" / WEIGHTS)
    moved = set()
    for name, value in released.items():
        assert torch.equal(value, checkpoint["state_dict"][f"generator.{name}"])
        if not torch.equal(value, checkpoint["current_model_state"][f"generator.{name}"]):
            moved.add(name)
    assert {"start.weight", "blocks.0.norm1.mean", "norm.variance"} <= moved


def test_a_sample_is_the_same_again_and_in_any_batch(run_cli, gan, tmp_path) -> None:
    whole = samples(run_cli, gan / "release", tmp_path / "a")
    assert whole.shape == (6, 8, 8, 3)
    assert len(np.unique(whole.reshape(6, -1), axis=0)) == 6
    assert np.array_equal(whole, samples(run_cli, gan / "release", tmp_path / "b", "--steps", 1))
    for size in (1, 4):
        parts = samples(run_cli, gan / "release", tmp_path / str(size), "--batch-size", size)
        assert np.abs(whole.astype(int) - parts).max() <= 1
    assert not np.array_equal(whole, samples(run_cli, gan / "release", tmp_path / "c", "--seed", 1))
    assert json.loads((tmp_path / "a" / "samples.json").read_text())["network_calls"] == 6


def test_no_class_is_a_class_of_its_own(run_cli, gan, tmp_path) -> None:
    none = samples(run_cli, gan / "release", tmp_path / "none", "--labels", "none")
    others = [
        samples(run_cli, gan / "release", tmp_path / k, "--labels", k)
        for k in ("0", "1", "natural")
    ]
    assert none.shape == others[0].shape
    assert not np.array_equal(none, others[0])
    scales = safetensors.torch.load_file(gan / "release" / WEIGHTS)["blocks.0.norm1.scale.weight"]
    assert scales.shape == (3, 8)
    assert not torch.equal(scales[2], torch.ones(8))  # some classes were hidden in training


def test_an_unconditional_model(run_cli, tmp_path) -> None:
    (tmp_path / "none.yaml").write_text(yaml.safe_dump(UNCONDITIONAL))
    outcome = fit(run_cli, "ssgan", tmp_path / "run", "--config", tmp_path / "none.yaml")
    assert outcome.code == 0, outcome.err
    assert len(samples(run_cli, tmp_path / "run" / "release", tmp_path / "samples")) == 6
    refused = run_cli(
        "sample",
        "--model",
        tmp_path / "run" / "release",
        "--count",
        1,
        "--labels",
        "0",
        "--out",
        tmp_path / "no",
    )
    assert refused.code == 2


@pytest.mark.parametrize(
    ("argument", "value", "named"),
    [
        ("--steps", 2, "a model of the family gan samples in 1"),
        ("--guidance", 3, "guidance is 3: a model of the family gan has none"),
        ("--scheduler", "DDIMScheduler", "a model of the family gan has none"),
    ],
)
def test_what_only_a_diffusion_model_has_is_refused(
    run_cli, gans, tmp_path, argument, value, named
) -> None:
    model = gans("sngan") / "release"
    outcome = run_cli(
        "sample", "--model", model, "--count", 1, argument, value, "--out", tmp_path / "no"
    )
    assert outcome.code == 2
    assert named in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"_class_name": "ResnetDiscriminator"}, "ResnetDiscriminator"),
        ({"num_class_embeds": 4}, "must have the shape"),
        ({"num_class_embeds": None}, "must have the shape"),
        ({"sample_size": 16}, "must have the shape"),
        ({"sample_size": 4097}, "sample_size is 4097"),
        ({"latent_dim": 10**9}, "'latent_dim' must be"),
        ({"block_out_channels": [8] * 17}, "a list of at most 16"),
        ({"block_out_channels": [8192, 8192]}, "block_out_channels[0] is 8192"),
        ({"block_out_channels": "88"}, "cannot be built"),
        ({"block_out_channels": None}, "cannot be built"),
        ({"depth": 3}, "refused the key"),
    ],
)
def test_a_received_configuration_is_checked(run_cli, gans, tmp_path, setting, named) -> None:
    release = shutil.copytree(gans("sngan") / "release", tmp_path / "release")
    file = release / "generator" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | setting))
    sign(release, "generator/config.json")
    refuse(run_cli, release, named)


def test_received_labels_and_weights_are_checked(run_cli, gans, tmp_path) -> None:
    release = shutil.copytree(gans("sngan") / "release", tmp_path / "release")
    card = json.loads((release / "diffshare.json").read_text())
    changed = card | {"labels": ["a", "b", "c"], "label_frequencies": None}
    (release / "diffshare.json").write_text(json.dumps(changed))
    refuse(run_cli, release, "does not fit the card (3 labels, image_size 8)")
    (release / "diffshare.json").write_text(json.dumps(card))
    weights = safetensors.torch.load_file(release / WEIGHTS)
    safetensors.torch.save_file(weights | {"norm.variance": -torch.ones(8)}, release / WEIGHTS)
    refuse(run_cli, release, "does not have the hash")
    sign(release, WEIGHTS)
    refuse(run_cli, release, "values that are not finite")
    shutil.rmtree(release / "generator")
    del card["files"][WEIGHTS], card["files"]["generator/config.json"]
    (release / "diffshare.json").write_text(json.dumps(card))
    refuse(run_cli, release, "has no generator/config.json")


def sign(release: Path, name: str) -> None:
    """Put the hash that a file has now into the card."""
    card = json.loads((release / "diffshare.json").read_text())
    card["files"][name] = hashlib.sha256((release / name).read_bytes()).hexdigest()
    (release / "diffshare.json").write_text(json.dumps(card))


def refuse(run_cli: Any, release: Path, named: str) -> None:
    outcome = run_cli(
        "sample", "--model", release, "--count", 1, "--out", release.parent / "samples"
    )
    assert outcome.code == 2, outcome.err
    assert named in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (release.parent / "samples").exists()


# --- collapse ---


def test_the_deviation_is_within_a_class() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 0, 1, 1, 1, 2])
    x = rng.integers(0, 256, (7, 4, 4, 3), np.uint8)
    x[3:6] = x[3]  # class 1 has one image, which differs from the others
    found = deviations(x, labels)
    assert set(found) == {0, 1}
    assert found[0] == pytest.approx(np.sqrt(((x[:3] - x[:3].mean(0)) ** 2).mean(0)).mean())
    assert found[1] == 0
    with pytest.warns(
        UserWarning, match="the GAN has collapsed: its samples of class 'b' are all equal"
    ) as caught:
        warn_of_collapse(found, ("a", "b", "c"))
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="its samples are all equal within 1 grey level"):
        warn_of_collapse({-1: 0.4}, ("a", "b"))


def test_a_collapsed_model_is_named_when_it_is_sampled_and_validated(
    run_cli, gans, tmp_path
) -> None:
    run = shutil.copytree(gans("sngan"), tmp_path / "run")
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["state_dict"]["generator.end.weight"].zero_()
    torch.save(checkpoint, run / "checkpoints" / "last.ckpt")
    with pytest.warns(UserWarning, match="the GAN has collapsed") as caught:
        outcome = run_cli("validate", "--run-dir", run)
    assert outcome.code == 0, outcome.err
    assert {str(w.message).split("'")[1] for w in caught} <= {"not Smiling", "Smiling"}
    made = run_cli(
        "release", "--ckpt", run / "checkpoints" / "last.ckpt", "--out", tmp_path / "collapsed"
    )
    assert made.code == 0, made.err
    for labels, named in (
        ("0", "its samples of class 'not Smiling' are all equal"),
        ("none", "its samples are all"),
    ):
        with pytest.warns(UserWarning, match=named):
            samples(run_cli, tmp_path / "collapsed", tmp_path / labels, "--labels", labels)
