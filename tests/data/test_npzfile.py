"""Arrays of images are understood where they can be meant in one way, and NPZ files are never unpickled."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffshare.data.imagearrays import as_images
from diffshare.data.images import resize
from diffshare.data.npzfile import NPZ
from diffshare.errors import UserError

GREY = np.random.default_rng(0).integers(0, 256, (5, 8, 9), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (5, 8, 9, 3), np.uint8)


def test_uint8_is_not_copied():
    assert as_images(COLOUR) is COLOUR


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("low", [0, -1])
def test_floats_come_back_as_the_bytes_they_were(low, dtype):
    unit = COLOUR / 255
    x = (unit if low == 0 else unit * 2 - 1).astype(dtype)
    difference = np.abs(as_images(x).astype(int) - COLOUR)
    assert difference.max() <= (1 if dtype == np.float16 else 0)


def test_layouts_and_types():
    first = np.moveaxis(COLOUR, 3, 1)
    np.testing.assert_array_equal(as_images(first), COLOUR)
    np.testing.assert_array_equal(as_images(GREY), GREY[..., None])
    np.testing.assert_array_equal(as_images(GREY[:, None]), GREY[..., None])
    np.testing.assert_array_equal(as_images(COLOUR.astype(np.int64)), COLOUR)
    np.testing.assert_array_equal(as_images(COLOUR.astype(np.float32)), COLOUR)
    np.testing.assert_array_equal(as_images(GREY > 99), (GREY > 99)[..., None] * np.uint8(255))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (GREY.astype(object), "is of type object: images are numbers"),
        (GREY.astype(str), "is of type <U3"),
        (GREY.astype(np.uint16) * 100, r"values from .* to 25500: whole numbers are 0 to 255"),
        (GREY // 128 + np.int32(0), "values from 0 to 1: whole numbers are 0 to 255"),
        (COLOUR / 255 * 1.5, r"floats are within \[0, 1\] or \[-1, 1\]"),
        (COLOUR - 128.0, "values from -128 to"),
        (np.where(COLOUR == 7, np.nan, 0.5), "no finite numbers"),
        (GREY[:, :, :3], "is it one image or many grey ones"),
        (COLOUR[..., [0, 1, 2, 0]], "images have 1 or 3 channels, which stand last"),
        (COLOUR[:, :3], "are the channels second or last"),
        (GREY[0], "images are N x height x width x channels"),
        (COLOUR[:0], "it holds no image"),
    ],
)
def test_what_could_be_meant_otherwise_is_refused_with_the_reason(x, message):
    with pytest.raises(UserError, match=message):
        as_images(x)


def test_resizing_keeps_what_is_flat_and_cuts_the_centre():
    x = np.zeros((2, 8, 12, 3), np.uint8)
    x[:, :, 2:10] = (10, 20, 30)
    small = resize(x, 3)
    assert small.shape == (2, 3, 3, 3)
    assert (small == np.array([10, 20, 30], np.uint8)).all()
    assert resize(x[..., :1], 4).shape == (2, 4, 4, 1)
    square = x[:, :, :8]
    assert resize(square, 8) is square


def save(path: Path, **arrays: Any) -> NPZ:
    np.savez(path, **arrays)
    return NPZ(str(path))


@pytest.mark.parametrize(
    "names", [("x", "y"), ("images", "labels"), ("samples", "label"), ("arr_0", "arr_1")]
)
def test_the_usual_names(tmp_path, names):
    source = save(tmp_path / "a.npz", **{names[0]: COLOUR, names[1]: np.array([3, 10, 3, 10, 3])})
    index = source.index()
    assert index.attribute("label").classes == ("3", "10")
    assert index.attribute("label").codes.tolist() == [0, 1, 0, 1, 0]
    np.testing.assert_array_equal(source.read(np.array([4, 0])), COLOUR[[4, 0]])


def test_images_alone_and_under_any_name(tmp_path):
    assert not save(tmp_path / "a.npz", faces=GREY).index().attributes
    source = save(tmp_path / "b.npz", faces=COLOUR, masks=GREY)
    with pytest.raises(
        UserError, match=r"several arrays of images, 'faces', 'masks' .*say which in images"
    ):
        source.index()
    chosen = NPZ(str(tmp_path / "b.npz"), images="masks", image_size=4)
    assert chosen.read(np.arange(5)).shape == (5, 4, 4, 1)


def test_labels_of_several_columns(tmp_path):
    y = np.array([[0, 1], [1, 1], [0, 0]])
    index = save(tmp_path / "chest.npz", train_images=GREY[:3], train_labels=y).index()
    assert {name: a.codes.tolist() for name, a in index.attributes.items()} == {
        "label0": [0, 1, 0],
        "label1": [1, 1, 0],
    }


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": COLOUR, "y": np.array([None] * 5)},
            r"y\.npy must be of numbers or texts.*unpickled",
        ),
        (
            {"x": COLOUR, "about": np.array({"a": 1}, object)},
            r"about\.npy must be .*objects are refused",
        ),
        ({"x": COLOUR, "y": np.arange(4)}, r"y has the shape \(4,\), x holds 5 images"),
        (
            {"y": np.arange(4)},
            r"no array of images \(it holds 'y'\): .* expected x, images, samples",
        ),
        (
            {"train_images": GREY, "val_images": GREY, "val_labels": np.arange(5)},
            "each part needs labels",
        ),
    ],
)
def test_mistakes(tmp_path, arrays, message):
    with pytest.raises(UserError, match=message):
        save(tmp_path / "a.npz", **arrays).index()


def test_mistakes_of_the_file(tmp_path):
    with pytest.raises(UserError, match="no file .*b.npz"):
        NPZ(str(tmp_path / "b.npz")).index()
    (tmp_path / "c.npz").write_bytes(b"PK no zip")
    with pytest.raises(UserError, match="is no NPZ file that can be read"):
        NPZ(str(tmp_path / "c.npz")).index()
    source = save(tmp_path / "d.npz", x=COLOUR, y=np.arange(5))
    source.classes = ["a", "b"]
    with pytest.raises(UserError, match="label '2' is none of 0 to 1; name all labels in classes"):
        source.index()


def test_the_index_reads_no_image(tmp_path):
    """Values that are no images are refused where they are read, not before."""
    source = save(tmp_path / "a.npz", x=COLOUR * 7.0, y=np.arange(5))
    assert len(source.index()) == 5
    with pytest.raises(UserError, match=r"x of .*a\.npz .* floats are within"):
        source.read(np.arange(5))
