"""CSV files read strictly, in blocks of columns: memory stays small, and every refusal names the line."""

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from diffshare.classes import differing, listed, quoted
from diffshare.data.source import open_data
from diffshare.errors import UserError

BLOCK = 500  # records: so few stay in the processor's cache, which halves the time
# bytes of a record, which a quoted cell may spread over lines; also of what a block reads
MAX_RECORD = 4 << 20
MAX_TABLE = 512 << 20  # bytes of a table that a verb wrote


@dataclass(frozen=True)
class Block:
    """Some consecutive records of a CSV file.

    Attributes:
        file: name of the file, without its folder.
        columns: the n cells of each column, as text.
        lines: line (from 1) at which each record begins, n.
        sizes: bytes of each record with its line end, n.
        stamp: modification time of the file in ns.
    """

    file: str
    columns: Sequence[Sequence[str]]
    lines: Sequence[int]
    sizes: Sequence[int]
    stamp: int

    def where(self, row: int) -> str:
        """File and line of one record of the block, for instance ``adult.data:17``."""
        return f"{self.file}:{self.lines[row]}"


class _Lines(Iterator[str]):
    """Decoded lines of a binary stream that count the bytes they took.

    A record may hold ``MAX_RECORD`` bytes: a reader makes of its cells many times as many before it can be looked at.
    """

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path, self._stream = path, stream
        self.bytes = self.began = 0  # of the file, and of those where the record began

    def __next__(self) -> str:
        raw = self._stream.readline(MAX_RECORD + 1)
        if not raw:
            raise StopIteration
        text = raw.decode("utf-8" if self.bytes else "utf-8-sig")
        self.bytes += len(raw)
        if self.bytes - self.began > MAX_RECORD:
            raise UserError(
                f"{self._path} has a record of more than {MAX_RECORD} bytes: check its quotes"
            )
        return text


def read_records(
    path: Path,
    stream: BinaryIO,
    delimiter: str = ",",
    *,
    strip: bool = True,
    remedy: str = "save the file as UTF-8",
) -> Iterator[tuple[list[str], int, int]]:
    """The records of a CSV file as they stand; empty lines are left out.

    Args:
        path: the file's name, for messages.
        stream: UTF-8.
        delimiter: one character.
        strip: spaces after a delimiter are no part of a cell.
        remedy: what to do where it is not UTF-8, for the message.

    Yields:
        cells, first line (from 1) and bytes.

    Raises:
        UserError: not UTF-8, not CSV, or a record of more than ``MAX_RECORD`` bytes.
    """
    lines = _Lines(path, stream)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=strip, strict=True)
    line = 0
    try:
        for cells in reader:
            if cells:
                yield cells, line + 1, lines.bytes - lines.began
            line, lines.began = reader.line_num, lines.bytes
    except UnicodeDecodeError as error:
        raise UserError(f"{path}:{reader.line_num + 1} is not UTF-8 text: {remedy}") from error
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num} is not valid CSV ({error}): check its quotes"
        ) from error


def read_list(path: Path, remedy: str, *, most: int = MAX_TABLE) -> Iterator[tuple[list[str], int]]:
    """The lines of a list that a verb wrote, cells as they stand; its header is the first.

    Args:
        path: the file.
        remedy: what to do where it cannot be read, for the message.
        most: bytes.

    Yields:
        cells, and number of the line (from 1).

    Raises:
        UserError: no such file, a pipe or a device, a larger one, not UTF-8, or not CSV.
    """
    with open_data(path, remedy) as stream:
        if os.fstat(stream.fileno()).st_size > most:
            raise UserError(f"{path} is larger than {most} bytes: {remedy}")
        for cells, line, _ in read_records(path, stream, strip=False):
            yield cells, line


def check_delimiter(delimiter: str) -> str:
    """Refuse a delimiter that is not one character, or one that has another meaning in CSV."""
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UserError(
            f"delimiter {delimiter!r} must be one character, for instance ',' or ';' or '\\t'"
        )
    return delimiter


def read_header(path: Path, delimiter: str = ",") -> list[str]:
    """The column names in the first record of a CSV file.

    Raises:
        UserError: no such file, an empty one, or two columns of one name.
    """
    with open_data(path) as stream:
        header = next((cells for cells, _, _ in read_records(path, stream, delimiter)), None)
    if header is None:
        raise UserError(
            f"{path} is empty: expected a line of column names and a line for each record"
        )
    repeated = sorted(name for name, times in Counter(header).items() if times > 1)
    if repeated:
        raise UserError(f"{path} has more than one column {repeated[0]!r:.60}: rename all but one")
    return header


def no_column(
    path: Path,
    name: str,
    header: Sequence[str],
    delimiter: str = ",",
    remedy: str = "name one of them",
) -> UserError:
    """That a file lacks a column, and what it has in its place.

    Args:
        path: the file.
        name: of the column.
        header: names of those that it has.
        delimiter: by which they were told apart.
        remedy: what to do where nothing better is found.
    """
    if twins := differing([name], header):
        remedy = f"write {quoted(twins[0][1])}, names must agree exactly"
    elif len(header) == 1 and (
        others := [mark for mark in ",;\t|" if mark != delimiter and mark in header[0]]
    ):
        remedy = f"is its delimiter {others[0]!r}?"
    return UserError(
        f"{path} has no column {quoted(name)}: its header has {listed(header)}; {remedy}"
    )


def read_blocks(
    path: Path,
    width: int,
    *,
    delimiter: str = ",",
    header: bool = False,
    comment: str | None = None,
) -> Iterator[Block]:
    """The records of a CSV file, a block at a time.

    Spaces after a delimiter are no part of a cell; empty lines are skipped.

    Args:
        path: the file, UTF-8.
        width: cells that each record must have.
        delimiter: one character.
        header: the first record holds column names and is left out.
        comment: records that begin with this text are left out.

    Raises:
        UserError: no such file, no records, not UTF-8, not CSV, or a record of another width (the message names
            the line).
    """
    rows: list[list[str]] = []
    lines: list[int] = []
    sizes: list[int] = []
    held = 0  # bytes that the block's records took
    empty = True
    with open_data(path) as stream:
        stamp = os.fstat(stream.fileno()).st_mtime_ns
        for cells, line, size in read_records(path, stream, delimiter):
            if header:
                header = False
                continue
            if comment and cells[0].startswith(comment):
                continue
            if len(cells) != width:
                raise UserError(
                    f"{path}:{line} has {len(cells)} cells, expected {width}: mend or remove this line"
                )
            empty = False
            rows.append(cells)
            lines.append(line)
            sizes.append(size)
            held += size
            if len(rows) == BLOCK or held > MAX_RECORD:
                yield Block(path.name, list(zip(*rows, strict=True)), lines, sizes, stamp)
                rows, lines, sizes, held = [], [], [], 0
    if rows:
        yield Block(path.name, list(zip(*rows, strict=True)), lines, sizes, stamp)
    if empty:
        raise UserError(f"{path} holds no records: expected a line for each")
