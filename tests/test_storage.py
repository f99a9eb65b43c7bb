"""What is written is whole or not there: after errors, after a kill, beside what was there before."""

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from diffshare.errors import UserError, one_of
from diffshare.storage import atomic_file, atomic_folder, check_apart, read_json, sha256_file, write_json


class Broken(Exception):
    pass


def killed(script: str, *arguments: Path) -> None:
    """Run a script that kills itself with SIGKILL."""
    code = "import os, pathlib, sys\nfrom diffshare.storage import *\n" + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr.decode()


def content(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): f.read_text() for f in sorted(folder.rglob("*")) if f.is_file()}


def write_and_fail(path: Path, error: type[BaseException]) -> None:
    path.write_text("half")
    raise error


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_there_when_the_block_ends_and_not_before(tmp_path):
    target = tmp_path / "new" / "folder" / "a.txt"
    with atomic_file(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert content(tmp_path) == {"new/folder/a.txt": "whole"}


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, "old"])
def test_an_error_leaves_what_was_there_before(tmp_path, error, before):
    target = tmp_path / "a.txt"
    if before:
        target.write_text(before)
    with pytest.raises(error), atomic_file(target) as temporary:
        write_and_fail(temporary, error)
    assert content(tmp_path) == ({"a.txt": before} if before else {})


@pytest.mark.parametrize("before", [None, "old"])
def test_a_kill_leaves_a_part_file_and_never_the_target(tmp_path, before):
    target = tmp_path / "a.txt"
    if before:
        target.write_text(before)
    killed(
        """
        with atomic_file(sys.argv[1]) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), 9)
        """,
        target,
    )
    found = content(tmp_path)
    assert found.pop("a.txt", None) == before
    (name,) = found
    assert name.startswith(".a.txt.")
    assert name.endswith(".part")


def test_a_file_has_the_rights_that_a_plain_open_would_give(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "a") as temporary:
            temporary.write_text("x")
        assert os.umask(0o027) == 0o027  # looking at the mask did not change it
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_place_that_cannot_be_written_is_refused_by_name(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (atomic_file, atomic_folder):
        target = tmp_path / "file" / "below"
        with pytest.raises(UserError, match=rf"cannot write {target}: .*; choose a place that is writable"):
            write(target).__enter__()
    assert content(tmp_path) == {"file": ""}


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not hold for root")
def test_a_folder_without_write_permission_is_refused(tmp_path):
    tmp_path.chmod(0o555)
    for write in (atomic_file, atomic_folder):
        with pytest.raises(UserError, match="Permission denied; choose a place that is writable"):
            write(tmp_path / "a").__enter__()
    tmp_path.chmod(0o755)


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with (
        pytest.raises(UserError, match=r"cannot write .*/a: it is a folder; choose another name"),
        atomic_file(tmp_path / "a") as temporary,
    ):
        temporary.write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


# --- folders ---------------------------------------------------------------------------------------------------------


def fill(folder: Path, text: str) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a").write_text(text)
    (folder / "b").write_text(text)


WHOLE = {"out/sub/a": "new", "out/b": "new"}


@pytest.mark.parametrize("before", ["nothing", "empty"])
def test_a_folder_is_there_when_the_block_ends_and_not_before(tmp_path, before):
    if before == "empty":
        (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as temporary:
        fill(temporary, "new")
        assert not list(tmp_path.glob("out/*"))
    assert content(tmp_path) == WHOLE
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_holds_something_is_replaced_only_when_asked(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("old")
    with pytest.raises(UserError, match=r"out already holds something: choose another folder or add --overwrite"):
        atomic_folder(tmp_path / "out").__enter__()
    assert content(tmp_path) == {"out/mine": "old"}
    with atomic_folder(tmp_path / "out", overwrite=True) as temporary:
        fill(temporary, "new")
        assert content(tmp_path / "out") == {"mine": "old"}
    assert content(tmp_path) == WHOLE
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_error_leaves_no_folder_and_the_old_one_whole(tmp_path, error, overwrite):
    if overwrite:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_text("old")
    with pytest.raises(error), atomic_folder(tmp_path / "out", overwrite=overwrite) as temporary:
        write_and_fail(temporary / "b", error)
    assert content(tmp_path) == ({"out/mine": "old"} if overwrite else {})
    assert [p.name for p in tmp_path.iterdir()] == (["out"] if overwrite else [])


def test_a_failed_exchange_puts_the_old_folder_back(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("old")
    rename = Path.rename

    def fail(self, target):
        if self.name.endswith(".part"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Input"), atomic_folder(tmp_path / "out", overwrite=True) as temporary:
        fill(temporary, "new")
    assert content(tmp_path) == {"out/mine": "old"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_kill_leaves_a_part_folder_and_never_the_target(tmp_path, overwrite):
    if overwrite:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_text("old")
    killed(
        """
        with atomic_folder(sys.argv[1], overwrite=True) as temporary:
            (temporary / "b").write_text("half")
            os.kill(os.getpid(), 9)
        """,
        tmp_path / "out",
    )
    found = content(tmp_path)
    assert found.pop("out/mine", None) == ("old" if overwrite else None)
    (name,) = found
    assert name.startswith(".out.")
    assert name.endswith(".part/b")


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("old")
    killed(
        """
        rename = pathlib.Path.rename
        def stop(self, target):
            rename(self, target)
            os.kill(os.getpid(), 9)
        pathlib.Path.rename = stop
        with atomic_folder(sys.argv[1], overwrite=True) as temporary:
            (temporary / "b").write_text("new")
        """,
        tmp_path / "out",
    )
    assert not (tmp_path / "out").exists()
    assert sorted(content(tmp_path).values()) == ["new", "old"]


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_what_is_no_folder_is_never_replaced(tmp_path, kind):
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        out.symlink_to(tmp_path / ("elsewhere" if kind == "link" else "nowhere"))
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"out is not a folder: choose another name"):
            atomic_folder(out, overwrite=overwrite).__enter__()
    assert out.is_symlink() or out.read_text() == "mine"


# --- JSON and hashes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", ["run/release", "run/release/s", "run", "."])
def test_no_folder_is_made_in_or_around_one_that_is_read(tmp_path, monkeypatch, made):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"the release"):
        check_apart(Path(made), tmp_path / "run" / "release")
    check_apart(Path("run/samples"), tmp_path / "run" / "release")


def test_json_comes_back_as_it_went(tmp_path):
    value = {"a": [1, 2.5, None, True], "b": {"ä": "text"}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_cannot_hold_leaves_the_file_as_it_was(tmp_path, value):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "a.json", {"x": value})
    assert read_json(tmp_path / "a.json") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "No such file"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'"' + b"x" * 100 + b'"', "larger than 64 bytes"),
    ],
)
def test_a_file_that_is_no_json_is_refused_by_name(tmp_path, data, message):
    if data is not None:
        (tmp_path / "a.json").write_bytes(data)
    limit = 64 if data and data.endswith(b'x"') else 1 << 20
    with pytest.raises(UserError, match=rf"{tmp_path}/a\.json.*{message}"):
        read_json(tmp_path / "a.json", limit=limit)


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_an_unknown_name_lists_what_is_known():
    assert str(one_of("attribute", "X", ["b", "a"])) == "unknown attribute 'X': choose one of a, b"
    assert str(one_of("x", "y", range(20))).endswith(" and 8 more")
