"""Samples labelled by hand: a sheet of pictures with numbers, a table to fill in, and reading it back."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from diffshare.data.csvfile import read_list
from diffshare.errors import UserError
from diffshare.layout import Layout
from diffshare.release.grid import image_grid
from diffshare.storage import atomic_folder

SHEET, LABELS = "sheet.png", "labels.csv"
HEADER = ["sample", "label"]
UNFILLED_BYTES = 1 << 20  # of a table that is read to see whether anything was filled in
# images in a row; pixels between them, room for a number; least pixels a side
COLUMNS, SEPARATOR, TILE = (
    10,
    18,
    96,
)


def _files(folder: Path) -> tuple[str, ...] | None:
    """A sheet is its writer's only as long as nobody has filled in a label."""
    table = folder / LABELS
    if table.is_symlink() or not table.is_file() or table.stat().st_size > UNFILLED_BYTES:
        return None
    lines = table.read_bytes().split()
    unfilled = lines[:1] == [",".join(HEADER).encode()] and all(
        re.fullmatch(rb"\d+,", line) for line in lines[1:]
    )
    return (SHEET, LABELS) if unfilled else None


LAYOUT = Layout("label sheet without labels", _files)


def write_sheet(
    folder: Path,
    x: np.ndarray,
    count: int,
    seed: int,
    *,
    numbers: np.ndarray | None = None,
    overwrite: bool = False,
) -> None:
    """Write ``sheet.png``, pictures with the numbers of their samples, and ``labels.csv`` with these to be filled in.

    Args:
        folder: where to.
        x: samples, uint8, N x H x W x C.
        count: how many to label, drawn at random.
        seed: of the draw.
        numbers: by which the samples are known, N different ones; 0 to N - 1 where None.
        overwrite: replace a sheet on which no label was filled in yet.

    Raises:
        UserError: a count that is not 1 to N, or a folder that cannot be written.
    """
    if not 1 <= count <= len(x):
        raise UserError(f"`label_count` is {count}: choose 1 to {len(x)}, the samples there are")
    numbers = np.arange(len(x)) if numbers is None else numbers
    chosen = np.random.default_rng(seed).choice(len(x), count, replace=False)
    chosen = chosen[numbers[chosen].argsort()]
    columns = min(COLUMNS, count)
    sheet = image_grid(x[chosen], columns, tile=TILE, separator=SEPARATOR)
    picture = Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet).convert("RGB")
    pen = ImageDraw.Draw(picture)
    wide, high = (
        (sheet.shape[1] - SEPARATOR) // columns,
        (sheet.shape[0] - SEPARATOR) // -(-count // columns),
    )
    for i, number in enumerate(numbers[chosen].tolist()):
        pen.text(
            (SEPARATOR + i % columns * wide, 3 + i // columns * high),
            str(number),
            fill=(255, 255, 255),
        )
    with atomic_folder(folder, LAYOUT, overwrite=overwrite) as temporary:
        picture.save(temporary / SHEET)
        with (temporary / LABELS).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(HEADER)
            writer.writerows([number, ""] for number in numbers[chosen].tolist())


def read_labels(path: Path, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read a filled-in table; lines without a label are left out.

    Args:
        path: CSV with the columns ``sample`` (number of the sample) and ``label`` (1: has the property, 0: has not).
        numbers: by which the N samples are known, in their order.

    Returns:
        positions among the N, int64, n, and labels, bool, n.

    Raises:
        UserError: no such table, a label that is neither 0 nor 1, a sample that is not there or comes twice.
    """
    places = {str(number): place for place, number in enumerate(numbers.tolist())}
    read = read_list(path, "give the table of a label sheet")
    if [cell.strip() for cell in next(read, ([], 1))[0]] != HEADER:
        raise UserError(
            f"{path}: the first line must be {','.join(HEADER)}, as in the table of a label sheet"
        )
    rows: dict[int, str] = {}
    for cells, line in read:
        place, label = _row(path, line, [cell.strip() for cell in cells], places)
        if place in rows:
            raise UserError(f"{path}, line {line}: sample {numbers[place]} comes twice; keep one")
        rows[place] = label
    filled = {place: label for place, label in rows.items() if label}
    return np.array(list(filled), np.int64), np.array(
        [label == "1" for label in filled.values()], bool
    )


def _row(path: Path, line: int, cells: list[str], places: Mapping[str, int]) -> tuple[int, str]:
    place = places.get(cells[0].lstrip("0") or "0") if len(cells) == 2 and cells[0] else None
    if place is None:
        raise UserError(
            f"{path}, line {line}: expected a sample's number, one of the {len(places)} that are read (`queries` "
            "and `seed` as when the sheet was written), and its label"
        )
    if cells[1] not in ("", "0", "1"):
        raise UserError(
            f"{path}, line {line}: label {cells[1]!r:.40} must be 1 (has the property), 0 or empty"
        )
    return place, cells[1]
