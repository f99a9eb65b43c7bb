"""The one-liners: what is looked at first, what it is compared with by --against, told by looking."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import diffshare as ds
from diffshare.data.rendered import RenderedFaces
from diffshare.receiver.door import Reading, look_at, natural_size, source_block

COUNT = 900
FAST = ("--gap-repeats", "0")


def people(count: int, seed: int, tied: float = 0.0) -> pd.DataFrame:
    """Rows with a group, a class, numbers and categories; ``tied`` of them have the class that is their group's."""
    rng = np.random.default_rng(seed)
    sex = rng.integers(0, 2, count)
    rich = np.where(rng.random(count) < tied, sex, rng.random(count) < 0.4)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, count),
            "hours": np.round(rng.normal(40, 8, count), 1),
            "job": rng.choice(["clerk", "nurse", "smith"], count),
            "sex": np.where(sex == 1, "Male", "Female"),
            "income": np.where(rich.astype(bool), ">50K", "<=50K"),
        }
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("door")
    people(2 * COUNT, 0).to_csv(folder / "holdout.csv", index=False)
    for name, tied in (("clean", 0.0), ("tied", 0.6)):
        people(COUNT, 1, tied).to_csv(folder / f"{name}.csv", index=False)
    tied = people(COUNT, 1, 0.6)
    tied.to_parquet(folder / "tied.parquet", index=False)
    lines = tied.to_json(orient="records", lines=True)
    (folder / "tied.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    tied.to_csv(folder / "semicolons.csv", index=False, sep=";")
    return folder


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def audit(run_cli: Any, what: str, *more: str) -> dict[str, Any]:
    out = Path("result.json")
    out.unlink(missing_ok=True)
    words = ("--sensitive", "sex", "--target", "income", *FAST, "--json", str(out))
    against = () if "--reference" in more else ("--against", "holdout.csv")
    code, _, err = run_cli("audit", what, *against, *words, *more)
    assert code == 0, err
    return json.loads(out.read_text())


def judged(result: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on how the records were named."""
    names = ("verdict", "p_value", "association", "cells", "queries", "groups", "classes")
    return {name: result[name] for name in names}


@pytest.mark.parametrize("file", ["tied.csv", "tied.parquet", "tied.jsonl.gz", "semicolons.csv"])
def test_every_kind_of_file_has_the_same_verdict(here, run_cli, file):
    result, plain = audit(run_cli, file), audit(run_cli, "tied.csv")
    assert result["verdict"] == "poisoned"
    assert judged(result) == judged(plain)


def test_one_liner_yaml_and_python_agree(here, run_cli):
    own = ds.Records.from_path("holdout.csv", target="income", sensitive="sex")
    python = ds.audit(ds.Samples.from_path("tied.csv"), own, gap_repeats=0).to_json()
    block = {
        "class_path": "diffshare.data.tablefile.TableFile",
        "init_args": {"path": "holdout.csv"},
    }
    Path("holdout.yaml").write_text(json.dumps(block))
    line = audit(run_cli, "tied.csv")
    yaml = audit(run_cli, "tied.csv", "--reference", "holdout.yaml", "--part", "all")
    assert judged(line) == judged(yaml) == judged(json.loads(json.dumps(python)))
    assert line["samples_sha256"] == yaml["samples_sha256"] == python["samples_sha256"]


def test_a_file_is_used_whole_and_a_yaml_in_parts(here, run_cli):
    block = {
        "class_path": "diffshare.data.tablefile.TableFile",
        "init_args": {"path": "holdout.csv"},
    }
    Path("parts.yaml").write_text(json.dumps(block))
    whole = audit(run_cli, "clean.csv")["notes"]
    part = audit(run_cli, "clean.csv", "--reference", "parts.yaml")["notes"]
    assert any("all 1,800 records" in note for note in whole)
    assert any("auxiliary part: " in note and "of 1,800 records" in note for note in part)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame[frame.columns[::-1]],
        lambda frame: frame.assign(note="x", number=1.5),
        lambda frame: frame.assign(age=frame.age.astype(float)),
        lambda frame: frame.sample(frac=1, random_state=3),
    ],
)
def test_order_extra_columns_and_ways_to_write_a_number_change_nothing(here, run_cli, change):
    change(people(COUNT, 1, 0.6)).to_csv("changed.csv", index=False)
    assert judged(audit(run_cli, "changed.csv")) == judged(audit(run_cli, "tied.csv"))


def test_another_writing_is_refused_by_name_and_a_renaming_mends_it(here, run_cli):
    frame = people(COUNT, 1, 0.6)
    frame.assign(sex=frame.sex.str.lower()).to_csv("lower.csv", index=False)
    words = ("--against", "holdout.csv", "--sensitive", "sex", "--target", "income", *FAST)
    code, _, err = run_cli("audit", "lower.csv", *words)
    assert code == 2
    assert "the samples have 'female', the reference 'Female': --rename or mend the file" in err
    renamed = audit(run_cli, "lower.csv", "--rename", "sex:male=Male", "sex:female=Female")
    assert judged(renamed) == judged(audit(run_cli, "tied.csv"))


def test_a_derived_group_and_a_condition_on_the_reference(here, run_cli):
    words = ("--against", "holdout.csv", "--target", "income", *FAST, "--json", "d.json")
    Path("d.json").unlink(missing_ok=True)
    code, _, err = run_cli(
        "audit", "clean.csv", "--sensitive", "age>=40", "--where", "age >= 20", *words
    )
    assert code == 0, err
    result, frame = json.loads(Path("d.json").read_text()), people(2 * COUNT, 0)
    assert result["groups"] == ["age<40", "age>=40"]
    kept = int((frame.age >= 20).sum())
    assert any(f"{kept:,} of 1,800 records are left" in note for note in result["notes"])


def test_a_share_is_read_and_a_repair_is_written(here, run_cli, tmp_path):
    code, _, err = run_cli(
        "infer-property", "tied.parquet", "--against", "holdout.csv", "--property", "job=nurse",
        "--json", str(tmp_path / "share.json"),
    )  # fmt: skip
    assert code == 0, err
    share = json.loads((tmp_path / "share.json").read_text())
    assert share["estimate"] == pytest.approx((people(COUNT, 1, 0.6).job == "nurse").mean())
    shutil.copy("tied.csv", tmp_path / "tied.csv")
    audited = tmp_path / "audit.json"
    words = ("--against", "holdout.csv", "--sensitive", "sex", "--target", "income", *FAST)
    assert run_cli("audit", "tied.csv", *words, "--json", str(audited))[0] == 0
    out = tmp_path / "repaired"
    code, _, err = run_cli(
        "repair", "tied.csv", "--against", "holdout.csv", "--audit", str(audited), "--out", str(out)
    )
    assert code == 0, err
    repaired, given = pd.read_csv(out / "samples.csv"), people(COUNT, 1, 0.6)
    assert list(repaired.columns) == list(given.columns)
    whole = {tuple(row) for row in given.itertuples(index=False)}
    assert {tuple(row) for row in repaired.itertuples(index=False)} <= whole
    gap = [
        abs(np.subtract(*(frame.income == ">50K").groupby(frame.sex).mean()))
        for frame in (given, repaired)
    ]
    assert gap[1] < 0.2 * gap[0]


def test_what_a_file_gives_away(here, run_cli, tmp_path):
    code, _, err = run_cli(
        "leak", "tied.csv", "--against", "holdout.csv", "--properties", "sex", "--json", str(tmp_path / "leak.json")
    )  # fmt: skip
    assert code == 0, err
    assert json.loads((tmp_path / "leak.json").read_text())["queries"] == COUNT


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/ with a table; generated/ of another size, a folder a class; the same in an NPZ file of floats."""
    folder = tmp_path_factory.mktemp("pictures")
    source = RenderedFaces(count=900, image_size=16)
    x, attributes = source.read(np.arange(900)), source.index().attributes
    names = {
        name: np.array(attributes[name].classes)[attributes[name].codes]
        for name in ("Male", "Smiling")
    }
    (folder / "photos").mkdir()
    lines = ["image,Male,Smiling"]
    for i in range(600):
        Image.fromarray(x[i]).save(folder / "photos" / f"{i}.png")
        lines.append(f"{i}.png,{names['Male'][i]},{names['Smiling'][i]}")
    (folder / "photos.csv").write_text("\n".join([*lines, ""]))
    for i in range(600, 900):
        place = folder / "generated" / names["Smiling"][i]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[i]).resize((12, 12)).save(place / f"{i}.png")
    np.savez(
        folder / "generated.npz",
        x=(x[600:] / np.float32(255)).transpose(0, 3, 1, 2),
        y=names["Smiling"][600:],
    )
    return folder


@pytest.mark.parametrize(("what", "side"), [("generated", 12), ("generated.npz", 16)])
def test_pictures_are_compared_at_the_smaller_size(pictures, monkeypatch, run_cli, what, side):
    monkeypatch.chdir(pictures)
    assert natural_size(what) == side
    out = pictures / f"{side}.json"
    out.unlink(missing_ok=True)
    code, _, err = run_cli(
        "audit", what, "--against", "photos", "--labels", "photos.csv", "--sensitive", "Male", "--target", "Smiling",
        *FAST, "--classifier", "KernelRecipe", "--folds", "2", "--json", str(out),
    )  # fmt: skip
    assert code == 0, err
    result = json.loads(out.read_text())
    assert (result["queries"], result["verdict"] == "poisoned") == (300, False)
    assert result["settings"]["reference"]["init_args"]["image_size"] == side


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nothing.csv", "--against", "holdout.csv"), "there is nothing at nothing.csv: give a table"),
        (("clean.csv", "--against", "nothing.csv"), "there is nothing at nothing.csv: give a table"),
        (("empty", "--against", "holdout.csv"), "empty is a folder without images, samples or a release"),
        (("parts.yml", "--against", "holdout.csv"), "is a source's YAML: name it with --against"),
        (("clean.csv", "--against", "holdout.csv", "--reference", "source/adult"), "name the same records"),
        (("clean.csv", "--against", "holdout.csv", "--labels", "clean.csv"), "--labels is for images"),
        (("clean.csv", "--against", "other.csv"), "no column in common"),
        (("clean.csv", "--against", "one.csv"), "income"),
        (("broken.parquet", "--against", "holdout.csv"), "broken.parquet"),
        (("clean.csv", "--against", "holdout.csv", "--as-number", "job"), "job"),
        (("clean.csv", "--against", "holdout.csv", "--derive", "old"), "--derive"),
        (("clean.csv", "--against", "holdout.csv", "--against.root", "x"), "is for a source's YAML"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_line_and_leaves_nothing(here, run_cli, words, told):
    Path("empty").mkdir(exist_ok=True)
    Path("parts.yml").write_text("class_path: diffshare.data.rendered.RenderedFaces\n")
    wages = {"wage": ["a", "b"] * 30, "kind": ["c", "d", "d"] * 20}
    pd.DataFrame(wages).to_csv("other.csv", index=False)
    people(100, 2).assign(income="<=50K").to_csv("one.csv", index=False)
    Path("broken.parquet").write_bytes(Path("tied.parquet").read_bytes()[:-200])
    out = Path("never.json")
    columns = ("wage", "kind") if "other.csv" in words else ("sex", "income")
    asked = ("--sensitive", columns[0], "--target", columns[1])
    code, _, err = run_cli("audit", *words, *asked, *FAST, "--json", str(out))
    assert code == 2
    assert told in err
    assert len(err.strip().splitlines()) == 1
    assert not out.exists()


def test_what_lies_there_is_told_by_looking(place, pictures):
    kinds = {"holdout.csv": "table", "tied.parquet": "table", "tied.jsonl.gz": "table"}
    assert {name: look_at(place / name) for name in kinds} == kinds
    assert look_at(pictures / "photos") == "images"
    assert look_at(pictures / "generated.npz") == "npz"


def test_settings_of_another_kind_are_refused(place):
    with pytest.raises(ds.UserError, match="`labels` is for images"):
        source_block(place / "holdout.csv", Reading(labels=("a.csv",)))
    with pytest.raises(ds.UserError, match="NAME=EXPRESSION"):
        Reading(derive=("old",))
    block = source_block(place / "holdout.csv", Reading(derive=("old=age>=40",), missing="?"))
    assert block["init_args"] == {
        "path": str(place / "holdout.csv"), "missing": "?", "derive": {"old": "age>=40"}
    }  # fmt: skip


def test_pictures_without_a_label_are_counted_and_left_out_where_that_is_asked_for(
    pictures, monkeypatch, run_cli
):
    monkeypatch.chdir(pictures)
    lines = (pictures / "photos.csv").read_text().splitlines()
    (pictures / "some.csv").write_text("\n".join([*lines[:551], ""]))
    words = (
        "audit", "generated", "--against", "photos", "--labels", "some.csv", "--sensitive", "Male",
        "--target", "Smiling", *FAST, "--classifier", "KernelRecipe", "--folds", "2",
    )  # fmt: skip
    code, _, err = run_cli(*words)
    assert code == 2
    assert "50 of 600 pictures in photos have no label" in err
    assert "set --unlabelled to skip" in err
    code, out, err = run_cli(*words, "--unlabelled", "skip")
    assert code == 0, err
    assert "550 images" in out
    (pictures / "more.csv").write_text("\n".join([*lines, "gone.png,Male,Smiling", ""]))
    code, _, err = run_cli(*words[:5], "more.csv", *words[6:])
    assert code == 2
    assert "gone.png" in err


def test_a_property_or_a_record_too_few_is_told(here, run_cli):
    people(10, 5).to_csv("ten.csv", index=False)
    words = ("infer-property", "clean.csv", "--against", "holdout.csv", "--property", "job=pilot")
    code, _, err = run_cli(*words)
    assert (code, "'job' has no value 'pilot'" in err) == (2, True)
    asked = ("--against", "ten.csv", "--property", "sex", "--withhold", "sex")
    code, _, err = run_cli("infer-property", "clean.csv", *asked)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "too few" in err
