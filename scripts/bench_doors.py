"""How fast records are opened, and in how much memory: tables against pandas and pyarrow.

python scripts/bench_doors.py [--rows 1000000] [--columns 20] [--rounds 3] [--json FILE]

A table of numbers with few and with many decimals, whole numbers and categories is written as CSV and as Parquet and
read in fresh interpreters, one after the other in each round. Times are processor time of reading alone (user and
system, all threads), the least of the rounds: what else the machine does matters little. Memory is the peak of the
process above what it took before reading (Linux), against the size of the table as pandas or pyarrow holds it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _bench import Row, report

ROOT = Path(__file__).resolve().parents[1]
# measured in a process of its own; what is imported lazily is imported before
MEASURED = """
import json, resource
import numpy as np, pandas as pd, pyarrow.compute, pyarrow.csv, pyarrow.parquet
from diffshare.data.tablefile import TableFile
pd.DataFrame({{"a": ["x"]}})
def peak():
    # what getrusage tells is the starting process's where that had more
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
held, before = peak(), resource.getrusage(resource.RUSAGE_SELF)
table = {code}
after = resource.getrusage(resource.RUSAGE_SELF)
seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps([seconds, peak() - held, {size}]))
"""
READERS = {  # name: code, and bytes of what was read
    "CSV, pandas' C reader": (
        "pd.read_csv({csv!r}, engine='c')",
        "int(table.memory_usage(deep=True).sum())",
    ),
    "CSV, read and coded": ("TableFile({csv!r})\ntable.index()", "table._table.values.nbytes"),
    "Parquet, pyarrow": ("pyarrow.parquet.read_table({parquet!r})", "table.nbytes"),
    "Parquet, read and coded": (
        "TableFile({parquet!r})\ntable.index()",
        "table._table.values.nbytes",
    ),
}
BESIDE = {
    "CSV, read and coded": "CSV, pandas' C reader",
    "Parquet, read and coded": "Parquet, pyarrow",
}


def write_tables(folder: Path, rows: int, columns: int) -> dict[str, str]:
    """The same table in both formats: of five columns two are categories."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    rng = np.random.default_rng(0)
    words = np.array(["alpha", "beta", "gamma delta", "x"])
    kinds = [
        lambda: rng.normal(size=rows).round(3),
        lambda: words[rng.integers(0, 4, rows)],
        lambda: rng.integers(0, 100, rows),
        lambda: words[rng.integers(0, 2, rows)],
        lambda: rng.normal(size=rows),
    ]
    table = pa.table({f"c{i}": kinds[i % len(kinds)]() for i in range(columns)})
    csv.write_csv(table, folder / "t.csv")
    parquet.write_table(table, folder / "t.parquet")
    return {"csv": str(folder / "t.csv"), "parquet": str(folder / "t.parquet")}


def measure(code: str, size: str) -> np.ndarray:
    """Seconds, peak of memory and size of what was read, both in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(code=code, size=size)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return np.array(json.loads(done.stdout))


def table_rows(rows: int, columns: int, rounds: int) -> list[Row]:
    """The figures of tables."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_tables(Path(folder), rows, columns)
        codes = {name: (code.format(**files), size) for name, (code, size) in READERS.items()}
        runs = {name: [] for name in READERS}
        for _ in range(rounds):
            for name, (code, size) in codes.items():
                runs[name].append(measure(code, size))
    least = {name: np.min(values, axis=0) for name, values in runs.items()}
    figures = []
    for name, (seconds, _, _) in least.items():
        other = BESIDE.get(name, "")
        ratio = seconds / least[other][0] if other else None
        figures.append(Row(f"{name}: time", seconds, "s", f"{other}: time" if other else "", ratio))
    for name, (_, peak, size) in least.items():
        other = BESIDE.get(name, "")
        decoded = least[other][2] if other else size
        told = f"{other}: the table in memory" if other else "the table in memory"
        figures.append(Row(f"{name}: peak memory", peak / 1e6, "MB", told, peak / decoded))
    return figures


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report(table_rows(options.rows, options.columns, options.rounds), options.json)


if __name__ == "__main__":
    main()
