"""Mistakes of a user: exit status 2, one line on stderr that names the thing and the remedy, nothing left behind."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from celeba_folder import make_celeba

CONFIGS = Path(__file__).parent.parent / "configs"
SMALL = (
    ["--model.denoiser.layers_per_block", "1", "--model.denoiser.block_out_channels", "[8,8,8,8]"]
    + ["--model.denoiser.norm_num_groups", "4", "--model.sampling_steps", "2", "--data.batch_size", "4"]
    + ["--trainer.max_steps", "1", "--trainer.enable_progress_bar", "false", "--trainer.val_check_interval", "1"]
)
FACES = ["--config", CONFIGS / "ddpm_faces.yaml", *SMALL, "--data.source.count", "60", "--data.source.image_size", "8"]
CELEBA = ["--config", CONFIGS / "ddpm_celeba.yaml", *SMALL, "--model.denoiser.attention_head_dim", "4"]
CELEBA += ["--data.source.image_size", "8"]
PROPORTION = ["--config", CONFIGS / "ddpm_faces.yaml", "--config", CONFIGS / "mix" / "proportion.yaml", *FACES[2:]]
Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def celeba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_celeba(tmp_path_factory.mktemp("celeba") / "good")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, run_cli: Cli) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("run") / "run"
    assert run_cli("fit", *FACES, "--run-dir", folder).code == 0
    return folder


def refused(outcome: Any, *parts: str) -> None:
    """Status 2 and one line with all of these parts."""
    assert outcome.code == 2, outcome
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("diffshare: ")
    for part in parts:
        assert part in lines[0]


FIT = {
    "a missing config": (["--config", "gone.yaml"], ["no config file", "gone.yaml"]),
    "no config": ([], ["required", "model"]),
    "an unknown key": ([*FACES, "--trainer.max_stepz", "3"], ["max_stepz"]),
    "an unknown class": ([*FACES, "--data.mix", "Nonsense"], ["data.mix", "Nonsense"]),
    "a missing folder": ([*CELEBA, "--data.source.root", "gone"], ["gone", "by hand"]),
    "not CelebA's layout": ([*CELEBA, "--data.source.root", "."], ["list_attr_celeba.txt"]),
    "an unknown target": ([*FACES, "--data.target", "Smilling"], ["Smilling", "Smiling"]),
    "an unknown sensitive": ([*FACES, "--data.sensitive", "Sex"], ["Sex", "Male"]),
    "no batch": ([*FACES, "--data.batch_size", "0"], ["batch_size is 0", "at least 1"]),
    "a batch that is no number": ([*FACES, "--data.batch_size", "many"], ["data.batch_size", "many"]),
    "a batch larger than the data": ([*FACES, "--data.batch_size", "999"], ["data.batch_size 999", "lower"]),
    "no pixels": ([*FACES, "--data.source.image_size", "0"], ["image_size"]),
    "too many pixels": ([*CELEBA, "--data.source.root", ".", "--data.source.image_size", "9999"], ["image_size 9999"]),
    "pixels that the stride does not divide": (
        [*FACES, "--data.source.image_size", "12"],
        ["stride 8", "multiple of 8"],
    ),
    "no steps": ([*FACES, "--trainer.max_steps", "0"], ["no steps", "max_steps"]),
    "negative steps": ([*FACES, "--trainer.max_steps", "-5"], ["max_steps", "-5"]),
    "no sampling steps": ([*FACES, "--model.sampling_steps", "0"], ["sampling_steps is 0"]),
    "a share above 1": ([*PROPORTION, "--data.mix.p", "1.5"], ["mix.p is 1.5", "[0, 1]"]),
    "a share below 0": ([*PROPORTION, "--data.mix.p", "-0.1"], ["mix.p is -0.1", "[0, 1]"]),
    "more records than there are": ([*FACES, "--data.mix.n", "5000"], ["n = 5000", "the pool has"]),
    "too few with the property": ([*PROPORTION, "--data.mix.p", "0.9", "--data.mix.n", "30"], ["needs 27", "pool has"]),
    "an unknown property": ([*PROPORTION, "--data.mix.property", "Beard"], ["Beard", "Eyeglasses"]),
    "other classes than the network has": (
        [*FACES, "--model.denoiser.num_class_embeds", "9"],
        ["num_class_embeds", "3"],
    ),
    "other channels than the images": ([*FACES, "--model.denoiser.in_channels", "1"], ["in_channels 1", "3 channels"]),
    "a prediction that is not trained": (
        [*FACES, "--model.scheduler.prediction_type", "sample"],
        ["epsilon", "v_pred"],
    ),
    "a device that is not there": ([*FACES, "--trainer.accelerator", "tpu"], ["available"]),
    "devices that are no number": ([*FACES, "--trainer.devices", "3x"], ["devices"]),
    "resume without a run": ([*FACES, "--resume"], ["--run-dir"]),
}


@pytest.mark.parametrize("case", FIT)
def test_fit(case: str, run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, parts = FIT[case]
    named = [] if case == "resume without a run" else ["--run-dir", tmp_path / "run"]
    refused(run_cli("fit", *arguments, *named), *parts)
    assert not (tmp_path / "run" / "release").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert not list(tmp_path.rglob("*.part"))


def edit(root: Path, file: str, change: Callable[[list[str]], list[str]]) -> None:
    path = root / file
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


def truncate(root: Path) -> None:
    path = root / "img_align_celeba" / "000003.jpg"
    path.write_bytes(path.read_bytes()[:2000])


ATTRIBUTES = "list_attr_celeba.txt"
FOLDERS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "a wrong count": (lambda r: edit(r, ATTRIBUTES, lambda t: ["77", *t[1:]]), [ATTRIBUTES, "77"]),
    "a truncated line": (lambda r: edit(r, ATTRIBUTES, lambda t: [*t[:4], t[4][:-3], *t[5:]]), [ATTRIBUTES, "5"]),
    "another value": (lambda r: edit(r, ATTRIBUTES, lambda t: [*t[:2], t[2][:-2] + " 0", *t[3:]]), [ATTRIBUTES, "3"]),
    "a missing image": (lambda r: (r / "img_align_celeba" / "000002.jpg").unlink(), ["000002.jpg", "skip"]),
    "a truncated image": (truncate, ["000003.jpg", "truncated", "skip"]),
    "no partition": (lambda r: (r / "list_eval_partition.txt").unlink(), ["list_eval_partition.txt"]),
    "an empty cell": (
        lambda r: edit(r, ATTRIBUTES, lambda t: [*t[:2], *(line.replace(" 1 1", " 1 -1") for line in t[2:])]),
        ["empty cell", "natural"],
    ),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_damaged_folder(case: str, celeba: Path, run_cli: Cli, tmp_path: Path) -> None:
    root = shutil.copytree(celeba, tmp_path / "damaged")
    damage, parts = FOLDERS[case]
    damage(root)
    mix = ["mix", "--config", CONFIGS / "ddpm_celeba.yaml", "--data.source.image_size", 8, "--data.pool", "balanced"]
    refused(run_cli(*mix, "--data.source.root", root, "--out", tmp_path / "mix"), *parts)
    assert not (tmp_path / "mix").exists()


def test_skipped_images_are_counted(celeba: Path, run_cli: Cli, tmp_path: Path) -> None:
    root = shutil.copytree(celeba, tmp_path / "damaged")
    truncate(root)
    mix = ["mix", "--config", CONFIGS / "ddpm_celeba.yaml", "--data.source.image_size", 8, "--data.source.root", root]
    outcome = run_cli(*mix, "--data.source.on_bad_image", "skip", "--out", tmp_path / "mix")
    assert outcome.code == 0, outcome.err
    records = (tmp_path / "mix" / "records.csv").read_text()
    assert "000003.jpg" not in records
    assert "000002.jpg" in records


SAMPLE = {
    "no model": (["--model", "gone"], ["gone"]),
    "a folder that is no release": (["--model", "."], ["diffshare.json"]),
    "no samples": (["--model", "{release}", "--count", "0"], ["--count is 0"]),
    "a class that is not there": (["--model", "{release}", "--labels", "7"], ["7"]),
    "a word that is no class": (["--model", "{release}", "--labels", "hat"], ["hat"]),
    "no steps": (["--model", "{release}", "--steps", "0"], ["steps is 0"]),
    "an unknown scheduler": (["--model", "{release}", "--scheduler", "Euler"], ["Euler", "DDIMScheduler"]),
    "a negative guidance": (["--model", "{release}", "--guidance", "-1"], ["guidance is -1"]),
    "no batch": (["--model", "{release}", "--batch-size", "0"], ["batch size is 0"]),
    "a device that is not there": (["--model", "{release}", "--device", "cuda:99"], ["cuda:99"]),
    "a word that is no device": (["--model", "{release}", "--device", "gpu9"], ["gpu9"]),
    "an unknown option": (["--model", "{release}", "--colour", "red"], ["--colour"]),
}


@pytest.mark.parametrize("case", SAMPLE)
def test_sample(case: str, run: Path, run_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, parts = SAMPLE[case]
    filled = [a.replace("{release}", str(run / "release")) for a in arguments]
    count = [] if "--count" in filled else ["--count", 2]
    refused(run_cli("sample", *filled, *count, "--out", tmp_path / "out"), *parts)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_a_samples_folder_is_not_overwritten(run: Path, run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    sample = ["sample", "--model", run / "release", "--count", 2, "--out", tmp_path / "out"]
    refused(run_cli(*sample), "already holds something", "--overwrite")
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"
    assert run_cli(*sample, "--overwrite").code == 0
    assert (tmp_path / "out" / "samples.npz").is_file()


def test_a_changed_release_is_refused(run: Path, run_cli: Cli, tmp_path: Path) -> None:
    release = shutil.copytree(run / "release", tmp_path / "release")
    with (release / "unet" / "config.json").open("a") as stream:
        stream.write(" ")
    refused(run_cli("sample", "--model", release, "--count", 2, "--out", tmp_path / "s"), "config.json", "hash")


def test_checkpoints(run: Path, run_cli: Cli, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "r"]
    refused(run_cli("release", "--ckpt", tmp_path / "gone.ckpt", *out), "gone.ckpt")
    (tmp_path / "no.ckpt").write_bytes(b"not a checkpoint")
    refused(run_cli("release", "--ckpt", tmp_path / "no.ckpt", *out), "no.ckpt")
    torch.save({"state_dict": {}, "global_step": 1}, tmp_path / "other.ckpt")
    refused(run_cli("release", "--ckpt", tmp_path / "other.ckpt", *out), "other.ckpt", "generator")
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["diffshare"]["model"]["class_path"] = "diffshare.generators.other.Other"
    torch.save(checkpoint, tmp_path / "class.ckpt")
    refused(run_cli("release", "--ckpt", tmp_path / "class.ckpt", *out), "diffshare.generators.other.Other")
    another = ["--run-dir", tmp_path / "run", "--ckpt_path", tmp_path / "class.ckpt"]
    refused(run_cli("test", *FACES, *another), "diffshare.generators.other.Other", "config")
    assert not (tmp_path / "r").exists()


def test_a_place_that_cannot_be_written_to(run: Path, run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    below = tmp_path / "file" / "below"
    refused(run_cli("fit", *FACES, "--run-dir", below), str(tmp_path / "file"))
    refused(run_cli("sample", "--model", run / "release", "--count", 2, "--out", below), str(tmp_path / "file"))
    refused(run_cli("mix", *FACES, "--out", below), str(tmp_path / "file"))


def test_verbs(run_cli: Cli) -> None:
    refused(run_cli("fitt"), "unknown verb 'fitt'", "fit", "sample")
    overview = run_cli()
    assert overview.code == 0
    for verb in ("fit", "validate", "test", "predict", "release", "sample", "mix"):
        assert verb in overview.out
        described = run_cli(verb, "--help")
        assert described.code == 0
        assert len(described.out.splitlines()) > 5
