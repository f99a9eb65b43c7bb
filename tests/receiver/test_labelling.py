"""A sheet to label and the table that comes back."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffshare.errors import UserError
from diffshare.receiver.labelling import read_labels, write_sheet


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_shows_the_samples_that_the_table_names(tmp_path: Path, channels: int) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, channels), np.uint8)
    write_sheet(tmp_path / "sheet", x, 12, seed=3)
    lines = (tmp_path / "sheet" / "labels.csv").read_text().splitlines()
    numbers = [int(line.removesuffix(",")) for line in lines[1:]]
    assert lines[0] == "sample,label"
    assert len(set(numbers)) == 12
    with Image.open(tmp_path / "sheet" / "sheet.png") as picture:
        pixels = np.asarray(picture)
    for place, number in enumerate(numbers):
        top, left = 18 + place // 10 * (96 + 18), 18 + place % 10 * (96 + 18)
        tile = pixels[top + 6 : top + 96 : 12, left + 6 : left + 96 : 12]
        np.testing.assert_array_equal(tile, np.broadcast_to(x[number], (8, 8, 3)))


def test_a_seed_repeats_and_an_empty_table_holds_no_label(tmp_path: Path) -> None:
    x = np.zeros((40, 8, 8, 3), np.uint8)
    for name in ("a", "b"):
        write_sheet(tmp_path / name, x, 5, seed=1)
    assert (tmp_path / "a" / "labels.csv").read_bytes() == (
        tmp_path / "b" / "labels.csv"
    ).read_bytes()
    places, labels = read_labels(tmp_path / "a" / "labels.csv", np.arange(40))
    assert len(places) == len(labels) == 0


def test_filled_in_labels_come_back(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("sample,label\n7, 1\n3,0\n9,\n")
    places, labels = read_labels(tmp_path / "l.csv", np.arange(10))
    assert places.tolist() == [7, 3]
    assert labels.tolist() == [True, False]


def test_a_sheet_of_drawn_samples_names_their_own_numbers(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).permutation(200)[:40]
    x = np.broadcast_to(numbers[:, None, None, None], (40, 8, 8, 1)).astype(np.uint8)
    write_sheet(tmp_path / "sheet", x, 9, seed=1, numbers=numbers)
    lines = (tmp_path / "sheet" / "labels.csv").read_text().splitlines()
    named = [int(line.removesuffix(",")) for line in lines[1:]]
    with Image.open(tmp_path / "sheet" / "sheet.png") as picture:
        pixels = np.asarray(picture)[18 + 48, 18 + 48 :: 96 + 18, 0]
    assert named == sorted(named) == pixels[:9].tolist()
    (tmp_path / "l.csv").write_text("sample,label\n" + "".join(f"{number},1\n" for number in named))
    places, _ = read_labels(tmp_path / "l.csv", numbers)
    assert numbers[places].tolist() == named
    missing = min(set(range(200)) - set(numbers.tolist()))
    (tmp_path / "l.csv").write_text(f"sample,label\n{missing},1\n")
    with pytest.raises(UserError, match="one of the 40 that are read"):
        read_labels(tmp_path / "l.csv", numbers)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n", "the first line must be sample,label"),
        ("", "the first line must be sample,label"),
        ("sample,label\n10,1\n", "line 2: expected a sample's number, one of the 10"),
        ("sample,label\n1,1\n-1,1\n", "line 3: expected a sample's number"),
        ("sample,label\n1\n", "line 2: expected a sample's number"),
        ("sample,label\n1,yes\n", "label 'yes' must be 1"),
        ("sample,label\n1,1\n1,\n", "line 3: sample 1 comes twice"),
        ('sample,label\n1,"1\n', "is not valid CSV"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_labels(tmp_path / "l.csv", np.arange(10))


@pytest.mark.parametrize("count", [0, 41])
def test_a_count_that_there_is_not_is_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(UserError, match="choose 1 to 40"):
        write_sheet(tmp_path / "sheet", np.zeros((40, 8, 8, 3), np.uint8), count, seed=0)
    assert not list(tmp_path.iterdir())
