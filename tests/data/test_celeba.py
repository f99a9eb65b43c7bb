import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffshare.data import celeba, images
from diffshare.data.celeba import (
    ATTRIBUTES,
    IMAGES,
    PARTITION,
    CelebA,
    read_attributes,
    read_partition,
)
from diffshare.data.images import Framing, read_images
from diffshare.data.source import PARTS, BadRecord, Source
from diffshare.errors import UserError

COLUMNS = ["Male", "Smiling", "Young"]
N = 9


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def edit(path: Path, line: int, text: str | None) -> None:
    """Replace a line (numbers from 1), or remove it."""
    content = lines(path)
    content[line - 1 : line] = [] if text is None else [text]
    path.write_text("\n".join(content) + "\n")


def picture(seed: int, width: int = 178, height: int = 218) -> Image.Image:
    """Smooth random colours."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("celeba")
    (root / IMAGES).mkdir()
    values = np.where(np.random.default_rng(0).random((N, len(COLUMNS))) < 0.5, "-1", " 1")
    names = [f"{i + 1:06d}.jpg" for i in range(N)]
    for i, name in enumerate(names):
        picture(i).save(root / IMAGES / name, quality=95)
    rows = [f"{name} {' '.join(row)}" for name, row in zip(names, values, strict=True)]
    (root / ATTRIBUTES).write_text("\n".join([str(N), " ".join(COLUMNS) + " ", *rows]) + "\n")
    (root / PARTITION).write_text("".join(f"{name} {i % 3}\n" for i, name in enumerate(names)))
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "faces"))


def test_index_says_what_a_slow_reader_says(root: Path) -> None:
    source = CelebA(root)
    assert isinstance(source, Source)
    index = source.index()
    assert index.names.tolist() == sorted(os.listdir(root / IMAGES))
    assert list(index.attributes) == COLUMNS
    for row, line in enumerate(lines(root / ATTRIBUTES)[2:]):
        name, *values = line.split()
        assert index.names[row] == name
        assert [index.attributes[c].codes[row] for c in COLUMNS] == [int(v == "1") for v in values]
        status = (root / IMAGES / name).stat()
        assert index.stamps is not None
        assert (index.sizes[row], index.stamps[row]) == (status.st_size, status.st_mtime_ns)
    assert index.attributes["Young"].classes == ("not Young", "Young")
    assert index.parts is not None
    assert [PARTS[p] for p in index.parts[:3]] == ["sharer", "auxiliary", "test"]


@pytest.mark.parametrize("block", [1, 40, 1 << 19])
def test_parsing_does_not_depend_on_blocks_or_white_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(celeba, "_PARSED_BYTES", block)
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, (57, 11))
    gaps = [" ", "  ", "\t", " \t "]
    text = f"57\r\n{' '.join(f'A{i}' for i in range(11))}\r\n"
    for row, values in enumerate(truth):
        text += (
            f"é{row}.jpg"
            + "".join(gaps[rng.integers(4)] + ("1" if v else "-1") for v in values)
            + " \r\n"
        )
    path = tmp_path / ATTRIBUTES
    path.write_bytes((text + "\n\n").encode())
    names, attributes = read_attributes(path)
    assert names == [f"é{row}.jpg" for row in range(57)]
    assert np.array_equal(np.stack([a.codes for a in attributes.values()], 1), truth)
    path.write_bytes(text.replace("é41.jpg", "é41.jpg 1").encode())
    with pytest.raises(UserError, match=r"line 44: 13 fields instead of a file name and 11 values"):
        read_attributes(path)


def test_partition_is_matched_by_name(root: Path) -> None:
    expected = CelebA(root).index().parts
    content = lines(root / PARTITION)
    (root / PARTITION).write_text("\n".join(reversed(content)) + "\n")
    assert np.array_equal(CelebA(root).index().parts, expected)


def test_chosen_attributes_only_in_the_chosen_order(root: Path) -> None:
    index = CelebA(root, attributes=["Young", "Male"]).index()
    assert list(index.attributes) == ["Young", "Male"]
    assert np.array_equal(
        index.attributes["Male"].codes, CelebA(root).index().attributes["Male"].codes
    )


def test_a_copied_folder_is_the_same_source_and_a_changed_attribute_is_not(root: Path) -> None:
    before = CelebA(root).index().sha256()
    for file in (root / IMAGES).iterdir():
        os.utime(file, (1, 1))
    assert CelebA(root).index().sha256() == before
    text = (root / ATTRIBUTES).read_text()
    (root / ATTRIBUTES).write_text(text.replace(".jpg -1", ".jpg  1", 1))
    assert CelebA(root).index().sha256() != before


def test_without_resizing_the_centre_comes_out_as_it_is(root: Path) -> None:
    decoded = CelebA(root, image_size=178).read(np.array([4, 2]))
    for row, name in zip(decoded, ["000005.jpg", "000003.jpg"], strict=True):
        whole = np.asarray(Image.open(root / IMAGES / name))
        assert np.array_equal(row, whole[20:198])
    assert np.array_equal(CelebA(root, image_size=178, crop=None).read(np.array([4, 2])), decoded)
    assert np.array_equal(
        CelebA(root, image_size=100, crop=100).read(np.array([4]))[0], decoded[0, 39:139, 39:139]
    )


def test_a_chessboard_becomes_grey(tmp_path: Path) -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    small = read_images([str(tmp_path / "board.png")], np.array([0]), Framing(16))
    assert np.abs(small.astype(int) - 128).max() <= 6


def test_rows_do_not_depend_on_what_is_read_with_them(root: Path) -> None:
    source = CelebA(root, image_size=24)
    everything = source.read(np.arange(N))
    assert everything.shape == (N, 24, 24, 3)
    assert everything.dtype == np.uint8
    order = np.random.default_rng(0).permutation(N)
    assert np.array_equal(source.read(order), everything[order])
    out = np.empty((2, 24, 24, 3), np.uint8)
    assert source.read(np.array([7, 0]), out) is out
    assert np.array_equal(out, everything[[7, 0]])
    assert source.read(np.arange(0)).shape == (0, 24, 24, 3)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("L", ".jpg"),
        ("CMYK", ".jpg"),
        ("RGBA", ".png"),
        ("LA", ".png"),
        ("P", ".png"),
        ("1", ".png"),
    ],
)
def test_other_modes_become_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    original = picture(3).convert(mode)
    original.save(path, **({"transparency": b"\0\x80\xff"} if mode == "P" else {}))
    decoded = read_images([str(path)], np.array([0]), Framing(178))[0].astype(int)
    expected = np.asarray(original.convert("RGB")).astype(int)[20:198]
    assert decoded.shape == (178, 178, 3)
    assert np.abs(decoded - expected).mean() < 4


@pytest.mark.parametrize("size", [0, -3, 1025])
def test_senseless_sizes(root: Path, size: int) -> None:
    with pytest.raises(UserError, match=f"image_size {size} makes no sense: choose 1 to 1024"):
        CelebA(root, image_size=size)


def test_senseless_crop_and_shares(root: Path) -> None:
    with pytest.raises(UserError, match="crop 0 makes no sense"):
        CelebA(root, crop=0)
    with pytest.raises(UserError, match="sum to 1"):
        CelebA(root, shares=(0.5, 0.5, 0.5))


def test_missing_folder_and_other_layout(root: Path) -> None:
    with pytest.raises(
        UserError, match="no folder .*nowhere: CelebA is never downloaded .*by hand"
    ):
        CelebA(root / "nowhere").index()
    (root / PARTITION).unlink()
    shutil.rmtree(root / IMAGES)
    with pytest.raises(UserError, match=f"it has no {IMAGES}/, {PARTITION}: "):
        CelebA(root).index()


MISTAKES = [
    (ATTRIBUTES, 1, "10", "says 10 records but holds 9"),
    (ATTRIBUTES, 1, "many", "line 1: 'many' is not the number of records"),
    (ATTRIBUTES, 1, "0", "line 1: '0' is not the number of records"),
    (ATTRIBUTES, 2, "", "line 2: no attribute is named"),
    (ATTRIBUTES, 2, "Male Young Male", "2 entries for attribute 'Male'"),
    (ATTRIBUTES, 5, "000003.jpg  1", "line 5: 2 fields instead of a file name and 3 values"),
    (ATTRIBUTES, 5, "", "line 5: 0 fields"),
    (ATTRIBUTES, 5, "000003.jpg  1 1 0", "line 5: value '0' is not one of -1, 1"),
    (ATTRIBUTES, 5, "000003.jpg  1 11 1", "line 5: value '11'"),
    (ATTRIBUTES, 5, "000003.jpg  1 -11 1", "line 5: value '-11'"),
    (ATTRIBUTES, 5, "000003.jpg  1 -1 +1", r"line 5: value '\+1'"),
    (ATTRIBUTES, 5, "000003.jpg  1 -1 -", "line 5: value '-'"),
    (ATTRIBUTES, 5, "000002.jpg  1 1 1", "2 entries for record '000002.jpg'"),
    (ATTRIBUTES, 5, None, "says 9 records but holds 8"),
    (PARTITION, 4, None, r"no line for 000004.jpg \(1 missing in all\)"),
    (PARTITION, 4, "000004.jpg 3", "line 4: value '3' is not one of 0, 1, 2"),
    (PARTITION, 4, "000004.jpg", "line 4: 1 fields instead of a file name and 1 value;"),
    (PARTITION, 4, "000003.jpg 0", "2 entries for record '000003.jpg'"),
    (PARTITION, 4, "000004.jpg 0\n999.jpg 1", "line 5: 999.jpg is not in list_attr_celeba.txt"),
    (PARTITION, 4, "other.jpg 0", r"no line for 000004.jpg"),
]


@pytest.mark.parametrize(("file", "line", "text", "message"), MISTAKES)
def test_malformed_files(root: Path, file: str, line: int, text: str | None, message: str) -> None:
    edit(root / file, line, text)
    with pytest.raises(UserError, match=message) as caught:
        CelebA(root).index()
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_partition_and_unknown_attribute(root: Path) -> None:
    with pytest.raises(
        UserError, match="unknown attribute 'Smile': choose one of Male, Smiling, Young"
    ):
        CelebA(root, attributes=["Smile"]).index()
    (root / PARTITION).write_bytes(b"")
    with pytest.raises(UserError, match="line 1: 0 fields"):
        read_partition(root / PARTITION, ["a"])


def test_listed_but_missing(root: Path) -> None:
    (root / IMAGES / "000002.jpg").unlink()
    (root / IMAGES / "000007.jpg").unlink()
    (root / IMAGES / "000007.jpg").mkdir()
    (root / IMAGES / "000008.jpg").unlink()
    (root / IMAGES / "000008.jpg").symlink_to("nowhere")
    with pytest.raises(
        UserError, match=r"000002.jpg is listed in list_attr_celeba.txt but missing \(and 2 more\)"
    ):
        CelebA(root).index()
    source = CelebA(root, on_bad_image="skip")
    assert len(source.index()) == N
    with pytest.raises(BadRecord, match="000002.jpg: it is missing") as caught:
        source.read(np.array([3, 1, 6]))
    assert caught.value.position == 1


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


BROKEN = [
    (truncate, "image file is truncated"),
    (lambda path: path.write_bytes(b""), "it is no JPEG, PNG, WEBP, TIFF, GIF or BMP file"),
    (
        lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "it is no JPEG, PNG, WEBP, TIFF, GIF or BMP file",
    ),
    (
        lambda path: picture(0, 178, 177).save(path),
        "its 178x177 pixels are smaller than the crop of 178",
    ),
]


@pytest.mark.parametrize(("break_it", "reason"), BROKEN)
def test_undecodable_images_are_named(root: Path, break_it, reason: str) -> None:  # type: ignore[no-untyped-def]
    break_it(root / IMAGES / "000004.jpg")
    truncate(root / IMAGES / "000009.jpg")
    with pytest.raises(BadRecord, match=f"000004.jpg: .*{reason}.*on_bad_image: skip") as caught:
        CelebA(root).read(np.arange(N))
    assert caught.value.position == 3
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("limit", [178 * 218 - 1, 1000])
def test_decompression_bombs(root: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(
        BadRecord, match="000001.jpg: .*exceeds limit|000001.jpg: 178x218 pixels are more than"
    ):
        CelebA(root).read(np.arange(3))


@pytest.mark.filterwarnings("default")
def test_a_bomb_that_pillow_only_warns_of(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 178 * 218 - 1)
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(BadRecord, match="178x218 pixels are more than"),
    ):
        CelebA(root).read(np.arange(1))


def test_a_failing_disk_is_no_bad_image(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str, framing: Framing, data: bytes | None) -> np.ndarray:
        raise OSError(errno.EIO, "Input/output error", path)

    monkeypatch.setattr(images, "decode", fail)
    with pytest.raises(UserError, match="cannot read .*000001.jpg: Input/output error") as caught:
        CelebA(root, on_bad_image="skip").read(np.arange(2))
    assert not isinstance(caught.value, BadRecord)


@pytest.mark.data
def test_real_faces(data_root: Path) -> None:
    source = CelebA(data_root / "faces", image_size=32, crop=160)
    index = source.index()
    table = [line.split() for line in lines(data_root / "faces" / ATTRIBUTES)]
    assert len(index) == int(table[0][0])
    for column, name in enumerate(table[1]):
        assert index.attributes[name].codes.sum() == sum(
            row[column + 1] == "1" for row in table[2:]
        )
    assert index.parts is not None
    assert np.bincount(index.parts).sum() == len(index)
    chosen = np.random.default_rng(0).choice(len(index), 20, replace=False)
    for position, decoded in zip(chosen, source.read(chosen), strict=True):
        with Image.open(data_root / "faces" / IMAGES / index.names[position]) as image:
            square = np.asarray(image.convert("RGB"))[29:189, 9:169]
        means = square.reshape(32, 5, 32, 5, 3).mean((1, 3))
        # bicubic is a little sharper than a mean over 5 x 5 pixels
        assert np.abs(decoded - means).mean() < 5
