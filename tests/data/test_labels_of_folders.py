"""What is known of a folder of pictures: tables of every kind, folders, names, and what is refused in one line."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diffshare.data.imagefolder import ImageFolder
from diffshare.data.source import Index
from diffshare.errors import UserError

NAMES = ["b.png", "a.png", "c.png"]
ROWS = [("b.png", "m", 31.5), ("a.png", "f", 7), ("c.png", "f", None)]


def pictures(root: Path, *names: str) -> Path:
    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (10 * k,) * 3).save(root / name, "PNG")
    return root


def folder(root: Path, **options: Any) -> ImageFolder:
    return ImageFolder(str(root), image_size=4, **options)


def words(index: Index, name: str) -> list[str]:
    attribute = index.attribute(name)
    return [*np.array([*attribute.classes, "?"])[attribute.codes]]


def write_rows(
    path: Path, rows: list[tuple[Any, ...]] = ROWS, header: str = "file_name sex age"
) -> Path:
    """The same table in whichever kind the ending asks for."""
    names = header.split()
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    mark = {".csv": ",", ".tsv": "\t", ".txt": " "}.get(path.suffix)
    if path.suffix == ".parquet":
        columns = zip(*rows, strict=True)
        pq.write_table(pa.table({n: list(c) for n, c in zip(names, columns, strict=True)}), path)
    elif path.suffix == ".jsonl":
        lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    elif path.suffix == ".json":
        path.write_text(json.dumps([dict(zip(names, row, strict=True)) for row in rows]))
    else:
        path.write_text("\n".join(mark.join(cells) for cells in [names, *texts]) + "\n")
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet"])
@pytest.mark.parametrize("place", ["inside", "outside"])
def test_a_table_says_the_same_in_every_kind(tmp_path, kind, place):
    root = pictures(tmp_path / "photos", *NAMES)
    path = write_rows((root if place == "inside" else tmp_path) / f"labels.{kind}")
    source = folder(root, labels=path.name if place == "inside" else str(path))
    index = source.index()
    assert index.names.tolist() == NAMES
    assert words(index, "sex") == ["m", "f", "f"]
    assert words(index, "age") == ["31.5", "7", "?"]
    np.testing.assert_array_equal(index.numbers["age"], [31.5, 7, np.nan])
    assert set(index.numbers) == {"age"}
    assert source.notes == (f"labels.{kind}: 3 rows, 'file_name' names the files",)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_metadata_is_there_without_being_named_also_in_the_folders_of_parts(tmp_path, kind):
    root = pictures(tmp_path / "one", *NAMES)
    write_rows(root / f"metadata.{kind}")
    assert words(folder(root).index(), "sex") == ["m", "f", "f"]
    root = pictures(
        tmp_path / "parts", *(f"{part}/{name}" for part in ("train", "test") for name in NAMES)
    )
    write_rows(root / "test" / f"metadata.{kind}", ROWS[:1])
    write_rows(root / "train" / f"metadata.{kind}", ROWS[1:])
    index = folder(root).index()
    assert index.names.tolist() == ["test/b.png", "train/a.png", "train/c.png"]
    assert words(index, "sex") == ["m", "f", "f"]
    assert index.parts.tolist() == [2, 0, 0]


def test_blanks_tabs_and_semicolons_are_told_apart(tmp_path):
    root = pictures(tmp_path, *NAMES)
    whole = [row[:2] for row in ROWS]
    write_rows(root / "t.txt", whole, "file_name sex")
    (root / "s.csv").write_text((root / "t.txt").read_text().replace(" ", ";"))
    for name in ("t.txt", "s.csv"):
        assert words(folder(root, labels=name).index(), "sex") == ["m", "f", "f"]


@pytest.mark.parametrize("column", ["image_id", "Filename", "path", "image", "img_path", "which"])
@pytest.mark.parametrize(
    "form", ["{}.png", "{}", "deep/{}.png", "photos/deep/{}.png", "deep/{}", "{}.jpg"]
)
def test_cells_that_name_files_in_any_usual_way(tmp_path, column, form):
    root = pictures(tmp_path / "photos", "deep/b.png", "deep/a.png", "deep/c.png")
    rows = [(form.format(name[0]), sex) for name, sex, _ in ROWS]
    write_rows(root / "labels.csv", rows, f"{column} sex")
    index = folder(root, labels="labels.csv").index()
    assert index.names.tolist() == ["deep/b.png", "deep/a.png", "deep/c.png"]
    assert words(index, "sex") == ["m", "f", "f"]
    assert set(index.attributes) == {"sex"}


def test_names_in_any_script_are_found_however_their_accents_are_written(tmp_path):
    composed, apart = "é.png", "e\u0301.png"
    root = pictures(tmp_path, apart, "写真 1.png", "Żółć.png")
    rows = [(composed, "x"), ("写真 1.png", "y"), ("Żółć.png", "x")]
    write_rows(root / "labels.csv", rows, "image sex")
    with_accents = [row for row in rows if row[0] == composed]
    assert folder(root, labels="labels.csv", on_bad_image="skip").index().names[1] == "写真 1.png"
    write_rows(root / "labels.csv", with_accents, "image sex")
    index = folder(root, labels="labels.csv").index()
    assert index.names.tolist() == [apart]


def test_the_part_of_another_folder_is_not_taken_for_a_prefix(tmp_path):
    """A table of train/1.png says nothing of val/1.png, whose own path ends alike."""
    root = pictures(tmp_path / "val", "1.png")
    write_rows(tmp_path / "t.csv", [("train/1.png", "m")], "file sex")
    with pytest.raises(UserError, match="has no column that names files of"):
        folder(root, labels=str(tmp_path / "t.csv")).index()


def test_tables_are_joined_by_the_files_and_agree(tmp_path):
    root = pictures(tmp_path, *NAMES)
    write_rows(root / "one.csv", [("b.png", "m"), ("a.png", "f")], "file_name sex")
    write_rows(root / "two.csv", [("c.png", "f"), ("a.png", "f")], "image sex")
    write_rows(root / "parts.csv", [("a", 0), ("c", 2), ("b", 1)], "id part")
    tables = ["one.csv", "two.csv", "parts.csv"]
    index = folder(root, labels=tables, split_column="part").index()
    assert index.names.tolist() == NAMES
    assert words(index, "sex") == ["m", "f", "f"]
    assert index.parts.tolist() == [1, 0, 2]
    write_rows(root / "two.csv", [("c.png", "f"), ("a.png", "m")], "image sex")
    message = r"two\.csv:3, column 'sex': 'm' of 'a\.png', but .*one\.csv:3 has 'f': the tables must agree"
    with pytest.raises(UserError, match=message):
        folder(root, labels=tables).index()


def test_a_table_without_files_is_joined_by_a_column_that_both_have(tmp_path):
    root = pictures(tmp_path, *NAMES)
    write_rows(root / "who.csv", [("b.png", "p9"), ("a.png", "p2"), ("c.png", "p9")], "file person")
    write_rows(root / "people.csv", [("p2", "f"), ("p9", "m"), ("p5", "f")], "person sex")
    index = folder(root, labels=["who.csv", "people.csv"]).index()
    assert words(index, "sex") == ["m", "f", "m"]


def test_folders_are_classes_and_parts(tmp_path):
    root = pictures(tmp_path / "a", "cat/1.png", "dog/1.png", "dog/old/2.png", ".x/3.png")
    index = folder(root).index()
    assert index.names.tolist() == ["cat/1.png", "dog/1.png", "dog/old/2.png"]
    assert words(index, "class") == ["cat", "dog", "dog"]
    assert index.parts is None
    root = pictures(
        tmp_path / "b", "train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "test/dog/9.png"
    )
    index = folder(root).index()
    assert words(index, "class") == ["dog", "cat", "dog", "cat"]
    assert index.parts.tolist() == [2, 0, 0, 1]


@pytest.mark.parametrize(
    "names", [("1.png", "2.png"), ("cat/1.png", "2.png"), ("only/1.png", "only/2.png")]
)
def test_a_folder_may_have_no_labels_at_all(tmp_path, names):
    source = folder(pictures(tmp_path, *names))
    assert len(source.index()) == 2
    assert not source.index().attributes
    assert source.notes == ("2 pictures without labels",)
    assert source.read(np.arange(2)).shape == (2, 4, 4, 3)


def test_stylegans_dataset_json(tmp_path):
    root = pictures(tmp_path, "00000/img0.png", "00000/img1.png")
    (root / "dataset.json").write_text(
        '{"labels": [["00000/img1.png", 3], ["00000/img0.png", 12]]}'
    )
    index = folder(root).index()
    assert index.names.tolist() == ["00000/img1.png", "00000/img0.png"]
    assert index.attribute("class").classes == ("3", "12")
    assert index.attribute("class").codes.tolist() == [0, 1]
    (root / "dataset.json").write_text(
        '{"labels": [["00000/img1.png", [0, 1]], ["00000/img0.png", [1, 1]]]}'
    )
    assert words(folder(root).index(), "class0") == ["0", "1"]


def test_a_pattern_joins_a_table(tmp_path):
    root = pictures(tmp_path, "s1/7_x.png", "s2/9_y.png")
    write_rows(root / "t.csv", [("s2/9_y.png", "m"), ("s1/7_x.png", "f")], "file_name sex")
    index = folder(root, labels="t.csv", pattern="[site]/[age]_*").index()
    assert (words(index, "sex"), words(index, "site")) == (["m", "f"], ["s2", "s1"])
    assert index.numbers["age"].tolist() == [9, 7]


def test_split_words_numbers_and_own_words(tmp_path):
    root = pictures(tmp_path, *NAMES)
    for cells, options in (
        (("train", "val", "test"), {}),
        ((0, 1, 2), {}),
        (("dev", "hold", "x"), {"splits": {"dev": "sharer", "hold": "auxiliary", "x": "test"}}),
    ):
        rows = list(zip(NAMES, cells, strict=True))
        write_rows(root / "t.csv", rows, "file fold")
        index = folder(root, labels="t.csv", split_column="fold", **options).index()
        assert index.parts.tolist() == [0, 1, 2]
        assert not index.attributes
    with pytest.raises(
        UserError, match=r"t\.csv:2, column 'fold': 'dev' is none of sharer, train.* splits"
    ):
        folder(root, labels="t.csv", split_column="fold").index()
    with pytest.raises(UserError, match="unknown split_column 'part': choose one of fold"):
        folder(root, labels="t.csv", split_column="part").index()
    with pytest.raises(UserError, match="splits: 'dev' is 'train', none of sharer"):
        folder(root, splits={"dev": "train"})


def test_pictures_without_a_label_are_counted_and_left_out_or_refused(tmp_path, caplog):
    root = pictures(tmp_path, *NAMES, "d.png", ".hidden.png")
    write_rows(root / "metadata.csv")
    with caplog.at_level(logging.INFO):
        source = folder(root)
        assert len(source.index()) == 3
    told = f"1 of 4 pictures in {root} have no label, the first 'd.png'"
    assert source.notes[-1] == f"{told}: left out"
    assert [record.getMessage() for record in caplog.records] == [source.notes[-1]]
    with pytest.raises(
        UserError, match="have no label, the first 'd.png': label them, remove them, or"
    ):
        folder(root, unlabelled="error").index()


def test_what_cells_mean_can_be_said(tmp_path):
    root = pictures(tmp_path, *NAMES)
    write_rows(root / "t.csv", [("b.png", 0, -1), ("a.png", 1, 1), ("c.png", 3, 1)], "file sex Hat")
    values = {"sex": {"0": "male", "1": "female", "3": ""}}
    index = folder(root, labels="t.csv", values=values, signed=True).index()
    assert words(index, "sex") == ["male", "female", "?"]
    assert words(index, "Hat") == ["not Hat", "Hat", "Hat"]
    with pytest.raises(
        UserError, match=r"'c\.png', column 'sex': values says nothing of '3': add it"
    ):
        folder(root, labels="t.csv", values={"sex": {"0": "m", "1": "f"}}).index()


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (
            "image,photo\na.png,b.png\n",
            {},
            r"names files of .* in more than one column, 'image', 'photo': say which",
        ),
        (
            "sex,age\nm,1\n",
            {},
            r"has no column that names files of .* its columns are 'sex', 'age'; name one in",
        ),
        ("image,sex\na.png,m\n", {"file_column": "file"}, None),
        (
            "image,sex\nz.png,m\ny.png,m\na.png,m\n",
            {},
            r"t\.csv:2 lists 'z\.png', .*\(2 missing in all\)",
        ),
        ("image,sex\nx/same.png,m\n", {}, None),
        ("image,sex\nsame,m\n", {}, r"'same' names both 'x/same\.png' and 'y/same\.png'"),
    ],
)
def test_mistakes_in_a_table(tmp_path, table, options, message):
    root = pictures(tmp_path, "a.png", "b.png", "x/same.png", "y/same.png")
    (root / "t.csv").write_text(table)
    if message is None:
        assert len(folder(root, labels="t.csv", **options).index()) == 1
        return
    with pytest.raises(UserError, match=message):
        folder(root, labels="t.csv", **options).index()


def test_mistakes_of_the_folder(tmp_path):
    root = pictures(tmp_path, "25_f.png")
    with pytest.raises(
        UserError, match=r"no picture in .* pattern '\[age\]-\[sex\]'; the first is '25_f\.png'"
    ):
        folder(root, pattern="[age]-[sex]").index()
    (root / "25_f.png").rename(root / "notes.pdf")
    with pytest.raises(
        UserError,
        match=r"holds no picture: expected files that end with \.jpg.* a table \(\.csv.*no",
    ):
        folder(root).index()
    (root / "bad.parquet").write_bytes(b"PAR1 no table at all PAR1")
    with pytest.raises(UserError, match=r"bad\.parquet is no parquet file that can be read"):
        folder(root, labels="bad.parquet").index()
    with pytest.raises(UserError, match=r"a table of labels ends with \.csv"):
        folder(root, labels="notes.pdf").index()
    (root / "bad.jsonl").write_text('{"file_name": "a"}\n{"file_name"\n')
    with pytest.raises(UserError, match=r"bad\.jsonl:2 is not valid JSON"):
        folder(root, labels="bad.jsonl").index()
    with pytest.raises(UserError, match="labels and metadata are both given"):
        folder(root, labels="a.csv", metadata="b.csv")


def test_links_are_followed_inside_the_folder_alone(tmp_path):
    root = pictures(tmp_path / "photos", "cat/1.png", "dog/2.png")
    (root / "cat" / "3.png").symlink_to("../dog/2.png")
    with pytest.raises(
        UserError, match=r"is the same file as 'cat/3\.png', a link: the parts would overlap"
    ):
        folder(root).index()
    (root / "cat" / "3.png").unlink()
    pictures(tmp_path, "out.png")
    (root / "cat" / "3.png").symlink_to(tmp_path / "out.png")
    with pytest.raises(UserError, match=r"3\.png is a link that leads out"):
        folder(root).index()
