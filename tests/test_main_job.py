"""The main job from end to end, tiny: fit, release, sample, predict, validate, test, mix."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, UNet2DModel
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from diffshare.generators.families import open_generator
from diffshare.release.samples import read_samples

ROOT = Path(__file__).parent.parent
FACES = ["--config", ROOT / "configs" / "ddpm_faces.yaml"]
TINY = (
    ["--trainer.enable_progress_bar", "false"]
    + ["--model.denoiser.block_out_channels", "[8,8,8,8]", "--model.denoiser.norm_num_groups", "4"]
    + ["--data.source.count", "600", "--data.source.image_size", "8", "--data.batch_size", "16"]
    + [
        "--trainer.max_steps",
        "6",
        "--trainer.val_check_interval",
        "3",
        "--trainer.log_every_n_steps",
        "2",
    ]
    + ["--model.sampling_steps", "3"]
)
Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, run_cli: Cli) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("main") / "run"
    overlay = ["--config", ROOT / "configs" / "mix" / "proportion.yaml"]
    outcome = run_cli("fit", *FACES, *overlay, *TINY, "--data.mix.n", "100", "--run-dir", folder)
    assert outcome.code == 0, outcome.err
    assert "release" in outcome.out
    return folder


@pytest.fixture(scope="module")
def unconditional(tmp_path_factory: pytest.TempPathFactory, run_cli: Cli) -> Path:
    """The folder of a finished run of an unconditional model."""
    folder = tmp_path_factory.mktemp("main") / "unconditional"
    overlay = ["--config", ROOT / "configs" / "condition" / "none.yaml"]
    outcome = run_cli(
        "fit", *FACES, *overlay, *TINY, "--data.validation_share", 0, "--run-dir", folder
    )
    assert outcome.code == 0, outcome.err
    return folder


def test_a_run_leaves_what_the_contract_names(run: Path) -> None:
    for name in (
        "config.yaml",
        "checkpoints/last.ckpt",
        "release/diffshare.json",
        "release/README.md",
        "run.json",
    ):
        assert (run / name).is_file(), name
    facts = json.loads((run / "run.json").read_text())
    assert facts["seed"] == 0
    assert "torch" in facts["versions"]
    chosen = json.loads((run / "mix" / "mix.json").read_text())
    assert chosen["n"] == 100
    assert chosen["counts"]["s1y0"] + chosen["counts"]["s1y1"] == 30
    assert not list(run.rglob("*.part"))


def test_the_log_shows_what_a_person_follows(run: Path) -> None:
    log = EventAccumulator(str(run), size_guidance={"images": 0}).Reload()
    scalars = set(log.Tags()["scalars"])
    assert {
        "train/loss",
        "val/loss",
        "val/loss_t0000-0249",
        "val/loss_t0750-0999",
        "images_per_second",
    } <= scalars
    assert any(tag.startswith("lr-") for tag in scalars)
    assert "samples" in log.Tags()["images"]
    assert "data/mix/text_summary" in log.Tags()["tensors"]
    assert [event.step for event in log.Scalars("val/loss")] == [2, 5]


def test_the_release_holds_the_averaged_weights(run: Path) -> None:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    released = load_file(run / "release" / "unet" / "diffusion_pytorch_model.safetensors")
    raw = checkpoint["current_model_state"]
    for name, value in released.items():
        assert torch.equal(value, checkpoint["state_dict"][f"denoiser.{name}"])
    assert any(not torch.equal(value, raw[f"denoiser.{name}"]) for name, value in released.items())


def test_diffusers_loads_the_parts(run: Path, unconditional: Path) -> None:
    network = UNet2DModel.from_pretrained(run / "release" / "unet")
    assert network.config.sample_size == 8
    pipeline = DDPMPipeline.from_pretrained(unconditional / "release")
    assert isinstance(pipeline.unet, UNet2DModel)


def test_release_of_the_checkpoint_is_the_release_of_the_run(
    run: Path, run_cli: Cli, tmp_path: Path
) -> None:
    outcome = run_cli(
        "release", "--ckpt", run / "checkpoints" / "last.ckpt", "--out", tmp_path / "again"
    )
    assert outcome.code == 0, outcome.err
    first, second = (
        json.loads((f / "diffshare.json").read_text())
        for f in (run / "release", tmp_path / "again")
    )
    assert first == second


def test_what_is_declared_is_the_sharers_choice(run: Path, run_cli: Cli, tmp_path: Path) -> None:
    card = json.loads((run / "release" / "diffshare.json").read_text())
    assert card["declared"] is card["declared_names"] is None
    assert sum(card["label_frequencies"]) == pytest.approx(1)
    counts = json.loads((run / "mix" / "mix.json").read_text())["counts"]
    exact = (counts["s0y1"] + counts["s1y1"]) / 100
    assert abs(card["label_frequencies"][1] - exact) <= 0.01
    # not the exact counts
    assert all(round(share, 2) == share for share in card["label_frequencies"])
    ckpt = ["--ckpt", run / "checkpoints" / "last.ckpt", "--out", tmp_path / "r"]
    assert (
        run_cli("release", *ckpt, "--declare_labels", "false", "--declare_counts", "true").code == 0
    )
    card = json.loads((tmp_path / "r" / "diffshare.json").read_text())
    assert card["label_frequencies"] is None
    assert card["declared"] == json.loads((run / "mix" / "mix.json").read_text())["counts"]
    names = {"groups": ["not Male", "Male"], "classes": ["not Smiling", "Smiling"]}
    assert card["declared_names"] == {"sensitive": "Male", "target": "Smiling"} | names
    assert card["target"] == "Smiling"
    refused = run_cli(
        "sample",
        "--model",
        tmp_path / "r",
        "--count",
        4,
        "--labels",
        "natural",
        "--out",
        tmp_path / "s",
    )
    assert refused.code == 2
    assert "frequencies" in refused.err


def test_samples_are_the_same_again_and_to_one_grey_level_in_other_batches(
    run: Path, run_cli: Cli, tmp_path: Path
) -> None:
    common = [
        "sample",
        "--model",
        run / "release",
        "--count",
        12,
        "--labels",
        "balanced",
        "--seed",
        5,
    ]
    for name, extra in {"a": [], "b": [], "c": ["--batch-size", 5]}.items():
        outcome = run_cli(*common, *extra, "--out", tmp_path / name)
        assert outcome.code == 0, outcome.err
    a, b, c = (read_samples(tmp_path / name) for name in "abc")
    assert np.array_equal(a.x, b.x)
    assert np.abs(a.x.astype(int) - c.x).max() <= 1
    assert np.bincount(a.y).tolist() == [6, 6]
    info = json.loads((tmp_path / "a" / "samples.json").read_text())
    assert info["queries"] == 12
    assert info["network_calls"] == 12 * 3
    assert info["model"]["name"] == "release"
    with Image.open(tmp_path / "a" / "grid.png") as grid:
        assert grid.width >= 64


@pytest.mark.parametrize(
    ("labels", "expected"), [("none", {-1}), ("1", {1}), ("natural", {0, 1}), (None, {0, 1})]
)
def test_labels(
    run: Path, run_cli: Cli, tmp_path: Path, labels: str | None, expected: set[int]
) -> None:
    chosen = [] if labels is None else ["--labels", labels]
    outcome = run_cli(
        "sample", "--model", run / "release", "--count", 6, *chosen, "--out", tmp_path / "s"
    )
    assert outcome.code == 0, outcome.err
    assert set(read_samples(tmp_path / "s").y.tolist()) == expected


def test_an_unconditional_model_is_sampled_without_labels(
    unconditional: Path, run_cli: Cli, tmp_path: Path
) -> None:
    model = ["sample", "--model", unconditional / "release", "--count", 4]
    assert run_cli(*model, "--out", tmp_path / "s").code == 0
    assert set(read_samples(tmp_path / "s").y.tolist()) == {-1}
    refused = run_cli(*model, "--labels", "balanced", "--out", tmp_path / "t")
    assert refused.code == 2
    assert "none" in refused.err


def test_guidance_costs_two_passes_and_is_counted(run: Path) -> None:
    generator, _ = open_generator(run / "release")
    labels = np.asarray([0, 1, 1])
    plain = generator.sample(labels, np.arange(3), seed=0, steps=2)
    guided = generator.sample(labels, np.arange(3), seed=0, steps=2, guidance=3.0)
    assert (plain != guided).any()
    assert generator.ledger.queries == 6
    assert generator.ledger.network_calls == 3 * 2 + 3 * 2 * 2
    assert dict(generator.ledger.by_label) == {0: 2, 1: 4}


def test_predict_draws_what_sample_draws(run: Path, run_cli: Cli) -> None:
    outcome = run_cli(
        "predict", "--run-dir", run, "--data.predict_count", 6, "--trainer.precision", "32-true"
    )
    assert outcome.code == 0, outcome.err
    predicted = read_samples(run / "samples")
    assert (predicted.info["classes"], predicted.info["target"]) == (
        ["not Smiling", "Smiling"],
        "Smiling",
    )
    generator, _ = open_generator(run / "release")
    drawn = generator.sample(predicted.y, np.arange(6), seed=0)
    assert np.abs(predicted.x.astype(int) - drawn).max() <= 1
    again = run_cli("predict", "--run-dir", run, "--data.predict_count", 6)
    assert again.code == 2
    assert "already holds samples" in again.err


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_losses_are_measured_on_the_averaged_weights(run: Path, run_cli: Cli, verb: str) -> None:
    outcome = run_cli(verb, "--run-dir", run)
    assert outcome.code == 0, outcome.err
    results = json.loads(
        (run / {"validate": "validation.json", "test": "results.json"}[verb]).read_text()
    )
    stage = {"validate": "val", "test": "test"}[verb]
    bands = [v for k, v in results.items() if k.startswith(f"{stage}/loss_t")]
    assert len(bands) == 4
    if verb == "validate":  # the last validation of the run saw the same records, noise and weights
        log = EventAccumulator(str(run)).Reload()
        assert results["val/loss"] == pytest.approx(log.Scalars("val/loss")[-1].value, rel=1e-5)


def test_mix_writes_the_manifest_that_fit_trains_on(
    run: Path, run_cli: Cli, tmp_path: Path
) -> None:
    overlay = ["--config", ROOT / "configs" / "mix" / "proportion.yaml"]
    outcome = run_cli(
        "mix", *FACES, *overlay, *TINY, "--data.mix.n", "100", "--out", tmp_path / "mix"
    )
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "mix" / "records.csv").read_bytes() == (
        run / "mix" / "records.csv"
    ).read_bytes()


def test_a_used_run_folder_is_not_overwritten(run: Path, run_cli: Cli) -> None:
    outcome = run_cli("fit", *FACES, *TINY, "--run-dir", run)
    assert outcome.code == 2
    assert "already holds a run" in outcome.err
