"""Table files that are malformed, boundless or something else: one line, with the line of the file."""

import gzip
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffshare.data import recognised, tablebytes
from diffshare.data.tablebytes import Watched, look
from diffshare.data.tablefile import TableFile
from diffshare.errors import UserError


def read(folder: Path, data: str | bytes, name: str = "t.csv", **options) -> TableFile:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    source = TableFile(str(path), **options)
    source.index()
    return source


ROWS = "".join(f"{i},x\n" for i in range(100))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.csv is empty"),
        ("a,b\n", r"t\.csv holds no records"),
        (f"a,b\n{ROWS}1\n", r"t\.csv:102 has 1 cells, expected 2"),
        (f"a,b\n{ROWS}1,2,3\n", r"t\.csv:102 has 3 cells, expected 2"),
        (f'a,b\n1,"x\ny"\n{ROWS}1\n', r"t\.csv:104 has 1 cells, expected 2"),
        (f'a,b\n{ROWS}1,"x"y\n', r"t\.csv:102 is not valid CSV"),
        (f'a,b\n{ROWS}1,"x\n', r"t\.csv:102 is not valid CSV"),
        (f"a,b\n{ROWS}1,\xe9\n".encode("latin-1"), r"t\.csv:102 is not UTF-8 text: .*name its enc"),
        ("a,b\n1,2\n".encode("utf-16-le"), "UTF-16 without a mark: .*encoding utf-16-le"),
        ("a,b\n1,2\n".encode("utf-32"), "is UTF-32"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], "is no utf-16 text"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is no table, it is a PNG picture: expected .csv"),
        (pickle.dumps({"a": 1}), "a pickle, which is never opened"),
        (b"\x07\0\x01" * 50, "is no table, it is binary"),
        (b"PAR1 and nothing else", "is a damaged parquet file"),
        (gzip.compress(b"a,b\n1,2\n" * 1000, mtime=0)[:-20], "is a damaged gzip file"),
        (gzip.compress(gzip.compress(b"a,b\n1,2\n", mtime=0), mtime=0), "compressed twice"),
        ("a\n" + "x" * (5 << 20), "a record of more than 4194304 bytes"),
        (",".join(map(str, range(10_001))), "has 10,001 columns, more than 10,000"),
        ("a,b;c,d\n1,2;3,4\n", "falls into"),
        ('[{"a": 1}]', "is one JSON array: write JSON lines"),
        ('{"a": 1}\n\n{"a": 1, "a": 2}', r"t\.csv:3 is no JSON object .a key stands twice"),
        ('{"a": 1}\n[1]', r"t\.csv:2 is no JSON object"),
        ('{"a": 1}\n{"a": ', r"t\.csv:2 is no JSON object"),
        ('{"a": 1}\n{"a": "\\ud800"}', r"t\.csv:2 has half a character"),
        ('{"a": ' + '{"a": ' * 100_000, r"t\.csv:1 is no JSON object"),
        ("{}\n{}", "holds no values"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, text, message):
    if message == "falls into":
        text = "a,b;c,d;e\n1,2;3,4;5\n"  # three columns at both
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_workbook_and_a_folder_are_no_tables(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as file:
        file.writestr("x", "y")
    with pytest.raises(UserError, match="a ZIP archive"):
        TableFile(str(tmp_path / "t.xlsx")).index()
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match="cannot read"):
            TableFile(str(place)).index()


@pytest.mark.parametrize("damage", [slice(0, 300), slice(200, None)])
def test_a_damaged_parquet_file_is_one_line(tmp_path, damage):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": np.arange(1000.0), "b": ["x"] * 1000}).to_parquet(path)
    path.write_bytes(path.read_bytes()[damage])
    with pytest.raises(UserError, match="is a damaged parquet file|is no table"):
        TableFile(str(path)).index()


def test_bytes_of_parquet_that_were_changed_never_end_in_another_error(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": np.arange(300.0), "b": ["x", "y", "z"] * 100}).to_parquet(path)
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        changed = bytearray(data)
        for place in rng.integers(4, len(data), 3):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            TableFile(str(path)).index()
        except UserError:
            continue


def test_a_bomb_is_not_decompressed(tmp_path, monkeypatch):
    data = gzip.compress(b"a,b\n" + b"1,2\n" * 100_000)
    assert len(read(tmp_path, data).index()) == 100_000
    monkeypatch.setattr(tablebytes, "_FREE", 100_000)
    monkeypatch.setattr(tablebytes, "_MOST_TIMES", 20)
    with pytest.raises(UserError, match=r"becomes more than \d+ bytes when it is decompressed"):
        read(tmp_path, data)
    packed = gzip.compress(pd.DataFrame({"a": np.zeros(200_000)}).to_csv(index=False).encode())
    with pytest.raises(UserError, match="becomes more than"):
        read(tmp_path, packed, "t.parquet")


def test_a_table_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(recognised, "MAX_CELLS", 1000)
    with pytest.raises(UserError, match="has more than 1,000 cells: give a part of it"):
        read(tmp_path, "a,b\n" + "1,2\n" * 501)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "utf-8", "utf-16"])
def test_an_encoding_that_is_named(tmp_path, encoding):
    source = read(tmp_path, "ä,b\n1,é\n".encode(encoding), encoding=encoding)
    assert [column.name for column in source.columns] == ["ä", "b"]
    assert source.index().attribute("b").classes == ("é",)
    marked = read(tmp_path, "\ufeffä,b\n1,é\n".encode("utf-16-le"), encoding="utf-16-le")
    assert marked.columns[0].name == "ä"
    lines = read(tmp_path, '\ufeff{"ä": 1}'.encode("utf-16-le"), encoding="utf-16-le")
    assert lines.columns[0].name == "ä"
    for wrong in ("nonsense", "zlib"):
        with pytest.raises(UserError, match="unknown encoding|no encoding of text"):
            read(tmp_path, "a,b\n1,2\n", encoding=wrong)


def test_a_delimiter_that_is_named_or_found(tmp_path):
    text = "a;b\n1,5;x\n2,5;y\n"
    assert [c.name for c in read(tmp_path, text).columns] == ["a", "b"]
    assert [c.name for c in read(tmp_path, text, delimiter="!").columns] == ["a;b"]
    assert [c.name for c in read(tmp_path, "a\n1\n2\n").columns] == ["a"]
    with pytest.raises(UserError, match="delimiter"):
        read(tmp_path, text, delimiter=";;")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        ('a,b\n"x","y"\n', False), ('a,"x""y"\n', False), ('"",""\n', False), ('"""x"""\r\n', False),
        ('"x\n,y",z\n', False), ('a,x"y\n', True), ('a,"x"y\n', True), ('a, "x"\n', True),
        ('a,"x\n', True), ('a,b\0\n', True), ('"a"', False), ('"a""', True), ('x,"a" \n', True),
        ("a\rb\n", True), ("a\r\nb\r\n", False), ("a\r", True),
    ],
)  # fmt: skip
def test_quotes_are_watched_across_the_pieces_of_a_file(tmp_path, text, doubtful, size):
    path = tmp_path / "t.csv"
    path.write_text(text, newline="")
    with path.open("rb") as stream, Watched(stream, ",") as watched:
        while watched.next(size):
            pass
        assert watched.doubtful == doubtful


def test_a_file_is_told_by_its_content_and_not_by_its_name(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_text('\n {"a": 1}')
    assert look(path).format == "jsonl"
    path.write_bytes(gzip.compress(b"a\tb\n1\t2\n"))
    assert (look(path).format, look(path).compressed) == ("csv", True)
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "t.csv")
    assert look(tmp_path / "t.csv").format == "parquet"


def test_keys_that_a_line_lacks_are_missing_and_nested_ones_are_left_out(tmp_path):
    lines = [{"a": 1, "n": {"x": 1}}, {"b": "x"}, {"a": None, "b": "NA", "c": True}]
    source = read(tmp_path, "\n".join(map(json.dumps, lines)), "t.jsonl")
    x = source.read(np.arange(3))
    assert [column.name for column in source.columns] == ["a", "b", "c"]
    np.testing.assert_array_equal(x[:, 0], [1, np.nan, np.nan])
    assert source.index().attribute("b").codes.tolist() == [-1, 1, 0]
    assert source.unused["n"].startswith("holds lists or objects (in line 1)")
    with pytest.raises(UserError, match="column 'n' holds lists or objects"):
        source.require(["n"])
