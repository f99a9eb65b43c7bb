"""``--overwrite`` replaces what this verb wrote, and nothing that a person or another verb has made."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_release import random_ddpm

from diffshare.release.samples import write_samples

CONFIGS = Path(__file__).parents[1] / "configs"
Cli = Callable[..., Any]


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, run_cli: Cli) -> Path:
    """A release, samples, a run without its end, a source, and folders that no verb made. Only copies are worked in."""
    root = tmp_path_factory.mktemp("world")
    random_ddpm(root / "release", 8, steps=2)
    x = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
    write_samples(root / "samples", x, np.arange(12) % 2, {"labels": "balanced"})
    for name, file in (
        ("thesis", "chapter.tex"),
        ("source/img_align_celeba", "000001.jpg"),
        ("run/checkpoints", "x"),
    ):
        (root / name).mkdir(parents=True)
        (root / name / file).write_text("mine")
    (root / "source" / "list_attr_celeba.txt").write_text("mine")
    (root / "run" / "config.yaml").write_text("mine")
    shutil.copytree(root / "release", root / "run" / "release")
    for made, stranger in (
        ("release", "notes.md"),
        ("samples", "chapter.tex"),
        ("samples", "audit.json"),
    ):
        shutil.copytree(root / made, root / f"{made} and {stranger}")
        (root / f"{made} and {stranger}" / stranger).write_text("mine")
    shutil.copytree(root / "samples", root / "samples of somebody")
    (root / "samples of somebody" / "samples.json").unlink()
    (root / "cache" / "0123").mkdir(parents=True)
    (root / "cache" / "0123" / "x.npy").write_text("mine")
    return root


@pytest.fixture
def place(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("DIFFSHARE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def commands(root: Path) -> dict[str, list[Any]]:
    """Each verb that makes a folder, with arguments that fit; the folder's name is to be added."""
    faces = ["--reference", CONFIGS / "source" / "faces.yaml"]
    (root / "x.ckpt").write_text("x")
    return {
        "sample": ["sample", "--model", root / "release", "--count", 4, "--steps", 1, "--out"],
        "mix": ["mix", "--config", CONFIGS / "ddpm_faces.yaml", "--data.source.count", 40,
                "--data.source.image_size", 8, "--out"],
        "release": ["release", "--ckpt", root / "x.ckpt", "--out"],
        "protect": ["protect", "--model", root / "release", "--count", 4, "--property", "Hat", "--share", 0.5, *faces,
                    "--out"],
        "audit": ["audit", "--model", root / "release", *faces, "--sensitive", "Male", "--target", "Smiling", "--out"],
        "repair": ["repair", "--samples", root / "samples", "--audit", root / "thesis" / "chapter.tex", *faces,
                   "--out"],
        "label-sheet": ["infer-property", "--samples", root / "samples", "--property", "Hat",
                        "--auxiliary", CONFIGS / "source" / "faces.yaml", "--label-count", 4, "--label-sheet"],
    }  # fmt: skip


VERBS = ["sample", "mix", "release", "protect", "audit", "repair", "label-sheet"]
FOREIGN = ["thesis", "source", "run", "cache", "cache/0123", "run/checkpoints", "release and notes.md",
           "samples and chapter.tex", "samples and audit.json", "samples of somebody"]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_replaces_what_it_did_not_write(place: Path, run_cli: Cli, verb: str) -> None:
    command = commands(place)[verb]
    before = content(place)
    for name in FOREIGN:
        outcome = run_cli(*command, place / name, "--overwrite")
        assert outcome.code == 2, (name, outcome)
        assert outcome.err.count("\n") == 1, outcome.err
        assert "is not replaced, for it" in outcome.err or "lies" in outcome.err, outcome.err
    assert content(place) == before


def test_the_source_of_a_mix_survives(place: Path, run_cli: Cli) -> None:
    before = content(place)
    source = [
        "--data.source",
        "diffshare.data.celeba.CelebA",
        "--data.source.root",
        place / "source",
    ]
    outcome = run_cli(
        "mix",
        "--config",
        CONFIGS / "ddpm_celeba.yaml",
        *source,
        "--out",
        place / "source",
        "--overwrite",
    )
    assert outcome.code == 2
    assert content(place) == before


@pytest.mark.parametrize("verb", ["sample", "mix", "label-sheet"])
def test_what_the_verb_wrote_is_replaced_when_asked_and_only_then(
    place: Path, run_cli: Cli, verb: str
) -> None:
    command, out = commands(place)[verb], place / "out"
    assert run_cli(*command, out).code == 0
    first = content(out)
    again = run_cli(*command, out)
    assert again.code == 2
    assert f"{out} already holds something: choose another folder or add --overwrite" in again.err
    seed = {"mix": "--data.seed"}.get(verb, "--seed")
    assert run_cli(*command, out, "--overwrite", seed, 5).code == 0
    second = content(out)
    assert second.keys() == first.keys()
    assert second != first
    assert not [path for path in place.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("verb", ["mix", "label-sheet"])
def test_another_verb_s_folder_is_not_replaced(place: Path, run_cli: Cli, verb: str) -> None:
    before = content(place / "samples")
    assert run_cli(*commands(place)[verb], place / "samples", "--overwrite").code == 2
    assert content(place / "samples") == before


def test_labels_that_a_person_filled_in_are_kept(place: Path, run_cli: Cli) -> None:
    command, table = commands(place)["label-sheet"], place / "sheet" / "labels.csv"
    assert run_cli(*command, table.parent).code == 0
    table.write_text(table.read_text().replace(",\n", ",1\n", 1))
    before = content(table.parent)
    outcome = run_cli(*command, table.parent, "--overwrite")
    assert outcome.code == 2
    assert "is not replaced, for it is no label sheet without labels" in outcome.err
    assert content(table.parent) == before


@pytest.mark.parametrize("verb", ["audit", "leak", "infer-property"])
def test_a_file_that_is_no_result_of_the_verb_is_not_replaced(
    place: Path, run_cli: Cli, verb: str
) -> None:
    faces = CONFIGS / "source" / "faces.yaml"
    command = {
        "audit": ["audit", "--reference", faces, "--sensitive", "Male", "--target", "Smiling"],
        "leak": ["audit", "--as", "sharer", "--reference", faces],
        "infer-property": ["infer-property", "--property", "Hat", "--auxiliary", faces],
    }[verb]
    others = {
        "notes.txt": "mine",
        "other.json": json.dumps({"verdict": 1, "property": "x"}),
        "a.yaml": "a: 1",
    }
    for name, text in others.items():
        (place / name).write_text(text)
        for more in ([], ["--overwrite"]):
            outcome = run_cli(
                *command, "--samples", place / "samples", "--json", place / name, *more
            )
            assert outcome.code == 2
            assert f"{place / name} is not replaced, for this verb did not write it" in outcome.err
        assert (place / name).read_text() == text


def test_a_run_never_writes_over_a_file_that_no_run_wrote(place: Path, run_cli: Cli) -> None:
    (place / "mine").mkdir()
    for name in ("config.yaml", "run.json"):
        (place / "mine" / name).write_text("mine")
        before = content(place / "mine")
        outcome = run_cli(
            "fit", "--config", CONFIGS / "ddpm_faces.yaml", "--run-dir", place / "mine"
        )
        assert outcome.code == 2
        assert (
            f"{place / 'mine'} holds {name}, which no run wrote: name another --run-dir"
            in outcome.err
        )
        assert content(place / "mine") == before
        (place / "mine" / name).unlink()
