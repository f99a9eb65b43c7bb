"""The schema of a table: fitted to records, written, read, and refused where it does not hold."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from diffshare.data.table import Column
from diffshare.errors import UserError
from diffshare.generators.rows import Rows
from diffshare.release.disclosure import fit_schema
from diffshare.release.folder import open_release, write_release
from diffshare.release.table import SCHEMA, TableColumn, load_schema, parse_schema
from diffshare.storage import write_json

COLUMNS = (
    Column("age", "numeric", integer=True),
    Column("dose", "numeric"),
    Column("ward", "categorical", ("a", "b", "c", "?")),
    Column("ill", "categorical", ("no", "yes")),
)


def rows(n: int = 600) -> np.ndarray:
    """Ward c never occurs; each tenth dose is missing."""
    rng = np.random.default_rng(0)
    dose = np.where(np.arange(n) % 10, rng.normal(size=n), np.nan)
    parts = [rng.integers(0, 90, n), dose, rng.choice([0, 1, 3], n), rng.integers(0, 2, n)]
    return np.stack(parts, 1).astype(np.float32)


def test_a_schema_holds_what_the_records_have_and_no_other_category() -> None:
    x = rows()
    schema = fit_schema(x, COLUMNS, "ill", "?")
    assert schema.names == ("age", "dose", "ward", "ill")
    age, dose, ward, ill = schema.columns
    assert (age.integer, age.missing, dose.integer, dose.missing) == (True, False, False, True)
    assert ward.categories == ("a", "b", "?")
    assert schema.target_column == ill
    assert age.bounds[0] == 0
    assert age.bounds[1] in (100, 200, 1000, 2000)
    assert dose.bounds[0] <= -2 < 2 <= dose.bounds[1]
    assert not age.quantiles
    assert parse_schema(json.loads(json.dumps(schema.to_json()))) == schema


@pytest.mark.parametrize(
    ("position", "value"), [(0, 7), (0, np.nan), (1, 0.25), (1, np.nan), (2, 1), (2, 3)]
)
def test_a_constant_column_is_kept_and_made_again(position: int, value: float) -> None:
    x = rows()
    x[:, position] = value
    schema = fit_schema(x, COLUMNS, "ill", "?")
    assert [column.constant for column in schema.columns] == [i == position for i in range(4)]
    assert parse_schema(json.loads(json.dumps(schema.to_json()))) == schema
    coding = Rows(schema)
    coding.match(COLUMNS)
    scores, codes = coding.encode(x)
    assert coding.features == scores.shape[1] + sum(coding.sizes)
    assert codes.shape[1] == len(coding.sizes)
    assert min(coding.sizes) >= 2
    assert position not in (*coding.numeric, *coding.categorical, *coding.coded)
    made = coding.decode(np.zeros_like(scores), codes)
    texts = schema.columns[position].categories
    assert texts == ((COLUMNS[2].categories[int(value)],) if position == 2 else ())
    np.testing.assert_array_equal(
        made[:, position], np.full(len(x), 0 if texts else value, np.float32)
    )


def test_a_constant_number_may_be_missing_in_some_records() -> None:
    x = rows()
    x[:, 1] = np.where(np.isnan(x[:, 1]), np.nan, 0.5)
    schema = fit_schema(x, COLUMNS, "ill", "?")
    coding = Rows(schema)
    coding.match(COLUMNS)
    np.testing.assert_array_equal(coding.decode(*coding.encode(x))[:, 1], x[:, 1])


def test_a_constant_target_is_refused() -> None:
    x = rows()
    x[:, 3] = 0
    with pytest.raises(
        UserError, match="data.target 'ill' is constant, 'no' in all 600 training records: choose"
    ):
        fit_schema(x, COLUMNS, "ill", "?")


@pytest.mark.parametrize(("others", "constant"), [(4, True), (40, False)])
def test_too_few_other_values_are_no_part_of_a_schema(others: int, constant: bool) -> None:
    """Else one record with another value would be told from none."""
    x = rows()
    x[:, 0] = 7
    x[:others, 0] = 60
    assert fit_schema(x, COLUMNS, "ill", "?").columns[0].constant is constant
    x = rows()
    x[others:, 1] = np.nan
    assert fit_schema(x, COLUMNS, "ill", "?").columns[1].constant is constant
    x = rows()
    x[:others, 2], x[others:, 2] = 0, 3
    assert fit_schema(x, COLUMNS, "ill", "?").columns[2].constant is constant


def test_a_column_of_names_of_single_records_is_refused() -> None:
    names = tuple(str(i) for i in range(600))
    x = rows()
    x[:, 2] = np.arange(600)
    x[:100, 2] = 600
    with pytest.raises(
        UserError, match="column 'ward' has no category with enough of the 600 training records"
    ):
        fit_schema(
            x, (*COLUMNS[:2], Column("ward", "categorical", (*names, "?")), COLUMNS[3]), "ill", "?"
        )


def test_decimals_are_those_of_all_but_too_few_records() -> None:
    x = rows()
    x[:, 1] = np.round(np.random.default_rng(0).normal(size=600), 2)
    x[:3, 1] = 0.12345
    columns = (COLUMNS[0], Column("dose", "numeric", decimals=5), *COLUMNS[2:])
    schema = fit_schema(x, columns, "ill", "?")
    assert [column.decimals for column in schema.columns[:2]] == [None, 2]
    coding = Rows(schema)
    coding.match(columns)
    np.testing.assert_allclose(coding.decode(*coding.encode(x))[3:, 1], x[3:, 1], rtol=1e-6)
    assert parse_schema(json.loads(json.dumps(schema.to_json()))) == schema


def test_a_table_of_many_numbers_has_fewer_cells_for_each() -> None:
    wide = (*(Column(str(i), "numeric") for i in range(1000)), COLUMNS[3])
    x = np.random.default_rng(0).integers(0, 2, (60, 1001)).astype(np.float32)
    schema = fit_schema(x, wide, "ill", "?")
    # 8192 numbers in a row at most
    assert {column.cells for column in schema.columns[:-1]} <= {
        2,
        5,
    }
    flag = fit_schema(
        x[:, -2:], (Column("flag", "numeric", integer=True), COLUMNS[3]), "ill", "?"
    ).columns[0]
    assert flag.cells <= flag.bounds[1] - flag.bounds[0] + 1


@pytest.mark.parametrize("target", ["age", "height"])
def test_the_target_must_be_a_categorical_column(target: str) -> None:
    with pytest.raises(UserError, match=f"data.target '{target}' is no categorical column"):
        fit_schema(rows(), COLUMNS, target, "?")


BREAKS = [
    (("columns",), [], "'columns' must be a list of 1 to 10000 columns"),
    (("columns", 0), 3, "column 0 must be a JSON object"),
    (("columns", 0, "name"), "a\x1b", "'name' must be 1 to 100 printable characters"),
    (("columns", 0, "name"), "ill", "two columns have the same name"),
    (("columns", 0, "kind"), "text", '\'kind\' must be "numeric" or "categorical"'),
    (("columns", 0, "integer"), 1, "'integer' must be true or false"),
    (("columns", 1, "missing"), None, "'missing' must be true or false"),
    (("columns", 1, "zero"), 0, "'zero' must be true or false"),
    (("columns", 1, "bounds"), [1.0], "'bounds' must be two numbers"),
    (("columns", 1, "bounds"), [0.0, 1e39], "'bounds' must be two numbers that float32 can hold"),
    (("columns", 1, "bounds"), [2.0, 1.0], "'bounds' must be two numbers"),
    (("columns", 1, "bounds"), [2.0, 2.0], "'cells' must be an integer from 0 to 0"),
    (("columns", 0, "bounds"), [], "'bounds' must be two numbers that float32 can hold"),
    (("columns", 0, "decimals"), 7, "'decimals' must be an integer from 0 to 6"),
    (("columns", 0, "decimals"), True, "'decimals' must be an integer from 0 to 6"),
    (
        ("columns", 3, "categories"),
        ["a"],
        "'target' must be the name of a categorical column with two categories",
    ),
    (("columns", 1, "bounds"), ["0", "1"], "'bounds' must be two numbers"),
    (("columns", 1, "bounds"), [0, True], "'bounds' must be two numbers"),
    (("columns", 0, "bounds"), [0.5, 2], "'bounds' must be whole numbers where integer is true"),
    (("columns", 1, "cells"), 0, "'cells' must be an integer from 1 to 100"),
    (("columns", 1, "cells"), 101, "'cells' must be an integer from 1 to 100"),
    (
        ("columns", 0, "bounds"),
        [0, 3],
        "'cells' must be no more than there are whole numbers between the bounds",
    ),
    (("columns", 0, "quantiles"), [0.0, 1.0], "column 0 has quantiles, which say what share"),
    (("columns", 2, "categories"), [], "'categories' must be 1 to 8192 texts"),
    (("columns", 2, "categories"), ["a", "a"], "'categories' must be a list without repetitions"),
    (("columns", 2, "categories"), ["a", "b\n"], "'categories' must be 1 to 8192 texts"),
    (("columns", 2, "categories"), [str(i) for i in range(8190)], "more than 8192"),
    (("target",), "age", "'target' must be the name of a categorical column"),
    (("mark",), None, "'mark' must be a text"),
]


@pytest.mark.parametrize(("place", "value", "message"), BREAKS)
def test_a_received_schema_is_checked(
    place: tuple[str | int, ...], value: object, message: str
) -> None:
    broken = copy.deepcopy(fit_schema(rows(), COLUMNS, "ill", "?").to_json())
    inner = broken
    for key in place[:-1]:
        inner = inner[key]  # type: ignore[index]
    inner[place[-1]] = value  # type: ignore[index]
    with pytest.raises(UserError) as caught:
        parse_schema(broken)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


FIRST = {
    "name": "age",
    "kind": "numeric",
    "integer": True,
    "missing": False,
    "quantiles": [0.0, 1.0, 1.0, 9.0],
}


def first(**changes: object) -> dict[str, object]:
    """A schema of format 1."""
    ill = {"name": "ill", "kind": "categorical", "categories": ["no", "yes"]}
    return {"target": "ill", "mark": "?", "columns": [FIRST | changes, ill]}


def test_a_schema_of_format_1_is_still_read_and_no_schema_of_today_can_be_one() -> None:
    read = parse_schema(first(), form=1)
    assert read.columns[0] == TableColumn("age", "numeric", (), True, False, (0.0, 1.0, 1.0, 9.0))
    assert read.columns[0].states == 1
    with pytest.raises(UserError, match="column 0 has quantiles"):
        parse_schema(first() | {"columns": [FIRST | {"zero": False}, first()["columns"][1]]})  # type: ignore[index]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0], "2 to 1000 numbers"),
        ([0.0, 1e39], "2 to 1000 numbers that float32 can hold"),
        ([2.0, 1.0], "rising numbers"),
        ([2.0, 2.0], "not all the same"),
        (["0", "1"], "2 to 1000 numbers"),
    ],
)
def test_quantiles_of_format_1_are_checked(value: object, message: str) -> None:
    with pytest.raises(UserError, match=f"column 0: 'quantiles' must be .*{message}"):
        parse_schema(first(quantiles=value), form=1)


def test_a_schema_must_be_that_of_the_card(tmp_path: Path) -> None:
    schema = fit_schema(rows(), COLUMNS, "ill", "?")

    def save(folder: Path) -> None:
        write_json(folder / SCHEMA, schema.to_json())

    card = {
        "family": "tabular",
        "modality": "table",
        "columns": list(schema.names),
        "labels": ["no", "yes"],
        "steps": 5,
    }
    write_release(tmp_path / "good", card, save)
    assert load_schema(open_release(tmp_path / "good")) == schema
    write_release(tmp_path / "columns", card | {"columns": ["age"]}, save)
    with pytest.raises(UserError, match="names other columns than the card"):
        load_schema(open_release(tmp_path / "columns"))
    write_release(tmp_path / "labels", card | {"labels": ["yes", "no"]}, save)
    with pytest.raises(UserError, match="the categories of 'ill' are not the labels of the card"):
        load_schema(open_release(tmp_path / "labels"))
    write_release(tmp_path / "none", card, lambda folder: None)
    with pytest.raises(UserError, match="has no table/schema.json"):
        load_schema(open_release(tmp_path / "none"))
