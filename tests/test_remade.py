"""What is kept of studies: signed gaps by seed, and files without them made anew as those would have given."""

import json
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from diffshare.stats.summary import paired_difference
from diffshare.study.reports.poisoning import summarise

ROOT = Path(__file__).parent.parent
GAP, ODDS = "demographic_parity_difference", "equalized_odds_difference"
EVEN = [[0.5, 0.5], [0.5, 0.5]]


@pytest.fixture(scope="module")
def remake():
    """``scripts/remake_excess.py``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        import remake_excess as module

        yield module
        sys.modules.pop("remake_excess", None)


def rows_of(clean: list[float], poisoned: list[float]) -> list[dict[str, Any]]:
    """Rows with signed gaps, by seed."""
    rows = []
    for policy, alpha, gaps in (("clean", 0.0, clean), ("poisoned", 0.5, poisoned)):
        for seed, gap in enumerate(gaps):
            row = {
                "policy": policy,
                "alpha": alpha,
                "where": "mix",
                "guidance": None,
                "seed": seed,
                "accuracy": 0.7,
            }
            row |= {
                GAP: abs(gap),
                f"{GAP}_signed": gap,
                ODDS: None,
                "direction": None if policy == "clean" else 1,
            }
            rows.append(row)
    return rows


def kept_of(rows: list[dict[str, Any]], policy: str = "configs/mix/favour.yaml") -> dict[str, Any]:
    """What was kept of them: absolute gaps by seed, the signed difference in the summary."""
    whole = [
        row | {f"shares_in_{k}": EVEN for k in ("mix", "samples", "decisions")} for row in rows
    ]
    clean, poisoned = summarise(whole, 0.95)
    gaps = {
        p: [row[f"{GAP}_signed"] for row in rows if row["policy"] == p]
        for p in ("clean", "poisoned")
    }
    old = {k: v for k, v in poisoned.items() if k not in ("directed", "gap")}
    old["excess_gap"] = old.pop("excess_gap_absolute")
    old["excess_equalized_odds"] = old.pop("excess_equalized_odds_absolute")
    old["excess_gap_signed"] = paired_difference(gaps["poisoned"], gaps["clean"], 0.95).json()
    kept = [
        {k: v for k, v in row.items() if k not in (f"{GAP}_signed", "direction", ODDS)}
        for row in rows
    ]
    return {
        "config": {"init_args": {"policies": {"poisoned": policy}}},
        "summary": [clean, old],
        "rows": kept,
    }


@pytest.mark.parametrize("seed", range(5))
def test_signs_and_excess_come_back(remake: ModuleType, seed: int):
    rng = np.random.default_rng(seed)
    rows = rows_of(rng.normal(0, 0.05, 3).tolist(), rng.normal(0.3, 0.1, 3).tolist())
    remade = remake.poisoning(kept_of(rows))
    signed = {(row["policy"], row["seed"]): row[f"{GAP}_signed"] for row in remade["rows"]}
    assert signed == {
        (row["policy"], row["seed"]): pytest.approx(row[f"{GAP}_signed"]) for row in rows
    }
    whole = [
        row | {f"shares_in_{k}": EVEN for k in ("mix", "samples", "decisions")} for row in rows
    ]
    wanted = summarise(whole, 0.95)[1]
    for name in ("excess_gap", "excess_gap_absolute"):
        assert remade["summary"][1][name]["mean"] == pytest.approx(wanted[name]["mean"])
        assert remade["summary"][1][name]["interval"] == pytest.approx(wanted[name]["interval"])
    assert remade["summary"][1]["directed"] is True
    assert remade["summary"][1]["excess_equalized_odds"]["mean"] is None
    assert "excess_gap_signed" not in remade["summary"][1]


def test_what_cannot_be_told_is_refused(remake: ModuleType):
    rows = rows_of([0.05, -0.05, 0.02], [0.3, 0.25, 0.3])
    with pytest.raises(ValueError, match="favours no group"):
        remake.poisoning(kept_of(rows, "configs/mix/poisoned.yaml"))
    # which of the first two leans which way, nothing says
    alike = rows_of([0.05, -0.05, 0.02], [0.3, 0.3, 0.3])
    with pytest.raises(ValueError, match="2 choices of signs"):
        remake.poisoning(kept_of(alike))
    other = kept_of(rows)
    other["summary"][1]["excess_gap_signed"]["mean"] += 0.01
    with pytest.raises(ValueError, match="0 choices of signs"):
        remake.poisoning(other)
    del other["summary"][1]["excess_gap_signed"]
    with pytest.raises(ValueError, match="no excess_gap_signed"):
        remake.poisoning(other)


def test_families_take_the_signed_difference_of_each_seed(remake: ModuleType):
    fields = {
        "kind": "diffusion",
        "kid": 0.1,
        "accuracy": 0.7,
        "bias_passed_on": 0.4,
        "property_error": 0.1,
    }
    rows = [
        {"family": "a", "seed": s, "excess_gap": 0.1, "excess_gap_signed": 0.3, **fields}
        for s in (0, 1)
    ]
    setting = {"generators": {}, "policy": "configs/mix/favour.yaml", "level": 0.95}
    remade = remake.families({"config": {"init_args": setting}, "rows": rows, "summary": []})
    assert [row["excess_gap"] for row in remade["rows"]] == [0.3, 0.3]
    assert [row["excess_gap_absolute"] for row in remade["rows"]] == [0.1, 0.1]
    (entry,) = remade["summary"]
    assert (entry["directed"], entry["excess_gap"]["mean"]) == (True, 0.3)
    assert entry["bias_error"]["mean"] == pytest.approx(0.6)


def test_signed_gaps_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [row | {"counts": [[[1, 2], [3, 4]]], "direction": 1} for row in rows_of([0.05], [0.3])]
    result = {
        "study": "s",
        "config": {},
        "command": "diffshare study --out /tmp/x --resume",
        "revision": "r",
    }
    result |= {
        "versions": {},
        "summary": [],
        "seconds": {"total": 1.0},
        "failed": {},
        "missing": [],
        "rows": rows,
    }
    (tmp_path / "results.json").write_text(json.dumps(result))
    monkeypatch.setattr(
        sys, "argv", ["keep_study.py", str(tmp_path), "--json", str(tmp_path / "kept.json")]
    )
    runpy.run_path(str(ROOT / "scripts" / "keep_study.py"), run_name="__main__")
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert kept["command"] == "diffshare study"
    assert [row[f"{GAP}_signed"] for row in kept["rows"]] == [0.05, 0.3]
    assert [row["direction"] for row in kept["rows"]] == [1, 1]
    assert "counts" not in kept["rows"][0]
