"""One process works in a folder: the second is told who does, a killed one holds nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffshare.claim import HOLDER, LOCK, check_shared, claim
from diffshare.errors import UserError
from diffshare.locks import hold

BUSY = "{holder} works here"
WHO = f"process {os.getpid()} on {socket.gethostname()}"


def in_another_process(code: str, *arguments: object) -> subprocess.Popen[str]:
    head = "import os, sys, time\nfrom pathlib import Path\nfrom diffshare.claim import *\nfolder = Path(sys.argv[1])\n"
    command = [sys.executable, "-c", head + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_second_is_refused_with_the_first_ones_process_and_host(tmp_path):
    with claim(tmp_path / "run", BUSY):
        code = "with claim(folder, '{holder} works here'): print('in')"
        out, err = in_another_process(code, tmp_path / "run").communicate()
        assert out == ""
        assert f"UserError: {WHO} works here" in err
    with claim(tmp_path / "run", BUSY):
        pass


@pytest.mark.parametrize(
    "child", ["", "os.fork() or time.sleep(30)\n    "], ids=["alone", "with a child that lives on"]
)
def test_a_killed_holder_holds_nothing(tmp_path, child):
    code = f"with claim(folder, ''):\n    {child}print('in', flush=True)\n    time.sleep(30)"
    with in_another_process(code, tmp_path / "run") as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "in\n"
        holder.send_signal(signal.SIGKILL)
    assert (tmp_path / "run" / HOLDER).is_file()
    with claim(tmp_path / "run", BUSY) as killed_before:
        assert killed_before
        assert json.loads((tmp_path / "run" / HOLDER).read_text())["process"] == os.getpid()


def test_nothing_is_left_behind(tmp_path):
    (tmp_path / "old").mkdir()
    for name in ("new", "old"):
        with claim(tmp_path / name, BUSY) as killed_before:
            assert not killed_before
            assert {p.name for p in (tmp_path / name).iterdir()} == {LOCK, HOLDER}
    assert [(p.name, list(p.iterdir())) for p in tmp_path.iterdir()] == [("old", [])]
    with claim(tmp_path / "new", BUSY):
        (tmp_path / "new" / "kept").touch()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["kept"]


def test_of_many_at_once_one_is_in_at_a_time(tmp_path):
    code = """
for _ in range(40):
    try:
        with claim(folder, ''):
            (folder / "in").touch(exist_ok=False)
            time.sleep(0.001)
            (folder / "in").unlink()
            print('in')
    except Exception as error:
        assert type(error).__name__ == "UserError", error
"""
    processes = [in_another_process(code, tmp_path / "run") for _ in range(4)]
    ends = [process.communicate() for process in processes]
    assert [end[1] for end in ends] == [""] * 4
    assert all("in" in end[0] for end in ends)


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not hold for root")
def test_a_folder_that_is_not_ones_own_is_refused(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(UserError, match="choose a place that is writable"):
        claim(tmp_path / "run", BUSY).__enter__()
    tmp_path.chmod(0o755)


def test_a_file_of_that_name_is_refused(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(
        UserError, match="cannot write .*/run: File exists; choose a place that is writable"
    ):
        claim(tmp_path / "run", BUSY).__enter__()


def note(folder: Path, **changes: object) -> None:
    folder.mkdir(exist_ok=True)
    noted = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": "",
        "job": "a",
    } | changes
    (folder / HOLDER).write_text(json.dumps(noted))


def test_processes_of_one_job_share_a_folder_and_those_of_another_do_not(tmp_path):
    check_shared(tmp_path / "nowhere", BUSY, "a")
    with claim(tmp_path / "run", BUSY, "a"):
        check_shared(tmp_path / "run", BUSY, "a")
        for job in ("b", None):
            with pytest.raises(UserError, match=f"{WHO} works here"):
                check_shared(tmp_path / "run", BUSY, job)
        code = "check_shared(folder, '', None)"  # of a process that the holder started
        assert in_another_process(code, tmp_path / "run").communicate() == ("", "")


@pytest.mark.parametrize(
    "changes", [{"process": 2**40}, {"host": "elsewhere"}, {"process": "x"}, {"host": 3}, {}]
)
def test_what_a_dead_process_noted_refuses_nobody(tmp_path, changes):
    note(tmp_path / "run", **changes)
    check_shared(tmp_path / "run", BUSY, "b")


def test_another_look_is_not_taken_for_a_dead_process_that_was_noted(tmp_path):
    """All processes of a job look at once after a training that was killed."""
    note(tmp_path / "run", process=2**40)
    with hold(tmp_path / "run" / LOCK) as looking:
        assert looking
        check_shared(tmp_path / "run", BUSY, "b")


def test_a_look_does_not_keep_the_holder_out(tmp_path):
    """The other processes of a job look while the first one claims."""
    note(tmp_path / "run")
    code = "while True: check_shared(folder, '', 'b')"
    lookers = [in_another_process(code.replace("'b'", "None"), tmp_path / "run") for _ in range(2)]
    time.sleep(0.5)
    for _ in range(20):
        with claim(tmp_path / "run", BUSY):
            note(tmp_path / "run")
        note(tmp_path / "run")
    for looker in lookers:
        assert looker.poll() is None  # it looked all the time
        looker.kill()
        looker.communicate()
