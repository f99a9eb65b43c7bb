"""Tables for the tests of audits: sex shows in height and ward, income in hours; how they depend is chosen."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

COLUMNS = {
    "height": "numeric",
    "ward": "categorical",
    "hours": "numeric",
    "sex": ["f", "m"],
    "income": ["low", "high"],
}
WITH = ("--sensitive", "sex", "--target", "income")
TABLE = np.array([[0.35, 0.15], [0.25, 0.25]])  # groups f, m in rows, classes low, high in columns


def write_rows(
    path: Path,
    count: int,
    seed: int,
    table: np.ndarray = TABLE,
    without: tuple[str, ...] = (),
    apart: float = 13.0,
    middle: float = 171.5,
) -> Path:
    """``count`` rows whose groups and classes have the shares of ``table``, exactly.

    Args:
        path: of the file.
        count: rows.
        seed: of all but the counts.
        table: shares of each group and class.
        without: columns to leave out.
        apart: centimetres between the mean heights of the groups; 0 makes the group unreadable.
        middle: centimetres, between the two.
    """
    rng = np.random.default_rng(seed)
    counts = np.rint(table * count).astype(int)
    cells = rng.permutation(np.repeat(np.arange(4), counts.ravel()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(
            stream, [c for c in COLUMNS if c not in without], extrasaction="ignore"
        )
        writer.writeheader()
        for s, y in zip(cells // 2, cells % 2, strict=True):
            height = (
                f"{rng.normal(middle + apart * (s - 0.5), 6):.1f}" if rng.random() > 0.03 else "?"
            )
            row = {
                "height": height,
                "ward": "abcd"[rng.integers(4)],
                "hours": f"{rng.normal(35 + 10 * y, 6):.0f}",
            }
            writer.writerow(row | {"sex": "fm"[s], "income": ("low", "high")[y]})
    return path


def table_source(folder: Path, count: int = 1500, seed: int = 0, **options: Any) -> Path:
    """A source file of such rows, all of them auxiliary."""
    file = write_rows(folder / "reference.csv", count, seed, **options)
    arguments = {"path": str(file), "columns": COLUMNS, "shares": [0.0, 1.0, 0.0]}
    made = folder / "reference.yaml"
    made.write_text(
        yaml.safe_dump({"class_path": "diffshare.data.table.CSVTable", "init_args": arguments})
    )
    return made


def against(folder: Path, name: str) -> tuple[Any, ...]:
    """Arguments of ``audit`` for one of the samples folders of ``folder`` and the reference beside them."""
    return ("--samples", folder / name, "--reference", folder / "reference.yaml", *WITH)


def declare(path: Path, value: Any) -> Path:
    """A file that declares a table, as its suffix says."""
    path.write_text(json.dumps(value) if path.suffix == ".json" else yaml.safe_dump(value))
    return path
