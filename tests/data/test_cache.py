import errno
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from diffshare.data import cache
from diffshare.data.cache import default_cache_dir, open_records
from diffshare.data.source import Attribute, BadRecord, Index
from diffshare.errors import UserError


class Fake:
    """Records that are known in advance; ``calls`` holds the positions of each ``read``."""

    modality = "image"
    shares = (0.6, 0.2, 0.2)

    def __init__(
        self,
        n: int = 100,
        bad: tuple[int, ...] = (),
        on_bad_image: str = "error",
        table: bool = False,
    ) -> None:
        rng = np.random.default_rng(5)
        self.on_bad_image = on_bad_image
        self.x = (
            rng.normal(size=(n, 7)).astype(np.float32)
            if table
            else rng.integers(0, 256, (n, 4, 4, 3), np.uint8)
        )
        self.bad = set(bad)
        self.stamps = np.arange(n)
        self.order = np.arange(n)
        self.calls: list[np.ndarray] = []

    def index(self) -> Index:
        names = np.array([f"{i:04d}.jpg" for i in self.order])
        attribute = Attribute((self.order % 2).astype(np.int16), ("a", "b"))
        return Index(names, self.order + 1, {"A": attribute}, None, self.stamps[self.order])

    def decoding(self) -> str:
        return "fake"

    def read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        self.calls.append(positions)
        for position in positions.tolist():
            if position in self.bad:
                raise BadRecord(position, f"cannot decode {position:04d}.jpg: broken")
        return self.x[self.order[positions]]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_FIRST_CHUNK", 7)
    monkeypatch.setattr(cache, "_CHUNK_BYTES", 16 * 48)


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("n", [1, 7, 100])
def test_round_trip_and_a_second_opening_decodes_nothing(
    tmp_path: Path, table: bool, n: int
) -> None:
    source = Fake(n, table=table)
    records = open_records(source, tmp_path)
    assert np.array_equal(records.x, source.x)
    assert records.x.dtype == source.x.dtype
    assert records.index.names.tolist() == source.index().names.tolist()
    assert records.source_sha256 == source.index().sha256()
    assert records.skipped == ()
    again = Fake(n, table=table)
    assert np.array_equal(open_records(again, tmp_path).x, source.x)
    assert again.calls == []
    (key,) = entries(tmp_path)
    assert entries(tmp_path / key) == ["cache.json", "x.npy"]
    assert np.array_equal(np.load(tmp_path / key / "x.npy", allow_pickle=False), source.x)


def test_the_array_is_mapped_and_read_only(tmp_path: Path) -> None:
    x = open_records(Fake(), tmp_path).x
    assert isinstance(x, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        x[0] = 0


def test_chunks_are_bounded_and_cover_each_record_once(tmp_path: Path) -> None:
    source = Fake(100)
    open_records(source, tmp_path)
    assert max(map(len, source.calls)) == 16
    assert np.concatenate(source.calls).tolist() == list(range(100))


def test_another_order_stamp_or_decoding_is_another_cache(tmp_path: Path) -> None:
    first = Fake(20)
    first.stamps = np.zeros(20, int)
    open_records(first, tmp_path)
    turned = Fake(20)
    turned.order, turned.stamps = turned.order[::-1], first.stamps
    records = open_records(turned, tmp_path)
    assert records.source_sha256 == first.index().sha256()
    assert np.array_equal(records.x, first.x[::-1])
    touched = Fake(20)
    touched.stamps = touched.stamps + 1
    touched.x = touched.x + 1
    assert np.array_equal(open_records(touched, tmp_path).x, touched.x)
    other = Fake(20)
    other.decoding = lambda: "fake, larger"  # type: ignore[method-assign]
    open_records(other, tmp_path)
    assert other.calls
    assert len(entries(tmp_path)) == 4


BAD = [(0,), (99,), (6, 7, 8), tuple(range(0, 100, 3)), tuple(range(1, 100))]


@pytest.mark.parametrize("bad", BAD)
def test_bad_records_leave_array_and_index_alike(tmp_path: Path, bad: tuple[int, ...]) -> None:
    source = Fake(100, bad, "skip")
    good = np.setdiff1d(np.arange(100), bad)
    whole = source.index()
    for opened in (source, Fake(100, bad, "skip")):
        records = open_records(opened, tmp_path)
        assert np.array_equal(records.x, source.x[good])
        assert records.index.names.tolist() == whole.names[good].tolist()
        assert records.index.attributes["A"].codes.tolist() == (good % 2).tolist()
        assert records.skipped == tuple(whole.names[list(bad)])
        assert records.source_sha256 == whole.sha256()
    assert opened.calls == []
    assert sum(map(len, source.calls)) <= 2 * 100 + len(bad) * 16


def test_a_bad_record_stops_unless_it_is_to_be_skipped(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="0031.jpg: broken"):
        open_records(Fake(100, (31, 40)), tmp_path)
    assert entries(tmp_path) == []
    open_records(Fake(100, (31, 40), "skip"), tmp_path)
    with pytest.raises(
        BadRecord, match=r"0031.jpg \(2 of 100 records in all\): .*on_bad_image: skip"
    ) as caught:
        open_records(Fake(100, (31, 40)), tmp_path)
    assert caught.value.position == 31


def test_nothing_to_decode(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match="none of the source's 5 records .* the first: cannot decode 0000.jpg: broken",
    ):
        open_records(Fake(5, tuple(range(5)), "skip"), tmp_path)
    with pytest.raises(UserError, match="none of the source's 0 records"):
        open_records(Fake(0), tmp_path)
    assert entries(tmp_path) == []


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


def damages() -> list[tuple[str, bytes | None]]:
    """Contents that a damaged cache of ``Fake(20)`` may have; None removes the file."""
    whole = {"format": 1, "shape": [20, 4, 4, 3], "dtype": "uint8", "skipped": []}
    cards: list[object] = [[], 3, None, {}, whole | {"format": 2}, whole | {"key": "other"}]
    for change in (
        {"shape": []},
        {"shape": [19, 4, 4, 3]},
        {"shape": [20, 4, 4, -3]},
        {"shape": [20, 4, 4, "3"]},
        {"shape": 20},
        {"shape": [20, 10**30, 4, 3]},
        {"dtype": "object"},
        {"dtype": "float32"},
        {"skipped": ["0001.jpg"]},
        {"skipped": [["0001.jpg"], 3]},
        {"shape": [19, 4, 4, 3], "skipped": ["unknown"]},
    ):
        cards.append(whole | {"key": "KEY"} | change)
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload()], object), allow_pickle=True)
    arrays = [None, b"", b"\x93NUMPY", pickle.dumps(Payload()), buffer.getvalue()]
    return [("cache.json", json.dumps(card).encode()) for card in cards] + [
        ("cache.json", None),
        ("cache.json", b"{"),
        *(("x.npy", array) for array in arrays),
    ]


@pytest.mark.parametrize(("file", "content"), damages())
def test_a_damaged_cache_is_built_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    file: str,
    content: bytes | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Fake(20)
    open_records(source, tmp_path / "c")
    (key,) = entries(tmp_path / "c")
    path = tmp_path / "c" / key / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content.replace(b"KEY", key.encode()))
    assert np.array_equal(open_records(Fake(20), tmp_path / "c").x, source.x)
    assert "is damaged" in caplog.text
    assert entries(tmp_path / "c") == [key]
    assert not (tmp_path / "pwned").exists()
    again = Fake(20)
    open_records(again, tmp_path / "c")
    assert again.calls == []


def test_any_change_of_header_or_length_is_noticed(tmp_path: Path) -> None:
    source = Fake(20)
    path = Path(open_records(source, tmp_path).x.filename)  # type: ignore[attr-defined]
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.choice(128, 24, replace=False).tolist():
        path.write_bytes(
            whole[:position]
            + bytes([whole[position] ^ 1 << rng.integers(8)])
            + whole[position + 1 :]
        )
        assert np.array_equal(open_records(source, tmp_path).x, source.x)
    for content in (whole[:-1], whole + b"\0", whole[:200]):
        path.write_bytes(content)
        open_records(source, tmp_path)
        assert path.read_bytes() == whole


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BufferedWriter):
        def write(self, data: object) -> int:
            if self.tell() > 1000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        plain = Path.open
        patch.setattr(
            Path,
            "open",
            lambda path, mode="r": (
                Full(io.FileIO(path, "w")) if mode == "wb" else plain(path, mode)
            ),
        )
        with pytest.raises(
            UserError, match="cannot write the cache .*: No space left on device; free some space"
        ):
            open_records(Fake(), tmp_path)
    assert entries(tmp_path) == []
    assert np.array_equal(open_records(Fake(), tmp_path).x, Fake().x)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the cache .*set DIFFSHARE_CACHE"):
        open_records(Fake(), tmp_path / "file" / "below")


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        open_records(Fake(), tmp_path / "new")
    finally:
        os.umask(mask)
    (key,) = entries(tmp_path / "new")
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "new", tmp_path / "new" / key)]
    assert modes == [0o700, 0o700]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new" / key).iterdir()} == {0o600}


def test_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFSHARE_CACHE", str(tmp_path / "own"))
    assert default_cache_dir() == tmp_path / "own"
    monkeypatch.setenv("DIFFSHARE_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "diffshare"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "diffshare"


# Run as separate processes: the source notes each read in a file and takes its time.
BUILDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_cache import Fake, cache, open_records
cache._FIRST_CHUNK, cache._CHUNK_BYTES = 7, 16 * 48
log, folder, block_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

class Slow(Fake):
    def read(self, positions, out=None):
        with log.open("a") as stream:
            stream.write(f"{{positions[0]}}\\n")
        time.sleep(600 if positions[0] == block_at else 0.1)
        return super().read(positions)

print(int(open_records(Slow(), folder).x.sum()))
"""


def start(log: Path, folder: Path, block_at: int) -> subprocess.Popen[str]:
    code = BUILDER.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", code, str(log), str(folder), str(block_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_decode_once(tmp_path: Path) -> None:
    builders = [start(tmp_path / "log", tmp_path / "c", -1) for _ in range(2)]
    sums = [int(builder.communicate(timeout=120)[0]) for builder in builders]
    assert sums == [int(Fake().x.sum())] * 2
    assert (tmp_path / "log").read_text().split() == ["0", *map(str, range(7, 100, 16))]
    assert len(entries(tmp_path / "c")) == 1


def test_a_killed_builder_leaves_nothing_that_counts(tmp_path: Path) -> None:
    log, folder = tmp_path / "log", tmp_path / "c"
    with start(log, folder, 39) as builder:
        deadline = time.monotonic() + 120
        while not (log.exists() and "39" in log.read_text().split()):
            assert builder.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        builder.send_signal(signal.SIGKILL)
    (leftover,) = entries(folder)
    assert leftover.endswith(".part")
    assert {path.name.split(".")[-1] for path in folder.iterdir()} == {"part", "lock"}
    foreign = folder / ".other.part"  # of a builder of another cache, which may be alive
    foreign.mkdir()
    assert np.array_equal(open_records(Fake(), folder).x, Fake().x)
    assert entries(folder) == [".other.part", leftover[1:].split(".")[0]]
