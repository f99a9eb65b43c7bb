"""What a release writes of a table, the description of the source reads back, cell by cell."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from diffshare.data.recoding import recode
from diffshare.data.synthetic import read_rows
from diffshare.data.table import CSVTable
from diffshare.errors import UserError
from diffshare.generators.rows import Rows
from diffshare.receiver.property.queries import SampleQueries
from diffshare.receiver.records import Records
from diffshare.receiver.samples import Samples
from diffshare.release.disclosure import fit_schema
from diffshare.release.table import TableColumn, TableSchema
from diffshare.release.tables import CSV, write_table_samples

ODD = [
    "",
    " ",
    " a",
    "a ",
    '"',
    "''",
    '"a"',
    "a,b",
    ";",
    "+1",
    "-1",
    "1",
    "01",
    "1.0",
    "1e5",
    "nan",
    "inf",
    "None",
]
ODD += [
    "true",
    "=1+1",
    "@x",
    "é",
    "日本",
    "#a",
    "|b",
    "\\",
    "\\n",
    "a'b",
    "?",
    "-",
    "- 1",
    "??",
    "NA",
    "null",
    "0",
]
TEXT = st.sampled_from(ODD) | st.text(
    st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=5
).filter(str.isprintable)
MARKS = ["?", "", "NA", "-999", "0", "-1", "1.50", " "]


def whole() -> st.SearchStrategy[str]:
    return st.integers(-(1 << 24), 1 << 24).map(str) | st.sampled_from(
        ["+3", "-0", "007", " 5", "5 ", "-999", "1."]
    )


def priced(decimals: int) -> st.SearchStrategy[str]:
    most = 10**6 // 10 ** (6 - decimals) if decimals < 6 else 10**6
    return st.integers(-most * 99, most * 99).map(
        lambda cents: f"{cents / 10**decimals:.{decimals}f}"
    )


def measured() -> st.SearchStrategy[str]:
    return st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr)


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, dict[str, str], list[list[str]]]:
    """The mark of a missing cell, the description, and the cells of each column; the last is the class."""
    mark, count = draw(st.sampled_from(MARKS)), draw(st.integers(2, 12))
    kinds: dict[str, str] = {}
    columns: list[list[str]] = []
    names = draw(
        st.lists(TEXT.filter(lambda name: len(name) > 0), min_size=1, max_size=4, unique=True)
    )
    for name in names:
        numeric = draw(st.booleans())
        cell = (
            draw(st.sampled_from([whole(), priced(1), priced(2), priced(4), measured()]))
            if numeric
            else TEXT
        )
        cells = draw(st.lists(cell | st.just(mark), min_size=count, max_size=count))
        kinds[name] = "numeric" if numeric else "categorical"
        columns.append(cells)
    kinds["the class"] = "categorical"
    columns.append([("no", "yes")[i % 2] for i in range(count)])
    return mark, kinds, columns


def source_of(folder: Path, mark: str, kinds: dict[str, str], columns: list[list[str]]) -> CSVTable:
    with (folder / "source.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerow(kinds)
        writer.writerows(zip(*columns, strict=True))
    return CSVTable(str(folder / "source.csv"), kinds, missing=mark)  # type: ignore[arg-type]


def schema_of(source: CSVTable, target: str, mark: str) -> TableSchema:
    """A schema that names all that the source has, also what few records have."""
    columns = [
        TableColumn(
            c.name,
            c.kind,
            c.categories,
            c.integer,
            missing=c.kind == "numeric",
            decimals=c.decimals,
        )
        for c in source.columns
    ]
    return TableSchema(tuple(columns), target, mark)


def write_released(folder: Path, source: CSVTable, target: str, mark: str) -> np.ndarray:
    """The source's own rows as a model would make them, written; what they are in the source's codes."""
    x = source.read(np.arange(len(source.index())))
    schema = schema_of(source, target, mark)
    write_table_samples(folder / "samples", schema, recode(x, source.columns, schema.columns), {})
    return x


def reference_of(source: CSVTable, x: np.ndarray, target: str, mark: str) -> Records:
    index, names = source.index(), [column.name for column in source.columns]
    index.attribute(target)
    kept = [i for i, name in enumerate(names) if name != target]
    columns = tuple(source.columns[i] for i in kept)
    return Records.from_codes(
        x[:, kept], index.attributes, columns=columns, target=target, missing=mark
    )


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(table=tables())
@example(
    (
        "?",
        {"x": "numeric", "the class": "categorical"},
        [["3.4028234663852886e+38", "0.5"], ["no", "yes"]],
    )
)
def test_every_cell_comes_back(tmp_path_factory, table):
    mark, kinds, columns = table
    folder = tmp_path_factory.mktemp("round")
    source = source_of(folder, mark, kinds, columns)
    x = write_released(folder, source, "the class", mark)
    path = folder / "samples" / CSV
    # as training on the samples reads them
    again, index = read_rows(path, source.columns, mark, "the class")
    np.testing.assert_array_equal(again, x)
    for name, attribute in source.index().attributes.items():
        texts = [attribute.classes[code] if code >= 0 else None for code in attribute.codes]
        back = index.attribute(name)
        assert [back.classes[code] if code >= 0 else None for code in back.codes] == texts
    # as an audit does
    reference = reference_of(source, x, "the class", mark)
    audited = Samples.from_path(folder / "samples").coded(reference)
    np.testing.assert_array_equal(audited.x, reference.x)
    np.testing.assert_array_equal(audited.y, reference.y)
    # and as the inference of a property does
    queries = SampleQueries(Samples.from_path(folder / "samples"), dict(kinds), mark)
    np.testing.assert_array_equal(
        recode(queries.take(0, len(x)), queries.columns, source.columns), x
    )
    # the description fits as it is, whatever order of categories the file has
    same = CSVTable(str(path), kinds, missing=mark)  # type: ignore[arg-type]
    np.testing.assert_array_equal(
        recode(same.read(np.arange(len(x))), same.columns, source.columns), x
    )


@settings(max_examples=50, deadline=None)
@given(cells=st.lists(priced(2), min_size=2, max_size=10))
def test_prices_keep_their_two_decimals(tmp_path_factory, cells):
    folder = tmp_path_factory.mktemp("prices")
    columns = [cells, [("no", "yes")[i % 2] for i in range(len(cells))]]
    source = source_of(folder, "?", {"price": "numeric", "y": "categorical"}, columns)
    write_released(folder, source, "y", "?")
    with (folder / "samples" / CSV).open(newline="") as stream:
        written = [row["price"] for row in csv.DictReader(stream)]
    assert written == [cell.lstrip("-") if float(cell) == 0 else cell for cell in cells]


def test_what_a_model_makes_has_the_decimals_of_the_source(tmp_path):
    """Numbers between those of the source are rounded to its decimals, in the model and in the file alike."""
    cells = ["19.99", "5.00", "7.25", "12.10"] * 50
    source = source_of(
        tmp_path, "?", {"price": "numeric", "y": "categorical"}, [cells, ["no", "yes"] * 100]
    )
    assert source.columns[0].decimals == 2
    schema = fit_schema(source.read(np.arange(200)), source.columns, "y", "?")
    rows, rng = Rows(schema), np.random.default_rng(0)
    made = rows.decode(
        rng.normal(size=(200, 1)), np.stack([rng.integers(0, size, 200) for size in rows.sizes], 1)
    )
    write_table_samples(tmp_path / "samples", schema, made, {})
    with (tmp_path / "samples" / CSV).open(newline="") as stream:
        written = [row["price"] for row in csv.DictReader(stream)]
    assert {len(text.partition(".")[2]) for text in written} == {2}
    assert len(set(written)) > 50
    np.testing.assert_array_equal(np.array(written, np.float32), made[:, 0])


def test_a_number_is_never_written_as_the_mark_of_a_missing_cell(tmp_path):
    source = source_of(
        tmp_path,
        "-1",
        {"x": "numeric", "y": "categorical"},
        [["-3", "3", "-1"], ["no", "yes", "no"]],
    )
    schema = schema_of(source, "y", "-1")
    # a model may make a -1 between -3 and 3
    rows = np.array([[-1, 0], [np.nan, 1], [2, 0]], np.float32)
    write_table_samples(tmp_path / "samples", schema, rows, {})
    np.testing.assert_array_equal(
        read_rows(tmp_path / "samples" / CSV, source.columns, "-1", "y")[0], rows
    )


# --- numbers that float32 cannot hold ------------------------------------------------------------------------------


def read(folder: Path, cells: list[str]) -> CSVTable:
    source = source_of(
        folder,
        "?",
        {"x": "numeric", "y": "categorical"},
        [cells, ["no", "yes"] * (len(cells) // 2)],
    )
    source.index()
    return source


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["1700000000", "1700000001"],
            r"source\.csv:3, column 'x': '1700000001' would become 1700000000",
        ),
        (
            ["1700000123", "1700086400"],
            r":2, column 'x': '1700000123' would become 1700000128, float32 holds whole",
        ),
        (
            ["1234567890123456", "1234567890123457"],
            r"column 'x': '1234567890123456' would become 1234567948140544",
        ),
        (["?", "16777217"], r"source\.csv:3, column 'x': '16777217' would become 16777216"),
        # beyond float64 too
        (
            ["1152921504606846977", "0"],
            "'1152921504606846977' would become 1152921504606846976",
        ),
        (
            [f"1700000000.{i}" for i in range(1, 9)],
            r"column 'x': 12% of its different numbers \(such as 1700000000\.1\) stay different in float32",
        ),
        (["1e-60", "2e-60", "3e-60", "4e-60"], "column 'x': 25% of its different numbers"),
    ],
)
def test_numbers_that_would_fall_together_are_refused(tmp_path, cells, message):
    with pytest.raises(UserError, match=message) as refused:
        read(tmp_path, cells)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("cells", "integer", "decimals"),
    [
        (["16777216", "-16777216"], True, 0),
        (["3000000000", "4000000000"], True, 0),  # whole numbers of few digits are exact far beyond
        (["250000.55", "250000.60"], False, None),  # float32 holds no cents there: a measured value
        (["2.5e3", "1"], True, None),
        (["0.1", "0.25"], False, 2),
        (["0.12345678", "0.2"], False, None),
        (["16777217.5", "3.5"], False, None),
        (["?", "?"], True, None),
    ],
)
def test_how_numbers_are_written_is_noted(tmp_path, cells, integer, decimals):
    column = read(tmp_path, cells).columns[0]
    assert (column.integer, column.decimals) == (integer, decimals)


def test_measured_values_may_meet_in_float32(tmp_path):
    """A million values of sixteen digits fall on fewer numbers of float32: nothing is lost by that."""
    values = np.random.default_rng(0).random(200_000)
    source = read(tmp_path, [repr(value) for value in values.tolist()])
    assert np.abs(source.read(np.arange(len(values)))[:, 0] - values).max() < 1e-7


# --- a receiver's table that lacks a category ----------------------------------------------------------------------


def test_training_and_audit_agree_on_a_category_that_the_receiver_lacks(tmp_path, caplog):
    kinds = {"ward": "categorical", "sex": "categorical", "ill": "categorical"}
    (tmp_path / "sharer").mkdir()
    theirs = source_of(
        tmp_path / "sharer", "?", kinds, [list("abca"), list("fm?m"), ["no", "yes", "no", "yes"]]
    )
    write_released(tmp_path / "sharer", theirs, "ill", "?")
    mine = source_of(tmp_path, "?", kinds, [list("abab"), list("fmfm"), ["no", "no", "yes", "yes"]])
    path = tmp_path / "sharer" / "samples" / CSV
    trained, _ = read_rows(path, mine.columns, "?", "ill")
    reference = reference_of(mine, mine.read(np.arange(4)), "ill", "?")
    audited = Samples.from_path(path.parent).coded(reference)
    np.testing.assert_array_equal(trained[:, :2], audited.x)
    np.testing.assert_array_equal(
        trained, np.array([[0, 0, 0], [1, 1, 1], [np.nan, np.nan, 0], [0, 1, 1]], np.float32)
    )
    said = "cells with a category that the source lacks are taken as unknown, of 4 rows in column ward (1), sex (1)"
    assert [record.getMessage() for record in caplog.records] == [f"{path}: {said}"] * 2


def test_both_refuse_a_class_that_the_receiver_lacks(tmp_path):
    kinds = {"ward": "categorical", "ill": "categorical"}
    (tmp_path / "sharer").mkdir()
    theirs = source_of(
        tmp_path / "sharer", "?", kinds, [list("abab"), ["no", "yes", "perhaps", "no"]]
    )
    write_released(tmp_path / "sharer", theirs, "ill", "?")
    mine = source_of(tmp_path, "?", kinds, [list("abab"), ["no", "yes"] * 2])
    path = tmp_path / "sharer" / "samples" / CSV
    for reading in (
        lambda: read_rows(path, mine.columns, "?", "ill"),
        lambda: Samples.from_path(path.parent).coded(
            reference_of(mine, mine.read(np.arange(4)), "ill", "?")
        ),
    ):
        with pytest.raises(
            UserError,
            match=r"samples\.csv:4, column 'ill': 'perhaps' is no declared category: 'no', 'yes'",
        ):
            reading()


def test_a_column_of_numbers_is_never_read_as_codes(tmp_path):
    """``recode`` of a model's rows: codes of categories are no numbers, and numbers no codes."""
    (tmp_path / "b").mkdir()
    numbers = source_of(
        tmp_path, "?", {"x": "numeric", "y": "categorical"}, [["9", "13"], ["no", "yes"]]
    )
    codes = source_of(
        tmp_path / "b", "?", {"x": "categorical", "y": "categorical"}, [["9", "13"], ["no", "yes"]]
    )
    x = np.zeros((2, 2), np.float32)
    with pytest.raises(
        UserError, match="column 'x' holds categories in the samples and numbers in the source"
    ):
        recode(x, codes.columns, numbers.columns)
    with pytest.raises(
        UserError, match="column 'x' holds numbers in the samples and categories in the source"
    ):
        recode(x, numbers.columns, codes.columns)
