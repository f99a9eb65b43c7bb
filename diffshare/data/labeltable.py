"""Tables of records that lie beside pictures, read whole: CSV and its like, JSON, parquet, CelebA's text files.

A column is kept as codes and the different texts that these stand for, so that many columns of a million rows fit into
memory. Nothing is asked of a cell here: which column names the files is found by looking, see ``labelled.py``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffshare.classes import in_order, is_number
from diffshare.data.coding import MAX_CLASSES
from diffshare.data.csvfile import read_blocks, read_header
from diffshare.data.images import SUFFIXES
from diffshare.data.source import Attribute, open_data
from diffshare.errors import UserError
from diffshare.received import read_regular, shown

KINDS = (".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet")
FILE = "file_name"
MAX_TEXT = 512 << 20  # bytes of a text file that is read whole
_DEEPEST = 4  # objects of JSON within each other


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        codes: int32, N: places in ``cells``; -1 where a cell is empty.
        cells: the different texts.
    """

    codes: np.ndarray
    cells: list[str]

    def texts(self) -> list[str]:
        """The cells, N; empty where not known."""
        if np.array_equal(self.codes, np.arange(len(self.cells))):
            return self.cells
        table = [*self.cells, ""]
        return [table[code] for code in self.codes.tolist()]

    def take(self, rows: np.ndarray) -> "Column":
        """The column at these rows; a row of -1 has no cell."""
        return Column(np.where(rows < 0, -1, self.codes[rows]), self.cells)

    def renamed(self, names: Mapping[str, str]) -> "Column":
        """The column with other texts for its cells; those of one text fall together, an empty one is not known."""
        texts = [names.get(cell, cell) for cell in self.cells]
        places = _Places()
        codes = np.array([*(places[text] for text in texts), -1], np.int32)
        return Column(codes[self.codes], places.cells())

    def numbers(self) -> np.ndarray | None:
        """The cells as float64, N, NaN where not known; None where one is no number or all are unknown."""
        if not self.cells or not all(map(is_number, self.cells)):
            return None
        return np.array([*map(float, self.cells), np.nan])[self.codes]

    def attribute(self) -> Attribute | None:
        """The column as an attribute; None where it has no class or more than ``MAX_CLASSES``."""
        if not 0 < len(self.cells) <= MAX_CLASSES:
            return None
        classes = in_order(self.cells)
        place = {name: code for code, name in enumerate(classes)}
        codes = np.array([*(place[cell] for cell in self.cells), -1], np.int16)
        return Attribute(codes[self.codes], tuple(classes))


@dataclass(frozen=True)
class Table:
    """A table that was read.

    Attributes:
        path: its file.
        columns: by name, N rows.
        lines: number of the line at which each row begins (of the row, where the file has no lines), N.
        signed: its cells are -1 and 1 and say whether a record has what the column is called.
    """

    path: Path
    columns: dict[str, Column]
    lines: Sequence[int]
    signed: bool = False

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, row: int) -> str:
        """File and line of a row, for instance ``metadata.csv:17``."""
        return f"{self.path}:{self.lines[row]}"


class _Places(dict[str, int]):
    """Gives each new text the next place; the empty one has none."""

    def __init__(self) -> None:
        super().__init__({"": -1})

    def __missing__(self, cell: str) -> int:
        place = self[cell] = len(self) - 1
        return place

    def cells(self) -> list[str]:
        """The texts in the order of their places."""
        return list(self)[1:]


class _Gather:
    """A column that comes in pieces."""

    def __init__(self) -> None:
        self.places = _Places()
        self.blocks: list[np.ndarray] = []

    def add(self, cells: Sequence[str]) -> None:
        codes = map(self.places.__getitem__, cells)
        self.blocks.append(np.fromiter(codes, np.int32, len(cells)))

    def column(self) -> Column:
        return Column(np.concatenate(self.blocks), self.places.cells())


def column_of(cells: Sequence[str]) -> Column:
    """These texts as a column."""
    gather = _Gather()
    gather.add(cells)
    return gather.column()


def read_table(path: Path) -> Table:
    """Read a table of records; the kind is told by the ending of its name.

    Args:
        path: ``.csv``, ``.tsv``, ``.txt`` (separated by blanks), ``.jsonl``, ``.json`` or ``.parquet``.

    Raises:
        UserError: no such file, another ending, no records, or a file that is malformed (line or row are named).
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise UserError(f"{path}: a table of labels ends with {', '.join(KINDS)}; save it as one")
    if not path.is_file():
        raise UserError(f"no table {path}: check its name")
    if kind == ".parquet":
        from diffshare.data.parquetfile import parquet_cells

        return _gathered(path, parquet_cells(path))
    if kind == ".jsonl":
        return _of_objects(path, _json_lines(path))
    if kind == ".json":
        return _of_objects(path, _json_records(path))
    delimiter = "\t" if kind == ".tsv" else _delimiter(path)
    if kind == ".txt" and delimiter == " ":
        return _blank_separated(path)
    header = read_header(path, delimiter)
    blocks = read_blocks(path, len(header), delimiter=delimiter, header=True)
    return _gathered(path, ((dict(zip(header, b.columns, strict=True)), b.lines) for b in blocks))


def _gathered(
    path: Path, pieces: Iterable[tuple[Mapping[str, Sequence[str]], Sequence[int]]]
) -> Table:
    gathers: dict[str, _Gather] = {}
    lines: list[int] = []
    for columns, numbers in pieces:
        for name, cells in columns.items():
            gathers.setdefault(name, _Gather()).add(cells)
        lines.extend(numbers)
    return Table(path, {name: gather.column() for name, gather in gathers.items()}, lines)


def _delimiter(path: Path) -> str:
    with open_data(path, "make it readable") as stream:
        head = stream.readline(1 << 16).decode("utf-8", "replace")
    marks = [mark for mark in ",;\t|" if mark in head]
    return marks[0] if marks else " " if path.suffix.lower() == ".txt" else ","


# --- text separated by blanks, as CelebA's authors have it ----------------------------------------------------------


def _blank_separated(path: Path) -> Table:
    """A list of names and values: with the number of records and their names first, with a header, or bare."""
    try:
        text = read_regular(path, MAX_TEXT, links=True).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: save the file as UTF-8") from error
    rows = [
        (line, words) for line, words in enumerate(map(str.split, text.splitlines()), 1) if words
    ]
    if not rows:
        raise UserError(f"{path} is empty: expected a line for each record")
    counted = len(rows[0][1]) == 1 and rows[0][1][0].isdigit() and len(rows) > 2
    header, rows = _header(path, rows[1:] if counted else rows)
    for line, words in rows:
        if len(words) != len(header):
            raise UserError(
                f"{path}:{line} has {len(words)} cells, expected {len(header)}: mend or remove this line"
            )
    if len(set(header)) < len(header):
        twin = next(name for name in header if header.count(name) > 1)
        raise UserError(f"{path} has more than one column {twin!r:.60}: rename all but one")
    cells = zip(*(words for _, words in rows), strict=True)
    columns = {name: column_of(column) for name, column in zip(header, cells, strict=True)}
    return Table(path, columns, [line for line, _ in rows], counted)


def _header(
    path: Path, rows: list[tuple[int, list[str]]]
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names of the columns, and the rows that are records."""
    first = rows[0][1]
    if first[0].lower().endswith(SUFFIXES):  # bare: what it says is told by its own name
        values = (
            [path.stem] if len(first) == 2 else [f"{path.stem}{i}" for i in range(1, len(first))]
        )
        return [FILE, *values], rows
    if len(rows) < 2:
        raise UserError(f"{path} holds no records: expected a line for each")
    # the authors' files do not name the column of the files
    short = len(first) + 1 == len(rows[1][1])
    return ([FILE, *first] if short else first), rows[1:]


# --- JSON -----------------------------------------------------------------------------------------------------------


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    with open_data(path, "make it readable") as stream:
        for line, raw in enumerate(iter(lambda: stream.readline(4 << 20), b""), 1):
            if raw.strip():
                yield line, _parsed(path, raw, f"{path}:{line}")


def _json_records(path: Path) -> Iterator[tuple[int, Any]]:
    """The records of a JSON file: a list of objects, an object of objects, or StyleGAN's list of names and labels."""
    value = _parsed(path, read_regular(path, MAX_TEXT, links=True), str(path))
    if isinstance(value, dict) and isinstance(value.get("labels"), list):
        value = [_stylegan(path, pair) for pair in value["labels"]]
    elif isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        raise UserError(
            f"{path} is no table: expected a list of objects, or labels: [[file, class], ...]"
        )
    yield from enumerate(value, 1)


def _stylegan(path: Path, pair: Any) -> dict[str, Any]:
    if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
        raise UserError(f"{path}: {shown(pair)} is no pair of a file and its class; mend labels")
    name, label = pair
    if isinstance(label, list):  # one value a dimension
        return {FILE: name} | {f"class{i}": value for i, value in enumerate(label[:64])}
    return {FILE: name, "class": label}


def _parsed(path: Path, raw: bytes, where: str) -> Any:
    def bare(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """An object without lists of lists, such as landmarks, which no table has and which fill the memory."""
        return {
            key: value
            for key, value in pairs
            if key == "labels"
            or not (isinstance(value, list) and value and isinstance(value[0], list))
        }

    try:
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=bare)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON ({shown(str(error))}): mend it") from error


def _of_objects(path: Path, objects: Iterator[tuple[int, Any]]) -> Table:
    rows, lines = [], []
    for line, value in objects:
        if not isinstance(value, dict):
            raise UserError(f"{path}:{line} is no JSON object: write one for each record")
        rows.append(dict(_flat(value)))
        lines.append(line)
    if not rows:
        raise UserError(f"{path} holds no records: expected an object for each")
    names = list(dict.fromkeys(name for row in rows for name in row))
    short = [name.rpartition(".")[2] for name in names]
    columns = {}
    for name, last in zip(names, short, strict=True):
        called = last if short.count(last) == 1 else name
        columns[called] = column_of([row.get(name, "") for row in rows])
    return Table(path, columns, lines)


def _flat(value: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Name and text of each plain value of an object; those of objects within it are called ``outer.inner``."""
    for key, item in value.items():
        if isinstance(item, dict):
            if depth < _DEEPEST:
                yield from _flat(item, f"{prefix}{key}.", depth + 1)
        elif not isinstance(item, list):
            yield prefix + key, text_of(item)


def text_of(value: Any) -> str:
    """A value as the text that a CSV file has for it; empty for none, and whole numbers without a fraction."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
