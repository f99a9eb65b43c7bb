"""Cells that a spreadsheet would run: written as they are, said, and harmless where that is asked for."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_release import random_ddpm

from diffshare.nets.tvae import RowDecoder
from diffshare.release.folder import write_release
from diffshare.release.table import SCHEMA, TableColumn, TableSchema
from diffshare.release.tables import escaped, formula_note, is_formula, write_table_samples
from diffshare.storage import write_json

FORMULA = "=cmd|' /C calc'!A0"
TABLE = TableSchema(
    (
        TableColumn("@name", "numeric", (), True, bounds=(-9.0, 9.0), cells=3),
        TableColumn("ill", "categorical", ("no", FORMULA)),
    ),
    "ill",
)


@pytest.mark.parametrize("cell", [FORMULA, "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-", "+x"])
def test_formulas(cell):
    assert is_formula(cell)
    assert escaped([cell]) == [f"'{cell}"]
    assert "would run as formulas" in str(formula_note(["a", cell]))


@pytest.mark.parametrize("cell", ["", "1", "-1", "-1e-30", "+5", "a=b", "'=1", " =1", "?", "<=50K"])
def test_other_cells(cell):
    assert not is_formula(cell)
    assert escaped([cell]) == [cell]
    assert formula_note([cell]) is None


@pytest.mark.parametrize("escape", [False, True])
def test_rows_with_and_without_escapes(tmp_path: Path, escape: bool):
    rows = np.array([[-3, 0], [4, 1]], np.float32)
    write_table_samples(tmp_path / "s", TABLE, rows, {}, escape=escape)
    lines = list(csv.reader((tmp_path / "s" / "samples.csv").read_text().splitlines()))
    mark = "'" if escape else ""
    assert lines == [[f"{mark}@name", "ill"], ["-3", "no"], ["4", f"{mark}{FORMULA}"]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of that table, untrained."""
    torch.manual_seed(0)

    def save(to: Path) -> None:
        RowDecoder(6, 1, 3, 4, 8, 1).save_pretrained(to / "decoder")
        write_json(to / SCHEMA, TABLE.to_json())

    fields = {
        "family": "tvae",
        "modality": "table",
        "columns": list(TABLE.names),
        "labels": ["no", FORMULA],
    }
    return write_release(tmp_path_factory.mktemp("m") / "model", fields | {"steps": 1}, save).folder


def test_sample_says_it_or_escapes_it(run_cli: Any, model: Path, tmp_path: Path):
    common = ("--model", model, "--count", 6)
    plain = run_cli("sample", *common, "--out", tmp_path / "plain")
    assert plain.code == 0, plain.err
    assert f"run as formulas, such as {ascii('@name')}" in plain.out
    assert "--escape-formulas" in plain.out
    escaped_ = run_cli("sample", *common, "--out", tmp_path / "escaped", "--escape-formulas")
    assert escaped_.code == 0, escaped_.err
    assert "formulas" not in escaped_.out
    text = [(tmp_path / name / "samples.csv").read_text() for name in ("plain", "escaped")]
    assert text[1] == text[0].replace(FORMULA, f"'{FORMULA}").replace("@name", "'@name")
    assert json.loads((tmp_path / "escaped" / "samples.json").read_text())["count"] == 6


def test_it_is_for_tables(run_cli: Any, tmp_path: Path):
    model = random_ddpm(tmp_path / "m", 8, steps=1)
    made = run_cli(
        "sample", "--model", model, "--count", 1, "--out", tmp_path / "s", "--escape-formulas"
    )
    assert made.code == 2
    assert "--escape-formulas is for cells of a table" in made.err
    assert not (tmp_path / "s").exists()
