"""What each file of tests took when the suite was last measured, and what a run before each commit leaves out."""

import json
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
MEASURED = TESTS.parent / "docs" / "results" / "suite.json"  # of scripts/measure_house.py
QUICK = 4.0  # seconds that a file may take in a quick run


@cache
def measured() -> dict[str, float]:
    """Seconds by file, named from the folder of the tests on; empty where nothing was measured."""
    seconds: dict[str, float] = (
        json.loads(MEASURED.read_text())["files"] if MEASURED.is_file() else {}
    )
    return seconds


def seconds_of(path: Path) -> float:
    """What a file of tests takes; 0 for a new one, a folder and what is elsewhere."""
    return measured().get(path.relative_to(TESTS).as_posix(), 0.0) if TESTS in path.parents else 0.0
