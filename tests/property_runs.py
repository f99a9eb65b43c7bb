"""Runs of the verb ``infer-property`` for tests: one that must succeed, one that must be refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml


def yaml_source(file: Path, name: str, **options: Any) -> Path:
    """A source file of the class ``diffshare.data.NAME``."""
    file.write_text(yaml.safe_dump({"class_path": f"diffshare.data.{name}", "init_args": options}))
    return file


def inferred(run_cli: Callable[..., Any], folder: Path, *arguments: Any) -> dict[str, Any]:
    """The JSON of a run, with the printed text under ``out``."""
    outcome = run_cli("infer-property", *arguments, "--json", folder / "result.json")
    assert outcome.code == 0, outcome.err
    return json.loads((folder / "result.json").read_text()) | {"out": outcome.out}


def refusal(run_cli: Callable[..., Any], folder: Path, *arguments: Any) -> str:
    """The one line of a run that must be refused and leave nothing."""
    before = set(folder.iterdir())
    outcome = run_cli("infer-property", *arguments, "--json", folder / "result.json")
    assert outcome.code == 2, outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    assert set(folder.iterdir()) == before
    return outcome.err
