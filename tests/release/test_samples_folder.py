"""Samples folders: what is written is what is read; anybody's folder is read within bounds or refused."""

import io
import json
import tracemalloc
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffshare.errors import UserError
from diffshare.release.grid import image_grid
from diffshare.release.npz import read_npz
from diffshare.release.samples import contact_sheet, read_samples, refuse_alike, write_samples

X = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
Y = np.array([0, 1, 0, 1, -1])


def save(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "samples.npz", **arrays)
    return folder


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("weight", [None, np.array([0, 1, 2, 0.5, 1], np.float32)])
def test_what_is_written_is_what_is_read(
    tmp_path: Path, channels: int, weight: np.ndarray | None
) -> None:
    info = {"labels": "balanced", "seed": 3, "model": {"name": "m", "sha256": "0"}, "seconds": 0.5}
    write_samples(tmp_path / "s", X[..., :channels], Y, info, weight=weight)
    samples = read_samples(tmp_path / "s")
    assert np.array_equal(samples.x, X[..., :channels])
    assert np.array_equal(samples.y, Y)
    assert (samples.weight is None) if weight is None else np.array_equal(samples.weight, weight)
    assert samples.info == info | {"count": 5}
    assert {file.name for file in (tmp_path / "s").iterdir()} == {
        "samples.npz",
        "samples.json",
        "grid.png",
    }
    with Image.open(tmp_path / "s" / "grid.png") as sheet:
        assert sheet.mode == ("L" if channels == 1 else "RGB")


def test_other_tools_read_and_write_the_same(tmp_path: Path) -> None:
    write_samples(tmp_path / "s", X, Y, {})
    with np.load(tmp_path / "s" / "samples.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["x"], X)
    np.savez_compressed(tmp_path / "samples.npz", x=X, y=Y)
    samples = read_samples(tmp_path)
    assert np.array_equal(samples.x, X)
    assert samples.info == {}


def test_nothing_is_left_or_replaced_unasked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="y must be 5 numbers"):
        write_samples(tmp_path / "s", X, Y[:4], {})
    assert not (tmp_path / "s").exists()
    write_samples(tmp_path / "s", X, Y, {})
    with pytest.raises(UserError, match="already holds something"):
        write_samples(tmp_path / "s", X, Y, {})
    write_samples(tmp_path / "s", X[:2], Y[:2], {}, overwrite=True)
    assert len(read_samples(tmp_path / "s").x) == 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "lacks y"),
        ({"y": Y}, "lacks x"),
        ({"x": X.astype(float), "y": Y}, r"x\.npy must be uint8, not 'float64'"),
        ({"x": X, "y": Y.astype(">i8")}, r"y\.npy must be int64, not '>i8'"),
        ({"x": X, "y": Y.astype(np.int32)}, r"y\.npy must be int64"),
        ({"x": X, "y": np.array([None] * 5)}, r"y\.npy must be int64, not 'object'; objects are refused"),
        ({"x": np.asfortranarray(X), "y": Y}, "Fortran order: save numpy.ascontiguousarray"),
        ({"x": X[0], "y": Y}, "x must be N x H x W x C"),
        ({"x": X[:0], "y": Y[:0]}, "x must be N x H x W x C"),
        ({"x": X[..., :2], "y": Y}, "x must be N x H x W x C"),
        ({"x": np.zeros((1, 4097, 1, 1), np.uint8), "y": Y[:1]}, "x must be N x H x W x C"),
        ({"x": X, "y": Y[:4]}, "y must be 5 numbers"),
        ({"x": X, "y": Y[:, None]}, "y must be 5 numbers"),
        ({"x": X, "y": Y - 1}, "y must be 5 numbers, one an image, each -1 or more"),
        ({"x": X, "y": Y, "weight": np.full(5, np.nan, np.float32)}, "weight must be 5 finite numbers"),
        ({"x": X, "y": Y, "weight": np.full(5, -1, np.float32)}, "weight must be 5 finite numbers"),
        ({"x": X, "y": Y, "weight": np.ones(4, np.float32)}, "weight must be 5 finite numbers"),
        ({"x": X, "y": Y, "z": Y}, "holds 'z.npy': expected x, y, weight"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_samples_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_samples(save(tmp_path, **arrays))


def test_a_missing_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such samples: .* is not a folder"):
        read_samples(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"is no samples folder: it has no samples\.npz"):
        read_samples(tmp_path)
    (tmp_path / "samples.npz").write_bytes(b"not a zip")
    with pytest.raises(UserError, match="is no NPZ file that can be read"):
        read_samples(tmp_path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    save(tmp_path, x=X, y=Y)
    (tmp_path / "s" / "samples.npz").symlink_to(tmp_path / "samples.npz")
    with pytest.raises(UserError, match="is a link: copy the file"):
        read_samples(tmp_path / "s")


@pytest.mark.parametrize(
    "text",
    ["[]", '{"seed": NaN}', '{"labels": "\\u001b[2J"}', '{"\\u0007": 1}', "{", '{"a": 1e999}'],
)
def test_information_that_may_not_be_shown_is_refused(tmp_path: Path, text: str) -> None:
    save(tmp_path, x=X, y=Y)
    (tmp_path / "samples.json").write_text(text)
    with pytest.raises(UserError, match=r"samples\.json") as caught:
        read_samples(tmp_path)
    assert str(caught.value).isprintable()


def write_entries(
    file: Path, entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file


def npy(shape: str, body: bytes = b"", kind: str = "|u1") -> bytes:
    header = (
        f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117)
        + b"\n"
    )
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (npy("(10**12,)"), "cannot be read|no NPZ file"),
        (npy("(1000000000000, 1, 1, 1)"), "says the shape .* which is not what it holds"),
        (npy("(-2, -3)", bytes(6)), "says the shape"),
        (npy("(7,)", bytes(6)), "says the shape"),
        (npy("(5,)", bytes(6)), "says the shape"),
        (npy("()", b"", "|O"), "objects are refused"),
        (npy("(1,)", b"", "<U1000000000"), "no NPZ file that can be read"),
        (npy("(6,)", bytes(6)).replace(b"\x01\x00", b"\x02\x00", 1), "no plain numpy array"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "no plain numpy array"),
        (b"\x93NUMPY\x01\x00\x00\x04" + b"(" * 1024, "no NPZ file that can be read"),
        (b"\x80\x04N.", "no plain numpy array"),
        (b"", "no plain numpy array"),
    ],
)  # fmt: skip
def test_headers_are_believed_only_where_they_agree_with_the_entry(
    tmp_path: Path, entry: bytes, message: str
) -> None:
    file = write_entries(tmp_path / "a.npz", [("x.npy", entry)])
    with pytest.raises(UserError, match=message):
        read_npz(file, {"x": "uint8"})


def test_a_bomb_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    body = bytes(80 << 20)
    file = write_entries(tmp_path / "a.npz", [("x.npy", npy(f"({len(body)},)", body))])
    assert file.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(UserError, match="would unpack to 83886208 bytes, more than the 67108864"):
        read_npz(file, {"x": "uint8"})
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_the_bound_of_memory_holds_for_what_is_loaded(tmp_path: Path) -> None:
    body = bytes(40 << 20)
    file = write_entries(tmp_path / "a.npz", [("x.npy", npy(f"({len(body)},)", body))])
    tracemalloc.start()
    assert len(read_npz(file, {"x": "uint8"})["x"]) == len(body)
    assert tracemalloc.get_traced_memory()[1] < len(body) + (4 << 20)
    tracemalloc.stop()
    with pytest.raises(UserError, match="more than the 1048576"):
        read_npz(file, {"x": "uint8"}, max_bytes=1 << 20)


def test_a_size_that_lies_is_refused(tmp_path: Path) -> None:
    """The directory says less than the entry unpacks to: what is read stops at what was said."""
    file = write_entries(tmp_path / "a.npz", [("x.npy", npy("(1000000,)", bytes(10**6)))])
    raw = bytearray(file.read_bytes())
    at = raw.rfind(b"PK\x01\x02") + 24
    raw[at : at + 4] = (1128).to_bytes(4, "little")
    file.write_bytes(raw)
    with pytest.raises(UserError, match="Bad CRC-32"):
        read_npz(file, {"x": "uint8"})


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_odd_compression_is_refused(tmp_path: Path, compression: int) -> None:
    file = write_entries(tmp_path / "a.npz", [("x.npy", npy("(6,)", bytes(6)))], compression)
    with pytest.raises(UserError, match="compressed in an odd way"):
        read_npz(file, {"x": "uint8"})


def test_a_name_twice_and_many_names_are_refused(tmp_path: Path) -> None:
    entry = ("x.npy", npy("(6,)", bytes(6)))
    with pytest.warns(UserWarning, match="Duplicate name"):
        file = write_entries(tmp_path / "a.npz", [entry, entry])
    with pytest.raises(UserError, match="each at most once"):
        read_npz(file, {"x": "uint8"})
    file = write_entries(tmp_path / "b.npz", [(f"{i}.npy", b"") for i in range(10_000)])
    with pytest.raises(UserError, match="no NPZ file that can be read"):
        read_npz(file, {"x": "uint8"})


def test_a_pickle_in_an_array_is_not_loaded(tmp_path: Path, hostile: ModuleType) -> None:
    body = hostile.pickle_bytes(tmp_path / "marker")
    write_entries(
        tmp_path / "samples.npz",
        [("x.npy", npy("(1,)", body, "|O")), ("y.npy", npy("(1,)", bytes(8), "<i8"))],
    )
    with pytest.raises(UserError, match="objects are refused"):
        read_samples(tmp_path)
    assert not (tmp_path / "marker").exists()


# --- the grid -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "factor"), [(8, 8), (32, 2), (48, 2), (64, 1), (128, 1)])
def test_each_image_stands_enlarged_in_its_place(size: int, factor: int) -> None:
    x = np.random.default_rng(1).integers(0, 256, (5, size, size, 3), dtype=np.uint8)
    sheet = image_grid(x, 3)
    step = size * factor + 2
    assert sheet.shape == (2 * step + 2, 3 * step + 2, 3)
    for i in range(5):
        top, left = 2 + i // 3 * step, 2 + i % 3 * step
        tile = sheet[top : top + step - 2, left : left + step - 2]
        assert np.array_equal(tile[::factor, ::factor], x[i])
        assert np.array_equal(tile[factor - 1 :: factor, factor - 1 :: factor], x[i])
    assert (sheet[:2] == 128).all()
    assert (sheet[-step:, -step:] == 128).all()  # the place of a sixth image


def test_a_grid_of_something_else_is_refused() -> None:
    for bad in (X.astype(float), X[0], X[:0], X[..., :2]):
        with pytest.raises(ValueError, match="images must be uint8"):
            image_grid(bad, 2)


def test_classes_stand_in_rows_of_their_own() -> None:
    y = np.arange(90) % 3
    x = np.repeat((y * 50).astype(np.uint8), 64 * 64).reshape(90, 64, 64, 1)
    sheet = contact_sheet(x, y, 8)
    firsts = sheet[2 + 32 :: 66, 2 + 32, 0]
    assert firsts.tolist() == [0, 0, 50, 50, 100, 100]
    assert contact_sheet(x[:2], y[:2], 8).shape == (2 * 66 + 2, 8 * 66 + 2, 1)


def test_a_sheet_holds_at_most_64_images() -> None:
    x = np.zeros((200, 64, 64, 1), np.uint8)
    assert contact_sheet(x, np.full(200, -1), 8).shape[0] == 8 * 66 + 2
    assert contact_sheet(x, np.arange(200), 8).shape[0] == 8 * 66 + 2


def test_samples_json_is_plain(tmp_path: Path) -> None:
    write_samples(tmp_path / "s", X, Y, {"count": 5, "guidance": 1.0})
    assert json.loads((tmp_path / "s" / "samples.json").read_text()) == {
        "count": 5,
        "guidance": 1.0,
    }
    assert io.BytesIO((tmp_path / "s" / "grid.png").read_bytes()).read(4) == b"\x89PNG"


def test_one_sample_many_times_over_is_refused() -> None:
    """No classifier reads anything off it. A few rows may be alike by chance, two images are not."""
    image, rows = (
        np.full((5, 4, 4, 3), 7, np.uint8),
        np.tile(np.array([1.5, np.nan], np.float32), (12, 1)),
    )
    with pytest.raises(
        UserError, match="the samples of class 'a' are 5 times the same: the model is broken"
    ):
        refuse_alike(image, "the samples of class 'a'")
    with pytest.raises(UserError, match="the samples are 12 times the same"):
        refuse_alike(rows, "the samples")
    refuse_alike(image[:1], "one")
    refuse_alike(rows[:9], "a few rows")
    for x in (image, rows):
        for place in (0, 2, len(x) - 1):
            other = x.copy()
            other[place] = 9
            refuse_alike(other, "all but one")
