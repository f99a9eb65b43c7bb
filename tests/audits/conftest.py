"""Fixtures of the tests of the verb ``audit``: samples of rows, and the verb that must succeed or refuse."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audited import TABLE, table_source, write_rows

from diffshare.stats.detection import poisoned_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference and samples: clean, poisoned, without the group's column, few, and of heights that say nothing."""
    made = tmp_path_factory.mktemp("audit")
    table_source(made)
    write_rows(made / "clean" / "samples.csv", 1200, 1)
    write_rows(made / "poisoned" / "samples.csv", 1200, 2, poisoned_table(TABLE, 0.4))
    write_rows(made / "hidden" / "samples.csv", 1200, 3, without=("sex",))
    write_rows(
        made / "hidden-poisoned" / "samples.csv",
        1200,
        4,
        poisoned_table(TABLE, 0.5),
        without=("sex",),
    )
    write_rows(made / "few" / "samples.csv", 60, 5)
    return made


@pytest.fixture
def audit(run_cli: Callable[..., Any], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run the verb, which must succeed; its JSON and what it printed."""

    def run(*arguments: Any) -> dict[str, Any]:
        outcome = run_cli("audit", *arguments, "--json", tmp_path / "audit.json")
        assert outcome.code == 0, outcome.err
        return json.loads((tmp_path / "audit.json").read_text()) | {"out": outcome.out}

    return run


@pytest.fixture
def refused(run_cli: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Run the verb, which must refuse and leave nothing; its line."""

    def run(*arguments: Any) -> str:
        before = set(tmp_path.iterdir())
        outcome = run_cli("audit", *arguments, "--json", tmp_path / "audit.json")
        assert outcome.code == 2, (outcome.out, outcome.err)
        assert outcome.err.count("\n") == 1, outcome.err
        assert len(outcome.err) < 600
        assert set(tmp_path.iterdir()) == before
        return outcome.err

    return run
