"""The verb ``audit`` on rows of tables: verdicts, the JSON, margins, looks and candidates."""

import json

import numpy as np
import pytest
from audited import TABLE, WITH, against, write_rows

from diffshare.receiver.samples import samples_sha256
from diffshare.stats.detection import poisoned_table
from diffshare.storage import sha256_file

QUICK = ("--downstream", "TreesRecipe", "--downstream.trees", "15", "--gap-repeats", "2")
FIELDS = {
    "verdict", "p_value", "level", "association", "cells", "predicted_gap", "margin", "minimum_detectable_alpha",
    "queries", "samples_sha256", "advice",
}  # fmt: skip


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
    own = made["reference_gap"]  # honest samples, so that it is the predicted gap but for chance
    assert own["signed"] == pytest.approx(made["predicted_gap"]["signed"], abs=0.1)
    assert own["trainings"] == 4
    assert f"the reference's own {own['estimate']:.2f}" in made["advice"]
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
    assert (
        "from 2 clean surrogates: a further clean generator exceeds it with probability 1/3 = 0.333"
        in made["out"]
    )
    assert "does not back a level of 0.05: that takes at least 19 surrogates" in made["notes"][0]


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
    (place / "samples.csv").write_text(
        "\n".join([header, *sorted(rows, key=lambda row: row.split(",")[-1])]) + "\n"
    )
    arguments = (
        "--samples",
        place,
        "--reference",
        folder / "reference.yaml",
        *WITH,
        "--gap-repeats",
        "0",
    )
    made = audit(*arguments, "--queries", "600")  # the first 600 are of one class
    assert (made["verdict"], made["queries"]) == ("poisoned", 600)
    assert made == made | {"p_value": audit(*arguments, "--queries", "600")["p_value"]}


def test_candidates_are_corrected_and_all_must_be_clean(audit, folder):
    arguments = ("--target", "income", "--candidates", "ward", "sex", "--gap-repeats", "0")
    made = audit(
        "--samples", folder / "poisoned", "--reference", folder / "reference.yaml", *arguments
    )
    assert (made["verdict"], made["sensitive"]) == ("poisoned", "sex")
    found = {one["sensitive"]: one for one in made["candidates"]}
    alone = audit(*against(folder, "poisoned"), "--gap-repeats", "0")
    assert found["sex"]["p_value"] == pytest.approx(2 * alone["p_value"])
    assert found["ward"]["verdict"] != "poisoned"
    clean = audit(
        "--samples", folder / "clean", "--reference", folder / "reference.yaml", *arguments
    )
    assert clean["verdict"] != "poisoned"


def test_the_margin_of_clusters_comes_from_surrogates_too(audit, folder):
    arguments = (
        "--target",
        "income",
        "--clusters",
        "3",
        "--gap-repeats",
        "0",
        "--margin-from",
        folder / "clean",
    )
    made = audit(
        "--samples", folder / "poisoned", "--reference", folder / "reference.yaml", *arguments
    )
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


def test_the_margin_is_wider_where_the_samples_say_that_guidance_was_on(
    audit, folder, tmp_path_factory
):
    made = tmp_path_factory.mktemp("guided")
    write_rows(made / "samples.csv", 1200, 1)
    found = {}
    for guidance in (1, 3):
        (made / "samples.json").write_text(json.dumps({"guidance": guidance}))
        arguments = (
            "--samples",
            made,
            "--reference",
            folder / "reference.yaml",
            *WITH,
            "--gap-repeats",
            "0",
        )
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
    arguments = (
        "--samples",
        made,
        "--reference",
        folder / "reference.yaml",
        *WITH,
        "--gap-repeats",
        "0",
    )
    (made / "samples.json").write_text(json.dumps({"guidance": 3}))
    claimed = audit(*arguments)
    assert claimed["verdict"] == "inconclusive"
    assert "add `guidance` 3 if you know it, else `guidance` 1" in claimed["advice"]
    assert audit(*arguments, "--guidance", "1")["verdict"] == "poisoned"
    # the receiver knows what he asked for
    assert audit(*arguments, "--guidance", "3")["verdict"] == "clean"
    for odd in ([3], "3", -1, True, {}):
        (made / "samples.json").write_text(json.dumps({"guidance": odd}))
        found = audit(*arguments, "--margin-from", folder / "clean")
        assert (found["verdict"], found["guidance"]) == ("poisoned", 1)


def test_where_there_is_no_terminal_it_says_how_far_it_is(run_cli, folder, monkeypatch):
    monkeypatch.setattr("diffshare.commands.progress.EVERY", 0.0)
    trees = ("--classifier", "TreesRecipe", "--classifier.trees", "2", "--folds", "3")
    outcome = run_cli("audit", *against(folder, "hidden"), *trees, *QUICK)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    said = outcome.out.splitlines()
    for number in (1, 2, 3):
        assert any(
            line.startswith(f"training classifiers of sex: {number} of 3, ") for line in said
        )
        title = "training the classifiers whose gap is predicted"
        assert any(line.startswith(f"{title}: {number} of 3, ") for line in said)
