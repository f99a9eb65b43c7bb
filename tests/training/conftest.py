"""Runs of the command line in processes of their own, with faults where a test wants them."""

import importlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """How a process ended: exit status (negative: by that signal) and all that it printed."""

    status: int
    output: str


@pytest.fixture(scope="session")
def check_resume() -> Iterator[ModuleType]:
    """The script: its configuration and its comparison."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield importlib.import_module("check_resume")


@pytest.fixture(scope="session")
def start(private_cache: Path) -> Iterator[Callable[..., list[Ended]]]:
    """Run processes side by side: ``start({"arguments": [...], "faults": [...], "env": {...}}, ...)``."""
    command = [sys.executable, str(ROOT / "scripts" / "faults.py"), "serve"]
    # one thread: two processes of two threads each on two cores would wait for each other
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
    }
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def ask(*processes: dict[str, Any]) -> list[Ended]:
            server.stdin.write(json.dumps(processes) + "\n")
            server.stdin.flush()
            return [Ended(**outcome) for outcome in json.loads(server.stdout.readline())]

        yield ask
        server.stdin.close()


@pytest.fixture(scope="session")
def run(start: Callable[..., list[Ended]]) -> Callable[..., Ended]:
    """``run("fit", ..., faults=["batch:3:kill"])`` in one process."""

    def one(*arguments: object, faults: tuple[str, ...] = ()) -> Ended:
        return start({"arguments": [str(a) for a in arguments], "faults": faults})[0]

    return one


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Finds a port on which nobody listens."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find


@pytest.fixture(scope="session")
def run_two(
    start: Callable[..., list[Ended]], free_port: Callable[[], int]
) -> Callable[..., list[Ended]]:
    """The same in two processes that train as one; ``faults`` are those of the first and of the second."""

    def two(
        *arguments: object,
        faults: tuple[tuple[str, ...], ...] = ((), ()),
        env: Callable[[int], dict[str, str]] = lambda rank: {"LOCAL_RANK": str(rank)},
    ) -> list[Ended]:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        ddp = [*map(str, arguments), "--trainer.strategy", "ddp", "--trainer.devices", "2"]
        return start(
            *(
                {"arguments": ddp, "faults": faults[rank], "env": place | env(rank)}
                for rank in range(2)
            )
        )

    return two


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, check_resume: ModuleType) -> list[str]:
    """Arguments of a fit that takes a second."""
    config = check_resume.write_config(tmp_path_factory.mktemp("config"))
    return ["--config", str(config), "--trainer.max_steps", "16"]


@pytest.fixture(scope="session")
def reference(
    tmp_path_factory: pytest.TempPathFactory, run: Callable[..., Ended], tiny: list[str]
) -> Path:
    """The folder of a ``tiny`` run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    ended = run("fit", *tiny, "--run-dir", folder)
    assert ended.status == 0, ended.output
    return folder
