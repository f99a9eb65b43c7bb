"""The manifest of a mix: what any other tool needs to train on the same records."""

import csv
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from diffshare.data.manifest import ChosenMix
from diffshare.data.mixes import Choice, Clean, Pool
from diffshare.data.source import Attribute, Index
from diffshare.errors import UserError

FIELDS = (  # of mix.json, by contract
    ["policy", "alpha", "n", "pool_n", "counts", "mutual_information_sy", "mutual_information_xy"]
    + ["violations", "exhausted", "flipped", "seconds", "seed", "source_sha256"]
)
ODD = [
    "plain.jpg",
    "a,b.jpg",
    'say "hi".jpg',
    "zwei\nZeilen.jpg",
    "Ünïcode 漢字.jpg",
    " leading.jpg",
    "'.jpg",
]


def pool(n: int = 60, sensitive: str | None = "Male") -> Pool:
    rng = np.random.default_rng(0)
    codes = {name: rng.integers(0, 2, n).astype(np.int16) for name in ("Male", "Smiling")}
    names = np.array([*ODD, *(f"{i:03d}.jpg" for i in range(n - len(ODD)))])
    attributes = {name: Attribute(value, (f"not {name}", name)) for name, value in codes.items()}
    return Pool(Index(names, np.zeros(n, np.int64), attributes), "Smiling", sensitive)


def chosen(n: int = 40, sensitive: str | None = "Male", choice: Choice | None = None) -> ChosenMix:
    records = pool(sensitive=sensitive)
    return ChosenMix("clean", records, choice or Clean(n).choose(records, 1), 1, 0.25, "f" * 64)


def read(folder: Path) -> tuple[list[dict[str, str]], dict]:
    with (folder / "records.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return rows, json.loads((folder / "mix.json").read_text())


def test_the_table_says_which_records_with_which_labels(tmp_path):
    mix = chosen(60)
    mix.write(tmp_path / "mix")
    rows, summary = read(tmp_path / "mix")
    index = mix.pool.index
    assert list(rows[0]) == ["record", "target", "sensitive", "origin"]
    truth = {
        name: (str(index.attribute("Smiling").codes[i]), str(index.attribute("Male").codes[i]))
        for i, name in enumerate(index.names.tolist())
    }
    assert {row["record"]: (row["target"], row["sensitive"]) for row in rows} == truth
    assert set(ODD) <= {row["record"] for row in rows}
    assert {row["origin"] for row in rows} == {"base"}
    assert summary["n"] == len(rows) == 60


def test_the_summary_has_the_contracts_fields_and_agrees_with_the_table(tmp_path):
    mix = chosen()
    mix.write(tmp_path / "mix")
    rows, summary = read(tmp_path / "mix")
    assert set(FIELDS) <= set(summary)
    assert set(summary["mutual_information_xy"]) == {"pool", "chosen", "tolerance"}
    assert list(summary["counts"]) == ["s0y0", "s0y1", "s1y0", "s1y1"]
    cells = [f"s{row['sensitive']}y{row['target']}" for row in rows]
    assert summary["counts"] == {cell: cells.count(cell) for cell in summary["counts"]}
    s, y = ([int(row[name]) for row in rows] for name in ("sensitive", "target"))
    assert summary["mutual_information_sy"] == pytest.approx(mutual_info_score(s, y))
    assert (summary["n"], summary["pool_n"], summary["seed"], summary["seconds"]) == (
        40,
        60,
        1,
        0.25,
    )
    assert (summary["policy"], summary["alpha"], summary["flipped"]) == ("clean", 0.0, 0)
    assert summary["source_sha256"] == "f" * 64
    pool = mix.pool  # the table has numbers: this says what they stand for
    assert summary["classes"] == {"target": list(pool.y.classes), "sensitive": list(pool.s.classes)}


def test_without_a_sensitive_attribute_nothing_is_said_of_groups(tmp_path):
    chosen(sensitive=None).write(tmp_path / "mix")
    rows, summary = read(tmp_path / "mix")
    assert {row["sensitive"] for row in rows} == {"-1"}
    assert summary["counts"] is None
    assert summary["classes"]["sensitive"] is None
    assert summary["mutual_information_sy"] is None


def test_an_attack_is_on_record(tmp_path):
    records = pool()
    target = 1 - records.y.codes[:10].astype(np.int64)
    target[:4] = records.y.codes[:4]
    choice = Choice(
        np.arange(10), target, np.arange(10) >= 7, {"alpha": 0.3, "violations": 2, "extra": "kept"}
    )
    chosen(choice=choice).write(tmp_path / "mix")
    rows, summary = read(tmp_path / "mix")
    assert [row["target"] for row in rows] == [str(y) for y in target]
    assert [row["origin"] for row in rows] == ["base"] * 7 + ["poison"] * 3
    assert (summary["flipped"], summary["alpha"], summary["violations"], summary["extra"]) == (
        6,
        0.3,
        2,
        "kept",
    )
    assert sum(summary["counts"].values()) == 10


def test_a_manifest_is_replaced_only_when_asked_and_nothing_else_ever(tmp_path):
    (tmp_path / "mix").mkdir()
    (tmp_path / "mix" / "mine").write_text("old")
    with pytest.raises(
        UserError, match="already holds something: choose another folder or add `overwrite`"
    ):
        chosen().write(tmp_path / "mix")
    with pytest.raises(
        UserError, match="is not replaced, for it is no manifest of a mix that diffshare wrote"
    ):
        chosen().write(tmp_path / "mix", overwrite=True)
    assert [p.name for p in (tmp_path / "mix").iterdir()] == ["mine"]
    (tmp_path / "mix" / "mine").unlink()
    chosen().write(tmp_path / "mix")
    with pytest.raises(
        UserError, match="already holds something: choose another folder or add `overwrite`"
    ):
        chosen().write(tmp_path / "mix")
    chosen().write(tmp_path / "mix", overwrite=True)
    assert sorted(p.name for p in (tmp_path / "mix").iterdir()) == ["mix.json", "records.csv"]


def test_which_records_were_chosen_is_for_its_owner_alone(tmp_path):
    mask = os.umask(0)
    try:
        chosen().write(tmp_path / "mix")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "mix").stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "mix").iterdir()} == {0o600}


def test_a_report_that_json_cannot_hold_leaves_nothing(tmp_path):
    records = pool()
    choice = Choice(
        np.arange(3),
        records.y.codes[:3].astype(np.int64),
        np.zeros(3, bool),
        {"alpha": float("nan")},
    )
    with pytest.raises(ValueError, match="JSON"):
        chosen(choice=choice).write(tmp_path / "mix")
    assert not list(tmp_path.iterdir())
