"""A samples folder of rows: ``samples.csv`` and ``samples.json``."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffshare.errors import UserError
from diffshare.received import open_regular, shown
from diffshare.release.generator import MOST_SAMPLES
from diffshare.release.info import CSV, INFO, SAMPLES
from diffshare.release.table import TableColumn, TableSchema
from diffshare.storage import atomic_folder, write_json

MAX_CSV = 512 << 20  # bytes of a received samples.csv
# lines: a reader keeps a name for each row, which takes more than a short row itself
MAX_ROWS = MOST_SAMPLES + 1
MAX_LINE = 128 << 10  # bytes: as long as the csv module lets one cell be
_READ = 1 << 20


ESCAPE_HELP = (
    "Put ' before cells of samples.csv that a spreadsheet would run as a formula (=, +, -, @): to look at them in one. "
    "Other verbs read such cells as other categories."
)


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet may take a cell for a formula, which can start programs; a number is none."""
    if not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False


def escaped(cells: Iterable[str]) -> list[str]:
    """Cells with ``'`` before those that are formulas: a spreadsheet shows them as text."""
    return [f"'{cell}" if is_formula(cell) else cell for cell in cells]


def formula_note(cells: Iterable[str]) -> str | None:
    """A note that some of the texts of a table are formulas; None where none is."""
    cell = next((cell for cell in cells if is_formula(cell)), None)
    if cell is None:
        return None
    return (
        f"samples.csv has cells that a spreadsheet would run as formulas, such as {shown(cell)}: do not open "
        f"it in one, or write it for that with `escape_formulas`"
    )


def texts(schema: TableSchema) -> list[str]:
    """The texts that cells of a table can have, and its header."""
    return [
        schema.mark,
        *schema.names,
        *(text for column in schema.columns for text in column.categories),
    ]


def write_table_samples(
    folder: str | Path,
    schema: TableSchema,
    x: np.ndarray,
    info: Mapping[str, Any],
    *,
    overwrite: bool = False,
    escape: bool = False,
) -> None:
    """Write a samples folder of rows as a whole.

    ``samples.csv`` is UTF-8 with a header of the source's column names, the target's among them. A categorical cell is
    the text of its category, a missing cell the source's mark, a whole number has no decimal point, a number with a
    fixed number of decimals has as many as the source's. The source's description reads the same cells back.

    Args:
        folder: where to.
        schema: what the columns are.
        x: rows as the model makes them, float32, N x columns.
        info: JSON for ``samples.json``; ``count`` is added.
        overwrite: replace a samples folder.
        escape: see :func:`escaped`.

    Raises:
        UserError: rows that do not fit the schema, or a folder that cannot be written.
    """
    if x.ndim != 2 or x.shape[1] != len(schema.columns) or not len(x):
        raise UserError(f"samples: x must be N x {len(schema.columns)} with N >= 1, not {x.shape}")
    columns = [table_cells(x[:, i], column, schema.mark) for i, column in enumerate(schema.columns)]
    names = list(schema.names)
    if escape:
        columns, names = [escaped(cells) for cells in columns], escaped(names)
    with atomic_folder(folder, SAMPLES, overwrite=overwrite) as temporary:
        with (temporary / CSV).open("w", encoding="utf-8", newline="") as stream:
            spaced = needs_quotes(texts(schema))
            writer = csv.writer(
                stream, lineterminator="\n", quoting=csv.QUOTE_ALL if spaced else csv.QUOTE_MINIMAL
            )
            writer.writerow(names)
            writer.writerows(zip(*columns, strict=True))
        write_json(temporary / INFO, {"count": len(x)} | dict(info))


def needs_quotes(texts: Iterable[str]) -> bool:
    """Whether one of these cells begins with a space, which readers skip where no quotes stand around it."""
    return any(text.startswith(" ") for text in texts)


def check_rows_file(path: Path) -> None:
    """Look at the sizes of a received ``samples.csv`` before anything of it is parsed.

    Reading it takes then at most some 8 bytes a byte of the file and 400 bytes a line, whatever stands in it. Lines
    that a quoted cell spans count as lines.

    Raises:
        UserError: no such file, a link, no regular file, or more bytes, more lines or a longer line than one may have.
    """
    where, lines, length = shown(str(path), 200)[1:-1], 0, 0
    stream, _ = open_regular(path, MAX_CSV)
    with stream:
        while chunk := stream.read(_READ):
            first, *others = chunk.split(b"\n")
            lengths = [length + len(first), *map(len, others)]
            lines, length = lines + len(others), lengths[-1]
            if max(lengths) > MAX_LINE:
                raise UserError(
                    f"{where} has a line of more than {MAX_LINE} bytes, which is no row: get it again"
                )
            if lines > MAX_ROWS:
                raise UserError(
                    f"{where} has more than {MAX_ROWS} lines: give a part of it, with its header"
                )


def table_cells(values: np.ndarray, column: TableColumn, mark: str) -> list[str]:
    """The texts of a column's cells.

    Args:
        values: float32, N.
        column: what they are.
        mark: text of a missing cell.

    Raises:
        UserError: a number that is no category, or a value that is missing where none can be.
    """
    missing = np.isnan(values)
    if column.kind == "categorical":
        codes = np.where(missing, -1, values)
        if np.any((codes < 0) | (codes >= len(column.categories)) | (codes != np.floor(codes))):
            raise UserError(
                f"samples: column '{column.name}' holds a number that is none of its {len(column.categories)} "
                "categories"
            )
        return [column.categories[code] for code in codes.astype(np.int64)]
    if not np.isfinite(values[~missing]).all() or (missing.any() and not column.missing):
        raise UserError(f"samples: column '{column.name}' holds a value that is not finite")
    return [
        mark if gone else _number_text(value, column, mark)
        for value, gone in zip(values, missing, strict=True)
    ]


def _number_text(value: np.float32, column: TableColumn, mark: str) -> str:
    """A number as the source's cells have it, but never the mark of a missing cell."""
    if column.decimals is not None:
        text = f"{value:.{column.decimals}f}"
        text = text.lstrip("-") if float(text) == 0 else text
    elif column.integer:
        text = str(int(value))
    else:
        text = str(value)  # the shortest that float32 reads back
    return f"{value:.9e}" if text == mark else text
