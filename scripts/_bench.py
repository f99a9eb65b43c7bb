"""What the benchmarks share: one row a figure, an aligned table on the screen, the same figures as JSON."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.storage import write_json  # noqa: E402


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        name: what was measured.
        value: the figure.
        unit: its unit, for instance ``"faces/s"``.
        ratio_to: what it is compared with, measured side by side in the same run; empty where with nothing.
        ratio: the figure divided by that of ``ratio_to``, or the other way round where less is better.
    """

    name: str
    value: float
    unit: str
    ratio_to: str = ""
    ratio: float | None = None


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def report(rows: Sequence[Row], json_file: str | Path | None = None) -> None:
    """Print the rows as a table and, where a file is named, write them to it as a JSON list."""
    header = [field.name for field in fields(Row)]
    cells = [
        [r.name, _short(r.value), r.unit, r.ratio_to, "" if r.ratio is None else _short(r.ratio)]
        for r in rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    for line in [header, *cells]:
        aligned = [
            c.rjust(w) if k in (1, 4) else c.ljust(w)
            for k, (c, w) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(aligned).rstrip())
    if json_file:
        write_json(json_file, [asdict(row) for row in rows])
