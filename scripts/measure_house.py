#!/usr/bin/env python3
"""How large the house is and how long its tests take: what CONTRIBUTING.md says, and which tests are quick.

    scripts/test && python scripts/measure_house.py --json docs/results/suite.json

Lines are those of Python files in git, as ``ruff format`` breaks them. Cases and seconds come from the JUnit file that
``scripts/test`` leaves; ``tests/conftest.py`` orders and chooses the files of tests by them. Measure on a machine that
does nothing else.
"""

import argparse
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

from _bench import Row, report

from diffshare.storage import write_json

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / ".pytest_cache" / "suite.xml"


def lines() -> dict[str, int]:
    """Lines by folder of the package and, in one sum each, of tests and scripts."""
    command = ["git", "ls-files", "-z", "*.py"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    counts: Counter[str] = Counter()
    for name in filter(None, names.split("\0")):
        top, *rest = Path(name).parts
        place = f"diffshare/{rest[0]}" if len(rest) > 1 and top == "diffshare" else top
        counts[place] += len((ROOT / name).read_text(encoding="utf-8").splitlines())
    return dict(sorted(counts.items()))


def file_of(classname: str) -> str:
    """The file, below ``tests``, of a case's ``classname`` in JUnit: ``tests.stats.test_kid.TestDistance``."""
    parts = classname.split(".")[1:]
    while parts and not (ROOT / "tests" / Path(*parts)).with_suffix(".py").is_file():
        parts.pop()
    if not parts:
        sys.exit(f"{classname} is in no file of tests: run scripts/test on this tree first")
    return "/".join(parts) + ".py"


def suite(run: Path) -> dict[str, Any]:
    """Cases and seconds of a whole run, by folder, and seconds by file; a case includes its set-up."""
    root = ElementTree.parse(run).getroot()
    cases: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for case in root.iter("testcase"):
        # a file that is skipped as a whole has a name alone
        name = file_of(case.get("classname") or case.get("name", ""))
        cases[name] += 1
        seconds[name] += float(case.get("time", 0))
    folders: dict[str, dict[str, float]] = {}
    for name in sorted(cases):
        row = folders.setdefault(str(Path("tests", name).parent), {"cases": 0, "seconds": 0.0})
        row["cases"] += cases[name]
        row["seconds"] = round(row["seconds"] + seconds[name], 1)
    return {
        "cases": sum(cases.values()),
        "seconds": round(
            sum(float(element.get("time", 0)) for element in root.iter("testsuite")), 1
        ),
        "cores": os.cpu_count(),
        "folders": folders,
        "files": {name: round(seconds[name], 1) for name in sorted(seconds)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--junit", type=Path, default=RUN, help="of a whole run (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    if not arguments.junit.is_file():
        sys.exit(f"no such file: {arguments.junit}; scripts/test leaves it")
    figures = {"command": (__doc__ or "").split("\n")[2].strip(), "lines": lines()}
    figures |= suite(arguments.junit)
    rows = [Row(f"lines of {place}", count, "lines") for place, count in figures["lines"].items()]
    for place, row in figures["folders"].items():
        rows.append(Row(f"{place}, {row['cases']} cases", row["seconds"], "s"))
    report([*rows, Row(f"the whole run, {figures['cases']} cases", figures["seconds"], "s")])
    if arguments.json:
        write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
