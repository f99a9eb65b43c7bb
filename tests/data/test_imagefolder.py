import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffshare.data.cache import open_records
from diffshare.data.imagefolder import ImageFolder
from diffshare.data.source import BadRecord, Source
from diffshare.errors import UserError

COLOURS = {"a.png": (200, 10, 10), "sub/b.png": (10, 200, 10), "sub/deep/c.png": (10, 10, 200)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of one colour each, in nested folders, and one that no table lists."""
    root = tmp_path / "images"
    for name, colour in (COLOURS | {"sub/unlisted.png": (0, 0, 0)}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 9), colour).save(root / name)
    return root


def listed(root: Path, text: str, **options) -> ImageFolder:
    (root / "metadata.csv").write_text(text, encoding="utf-8")
    return ImageFolder(str(root), **{"image_size": 4} | options)


GOOD = "file_name,age,sex\nsub/deep/c.png,10,f\na.png,9,m\nsub/b.png,100,f\n"


def test_the_index_is_the_table(folder):
    source = listed(folder, GOOD)
    assert isinstance(source, Source)
    index = source.index()
    assert index.names.tolist() == ["sub/deep/c.png", "a.png", "sub/b.png"]
    assert index.sizes.tolist() == [(folder / name).stat().st_size for name in index.names]
    assert index.stamps.tolist() == [(folder / name).stat().st_mtime_ns for name in index.names]
    assert index.parts is None
    assert index.attribute("age").classes == ("9", "10", "100")
    assert index.attribute("age").codes.tolist() == [1, 0, 2]
    assert index.attribute("sex").codes.tolist() == [0, 1, 0]


def test_images_come_in_the_order_asked_for(folder):
    source = listed(folder, GOOD)
    images = source.read(np.array([2, 0, 1]))
    assert images.shape == (3, 4, 4, 3)
    for image, name in zip(images, ["sub/b.png", "sub/deep/c.png", "a.png"], strict=True):
        assert (image == COLOURS[name]).all()
    assert np.array_equal(open_records(source).x[[2, 0, 1]], images)


def test_the_index_opens_no_image(folder):
    for path in folder.rglob("*.png"):
        path.write_bytes(b"no image at all")
    source = listed(folder, GOOD)
    assert len(source.index()) == 3
    with pytest.raises(BadRecord, match=r"c\.png"):
        source.read(np.arange(3))


def test_attributes_can_be_chosen(folder):
    assert list(listed(folder, GOOD).index().attributes) == ["age", "sex"]
    assert list(listed(folder, GOOD, attributes=["sex"]).index().attributes) == ["sex"]
    with pytest.raises(UserError, match="unknown attribute 'race': choose one of age, sex"):
        listed(folder, GOOD, attributes=["race"]).index()


def test_an_empty_cell_is_unknown(folder):
    text = "file_name,sex,none\na.png,m,\nsub/b.png,,\nsub/deep/c.png,f,\n"
    index = listed(folder, text).index()
    assert index.attribute("sex").codes.tolist() == [1, -1, 0]
    assert list(index.attributes) == ["sex"]
    with pytest.raises(UserError, match=r"column 'none' of .*metadata\.csv has empty cells only"):
        listed(folder, text, attributes=["none"]).index()


SPLITS = [
    ("sharer", "auxiliary", "test"),
    ("train", "validation", "test"),
    ("train", "val", "test"),
]


@pytest.mark.parametrize("words", SPLITS)
def test_a_split_column_gives_the_parts(folder, words):
    rows = "".join(f"{name},{word}\n" for name, word in zip(COLOURS, words, strict=True))
    index = listed(folder, f"file_name,split\n{rows}").index()
    assert index.parts.tolist() == [0, 1, 2]
    assert not index.attributes
    with pytest.raises(
        UserError, match=r"metadata\.csv:3, column 'split': 'dev' is none of sharer, train"
    ):
        listed(folder, "file_name,split\na.png,train\nsub/b.png,dev\n").index()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"metadata\.csv is empty"),
        ("file_name,sex\n", r"metadata\.csv holds no records"),
        (
            "file,sex\nz.png,m\n",
            r"metadata\.csv has no column that names files of .* \(it holds 'a\.png', for instance\): its columns are "
            "'file', 'sex'; name one in file_column",
        ),
        ("file_name,sex,sex\na.png,m,m\n", r"more than one column 'sex'"),
        ("file_name,sex\na.png,m\nsub/b.png\n", r"metadata\.csv:3 has 1 cells, expected 2"),
        (
            "file_name\na.png\nsub/b.png\na.png\n",
            r"metadata\.csv:4 lists 'a\.png' again \(first in line 2\)",
        ),
        (
            "file_name\na.png\nz.png\n",
            r"metadata\.csv:3 lists 'z\.png', which is not in .*images: put it there",
        ),
        ("file_name\na.png\nno/z.png\na.png/x\n", r":3 lists 'no/z\.png', .*\(2 missing in all\)"),
        ("file_name\nsub\n", r"metadata\.csv:2 lists 'sub', which is not in"),
        (
            "file_name\n../images/a.png\n",
            r"metadata\.csv:2: '\.\./images/a\.png' is no plain path inside",
        ),
        (
            "file_name\nsub/../a.png\n",
            r"metadata\.csv:2: 'sub/\.\./a\.png' is no plain path inside",
        ),
        ("file_name\n./a.png\n", r"'\./a\.png' is no plain path inside"),
        ("file_name\n/etc/passwd\n", r"'/etc/passwd' is no plain path inside"),
        ('file_name\n""\n', r"metadata\.csv:2: '' is no plain path inside"),
        ("file_name\nsub\\b.png\n", r"'sub\\\\b\.png' is no plain path inside"),
        ("file_name\na.png\0\n", r"is no plain path inside"),
    ],
)
def test_mistakes_in_the_table(folder, text, message):
    with pytest.raises(UserError, match=message):
        listed(folder, text).index()


def test_mistakes_beside_the_table(folder):
    with pytest.raises(UserError, match=r"no table other\.csv: check its name"):
        ImageFolder(str(folder), labels="other.csv").index()
    with pytest.raises(UserError, match="no folder"):
        ImageFolder(str(folder / "absent")).index()
    with pytest.raises(UserError, match="image_size 0 makes no sense"):
        ImageFolder(str(folder), image_size=0)
    with pytest.raises(UserError, match="must be three numbers"):
        ImageFolder(str(folder), shares=(1, 1, 1))


def test_links_may_not_lead_out(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "d.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "within.png").symlink_to("sub/b.png")
    assert (
        listed(folder, "file_name\nwithin.png\n").index().sizes[0]
        == (folder / "sub/b.png").stat().st_size
    )
    (folder / "file.png").symlink_to(outside / "d.png")
    with pytest.raises(UserError, match=r"file\.png is a link that leads out"):
        listed(folder, "file_name\nfile.png\n").index()
    (folder / "linked").symlink_to(outside)
    with pytest.raises(UserError, match=r"linked is a link that leads out"):
        listed(folder, "file_name\nlinked/d.png\n").index()
    (folder / "nowhere.png").symlink_to("absent.png")
    with pytest.raises(UserError, match=r"lists 'nowhere\.png', which is not in"):
        listed(folder, "file_name\nnowhere.png\n").index()
    (tmp_path / "alias").symlink_to(folder)
    assert len(listed(tmp_path / "alias", GOOD).index()) == 3


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_one_file_under_two_names_would_stand_in_two_parts(folder, link):
    getattr(folder / "twin.png", link)(folder / "sub/b.png")
    message = r"metadata\.csv:4: 'sub/b\.png' is the same file as 'twin\.png' \(line 2\), a link: the parts would over"
    with pytest.raises(UserError, match=message):
        listed(folder, "file_name,split\ntwin.png,train\na.png,train\nsub/b.png,test\n").index()


def test_missing_and_bad_images_can_be_skipped(folder):
    (folder / "sub/b.png").write_bytes(b"no image")
    source = listed(folder, GOOD + "gone.png,1,m\n", on_bad_image="skip")
    assert source.index().sizes[-1] == 0
    records = open_records(source)
    assert records.index.names.tolist() == ["sub/deep/c.png", "a.png"]
    assert set(records.skipped) == {"sub/b.png", "gone.png"}


@pytest.mark.parametrize(("cell", "kind"), [("{}.5", "numbers"), ("id{}", "cells")])
def test_a_column_of_too_many_classes_is_no_attribute(folder, cell, kind):
    names = [f"many/{number}.png" for number in range(1001)]
    (folder / "many").mkdir()
    for name in names:
        (folder / name).touch()
    rows = "".join(f"{name},{cell.format(number)},x\n" for number, name in enumerate(names))
    assert list(listed(folder, f"file_name,big,small\n{rows}").index().attributes) == ["small"]
    with pytest.raises(
        UserError, match=f"column 'big' of .* has more than 1000 different {kind}: give it classes"
    ):
        listed(folder, f"file_name,big,small\n{rows}", attributes=["big"]).index()


def test_a_changed_image_changes_the_source(folder):
    before = listed(folder, GOOD).index()
    path = folder / "a.png"
    path.write_bytes(path.read_bytes() + b"\0")
    assert listed(folder, GOOD).index().sha256() != before.sha256()
    os.utime(folder / "sub/b.png", ns=(1, 1))
    assert listed(folder, GOOD).index().stamps[2] == 1
