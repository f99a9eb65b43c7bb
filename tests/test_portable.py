"""Nothing that only POSIX has is needed to start, to lock or to write."""

import subprocess
import sys
from pathlib import Path

import pytest

from diffshare.cli import VERBS

HEAD = """
import sys
for name in ("fcntl", "termios", "pwd", "grp", "resource", "pty"):
    sys.modules[name] = None
"""


def without_posix(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", HEAD + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_verb_s_help_works_without_fcntl() -> None:
    code = """
from diffshare.cli import main
print([main([verb, "--help"]) for verb in sys.argv[1:]])
"""
    out = without_posix(code, *VERBS)
    assert out.splitlines()[-1] == str([0] * len(VERBS))


def test_locks_work_without_fcntl(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from diffshare.claim import claim
from diffshare.errors import UserError
from diffshare.locks import hold
from diffshare.storage import atomic_folder
folder = Path(sys.argv[1])
with claim(folder / "run", "{holder} works here"), hold(folder / "run" / ".lock") as second:
    print(second)
with hold(folder / "x.lock") as free:
    print(free)
with atomic_folder(folder / "out") as temporary:
    (temporary / "a").write_text("x")
print(sorted(path.name for path in folder.rglob("*")))
"""
    assert without_posix(code, tmp_path).splitlines() == ["False", "True", "['a', 'out']"]


def test_a_soft_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    killed = """
import os
from pathlib import Path
from diffshare.locks import hold
with hold(Path(sys.argv[1])):
    os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + killed, tmp_path / "x.lock"], check=False, capture_output=True
    )
    assert done.returncode == -9
    assert (tmp_path / "x.lock").exists()
    code = """
from pathlib import Path
from diffshare.locks import hold
with hold(Path(sys.argv[1]), waiting="somebody writes") as held:
    print(held)
"""
    assert without_posix(code, tmp_path / "x.lock") == "True\n"
