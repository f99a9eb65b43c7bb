"""The bytes of a table file: what they are, told by looking, and text as UTF-8 whatever it was stored as."""

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from diffshare.data.csvfile import MAX_RECORD
from diffshare.data.source import open_data
from diffshare.errors import UserError

Format = Literal["csv", "jsonl", "parquet"]
ACCEPTED = ".csv, .tsv, .parquet, .jsonl or .ndjson, each also .gz"
MAX_INFLATED = 4 << 30  # bytes that a compressed file may become
# a table whose text is compressed is a tenth as large, one that repeats itself a hundredth
_FREE, _MOST_TIMES = 64 << 20, 250
_LOOKED_AT = 256 << 10  # bytes

_MAGIC = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"RIFF": "a WebP picture or a sound",
    b"PK\x03\x04": "a ZIP archive (an Excel workbook, an .npz?)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"%PDF": "a PDF document",
    b"\x93NUMPY": "an array of numpy",
    b"SQLite format 3": "an SQLite database",
    b"ARROW1": "an Arrow file",
    b"FEA1": "a Feather file",
    b"ORC": "an ORC file",
    b"\x89HDF": "an HDF5 file",
    b"\x80\x02": "a pickle, which is never opened",
    b"\x80\x03": "a pickle, which is never opened",
    b"\x80\x04": "a pickle, which is never opened",
    b"\x80\x05": "a pickle, which is never opened",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\x1f\x8b": "compressed twice",
}
_WIDE = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Looked:
    """What a file was found to be.

    Attributes:
        format: of the table in it.
        compressed: it is a gzip file around it.
        encoding: of text; empty of parquet.
        start: the first bytes, as UTF-8 without a mark; empty of parquet.
    """

    format: Format
    compressed: bool
    encoding: str = ""
    start: bytes = b""


def look(path: Path, encoding: str | None = None) -> Looked:
    """Tell by its first bytes what kind of table a file is; its name says nothing.

    Args:
        path: the file.
        encoding: of text, where it is not UTF-8 or UTF-16 with its mark.

    Raises:
        UserError: no such file, an empty one, something else, or text in another encoding.
    """
    with open_data(path) as stream:
        start = stream.read(_LOOKED_AT)
        size = os.fstat(stream.fileno()).st_size
        compressed = start.startswith(b"\x1f\x8b")
        if compressed:
            stream.seek(0)
            start = _Inflated(path, stream, size).read(_LOOKED_AT)
    if not start:
        raise UserError(
            f"{path} is empty: expected a line of column names and a line for each record"
        )
    if start.startswith(b"PAR1"):
        return Looked("parquet", compressed)
    if encoding is None:
        _refuse_binary(path, start)
        encoding = _WIDE.get(start[:2], "utf-8")
    else:
        encoding = _encoding(encoding)
    with open_text(path, Looked("csv", compressed, encoding)) as text:
        start = text.read(_LOOKED_AT)
    first = start.lstrip()[:1]
    if first == b"[" and start.lstrip()[1:].lstrip()[:1] in (b"{", b"[", b""):
        raise UserError(
            f"{path} is one JSON array: write JSON lines, an object on each line and no commas between them"
        )
    return Looked("jsonl" if first == b"{" else "csv", compressed, encoding, start)


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise UserError(
            f"unknown encoding {name!r:.60}: write for instance utf-8, latin-1, cp1252 or utf-16"
        ) from None


def _refuse_binary(path: Path, start: bytes) -> None:
    if start[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        raise UserError(f"{path} is UTF-32: save it as UTF-8, or add encoding utf-32")
    if start[:2] in _WIDE:
        return
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            raise UserError(f"{path} is no table, it is {what}: expected {ACCEPTED}")
    if b"\0" in start:
        even, odd = start[::2].count(0), start[1::2].count(0)
        if max(even, odd) > len(start) // 5 and min(even, odd) <= len(start) // 50:
            wide = "utf-16-le" if odd > even else "utf-16-be"
            raise UserError(
                f"{path} looks like UTF-16 without a mark: save it as UTF-8, or add encoding {wide}"
            )
        raise UserError(f"{path} is no table, it is binary: expected {ACCEPTED}")


def open_text(path: Path, looked: Looked) -> BinaryIO:
    """The text of a file as UTF-8 without a mark, decompressed.

    Raises:
        UserError: while it is read: a damaged or boundless gzip file, or text in another encoding.
    """
    stream: Any = open_data(path)
    if looked.compressed:
        stream = _Inflated(path, stream, os.fstat(stream.fileno()).st_size)
    if looked.encoding in ("utf-8", "utf-8-sig") and not looked.compressed:
        if stream.read(len(_BOM)) != _BOM:
            stream.seek(0)
        return stream
    if looked.encoding in ("utf-8", "utf-8-sig"):
        return io.BufferedReader(_Unmarked(stream), 1 << 20)
    buffered = io.BufferedReader(stream, 1 << 20)
    try:
        text = io.TextIOWrapper(buffered, looked.encoding, newline="")
    except LookupError:  # a codec that is none of text, such as zlib
        buffered.close()
        raise UserError(f"'{looked.encoding}' is no encoding of text") from None
    return io.BufferedReader(_Transcoded(path, text, looked.encoding), 1 << 20)


def open_binary(path: Path, looked: Looked, keep: Callable[[], BinaryIO]) -> BinaryIO:
    """The bytes of a file, to be sought in.

    Args:
        path: the file.
        looked: what it is.
        keep: makes the file that takes what was decompressed.
    """
    stream = open_data(path)
    if not looked.compressed:
        return stream
    target = keep()
    with stream, _Inflated(path, stream, os.fstat(stream.fileno()).st_size) as inflated:
        while chunk := inflated.read(1 << 20):
            target.write(chunk)
    target.seek(0)
    return target


class _Raw(io.RawIOBase):
    """A readable stream; whoever makes one says what its next bytes are."""

    def readable(self) -> bool:
        return True

    def next(self, count: int) -> bytes:
        raise NotImplementedError

    def readinto(self, buffer: Any) -> int:
        chunk = self.next(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def read(self, count: int = -1) -> bytes:
        """As much as is asked for, less only at the end."""
        parts, left = [], count
        while left and (chunk := self.next(left)):
            parts.append(chunk)
            left -= len(chunk)
        return b"".join(parts)


class _Inflated(_Raw):
    """A gzip file decompressed, as far as is in reason."""

    def __init__(self, path: Path, stream: BinaryIO, size: int) -> None:
        self._path, self._raw = path, stream
        self._stream = gzip.GzipFile(fileobj=stream)
        self._most = min(MAX_INFLATED, max(_FREE, _MOST_TIMES * size))
        self._total = 0

    def next(self, count: int) -> bytes:
        try:
            chunk = self._stream.read(count)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(
                f"{self._path} is a damaged gzip file ({error}): get it again"
            ) from error
        self._total += len(chunk)
        if self._total > self._most:
            raise UserError(
                f"{self._path} becomes more than {self._most} bytes when it is decompressed: decompress it yourself "
                "if you trust it"
            )
        return chunk

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._raw.close()
        super().close()


class _Unmarked(_Raw):
    """UTF-8 without the mark at its beginning."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._begun = stream, False

    def next(self, count: int) -> bytes:
        if self._begun:
            return self._stream.read(count)
        self._begun = True
        return self._stream.read(count).removeprefix(_BOM)  # a buffer asks for more than three

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Transcoded(_Raw):
    """Text of another encoding as UTF-8."""

    def __init__(self, path: Path, text: io.TextIOWrapper, encoding: str) -> None:
        self._path, self._text, self._encoding = path, text, encoding
        self._mark = "\ufeff"

    def next(self, count: int) -> bytes:
        try:
            # a character takes four bytes at most
            text = self._text.read(max(count // 4, 1))
            text, self._mark = text.removeprefix(self._mark), ""
            return text.encode("utf-8")
        except (UnicodeError, ValueError) as error:
            raise UserError(
                f"{self._path} is no {self._encoding} text: save it as UTF-8, or name its encoding"
            ) from error

    def close(self) -> None:
        self._text.close()
        super().close()


class Watched(_Raw):
    """UTF-8 text of a CSV file on its way to a fast reader, which is lenient with quotes.

    Attributes:
        doubtful: a quote stood where strict CSV has none, or was not closed, or there was a null character, a line end
            of one carriage return, or a very long line: what the fast reader makes of such a file is not to be trusted.
    """

    def __init__(self, stream: BinaryIO, delimiter: str) -> None:
        self._stream = stream
        self._around = np.frombuffer(f'{delimiter}\r\n"'.encode(), np.uint8)
        self._before = b"\n"  # the last byte of what went before
        self._odd = False  # an odd number of quotes went before
        self._owed = False  # a quote was the last byte: what follows it is not known yet
        self._length = 0  # bytes of the last line
        self.doubtful = len(delimiter.encode()) > 1

    def next(self, count: int) -> bytes:
        """The next bytes, looked at."""
        chunk = self._stream.read(count)
        if not self.doubtful:
            self._look(chunk)
        return chunk

    def _look(self, chunk: bytes) -> None:
        if not chunk:
            self.doubtful = self._odd or self._before == b"\r"
            return
        self.doubtful = b"\0" in chunk or self._lone_return(chunk) or self._is_long(chunk)
        if self._owed or b'"' in chunk:
            data = np.frombuffer(self._before + chunk, np.uint8)
            at = np.flatnonzero(data[1:] == ord('"')) + 1
            if self._owed:
                at = np.concatenate([[0], at])
            opens = (np.arange(len(at)) + (self._odd ^ self._owed)) % 2 == 0
            # of the quote that was owed only what follows is left to look at
            before = at[opens & (at > 0)] - 1
            after = at[~opens] + 1
            inside = after[after < len(data)]
            beside = np.concatenate([data[before], data[inside]])
            self.doubtful |= not np.isin(beside, self._around).all()
            self._odd ^= bool((len(at) - self._owed) % 2)
            self._owed = data[-1] == ord('"') and not self._odd
        self._before = chunk[-1:]

    def _lone_return(self, chunk: bytes) -> bool:
        if b"\r" not in chunk and self._before != b"\r":
            return False
        text = self._before + chunk
        pairs, last = text.count(b"\r\n"), text.endswith(b"\r")
        return text.count(b"\r") != pairs + last

    def _is_long(self, chunk: bytes) -> bool:
        first = chunk.find(b"\n")
        longest = self._length + (len(chunk) if first < 0 else first)
        self._length = longest if first < 0 else len(chunk) - 1 - chunk.rfind(b"\n")
        return max(longest, self._length) > MAX_RECORD

    def close(self) -> None:
        """Close the stream as well."""
        self._stream.close()
        super().close()
