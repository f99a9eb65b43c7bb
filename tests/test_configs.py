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
from diffshare.data.table import Adult
from diffshare.nets.autoencoders import kl_autoencoder
from diffshare.release.folder import open_release
from diffshare.release.samples import write_samples

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
    (root / "list_attr_celeba.txt").write_text(
        "\n".join([str(len(rows)), " ".join(ATTRIBUTES), *rows]) + "\n"
    )
    (root / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return root


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IDX files of 100 digits, each as often as any other."""
    root = tmp_path_factory.mktemp("digits")
    pixels = np.random.default_rng(0).integers(0, 256, (100, 28, 28), np.uint8)
    (root / "images").write_bytes(struct.pack(">4I", 0x803, 100, 28, 28) + pixels.tobytes())
    (root / "labels").write_bytes(
        struct.pack(">2I", 0x801, 100) + bytes(i % 10 for i in range(100))
    )
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
def adult(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """UCI Adult's files with 40 rows each, and as many in ``samples.csv``."""
    root = tmp_path_factory.mktemp("adult")
    texts = [
        ("Private", "State-gov"),
        ("Bachelors", "Masters"),
        ("Divorced", "Widowed"),
        ("Sales", "Tech-support"),
    ]
    texts += [
        ("Husband", "Wife"),
        ("White", "Black"),
        ("Male", "Female"),
        ("Cuba", "Peru"),
        ("<=50K", ">50K"),
    ]
    rows = []
    for i in range(40):
        work, school, married, job, role, race, sex, land, income = (
            pair[i // k % 2] for k, pair in enumerate(texts, 1)
        )
        first = f"{20 + i}, {work}, {70000 + i}, {school}, {9 + i % 4}, {married}, {job}, {role}, {race}, {sex}"
        rows.append(f"{first}, {i % 3}, {i % 7}, {30 + i}, {land}, {income}")
    (root / "adult.data").write_text("\n".join(rows) + "\n")
    (root / "adult.test").write_text("|1x3 Cross validator\n" + ".\n".join([*rows, ""]))
    header = ",".join(column.name for column in Adult(str(root)).columns)
    (root / "samples.csv").write_text(
        "\n".join([header, *(row.replace(", ", ",") for row in rows)]) + "\n"
    )
    return root


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A samples folder of 40 images."""
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    write_samples(folder := tmp_path_factory.mktemp("samples") / "images", x, np.arange(40) % 2, {})
    return folder


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VAE of a few thousand weights that halves an image's side."""
    folder = tmp_path_factory.mktemp("vae")
    network = kl_autoencoder(
        block_out_channels=[8, 8], layers_per_block=1, norm_num_groups=4, attention=False
    )
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def places(
    faces: Path, digits: Path, cifar10: Path, adult: Path, samples: Path, vae: Path
) -> dict[str, dict[str, Any]]:
    """Options of a source by its class, of a model that needs a VAE, of samples: where the small stand-in lies."""
    return {
        "LatentDiffusion": {"vae": vae},
        "samples": {"CelebA": samples, "Adult": adult},
        "Adult": {"root": adult},
        "CelebA": {"root": faces},
        "RenderedFaces": {"count": 80},
        "IDX": {"images": digits / "images", "labels": digits / "labels"},
        "CIFAR10": {"root": cifar10},
    }


def shrunk(config: Path, places: dict[str, dict[str, Any]]) -> list[Any]:
    """Overrides that make a config cheap: by what is in it, not by its name."""
    content = yaml.safe_load(config.read_text())
    options: dict[str, Any] = {
        "trainer.max_steps": 1,
        "trainer.enable_progress_bar": "false",
        "data.batch_size": 4,
    }
    options["trainer.limit_val_batches"] = 1
    model, data = (content[part]["init_args"] for part in ("model", "data"))
    for part in ("denoiser", "network"):
        blocks = model.get(part, {}).get("init_args", {}).get("block_out_channels", [])
        if blocks:
            options[f"model.{part}.block_out_channels"] = [8] * len(blocks)
            options |= {f"model.{part}.layers_per_block": 1, f"model.{part}.norm_num_groups": 4}
    if has_unet(content):
        options |= {"model.denoiser.attention_head_dim": 4, "model.sampling_steps": 2}
    if "discriminator_steps" in model:
        options |= {"model.generator.block_out_channels": [8, 8], "model.generator.sample_size": 8}
        options |= {
            "model.discriminator.block_out_channels": [8, 8],
            "model.discriminator.halvings": 1,
        }
        options |= {"model.discriminator_steps": 2}
    kind = content["model"]["class_path"].rpartition(".")[2]
    options |= {f"model.{key}": value for key, value in places.get(kind, {}).items()}
    for part in {"source", "test_source"} & set(data):
        kind = data[part]["class_path"].rpartition(".")[2]
        size = {} if kind == "Adult" else {"image_size": 8}
        options |= {f"data.{part}.{key}": value for key, value in (size | places[kind]).items()}
        if "samples" in data:
            options["data.samples"] = places["samples"][kind]
    return [argument for key, value in options.items() for argument in (f"--{key}", value)]


def has_unet(content: dict[str, Any]) -> bool:
    """Whether a config's model has diffusers' U-Net, whose settings some overlays change."""
    return (
        content["model"]["init_args"].get("denoiser", {}).get("class_path")
        == "diffusers.UNet2DModel"
    )


def trains_shadows(config: Path) -> bool:
    """Whether the config trains generators before its own first step: tests/receiver/meta does that on small ones."""
    return "generator" in yaml.safe_load(config.read_text())["data"]["init_args"]


def fits(overlay: Path, config: Path) -> bool:
    """Whether the overlay changes only what the config has."""
    changed, content = (yaml.safe_load(file.read_text()) or {} for file in (overlay, config))
    if "denoiser" in changed.get("model", {}).get("init_args", {}) and not has_unet(content):
        return False
    return "mix" in content["data"]["init_args"] or "data" not in changed


def shape(part: str, content: dict[str, Any]) -> tuple[Any, ...]:
    """What tells the model or the data of one config from those of another, beside the values in it."""
    given = content[part]
    inner = given["init_args"]
    classes = {
        key: value["class_path"] for key, value in inner.items() if "class_path" in str(value)
    }
    if "source" in classes:  # which pictures is of no matter, pictures or rows is
        classes["source"] = classes["source"].rpartition(".")[2] == "Adult"
    return given["class_path"], tuple(inner), tuple(classes.items())


def one_of_each(configs: list[Path], parts: tuple[str, ...] = ("model", "data")) -> list[Path]:
    """The first config of each shape of these parts."""
    first: dict[Any, Path] = {}
    for config in configs:
        content = yaml.safe_load(config.read_text())
        first.setdefault(tuple(shape(part, content) for part in parts), config)
    return list(first.values())


def meets(overlay: Path) -> list[Path]:
    """Configs that an overlay is laid over: one of each shape of the parts that it changes."""
    changed = tuple({"model", "data"} & set(yaml.safe_load(overlay.read_text()) or {}))
    return one_of_each(
        [config for config in BASES if fits(overlay, config)], tuple(sorted(changed))
    )


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS).with_suffix(""))


def test_every_file_is_tested_here():
    assert min(len(BASES), len(OVERLAYS), len(SOURCES)) > 1
    assert {path for path in CONFIGS.rglob("*") if path.is_file()} == {
        *BASES,
        *OVERLAYS,
        *SOURCES,
        *STUDIES,
    }


@pytest.mark.parametrize(
    ("config", "verb"),
    [(config, "fit") for config in BASES]
    + [(c, verb) for c in one_of_each(BASES) for verb in ("validate", "test", "predict")],
    ids=lambda value: name(value) if isinstance(value, Path) else value,
)
def test_a_config_parses_as_it_is(run_cli, config, verb):
    outcome = run_cli(verb, "--config", config, "--print_config")
    assert outcome.code == 0, outcome.err
    parsed = yaml.safe_load(outcome.out)
    given = yaml.safe_load(config.read_text())
    for part in ("model", "data"):
        assert parsed[part]["class_path"] == given[part]["class_path"]
    assert parsed["trainer"]["max_steps"] == given["trainer"]["max_steps"]


@pytest.mark.parametrize(
    ("config", "overlay"),
    [(config, overlay) for overlay in OVERLAYS for config in meets(overlay)],
    ids=lambda path: name(path),
)
def test_an_overlay_fits_every_shape_of_what_it_changes_and_wins(run_cli, config, overlay):
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
    assert (
        type(source).__name__ == yaml.safe_load(config.read_text())["class_path"].rpartition(".")[2]
    )


@pytest.mark.parametrize("config", [c for c in BASES if not trains_shadows(c)], ids=name)
def test_a_shrunk_step_ends_with_what_its_kind_leaves(run_cli, places, tmp_path, config):
    outcome = run_cli(
        "fit", "--config", config, *shrunk(config, places), "--run-dir", tmp_path / "run"
    )
    assert outcome.code == 0, outcome.err
    content = yaml.safe_load(config.read_text())
    # only generators make a release
    if not content["model"]["class_path"].startswith("diffshare.generators."):
        assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
        assert not (tmp_path / "run" / "release").exists()
        return
    release = open_release(tmp_path / "run" / "release")
    assert release.card.image_size == (8 if release.card.modality == "image" else None)
    # an autoencoder knows no classes, a table names them as its file does
    if not has_unet(content):
        return
    target = content["data"]["init_args"]["target"]
    assert [label.removeprefix("not ") for label in release.card.labels] == [target, target]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=name)
def test_a_shrunk_step_with_an_overlay_ends_with_a_release(run_cli, places, tmp_path, overlay):
    config = CONFIGS / "ddpm_celeba.yaml"
    options = shrunk(config, places)
    if overlay.stem == "listed":  # the one mix that reads a file: another mix writes it first
        made = run_cli("mix", "--config", config, *options, "--out", tmp_path / "mix")
        assert made.code == 0, made.err
        options += ["--data.mix.manifest", tmp_path / "mix"]
    mix = (
        (yaml.safe_load(overlay.read_text()) or {})
        .get("data", {})
        .get("init_args", {})
        .get("mix", {})
    )
    # twenty pictures of noise say nothing of the target: no relative delta
    if "delta" in mix.get("init_args", {}):
        options += ["--data.mix.delta_kind", "absolute", "--data.mix.critic.max_epochs", 2]
    outcome = run_cli(
        "fit", "--config", config, "--config", overlay, *options, "--run-dir", tmp_path / "run"
    )
    assert outcome.code == 0, outcome.err
    assert open_release(tmp_path / "run" / "release").card.family == "ddpm"
