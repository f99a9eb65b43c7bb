"""Classes are what they are called, in every verb: pictures whose table says -1 and 1, and names that are words."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from property_runs import inferred, refusal, yaml_source
from random_release import random_ddpm

from diffshare.data.imagefolder import ImageFolder
from diffshare.data.rendered import RenderedFaces
from diffshare.receiver.property.inference import asked
from diffshare.receiver.records import Records
from diffshare.receiver.samples import Samples
from diffshare.release.samples import read_samples, write_samples

SIZE, SHARE = 16, 0.20
QUICK = ("--classifier", "diffshare.classifiers.recipes.KernelRecipe", "--folds", "2")
SIGNS = ("-1", "1")
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of faces whose ``metadata.csv`` has CelebA's -1 and 1."""
    root = tmp_path_factory.mktemp("celeba-like")
    faces = RenderedFaces(500, SIZE, 1)
    x, attributes = faces.read(np.arange(500)), faces.index().attributes
    lines = ["file_name,Smiling,Male,Hat,split"]
    for i, image in enumerate(x):
        Image.fromarray(image).save(root / f"{i}.png")
        signs = [SIGNS[attributes[name].codes[i]] for name in ("Smiling", "Male", "Hat")]
        lines.append(",".join([f"{i}.png", *signs, "test" if i % 5 == 0 else "auxiliary"]))
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    return yaml_source(
        root / "source.yaml", "imagefolder.ImageFolder", root=str(root), image_size=SIZE
    )


def drawn(to: Path, labels: str, classes: tuple[str, ...] = (), **more: Any) -> Path:
    """Other faces, a fifth of them with a hat, in the place of a generator's; y is Smiling where classes are named."""
    source = RenderedFaces(300, SIZE, 2, prevalence={"Hat": SHARE})
    smiling = source.index().attributes["Smiling"].codes.astype(np.int64)
    y = smiling if classes else np.full(300, -1)
    write_samples(
        to, source.read(np.arange(300)), y, {"labels": labels, "classes": list(classes)} | more
    )
    return to


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``model("-1", "1")``: a release of these two classes."""

    def make(*classes: str, **card: Any) -> Path:
        return random_ddpm(
            tmp_path_factory.mktemp("model") / "release",
            8,
            labels=list(classes),
            **{"steps": 1, **card},
        )

    return make


# --- signs -----------------------------------------------------------------------------------------------------------


def test_a_share_of_0_20_is_read_as_0_20_and_belongs_to_1(
    run_cli: Run, tmp_path: Path, folder: Path
) -> None:
    samples = drawn(tmp_path / "samples", "none")
    arguments = ("--samples", samples, "--auxiliary", folder, "--property", "Hat", *QUICK)
    (tmp_path / "json").mkdir()
    found = inferred(run_cli, tmp_path / "json", *arguments)
    assert found["value"] == "1"
    assert found["estimate"] == pytest.approx(SHARE, abs=0.08)
    assert found["interval"][0] <= SHARE <= found["interval"][1]
    assert found["shares"].keys() == set(SIGNS)
    assert found["notes"][:2] == [
        "auxiliary part: 400 of 500 records", "the share is that of '1', not of '-1'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "place", "note"),
    [
        ("1", 1, None),
        ("-1", 0, None),
        ("0", 0, "value of 'Hat' '0' is no name: read as a position, it is '-1'"),
        (None, 1, "the share is that of '1', not of '-1'"),
    ],
)
def test_a_value_is_the_class_that_is_called_so(value, place, note) -> None:
    found = asked("Hat", SIGNS, value, 0.95, 0)
    assert (found.place, found.value, found.note) == (place, SIGNS[place], note)


@pytest.mark.parametrize(
    ("asked", "code", "note"), [("1", 1, False), ("-1", 0, False), ("0", 0, True)]
)
def test_sample_draws_the_class_that_is_called_so(
    run_cli, model, tmp_path, asked, code, note
) -> None:
    release = model(*SIGNS)
    outcome = run_cli(
        "sample",
        "--model",
        release,
        "--count",
        3,
        "--labels",
        asked,
        "--steps",
        1,
        "--out",
        tmp_path / "s",
    )
    assert outcome.code == 0, outcome.err
    made = read_samples(tmp_path / "s")
    assert made.y.tolist() == [code] * 3
    assert (made.info["labels"], made.info["classes"]) == (SIGNS[code], list(SIGNS))
    assert ("note:    labels '0' is no name: read as a position, it is '-1'" in outcome.out) == note


def test_samples_of_signs_are_audited_against_signs(tmp_path: Path, folder: Path) -> None:
    """With the classes in whichever order, each sample is of the class that it is called."""
    block = yaml.safe_load(folder.read_text())["init_args"]
    reference = Records.from_source(ImageFolder(**block), target="Smiling", sensitive=("Male",))
    assert (reference.classes, reference.used) == (SIGNS, "auxiliary part: 400 of 500 records")
    straight = Samples.from_path(
        drawn(tmp_path / "straight", "balanced", SIGNS, target="Smiling")
    ).coded(reference)
    turned = Samples.from_path(
        drawn(tmp_path / "turned", "balanced", SIGNS[::-1], target="Smiling")
    ).coded(reference)
    unnamed = Samples.from_path(drawn(tmp_path / "unnamed", "balanced", SIGNS)).coded(reference)
    np.testing.assert_array_equal(turned.y, 1 - straight.y)
    np.testing.assert_array_equal(unnamed.y, straight.y)
    assert straight.notes == turned.notes == unnamed.notes == ()


def test_attributes_whose_classes_have_the_same_names_are_told_apart(
    run_cli, tmp_path, folder
) -> None:
    (tmp_path / "json").mkdir()
    refused = partial(refusal, run_cli, tmp_path / "json")
    unnamed = drawn(tmp_path / "unnamed", "balanced", SIGNS)
    line = refused("--samples", unnamed, "--auxiliary", folder, "--property", "Male", *QUICK)
    assert (
        "which may be those of any of 'Smiling', 'Male', 'Hat': name the right one with --conditioned-on"
        in line
    )
    named = drawn(tmp_path / "named", "balanced", SIGNS, target="Smiling")
    line = refused("--samples", named, "--auxiliary", folder, "--property", "Smiling", *QUICK)
    assert "the property 'Smiling' is what the samples were drawn by" in line
    outcome = run_cli(
        "audit", "--as", "sharer", "--samples", unnamed, "--reference", folder, *QUICK
    )
    assert outcome.code == 2
    assert (
        "may be those of any of 'Smiling', 'Male', 'Hat': name the right one with --target"
        in outcome.err
    )


# --- words -----------------------------------------------------------------------------------------------------------


def test_a_class_called_none_and_the_word_are_both_reachable(
    run_cli: Run, model: Run, tmp_path: Path
) -> None:
    release = model("none", "natural")
    given = ("--model", release, "--count", 2, "--steps", 1)
    outcome = run_cli("sample", *given, "--labels", "none", "--out", tmp_path / "s")
    assert outcome.code == 2
    assert not (tmp_path / "s").exists()
    assert "write mode:none or class:none" in outcome.err
    for number, (word, y, said) in enumerate(
        [
            ("class:none", 0, "class:none"),
            ("mode:none", -1, "none"),
            ("class:natural", 1, "class:natural"),
        ]
    ):
        place = tmp_path / str(number)
        outcome = run_cli("sample", *given, "--labels", word, "--out", place)
        assert outcome.code == 0, outcome.err
        made = read_samples(place)
        assert (made.y.tolist(), made.info["labels"]) == ([y, y], said)
    # what is left out is a word
    assert run_cli("sample", *given, "--out", tmp_path / "left").code == 0
    assert read_samples(tmp_path / "left").y.tolist() == [0, 1]


def test_a_class_called_null_is_no_argument_that_was_left_out(
    run_cli: Run, model: Run, tmp_path: Path
) -> None:
    given = (
        "--model",
        model("a", "null"),
        "--count",
        2,
        "--steps",
        1,
        "--labels",
        "null",
        "--out",
        tmp_path / "s",
    )
    outcome = run_cli("sample", *given)
    assert outcome.code == 0, outcome.err
    assert read_samples(tmp_path / "s").y.tolist() == [1, 1]


# --- YAML and tables -------------------------------------------------------------------------------------------------


def table(folder: Path, columns: str, header: str, rows: list[str]) -> Path:
    (folder / "t.csv").write_text("\n".join([header, *rows * 30]) + "\n")
    text = f"class_path: diffshare.data.table.CSVTable\ninit_args:\n  path: {folder / 't.csv'}\n  columns: {columns}\n"
    (folder / "t.yaml").write_text(text + "  shares: [1.0, 0.0, 0.0]\n")
    return folder / "t.yaml"


def mix(run_cli: Run, folder: Path, source: Path, *more: Any) -> Any:
    config = {"data": {"class_path": "diffshare.data.module.MixDataModule"}}
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    source_block = yaml.safe_load(source.read_text())["class_path"]
    assert source_block == "diffshare.data.table.CSVTable"
    content = (
        folder / "c.yaml"
    ).read_text() + "  init_args:\n    validation_share: 0.0\n    source:\n"
    content += "".join(f"      {line}\n" for line in source.read_text().splitlines())
    (folder / "c.yaml").write_text(content)
    return run_cli("mix", "--config", folder / "c.yaml", *more, "--out", folder / "mix")


@pytest.mark.parametrize(
    ("columns", "header", "target", "classes"),
    [
        ("{on: numeric, no: [no, yes]}", "on,no", "no", ["no", "yes"]),
        ("{1: numeric, 2: [yes, no]}", "1,2", "2", ["yes", "no"]),
        ("{on: numeric, off: categorical}", "on,off", "off", ["no", "yes"]),
    ],
)
def test_yaml_means_what_it_says(run_cli, tmp_path, columns, header, target, classes) -> None:
    source = table(tmp_path, columns, header, ["1.5,yes", "2.5,no", "3.5,yes"])
    outcome = mix(run_cli, tmp_path, source, "--data.target", target)
    assert outcome.code == 0, outcome.err
    assert json.loads((tmp_path / "mix" / "mix.json").read_text())["classes"]["target"] == classes


def test_categories_that_are_numbers_may_be_declared_as_numbers(run_cli, tmp_path) -> None:
    source = table(tmp_path, "{on: numeric, y: [1, -1]}", "on,y", ["1.5,-1", "2.5,1", "3.5,1"])
    outcome = mix(run_cli, tmp_path, source, "--data.target", "y")
    assert outcome.code == 0, outcome.err
    assert json.loads((tmp_path / "mix" / "mix.json").read_text())["classes"]["target"] == [
        "1",
        "-1",
    ]
    given = ("--data.mix", "diffshare.data.mixes.Proportion", "--data.mix.p", 0.2, "--data.mix.n", 20,
             "--data.mix.property", "y", "--data.mix.value", -1)  # fmt: skip
    (tmp_path / "again").mkdir()
    source = table(
        tmp_path / "again", "{on: numeric, y: [1, -1]}", "on,y", ["1.5,-1", "2.5,1", "3.5,1"]
    )
    assert mix(run_cli, tmp_path / "again", source, "--data.target", "y", *given).code == 0
    made = json.loads((tmp_path / "again" / "mix" / "mix.json").read_text())
    assert (made["value"], made["share"]) == ("-1", 0.2)


@pytest.mark.parametrize(
    ("columns", "header", "words"),
    [
        ("{3: numeric}", "1,2", "has no column '3': its header has '1', '2'; name one of them"),
        (
            "{age: numeric}",
            "Age,sex",
            "has no column 'age': its header has 'Age', 'sex'; write 'Age', names must agree",
        ),
        (
            "{age: numeric}",
            "age;sex",
            "has no column 'age': its header has 'age;sex'; is its delimiter ';'?",
        ),
        ("{on: numeric}", "On,no", "has no column 'on': its header has 'On', 'no'; write 'On'"),
    ],
)
def test_a_column_that_is_not_there_is_told_from_those_that_are(
    run_cli, tmp_path, columns, header, words
) -> None:
    outcome = mix(
        run_cli, tmp_path, table(tmp_path, columns, header, ["1,2"]), "--data.target", "x"
    )
    assert outcome.code == 2
    assert words in outcome.err


def test_the_mix_says_how_many_records_of_how_many_it_uses(run_cli, tmp_path) -> None:
    source = table(tmp_path, "{on: numeric, y: categorical}", "on,y", ["1.5,-1", "2.5,1", "3.5,1"])
    outcome = mix(run_cli, tmp_path, source, "--data.target", "y", "--data.mix", "diffshare.data.mixes.Clean",
                  "--data.mix.n", 40)  # fmt: skip
    assert outcome.code == 0, outcome.err
    said = "records: sharer part: 90 of 90 records, 40 of them in the mix, 0 for validation; test part: 0 of 90 records"
    assert said in outcome.out.splitlines()
