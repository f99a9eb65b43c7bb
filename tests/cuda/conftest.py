"""Trainings on real GPUs, in processes of their own: ``pytest -m cuda`` proves them on a machine that has some."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.hookimpl(tryfirst=True)  # before any fixture trains
def pytest_runtest_setup(item: pytest.Item) -> None:
    import torch

    marker = item.get_closest_marker("cuda")
    needed = marker.kwargs.get("devices", 1) if marker else 1
    if torch.cuda.device_count() < needed:
        pytest.skip(f"needs {needed} CUDA device(s), this machine has {torch.cuda.device_count()}")


@pytest.fixture(scope="session")
def fit(private_cache: Path) -> Callable[..., Any]:
    """``fit(ARGUMENTS, faults="batch:5:kill")``: the finished process."""

    def run(
        *arguments: object, faults: str = "", verb: str = "fit"
    ) -> subprocess.CompletedProcess[str]:
        start = [str(ROOT / "scripts" / "faults.py"), faults] if faults else ["-m", "diffshare.cli"]
        return subprocess.run(
            [sys.executable, *start, verb, *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=540,
        )

    return run
