"""Spoiled releases and samples folders: a clean refusal or a correct load. The long form: scripts/check_hostile.py."""

import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from diffusers.utils import logging
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def watch(check_hostile: ModuleType) -> Iterator[Any]:
    """The audit hook, and diffusers without its warnings about odd settings."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    yield check_hostile.Watch()
    logging.set_verbosity(verbosity)


def test_nothing_but_a_refusal_or_a_correct_load(originals: Path, check_hostile: ModuleType, watch: Any) -> None:
    seen = set()

    @settings(max_examples=120, deadline=None, database=None)
    @given(st.integers(0, 2**32))
    def spoil_and_open(seed: int) -> None:
        with tempfile.TemporaryDirectory() as work:
            *_, outcome, _ = check_hostile.one_example(originals, Path(work), random.Random(seed), watch)
        assert outcome in ("refused", "loaded")
        seen.add(outcome)

    spoil_and_open()
    assert seen == {"refused", "loaded"}


def test_the_watch_sees_what_must_not_happen(tmp_path: Path, watch: Any) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "folder" / "inside"
    inside.parent.mkdir()
    outside.write_text("x")
    with watch.over(inside.parent):
        outside.read_bytes()
        inside.write_text("x")
        inside.read_bytes()
    assert watch.events == [f"open {outside}", f"open {inside}"]


def test_the_script_counts_and_reports(
    tmp_path: Path, check_hostile: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["check_hostile.py", "--examples", "4", "--json", str(tmp_path / "h.json")])
    assert check_hostile.main() == 0
    report = json.loads((tmp_path / "h.json").read_text())
    assert report["refused"] + report["loaded"] == report["examples"] == 4
    monkeypatch.setattr(check_hostile, "use_release", lambda folder: 1 / 0)
    monkeypatch.setattr(check_hostile, "use_samples", lambda folder: 1 / 0)
    monkeypatch.setattr("sys.argv", ["check_hostile.py", "--examples", "2"])
    assert check_hostile.main() == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
