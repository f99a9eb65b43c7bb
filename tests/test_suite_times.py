"""A quick run stays quick as the suite grows, and looks into every room."""

import os
from pathlib import Path

from suite_times import QUICK, TESTS, measured, seconds_of


def test_the_quick_files_fit_into_the_time_on_two_cores():
    assert sum(seconds for seconds in measured().values() if seconds <= QUICK) < 2 * 110


def test_every_folder_has_quick_tests():
    folders = {path.parent for path in TESTS.rglob("test_*.py")}
    quick = {path.parent for path in TESTS.rglob("test_*.py") if seconds_of(path) <= QUICK}
    assert folders == quick


def test_times_are_of_files_that_are_there():
    there = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")}
    gone = measured().keys() - there
    assert len(gone) <= len(there) / 10, f"measure again, scripts/measure_house.py: {sorted(gone)}"


def test_a_new_file_and_one_elsewhere_are_quick():
    assert (
        seconds_of(TESTS / "test_that_is_new.py") == seconds_of(Path("/nowhere/test_kid.py")) == 0
    )


def test_processes_side_by_side_have_a_core_each():
    import torch

    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    cores = max(os.cpu_count() or 1, processes)
    assert torch.get_num_threads() * processes <= cores, "unset OMP_NUM_THREADS: threads would spin"
