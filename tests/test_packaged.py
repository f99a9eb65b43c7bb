"""The configs that come with diffshare: found by name from anywhere, shown, copied, and never over a file."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffshare import packaged as module
from diffshare.commands.configs import with_configs, with_files, with_sources
from diffshare.errors import UserError
from diffshare.packaged import about, located, names, packaged
from diffshare.study.engine.configs import merged
from diffshare.study.engine.step import Step

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"
SMALL = ("--data.source.count", 300, "--data.source.image_size", 8)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that is not the clone."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_config_of_the_clone_has_a_name() -> None:
    files = {path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.*")}
    assert set(names()) == files
    assert len(names()) == len(files)


@pytest.mark.parametrize("name", names())
def test_the_first_line_of_a_config_says_what_it_is(name: str) -> None:
    first = located(name).read_text().splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")
    assert len(first) <= 112
    assert about(name) == first[2:]
    assert [other for other in names() if about(other) == about(name)] == [name]


@pytest.mark.parametrize("name", ["mix/poisoned", "configs/mix/poisoned.yaml"])
def test_a_name_is_found_from_anywhere(name: str) -> None:
    assert located(name).read_bytes() == (CONFIGS / "mix" / "poisoned.yaml").read_bytes()
    assert packaged(name) == located(name)


def test_the_folder_of_an_installed_package_goes_before_that_of_a_clone(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = elsewhere / "site" / "diffshare"
    package.mkdir(parents=True)
    monkeypatch.setattr(module.resources, "files", lambda name: elsewhere / "site" / name)
    shutil.copytree(CONFIGS / "size", elsewhere / "site" / "configs" / "clone")
    assert names() == ["clone/small"]
    shutil.copytree(CONFIGS / "size", package / "configs" / "wheel")
    assert names() == ["wheel/small"]


@pytest.mark.parametrize("name", ["ddpm_faces", "mix/poisoned", "configs/mix/poisoned.yaml"])
def test_a_file_goes_before_a_name(elsewhere: Path, name: str) -> None:
    (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
    (elsewhere / name).write_text("mine: 1\n")
    assert packaged(name) is None
    assert located(name).read_text() == "mine: 1\n"
    assert merged([Path(name)]) == {"mine": 1}


def test_a_folder_of_that_name_is_told() -> None:
    Path("ddpm_faces").mkdir()
    with pytest.raises(UserError, match="no config file ddpm_faces .that is a folder."):
        located("ddpm_faces")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ddpm_fcaes", "ddpm_faces"),
        ("poisoned", "mix/poisoned"),
        ("configs/mix/poisnoed.yaml", "mix/poisoned"),
        ("ddpm_faces.yaml", "ddpm_faces"),
        ("zzzzz", "that 'diffshare configs' lists"),
        ("../configs/ddpm_faces", "'diffshare configs'"),
        ("/mix/poisoned", "mix/poisoned"),
    ],
)
def test_what_is_neither_ends_in_one_line_with_close_names(
    run_cli: Any, name: str, near: str
) -> None:
    outcome = run_cli("mix", "--config", name, "--out", "o")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert "there is no config file" in line
    assert near in line
    assert "diffshare configs" in line


def test_options_take_names_as_words_and_after_an_equals_sign() -> None:
    faces, mix = str(located("ddpm_faces")), str(located("mix/clean"))
    assert with_configs(["-c", "ddpm_faces", "--config=mix/clean", "--out", "mix/clean"]) == [
        "-c", faces, f"--config={mix}", "--out", "mix/clean",
    ]  # fmt: skip
    adult = str(located("source/adult"))
    assert with_sources(["--reference", "source/adult", "--auxiliary=source/adult"]) == [
        "--reference", adult, f"--auxiliary={adult}",
    ]  # fmt: skip
    assert with_sources(["--against", "configs/source/adult.yaml"]) == ["--against", adult]
    for kept in ("RenderedFaces", "diffshare.data.table.Adult", "some/folder", "x.csv"):
        assert with_sources(["--against", kept]) == ["--against", kept]
    block = json.loads(with_files(["--reference", "source/adult"], "--reference")[1])
    assert block == yaml.safe_load((CONFIGS / "source" / "adult.yaml").read_text())


def test_a_source_that_is_none_is_told_with_close_names(run_cli: Any) -> None:
    outcome = run_cli("audit", "--samples", ".", "--reference", "source/facs", "--target", "Hat")
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
    assert "source/faces" in outcome.err
    assert "'diffshare configs'" in outcome.err


def test_a_mix_by_names_is_that_of_the_files(run_cli: Any) -> None:
    by_name = (
        "--config",
        "ddpm_faces",
        "--config",
        "mix/proportion",
        "--data.source",
        "source/faces",
    )
    files = ("ddpm_faces", "mix/proportion")
    by_file = [word for name in files for word in ("--config", CONFIGS / f"{name}.yaml")]
    for out, configs in (("a", by_name), ("b", by_file)):
        assert run_cli("mix", *configs, *SMALL, "--data.mix.p", 0.3, "--out", out).code == 0
    assert Path("a/records.csv").read_bytes() == Path("b/records.csv").read_bytes()


def references(value: Any) -> set[str]:
    """Texts in a config that name another config."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return set().union(*map(references, inner))
    return {value} if isinstance(value, str) and packaged(value) else set()


def test_configs_name_each_other_by_name_alone() -> None:
    texts = {name: (CONFIGS / f"{name}.yaml").read_text() for name in names()}
    assert [name for name, text in texts.items() if "configs/" in text] == []
    used = references([yaml.safe_load(text) for text in texts.values()])
    assert {"ddpm_faces", "mix/favour", "source/adult", "classifier_celeba"} <= used


def test_a_step_depends_on_what_is_in_a_packaged_config(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Step("a", "diffshare.study.steps.verbs:fit", {"config": ["mix/clean"]})
    before = step.definition({})["files"]
    assert before.keys() == {"mix/clean"}
    shutil.copytree(CONFIGS, elsewhere / "own")
    with (elsewhere / "own" / "mix" / "clean.yaml").open("a") as file:
        file.write("# edited\n")
    monkeypatch.setattr(module, "folder", lambda: elsewhere / "own")
    assert step.definition({})["files"] != before


# --- the verb --------------------------------------------------------------------------------------------------------


def test_configs_lists_each_with_what_it_is(run_cli: Any) -> None:
    outcome = run_cli("configs")
    assert outcome.code == 0
    listed = dict(line.split(None, 1) for line in outcome.out.splitlines())
    assert listed == {name: about(name) for name in names()}


def test_configs_show_prints_the_file(run_cli: Any) -> None:
    for name in ("ddpm_faces", "mix/poisoned"):
        assert run_cli("configs", "show", name).out == (CONFIGS / f"{name}.yaml").read_text()


def test_configs_copy_writes_the_same_bytes_and_overwrites_a_copy_alone(run_cli: Any) -> None:
    assert run_cli("configs", "copy", "mix/poisoned").code == 0
    copy, wanted = Path("poisoned.yaml"), (CONFIGS / "mix" / "poisoned.yaml").read_bytes()
    assert copy.read_bytes() == wanted
    edited = wanted + b"# edited\n"
    copy.write_bytes(edited)
    again = run_cli("configs", "copy", "mix/poisoned")
    assert (again.code, copy.read_bytes()) == (2, edited)
    assert "add --overwrite" in again.err
    assert run_cli("configs", "copy", "mix/poisoned", "--overwrite").code == 0
    assert copy.read_bytes() == wanted
    for other in ("mine: 1\n", "# mine\n", ""):
        copy.write_text(other)
        refused = run_cli("configs", "copy", "mix/poisoned", "--overwrite")
        assert (refused.code, copy.read_text()) == (2, other)
        assert "is not replaced" in refused.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show",), "configs show needs a name"),
        (("show", "ddpm_fcaes"), "such as ddpm_faces"),
        (("show", "../setup"), "no packaged config ../setup"),
        (("list", "ddpm_faces"), "configs list takes no 'ddpm_faces'"),
        (("forget",), "expected 'list'"),
        (("show", "ddpm_faces", "--out", "a.yaml"), "--out is for configs copy"),
        (("copy", "ddpm_faces", "--out", "a.txt"), "ends with .yaml"),
        (("copy", "ddpm_faces", "--out", "there.yaml"), "there.yaml: it is a folder"),
    ],
)
def test_what_configs_refuses(run_cli: Any, words: tuple[str, ...], told: str) -> None:
    Path("there.yaml").mkdir()
    outcome = run_cli("configs", *words)
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
    assert told in outcome.err
    assert [path.name for path in Path().iterdir()] == ["there.yaml"]
