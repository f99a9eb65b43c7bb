"""What the verb ``audit`` refuses of rows: references, classifiers, arguments and samples that do not fit."""

from pathlib import Path

import numpy as np
import pytest
from audited import WITH, against, declare, table_source, write_rows

from diffshare.release.samples import write_samples


def test_a_reference_without_the_attribute_is_refused(refused, folder):
    arguments = (
        "--samples",
        folder / "clean",
        "--reference",
        folder / "reference.yaml",
        "--target",
        "income",
    )
    assert "unknown attribute 'gender'" in refused(*arguments, "--sensitive", "gender")
    assert "unknown attribute 'wage'" in refused(*arguments[:-1], "wage", "--sensitive", "sex")
    assert "both 'income'" in refused(*arguments, "--sensitive", "income")


def test_a_reference_with_an_empty_cell_is_refused(refused, folder, tmp_path_factory):
    source = table_source(
        tmp_path_factory.mktemp("e"), 300, table=np.array([[0.5, 0.0], [0.25, 0.25]])
    )
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
    assert "both set the margin" in refused(
        *base, "--margin", "0.3", "--margin-from", folder / "clean"
    )
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


def test_a_file_that_cannot_be_written_is_refused_before_any_work(run_cli, folder, monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the reference was opened")

    monkeypatch.setattr("diffshare.receiver.records.Records.from_source", never)
    for place, words in (("reference.csv/audit.json", "is not a folder"), (".", "it is a folder")):
        outcome = run_cli("audit", *against(folder, "clean"), "--json", folder / place)
        assert outcome.code == 2
        assert "cannot write" in outcome.err
        assert words in outcome.err


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("model", "lies in the release"),
        ("model/samples", "lies in the release"),
        (".", "is where the release"),
    ],
)
def test_samples_are_kept_neither_in_the_release_nor_around_it(
    refused, folder, tmp_path, place, words
):
    """``--overwrite`` would take the release along."""
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    (model / "diffshare.json").write_text("{}")
    arguments = ("--model", model, "--reference", folder / "reference.yaml", *WITH, "--overwrite")
    assert words in refused(*arguments, "--out", tmp_path / "run" / place)
    assert sorted((tmp_path / "run").rglob("*")) == [model, model / "diffshare.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"guidance": NaN}', "is not valid JSON"),
        ("[]", "must be a JSON object"),
        ("{", "not valid"),
    ],
)
def test_a_samples_json_that_is_none_is_refused(refused, folder, tmp_path_factory, text, words):
    made = tmp_path_factory.mktemp("odd")
    write_rows(made / "samples.csv", 100, 1)
    (made / "samples.json").write_text(text)
    line = refused("--samples", made, "--reference", folder / "reference.yaml", *WITH)
    assert "samples.json" in line
    assert words in line


def test_rows_beyond_the_bounds_are_refused(refused, folder, tmp_path_factory, monkeypatch):
    made = tmp_path_factory.mktemp("large")
    write_rows(made / "samples.csv", 100, 1)
    arguments = ("--samples", made, "--reference", folder / "reference.yaml", *WITH)
    for bound, words in (("MAX_CSV", "larger than 20 bytes"), ("MAX_ROWS", "more than 20 lines"),
                         ("MAX_LINE", "a line of more than 20 bytes")):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(f"diffshare.release.tables.{bound}", 20)
            assert words in refused(*arguments)


def test_samples_that_do_not_fit_the_reference_are_refused(refused, folder, tmp_path_factory):
    made = tmp_path_factory.mktemp("f")
    write_samples(made / "images", np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1]), {})
    write_rows(made / "one" / "samples.csv", 100, 0, np.array([[0.5, 0.0], [0.5, 0.0]]))
    write_rows(made / "short" / "samples.csv", 100, 0, without=("ward",))
    (made / "empty").mkdir()
    assert "images, the reference rows of a table" in refused(*against(made.parent / made.name, "images")[:2],
        "--reference", folder / "reference.yaml", *WITH)  # fmt: skip
    for name, expected in (
        ("one", "no sample of class 'high'"),
        ("short", "no column 'ward'"),
        ("empty", "without images, samples"),
    ):
        line = refused("--samples", made / name, "--reference", folder / "reference.yaml", *WITH)
        assert expected in line


def test_names_in_samples_are_shown_as_they_are_or_refused(audit, refused, tmp_path_factory):
    """No markup of the terminal's tables, and no control characters, come from a samples folder."""
    made = tmp_path_factory.mktemp("names")
    file = declare(made / "table.json", {"s0y0": 1, "s0y1": 1, "s1y0": 1, "s1y1": 1})
    lines = [
        "sex,income",
        *(f"{s},{y}" for s in ("[/bold]", "[red]m") for y in ("low", "high") for _ in range(100)),
    ]
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


def test_the_group_is_not_the_class_with_a_declared_table_either(refused, folder, tmp_path):
    file = declare(tmp_path / "table.json", {"s0y0": 1, "s0y1": 1, "s1y0": 1, "s1y1": 1})
    alone = ("--samples", folder / "clean", "--declared", file, "--target", "income")
    assert "--sensitive and --target are both 'income'" in refused(*alone, "--sensitive", "income")


@pytest.mark.parametrize(
    "given",
    [
        ("--withhold", "ward"),
        ("--manifest", "mix"),
        ("--classifier", "TreesRecipe"),
        ("--downstream", "TreesRecipe"),
        ("--sequential", "10"),
        ("--degrade",),
    ],
)
def test_what_a_declared_table_alone_has_no_use_for_is_refused(refused, folder, tmp_path, given):
    file = declare(tmp_path / "table.json", {"s0y0": 1, "s0y1": 1, "s1y0": 1, "s1y1": 1})
    line = refused("--samples", folder / "clean", "--declared", file, *WITH, *given)
    assert f"{given[0]} needs records: add --reference FILE, or leave it out" in line


@pytest.mark.parametrize(
    "given",
    [
        ("--margin", "0"),
        ("--prompts", "a man", "a woman"),
        ("--clip", "folder"),
        ("--gap-repeats", "0"),
        ("--alpha", "0.2"),
        ("--power", "0.9"),
        ("--pool", "balanced"),
    ],
)
def test_what_a_sharer_has_no_use_for_is_refused(refused, folder, given):
    sharer = (
        "--as",
        "sharer",
        "--samples",
        folder / "clean",
        "--reference",
        folder / "reference.yaml",
    )
    assert f"{given[0]} is for a receiver's audit" in refused(*sharer, *given)


def renamed(folder: Path, made: Path, change: dict[str, str]) -> Path:
    """The clean samples with other texts in the column ``sex``."""
    lines = (folder / "clean" / "samples.csv").read_text().splitlines()
    place = lines[0].split(",").index("sex")
    rows = [line.split(",") for line in lines]
    for row in rows[1:]:
        row[place] = change.get(row[place], row[place])
    made.mkdir()
    (made / "samples.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"m": "M"},
            "column 'sex' are 'f', 'M', those of 'sex' of the reference 'f', 'm': 'M' is not 'm', names must",
        ),
        ({"m": "M", "f": "F"}, "'F' is not 'f' and 'M' is not 'm'"),
        (
            {"m": "1", "f": "0"},
            "are '0', '1', those of 'sex' of the reference 'f', 'm': no name fits",
        ),
    ],
)
def test_groups_that_are_written_otherwise_are_told(
    refused, folder, tmp_path_factory, change, said
):
    made = renamed(folder, tmp_path_factory.mktemp("renamed") / "s", change)
    assert said in refused("--samples", made, *against(folder, "")[2:])


def test_texts_that_are_no_group_are_told(audit, folder, tmp_path_factory):
    made = tmp_path_factory.mktemp("renamed") / "s"
    lines = renamed(folder, made, {}).joinpath("samples.csv").read_text().splitlines()
    lines[1:4] = [line.replace(",f,", ",none,").replace(",m,", ",none,") for line in lines[1:4]]
    (made / "samples.csv").write_text("\n".join(lines) + "\n")
    found = audit("--samples", made, *against(folder, "")[2:], "--gap-repeats", "0")
    assert found["unknown"]["samples"] == 3
    assert (
        "the samples' column 'sex' holds 'none', the reference knows 'f', 'm' alone"
        in found["notes"]
    )
    assert "auxiliary part: 1,500 of 1,500 records" in found["notes"]


def test_a_class_without_a_sample_of_known_group_is_named(refused, folder, tmp_path_factory):
    made = tmp_path_factory.mktemp("renamed") / "s"
    lines = renamed(folder, made, {}).joinpath("samples.csv").read_text().splitlines()
    lines[1:] = [
        line.replace(",f,high", ",?,high").replace(",m,high", ",?,high") for line in lines[1:]
    ]
    (made / "samples.csv").write_text("\n".join(lines) + "\n")
    line = refused("--samples", made, *against(folder, "")[2:])
    assert (
        "no sample of class 'high' has a 'sex' that is one of 'f', 'm': fill the column in" in line
    )
