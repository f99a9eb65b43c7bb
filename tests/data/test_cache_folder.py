"""The folder of caches: another user's things in it are refused, what is old goes first, what is foreign stays."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cache import Fake

from diffshare.commands.cache import parse_size, size_text
from diffshare.data import cachefolder
from diffshare.data.cache import open_records
from diffshare.data.cachefolder import entries, keep_within, limit_of, set_limit
from diffshare.errors import UserError
from diffshare.release.samples import write_samples


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three caches of 100, 50 and 20 records, the first opened longest ago."""
    for age, count in ((3, 100), (2, 50), (1, 20)):
        open_records(Fake(count), tmp_path / "cache")
        (folder,) = [one.folder for one in entries(tmp_path / "cache") if one.count == count]
        os.utime(folder / "cache.json", (1e9 - age, 1e9 - age))
    return tmp_path / "cache"


def key_of(root: Path, count: int) -> Path:
    (folder,) = [one.folder for one in entries(root) if one.count == count]
    return folder


def counts(root: Path) -> list[int | None]:
    return [one.count for one in entries(root)]


# --- whose it is -----------------------------------------------------------------------------------------------------


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a file or folder another user's."""

    def give(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, 12345, -1, follow_symlinks=False)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 12345)

    return give


@pytest.mark.parametrize("name", ["", "cache.json", "x.npy"])
def test_what_belongs_to_another_user_is_refused(root, theirs, name):
    folder = key_of(root, 20)
    theirs(folder / name)
    said = rf"{folder / name} in the cache belongs to another user \(uid \d+\): set DIFFSHARE_CACHE to a folder that is"
    with pytest.raises(UserError, match=said):
        open_records(Fake(20), root)


@pytest.mark.parametrize("name", ["", "cache.json", "x.npy"])
def test_a_link_is_refused_even_to_what_fits(root, tmp_path, name):
    path = key_of(root, 20) / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="in the cache is a link: set DIFFSHARE_CACHE"):
        open_records(Fake(20), root)
    assert path.is_symlink()


@pytest.mark.parametrize("kind", ["link", "theirs"])
def test_a_lock_that_is_not_ones_own_is_refused(root, tmp_path, theirs, kind):
    folder = key_of(root, 20)
    (folder / "x.npy").unlink()
    lock = folder.with_suffix(".lock")
    if kind == "link":
        (tmp_path / "mine").write_text("mine")
        lock.symlink_to(tmp_path / "mine")
    else:
        lock.touch()
        theirs(lock)
    with pytest.raises(UserError, match="in the cache (is a link|belongs to another user)"):
        open_records(Fake(20), root)
    assert kind == "theirs" or (tmp_path / "mine").read_text() == "mine"


def test_the_folder_of_the_cache_itself_may_be_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    again = Fake(20)
    open_records(again, tmp_path / "link")
    assert again.calls == []


def test_another_users_entries_are_neither_listed_nor_deleted(root, theirs, run_cli):
    if os.geteuid() != 0:
        pytest.skip("only root may give a folder away")
    folder = key_of(root, 20)
    theirs(folder)
    assert counts(root) == [100, 50]
    assert run_cli("cache", "clear", "--dir", root).code == 0
    assert (folder / "x.npy").is_file()


# --- what goes first -------------------------------------------------------------------------------------------------


def test_what_was_not_opened_for_longest_goes_first(root):
    assert counts(root) == [100, 50, 20]
    open_records(Fake(100), root)
    assert counts(root) == [50, 20, 100]
    total = sum(one.bytes for one in entries(root))
    set_limit(root, total - 1)
    assert [one.count for one in keep_within(root)] == [50]
    assert counts(root) == [20, 100]
    assert keep_within(root) == []


def test_a_new_cache_makes_room_for_itself_and_stays(root):
    set_limit(root, 1)
    x = open_records(Fake(10), root).x
    assert counts(root) == [10]
    assert np.array_equal(x, Fake(10).x)
    set_limit(root, None)
    assert limit_of(root) is None
    open_records(Fake(20), root)
    assert counts(root) == [10, 20]


def test_what_is_mapped_can_be_read_after_it_was_deleted(root):
    records = open_records(Fake(100), root)
    set_limit(root, 0)
    keep_within(root)
    assert counts(root) == []
    assert np.array_equal(records.x, Fake(100).x)


def test_what_is_being_built_is_not_deleted(root):
    code = """
import sys, time
from pathlib import Path
from diffshare.data.cachefolder import building
with building(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", code, str(key_of(root, 50))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "in\n"
        set_limit(root, 0)
        assert [one.count for one in keep_within(root)] == [100, 20]
        builder.kill()
    assert counts(root) == [50]


@pytest.mark.parametrize(
    "content", ["", "{}", '{"bytes": -1}', '{"bytes": "x"}', '{"bytes": true}', "[1]"]
)
def test_a_damaged_limit_is_none(root, content):
    (root / "limit.json").write_text(content)
    assert limit_of(root) is None
    assert keep_within(root) == []


# --- the verb --------------------------------------------------------------------------------------------------------


@pytest.fixture
def verb(run_cli: Any, root: Path) -> Callable[..., Any]:
    return lambda *arguments: run_cli("cache", *arguments, "--dir", root)


def test_the_list_shows_entries_and_their_sum(root, verb):
    write_samples(
        root / "samples" / ("a" * 32),
        Fake(20).x,
        np.zeros(20, np.int64),
        {"model": {"name": "faces"}},
    )
    shown = verb("list").out
    assert verb().out == shown
    for one in entries(root):
        assert one.folder.name[:12] in shown
        assert size_text(one.bytes) in shown
    assert shown.count("fake") == 3
    assert "faces" in shown
    assert (
        f"{root} (4 entries, {size_text(sum(one.bytes for one in entries(root)))}, no limit)"
        in shown
    )


def test_clear_deletes_what_the_cache_holds_and_nothing_else(root, verb):
    key = key_of(root, 50)
    (root / f".{'a' * 40}.x.part").mkdir()
    for name in (
        "thesis.tex",
        "b" * 40 + "/thesis.tex",
        "photos/1.jpg",
        f"{key.name}/notes.txt",
        "c" * 40 + "/x.npy",
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("mine")
    before = {path for path in root.rglob("*") if path.is_file() and path.read_bytes() == b"mine"}
    outcome = verb("clear")
    assert outcome.code == 0
    assert "deleted: 2 entries" in outcome.out
    assert {path for path in root.rglob("*") if path.is_file() and path.parent != key} >= before - {
        key / "notes.txt"
    }
    assert {path.name for path in key.iterdir()} == {"x.npy", "cache.json", "notes.txt"}
    assert not list(root.glob(".*"))


def test_clear_deletes_the_keys_that_are_named(root, verb):
    key = key_of(root, 50).name
    assert verb("clear", key[:8]).code == 0
    assert counts(root) == [100, 20]
    for wrong, said in (
        (key, "is no key"),
        ("0" * 40, "is no key"),
        ("", "is too short|names more"),
    ):
        outcome = verb("clear", wrong)
        assert outcome.code == 2
        assert any(part in outcome.err for part in said.split("|"))
    assert counts(root) == [100, 20]


def test_a_limit_holds_now_and_later(root, verb):
    sizes = [one.bytes for one in entries(root)]
    outcome = verb("limit", f"{sizes[1] + sizes[2]}")
    assert outcome.code == 0
    assert "deleted: 1 entries" in outcome.out
    assert counts(root) == [50, 20]
    open_records(Fake(30), root)
    assert counts(root) == [20, 30]
    assert "limit " in verb("list").out
    assert verb("limit", "none").code == 0
    assert limit_of(root) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["limit"], "cache limit takes one size"),
        (["limit", "1GB", "2GB"], "cache limit takes one size"),
        (["limit", "-1"], "size|--help"),
        (["limit", "much"], "'much' is no size: write 20GB for instance, or none"),
        (["limit", "1e999"], "is no size"),
        (["list", "x"], "cache list takes no 'x'"),
        (["burn"], "action"),
    ],
)
def test_what_makes_no_sense_is_one_line(root, verb, arguments, said):
    outcome = verb(*arguments)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert any(part in outcome.err for part in said.split("|")), outcome.err
    assert counts(root) == [100, 50, 20]


def test_no_cache_is_an_empty_one(run_cli, tmp_path):
    for arguments in ([], ["clear"], ["limit", "none"]):
        assert run_cli("cache", *arguments, "--dir", tmp_path / "none").code == 0
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").touch()
    assert "is not a folder" in run_cli("cache", "--dir", tmp_path / "file").err


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("3000", 3000),
        ("20GB", 20 * 10**9),
        ("1.5 GiB", 3 << 29),
        ("2k", 2000),
        ("1TB", 10**12),
    ],
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("size", [0, 999, 1000, 1_500_000, 10**12])
def test_sizes_are_written_as_they_are_read(size):
    assert parse_size(size_text(size).replace(" B", "")) == size


def test_the_environment_names_the_folder_with_the_user_s_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DIFFSHARE_CACHE", "~/cache")
    assert cachefolder.default_cache_dir() == tmp_path / "cache"
