"""``audit --as sharer``: known shares are read, what cannot be read says why, the card stays a valid release."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audited import table_source, write_rows
from property_runs import yaml_source
from random_release import random_ddpm

from diffshare.audits.leak.attributes import RESAMPLES, WIDTH, Leak, Reading, _by
from diffshare.audits.leak.members import MemberLeak
from diffshare.audits.leak.result import Disclosed, Report, section_of
from diffshare.commands.flags import in_flags
from diffshare.commands.leak_table import show_leak
from diffshare.data.rendered import RenderedFaces
from diffshare.data.source import split
from diffshare.receiver.property.inference import Asked, Assumption, infer
from diffshare.release.folder import open_release
from diffshare.release.samples import write_samples
from diffshare.stats.calibration import Calibration
from diffshare.stats.membership import membership
from diffshare.stats.prevalence import Method

SIZE = 16
FACES = {"count": 900, "image_size": SIZE, "seed": 1, "shares": [0.4, 0.6, 0.0]}
QUICK = ("--classifier", "KernelRecipe", "--classifier.components", "40", "--folds", "2")
TRUTH = {"Hat": 0.2, "Eyeglasses": 0.7}
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return yaml_source(
        tmp_path_factory.mktemp("source") / "faces.yaml", "rendered.RenderedFaces", **FACES
    )


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other faces, as of a generator that makes no mistakes; classes Smiling, as many of each."""
    folder = tmp_path_factory.mktemp("samples") / "s"
    source = RenderedFaces(count=700, image_size=SIZE, seed=2, prevalence=TRUTH)
    write_samples(folder, source.read(np.arange(700)), np.full(700, -1), {"labels": "none"})
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with random weights."""
    return random_ddpm(
        tmp_path_factory.mktemp("model") / "release", SIZE, steps=2, label_frequencies=[0.4, 0.6]
    )


@pytest.fixture
def leak(run_cli: Run, tmp_path: Path) -> Run:
    def run(*arguments: Any) -> dict[str, Any]:
        outcome = run_cli("audit", "--as", "sharer", *arguments, "--json", tmp_path / "leak.json")
        assert outcome.code == 0, outcome.err
        return json.loads((tmp_path / "leak.json").read_text()) | {"out": outcome.out}

    return run


@pytest.fixture
def refused(run_cli: Run, tmp_path: Path) -> Run:
    def run(*arguments: Any) -> str:
        before = set(tmp_path.iterdir())
        outcome = run_cli("audit", *arguments, "--json", tmp_path / "leak.json")
        assert outcome.code == 2, outcome.err
        assert outcome.err.count("\n") == 1, outcome.err
        assert set(tmp_path.iterdir()) == before
        return outcome.err

    return run


def of(made: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in made["properties"] if one["property"] == name)


def usual(one: dict[str, Any]) -> dict[str, Any]:
    return next(m for m in one["methods"] if m["method"] == one["method"])


def manifest(folder: Path, source: RenderedFaces, rows: np.ndarray, sha256: str) -> Path:
    folder.mkdir()
    index = source.index()
    y, s = (index.attribute(name).codes for name in ("Smiling", "Male"))
    with (folder / "records.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("record", "target", "sensitive", "origin"))
        writer.writerows((index.names[i], 1 - y[i], s[i], "base") for i in rows)  # labels flipped
    (folder / "mix.json").write_text(
        json.dumps({"target": "Smiling", "sensitive": "Male", "source_sha256": sha256})
    )
    return folder


def test_the_verb_leak_is_the_same(leak, run_cli, samples, model, faces, tmp_path):
    for flag, what in (("--samples", samples), ("--model", model)):
        options = ["--properties", "Hat", "--queries", 60, *QUICK]
        made = leak(flag, what, "--reference", faces, *options)
        outcome = run_cli(
            "leak", what, "--against", faces, *options, "--json", tmp_path / "again.json"
        )
        assert outcome.code == 0, outcome.err
        again = json.loads((tmp_path / "again.json").read_text())
        assert {k: v for k, v in again.items() if k != "seconds"} == {
            k: v for k, v in made.items() if k not in ("seconds", "out")
        }
        (tmp_path / "again.json").unlink()


def test_known_shares_are_read_by_every_method_and_the_queries_are_planned(leak, samples, faces):
    made = leak(
        "--samples", samples, "--reference", faces, "--properties", "Hat", "Eyeglasses", *QUICK
    )
    assert made["queries"] == 700
    assert [one["property"] for one in made["properties"]] == ["Hat", "Eyeglasses"]
    for name, share in TRUTH.items():
        one = of(made, name)
        assert {m["method"] for m in one["methods"]} == {
            "cc",
            "pcc",
            "acc",
            "pacc",
            "emq",
            "dmy",
            "ml",
        }
        low, high = usual(one)["interval"]
        assert low <= share <= high
        assert one["truth"] is None
        counts = [point["queries"] for point in one["curve"]]
        assert counts == [125, 250, 500, 700]
        widths = [point["parts"]["sampling"] for point in one["curve"]]
        assert widths == sorted(widths, reverse=True)
    assert "advice" in made["out"]


def test_all_attributes_but_the_label_are_attacked_and_the_card_discloses_the_label(
    leak, model, faces
):
    made = leak("--model", model, "--reference", faces, "--queries", "60", *QUICK)
    names = [one["property"] for one in made["properties"]]
    assert "Smiling" not in names
    assert {"Hat", "Male", "Eyeglasses"} <= set(names)
    assert made["disclosed"] == [
        {
            "property": "Smiling",
            "by": "label_frequencies",
            "shares": {"not Smiling": 0.4, "Smiling": 0.6},
            "truth": None,
        }
    ]
    assert made["labels"] == "natural"
    asked = leak(
        "--model", model, "--reference", faces, "--queries", "60", *QUICK, "--properties", "Smiling"
    )
    assert [one["property"] for one in asked["properties"]] == ["Smiling"]


def test_the_manifest_gives_the_truth_of_its_own_source(leak, samples, faces, tmp_path_factory):
    folder, source = tmp_path_factory.mktemp("m"), RenderedFaces(**FACES)
    index = source.index()
    rows = np.flatnonzero(split(index, tuple(FACES["shares"]), 0) == 0)[:200]
    mine = manifest(folder / "mine", source, rows, index.sha256())
    arguments = (
        "--samples",
        samples,
        "--reference",
        faces,
        *QUICK,
        "--properties",
        "Hat",
        "Male",
        "--manifest",
    )
    made = leak(*arguments, mine)
    for name in ("Hat", "Male"):
        one = of(made, name)
        assert one["truth"] == pytest.approx(float(index.attribute(name).codes[rows].mean()))
        assert usual(one)["error"] == pytest.approx(usual(one)["estimate"] - one["truth"])
    other = leak(*arguments, manifest(folder / "other", source, rows, "0" * 64))
    assert of(other, "Hat")["truth"] is None
    assert of(other, "Male")["truth"] == of(made, "Male")["truth"]
    (used,) = made["notes"]
    parts = split(index, tuple(FACES["shares"]), 0)
    assert used == f"auxiliary part: {int((parts == 1).sum()):,} of {len(index):,} records"
    assert f"note:    {used}" in made["out"]
    _, *positions, note = other["notes"]
    assert note.startswith(
        "it was NOT checked that the model was not trained on records of the reference"
    )
    # a manifest of before names none
    assert [said.split(" have no names: ")[1] for said in positions] == [
        f"0, 1, ... are taken for 'not {name}', '{name}' of '{name}' of the reference, in this order"
        for name in ("Smiling", "Male")
    ]

    assert "source_sha256 differs" in note
    assert f"note:    {in_flags(note)}" in other["out"]
    _, unchecked = leak(*arguments[:-1])["notes"]
    assert "an auditor checks with `manifest`" in unchecked


def test_a_manifest_of_another_source_is_joined_by_its_names(
    leak, samples, faces, tmp_path_factory
):
    folder, source = tmp_path_factory.mktemp("m"), RenderedFaces(**FACES)
    rows = np.arange(0, 300)
    share = float(source.index().attribute("Male").codes[rows].mean())
    arguments = (
        "--samples",
        samples,
        "--reference",
        faces,
        *QUICK,
        "--properties",
        "Male",
        "--manifest",
    )
    for names, truth in ((["not Male", "Male"], share), (["Male", "not Male"], 1 - share)):
        made = manifest(folder / names[0], source, rows, "0" * 64)
        said = json.loads((made / "mix.json").read_text()) | {
            "classes": {"target": ["not Smiling", "Smiling"], "sensitive": names}
        }
        (made / "mix.json").write_text(json.dumps(said))
        found = leak(*arguments, made)
        assert of(found, "Male")["truth"] == pytest.approx(truth)
        assert not any("have no names" in note for note in found["notes"])


def test_the_membership_test_compares_records_of_the_same_attributes(
    leak, model, faces, tmp_path_factory
):
    folder, source = tmp_path_factory.mktemp("m"), RenderedFaces(**FACES)
    index = source.index()
    men = index.attribute("Male").codes == 1
    # of one group alone
    rows = np.flatnonzero((split(index, tuple(FACES["shares"]), 0) == 0) & men)[:120]
    mine = manifest(folder / "mine", source, rows, index.sha256())
    arguments = (
        "--model",
        model,
        "--reference",
        faces,
        "--queries",
        "40",
        *QUICK,
        "--properties",
        "Hat",
    )
    made = leak(*arguments, "--manifest", mine)
    found = made["membership"]
    assert found["matched"] == ["Smiling", "Male"]
    assert found["reason"] is None
    assert 60 < found["members"] == found["non_members"] <= 120
    for name in ("advantage", "auroc"):  # random weights remember nothing
        assert found[name]["estimate"] == pytest.approx(
            {"advantage": 0, "auroc": 0.5}[name], abs=0.25
        )
    assert "records: membership by the denoising loss: advantage" in made["out"]
    other = leak(*arguments, "--manifest", manifest(folder / "other", source, rows, "0" * 64))
    assert "the manifest is of another source" in other["membership"]["reason"]
    assert other["membership"]["advantage"] is None
    assert leak(*arguments)["membership"] is None


def test_a_model_that_remembers_is_reported_in_advice_and_card():
    losses = membership(np.arange(200.0), np.arange(100.0, 300.0))
    disclosed = Disclosed("Smiling", "label_frequencies", ("a", "b"), (0.5, 0.5), None)
    report = Report((), (disclosed,), 100, "natural", 0.95, None, MemberLeak(losses, ("Smiling",)))
    assert "or with DP-SGD" in report.advice
    assert f"AUROC {losses.auroc.estimate:.3f}" in section_of(report)[-1]
    silent = replace(report, membership=MemberLeak(None, reason="none"))
    assert "DP-SGD" not in silent.advice
    assert "membership" not in "".join(section_of(silent))


def test_labels_that_were_flipped_count_as_trained_on(leak, model, faces, tmp_path_factory):
    source = RenderedFaces(**FACES)
    rows = np.arange(100)
    folder = manifest(tmp_path_factory.mktemp("m") / "mix", source, rows, "0" * 64)
    made = leak("--model", model, "--reference", faces, "--queries", "40", *QUICK, "--properties", "Hat", "--manifest",
                folder)  # fmt: skip
    truth = made["disclosed"][0]["truth"]
    assert truth["Smiling"] == pytest.approx(
        1 - source.index().attribute("Smiling").codes[rows].mean()
    )


def test_a_column_is_counted_and_a_rare_class_says_so(leak, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    source = table_source(folder)
    write_rows(folder / "s" / "samples.csv", 800, 3)
    made = leak("--samples", folder / "s", "--reference", source, "--properties", "sex", "ward:b")
    assert of(made, "sex")["method"] == "column"
    assert usual(of(made, "sex"))["estimate"] == pytest.approx(0.5)
    assert of(made, "ward")["value"] == "b"
    assert of(made, "sex")["readable"]
    write_rows(folder / "hidden" / "samples.csv", 800, 4, without=("sex",))
    few = leak(
        "--samples",
        folder / "hidden",
        "--reference",
        source,
        "--properties",
        "sex",
        "--folds",
        "80",
    )
    assert "too few to calibrate" in of(few, "sex")["reason"]
    assert not of(few, "sex")["readable"]


def test_the_card_says_how_well_but_not_what_was_read(leak, model, faces, tmp_path_factory):
    folder = Path(shutil.copytree(model, tmp_path_factory.mktemp("copy") / "release"))
    arguments = (
        "--model",
        folder,
        "--reference",
        faces,
        "--queries",
        "60",
        *QUICK,
        "--properties",
        "Hat",
    )
    before = open_release(folder)
    for _ in range(2):  # the second time in the place of the first
        made = leak(*arguments, "--write-card")
        after = open_release(folder)  # every hash is checked
        assert after.sha256 == made["described_sha256"] != before.sha256
        text = (folder / "README.md").read_text()
        assert text.count("## What a receiver can read off it") == 1
        assert "| Hat: Hat | pacc |" in text
        assert f"{usual(of(made, 'Hat'))['estimate']:.3f}" not in text
        assert text.index("## What a receiver") < text.index("## How to sample it")
    assert {**after.card.to_json(), "files": None} == {**before.card.to_json(), "files": None}
    assert leak(*arguments)["described_sha256"] is None


@pytest.mark.parametrize("ok", [False, True])
def test_a_failed_check_stands_above_the_table(capsys, ok):
    one = Reading("pacc", 1000, 0.5, 0.4, 0.6, 0.1, 0.0)
    leak = Leak("Hat", "Hat", (one,), "pacc", Assumption(ok, 1.0, 0.01))
    show_leak(Report((leak,), (), 1000, "natural", 0.95, None))
    text = capsys.readouterr().out
    assert ("FAILS:" in text) == (not ok)
    if not ok:
        assert "the classifier of Hat does not err on the samples as on records (p = 0.010)" in text
        assert text.index("FAILS:") < text.index("50.0 %")
    assert "intervals assume that classifiers err on samples as on records" in " ".join(
        text.split()
    )


def test_what_a_half_width_needs_falls_with_its_square():
    one = Reading("pacc", 1000, 0.5, 0.4, 0.6, 0.1, 0.0)
    assert one.needed(0.1) == 1000
    assert one.needed(0.05) == 4000
    wide = Reading("pacc", 1000, 0.5, 0.4, 0.6, 0.1, WIDTH)
    assert wide.needed() is None
    assert Reading("pacc", 1000, 0.5, 0.4, 0.6, 0.04, 0.03).needed() == 1000


def test_what_does_not_go_together_is_refused_in_one_line(refused, samples, faces):
    sharer = ("--as", "sharer", "--samples", samples, "--reference", faces)
    assert "unknown attribute 'Cap'" in refused(*sharer, "--properties", "Cap")
    assert "'Hat' has no class 'Cap'" in refused(*sharer, "--properties", "Hat:Cap")
    assert "--write-card writes into a release" in refused(*sharer, "--write-card")
    assert "--margin is for a receiver's audit" in refused(*sharer, "--margin", "0.2")
    assert "add --reference FILE" in refused("--as", "sharer", "--samples", samples)
    assert "--properties is for a sharer" in refused(
        "--samples", samples, "--properties", "Hat", "--target", "Smiling"
    )
    assert "cannot read nowhere" in refused(*sharer, "--manifest", "nowhere")
    assert "701 queries asked of a folder of 700" in refused(
        *sharer, "--queries", "701", "--properties", "Hat"
    )


def test_a_reference_that_was_trained_on_is_refused(refused, samples, faces, tmp_path_factory):
    source = RenderedFaces(**FACES)
    folder = manifest(
        tmp_path_factory.mktemp("m") / "mix", source, np.arange(900), source.index().sha256()
    )
    line = refused("--as", "sharer", "--samples", samples, "--reference", faces, "--properties", "Hat", "--manifest",
                   folder)  # fmt: skip
    assert "auxiliary data must be disjoint" in line


def test_a_reading_is_what_infer_property_says_of_the_same_scores() -> None:
    rng = np.random.default_rng(0)
    known = np.arange(400) % 2
    calibration = Calibration(1 / (1 + np.exp(-rng.normal(3 * known - 1.5, 1.0))), known)
    s = np.where(np.arange(40) < 7, 0.9, 0.1)
    what, scores = Asked("p", ("no", "yes"), 1, 0.95), np.stack([1 - s, s], -1)[None]
    methods: tuple[Method, ...] = ("cc", "emq", "pacc")
    for method in methods:
        read = _by(what, method, calibration, scores)
        usual = infer(what._replace(resamples=RESAMPLES), method, calibration, scores)
        assert (read.low, read.high, read.sampling) == (usual.low, usual.high, usual.sampling)
        assert read.classifier == usual.classifier
