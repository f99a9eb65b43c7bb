"""Any table file, by the same rules in every format: what pandas reads is what is read."""

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffshare.data import tablereaders
from diffshare.data.recognised import row_names
from diffshare.data.source import Source
from diffshare.data.table import CSVTable
from diffshare.data.tablefile import TableFile, TableFrame
from diffshare.errors import UserError

# quick: a file for each example
EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def write(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def cells(source: TableFile | TableFrame) -> dict[str, list]:
    """The cells of each column: numbers, and texts; None where missing."""
    x = source.read(np.arange(len(source.index())))
    found = {}
    for place, column in enumerate(source.columns):
        values = x[:, place]
        if column.kind == "numeric":
            found[column.name] = [None if v != v else float(v) for v in values]
        else:
            texts = [*column.categories]
            found[column.name] = [texts[int(v)] or None for v in values]
    return found


def kinds(source: TableFile | TableFrame) -> dict[str, str]:
    return {column.name: column.kind for column in source.columns}


# --- formats ---

TEXT = st.text(st.sampled_from("abÄ日 ,;|\t\"'\n0"), max_size=6).map(str.strip)
NUMBER = st.one_of(
    st.integers(-1000, 1000),
    st.floats(-1e6, 1e6, width=32, allow_nan=False).map(lambda v: round(v, 3)),
)


@st.composite
def tables(draw) -> pd.DataFrame:
    """Columns of texts, of which one is no number, and of numbers; some cells missing."""
    rows = draw(st.integers(1, 8))
    columns: dict[str, list] = {}
    for i in range(draw(st.integers(1, 4))):
        cell = draw(st.sampled_from([TEXT.filter(bool), NUMBER]))
        column = draw(st.lists(st.none() | cell, min_size=rows, max_size=rows))
        first = "x" if cell is not NUMBER else draw(NUMBER)
        columns[f"c{i}"] = [first, *column[1:]]
    columns["last"] = ["y"] * rows  # no line is empty
    return pd.DataFrame(columns, dtype=object)


def expected(frame: pd.DataFrame) -> dict[str, list]:
    return {
        name: [
            None if v is None else v if isinstance(v, str) else float(np.float32(v))
            for v in frame[name]
        ]
        for name in frame
    }


@EXAMPLES
@given(
    frame=tables(),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    compressed=st.booleans(),
)
def test_csv_of_every_dialect(tmp_path, frame, delimiter, quoting, end, encoding, compressed):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerow(list(frame.columns))
    writer.writerows(["" if v is None else v for v in row] for row in frame.to_numpy().tolist())
    data = stream.getvalue().encode(encoding)
    path = write(tmp_path, gzip.compress(data) if compressed else data)
    told = delimiter if len(frame.columns) < 4 else None  # few columns may fit at two delimiters
    assert cells(TableFile(str(path), delimiter=told)) == expected(frame)
    strict = TableFile(str(path), delimiter=told)
    strict._reader.strict = True
    assert cells(strict) == expected(frame)


@EXAMPLES
@given(frame=tables(), compressed=st.booleans())
def test_parquet_json_lines_and_frames(tmp_path, frame, compressed):
    typed = frame.apply(
        lambda column: column if column.map(type).eq(str).any() else column.astype(float)
    )
    pressed = gzip.compress if compressed else bytes
    parquet = io.BytesIO()
    typed.to_parquet(parquet)
    path = write(tmp_path, pressed(parquet.getvalue()), "t.bin")
    assert cells(TableFile(str(path))) == expected(frame)
    lines = [
        {k: v for k, v in row.items() if v is not None or k == "c0"}
        for row in frame.to_dict("records")
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    path = write(tmp_path, pressed(text.encode()), "t.bin")
    assert cells(TableFile(str(path))) == expected(frame)
    assert cells(TableFrame(typed)) == expected(frame)


PIECE = st.sampled_from(
    ["a", "1", "", " b", '"c"', '"d\ne"', '"f""g"', 'h"i', '"j"k', ' "l"', '"m', "NA"]
)
LINE = st.tuples(PIECE, PIECE).map(",".join) | st.lists(PIECE, max_size=3).map(",".join)
END = st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n", ""])


@settings(EXAMPLES, max_examples=300)
@given(
    text=st.lists(st.tuples(LINE, END).map("".join), max_size=6).map("".join),
    block=st.sampled_from([40, 4 << 20]),
)
def test_the_fast_reader_and_the_strict_one_agree_or_the_file_is_refused(tmp_path, text, block):
    """Whatever stands in a file: quotes in the middle, not closed, after blanks; rows of other widths."""
    path = write(tmp_path, "x,y\n" + text)

    def read(strict: bool) -> object:
        source = TableFile(str(path), delimiter=",")
        try:
            source._reader.strict = strict
            return cells(source)
        except UserError as error:
            return str(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tablereaders, "MAX_RECORD", block)
        assert read(False) == read(True)


def test_a_source_with_row_numbers_as_names(tmp_path):
    path = write(tmp_path, "a,b\n" + "".join(f"{i % 7},x{i % 2}\n" for i in range(123)))
    source = TableFile(str(path))
    assert isinstance(source, Source)
    index = source.index()
    assert index.names.tolist() == [str(i) for i in range(1, 124)]
    assert row_names(10_001).tolist() == [str(i) for i in range(1, 10_002)]
    assert index.sha256() == TableFile(str(path)).index().sha256()
    taken = index.take(np.array([5, 3]))
    assert taken.numbers["a"].tolist() == [5, 3]
    assert taken.attributes["a"].codes.tolist() == [5, 3]
    assert source.read(np.array([5, 3])).tolist() == [[5, 1], [3, 1]]


# --- what a column is ---


def test_the_rules_of_numbers_and_categories(tmp_path):
    path = write(
        tmp_path,
        "age,zip,flag,code,mark,word,half,day\n"
        "30,01234,True,0,1.5,NA,0.5,2024-01-01\n"
        "?,99999,False,1,NA,x,1.5,2024-01-02\n"
        ' 41 ,12345, True,1.0,"NA",?,-2.5,2024-01-03\n',
    )
    source = TableFile(str(path))
    assert kinds(source) == {
        "age": "numeric", "zip": "categorical", "flag": "categorical", "code": "numeric",
        "mark": "numeric", "word": "categorical", "half": "numeric", "day": "categorical",
    }  # fmt: skip
    read = cells(source)
    assert read["age"] == [30, None, 41]
    assert read["mark"] == [1.5, None, None]
    assert read["zip"] == ["01234", "99999", "12345"]
    assert read["flag"] == ["True", "False", "True"]
    index = source.index()
    assert index.attribute("code").classes == ("0", "1")
    assert index.attribute("code").codes.tolist() == [0, 1, 1]
    assert index.attribute("age").codes.tolist() == [0, -1, 1]
    assert "half" not in index.attributes
    assert set(index.numbers) == {"age", "code", "mark", "half"}
    assert source.description() == "3 rows of t.csv, 8 columns; 4 read as categories, 4 as numbers"
    assert any("'word' has '?', 'NA' in 2 cells" in note for note in source.notes)


def test_the_rules_can_be_corrected(tmp_path):
    path = write(tmp_path, "a,b,c\n1,007,-\n2,008,x\n-,-,-\n")
    source = TableFile(str(path), as_category=["a"], as_number=["b"], missing="-")
    assert kinds(source) == {"a": "categorical", "b": "numeric", "c": "categorical"}
    assert cells(source)["b"] == [7, 8, None]
    assert source.index().attribute("c").codes.tolist() == [-1, 0, -1]
    assert source.columns[2].categories == ("x", "-")
    described = TableFile(str(path), {"c": ["y", "x"], "b": "numeric"}, missing="-")
    assert described.index().attribute("c").codes.tolist() == [-1, 1, -1]
    assert [column.name for column in described.columns] == ["c", "b"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"as_number": ["b"]}, r"t\.csv:3, column 'b': 'x' is no finite number"),
        ({"as_number": ["d"]}, r"no column 'd': its header has 'a', 'b', 'n'"),
        ({"as_number": ["B"]}, r"no column 'B'.* write 'b'"),
        ({"as_number": ["b"], "as_category": ["b"]}, "numbers and categories: choose one"),
        (
            {"columns": {"b": "numeric"}, "as_category": ["b"]},
            "leave out as_category and as_number",
        ),
        ({"columns": {"b": ["x"]}}, r"t\.csv:2, column 'b': '1' is no declared category: 'x'"),
        ({"as_category": ["n"]}, "column 'n' has more than 1000 different cells"),
        ({"columns": {"n": ["0"]}}, r"t\.csv:3, column 'n': '1\.25' is no declared category"),
    ],
)
def test_what_was_asked_for_and_cannot_be(tmp_path, options, message):
    rows = "".join(f"{i},{'x' if i else 1},{i * 1.25:g}\n" for i in range(2000))
    path = write(tmp_path, "a,b,n\n" + rows)
    with pytest.raises(UserError, match=message):
        TableFile(str(path), **options).index()


def test_what_is_no_column_is_said_and_refused_where_it_is_asked_for(tmp_path):
    rows = 1200
    frame = pd.DataFrame(
        {
            "": range(5, rows + 5), "name": [f"n{i}" for i in range(rows)], "row": range(rows),
            "big": [16_777_217 + 3 * i for i in range(rows)], "empty": [None] * rows,
            "one": "x", "few": [2**53 + 1 + 2 * (i % 2) for i in range(rows)], "s": [i % 2 for i in range(rows)],
        }
    )  # fmt: skip
    frame.insert(1, "twice", 1)
    frame.insert(2, "twice", 2, allow_duplicates=True)
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    source = TableFile(str(path))
    assert kinds(source) == {"one": "categorical", "s": "numeric"}
    assert {name: source.unused[name] for name in ("", "name", "row", "empty")} == {
        "": "has no name",
        "name": "has more than 1000 different texts",
        "row": "numbers its rows",
        "empty": "has no cell that is known",
    }
    assert "16777217" in source.unused["big"]
    assert "stands 2 times" in source.unused["twice"]
    told = " ".join(source.notes)
    assert all(f"'{name}'" in told for name in ("name", "row", "big", "empty", "twice", "one"))
    assert source.index().numbers["big"][1] == 16_777_220
    for name in ("name", "twice", "empty", "big"):
        with pytest.raises(UserError, match=f"column '{name}' "):
            source.require(["s", name])
    with pytest.raises(UserError, match="'big' has whole numbers that float32 rounds"):
        TableFile(str(path), {"big": "numeric"}).index()
    with pytest.raises(UserError, match="column 'twice' stands 2 times"):
        TableFile(str(path), {"twice": "numeric"}).index()
    with pytest.raises(UserError, match="unknown column 'S': write 's'"):
        source.require(["S"])
    assert source.texts("name").tolist() == frame["name"].tolist()


def test_typed_columns_of_parquet(tmp_path):
    import decimal

    frame = pd.DataFrame(
        {
            "text": ["1", "2", None], "number": [1, None, 3], "flag": [True, False, None],
            "day": pd.to_datetime(["2024-01-01", None, "2024-02-01"]),
            "money": [decimal.Decimal("1.10"), None, decimal.Decimal("2.20")],
            "kind": pd.Categorical(["b", "a", None], categories=["z", "b", "a"]),
            "nested": [[1], [2], None], "bytes": [b"a", b"b", None], "huge": [2**63 - 1, 1, 2],
        }
    )  # fmt: skip
    path = tmp_path / "t.parquet"
    frame.to_parquet(path)
    for source in (TableFile(str(path)), TableFrame(frame)):
        assert kinds(source) == {
            "text": "categorical", "number": "numeric", "flag": "categorical", "day": "categorical",
            "money": "numeric", "kind": "categorical",
        }  # fmt: skip
        read = cells(source)
        assert read["text"] == ["1", "2", None]
        assert read["flag"] == ["True", "False", None]
        assert read["kind"] == ["b", "a", None]
        assert source.columns[5].categories == ("a", "b", "")
        assert read["day"][0].startswith("2024-01-01")
        assert source.index().numbers["money"][0] == 1.1
        assert "lists or objects" in source.unused["nested"]
        assert "binary" in source.unused["bytes"]
        assert source.unused["huge"] == "has whole numbers beyond 2**53"
    with pytest.raises(UserError, match="column 'nested' holds lists or objects"):
        TableFile(str(path), {"nested": "categorical"}).index()
    with pytest.raises(UserError, match="'nested' holds lists or objects"):
        TableFile(str(path)).require(["nested"])


def test_many_numbers_are_held_exactly(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=3000), "b": rng.normal(size=3000).round(2)})
    frame.loc[7, "a"] = np.nan
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    index = TableFile(str(path)).index()
    for name in frame:
        np.testing.assert_array_equal(index.numbers[name], frame[name].to_numpy())


def test_text_behind_two_thousand_numbers_is_text(tmp_path):
    path = write(tmp_path, "a\n" + "".join(f"{i * 0.5}\n" for i in range(2000)) + "old\n")
    source = TableFile(str(path))
    assert source.unused["a"] == "has more than 1000 different texts"
    with pytest.raises(UserError, match=r"t\.csv:2002, column 'a': 'old' is no finite number"):
        TableFile(str(path), as_number=["a"]).index()
    for last in ("nan", "inf", "007"):
        path = write(tmp_path, "a\n" + "".join(f"{i * 0.5}\n" for i in range(2000)) + f"{last}\n")
        assert "a" in TableFile(str(path), missing="-").unused


def test_a_first_line_that_looks_like_a_record_is_said(tmp_path):
    path = write(tmp_path, "39,State,77516\n50,Self,83311\n")
    assert "has 39, 77516 among them" in TableFile(str(path)).notes[0]
    source = TableFile(str(path), header=False)
    assert len(source.index()) == 2
    assert kinds(source) == {"0": "numeric", "1": "categorical", "2": "numeric"}
    named = TableFile(str(path), {"a": "numeric", "b": "categorical", "c": "numeric"}, header=False)
    assert cells(named)["b"] == ["State", "Self"]
    with pytest.raises(UserError, match="has 3 columns and no header: name all of them"):
        TableFile(str(path), {"a": "numeric"}, header=False).index()


def test_exact_numbers_of_a_described_table(tmp_path):
    """What float32 rounds is exact in the index, which attributes are derived from."""
    path = write(tmp_path, "a,b\n0.1,x\n?,y\n")
    index = CSVTable(str(path), {"a": "numeric", "b": "categorical"}).index()
    np.testing.assert_array_equal(index.numbers["a"], [0.1, np.nan])
    assert list(index.numbers) == ["a"]
