#!/usr/bin/env python3
"""Do the tests catch what they should? Seed faults in a copy of the tree, one at a time, and run what covers each.

    python scripts/check_faults.py [--only TEXT...] [--json docs/results/faults.json]

The faults are in ``_seeded.py``. The tree is copied to a temporary folder, files that git does not track yet included;
the tree itself is never changed. A fault is caught where one of its tests fails (they run with ``-x``) and that test
passes without the fault. Ends with status 1 where one was not caught.

The libraries are imported once; each run is a fork that imports the copy.
"""

import argparse
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from _seeded import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "lightning.pytorch", "diffusers", "sklearn.linear_model", "pandas")
LIMIT = 600  # seconds of a run, after which SIGALRM ends it


class Outcome(NamedTuple):
    """How a run of tests ended.

    Attributes:
        status: pytest's exit status (0 all passed, 1 some failed), or the negative number of the signal that ended it.
        by: the first test that failed.
    """

    status: int
    by: str


class _First:
    """Notes the first test that fails; a file that cannot be collected counts as well."""

    def __init__(self) -> None:
        self.by = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.by = self.by or report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.by = self.by or report.nodeid


def copy_tree(target: Path) -> None:
    """Copy the files of the working tree that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():  # deleted, and not committed yet
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def places(fault: Fault, tree: Path = ROOT) -> int:
    """How often a fault's text stands in its file; 0 where there is no such file."""
    file = tree / "diffshare" / fault.file
    return file.read_text(encoding="utf-8").count(fault.text) if file.is_file() else 0


def run_tests(tree: Path, tests: Sequence[str]) -> Outcome:
    """Run tests of a tree in a fork of this process; what they print goes to ``log`` beside the tree."""
    result, log = tree.with_name("outcome.json"), tree.with_name("log")
    result.unlink(missing_ok=True)
    process = os.fork()
    if not process:
        status = 3
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            os.setpgrp()
            signal.alarm(LIMIT)
            os.chdir(tree)
            sys.path.insert(0, str(tree))
            os.environ["PYTHONPATH"] = str(tree)
            os.environ["TMPDIR"] = str(tree.parent)
            first = _First()
            options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
            # plugins that the libraries have imported: their own asserts are of no matter
            options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
            status = int(pytest.main([*options, *tests], [first]))
            result.write_text(json.dumps(first.by))
        except BaseException:
            traceback.print_exc()
        finally:  # no exit handlers: those of the parent would remove the parent's files
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return Outcome(status, json.loads(result.read_text()) if result.is_file() else "")


def check(fault: Fault, tree: Path) -> dict[str, Any]:
    """Seed one fault, run its tests, take it out again; a row of the table."""
    file = tree / "diffshare" / fault.file
    whole, started = file.read_text(encoding="utf-8"), time.perf_counter()
    try:
        file.write_text(whole.replace(fault.text, fault.slip), encoding="utf-8")
        outcome = run_tests(tree, [f"tests/{name}" for name in fault.tests.split()])
    finally:
        file.write_text(whole, encoding="utf-8")
    caught = outcome.status == 1 and bool(outcome.by)
    note = outcome.by if caught else f"NOT CAUGHT (status {outcome.status})"
    if caught and run_tests(tree, [outcome.by]).status:
        caught, note = False, f"NOT CAUGHT: {outcome.by} fails without the fault as well"
    print(f"{time.perf_counter() - started:6.1f} s  {fault.file}: {fault.name}: {note}", flush=True)
    return {
        "name": fault.name,
        "file": fault.file,
        "caught": caught,
        "by": outcome.by if caught else None,
    }


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the table; rows of other faults that the file holds stay, in the order of the list."""
    kept = json.loads(path.read_text())["faults"] if path.is_file() else []
    by_name = {row["name"]: row for row in [*kept, *rows]}
    rows = [by_name[fault.name] for fault in FAULTS if fault.name in by_name]
    command = "python scripts/check_faults.py --json docs/results/faults.json"
    table = {"command": command, "caught": sum(row["caught"] for row in rows), "faults": rows}
    path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    text = "faults whose file or name holds one of these texts"
    parser.add_argument("--only", nargs="+", default=[""], help=text)
    parser.add_argument("--json", type=Path, help="write the table here, or what is new of it")
    arguments = parser.parse_args()
    faults = [
        fault
        for fault in FAULTS
        if any(text in f"{fault.file} {fault.name}" for text in arguments.only)
    ]
    if astray := [fault for fault in faults if places(fault) != 1]:
        for fault in astray:
            print(f"{fault.file} holds {places(fault)} times: {fault.text}", file=sys.stderr)
        return 2
    for library in LIBRARIES:
        importlib.import_module(library)
    # compiled files are told apart by seconds and size: a slip of the same size would not be seen
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    with tempfile.TemporaryDirectory(prefix="diffshare-faults-") as name:
        tree = Path(name, "tree")
        copy_tree(tree)
        rows = [check(fault, tree) for fault in faults]
    missed = sum(not row["caught"] for row in rows)
    print(f"{len(rows) - missed} of {len(rows)} faults caught")
    if arguments.json:
        write_table(arguments.json, rows)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
