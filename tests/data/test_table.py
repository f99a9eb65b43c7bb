import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffshare.data.cache import open_records
from diffshare.data.csvfile import BLOCK
from diffshare.data.source import PARTS, Source
from diffshare.data.table import Adult, Column, CSVTable, column_positions
from diffshare.errors import UserError

ROW = "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Own-child, White, {sex}, 0, 0, 40, {land}, {y}"


def write_adult(root: Path, train: list[str], test: list[str]) -> Path:
    (root / "adult.data").write_text("\n".join(train) + "\n\n")
    (root / "adult.test").write_text("|1x3 Cross validator\n" + "\n".join(test) + "\n\n")
    return root


def adult_row(sex: str = "Male", land: str = "Cuba", y: str = "<=50K") -> str:
    return ROW.format(sex=sex, land=land, y=y)


def table(path: Path, text: str, columns: dict | None = None, **options) -> CSVTable:
    path = path / "t.csv"
    path.write_text(text, encoding="utf-8")
    return CSVTable(str(path), columns or {"age": "numeric", "sex": "categorical"}, **options)


def everything(source: CSVTable | Adult) -> np.ndarray:
    return source.read(np.arange(len(source.index())))


def test_adult_reads_both_files(tmp_path):
    train = [adult_row(), adult_row("Female", "?", ">50K"), adult_row(land="Peru")]
    source = Adult(str(write_adult(tmp_path, train, [adult_row(y=">50K.")])))
    assert isinstance(source, Source)
    index = source.index()
    assert index.names.tolist() == ["adult.data:1", "adult.data:2", "adult.data:3", "adult.test:2"]
    assert index.sizes.tolist() == [len(line) + 1 for line in (*train, adult_row(y=">50K."))]
    assert [PARTS[part] for part in index.parts][-1] == "test"
    assert PARTS.index("test") not in index.parts[:-1]
    assert index.attribute("income").classes == ("<=50K", ">50K")
    assert index.attribute("income").codes.tolist() == [0, 1, 0, 1]
    assert index.attribute("sex").codes.tolist() == [1, 0, 1, 1]
    assert len(source.columns) == 15
    assert [column.name for column in source.columns if column.kind == "numeric"] == [
        "age",
        "fnlwgt",
        "education-num",
        "capital-gain",
        "capital-loss",
        "hours-per-week",
    ]
    rows = everything(source)
    assert (rows.dtype, rows.shape) == (np.float32, (4, 15))
    assert rows[0, [0, 2, 12]].tolist() == [39, 77516, 40]


def test_a_missing_category_is_the_last_one_and_an_unknown_attribute(tmp_path):
    train = [adult_row(land="?"), adult_row(land="Cuba"), adult_row(land="Peru")]
    source = Adult(str(write_adult(tmp_path, train, [adult_row(y=">50K.")])))
    column = source.columns[13]
    assert column == Column("native-country", "categorical", ("Cuba", "Peru", "?"))
    assert everything(source)[:, 13].tolist() == [2, 0, 1, 0]
    attribute = source.index().attribute("native-country")
    assert (attribute.classes, attribute.codes.tolist()) == (("Cuba", "Peru"), [-1, 0, 1, 0])


def test_adult_shares_split_the_training_file_alone(tmp_path):
    root = write_adult(tmp_path, [adult_row()] * 200, [adult_row(y=">50K.")] * 50)
    assert np.bincount(Adult(str(root), shares=(1, 0, 0)).index().parts, minlength=3).tolist() == [
        200,
        0,
        50,
    ]
    assert np.bincount(Adult(str(root), shares=(0, 1, 0)).index().parts, minlength=3).tolist() == [
        0,
        200,
        50,
    ]
    parts = Adult(str(root)).index().parts
    assert 60 < np.sum(parts == 0) < 140
    assert np.array_equal(parts, Adult(str(root)).index().parts)
    with pytest.raises(
        UserError, match=r"adult\.test is the test part, so the third share must be 0"
    ):
        Adult(str(root), shares=(0.5, 0.3, 0.2))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([adult_row(), "39, State-gov"], [adult_row()], r"adult\.data:2 has 2 cells, expected 15"),
        ([adult_row()], [adult_row() + ", x"], r"adult\.test:2 has 16 cells, expected 15"),
        (
            [adult_row(sex="male")],
            [adult_row()],
            r"adult\.data:1, column 'sex': 'male' is no declared .*'Female', 'Male'",
        ),
        (
            [adult_row()],
            [adult_row(y="50")],
            r"adult\.test:2, column 'income': '50' is no declared category",
        ),
        (
            [adult_row().replace("39,", "old,")],
            [adult_row()],
            r"adult\.data:1, column 'age': 'old' is no finite",
        ),
        ([], [adult_row()], r"adult\.data holds no records"),
        ([adult_row()], [], r"adult\.test holds no records"),
    ],
)
def test_adult_mistakes_name_line_and_column(tmp_path, train, test, message):
    with pytest.raises(UserError, match=message):
        Adult(str(write_adult(tmp_path, train, test))).index()


def test_adult_needs_both_files(tmp_path):
    with pytest.raises(UserError, match=r"no adult\.data in .*give the folder"):
        Adult(str(tmp_path)).index()
    (tmp_path / "adult.data").write_text(adult_row())
    with pytest.raises(UserError, match=r"no adult\.test in"):
        Adult(str(tmp_path)).index()


def test_a_csv_is_read_by_its_description(tmp_path):
    text = 'id;sex;age\r\n1; f;30.5\r\n2;"m";?\r\n\r\n3;?; 1e3\r\n'
    source = table(tmp_path, text, {"age": "numeric", "sex": ["m", "f", "x"]}, delimiter=";")
    assert isinstance(source, Source)
    assert source.columns == (
        Column("age", "numeric"),
        Column("sex", "categorical", ("m", "f", "x", "?")),
    )
    np.testing.assert_array_equal(
        everything(source), np.array([[30.5, 1], [np.nan, 0], [1000, 3]], np.float32)
    )
    index = source.index()
    assert index.names.tolist() == ["t.csv:2", "t.csv:3", "t.csv:5"]
    assert index.sizes.tolist() == [11, 9, 10]
    assert index.parts is None
    assert list(index.attributes) == ["sex"]
    assert index.attribute("sex").codes.tolist() == [1, 0, -1]


def test_a_csv_without_header_a_mark_of_order_and_many_blocks(tmp_path):
    count = 2 * BLOCK + 7
    text = "\ufeff" + "".join(f"{row},c{row % 11}\n" for row in range(count))
    source = table(tmp_path, text, {"n": "numeric", "c": "categorical"}, header=False)
    assert source.columns[0].integer
    assert source.columns[1].categories == tuple(f"c{code}" for code in range(11))  # c2 before c10
    assert np.array_equal(
        everything(source), np.stack([np.arange(count), np.arange(count) % 11], 1)
    )
    assert source.index().sizes.sum() == (tmp_path / "t.csv").stat().st_size


def test_quoted_line_ends_count_as_lines_of_the_file(tmp_path):
    source = table(tmp_path, 'age,sex\n1,"a\nb"\n2,c\n')
    assert source.index().names.tolist() == ["t.csv:2", "t.csv:4"]
    assert source.index().sizes.tolist() == [8, 4]
    assert source.columns[1].categories == ("a\nb", "c")


def test_read_takes_any_positions_and_writes_where_told(tmp_path):
    source = table(tmp_path, "age,sex\n1,a\n2,b\n3,a\n")
    out = np.empty((2, 2), np.float32)
    assert source.read(np.array([2, 0]), out) is out
    assert out.tolist() == [[3, 0], [1, 0]]


def test_columns_are_found_and_dropped_by_name(tmp_path):
    source = table(tmp_path, "age,sex\n1,a\n2,b\n")
    assert column_positions(source.columns, ["sex", "age"]).tolist() == [1, 0]
    assert np.delete(
        everything(source), column_positions(source.columns, ["sex"]), axis=1
    ).tolist() == [[1], [2]]
    with pytest.raises(UserError, match="unknown column 'income': choose one of age, sex"):
        column_positions(source.columns, ["income"])


def test_a_changed_number_gets_another_cache(tmp_path):
    first = open_records(table(tmp_path, "age,sex\n1,a\n"), tmp_path / "cache").x
    path = tmp_path / "t.csv"
    stamp = path.stat().st_mtime_ns + 1_000_000_000
    source = table(tmp_path, "age,sex\n2,a\n")
    os.utime(path, ns=(stamp, stamp))
    assert first.tolist() == [[1, 0]]
    assert open_records(source, tmp_path / "cache").x.tolist() == [[2, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.csv is empty"),
        ("age,sex\n", r"t\.csv holds no records"),
        ("age,age,sex\n1,2,a\n", r"more than one column 'age'"),
        ("age,gender\n1,a\n", r"no column 'sex': its header has 'age', 'gender'"),
        ("age,sex\n1,a\n2\n", r"t\.csv:3 has 1 cells, expected 2"),
        ("age,sex\n1,a\n2,b,c\n", r"t\.csv:3 has 3 cells, expected 2"),
        (
            "age,sex\n1,a\n\nx,b\n",
            r"t\.csv:4, column 'age': 'x' is no finite number \(missing cells are '\?'\)",
        ),
        ("age,sex\n,a\n", r"t\.csv:2, column 'age': '' is no finite number"),
        ("age,sex\nnan,a\n", r"t\.csv:2, column 'age': 'nan' is no finite number"),
        ("age,sex\n1,a\n-inf,a\n", r"t\.csv:3, column 'age': '-inf' is no finite number"),
        ("age,sex\n1,a\n1e39,a\n", r"t\.csv:3, column 'age': '1e39' is no finite number"),
        ("age,sex\n1,a\n1_000,a\n", r"t\.csv:3, column 'age': '1_000' is no finite number"),
        ('age,sex\n1,"a\n', r"t\.csv:2 is not valid CSV .*check its quotes"),
        ('age,sex\n1,"a"b\n', r"t\.csv:2 is not valid CSV"),
    ],
)
def test_csv_mistakes_name_line_and_column(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        table(tmp_path, text).index()


def test_csv_mistakes_beside_the_text(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*absent\.csv: No such file"):
        CSVTable(str(tmp_path / "absent.csv"), {"a": "numeric"}).index()
    (tmp_path / "latin.csv").write_bytes(b"age,sex\n1,a\n2,\xe9\n")
    with pytest.raises(UserError, match=r"latin\.csv:3 is not UTF-8"):
        CSVTable(str(tmp_path / "latin.csv"), {"age": "numeric"}).index()
    with pytest.raises(
        UserError, match=r"t\.csv:2, column 'sex': 'c' is no declared category: 'a', 'b'"
    ):
        table(tmp_path, "age,sex\n1,c\n", {"sex": ["a", "b"]}).index()
    with pytest.raises(UserError, match="'sex' must declare 1 to 1000 different categories"):
        table(tmp_path, "sex\na\n", {"sex": ["a", "a"]})
    with pytest.raises(UserError, match=r"'sex' declares '\?', the mark of a missing cell"):
        table(tmp_path, "sex\na\n", {"sex": ["a", "?"]})
    with pytest.raises(UserError, match="columns is empty"):
        CSVTable("t.csv", {})
    with pytest.raises(UserError, match="delimiter ';;' must be one character"):
        table(tmp_path, "age,sex\n1,c\n", delimiter=";;")


@pytest.mark.parametrize(("cell", "remedy"), [("c{}", "leave it out"), ("{}", "call it numeric")])
def test_too_many_categories_are_refused(tmp_path, cell, remedy):
    text = "sex\n" + "".join(cell.format(row) + "\n" for row in range(1001))
    with pytest.raises(UserError, match=f"'sex' has more than 1000 categories: {remedy}"):
        table(tmp_path, text, {"sex": "categorical"}).index()


def test_exactly_a_thousand_categories_and_missing_cells_are_taken(tmp_path):
    text = "sex\n" + "".join(f"c{row}\n" for row in range(1000)) + "?\n"
    source = table(tmp_path, text, {"sex": "categorical"})
    assert len(source.columns[0].categories) == 1001
    assert everything(source)[-1, 0] == 1000


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6).filter(
    lambda cell: cell != "?"
)
NUMBER = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(rows=st.lists(st.tuples(st.none() | NUMBER, st.none() | CELL), min_size=1, max_size=30))
def test_what_a_csv_writer_wrote_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerow(["number", "text"])
        writer.writerows([["?" if cell is None else cell for cell in row] for row in rows])
    source = CSVTable(str(path), {"text": "categorical", "number": "numeric"})
    categories = source.columns[0].categories
    values = everything(source)
    assert [categories[int(code)] for code in values[:, 0]] == [
        "?" if text is None else text for _, text in rows
    ]
    expected = np.array([np.nan if number is None else number for number, _ in rows], np.float32)
    np.testing.assert_array_equal(values[:, 1], expected)
    assert source.index().sizes.sum() + len(b'"number","text"\r\n') == path.stat().st_size


@pytest.mark.data
def test_the_real_adult(data_root):
    source = Adult(str(data_root / "adult"))
    index = source.index()
    test = index.parts == PARTS.index("test")
    assert (np.sum(~test), np.sum(test)) == (32_561, 16_281)
    income, sex = index.attribute("income").codes, index.attribute("sex").codes
    assert np.sum(income[~test]) == 7_841
    assert np.sum(income[test]) == 3_846
    assert np.sum(sex[~test] == 0) == 10_771
    rows = everything(source)
    # an independent, slow reading of the same file
    lines = [line for line in (data_root / "adult" / "adult.data").read_text().split("\n") if line]
    for row in range(0, len(lines), 997):
        for value, column, cell in zip(
            rows[row], source.columns, lines[row].split(", "), strict=True
        ):
            assert (
                value == float(cell)
                if column.kind == "numeric"
                else column.categories[int(value)] == cell
            )
    known = [column.name for column in source.columns if "?" in column.categories]
    assert known == ["workclass", "occupation", "native-country"]
