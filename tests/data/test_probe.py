"""A source whose bytes changed while names, sizes and times stayed is another source for the cache."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffshare.data import probe
from diffshare.data.cache import open_records
from diffshare.data.celeba import CelebA
from diffshare.data.cifar10 import CIFAR10
from diffshare.data.idx import IDX
from diffshare.data.imagefolder import ImageFolder
from diffshare.data.probe import BLOCK, FILES, probe_array, probe_files
from diffshare.data.table import CSVTable


def bitmap(path: Path, value: int) -> None:
    Image.new("RGB", (178, 218), (value, 0, 0)).save(path, "PNG", compress_level=0)


def celeba(root: Path) -> tuple[Callable[[], Any], Path]:
    (root / "img_align_celeba").mkdir()
    names = [f"{i}.png" for i in range(4)]
    for number, name in enumerate(names):
        bitmap(root / "img_align_celeba" / name, number)
    (root / "list_attr_celeba.txt").write_text(
        "\n".join(["4", "A", *(f"{name} 1" for name in names)])
    )
    (root / "list_eval_partition.txt").write_text("\n".join(f"{name} 0" for name in names))
    return lambda: CelebA(root, image_size=8), root / "img_align_celeba" / "2.png"


def folder(root: Path) -> tuple[Callable[[], Any], Path]:
    for number in range(4):
        bitmap(root / f"{number}.png", number)
    (root / "metadata.csv").write_text(
        "file_name,a\n" + "".join(f"{i}.png,{i % 2}\n" for i in range(4))
    )
    return lambda: ImageFolder(str(root), image_size=8), root / "3.png"


def idx(root: Path) -> tuple[Callable[[], Any], Path]:
    images, labels = np.zeros((5, 4, 4), np.uint8), np.arange(5, dtype=np.uint8)
    head = [
        b"\0\0\x08\x03" + np.array(images.shape, ">i4").tobytes(),
        b"\0\0\x08\x01" + np.array([5], ">i4").tobytes(),
    ]
    for name, top, array in zip(("x", "y"), head, (images, labels), strict=True):
        (root / name).write_bytes(top + array.tobytes())
    return lambda: IDX(str(root / "x"), str(root / "y")), root / "x"


def cifar(root: Path) -> tuple[Callable[[], Any], Path]:
    for name in [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]:
        (root / name).write_bytes(bytes(3073 * 2))
    (root / "batches.meta.txt").write_text("\n".join("abcdefghij"))
    return lambda: CIFAR10(str(root)), root / "data_batch_3.bin"


def table(root: Path) -> tuple[Callable[[], Any], Path]:
    (root / "a.csv").write_text("x,y\n" + "".join(f"{i}.5,{'ab'[i % 2]}\n" for i in range(10, 90)))
    return lambda: CSVTable(
        str(root / "a.csv"), {"x": "numeric", "y": "categorical"}
    ), root / "a.csv"


CHANGED = {
    idx: (b"\0" * 8, b"\xff" * 8),
    cifar: (b"\0" * 8, b"\0" * 7 + b"\xff"),
    table: (b"42.5", b"99.5"),
}


def change(make: Callable[..., Any], path: Path) -> None:
    """Other content of the same size, with the time that the file had."""
    status, content = path.stat(), path.read_bytes()
    if make in CHANGED:
        old, new = CHANGED[make]
        at = content.rindex(old)
        path.write_bytes(content[:at] + new + content[at + len(old) :])
    else:
        bitmap(path, 240)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert path.stat().st_mtime_ns == status.st_mtime_ns


@pytest.mark.parametrize("make", [celeba, folder, *CHANGED])
def test_the_cache_follows_the_bytes(tmp_path, make):
    root, cache = tmp_path / "data", tmp_path / "cache"
    root.mkdir()
    source, path = make(root)
    before = np.array(open_records(source(), cache).x)
    open_records(source(), cache)
    assert len(list(cache.iterdir())) == 1
    change(make, path)
    after = open_records(source(), cache).x
    assert not np.array_equal(before, after)
    assert np.array_equal(after, source().read(np.arange(len(after))))
    assert len(list(cache.iterdir())) == 2


def spread(tmp_path: Path, count: int, size: int) -> list[Path]:
    paths = [tmp_path / f"{i:05d}" for i in range(count)]
    for path in paths:
        path.write_bytes(bytes(size))
    return paths


@pytest.mark.parametrize(("count", "size"), [(1, 1), (1, 100_000), (FILES, 1000)])
def test_each_byte_of_few_counts(tmp_path, count, size):
    paths = spread(tmp_path, count, size)
    whole = probe_files(paths)
    rng = np.random.default_rng(0)
    for at in {0, size - 1, *rng.integers(0, size, 5).tolist()}:
        path = paths[rng.integers(count)]
        path.write_bytes(bytes(at) + b"\1" + bytes(size - at - 1))
        assert probe_files(paths) != whole
        path.write_bytes(bytes(size))
    assert probe_files(paths) == whole


def test_of_much_the_ends_and_a_share_in_between_count(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "BYTES", 1 << 16)
    size = 1 << 20
    path = tmp_path / "large"
    array = np.zeros(size, np.uint8)
    with path.open("wb") as stream:
        stream.truncate(size)
    whole = probe_files([path])
    assert probe_array(array) == whole
    for at in (0, size - 1):
        with path.open("r+b") as stream:
            stream.seek(at)
            stream.write(b"\1")
        array[at] = 1
        assert probe_array(array) == probe_files([path]) != whole
        array[at] = 0
        with path.open("r+b") as stream:
            stream.seek(at)
            stream.write(b"\0")
    hit = [
        probe_array(np.where(np.arange(size) // BLOCK == block, 1, 0).astype(np.uint8)) != whole
        for block in range(40)
    ]
    assert 0 < sum(hit) < 40


def test_of_many_files_some_are_opened_and_a_missing_one_is_no_error(tmp_path, monkeypatch):
    paths = spread(tmp_path, 300, 10)
    paths[-1].unlink()
    opened = []
    real = probe.open_regular
    monkeypatch.setattr(
        probe, "open_regular", lambda path, *a, **b: (opened.append(path), real(path, *a, **b))[1]
    )
    probe_files(paths)
    assert len(opened) == FILES
    assert {paths[0], paths[-1]} <= set(opened)


@pytest.mark.parametrize(
    "array", [np.zeros(0), np.zeros((3, 0)), np.arange(6).reshape(2, 3).T, np.float32([np.nan, 1])]
)
def test_any_array_has_a_probe(array):
    assert probe_array(array) == probe_array(array.copy())
    assert probe_files([]) == probe_files([])
