from pathlib import Path

import numpy as np
import pytest

from diffshare.data.cache import open_records
from diffshare.data.cifar10 import CIFAR10
from diffshare.data.source import PARTS, Source
from diffshare.errors import UserError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FILES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
LENGTHS = [30, 20, 20, 20, 10, 15]


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A small binary set: its folder, its images N x 32 x 32 x 3 and its labels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (sum(LENGTHS), 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, sum(LENGTHS))
    start = 0
    for name, length in zip(FILES, LENGTHS, strict=True):
        # as the format says: one byte of label, then 1024 bytes of red, of green and of blue, row by row
        rows = range(start, start + length)
        records = [
            bytes([labels[row]]) + b"".join(images[row, :, :, c].tobytes() for c in range(3))
            for row in rows
        ]
        (tmp_path / name).write_bytes(b"".join(records))
        start += length
    (tmp_path / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return tmp_path, images, labels


def test_the_binary_version_is_read(made):
    root, images, labels = made
    source = CIFAR10(str(root))
    assert isinstance(source, Source)
    index = source.index()
    assert len(index) == sum(LENGTHS)
    assert index.names[[0, 30, 114]].tolist() == [
        "data_batch_1.bin:0",
        "data_batch_2.bin:0",
        "test_batch.bin:14",
    ]
    assert set(index.sizes.tolist()) == {3073}
    assert index.attribute("class").classes == tuple(NAMES)
    assert np.array_equal(index.attribute("class").codes, labels)
    assert np.array_equal(source.read(np.arange(len(index))), images)
    assert np.array_equal(open_records(source).x, images)


def test_positions_in_any_order_from_any_file(made):
    root, images, _ = made
    positions = np.random.default_rng(1).integers(0, len(images), 200)
    out = np.empty((200, 32, 32, 3), np.uint8)
    assert CIFAR10(str(root)).read(positions, out) is out
    assert np.array_equal(out, images[positions])
    assert CIFAR10(str(root)).read(positions[:0]).shape == (0, 32, 32, 3)


def test_the_test_batch_is_the_test_part_and_shares_split_the_rest(made):
    root, images, _ = made
    parts = CIFAR10(str(root)).index().parts
    assert np.array_equal(parts == PARTS.index("test"), np.arange(len(images)) >= 100)
    assert 25 < np.sum(parts == 0) < 75
    for shares, part in (((1, 0, 0), 0), ((0, 1, 0), 1)):
        assert (CIFAR10(str(root), shares=shares).index().parts[:100] == part).all()
    more = CIFAR10(str(root), shares=(0.8, 0.2, 0)).index().parts
    assert (more[parts == 0] == 0).all()  # a record stays the sharer's when the share grows
    with pytest.raises(
        UserError, match=r"test_batch\.bin is the test part, so the third share must be 0"
    ):
        CIFAR10(str(root), shares=(0.6, 0.2, 0.2))


def test_groups(made):
    root, _, labels = made
    index = CIFAR10(str(root), {"animal": ["bird", "cat", 4, 5, "frog", "horse"]}).index()
    assert np.array_equal(index.attribute("animal").codes, (labels >= 2) & (labels <= 7))
    with pytest.raises(UserError, match="unknown class 'cow': choose one of 'airplane'"):
        CIFAR10(str(root), {"animal": ["cow"]}).index()


@pytest.mark.parametrize("place", [".", "cifar-10-batches-py"])
def test_the_python_version_is_refused_unopened(tmp_path, place):
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "data_batch_1").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(
        UserError,
        match=r"pickles that can run code: get the binary version, cifar-10-binary\.tar\.gz",
    ):
        CIFAR10(str(tmp_path)).index()


@pytest.mark.parametrize("name", [*FILES, "batches.meta.txt"])
def test_each_file_is_needed(made, name):
    root, _, _ = made
    (root / name).unlink()
    with pytest.raises(UserError, match=f"has no {name}: get the binary version"):
        CIFAR10(str(root)).index()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_3.bin", b"", r"data_batch_3\.bin has 0 bytes"),
        ("data_batch_3.bin", bytes(3072), r"has 3072 bytes, which is no multiple of 3073"),
        (
            "test_batch.bin",
            bytes(3073) + b"\x0a" + bytes(3072),
            r"label 10 of record 1 is none of 0 to 9",
        ),
        ("batches.meta.txt", b"cat\ndog\n", r"names 2 classes, expected 10"),
        ("batches.meta.txt", b"cat\n" * 10, r"names 1 classes, expected 10"),
        ("batches.meta.txt", b"\xff\xfe", r"cannot read .*batches\.meta\.txt"),
    ],
)
def test_a_damaged_file_is_refused(made, name, content, message):
    root, _, _ = made
    (root / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        CIFAR10(str(root)).index()
