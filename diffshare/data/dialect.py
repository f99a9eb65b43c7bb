"""How a CSV file is written: its delimiter, and the names in its first record."""

import csv
import io
from collections import Counter
from pathlib import Path

from diffshare.classes import is_number
from diffshare.errors import UserError

DELIMITERS = ",;\t|"
MAX_COLUMNS = 10_000
_SAMPLE = 100  # records


def sniff(path: Path, start: bytes) -> str:
    """The delimiter by which the first records fall into equally many cells.

    Args:
        path: the file, for the message.
        start: its first bytes, UTF-8; the last record may be cut off.

    Returns:
        One of ``DELIMITERS``; a comma where the file has one column.

    Raises:
        UserError: two delimiters fit equally well.
    """
    scores = {mark: _score(start, mark) for mark in DELIMITERS}
    best = max(scores.values())
    if best == (0, 0):
        return ","
    fitting = [mark for mark, score in scores.items() if score == best]
    if len(fitting) > 1:
        raise UserError(
            f"{path} falls into {best[1]} columns at {fitting[0]!r} and at {fitting[1]!r} alike: name its delimiter"
        )
    return fitting[0]


def _score(start: bytes, delimiter: str) -> tuple[int, int]:
    """Tenths of the records that are as wide as the first one, and its cells; zeros where it does not fit."""
    widths = [len(cells) for cells in _first_records(start, delimiter)]
    if not widths or widths[0] < 2:
        return 0, 0
    share = Counter(widths)[widths[0]] / len(widths)
    return (int(10 * share), widths[0]) if share > 0.5 else (0, 0)


def _first_records(start: bytes, delimiter: str) -> list[list[str]]:
    text = start.decode("utf-8", errors="replace")
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != " "
    )
    records: list[list[str]] = []
    try:
        for cells in reader:
            if cells:
                records.append(cells)
            if len(records) > _SAMPLE:
                break
    except csv.Error:  # told with its line where the file is read
        pass
    whole = text.endswith(("\n", "\r")) or len(records) > _SAMPLE or len(records) < 2
    return records if whole else records[:-1]


def header_note(names: list[str], file: str) -> str:
    """That the first line of a file looks like a record; empty where it does not."""
    numbers = [name for name in names if is_number(name)]
    counted = names == [str(i) for i in range(len(names))]
    if counted or 4 * len(numbers) < max(len(names), 4):
        return ""
    return (
        f"the first line of {file} is taken for names, but has {', '.join(numbers[:3])} among them: if it is a record, "
        "say that there is no header"
    )
