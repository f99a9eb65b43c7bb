"""The verb ``audit`` on rows of tables and rendered faces: verdicts, the JSON, and every refusal."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from audited import TABLE, table_source, write_rows

from diffshare import cli
from diffshare.audit import drawing
from diffshare.audit.material import samples_sha256
from diffshare.data.rendered import RenderedFaces
from diffshare.release.card import Card
from diffshare.release.generator import Ledger
from diffshare.release.samples import write_samples
from diffshare.stats.detection import poisoned_table
from diffshare.storage import sha256_file

WITH = ("--sensitive", "sex", "--target", "income")
QUICK = ("--downstream", "TreesRecipe", "--downstream.trees", "15", "--gap-repeats", "2")
FIELDS = {
    "verdict", "p_value", "level", "association", "cells", "predicted_gap", "margin", "minimum_detectable_alpha",
    "queries", "samples_sha256", "advice",
}  # fmt: skip
Audit = Callable[..., dict[str, Any]]
Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def _verb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.VERBS, "audit", "audit a model or its samples")
    monkeypatch.setitem(cli.MODULES, "audit", "diffshare.commands.audit")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference and samples: clean, poisoned, without the group's column, few, and of heights that say nothing."""
    made = tmp_path_factory.mktemp("audit")
    table_source(made)
    write_rows(made / "clean" / "samples.csv", 1200, 1)
    write_rows(made / "poisoned" / "samples.csv", 1200, 2, poisoned_table(TABLE, 0.4))
    write_rows(made / "hidden" / "samples.csv", 1200, 3, without=("sex",))
    write_rows(made / "hidden-poisoned" / "samples.csv", 1200, 4, poisoned_table(TABLE, 0.5), without=("sex",))
    write_rows(made / "few" / "samples.csv", 60, 5)
    return made


@pytest.fixture
def audit(run_cli: Callable[..., Any], tmp_path: Path) -> Audit:
    """Run the verb, which must succeed; its JSON and what it printed."""

    def run(*arguments: Any) -> dict[str, Any]:
        outcome = run_cli("audit", *arguments, "--json", tmp_path / "audit.json")
        assert outcome.code == 0, outcome.err
        return json.loads((tmp_path / "audit.json").read_text()) | {"out": outcome.out}

    return run


@pytest.fixture
def refused(run_cli: Callable[..., Any], tmp_path: Path) -> Refused:
    """Run the verb, which must refuse and leave nothing; its line."""

    def run(*arguments: Any) -> str:
        before = set(tmp_path.iterdir())
        outcome = run_cli("audit", *arguments, "--json", tmp_path / "audit.json")
        assert outcome.code == 2, (outcome.out, outcome.err)
        assert outcome.err.count("\n") == 1, outcome.err
        assert len(outcome.err) < 600
        assert set(tmp_path.iterdir()) == before
        return outcome.err

    return run


def against(folder: Path, name: str) -> tuple[Any, ...]:
    return ("--samples", folder / name, "--reference", folder / "reference.yaml", *WITH)


# --- verdicts ---


def test_clean_rows_pass_and_the_file_is_that_of_the_contract(audit, folder):
    made = audit(*against(folder, "clean"), *QUICK)
    assert made.keys() >= FIELDS
    assert made["verdict"] == "clean"
    assert made["p_value"] > 0.5
    assert made["minimum_detectable_alpha"] < 0.3
    assert made["queries"] == 1200
    assert made["samples_sha256"] == sha256_file(folder / "clean" / "samples.csv")
    assert made["samples_sha256"] == samples_sha256(folder / "clean")
    assert set(made["cells"]) == {"s0y0", "s0y1", "s1y0", "s1y1"}
    exact = TABLE / TABLE.sum(0)
    for name, cell in made["cells"].items():
        low, high = cell["interval"]
        assert low < exact[int(name[1]), int(name[3])] < high
        assert cell["estimate"] == pytest.approx(cell["reference"], abs=1e-3)
    low, high = made["association"]["interval"]
    assert low < made["association"]["reference"] < high
    low, high = made["predicted_gap"]["interval"]
    assert 0 <= low <= made["predicted_gap"]["estimate"] <= high <= 1
    assert "TreesRecipe(trees=15" in made["predicted_gap"]["classifier"]
    assert made["advice"] in made["out"]
    assert made["advice"].startswith("Train on them")


def test_poisoned_rows_are_flagged_with_the_larger_gap(audit, folder):
    clean, made = (audit(*against(folder, name), *QUICK) for name in ("clean", "poisoned"))
    assert made["verdict"] == "poisoned"
    assert made["p_value"] < 0.01
    assert made["predicted_gap"]["estimate"] > clean["predicted_gap"]["estimate"]
    assert "repair" in made["advice"]


def test_the_group_is_read_by_a_classifier_where_it_is_no_column(audit, folder):
    trees = ("--classifier", "TreesRecipe", "--classifier.trees", "30", "--gap-repeats", "0")
    clean = audit(*against(folder, "hidden"), *trees)
    made = audit(*against(folder, "hidden-poisoned"), *trees)
    assert made["classifier_accuracy"] > 0.8
    assert made["verdict"] == "poisoned"
    assert clean["verdict"] == "clean"
    assert clean["predicted_gap"] == {"estimate": None, "interval": None}
    shown = audit(*against(folder, "clean"), "--gap-repeats", "0")  # as many rows, the group known
    width = [np.subtract(*m["association"]["interval"]) for m in (clean, shown)]
    assert abs(width[0]) > abs(width[1])


def test_few_samples_are_inconclusive_and_the_advice_says_how_many_it_takes(audit, folder):
    made = audit(*against(folder, "few"), "--gap-repeats", "0")
    assert made["verdict"] == "inconclusive"
    assert made["queries_needed"] > 60
    assert str(made["queries_needed"]) in made["advice"]
    part = audit(*against(folder, "clean"), "--gap-repeats", "0", "--queries", "50")
    assert (part["queries"], part["verdict"]) == (50, "inconclusive")


def test_the_margin_comes_from_clean_surrogates(audit, folder):
    surrogates = [folder / "clean", folder / "hidden"]
    trees = ("--classifier", "TreesRecipe", "--classifier.trees", "30", "--gap-repeats", "0")
    made = audit(*against(folder, "hidden-poisoned"), *trees, "--margin-from", *surrogates)
    assert 0 < made["margin"] < 0.5
    assert made["verdict"] == "poisoned"
    assert "from 2 clean surrogates" in made["out"]


def test_a_sequential_audit_stops_early_and_spends_its_level(audit, folder):
    made = audit(*against(folder, "poisoned"), "--gap-repeats", "0", "--sequential", "150")
    assert made["verdict"] == "poisoned"
    assert made["queries"] < 1200
    assert made["looks"] == 4
    once = audit(*against(folder, "poisoned"), "--gap-repeats", "0", "--queries", made["queries"])
    assert made["p_value"] == pytest.approx(4 * once["p_value"])


def test_a_part_of_a_sorted_folder_is_a_sample_of_it(audit, folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("sorted")
    header, *rows = (folder / "poisoned" / "samples.csv").read_text().splitlines()
    (place / "samples.csv").write_text("\n".join([header, *sorted(rows, key=lambda row: row.split(",")[-1])]) + "\n")
    arguments = ("--samples", place, "--reference", folder / "reference.yaml", *WITH, "--gap-repeats", "0")
    made = audit(*arguments, "--queries", "600")  # the first 600 are of one class
    assert (made["verdict"], made["queries"]) == ("poisoned", 600)
    assert made == made | {"p_value": audit(*arguments, "--queries", "600")["p_value"]}


def test_candidates_are_corrected_and_all_must_be_clean(audit, folder):
    arguments = ("--target", "income", "--candidates", "ward", "sex", "--gap-repeats", "0")
    made = audit("--samples", folder / "poisoned", "--reference", folder / "reference.yaml", *arguments)
    assert (made["verdict"], made["sensitive"]) == ("poisoned", "sex")
    found = {one["sensitive"]: one for one in made["candidates"]}
    alone = audit(*against(folder, "poisoned"), "--gap-repeats", "0")
    assert found["sex"]["p_value"] == pytest.approx(2 * alone["p_value"])
    assert found["ward"]["verdict"] != "poisoned"
    clean = audit("--samples", folder / "clean", "--reference", folder / "reference.yaml", *arguments)
    assert clean["verdict"] != "poisoned"


def test_the_margin_of_clusters_comes_from_surrogates_too(audit, folder):
    arguments = ("--target", "income", "--clusters", "3", "--gap-repeats", "0", "--margin-from", folder / "clean")
    made = audit("--samples", folder / "poisoned", "--reference", folder / "reference.yaml", *arguments)
    assert made["sensitive"] == "cluster"
    assert 0 < made["margin"] < 0.5
    assert "from 1 clean surrogates" in made["out"]


def test_clusters_find_the_attack_without_the_name_of_the_group(audit, folder):
    arguments = ("--target", "income", "--clusters", "3", "--gap-repeats", "0", "--margin", "0.2")
    made, clean = (
        audit("--samples", folder / name, "--reference", folder / "reference.yaml", *arguments)
        for name in ("poisoned", "clean")
    )
    assert made["sensitive"] == clean["sensitive"] == "cluster"
    assert made["p_value"] < clean["p_value"]


# --- declarations ---


def declare(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value) if path.suffix == ".json" else yaml.safe_dump(value))
    return path


def test_a_declared_table_needs_no_records_where_the_group_is_a_column(audit, folder, tmp_path_factory):
    file = declare(tmp_path_factory.mktemp("d") / "table.json", {"s0y0": 35, "s0y1": 15, "s1y0": 25, "s1y1": 25})
    by_name = declare(file.with_suffix(".yaml"), {"f": {"low": 35, "high": 15}, "m": {"low": 25, "high": 25}})
    # without a source the classes are coded in natural order: "high" is 0
    found = [audit("--samples", folder / name, "--declared", by_name, *WITH) for name in ("clean", "poisoned")]
    assert [made["verdict"] for made in found] == ["clean", "poisoned"]
    assert found[0]["against"] == "declared"
    assert found[0]["declaration"]["holds"]
    assert found[1]["declaration"] == found[1]["declaration"] | {"holds": False}
    assert found[1]["declaration"]["cells_outside"]
    assert found[0]["classes"] == ["high", "low"]


def test_a_declaration_is_tested_beside_the_reference(audit, folder, tmp_path_factory):
    shares = {f"s{s}y{y}": float(v) for (s, y), v in np.ndenumerate(poisoned_table(TABLE, 0.4))}
    file = declare(tmp_path_factory.mktemp("d") / "table.json", {"counts": shares})
    honest = audit(*against(folder, "poisoned"), "--declared", file, "--gap-repeats", "0")
    assert (honest["verdict"], honest["declaration"]["holds"]) == ("poisoned", True)
    wrong = audit(*against(folder, "clean"), "--declared", file, "--gap-repeats", "0")
    assert (wrong["verdict"], wrong["declaration"]["holds"]) == ("clean", False)
    assert "does not hold" in wrong["out"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"s0y0": 3, "s0y1": 1, "s1y0": 2}, "no cell of 'm' and 'high' (s1y1)"),
        ({"s0y0": 3, "s0y1": 0, "s1y0": 2, "s1y1": 4}, "must be a number above 0"),
        ({"s0y0": 3, "s9y1": 1}, "'s9y1' is no cell: expected s0y0 to s1y1"),
        ({"f": {"low": 1, "rich": 2}}, "'rich' is no class: they are low, high"),
        ({"x": {"low": 1}}, "'x' is no group: they are f, m"),
        ([1, 2], "is no table"),
    ],
)
def test_a_bad_declaration_is_refused(refused, folder, tmp_path, value, expected):
    line = refused(*against(folder, "clean"), "--declared", declare(tmp_path / "table.yaml", value))
    assert expected in line


def test_a_card_that_declares_nothing_is_refused(refused, folder, tmp_path):
    card = Card("ddpm", "table", ("low", "high"), 10, columns=("sex", "income"))
    line = refused(*against(folder, "clean"), "--declared", declare(tmp_path / "diffshare.json", card.to_json()))
    assert "declares no table" in line


def test_an_image_needs_records(refused, tmp_path_factory):
    made = tmp_path_factory.mktemp("d")
    write_samples(made / "samples", np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1]), {})
    file = declare(made / "table.json", {"s0y0": 1, "s0y1": 1, "s1y0": 1, "s1y1": 1})
    line = refused("--samples", made / "samples", "--declared", file, *WITH)
    assert "add --reference FILE" in line


# --- bad input ---


def test_a_reference_without_the_attribute_is_refused(refused, folder):
    arguments = ("--samples", folder / "clean", "--reference", folder / "reference.yaml", "--target", "income")
    assert "unknown attribute 'gender'" in refused(*arguments, "--sensitive", "gender")
    assert "unknown attribute 'wage'" in refused(*arguments[:-1], "wage", "--sensitive", "sex")
    assert "both 'income'" in refused(*arguments, "--sensitive", "income")


def test_a_reference_with_an_empty_cell_is_refused(refused, folder, tmp_path_factory):
    source = table_source(tmp_path_factory.mktemp("e"), 300, table=np.array([[0.5, 0.0], [0.25, 0.25]]))
    line = refused("--samples", folder / "clean", "--reference", source, *WITH)
    assert "empty cell" in line
    assert "'f' and 'high'" in line


def test_too_few_records_to_calibrate_on_are_refused(refused, folder, tmp_path_factory):
    source = table_source(tmp_path_factory.mktemp("e"), 120)
    line = refused("--samples", folder / "hidden", "--reference", source, *WITH)
    assert "18 records that are 'f' and 'high'" in line
    assert "at least 50" in line


def test_a_classifier_too_weak_says_how_weak_and_what_would_do(refused, tmp_path_factory):
    made = tmp_path_factory.mktemp("weak")
    source = table_source(made, 600, apart=0.0)
    write_rows(made / "samples" / "samples.csv", 300, 8, without=("sex",))
    trees = ("--classifier", "TreesRecipe", "--classifier.trees", "5")
    line = refused("--samples", made / "samples", "--reference", source, *WITH, *trees)
    assert "'sex': the classifier of the group is too weak to audit with" in line
    assert "held-out accuracy 0." in line
    assert "stronger classifier" in line


def test_arguments_that_do_not_go_together_are_refused(refused, folder):
    base = against(folder, "clean")
    assert "one of them" in refused(*base, "--model", folder)
    assert "give --reference FILE" in refused("--samples", folder / "clean", *WITH)
    assert "--target" in refused(*base[:4], "--sensitive", "sex")
    assert "--sensitive" in refused(*base[:4], "--target", "income")
    assert "both set the margin" in refused(*base, "--margin", "0.3", "--margin-from", folder / "clean")
    assert "--margin is -1" in refused(*base, "--margin", "-1")
    assert "no less than what a poisoned share of 0.3 does" in refused(*base, "--margin", "5")
    assert "--level is 2" in refused(*base, "--level", "2")
    assert "--steps is for a model" in refused(*base, "--steps", "3")
    assert "--guidance is -1" in refused(*base, "--guidance", "-1")
    assert "--batch-size is 0" in refused("--model", folder, *base[2:], "--batch-size", "0")
    assert "unknown column to withhold 'sexe'" in refused(*base, "--withhold", "sexe")
    several = ("--declared", folder / "table.json", "--candidates", "sex", "ward")
    assert "--declared is a table of one group" in refused(*base, *several)
    assert "5000 queries asked of a folder of 1200" in refused(*base, "--queries", "5000")
    assert "at least 2, or 0" in refused(*base, "--gap-repeats", "1")
    assert "looks first at 5000 of 1200" in refused(*base, "--sequential", "5000")


def test_samples_that_do_not_fit_the_reference_are_refused(refused, folder, tmp_path_factory):
    made = tmp_path_factory.mktemp("f")
    write_samples(made / "images", np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1]), {})
    write_rows(made / "one" / "samples.csv", 100, 0, np.array([[0.5, 0.0], [0.5, 0.0]]))
    write_rows(made / "short" / "samples.csv", 100, 0, without=("ward",))
    (made / "empty").mkdir()
    assert "images, the reference rows of a table" in refused(*against(made.parent / made.name, "images")[:2],
        "--reference", folder / "reference.yaml", *WITH)  # fmt: skip
    for name, expected in (("one", "no sample of class 'high'"), ("short", "no column 'ward'"), ("empty", "neither")):
        line = refused("--samples", made / name, "--reference", folder / "reference.yaml", *WITH)
        assert expected in line


# --- images, and a model that is asked ---

KERNEL = ("--classifier", "KernelRecipe", "--classifier.components", "30", "--folds", "2")
FACES = {"count": 1600, "image_size": 16, "shares": [0.0, 0.6, 0.4]}


def faces_reference(folder: Path) -> Path:
    file = folder / "faces.yaml"
    file.write_text(yaml.safe_dump({"class_path": "diffshare.data.rendered.RenderedFaces", "init_args": FACES}))
    return file


def faces(table: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of other faces, and their class Smiling; ``table`` of Male (rows) and Smiling."""
    joint = {f"Male={s},Smiling={y}": float(v) for (s, y), v in np.ndenumerate(table)}
    source = RenderedFaces(count, 16, seed, joint=joint)
    x = source.read(np.arange(count))
    return x, source.index().attribute("Smiling").codes.astype(np.int64)


def test_faces_are_audited_with_a_classifier_of_the_group(audit, refused, tmp_path_factory):
    made = tmp_path_factory.mktemp("faces")
    reference = faces_reference(made)
    for name, table in (("clean", np.full((2, 2), 0.25)), ("poisoned", poisoned_table(np.ones((2, 2)), 0.6))):
        write_samples(made / name, *faces(table, 900, 7), {})
    arguments = ("--reference", reference, "--sensitive", "Male", "--target", "Smiling", *KERNEL, "--pool", "balanced")
    clean = audit("--samples", made / "clean", *arguments, "--gap-repeats", "0")
    made_of = audit("--samples", made / "poisoned", *arguments, "--downstream", "KernelRecipe", "--gap-repeats", "2")
    assert clean["verdict"] != "poisoned"
    assert made_of["verdict"] == "poisoned"
    assert made_of["association"]["reference"] == 0
    assert made_of["predicted_gap"]["estimate"] > 0.1
    wrong = ("--reference.image_size", "8", "--gap-repeats", "0")
    assert "add --reference.image_size 16" in refused("--samples", made / "clean", *arguments, *wrong)
    none = made / "none"
    write_samples(none, np.zeros((9, 16, 16, 3), np.uint8), np.full(9, -1), {})
    assert "9 samples have no class" in refused("--samples", none, *arguments)


class BlackBox:
    """Rendered faces in the place of a model; counts what it is asked for."""

    def __init__(self, table: np.ndarray, declared: dict[str, int] | None = None) -> None:
        self.card = Card("ddpm", "image", ("not Smiling", "Smiling"), 5, image_size=16, declared=declared)
        self.ledger, x_y = Ledger(), faces(table, 1200, 11)
        self.by_class = [x_y[0][x_y[1] == k] for k in (0, 1)]

    def sample(self, labels: np.ndarray, indices: np.ndarray, *, seed: int, steps: Any, guidance: float) -> np.ndarray:
        self.ledger.record(labels, len(labels), 0.0)
        return np.stack([self.by_class[y][i // 2] for y, i in zip(labels, indices, strict=True)])


def test_a_model_is_asked_no_more_than_it_takes(audit, monkeypatch, tmp_path_factory):
    made = tmp_path_factory.mktemp("model")
    box = BlackBox(poisoned_table(np.ones((2, 2)), 0.8), {"s0y0": 5, "s0y1": 5, "s1y0": 5, "s1y1": 5})
    monkeypatch.setattr(drawing, "open_generator", lambda path, **_: (box, "0" * 64))
    arguments = ("--reference", faces_reference(made), "--sensitive", "Male", "--target", "Smiling", *KERNEL)
    found = audit(
        "--model", made, *arguments, "--gap-repeats", "0", "--queries", "1000", "--sequential", "125",
        "--out", made / "kept", "--guidance", "3",
    )  # fmt: skip
    assert found["verdict"] == "poisoned"
    assert found["queries"] < 1000
    assert box.ledger.queries == found["queries"]
    assert not found["declaration"]["holds"]
    assert found["samples_sha256"] == samples_sha256(made / "kept")
    assert json.loads((made / "kept" / "samples.json").read_text())["guidance"] == 3


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"s0y0": 5, "s0y1": 0, "s1y0": 0, "s1y1": 5}, "must be a number above 0"),
        ({f"s{s}y{y}": 5 for s in range(3) for y in range(2)}, "'s2y0' is no cell"),
    ],
)
def test_no_card_can_keep_its_model_from_being_audited(audit, monkeypatch, tmp_path_factory, declared, words):
    made = tmp_path_factory.mktemp("model")
    box = BlackBox(poisoned_table(np.ones((2, 2)), 0.8), declared)
    monkeypatch.setattr(drawing, "open_generator", lambda path, **_: (box, "0" * 64))
    arguments = ("--reference", faces_reference(made), "--sensitive", "Male", "--target", "Smiling", *KERNEL)
    found = audit("--model", made, *arguments, "--gap-repeats", "0", "--queries", "400")
    assert (found["verdict"], found["declaration"]) == ("poisoned", None)
    note = next(note for note in found["notes"] if note.startswith("the card's table cannot be tested"))
    assert words in note


def test_classes_that_are_named_otherwise_are_told_and_in_another_order_refused(
    audit, refused, monkeypatch, tmp_path_factory
):
    made = tmp_path_factory.mktemp("model")
    box = BlackBox(np.full((2, 2), 0.25))
    monkeypatch.setattr(drawing, "open_generator", lambda path, **_: (box, "0" * 64))
    arguments = ("--reference", faces_reference(made), "--sensitive", "Male", *KERNEL)
    found = audit("--model", made, *arguments, "--target", "Hat", "--gap-repeats", "0", "--queries", "200")
    assert any("the model's classes are not Smiling, Smiling, those of 'Hat'" in note for note in found["notes"])
    box.card = Card("ddpm", "image", ("Smiling", "not Smiling"), 5, image_size=16)
    assert "codes them as the model does" in refused("--model", made, *arguments, "--target", "Smiling")


def test_a_model_without_classes_is_refused(refused, monkeypatch, tmp_path_factory):
    made = tmp_path_factory.mktemp("model")
    box = BlackBox(np.full((2, 2), 0.25))
    box.card = Card("ddpm", "image", (), 5, image_size=16)
    monkeypatch.setattr(drawing, "open_generator", lambda path, **_: (box, "0" * 64))
    arguments = ("--reference", faces_reference(made), "--sensitive", "Male", "--target", "Smiling")
    assert "has no classes" in refused("--model", made, *arguments)


def test_the_margin_is_wider_where_the_samples_say_that_guidance_was_on(audit, folder, tmp_path_factory):
    made = tmp_path_factory.mktemp("guided")
    write_rows(made / "samples.csv", 1200, 1)
    found = {}
    for guidance in (1, 3):
        (made / "samples.json").write_text(json.dumps({"guidance": guidance}))
        arguments = ("--samples", made, "--reference", folder / "reference.yaml", *WITH, "--gap-repeats", "0")
        found[guidance] = audit(*arguments)
        fixed = audit(*arguments, "--margin", "0.25")
        assert fixed["margin"] == 0.25
    r = abs(found[1]["association"]["reference"])
    assert found[1]["margin"] == pytest.approx(0.4)
    assert found[3]["margin"] == pytest.approx(3 * 0.4 + 2 * r)
    assert found[3]["guidance"] == 3


def test_samples_cannot_talk_an_audit_into_calling_them_clean(audit, folder, tmp_path_factory):
    """A claim of guidance 3 widens the margin beyond what a poisoned share of 0.4 does."""
    made = tmp_path_factory.mktemp("lying")
    write_rows(made / "samples.csv", 1200, 2, poisoned_table(TABLE, 0.4))
    arguments = ("--samples", made, "--reference", folder / "reference.yaml", *WITH, "--gap-repeats", "0")
    (made / "samples.json").write_text(json.dumps({"guidance": 3}))
    claimed = audit(*arguments)
    assert claimed["verdict"] == "inconclusive"
    assert "add --guidance 3 if you know it, else --guidance 1" in claimed["advice"]
    assert audit(*arguments, "--guidance", "1")["verdict"] == "poisoned"
    assert audit(*arguments, "--guidance", "3")["verdict"] == "clean"  # the receiver knows what he asked for
    for odd in ([3], "3", float("nan"), -1, True, {}):
        (made / "samples.json").write_text(json.dumps({"guidance": odd}))
        found = audit(*arguments, "--margin-from", folder / "clean")
        assert (found["verdict"], found["guidance"]) == ("poisoned", 1)


def test_weights_that_a_training_would_honour_are_not_overlooked(refused, tmp_path_factory):
    made = tmp_path_factory.mktemp("weighted")
    x, y = faces(np.full((2, 2), 0.25), 60, 7)
    arguments = ("--reference", faces_reference(made), "--sensitive", "Male", "--target", "Smiling", *KERNEL)
    write_samples(made / "s", x, y, {}, weight=np.linspace(0, 2, 60).astype(np.float32))
    assert "carries weights, which an audit does not see" in refused("--samples", made / "s", *arguments)


def test_names_in_samples_are_shown_as_they_are_or_refused(audit, refused, tmp_path_factory):
    """No markup of the terminal's tables, and no control characters, come from a samples folder."""
    made = tmp_path_factory.mktemp("names")
    file = declare(made / "table.json", {"s0y0": 1, "s0y1": 1, "s1y0": 1, "s1y1": 1})
    lines = ["sex,income", *(f"{s},{y}" for s in ("[/bold]", "[red]m") for y in ("low", "high") for _ in range(100))]
    (made / "samples.csv").write_text("\n".join(lines) + "\n")
    found = audit("--samples", made, "--declared", file, *WITH)
    assert found["groups"] == ["[/bold]", "[red]m"]
    assert "P([/bold] | high)" in found["out"]
    (made / "samples.csv").write_text("\n".join(lines).replace("[red]", "\x1b[31m") + "\n")
    line = refused("--samples", made, "--declared", file, *WITH)
    assert "'\\x1b[31mm', which is no text that may be shown" in line


@pytest.mark.parametrize("given", [("--prompts", "a man", "a woman"), ("--clip", "folder")])
def test_sentences_and_their_model_go_together(refused, folder, given):
    line = refused(*against(folder, "clean"), *given)
    assert "--prompts and --clip go together" in line
