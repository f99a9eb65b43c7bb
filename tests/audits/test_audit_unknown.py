"""Samples whose group is not known: their number is told, and ``clean`` only stays if no group of theirs hurts."""

import csv
from pathlib import Path

import numpy as np
import pytest
from audited import TABLE, WITH, against, declare, write_rows

from diffshare.audits.poisoning.declaration import declaration_test
from diffshare.audits.poisoning.verdict import Terms, judge
from diffshare.stats.association import Reference, compare, completed, contrasts
from diffshare.stats.detection import poisoned_table
from diffshare.stats.shares import counted_shares

KNOWN = Reference(np.ones((2, 2)), known=True)
EVEN = np.full((2, 2), 500)


def hiding(folder: Path, mark: str, clean: int = 700, poisoned: int = 2000) -> Path:
    """Clean rows, and poisoned ones whose group is ``mark``."""
    write_rows(folder / "samples.csv", clean, 1)
    with write_rows(folder / "more.csv", poisoned, 2, poisoned_table(TABLE, 0.6)).open(
        newline=""
    ) as stream:
        rows = list(csv.DictReader(stream))
    with (folder / "samples.csv").open("a", newline="") as stream:
        csv.DictWriter(stream, list(rows[0])).writerows(row | {"sex": mark} for row in rows)
    return folder


@pytest.mark.parametrize("mark", ["?", "neither"])
def test_poisoned_rows_do_not_hide_behind_an_unknown_group(audit, folder, tmp_path_factory, mark):
    made = hiding(tmp_path_factory.mktemp("hiding"), mark)
    found = audit("--samples", made, *against(folder, "clean")[2:], "--gap-repeats", "0")
    assert (found["verdict"], found["queries"]) == ("inconclusive", 2700)
    assert (found["unknown"]["samples"], found["unknown"]["decides"]) == (2000, True)
    assert 0.7 < found["unknown"]["share"] < 0.8
    assert any("the sex of 2000 samples is not known" in note for note in found["notes"])
    assert "the group of 2000 samples is not known" in found["advice"]


def test_the_same_beside_a_declared_table_alone(audit, refused, tmp_path_factory):
    made = hiding(tmp_path_factory.mktemp("hiding"), "?")
    file = declare(
        made / "table.yaml", {"f": {"low": 35, "high": 15}, "m": {"low": 25, "high": 25}}
    )
    found = audit("--samples", made, "--declared", file, *WITH)
    assert (found["verdict"], found["declaration"]["holds"]) == ("inconclusive", None)
    assert found["unknown"]["samples"] == 2000
    assert "the group of 2000 samples is not known" in found["declaration"]["reason"]
    with (made / "samples.csv").open("a") as stream:
        stream.write("170,a,40,f,?\n")
    assert "1 samples have no 'income'" in refused("--samples", made, "--declared", file, *WITH)


def test_few_unknown_ones_leave_a_verdict_and_none_leave_no_trace():
    shares = counted_shares(EVEN)
    few = judge(shares, KNOWN, Terms(), unknown=np.array([5, 5]))
    assert few.verdict == "clean"
    assert few.unknown == (10, pytest.approx(5 / 1005), 0, False)
    many = [
        judge(shares, KNOWN, Terms(), unknown=np.array([n, n])).verdict
        for n in (10, 50, 100, 200, 400, 4000)
    ]
    assert many == sorted(many)
    assert (many[0], many[-1]) == ("clean", "inconclusive")
    none = judge(shares, KNOWN, Terms(), unknown=np.zeros(2, int))
    assert (none.verdict, none.unknown) == ("clean", None)
    poisoned = counted_shares(np.array([[800, 200], [200, 800]]))
    assert judge(poisoned, KNOWN, Terms(), unknown=np.array([900, 900])).verdict == "poisoned"
    assert (
        declaration_test(shares, np.ones((2, 2)), Terms(), 1, unknown=np.array([400, 400])).holds
        is None
    )


def test_the_bounds_are_those_of_all_ways_to_fill_the_cells():
    """Three groups and classes: every way to give each class's unknown samples to one group, counted anew."""
    rng = np.random.default_rng(0)
    counts, unknown = rng.integers(50, 90, (3, 3)), np.array([7, 0, 12])
    reference = Reference(np.ones((3, 3)), known=True)
    filled = []
    for ways in np.ndindex(3, 3, 3):
        full = counts.copy()
        full[list(ways), range(3)] += unknown
        filled.append([a.difference.estimate for a in compare(counted_shares(full), reference)])
    for i, contrast in enumerate(contrasts(3, 3)):
        low, high = completed(counted_shares(counts), unknown, reference, contrast)
        every = [row[i] for row in filled]
        assert low.difference.estimate == pytest.approx(min(every), abs=1e-6)
        assert high.difference.estimate == pytest.approx(max(every), abs=1e-6)
