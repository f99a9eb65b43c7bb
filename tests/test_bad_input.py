"""Mistakes of the user: exit status 2, one line that names the thing and the remedy, nothing half-written."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffshare.cli import VERBS

CONFIGS = Path(__file__).parent.parent / "configs"
IMAGES, ATTRIBUTES, PARTITION = (
    "img_align_celeba",
    "list_attr_celeba.txt",
    "list_eval_partition.txt",
)
N = 24  # records of the small CelebA folder: 12 of the sharer, 6 auxiliary, 6 test
NETWORK = (
    ["--model.denoiser.block_out_channels", "[8,8,8,8]", "--model.denoiser.norm_num_groups", "4"]
    + ["--model.denoiser.layers_per_block", "1", "--model.denoiser.attention_head_dim", "4"]
    + ["--model.sampling_steps", "2", "--trainer.enable_progress_bar", "false"]
)
DATA = ["--data.source.image_size", "8", "--data.batch_size", "4"]
FACES = ["--config", str(CONFIGS / "ddpm_faces.yaml"), "--data.source.count", "60", *DATA]
PROPORTION = ["--config", str(CONFIGS / "mix" / "proportion.yaml")]
Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("celeba") / "faces"
    (root / IMAGES).mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, parts = [], []
    for i in range(N):
        name = f"{i + 1:06d}.jpg"
        Image.fromarray(rng.integers(0, 256, (218, 178, 3), np.uint8)).save(root / IMAGES / name)
        rows.append(f"{name} {1 if i % 2 else -1} {1 if i // 2 % 2 else -1}")
        parts.append(f"{name} {0 if i < 12 else 1 if i < 18 else 2}")
    (root / ATTRIBUTES).write_text("\n".join([str(N), "Male Smiling", *rows]) + "\n")
    (root / PARTITION).write_text("\n".join(parts) + "\n")
    return root


@pytest.fixture
def celeba(pristine: Path, tmp_path: Path) -> Path:
    """A small folder in CelebA's layout, to be spoilt."""
    return Path(shutil.copytree(pristine, tmp_path / "faces"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, run_cli: Cli) -> Path:
    """The folder of a finished run of one step. No test changes it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    outcome = run_cli("fit", *FACES, *NETWORK, "--trainer.max_steps", 1, "--run-dir", folder)
    assert outcome.code == 0, outcome.err
    return folder


@pytest.fixture
def refused(run_cli: Cli) -> Callable[..., str]:
    """Run a command that must be refused; gives its one line."""

    def check(*arguments: Any) -> str:
        outcome = run_cli(*arguments)
        assert outcome.code == 2, f"status {outcome.code}: {outcome.err}"
        assert outcome.err.count("\n") == 1, outcome.err
        assert outcome.err.startswith("diffshare: ")
        assert len(outcome.err) < 600, outcome.err
        assert "Traceback" not in outcome.err
        return outcome.err

    return check


@pytest.fixture
def refused_fit(refused: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Run a fit that must be refused before its first step: it leaves no folder."""

    def check(*arguments: Any) -> str:
        folder = tmp_path / "run"
        line = refused("fit", *arguments, "--run-dir", folder)
        assert not folder.exists(), list(folder.rglob("*"))
        assert not list(tmp_path.rglob("*.part"))
        return line

    return check


@pytest.fixture
def refused_mix(refused: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Run a mix that must be refused; it leaves nothing."""

    def check(*arguments: Any) -> str:
        before = set(tmp_path.iterdir())
        line = refused("mix", *arguments, "--out", tmp_path / "mix")
        assert set(tmp_path.iterdir()) == before
        return line

    return check


def of(root: Path) -> list[Any]:
    return ["--config", CONFIGS / "ddpm_celeba.yaml", "--data.source.root", root, *DATA]


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


# --- the folder of the data ------------------------------------------------------------------------------------------


def spoil_image(root: Path) -> None:
    file = root / IMAGES / "000003.jpg"
    file.write_bytes(file.read_bytes()[:2000])


def no_men_smile(root: Path) -> None:
    file = root / ATTRIBUTES
    file.write_text(file.read_text().replace(".jpg 1 1", ".jpg 1 -1"))


SPOILT = {
    "missing folder": (shutil.rmtree, ["no folder", "put img_align_celeba/"]),
    "another layout": (
        lambda root: (root / ATTRIBUTES).rename(root / "attributes.csv"),
        ["is not CelebA's layout, it has no list_attr_celeba.txt", "put img_align_celeba/"],
    ),
    "no images": (
        lambda root: shutil.rmtree(root / IMAGES),
        ["it has no img_align_celeba/", "put"],
    ),
    "wrong count": (
        lambda root: replace(root / ATTRIBUTES, f"{N}\n", f"{N + 1}\n"),
        [ATTRIBUTES, f"says {N + 1} records but holds {N}", "restore the official file"],
    ),
    "no count": (
        lambda root: replace(root / ATTRIBUTES, f"{N}\n", "many\n"),
        [ATTRIBUTES, "line 1", "'many'", "restore the official file"],
    ),
    "truncated line": (
        lambda root: replace(root / ATTRIBUTES, "000003.jpg -1 1", "000003.jpg -1"),
        [ATTRIBUTES, "line 5", "2 fields", "restore the official file"],
    ),
    "other value": (
        lambda root: replace(root / ATTRIBUTES, "000003.jpg -1 1", "000003.jpg -1 0"),
        [ATTRIBUTES, "line 5", "'0' is not one of -1, 1", "mend that line"],
    ),
    "no partition": (
        lambda root: replace(root / PARTITION, "000003.jpg 0\n", ""),
        [PARTITION, "no line for 000003.jpg", "add its partition"],
    ),
    "image missing": (
        lambda root: (root / IMAGES / "000003.jpg").unlink(),
        [f"{IMAGES}/000003.jpg", "missing", "put it there or set on_bad_image: skip"],
    ),
    "image truncated": (
        spoil_image,
        [f"{IMAGES}/000003.jpg", "truncated", "replace the file or set on_bad_image: skip"],
    ),
    "image of another kind": (
        lambda root: (root / IMAGES / "000003.jpg").write_text("no picture"),
        [
            f"{IMAGES}/000003.jpg",
            "it is no JPEG, PNG, WEBP, TIFF, GIF or BMP file",
            "replace the file or set on_bad_image: skip",
        ],
    ),
}


@pytest.mark.parametrize("mistake", SPOILT)
def test_data_that_are_not_what_they_should_be(celeba, refused_mix, mistake):
    spoil, parts = SPOILT[mistake]
    spoil(celeba)
    line = refused_mix(*of(celeba))
    assert str(celeba) in line
    for part in parts:
        assert part in line


@pytest.mark.parametrize("mistake", ["missing folder", "truncated line", "image truncated"])
def test_fit_says_the_same_and_trains_nothing(celeba, refused_fit, mistake):
    spoil, parts = SPOILT[mistake]
    spoil(celeba)
    line = refused_fit(*of(celeba), *NETWORK)
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    "spoil", [spoil_image, SPOILT["image missing"][0]], ids=["truncated", "missing"]
)
def test_bad_images_are_skipped_and_counted_when_asked(celeba, run_cli, tmp_path, spoil, caplog):
    spoil(celeba)
    outcome = run_cli(
        "mix", *of(celeba), "--data.source.on_bad_image", "skip", "--out", tmp_path / "mix"
    )
    assert outcome.code == 0, outcome.err
    assert f"1 of {N} records cannot be decoded and are left out" in caplog.text
    with (tmp_path / "mix" / "records.csv").open() as stream:
        names = {row["record"] for row in csv.DictReader(stream)}
    assert "000003.jpg" not in names
    assert json.loads((tmp_path / "mix" / "mix.json").read_text())["pool_n"] == len(names)


def test_an_unknown_attribute_lists_those_that_there_are(celeba, refused_mix, refused_fit):
    for role in ("target", "sensitive"):
        line = refused_mix(*of(celeba), f"--data.{role}", "Beard")
        assert "unknown attribute 'Beard': choose one of Male, Smiling" in line
    assert "unknown attribute 'Beard'" in refused_fit(
        *of(celeba), *NETWORK, "--data.target", "Beard"
    )
    line = refused_mix(*of(celeba), "--data.source.attributes", "[Beard]")
    assert "unknown attribute 'Beard': choose one of Male, Smiling" in line


# --- the mix ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--data.mix.n", "1000"], ["n = 1000", "the pool has", "lower data.mix.n"]),
        (["--data.mix.n", "0"], ["mix.n is 0", "at least 1"]),
        (["--data.mix.n", "many"], ["data.mix.n", "expected int", "many"]),
        ([*PROPORTION, "--data.mix.p", "1.5"], ["mix.p is 1.5", "[0, 1]"]),
        ([*PROPORTION, "--data.mix.p", "-0.1"], ["mix.p is -0.1", "[0, 1]"]),
        ([*PROPORTION, "--data.mix.p", "half"], ["data.mix.p", "expected float", "half"]),
        (
            [*PROPORTION, "--data.mix.p", "1", "--data.mix.n", "30"],
            ["p = 1 of 'Male'", "the pool has", "data.mix.n"],
        ),
        (
            [*PROPORTION, "--data.mix.property", "Beard"],
            ["unknown attribute 'Beard'", "choose one of"],
        ),
        (
            [*PROPORTION, "--data.mix.value", "7"],
            ["unknown value of 'Male' '7'", "choose one of 'not Male', 'Male'"],
        ),
        (["--data.validation_share", "1"], ["data.validation_share is 1", "[0, 1)"]),
        (["--data.source.shares", "[0.5,0.5,0.5]"], ["shares [0.5, 0.5, 0.5]", "sum to 1"]),
        (
            ["--data.source.shares", "[0,0.5,0.5]"],
            ["sharer part", "no records", "change the source's shares"],
        ),
        (["--data.source.count", "0"], ["count 0", "1 or more"]),
    ],
)
def test_a_mix_that_cannot_be_had(refused_mix, options, parts):
    line = refused_mix(*FACES, *options)
    for part in parts:
        assert part in line


def test_too_few_records_stop_a_fit_too(refused_fit):
    assert "n = 1000" in refused_fit(*FACES, *NETWORK, "--data.mix.n", "1000")


def test_an_empty_cell_cannot_be_balanced(celeba, refused_mix):
    no_men_smile(celeba)
    line = refused_mix(*of(celeba), "--data.pool", "balanced", "--data.validation_share", "0")
    assert "empty cell of Male x Smiling" in line
    assert "Male, Smiling: 0" in line
    assert "not Male, Smiling: 3" in line
    assert "use data.pool natural" in line


def test_a_share_of_a_property_that_nobody_has(celeba, refused_mix):
    file = celeba / ATTRIBUTES
    file.write_text(file.read_text().replace(".jpg 1", ".jpg -1"))
    line = refused_mix(*of(celeba), *PROPORTION, "--data.validation_share", "0")
    assert "p = 0.3 of 'Male'" in line
    assert "0 with, 12 without" in line
    assert "change data.mix.p" in line


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--data.batch_size", "0"], ["data.batch_size is 0", "at least 1"]),
        (["--data.batch_size", "-4"], ["data.batch_size is -4", "at least 1"]),
        (["--data.batch_size", "1.5"], ["data.batch_size", "expected int", "1.5"]),
        (
            ["--data.batch_size", "5000"],
            ["records do not fill one batch", "lower data.batch_size to at most"],
        ),
        (["--data.eval_batch_size", "0"], ["data.eval_batch_size is 0", "at least 1"]),
        (["--data.source.image_size", "0"], ["image_size 0", "8 to 256"]),
        (["--data.source.image_size", "-8"], ["image_size -8", "8 to 256"]),
        (["--data.source.image_size", "1000000"], ["image_size 1000000", "8 to 256"]),
        (
            ["--data.source.image_size", "12"],
            ["12x12", "data.source.image_size to a multiple of 8"],
        ),
        (["--trainer.max_steps", "0"], ["no steps to train", "--trainer.max_steps"]),
        (["--trainer.max_steps", "-5"], ["max_steps", "non-negative", "-5"]),
        (
            ["--trainer.limit_train_batches", "0"],
            ["trainer.limit_train_batches is 0", "at least 1 batch"],
        ),
        (
            ["--trainer.accumulate_grad_batches", "0"],
            ["trainer.accumulate_grad_batches is 0", "at least 1"],
        ),
        (
            ["--trainer.precision", "64-true"],
            ["trainer.precision is 64-true", "use one of 32-true, bf16-mixed"],
        ),
        (
            ["--trainer.precision", "bf16-true"],
            ["trainer.precision is bf16-true", "use one of 32-true"],
        ),
        (["--seed_everything", "-1"], ["seed_everything is -1", "from 0 to 4294967295"]),
        (
            ["--seed_everything", "4294967296"],
            ["seed_everything is 4294967296", "from 0 to 4294967295"],
        ),
        (["--seed_everything", "true"], ["seed_everything is true", "give a number"]),
        (["--model.denoiser.class_embed_type", "identity"], ["DDPM cannot compute a loss", "mend"]),
        (["--model.denoiser.norm_num_groups", "0"], ["cannot be built", "by zero", "mend"]),
        (
            ["--model.scheduler.beta_schedule", "sigmoid"],
            ["model.scheduler", "does not sample", "sigmoid"],
        ),
        (
            [
                "--model.scheduler.rescale_betas_zero_snr",
                "true",
                "--model.scheduler.prediction_type",
                "epsilon",
            ],
            ["model.scheduler ends in noise alone", "v_prediction"],
        ),
        (["--model.optimizer.lr", "0"], ["model.optimizer", "is its lr 0"]),
        (["--trainer.max_steps", "ten"], ["trainer.max_steps", "expected int", "ten"]),
        (["--model.sampling_steps", "0"], ["model.sampling_steps is 0", "at least 1"]),
        (["--model.sampling_steps", "5000"], ["model.sampling_steps is 5000", "at most", "1000"]),
        (["--model.warmup_steps", "-1"], ["model.warmup_steps is -1", "at least 0"]),
        (
            ["--model.condition_dropout", "1"],
            ["model.condition_dropout is 1", "probability below 1"],
        ),
        (["--model.denoiser.num_class_embeds", "5"], ["num_class_embeds 5", "set it to 3"]),
        (["--model.denoiser.norm_num_groups", "3"], ["num_groups (3)", "mend"]),
        (
            ["--model.denoiser.block_out_channels", "[8,8]"],
            ["block_out_channels", "down_block_types", "mend"],
        ),
        (
            ["--model.scheduler.beta_schedule", "nonsense"],
            ["beta_schedule", "'squaredcos_cap_v2'", "nonsense"],
        ),
        (
            ["--model.scheduler.prediction_type", "sample"],
            ["'sample'", "use epsilon or v_prediction"],
        ),
        (["--model.optimizer.lr", "-1"], ["model.optimizer", "learning rate", "mend"]),
        (["--trainer.devices", "0"], ["devices", "mend"]),
        (
            ["--trainer.devices", "100000"],
            ["trainer.devices is 100000", "processor cores", "at most"],
        ),
        (["--trainer.accelerator", "abacus"], ["accelerator='abacus'", "Available names", "cpu"]),
        (["--data.sensitive", "Smiling"], ["are both 'Smiling'", "name two attributes"]),
        (["--checkpoint.every_n_batches", "0"], ["checkpoint.every_n_batches is 0", "at least 1"]),
    ],
)
def test_a_setting_that_makes_no_sense(refused_fit, options, parts):
    line = refused_fit(*FACES, *NETWORK, *options)
    for part in parts:
        assert part in line


def test_a_training_that_makes_no_step_releases_nothing(refused, refused_fit, run, tmp_path):
    """The trainer's own limit of time stops it before the first step; a run that was killed early has such a state."""
    line = refused_fit(*FACES, *NETWORK, "--trainer.max_time", "00:00:00:00")
    assert "no step was trained, so nothing is released" in line
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("release", "samples"))
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    torch.save(torch.load(path, weights_only=True) | {"global_step": 0}, path)
    line = refused("release", "--ckpt", path, "--out", tmp_path / "release")
    assert "is of a training that has made no step" in line
    assert not (tmp_path / "release").exists()
    assert "is of a training that has made no step" in refused(
        "predict", "--run-dir", tmp_path / "run"
    )
    assert not (tmp_path / "run" / "samples").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(refused_fit, refused, run, tmp_path):
    line = refused_fit(*FACES, *NETWORK, "--trainer.accelerator", "cuda")
    assert "not available" in line
    assert "['cpu']" in line
    assert "mend that setting" in line
    for verb in ("validate", "test", "predict"):
        assert "['cpu']" in refused(verb, "--run-dir", run, "--trainer.accelerator", "cuda")
    line = refused(
        "sample",
        "--model",
        run / "release",
        "--count",
        2,
        "--device",
        "cuda:7",
        "--out",
        tmp_path / "out",
    )
    assert "--device cuda:7 cannot be used here: choose cpu" in line
    assert not (tmp_path / "out").exists()


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


def test_a_file_that_only_a_parser_opens_is_bounded_too(refused, run, tmp_path):
    """A run's own config, and a source whose file has another name than a config's."""
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "config.yaml").write_text(LAUGHS)
    assert "more than 100000 values" in refused("validate", "--run-dir", odd)
    (odd / "source.txt").write_text(LAUGHS)
    where = ("--reference", odd / "source.txt", "--sensitive", "Male", "--target", "Smiling")
    assert "source.txt is neither a class" in refused("audit", "--model", run / "release", *where)


@pytest.mark.parametrize("verb", ["fit", "mix"])
@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("data: {init_args: {sorce: 3}}", ["'sorce' is not accepted", "--help"]),
        (
            "data: {init_args: {source: {init_args: {cuont: 3}}}}",
            ["'cuont' is not accepted", "--help"],
        ),
        ("trainr: {max_steps: 3}", ["'trainr", "accept", "--help"]),
        (
            "data: {init_args: {mix: {class_path: diffshare.data.mixes.Clean, init_args: {p: 1}}}}",
            ["'p' is not acc"],
        ),
        (
            "data: {init_args: {source: {class_path: diffshare.data.Nothing}}}",
            ["'Nothing'", "mend the class_path"],
        ),
        ("data: {init_args: {batch_size: lots}}", ["data.batch_size", "expected int", "lots"]),
        ("data: [1, 2\n :", ["bad.yaml, line 2 is not valid YAML", "mend that place"]),
        ("just text", ["bad.yaml holds no settings", "YAML"]),
        (b"\xff\xfe\x00\x01", ["bad.yaml is not a text file", "UTF-8"]),
        (b"a: \x00", ["bad.yaml is not a text file", "UTF-8"]),
        (LAUGHS, ["bad.yaml, line", "more than 100000 values"]),
        ("a: " + "9" * 5000, ["bad.yaml, line 1", "a number that is too long"]),
        ("[" * 100_000, ["bad.yaml, line 1", "too deep"]),
        ("data: {init_args: {target: !!python/name:os.system }}", ["bad.yaml, line 1", "the tag"]),
        (None, ["there is no config file", "bad.yaml", "give the path"]),
    ],
)
def test_a_config_that_is_none(refused_fit, refused_mix, tmp_path, verb, content, parts):
    bad = tmp_path / "bad.yaml"
    if content is not None:
        bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = {"fit": refused_fit, "mix": refused_mix}[verb](*FACES, f"--config={bad}")
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    "key", ["--data.sorce", "--trainer.max_step", "--modell", "--model.sampling_step"]
)
def test_an_unknown_option_is_refused_even_where_it_begins_a_known_one(refused_fit, key):
    line = refused_fit(*FACES, *NETWORK, key, "3")
    assert key.rpartition(".")[2].lstrip("-") in line
    assert "--help" in line


@pytest.mark.parametrize("option", ["--dat.source.count", "--over", "--ouut"])
def test_the_mix_verb_is_as_strict(refused_mix, option):
    line = refused_mix(*FACES, option, "3")
    assert option in line
    assert "--help" in line


# --- verbs -----------------------------------------------------------------------------------------------------------


def test_an_unknown_verb_lists_those_that_there_are(refused):
    line = refused("fitt", "--config", "x")
    assert "unknown verb 'fitt': choose one of" in line
    for verb in VERBS:
        assert verb in line


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_no_verb_shows_them_all(run_cli, arguments):
    outcome = run_cli(*arguments)
    assert (outcome.code, outcome.err) == (0, "")
    for verb, text in VERBS.items():
        assert f"  {verb} " in outcome.out
        assert text in outcome.out


@pytest.mark.parametrize("verb", VERBS)
def test_help_explains_a_verb(run_cli, verb):
    outcome = run_cli(verb, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    own = {
        "release": "--ckpt",
        "sample": "--labels",
        "mix": "--out",
        "study": "--workers",
        "repair": "--audit",
        "leak": "--against",
    }
    own |= {
        "infer-property": "--auxiliary",
        "audit": "--reference",
        "protect": "--share",
        "cache": "limit",
        "configs": "copy",
    }
    assert own.get(verb, "--run-dir") in outcome.out
    assert "usage" in outcome.out.lower()


@pytest.mark.parametrize(
    ("option", "name", "explains"),
    [
        ("data", "data.module.MixDataModule", "attribute that is the class Y"),
        ("data.source", "data.rendered.RenderedFaces", "number of faces"),
        ("data.mix", "data.mixes.Proportion", "share of the records that have the property"),
    ],
)
def test_help_explains_a_class(run_cli, option, name, explains):
    base = [] if option == "data" else ["--data", "diffshare.data.module.MixDataModule"]
    outcome = run_cli("fit", *base, f"--{option}.help", f"diffshare.{name}")
    assert (outcome.code, outcome.err) == (0, "")
    assert explains in " ".join(outcome.out.split())


@pytest.mark.parametrize(
    ("verb", "missing"),
    [
        ("fit", "model"),
        ("test", "model"),
        ("mix", "data"),
        ("sample", "count"),
        ("release", "ckpt"),
    ],
)
def test_a_verb_alone_says_what_it_needs(refused, verb, missing):
    line = refused(verb)
    assert missing in line
    assert "--config FILE" in line or "--help" in line


def test_debug_adds_the_traceback(run_cli):
    outcome = run_cli("mix", *FACES, "--data.target", "Beard", "--out", "x", "--debug")
    assert outcome.code == 2
    assert "Traceback" in outcome.err
    assert outcome.err.endswith("choose one of Eyeglasses, Hat, Male, Smiling, Young\n")


# --- checkpoints and runs --------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(run: Path, tmp_path: Path) -> Callable[..., Path]:
    """A changed copy of the run's checkpoint."""

    def make(**changes: Any) -> Path:
        content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) | changes
        torch.save({k: v for k, v in content.items() if v is not None}, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    return make


def of_class(run: Path, class_path: str) -> dict[str, Any]:
    known = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["diffshare"]
    return {**known, "model": {**known["model"], "class_path": class_path}}


@pytest.mark.parametrize("kind", ["missing", "text", "folder", "pickle", "tensors"])
def test_what_is_no_checkpoint(refused, tmp_path, kind):
    path = tmp_path / "x.ckpt"
    if kind == "text":
        path.write_text("no checkpoint")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pickle":
        torch.save({"state_dict": {}, "global_step": 1, "x": Path("a")}, path)
    elif kind == "tensors":
        torch.save({"weights": torch.zeros(3)}, path)
    for verb in ("release", "test"):
        where = (
            ["--ckpt", path, "--out"]
            if verb == "release"
            else [*FACES, *NETWORK, "--ckpt_path", path, "--run-dir"]
        )
        line = refused(verb, *where, tmp_path / "out")
        assert str(path) in line
        assert "last.ckpt" in line
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "class_path", ["torch.nn.Linear", "diffshare.classifiers.Other", "os.system"]
)
def test_a_checkpoint_of_another_class(refused, run, checkpoint, tmp_path, class_path):
    path = checkpoint(diffshare=of_class(run, class_path))
    line = refused("release", "--ckpt", path, "--out", tmp_path / "out")
    foreign = (
        f"{path} names '{class_path}', which is neither of diffshare nor of an installed package"
    )
    unfit = f"{path} was trained as {class_path}, which cannot be built here"
    assert (foreign if class_path == "os.system" else unfit) in line
    assert not (tmp_path / "out").exists()
    line = refused("test", *FACES, *NETWORK, "--ckpt_path", path, "--run-dir", tmp_path / "out")
    assert f"was trained as {class_path}, the config names diffshare.generators.ddpm.DDPM" in line
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_version(refused, checkpoint, tmp_path):
    path = checkpoint(diffshare_format=7)
    for verb in (
        ["release", "--ckpt", path, "--out"],
        ["test", *FACES, *NETWORK, "--ckpt_path", path, "--run-dir"],
    ):
        line = refused(*verb, tmp_path / "out")
        assert f"{path} was written by another version: its format is 7" in line
        assert "use the version that run.json of its run names" in line
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("changes", ["class", "version", "another tool"])
def test_a_run_whose_checkpoint_is_not_its_own(refused, run, checkpoint, tmp_path, changes):
    other = {
        "class": (
            {"diffshare": of_class(run, "torch.nn.Linear")},
            "was trained as torch.nn.Linear, the config names",
        ),
        "version": ({"diffshare_format": 7}, "was written by another version: its format is 7"),
        "another tool": ({"diffshare_format": None}, "was not written by fit"),
    }
    content, said = other[changes]
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    shutil.rmtree(folder / "release")
    checkpoint(**content).replace(folder / "checkpoints" / "last.ckpt")
    assert said in refused("fit", "--run-dir", folder, "--resume")
    assert not (folder / "release").exists()


def test_a_checkpoint_that_names_no_class(refused, checkpoint, tmp_path):
    line = refused("release", "--ckpt", checkpoint(diffshare=None), "--out", tmp_path / "out")
    assert "is not a checkpoint of a generator" in line
    assert "give the last.ckpt" in line


@pytest.mark.parametrize("spoil", ["empty", "shapes"])
def test_a_checkpoint_of_other_weights(refused, run, checkpoint, tmp_path, spoil):
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    path = checkpoint(
        state_dict={}
        if spoil == "empty"
        else {k: v.repeat(2) for k, v in weights.items() if v.ndim < 2}
    )
    line = refused("release", "--ckpt", path, "--out", tmp_path / "out")
    assert "weights" in line or "does not fit" in line
    line = refused("test", *FACES, *NETWORK, "--ckpt_path", path, "--run-dir", tmp_path / "out")
    assert "the checkpoint does not fit the model" in line
    assert "use the config of the run that wrote it" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_a_model_that_is_not_there(refused, tmp_path, verb):
    assert "needs a trained model" in refused(verb, *FACES, *NETWORK)
    line = refused(verb, "--run-dir", tmp_path / "nowhere")
    assert "nowhere is not the folder of a run" in line
    assert not (tmp_path / "nowhere").exists()


def test_a_run_that_is_taken_or_cannot_go_on(refused, run, tmp_path):
    line = refused("fit", *FACES, *NETWORK, "--run-dir", run)
    assert f"{run} already holds a run: add --resume" in line
    line = refused("fit", *FACES, *NETWORK, "--run-dir", tmp_path / "new", "--resume")
    assert "nothing to resume" in line
    assert "leave out --resume" in line
    assert "--resume needs --run-dir" in refused("fit", *FACES, *NETWORK, "--resume")
    line = refused(
        "fit",
        *FACES,
        *NETWORK,
        "--trainer.max_steps",
        1,
        "--data.seed",
        9,
        "--run-dir",
        run,
        "--resume",
    )
    assert "data.init_args.seed was 0, is now 9" in line
    assert not (tmp_path / "new").exists()


# --- releases and samples --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "run", "no card", "changed", "half"])
def test_a_release_that_is_not_one(refused, run, tmp_path, kind):
    model = tmp_path / "model"
    if kind == "file":
        model.write_text("x")
    elif kind == "empty":
        model.mkdir()
    elif kind == "run":
        model = run
    elif kind != "missing":
        shutil.copytree(run / "release", model)
    if kind == "no card":
        (model / "diffshare.json").unlink()
    elif kind == "changed":
        with (model / "unet" / "config.json").open("a") as stream:
            stream.write(" ")
    elif kind == "half":
        (model / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    line = refused("sample", "--model", model, "--count", 2, "--out", tmp_path / "out")
    assert str(model) in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--count", 0], ["--count is 0", "at least 1"]),
        (["--count", "lots"], ["count", "expected int", "lots"]),
        (["--steps", 0], ["--steps is 0", "1 to 1000"]),
        (["--steps", 5000], ["--steps is 5000", "1 to 1000"]),
        (["--steps", 1.5], ["steps", "expected int", "1.5"]),
        (["--batch-size", 0], ["--batch-size is 0", "at least 1"]),
        (["--seed", -1], ["--seed is -1", "from 0 to 4294967295"]),
        (["--guidance", -1], ["--guidance is -1", ">= 0"]),
        (["--guidance", "inf"], ["guidance", "inf"]),
        (["--labels", "grinning"], ["unknown labels 'grinning'", "not Smiling"]),
        (["--labels", 2], ["unknown labels '2'", "or a number from 0 to 1"]),
        (["--scheduler", "Nope"], ["unknown scheduler 'Nope'", "choose one of"]),
        (["--device", "nope"], ["--device nope", "choose cpu"]),
        (["--device", "meta"], ["--device meta", "choose cpu"]),
        (["--count", 10**15], ["--count is 1000000000000000", "at most 4194303"]),
        (["--guidence", 2], ["--guidence", "--help"]),
    ],
)
def test_samples_that_cannot_be_drawn(refused, run, tmp_path, options, parts):
    line = refused(
        "sample", "--model", run / "release", "--count", 2, *options, "--out", tmp_path / "out"
    )
    for part in parts:
        assert part in line
    assert not list(tmp_path.iterdir())


# --- places that cannot be written to --------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["fit", "mix", "sample", "release", "cache"])
def test_no_permission_to_write(refused, run, tmp_path, verb):
    # permission bits do not hold for root: a file stands where a folder must
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / "out"
    commands = {
        "fit": ["fit", *FACES, *NETWORK, "--run-dir", out],
        "mix": ["mix", *FACES, "--out", out],
        "sample": ["sample", "--model", run / "release", "--count", 2, "--out", out],
        "release": ["release", "--ckpt", run / "checkpoints" / "last.ckpt", "--out", out],
        "cache": ["mix", *FACES, "--data.cache_dir", out, "--out", tmp_path / "mix"],
    }
    line = refused(*commands[verb])
    assert f"cannot write {'the cache ' if verb == 'cache' else ''}{out}" in line
    assert "writable" in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("verb", ["mix", "sample", "release"])
def test_what_is_there_is_kept(refused, run, tmp_path, verb):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    commands = {
        "mix": ["mix", *FACES],
        "sample": ["sample", "--model", run / "release", "--count", 2],
        "release": ["release", "--ckpt", run / "checkpoints" / "last.ckpt"],
    }
    line = refused(*commands[verb], "--out", out)
    assert f"{out} already holds something: choose another folder or add --overwrite" in line
    assert [path.name for path in out.iterdir()] == ["mine"]
