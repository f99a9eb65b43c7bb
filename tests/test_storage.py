"""What is written is whole or not there: after errors, after a kill, beside what was there before."""

import contextlib
import os
import re
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from diffshare.errors import UserError, one_of
from diffshare.layout import Layout
from diffshare.leftovers import restore, sweep
from diffshare.storage import (
    NoRoom,
    atomic_file,
    atomic_folder,
    check_apart,
    check_new_file,
    check_new_folder,
    read_json,
    sha256_file,
    write_json,
    write_result,
)


class Broken(Exception):
    pass


def kind(folder: Path) -> tuple[str, ...] | None:
    """A folder of the kind of these tests has a file ``mine`` with a mark in it."""
    mark = folder / "mine"
    return ("mine", "b", "sub/a") if mark.is_file() and mark.read_text() == "old" else None


KIND = Layout("kind", kind)


def as_script(text: str) -> str:
    """A script for another process, which knows the kind as well."""
    path = f"import os, pathlib, sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    return (
        path + "from test_storage import KIND, atomic_file, atomic_folder\n" + textwrap.dedent(text)
    )


def killed(script: str, *arguments: Path) -> None:
    """Run a script that kills itself with SIGKILL."""
    command = [sys.executable, "-c", as_script(script), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == -9, done.stderr.decode()


def content(folder: Path) -> dict[str, str]:
    return {
        str(f.relative_to(folder)): f.read_text() for f in sorted(folder.rglob("*")) if f.is_file()
    }


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
    assert found.pop(".a.txt.lock") == ""
    (name,) = found
    assert re.fullmatch(r"\.a\.txt\.diffshare-\w{8}\.part", name)
    with atomic_file(target) as temporary:
        temporary.write_text("whole")
    assert content(tmp_path) == {"a.txt": "whole"}


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
        with pytest.raises(
            UserError, match=rf"cannot write {target}: .*; choose a place that is writable"
        ):
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


def old(folder: Path) -> None:
    """A folder of the kind called ``out``."""
    (folder / "out").mkdir()
    (folder / "out" / "mine").write_text("old")


@pytest.mark.parametrize("before", ["nothing", "empty"])
def test_a_folder_is_there_when_the_block_ends_and_not_before(tmp_path, before):
    if before == "empty":
        (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as temporary:
        fill(temporary, "new")
        assert not list(tmp_path.glob("out/*"))
    assert content(tmp_path) == WHOLE
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_the_kind_is_replaced_only_when_asked(tmp_path):
    old(tmp_path)
    with pytest.raises(
        UserError, match=r"out already holds something: choose another folder or add `overwrite`"
    ):
        atomic_folder(tmp_path / "out", KIND).__enter__()
    assert content(tmp_path) == {"out/mine": "old"}
    with atomic_folder(tmp_path / "out", KIND, overwrite=True) as temporary:
        fill(temporary, "new")
        assert content(tmp_path / "out") == {"mine": "old"}
    assert content(tmp_path) == WHOLE
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def strangers():
    """What may lie in a folder of the kind that is not part of it, and how it comes there."""
    return {
        "a file": lambda out: (out / "thesis.doc").write_text("mine"),
        "a hidden file": lambda out: (out / ".notes").write_text("mine"),
        "a folder": lambda out: (out / "other").mkdir(),
        "a file in a folder of its own": lambda out: (
            (out / "sub").mkdir(),
            (out / "sub" / "c").write_text("mine"),
        ),
        "a link": lambda out: (out / "b").symlink_to(out.parent / "elsewhere"),
        "a link to a folder": lambda out: (out / "sub").symlink_to(out.parent),
        "a pipe": lambda out: os.mkfifo(out / "b"),
        "no mark": lambda out: ((out / "mine").unlink(), (out / "b").write_text("x")),
        "another mark": lambda out: (out / "mine").write_text("somebody else's"),
        "a folder in place of the mark": lambda out: (
            (out / "mine").unlink(),
            (out / "mine").mkdir(),
        ),
    }


@pytest.mark.parametrize("kind", strangers())
def test_a_folder_that_holds_anything_else_is_never_replaced(tmp_path, kind):
    (tmp_path / "elsewhere").write_text("mine")
    old(tmp_path)
    strangers()[kind](tmp_path / "out")
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"out already holds something: .*it replaces a kind alone"):
        atomic_folder(tmp_path / "out", KIND).__enter__()
    with pytest.raises(UserError, match=r"out is not replaced, for it (holds '.*'|is no kind)"):
        atomic_folder(tmp_path / "out", KIND, overwrite=True).__enter__()
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before


def test_what_comes_in_while_the_new_folder_is_made_is_not_lost(tmp_path):
    old(tmp_path)
    with (
        pytest.raises(UserError, match=r"out is not replaced, for it holds 'thesis.doc'"),
        atomic_folder(tmp_path / "out", KIND, overwrite=True),
    ):
        (tmp_path / "out" / "thesis.doc").write_text("mine")
    assert content(tmp_path) == {"out/mine": "old", "out/thesis.doc": "mine"}


@pytest.mark.parametrize("name", [".", "", "..", "sub/..", "../here"])
def test_the_working_directory_and_what_is_above_is_never_made_or_replaced(
    tmp_path, monkeypatch, name
):
    here = tmp_path / "here"
    here.mkdir()
    (here / "sub").mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(
        UserError, match=r"is the working directory or holds it: choose a folder in it"
    ):
        atomic_folder(Path(name), KIND, overwrite=True).__enter__()
    assert here.is_dir()


@pytest.mark.parametrize("write", [atomic_file, atomic_folder])
@pytest.mark.parametrize("letter", ["a", "ä", "\U0001f600"])
def test_names_as_long_as_there_may_be_are_written_and_longer_ones_refused(tmp_path, write, letter):
    size = len(letter.encode())
    for length in range(200 // size, 255 // size + 1):
        path = tmp_path / (letter * length)
        with write(path) as temporary:
            temporary.is_dir() or temporary.write_text("x")
        assert path.exists()
    assert len(list(tmp_path.iterdir())) == 255 // size + 1 - 200 // size
    for name in (letter * (255 // size + 1), f"{letter * 300}/x"):
        with pytest.raises(UserError, match="a name has at most 255 bytes; choose a shorter one"):
            write(tmp_path / name).__enter__()


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_error_leaves_no_folder_and_the_old_one_whole(tmp_path, error, overwrite):
    if overwrite:
        old(tmp_path)
    with (
        pytest.raises(error),
        atomic_folder(tmp_path / "out", KIND, overwrite=overwrite) as temporary,
    ):
        write_and_fail(temporary / "b", error)
    assert content(tmp_path) == ({"out/mine": "old"} if overwrite else {})
    assert [p.name for p in tmp_path.iterdir()] == (["out"] if overwrite else [])


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), KeyboardInterrupt("Input")])
def test_a_failed_exchange_puts_the_old_folder_back(tmp_path, monkeypatch, failure):
    old(tmp_path)
    rename = Path.rename

    def fail(self, target):
        if self.name.endswith(".part"):
            raise failure
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with (
        pytest.raises(type(failure), match="Input"),
        atomic_folder(tmp_path / "out", KIND, overwrite=True) as temporary,
    ):
        fill(temporary, "new")
    assert content(tmp_path) == {"out/mine": "old"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_kill_leaves_a_part_folder_and_never_the_target_and_the_next_call_sweeps_it(
    tmp_path, overwrite
):
    if overwrite:
        old(tmp_path)
    killed(
        """
        with atomic_folder(sys.argv[1], KIND, overwrite=True) as temporary:
            (temporary / "b").write_text("half")
            os.kill(os.getpid(), 9)
        """,
        tmp_path / "out",
    )
    found = content(tmp_path)
    assert found.pop("out/mine", None) == ("old" if overwrite else None)
    assert found.pop(".out.lock") == ""
    (name,) = found
    assert re.fullmatch(r"\.out\.diffshare-\w{8}\.part/b", name)
    with atomic_folder(tmp_path / "out", KIND, overwrite=True) as temporary:
        fill(temporary, "new")
    assert content(tmp_path) == WHOLE


def exchange_killed(tmp_path, after):
    """A kill after the first or the second rename of an exchange."""
    old(tmp_path)
    killed(
        f"""
        rename, renames = pathlib.Path.rename, []
        def stop(self, target):
            rename(self, target)
            renames.append(target)
            if len(renames) == {after}:
                os.kill(os.getpid(), 9)
        pathlib.Path.rename = stop
        with atomic_folder(sys.argv[1], KIND, overwrite=True) as temporary:
            (temporary / "b").write_text("new")
        """,
        tmp_path / "out",
    )


LOOKS = {
    "writes": lambda out: atomic_folder(out, KIND).__enter__(),
    "looks whether it may": lambda out: check_new_folder(out, KIND),
    "reads": restore,
}


@pytest.mark.parametrize("call", LOOKS)
def test_a_kill_between_the_two_renames_is_mended_by_whoever_comes_next(tmp_path, call):
    exchange_killed(tmp_path, 1)
    assert not (tmp_path / "out").exists()
    with contextlib.suppress(UserError):  # which says that the folder holds something
        LOOKS[call](tmp_path / "out")
    assert content(tmp_path) == {"out/b": "new"}


def test_what_was_moved_aside_comes_back_where_nothing_else_is_there(tmp_path):
    exchange_killed(tmp_path, 1)
    (part,) = tmp_path.glob(".out.*.part")
    (part / "b").unlink()
    part.rmdir()
    restore(tmp_path / "out")
    assert content(tmp_path) == {"out/mine": "old"}


def test_a_kill_after_both_renames_leaves_the_new_folder_and_the_next_call_nothing_beside_it(
    tmp_path,
):
    exchange_killed(tmp_path, 2)
    assert content(tmp_path / "out") == {"b": "new"}
    (tmp_path / "out" / "mine").write_text("old")
    with atomic_folder(tmp_path / "out", KIND, overwrite=True) as temporary:
        fill(temporary, "newer")
    assert content(tmp_path) == {"out/sub/a": "newer", "out/b": "newer"}


def test_leftovers_of_a_living_writer_and_what_only_looks_like_some_stay(tmp_path):
    others = [
        ".out.txt.diffshare-abcdefgh.part",
        ".out.backup01.old",
        ".out.12345678.part",
        "out.part",
        ".out.old",
    ]
    for name in others:
        (tmp_path / name).write_text("mine")
    with atomic_folder(tmp_path / "out") as first:
        (first / "b").write_text("first")
        restore(tmp_path / "out")
        assert (first / "b").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*others, "out"])


def test_a_run_s_folder_is_swept_but_for_what_somebody_writes_now(tmp_path):
    left = [".release.abcdefgh.part", ".last.ckpt.diffshare-abcdefgh.part", ".run.json.lock"]
    for name in left:
        (tmp_path / name).write_text("half")
    with atomic_file(tmp_path / "results.json") as temporary:
        sweep(tmp_path)
        assert {p.name for p in tmp_path.iterdir()} == {temporary.name, ".results.json.lock"}


def test_two_writers_of_one_place_take_turns(tmp_path):
    """The second waits, and neither takes away the other's half."""
    script = """
        import time
        for number in range(20):
            with atomic_folder(sys.argv[1], KIND, overwrite=True) as temporary:
                for name in ("mine", "b"):
                    (temporary / name).write_text("old")
                    time.sleep(0.002)
        """
    writers = [
        subprocess.Popen([sys.executable, "-c", as_script(script), tmp_path / "out"])
        for _ in range(2)
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert content(tmp_path) == {"out/mine": "old", "out/b": "old"}


@pytest.mark.parametrize("write", [atomic_file, atomic_folder])
def test_what_is_private_is_its_owner_s_alone(tmp_path, write):
    mask = os.umask(0)
    try:
        with write(tmp_path / "out", private=True) as temporary:
            if temporary.is_dir():
                fill(temporary, "x")
    finally:
        os.umask(mask)
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


# --- no room ---------------------------------------------------------------------------------------------------------


def fails(how: str) -> None:
    """What libraries make of a full disk."""
    if how == "safetensors":
        raise RuntimeError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        )
    try:
        raise OSError(28, "No space left on device")
    except OSError as error:
        if how == "wrapped":
            raise ValueError("encoder error") from error
        if how == "fails again":
            raise ValueError("Can't close the ZIP file while there is an open writing handle on it")  # noqa: B904
        raise


@pytest.mark.parametrize("write", [atomic_file, atomic_folder])
@pytest.mark.parametrize("how", ["plain", "wrapped", "fails again", "safetensors"])
def test_a_full_disk_is_one_line_however_a_library_puts_it(tmp_path, write, how):
    said = rf"cannot write {tmp_path}/out: No space left on device; make room there, or choose another place$"
    with pytest.raises(NoRoom, match=said), write(tmp_path / "out"):
        fails(how)
    assert list(tmp_path.iterdir()) == []


def test_another_error_is_no_full_disk(tmp_path):
    with pytest.raises(ValueError, match="os error 5"), atomic_file(tmp_path / "out"):
        raise ValueError("I/O error (os error 5)")


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
            atomic_folder(out, KIND, overwrite=overwrite).__enter__()
    assert out.is_symlink() or out.read_text() == "mine"


# --- JSON and hashes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", ["run/release", "run/release/s", "run", "."])
def test_no_folder_is_made_in_or_around_one_that_is_read(tmp_path, monkeypatch, made):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"the release"):
        check_apart(Path(made), tmp_path / "run" / "release")
    check_apart(Path("run/samples"), tmp_path / "run" / "release")


FIELDS = ("verdict", "margin")


@pytest.mark.parametrize(
    "content",
    [b'{"verdict": 1, "margin": 2, "more": 3}', b""],
    ids=["a result of the same verb", "an empty file"],
)
def test_a_result_takes_the_place_of_one_of_its_own_kind(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    check_new_file(tmp_path / "a.json", FIELDS)
    write_result(tmp_path / "a.json", {"verdict": 0}, FIELDS)
    assert read_json(tmp_path / "a.json") == {"verdict": 0}


@pytest.mark.parametrize(
    "content", [b"notes", b"[1]", b"\xff", b'{"verdict": 1}', b'"verdict margin"', b"[" * 99999]
)
def test_a_file_that_the_verb_did_not_write_is_not_replaced(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    for refuse in (
        lambda path: check_new_file(path, FIELDS),
        lambda path: write_result(path, {}, FIELDS),
    ):
        with pytest.raises(
            UserError,
            match=r"a\.json is not replaced, for this verb did not write it: choose another",
        ):
            refuse(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_bytes() == content


@pytest.mark.parametrize("target", ["result", "nowhere", "/dev/null", "pipe"])
def test_a_link_a_pipe_and_a_device_are_not_replaced(tmp_path, target):
    (tmp_path / "result").write_text('{"verdict": 1, "margin": 2}')
    path = tmp_path / "a.json"
    if target == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / target)
    before = path.lstat()
    with pytest.raises(UserError, match="is not replaced"):
        check_new_file(path, FIELDS)
    assert path.lstat() == before


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
    assert (
        sha256_file(tmp_path / "a")
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_an_unknown_name_lists_what_is_known():
    assert str(one_of("attribute", "X", ["b", "a"])) == "unknown attribute 'X': choose one of a, b"
    assert str(one_of("x", "y", range(20))).endswith(" and 8 more")
