"""Fixtures for all tests: a private cache, the real data where it is, the command line in this process."""

import contextlib
import gc
import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
from hypothesis import settings
from suite_times import QUICK, seconds_of

# A run in the background, or of nohup, ignores these, and so would all that the tests start.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

# Set before torch and huggingface_hub are imported, which read them once; child processes inherit them.
# One thread a process: tensors are small, and threads that wait for a core spin. Two test processes of two threads
# each on two cores took three times as long, in tests of many small products ten times.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test downloads


class Outcome(NamedTuple):
    """What a command left: exit status and captured output."""

    code: int
    out: str
    err: str


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[object]:
    """Collect without garbage collection, and never look again at what was imported: a third of the start."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    text = f"leave out tests marked slow, and files that take more than {QUICK:g} seconds"
    parser.addoption("--quick", action="store_true", help=text)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out slow files under ``--quick``, but not one that is asked for by its name."""
    asked = {Path(argument.split("::")[0]).resolve() for argument in config.args}
    slow = config.getoption("--quick") and seconds_of(collection_path) > QUICK
    return True if slow and collection_path not in asked else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files first: of several processes none is then left alone with one at the end."""
    if config.getoption("--quick"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
    items.sort(key=lambda item: -seconds_of(item.path))


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The decoded cache of this test run; the user's own is never read or written."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFSHARE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the real data; the test is skipped where there is none."""
    root = os.environ.get("DIFFSHARE_DATA")
    if not root:
        pytest.skip("needs real data: DIFFSHARE_DATA is not set")
    if not Path(root).is_dir():
        pytest.skip(f"needs real data: DIFFSHARE_DATA names {root}, which is no folder")
    return Path(root).resolve()


@pytest.fixture(scope="session")
def run_cli() -> Callable[..., Outcome]:
    """Run ``diffshare ARGS`` in this process: ``run_cli("sample", "--count", 4).code``.

    The output is redirected to buffers that stay open, unlike capsys': a log handler that a library made during one
    call still has somewhere to write in the next. Environment variables that a run sets (its seed, its folder) are
    taken back, as the end of a process would do.
    """

    def run(*args: object) -> Outcome:
        from diffshare.cli import main

        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.dict(os.environ),
        ):
            try:
                code = main([str(arg) for arg in args])
            except SystemExit as stop:  # --help
                code = int(stop.code or 0)
        return Outcome(code, out.getvalue(), err.getvalue())

    return run
