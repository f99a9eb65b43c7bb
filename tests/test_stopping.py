"""A verb that is stopped says so in one line, whatever it was doing, and leaves nothing half-written."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from diffshare.cli import main
from diffshare.signals import Terminated, heeded, stoppable

STATUS = [
    (signal.SIGINT, 130, "Ctrl-C"),
    (signal.SIGTERM, 143, "SIGTERM"),
    (signal.SIGHUP, 143, "SIGHUP"),
]


@pytest.mark.parametrize("after", [0.1, 0.3, 0.6, 1.2])
@pytest.mark.parametrize(("signum", "status", "name"), STATUS)
def test_a_stop_during_imports_is_one_line(
    signum: int, status: int, name: str, after: float
) -> None:
    started = """
import sys, threading, os, time
from diffshare.cli import main
threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), int(sys.argv[2]))).start()
sys.exit(main(["fit", "--help"]))
"""
    command = [sys.executable, "-c", started, str(after), str(int(signum))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == f"diffshare: stopped by {name}\n", done.stderr
    assert done.returncode == status


def test_what_a_library_makes_of_a_stop_is_a_stop(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def broken_off(*_: object) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        except KeyboardInterrupt as stop:
            raise ImportError("cannot import name 'x' from partially initialized module") from stop
        return 0

    monkeypatch.setattr("diffshare.cli._run", broken_off)
    assert main(["sample"]) == 143
    assert capsys.readouterr().err == "diffshare: stopped by SIGTERM\n"


def test_a_stop_that_a_library_swallows_is_a_stop(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def swallowing(*_: object) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        except:  # noqa: E722
            return 0
        return 0

    monkeypatch.setattr("diffshare.cli._run", swallowing)
    assert main(["sample"]) == 143
    assert capsys.readouterr().err == "diffshare: stopped by SIGTERM\n"


def test_handlers_are_given_back_and_an_ignored_signal_stays_ignored() -> None:
    """``nohup`` starts a process with SIGHUP ignored."""
    before = {s: signal.getsignal(s) for s in heeded()}
    assert set(before) == {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable() as came:
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            with pytest.raises(Terminated):
                os.kill(os.getpid(), signal.SIGTERM)
            assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, kept)
    assert {s: signal.getsignal(s) for s in before} == before


def test_in_another_thread_nothing_is_changed() -> None:
    seen = []

    def work() -> None:
        with stoppable() as came:
            seen.append(came)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [[]]


def test_sigterm_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from diffshare.signals import stoppable
from diffshare.storage import atomic_folder
with stoppable(), atomic_folder(sys.argv[1]) as temporary:
    (temporary / "half").write_text("x")
    os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "out"], capture_output=True, check=False
    )
    assert b"Terminated" in done.stderr
    assert list(tmp_path.iterdir()) == []
