"""What a table's release says by itself, through the verbs: read without a query, listed for the sharer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tables_released import (
    RECORDS,
    first_schema,
    make_first,
    make_today,
    schema_of,
    source_yaml,
    write_table,
)

from diffshare.errors import UserError
from diffshare.generators.base import Facts
from diffshare.generators.families import open_generator
from diffshare.generators.tabular import TabularDDPM
from diffshare.release.folder import open_release
from diffshare.release.table import load_schema

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "t.csv")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Path:
    return make_first(tmp_path_factory.mktemp("first") / "release", table)


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Path:
    return make_today(tmp_path_factory.mktemp("today") / "release", table)


@pytest.fixture
def infer(run_cli: Run, tmp_path: Path) -> Run:
    def run(*arguments: Any) -> dict[str, Any]:
        outcome = run_cli("infer-property", *arguments, "--json", tmp_path / "p.json")
        assert outcome.code == 0, outcome.err
        return json.loads((tmp_path / "p.json").read_text()) | {"out": outcome.out}

    return run


def test_a_release_of_format_1_is_read_and_sampled_as_before(first: Path, table: Path) -> None:
    assert open_release(first).card.format == 1
    schema = load_schema(open_release(first))
    rows = open_generator(first)[0].sample(np.arange(200) % 2, np.arange(200), seed=0)
    for i in schema.numeric:
        quantiles, present = schema.columns[i].quantiles, rows[~np.isnan(rows[:, i]), i]
        assert quantiles[0] <= present.min() <= present.max() <= quantiles[-1]
    assert np.isnan(rows[:, 1]).any()
    assert not np.isnan(rows[:, 0]).any()


def test_a_checkpoint_that_codes_by_quantiles_makes_no_release_of_today(table: Path) -> None:
    facts = Facts(("no", "yes"), (4,), (1, 1), None, first_schema(table))
    with pytest.raises(UserError, match="column 0 has quantiles.* have the model trained again"):
        TabularDDPM().build(facts)


def test_the_schema_of_format_1_gives_away_shares_and_records_without_a_query(
    infer: Run, first: Path
) -> None:
    for number, truth in ((60, 0.37), (30, None)):
        result = infer("--model", first, "--property", f"age>={number}", "--method", "schema")
        assert result["queries"] == 0
        low, high = result["interval"]
        assert high - low < 0.06  # ages are whole numbers: a quantile has a step of one
        if truth is not None:
            assert low <= truth <= high
            assert abs(result["estimate"] - truth) < 0.03
    records = next(note for note in result["notes"] if "number of training records" in note)
    assert f"{RECORDS:,} to {RECORDS + 29:,}" in records


def test_the_schema_of_today_does_not_tell(infer: Run, today: Path) -> None:
    result = infer("--model", today, "--property", "age>=60", "--method", "schema")
    assert result["interval"] == [0.0, 1.0]
    assert "does not say what lies between them" in result["notes"][0]
    assert not any("number of training records" in note for note in result["notes"])
    ward = infer("--model", today, "--property", "ward", "--value", "a", "--method", "schema")
    assert ward["interval"] == [0.0, 1.0]
    assert (
        infer("--model", today, "--property", "ward", "--value", "rare", "--method", "schema")[
            "interval"
        ][1]
        <= 0.02
    )


def test_what_the_schema_says_stands_beside_what_samples_say(
    infer: Run, first: Path, today: Path, table: Path
) -> None:
    arguments = (
        "--auxiliary",
        source_yaml(table),
        "--property",
        "ward",
        "--value",
        "rare",
        "--queries",
        "40",
    )
    old = infer("--model", first, *arguments)["notes"]
    assert any("number of training records" in note for note in old)
    new = infer("--model", today, *arguments)["notes"]
    assert any(
        "the release's schema says by itself that the share lies between 0.0 and 2.0 %" in note
        for note in new
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--property", "height>1"), "unknown numeric column 'height': choose one of age, dose"),
        (("--property", "ward>1"), "unknown numeric column 'ward'"),
        (("--property", "age"), "or of a number and a threshold, such as 'age>=40'"),
        (
            ("--property", "age>=40", "--queries", "5"),
            "--queries is for reading samples, --method schema draws none",
        ),
        (("--property", "age>=40", "--labels", "none"), "--labels is for reading samples"),
    ],
)
def test_what_the_schema_cannot_say_is_refused(
    run_cli: Run, today: Path, arguments: tuple[str, ...], message: str
) -> None:
    outcome = run_cli("infer-property", "--model", today, "--method", "schema", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.fixture
def leak(run_cli: Run, tmp_path: Path, table: Path) -> Run:
    def run(*arguments: Any) -> dict[str, Any]:
        common = (
            "audit",
            "--as",
            "sharer",
            "--reference",
            source_yaml(table),
            "--properties",
            "ward:a",
        )
        outcome = run_cli(*common, *arguments, "--json", tmp_path / "leak.json")
        assert outcome.code == 0, outcome.err
        return json.loads((tmp_path / "leak.json").read_text()) | {"out": outcome.out}

    return run


def says(result: dict[str, Any], file: str) -> str:
    return " / ".join(one["says"] for one in result["contents"] if one["file"] == file)


def test_all_that_the_folder_says_is_listed_for_the_sharer(
    leak: Run, first: Path, today: Path, table: Path
) -> None:
    result = leak("--model", today, "--queries", "40")
    schema = schema_of(table)
    told = says(result, "table/schema.json")
    for column in schema.columns:
        assert f"{column.name}: " in told
    assert (
        f"lies between about {schema.columns[0].bounds[0]:g} and {schema.columns[0].bounds[1]:g}"
        in told
    )
    assert "dose: has missing cells" in told
    assert "the categories a, b occur, others hardly" in told
    assert "class frequencies of the training set: no 50 %, yes 50 %" in says(
        result, "diffshare.json"
    )
    assert "weights: whoever opens them is not held to samples" in says(
        result, "denoiser/diffusion_pytorch_model.safetensors"
    )
    assert {one["file"] for one in result["contents"]} == {
        *open_release(today).card.files,
        "diffshare.json",
    }
    assert "quantiles" not in told
    assert "says:    table/schema.json: age: " in result["out"]
    old = leak("--model", first, "--queries", "40")
    told = says(old, "table/schema.json")
    assert "age: is whole, has the least value 20 and the greatest 89, and 100 quantiles" in told
    assert f"number of training records: {RECORDS:,} to {RECORDS + 29:,}" in told
    assert (
        "Its schema tells the number of records and, without a query, every share above a threshold of age, dose"
        in old["advice"]
    )


def test_all_that_a_samples_folder_says_is_listed(
    run_cli: Run, leak: Run, today: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    assert (
        run_cli("sample", "--model", today, "--count", 60, "--labels", "none", "--out", folder).code
        == 0
    )
    (folder / "notes.txt").write_text("of the clinic")
    result = leak("--samples", folder)
    assert {one["file"] for one in result["contents"]} == {
        "samples.csv",
        "samples.json",
        "notes.txt",
    }
    assert "name of the sharer's folder: release; hash of the model: " in says(
        result, "samples.json"
    )
    assert "look at it before it goes out" in says(result, "notes.txt")
    assert "names of the columns: age, dose, ward, ill" in says(result, "samples.csv")
