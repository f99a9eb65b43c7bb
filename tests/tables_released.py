"""Releases of tables whose weights mean nothing: one of format 1, as it was written before, and one of today."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from diffusers import DDPMScheduler

from diffshare.data.table import CSVTable
from diffshare.generators.rows import Rows
from diffshare.nets.tabular import TableDenoiser
from diffshare.release.disclosure import fit_schema
from diffshare.release.folder import write_release
from diffshare.release.table import SCHEMA, TableSchema
from diffshare.storage import write_json

KINDS: dict[str, Any] = {
    "age": "numeric",
    "dose": "numeric",
    "ward": "categorical",
    "ill": ["no", "yes"],
}
RECORDS = 3000


def write_table(path: Path, share: float = 0.37, count: int = RECORDS) -> Path:
    """Records of which a share is 60 years or older; every twelfth dose is missing, three are in the ward 'rare'."""
    rng = np.random.default_rng(0)
    lines = [",".join(KINDS)]
    for i in range(count):
        age = rng.integers(60, 90) if i < round(share * count) else rng.integers(20, 60)
        dose = f"{rng.normal():.3f}" if i % 12 else "?"
        ward = "rare" if i in (10, 20, 30) else "ab"[int(rng.random() < 0.3)]
        lines.append(f"{age},{dose},{ward},{('no', 'yes')[int(rng.integers(2))]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def source_yaml(table: Path) -> Path:
    """A source of that table, all of it auxiliary."""
    arguments = {"path": str(table), "columns": KINDS, "shares": [0.0, 1.0, 0.0]}
    file = table.with_suffix(".yaml")
    file.write_text(
        yaml.safe_dump({"class_path": "diffshare.data.table.CSVTable", "init_args": arguments})
    )
    return file


def schema_of(table: Path) -> TableSchema:
    """The schema of today of its records."""
    source = CSVTable(str(table), KINDS)
    return fit_schema(source.read(np.arange(len(source.index()))), source.columns, "ill", "?")


def first_schema(table: Path) -> dict[str, Any]:
    """The schema of format 1: a quantile of each numeric column for 30 records, the extremes among them."""
    source = CSVTable(str(table), KINDS)
    x = source.read(np.arange(len(source.index()))).astype(np.float64)
    columns: list[dict[str, Any]] = []
    for i, column in enumerate(source.columns):
        if column.kind == "categorical":
            columns.append(
                {"name": column.name, "kind": "categorical", "categories": list(column.categories)}
            )
            continue
        present = x[~np.isnan(x[:, i]), i]
        quantiles = np.quantile(present, np.linspace(0, 1, len(present) // 30)).tolist()
        flags = {"integer": column.integer, "missing": len(present) < len(x)}
        columns.append({"name": column.name, "kind": "numeric", **flags, "quantiles": quantiles})
    return {"target": "ill", "mark": "?", "columns": columns}


def release_of(folder: Path, schema: TableSchema, written: dict[str, Any]) -> Path:
    """A release with random weights and that file as its schema."""
    torch.manual_seed(0)
    network = TableDenoiser(Rows(schema).features, 3, width=8, layers=1)

    def save(to: Path) -> None:
        network.save_pretrained(to / "denoiser")
        DDPMScheduler(
            20, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"
        ).save_pretrained(to / "scheduler")
        write_json(to / SCHEMA, written)

    fields = {
        "family": "tabular",
        "modality": "table",
        "columns": list(KINDS),
        "labels": ["no", "yes"],
        "steps": 3,
    }
    write_release(folder, fields | {"label_frequencies": [0.5, 0.5]}, save)
    return folder


def make_first(folder: Path, table: Path) -> Path:
    """A release of format 1."""
    from diffshare.release.table import parse_schema

    written = first_schema(table)
    release_of(folder, parse_schema(written, form=1), written)
    card = json.loads((folder / "diffshare.json").read_text()) | {"format": 1}
    del card["privacy"]
    card["files"][SCHEMA] = hashlib.sha256((folder / SCHEMA).read_bytes()).hexdigest()
    (folder / "diffshare.json").write_text(json.dumps(card))
    return folder


def make_today(folder: Path, table: Path) -> Path:
    """A release of today."""
    schema = schema_of(table)
    return release_of(folder, schema, schema.to_json())
