"""Spoiled folders of every kind: a clean refusal or a correct load. The long form: scripts/check_hostile.py."""

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


KINDS = {
    "release": 40,
    "families": 20,
    "samples": 50,
    "rows": 20,
    "audit": 30,
    "declaration": 40,
    "manifest": 30,
    "run": 20,
}


def test_every_kind_is_here(check_hostile: ModuleType) -> None:
    assert set(KINDS) == set(check_hostile.KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_a_refusal_or_a_correct_load(
    originals: Path, check_hostile: ModuleType, watch: Any, kind: str
) -> None:
    seen = set()

    @settings(max_examples=KINDS[kind], deadline=None, database=None)
    @given(st.integers(0, 2**32))
    def spoil_and_open(seed: int) -> None:
        with tempfile.TemporaryDirectory() as work:
            *_, outcome, _ = check_hostile.one_example(
                originals, Path(work), random.Random(seed), watch, kind
            )
        assert outcome in ("refused", "loaded")
        seen.add(outcome)

    spoil_and_open()
    assert "refused" in seen


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sound_is_loaded(
    originals: Path,
    check_hostile: ModuleType,
    watch: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    sound = check_hostile.KINDS[kind]

    def nothing(folder: Path, rng: random.Random, marker: Path) -> str:
        if kind == "declaration":
            (folder / "which").write_text("declared.yaml")
        if kind == "audit":
            value = json.loads((folder / "audit.json").read_text())
            value["settings"]["reference"]["init_args"]["path"] = str(folder / "reference.csv")
            (folder / "audit.json").write_text(json.dumps(value))
        return "nothing"

    monkeypatch.setitem(check_hostile.KINDS, kind, sound._replace(mutate=nothing))
    *_, outcome, _ = check_hostile.one_example(originals, tmp_path, random.Random(0), watch, kind)
    assert outcome == "loaded"


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
    tmp_path: Path,
    check_hostile: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["check_hostile.py", "--examples", "4", "--json", str(tmp_path / "h.json")]
    )
    assert check_hostile.main() == 0
    report = json.loads((tmp_path / "h.json").read_text())
    assert report["refused"] + report["loaded"] == report["examples"] == 4
    for name, kind in check_hostile.KINDS.items():
        monkeypatch.setitem(check_hostile.KINDS, name, kind._replace(use=lambda folder, rng: 1 / 0))
    monkeypatch.setattr("sys.argv", ["check_hostile.py", "--examples", "2"])
    assert check_hostile.main() == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
