import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from diffshare.data import idx
from diffshare.data.idx import IDX, Colouring, read_idx
from diffshare.data.source import Source
from diffshare.errors import UserError


def packed(array: np.ndarray) -> bytes:
    """The array as an IDX file of unsigned bytes."""
    return (
        struct.pack(f">{1 + array.ndim}I", 0x0800 | array.ndim, *array.shape)
        + array.astype(np.uint8).tobytes()
    )


def write(
    root: Path, images: np.ndarray, labels: np.ndarray, zipped: bool = False
) -> dict[str, str]:
    paths = {}
    for name, array in (("images", images), ("labels", labels)):
        path = root / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(packed(array)) if zipped else packed(array))
        paths[name] = str(path)
    return paths


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    rng = np.random.default_rng(0)
    return write(tmp_path, rng.integers(0, 256, (500, 6, 4)), rng.integers(0, 10, 500))


def pixels(files: dict[str, str]) -> np.ndarray:
    return read_idx(Path(files["images"]), 0x0803)


def labels(files: dict[str, str]) -> np.ndarray:
    return read_idx(Path(files["labels"]), 0x0801)


@given(
    images=hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))),
    zipped=st.booleans(),
)
def test_what_was_written_is_read_back(tmp_path_factory, images, zipped):
    marks = np.arange(len(images)) % 10
    source = IDX(**write(tmp_path_factory.mktemp("idx"), images, marks, zipped))
    index = source.index()
    assert index.names.tolist() == [f"images:{row}" for row in range(len(images))]
    assert index.sizes.tolist() == [images[0].size] * len(images)
    assert index.attribute("digit").codes.tolist() == marks.tolist()
    assert np.array_equal(source.read(np.arange(len(images))), images[..., None])


def test_it_is_a_source_of_any_positions(files):
    source = IDX(**files)
    assert isinstance(source, Source)
    out = np.empty((3, 6, 4, 1), np.uint8)
    assert source.read(np.array([499, 0, 499]), out) is out
    assert np.array_equal(out[..., 0], pixels(files)[[499, 0, 499]])


def test_larger_images_are_framed_in_black(files):
    rows = np.arange(500)
    framed = IDX(**files, image_size=10).read(rows)
    assert framed.shape == (500, 10, 10, 1)
    assert np.array_equal(framed[:, 2:8, 3:7, 0], pixels(files))
    assert framed.sum(dtype=int) == pixels(files).sum(dtype=int)


def test_smaller_images_are_shrunk_from_a_black_square(files):
    shrunk = IDX(**files, image_size=3).read(np.array([7]))
    square = np.pad(pixels(files)[7], ((0, 0), (1, 1)))
    assert np.array_equal(
        shrunk[0, ..., 0],
        np.asarray(Image.fromarray(square).resize((3, 3), Image.Resampling.BICUBIC)),
    )
    assert IDX(**files, image_size=3).read(np.array([], int)).shape == (0, 3, 3, 1)


def test_groups_are_binary_attributes(files):
    index = IDX(**files, groups={"below5": [0, 1, 2, 3, 4], "loop": ["0", "6", 8, 9]}).index()
    assert index.attribute("below5").classes == ("not below5", "below5")
    assert np.array_equal(index.attribute("below5").codes, labels(files) < 5)
    assert np.array_equal(
        index.attribute("loop").codes, [label in (0, 6, 8, 9) for label in labels(files)]
    )


def test_named_classes(files):
    names = ["shirt", "shoe", *"23456789"]
    index = IDX(**files, label="thing", classes=names, groups={"worn": ["shirt", "shoe"]}).index()
    assert index.attribute("thing").classes == tuple(names)
    assert np.array_equal(index.attribute("worn").codes, labels(files) < 2)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.3333, 1.0])
def test_colours_have_exact_counts_and_no_bearing_on_the_digit(files, share):
    codes = IDX(**files, coloured=Colouring(share)).index().attribute("Colour").codes
    assert codes.sum() == np.floor(share * 500 + 0.5)
    for digit in range(10):
        of_digit = codes[labels(files) == digit]
        assert abs(of_digit.sum() - share * len(of_digit)) <= 1


def test_colours_follow_a_group_with_exact_counts(files):
    source = IDX(
        **files, groups={"below5": [0, 1, 2, 3, 4]}, coloured=Colouring([0.25, 0.9], "below5")
    )
    index = source.index()
    codes, below = index.attribute("Colour").codes, index.attribute("below5").codes
    for code, share in enumerate((0.25, 0.9)):
        assert codes[below == code].sum() == np.floor(share * np.sum(below == code) + 0.5)
    by_digit = (
        IDX(**files, coloured=Colouring([0.0] * 9 + [1.0], "digit"))
        .index()
        .attribute("Colour")
        .codes
    )
    assert np.array_equal(by_digit, labels(files) == 9)


def test_colours_depend_on_the_seed_alone(files):
    first, again, other = (
        IDX(**files, coloured=Colouring(seed=seed)).index() for seed in (0, 0, 1)
    )
    assert np.array_equal(first.attribute("Colour").codes, again.attribute("Colour").codes)
    assert not np.array_equal(first.attribute("Colour").codes, other.attribute("Colour").codes)


def test_the_colour_is_the_channel_of_the_grey_values(files):
    source = IDX(**files, image_size=8, coloured=Colouring())
    grey, rows = (
        IDX(**files, image_size=8).read(np.arange(500))[..., 0],
        source.read(np.arange(500)),
    )
    codes = source.index().attribute("Colour").codes
    assert rows.shape == (500, 8, 8, 3)
    assert np.array_equal(rows[codes == 0, ..., 0], grey[codes == 0])
    assert np.array_equal(rows[codes == 1, ..., 1], grey[codes == 1])
    assert rows.sum(dtype=int) == grey.sum(dtype=int)


def test_what_read_depends_on_is_in_the_key(files):
    texts = [
        IDX(**files, **options).decoding()
        for options in ({}, {"image_size": 8}, {"coloured": Colouring()})
    ]
    assert len(set(texts)) == 3
    hashes = [IDX(**files, coloured=Colouring(seed=seed)).index().sha256() for seed in (0, 1)]
    assert hashes[0] != hashes[1]


IMAGES = packed(np.zeros((2, 3, 3)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"begins with the number 0, expected 2051 of IDX images"),
        (b"\0\0\x08", r"begins with the number"),
        (b"PK\x03\x04" + IMAGES[4:], r"begins with the number \d+, expected 2051"),
        (
            packed(np.zeros(5)),
            r"begins with the number 2049 \(that of labels\), expected 2051 of IDX images",
        ),
        (b"\0\0\x09\x03" + IMAGES[4:], r"begins with the number 2307, expected 2051"),
        (IMAGES[:10], r"ends within its header"),
        (IMAGES[:-1], r"declares 18 bytes of data but holds 17"),
        (IMAGES + b"\0", r"declares 18 bytes of data but holds more"),
        (packed(np.zeros((0, 3, 3))), r"holds no images"),
        (packed(np.zeros((2, 0, 3))), r"holds no images"),
        # without a time of day, of which the names of the tests would differ between processes
        (gzip.compress(IMAGES, mtime=0)[:-9], r"is a damaged gzip file"),
        (gzip.compress(IMAGES, mtime=0)[:10] + b"\xff" * 20, r"is a damaged gzip file"),
        (gzip.compress(IMAGES + b"\0", mtime=0), r"declares 18 bytes of data but holds more"),
        (gzip.compress(IMAGES[:-1], mtime=0), r"declares 18 bytes of data but holds 17"),
        (
            struct.pack(">4I", 0x0803, 2**32 - 1, 2**32 - 1, 2**32 - 1),
            r"declares \d+ bytes of data, more than it can",
        ),
        (
            gzip.compress(struct.pack(">4I", 0x0803, 60_000, 1000, 1000), mtime=0),
            r"declares 60000000000 bytes of data, more",
        ),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content, message):
    paths = write(tmp_path, np.zeros((2, 3, 3)), np.zeros(2))
    Path(paths["images"]).write_bytes(content)
    with pytest.raises(UserError, match=message):
        IDX(**paths).index()


def test_a_gzip_bomb_is_left_after_one_byte_too_many(tmp_path, monkeypatch):
    taken = []

    class Counted(gzip.GzipFile):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            taken.append(len(data))
            return data

    monkeypatch.setattr(idx.gzip, "GzipFile", Counted)
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(IMAGES + bytes(50_000_000)))
    with pytest.raises(UserError, match="holds more"):
        read_idx(path, 0x0803)
    assert taken == [16, 19]


@pytest.mark.parametrize(
    ("marks", "options", "message"),
    [
        ([0, 1, 2], {}, r"holds 3 labels for the 2 images"),
        ([], {}, r"holds 0 labels for the 2 images"),
        ([0, 10], {}, r"label 10 of record 1 is none of 0 to 9; name all labels in classes"),
        ([0, 2], {"classes": ["a", "b"]}, r"label 2 of record 1 is none of 0 to 1"),
        ([0, 1], {"groups": {"g": [10]}}, r"unknown class '10': choose one of '0', '1'"),
        ([0, 1], {"groups": {"g": ["ten"]}}, r"unknown class 'ten'"),
        ([0, 1], {"groups": {"g": [-1]}}, r"unknown class '-1'"),
        ([0, 1], {"groups": {"g": []}}, r"group 'g' must hold at least one and not all"),
        (
            [0, 1],
            {"groups": {"g": list(range(10))}},
            r"group 'g' must hold at least one and not all",
        ),
        ([0, 1], {"groups": {"digit": [1]}}, r"group 'digit' has the name of another attribute"),
        (
            [0, 1],
            {"groups": {"Colour": [1]}, "coloured": Colouring()},
            r"'Colour' is the name of the colour's",
        ),
        (
            [0, 1],
            {"coloured": Colouring(0.5, "below5")},
            r"unknown attribute 'below5': choose one of digit",
        ),
        (
            [0, 1],
            {"coloured": Colouring([0.5, 0.5])},
            r"green has 2 shares, expected 1, or name an attribute",
        ),
        (
            [0, 1],
            {"coloured": Colouring(0.5, "digit")},
            r"green has 1 shares, expected 10, one for each .* 'digit'",
        ),
        ([0, 1], {"coloured": Colouring(1.5)}, r"green 1.5 must lie between 0 and 1"),
        ([0, 1], {"coloured": Colouring(float("nan"))}, r"green nan must lie between 0 and 1"),
    ],
)
def test_labels_and_options_that_do_not_fit(tmp_path, marks, options, message):
    with pytest.raises(UserError, match=message):
        IDX(**write(tmp_path, np.zeros((2, 3, 3)), np.array(marks)), **options).index()


def test_mistakes_that_need_no_file(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*absent: No such file"):
        IDX(str(tmp_path / "absent"), str(tmp_path / "labels")).index()
    with pytest.raises(UserError, match="image_size 0 makes no sense"):
        IDX("images", "labels", image_size=0)
    with pytest.raises(UserError, match="classes names one label twice"):
        IDX("images", "labels", classes=["a", "a"])
    with pytest.raises(UserError, match="must be three numbers"):
        IDX("images", "labels", shares=(0.5, 0.5, 0.5))


@pytest.mark.data
def test_the_real_mnist(data_root):
    root = data_root / "mnist"
    source = IDX(
        str(root / "t10k-images-idx3-ubyte.gz"),
        str(root / "t10k-labels-idx1-ubyte.gz"),
        image_size=32,
    )
    codes = source.index().attribute("digit").codes
    assert np.bincount(codes).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    images = source.read(np.arange(10_000))
    assert images.shape == (10_000, 32, 32, 1)
    # a one is a thin stroke: the least ink of all digits
    assert np.argmin([images[codes == digit].mean() for digit in range(10)]) == 1
