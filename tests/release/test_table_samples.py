"""``samples.csv``: a source reads back the rows that were written."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from diffshare.data.table import CSVTable
from diffshare.errors import UserError
from diffshare.release import tables
from diffshare.release.table import TableColumn, TableSchema
from diffshare.release.tables import check_rows_file, write_table_samples

SCHEMA = TableSchema(
    (
        TableColumn("age", "numeric", (), True, bounds=(0.0, 90.0)),
        TableColumn("dose", "numeric", (), False, True, bounds=(0.0, 1.0)),
        TableColumn("ward", "categorical", ('the "old", east', "b", "?")),
        TableColumn("ill", "categorical", ("no", "yes")),
    ),
    "ill",
)
ROWS = np.array([[31, 0.1, 0, 1], [-4, np.nan, 2, 0], [16777216, 1e-30, 1, 1]], np.float32)


def test_cells_are_texts_whole_numbers_and_marks(tmp_path: Path) -> None:
    write_table_samples(tmp_path / "out", SCHEMA, ROWS, {"labels": "none"})
    text = (tmp_path / "out" / "samples.csv").read_text(encoding="utf-8")
    lines = list(csv.reader(text.splitlines()))
    assert lines == [
        ["age", "dose", "ward", "ill"],
        ["31", "0.1", 'the "old", east', "yes"],
        ["-4", "?", "?", "no"],
        ["16777216", "1e-30", "b", "yes"],
    ]
    assert json.loads((tmp_path / "out" / "samples.json").read_text()) == {
        "count": 3,
        "labels": "none",
    }
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"samples.csv", "samples.json"}


def test_a_source_reads_the_same_numbers(tmp_path: Path) -> None:
    write_table_samples(tmp_path / "out", SCHEMA, ROWS, {})
    columns = {
        "age": "numeric",
        "dose": "numeric",
        "ward": ['the "old", east', "b"],
        "ill": ["no", "yes"],
    }
    source = CSVTable(str(tmp_path / "out" / "samples.csv"), columns)
    np.testing.assert_array_equal(source.read(np.arange(3)), ROWS)
    assert [column.integer for column in source.columns] == [True, False, False, False]


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (0, 2, 3, "column 'ward' holds a number that is none of its 3 categories"),
        (0, 2, 0.5, "column 'ward' holds a number that is none of its 3 categories"),
        (0, 3, np.nan, "column 'ill' holds a number that is none of its 2 categories"),
        (0, 0, np.nan, "column 'age' holds a value that is not finite"),
        (0, 1, np.inf, "column 'dose' holds a value that is not finite"),
    ],
)
def test_what_is_no_cell_is_refused_and_nothing_is_left(
    tmp_path: Path, row: int, column: int, value: float, message: str
) -> None:
    x = ROWS.copy()
    x[row, column] = value
    with pytest.raises(UserError, match=message):
        write_table_samples(tmp_path / "out", SCHEMA, x, {})
    with pytest.raises(UserError, match=r"x must be N x 4 with N >= 1"):
        write_table_samples(tmp_path / "out", SCHEMA, x[:, :3], {})
    assert not list(tmp_path.iterdir())


def test_the_sizes_of_a_strangers_rows_are_looked_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "samples.csv"
    write = path.write_bytes
    write(b"a,b\n1,2\n" + b"3,4\n" * 50)
    check_rows_file(path)
    for read in (1, 3, 1 << 20):  # a line may lie in several reads
        monkeypatch.setattr(tables, "_READ", read)
        monkeypatch.setattr(tables, "MAX_ROWS", 52)
        monkeypatch.setattr(tables, "MAX_LINE", 3)
        check_rows_file(path)
        monkeypatch.setattr(tables, "MAX_ROWS", 51)
        with pytest.raises(UserError, match="more than 51 lines"):
            check_rows_file(path)
        monkeypatch.setattr(tables, "MAX_ROWS", 52)
        monkeypatch.setattr(tables, "MAX_LINE", 2)
        with pytest.raises(UserError, match="a line of more than 2 bytes"):
            check_rows_file(path)
    monkeypatch.setattr(tables, "MAX_CSV", 9)
    with pytest.raises(UserError, match="larger than 9 bytes"):
        check_rows_file(path)
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    with pytest.raises(UserError, match="is a link"):
        check_rows_file(link)
