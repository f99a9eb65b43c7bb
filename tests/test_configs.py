"""Every config parses against the real signatures, and every whole one trains a shrunk step and ends with a release.

Configs are found, not listed: a new one is tested without a word here.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonargparse import ArgumentParser
from PIL import Image

from diffshare.data.source import Source
from diffshare.release.folder import open_release

CONFIGS = Path(__file__).parent.parent / "configs"
BASES = sorted(CONFIGS.glob("*.yaml"))
SOURCES = sorted(CONFIGS.glob("source/*.yaml"))
STUDIES = sorted(CONFIGS.glob("study/*.yaml"))  # built in tests/study
OVERLAYS = sorted({*CONFIGS.glob("*/*.yaml")} - {*SOURCES, *STUDIES})
ATTRIBUTES = ("Smiling", "Male")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in CelebA's layout: each combination of attributes and partition holds as many records."""
    root = tmp_path_factory.mktemp("faces")
    (root / "img_align_celeba").mkdir()
    rng = np.random.default_rng(0)
    rows, parts = [], []
    for i in range(60):
        name, cell = f"{i + 1:06d}.jpg", (i // 3) % 4
        picture = Image.fromarray(rng.integers(0, 256, (11, 9, 3), np.uint8)).resize((178, 218))
        picture.save(root / "img_align_celeba" / name)
        rows.append(f"{name} {1 if cell % 2 else -1:2d} {1 if cell // 2 else -1:2d}")
        parts.append(f"{name} {i % 3}")
    (root / "list_attr_celeba.txt").write_text("\n".join([str(len(rows)), " ".join(ATTRIBUTES), *rows]) + "\n")
    (root / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return root


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IDX files of 100 digits, each as often as any other."""
    root = tmp_path_factory.mktemp("digits")
    pixels = np.random.default_rng(0).integers(0, 256, (100, 28, 28), np.uint8)
    (root / "images").write_bytes(struct.pack(">4I", 0x803, 100, 28, 28) + pixels.tobytes())
    (root / "labels").write_bytes(struct.pack(">2I", 0x801, 100) + bytes(i % 10 for i in range(100)))
    return root


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-10's binary version with 20 records a file, each class as often as any other."""
    root = tmp_path_factory.mktemp("cifar10")
    rng = np.random.default_rng(0)
    for file in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        (root / file).write_bytes(b"".join(bytes([i % 10]) + rng.bytes(3072) for i in range(20)))
    classes = "airplane automobile bird cat deer dog frog horse ship truck"
    (root / "batches.meta.txt").write_text("\n".join(classes.split()) + "\n")
    return root


@pytest.fixture(scope="module")
def places(faces: Path, digits: Path, cifar10: Path) -> dict[str, dict[str, Any]]:
    """Options of a source by its class: where its small stand-in lies."""
    return {
        "CelebA": {"root": faces},
        "RenderedFaces": {"count": 80},
        "IDX": {"images": digits / "images", "labels": digits / "labels"},
        "CIFAR10": {"root": cifar10},
    }


def shrunk(config: Path, places: dict[str, dict[str, Any]]) -> list[Any]:
    """Overrides that make a config cheap: by what is in it, not by its name."""
    content = yaml.safe_load(config.read_text())
    options: dict[str, Any] = {"trainer.max_steps": 1, "trainer.enable_progress_bar": "false", "data.batch_size": 4}
    options["trainer.limit_val_batches"] = 1
    model, data = (content[part]["init_args"] for part in ("model", "data"))
    if model.get("denoiser", {}).get("class_path") == "diffusers.UNet2DModel":
        blocks = len(model["denoiser"]["init_args"]["block_out_channels"])
        options["model.denoiser.block_out_channels"] = [8] * blocks
        options |= {"model.denoiser.layers_per_block": 1, "model.denoiser.norm_num_groups": 4}
        options |= {"model.denoiser.attention_head_dim": 4, "model.sampling_steps": 2}
    kind = data.get("source", {}).get("class_path", "").rpartition(".")[2]
    if kind in places:
        options |= {f"data.source.{key}": value for key, value in ({"image_size": 8} | places[kind]).items()}
    return [argument for key, value in options.items() for argument in (f"--{key}", value)]


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS).with_suffix(""))


def test_every_file_is_tested_here():
    assert min(len(BASES), len(OVERLAYS), len(SOURCES)) > 1
    assert {path for path in CONFIGS.rglob("*") if path.is_file()} == {*BASES, *OVERLAYS, *SOURCES, *STUDIES}


@pytest.mark.parametrize("config", BASES, ids=name)
@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_a_config_parses_as_it_is(run_cli, config, verb):
    outcome = run_cli(verb, "--config", config, "--print_config")
    assert outcome.code == 0, outcome.err
    parsed = yaml.safe_load(outcome.out)
    given = yaml.safe_load(config.read_text())
    for part in ("model", "data"):
        assert parsed[part]["class_path"] == given[part]["class_path"]
    assert parsed["trainer"]["max_steps"] == given["trainer"]["max_steps"]


@pytest.mark.parametrize("config", BASES, ids=name)
@pytest.mark.parametrize("overlay", OVERLAYS, ids=name)
def test_an_overlay_fits_every_config_and_wins(run_cli, config, overlay):
    outcome = run_cli("fit", "--config", config, "--config", overlay, "--print_config")
    assert outcome.code == 0, outcome.err

    def check(given: Any, parsed: Any) -> None:
        if isinstance(given, dict):
            for key, value in given.items():
                check(value, parsed[key])
        elif not isinstance(given, list):
            assert parsed == given

    parsed = yaml.safe_load(outcome.out)
    check(yaml.safe_load(overlay.read_text()), parsed)
    assert parsed["data"]["init_args"]["source"] is not None


@pytest.mark.parametrize("config", SOURCES, ids=name)
def test_a_source_file_makes_a_source(config):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--auxiliary", type=Source, sub_configs=True)
    source = parser.instantiate(parser.parse_args([f"--auxiliary={config}"])).auxiliary
    assert isinstance(source, Source)
    assert type(source).__name__ == yaml.safe_load(config.read_text())["class_path"].rpartition(".")[2]


@pytest.mark.parametrize("config", BASES, ids=name)
def test_a_shrunk_step_ends_with_a_release(run_cli, places, tmp_path, config):
    outcome = run_cli("fit", "--config", config, *shrunk(config, places), "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    release = open_release(tmp_path / "run" / "release")
    assert release.card.image_size == 8
    target = yaml.safe_load(config.read_text())["data"]["init_args"]["target"]
    assert [label.removeprefix("not ") for label in release.card.labels] == [target, target]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=name)
def test_a_shrunk_step_with_an_overlay_ends_with_a_release(run_cli, places, tmp_path, overlay):
    config = CONFIGS / "ddpm_celeba.yaml"
    options = shrunk(config, places)
    if overlay.stem == "listed":  # the one mix that reads a file: another mix writes it first
        made = run_cli("mix", "--config", config, *options, "--out", tmp_path / "mix")
        assert made.code == 0, made.err
        options += ["--data.mix.manifest", tmp_path / "mix"]
    mix = (yaml.safe_load(overlay.read_text()) or {}).get("data", {}).get("init_args", {}).get("mix", {})
    if "delta" in mix.get("init_args", {}):  # twenty pictures of noise say nothing of the target: no relative delta
        options += ["--data.mix.delta_kind", "absolute", "--data.mix.critic.max_epochs", 2]
    outcome = run_cli("fit", "--config", config, "--config", overlay, *options, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert open_release(tmp_path / "run" / "release").card.family == "ddpm"
