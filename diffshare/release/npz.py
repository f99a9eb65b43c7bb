"""Reading an NPZ file that someone else wrote: every size is checked before memory is asked for, nothing is unpickled.

numpy's own reader believes the header of each array and asks for as much memory as it says.
"""

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, BinaryIO, Literal, NamedTuple

import numpy as np

from diffshare.errors import UserError
from diffshare.received import open_regular, shown

MAX_BYTES = 8 << 30  # of all arrays together
MAX_RATIO = 100  # of the arrays' bytes to the file's, beyond the first 64 MiB
_FREE = 64 << 20
_READ = 256 << 10  # most bytes read at once; the zip directory of three arrays has some 200
_MAGIC = b"\x93NUMPY\x01\x00"  # version 1.0 of the format, which numpy writes for all plain arrays
_MAX_HEADER = 1024


class Stored(NamedTuple):
    """What the header of an array says.

    Attributes:
        shape: of the array.
        dtype: its type, none of objects.
        fortran: its first axis lies together.
        size: bytes of the header.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    size: int


class _ShortReads(io.RawIOBase):
    """A file that gives at most 256 KiB at a time.

    ``zipfile`` reads the whole directory at once and makes objects of it, which take ten times its size.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable  # type: ignore[method-assign]

    def read(self, size: int = -1) -> bytes:
        return self.stream.read(_READ if size < 0 else min(size, _READ))


def npz_headers(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, Stored]:
    """What the arrays of an NPZ file are, by name; their values are not read.

    Args:
        path: the file.
        max_bytes: most bytes of the file.

    Raises:
        UserError: no such file, not a zip, one that holds something else than arrays, or one of objects.
    """
    where = shown(str(path), 200)[1:-1]
    stream, _ = open_regular(path, max_bytes + _FREE)
    with stream:
        try:
            with zipfile.ZipFile(_ShortReads(stream)) as archive:
                headers = {}
                for info in archive.infolist():
                    name = info.filename.removesuffix(".npy")
                    if name == info.filename or name in headers:
                        raise UserError(
                            f"{where} holds {shown(info.filename)}: expected arrays, as numpy.savez writes them"
                        )
                    with archive.open(info) as entry:
                        header = headers[name] = _header(entry, info, where)
                    if header.dtype.hasobject or header.dtype.names is not None:
                        raise UserError(
                            f"{where}: {info.filename} must be of numbers or texts, not "
                            f"{shown(str(header.dtype))}; objects are refused, they would have to be unpickled"
                        )
                return headers
        except UserError:
            raise
        except Exception as error:
            raise _unreadable(where, error) from error


def _unreadable(where: str, error: Exception) -> UserError:
    return UserError(f"{where} is no NPZ file that can be read ({shown(str(error))}): get it again")


def read_npz(
    path: Path,
    kinds: Mapping[str, str],
    *,
    max_bytes: int = MAX_BYTES,
    others: Literal["refuse", "leave"] = "refuse",
) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file, stored or deflated, in C order.

    Memory: the arrays, at most ``max_bytes`` and at most 64 MiB or 100 times the file's size, and some 4 MiB besides.

    Args:
        path: the file.
        kinds: the names that may be in it, each with its only type, for instance ``{"x": "uint8"}``.
        max_bytes: most bytes of all arrays together.
        others: what becomes of a file that holds arrays of other names.

    Returns:
        Name to array, of those names that are there.

    Raises:
        UserError: no such file, not a zip, an array of another name or type, or sizes that are too large or contradict
            each other.
    """
    where = shown(str(path), 200)[1:-1]
    stream, size = open_regular(path, max_bytes + _FREE)
    with stream:
        try:
            with zipfile.ZipFile(_ShortReads(stream)) as archive:
                most = min(max_bytes, max(_FREE, MAX_RATIO * size))
                entries = _entries(archive, kinds, where, most, others == "leave")
                return {
                    name: _read(archive, info, kinds[name], where) for name, info in entries.items()
                }
        except UserError:
            raise
        # zipfile, zlib and numpy's header parser each have a family of their own
        except Exception as error:
            raise _unreadable(where, error) from error


def _entries(
    archive: zipfile.ZipFile, kinds: Mapping[str, str], where: str, most: int, leave: bool
) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if leave and name not in kinds:
            continue
        if info.filename != f"{name}.npy" or name not in kinds or name in entries:
            raise UserError(
                f"{where} holds {shown(info.filename)}: expected {', '.join(kinds)}, each at most once"
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(
                f"{where}: {info.filename} is compressed in an odd way: save it with numpy.savez"
            )
        entries[name] = info
    total = sum(info.file_size for info in entries.values())
    if total > most:
        raise UserError(
            f"{where} would unpack to {total} bytes, more than the {most} that a file of its size may hold"
        )
    return entries


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, kind: str, where: str) -> np.ndarray:
    """One array; its header is compared with the size of its entry before memory is asked for."""
    with archive.open(info) as entry:
        header = _header(entry, info, where)
        if header.dtype != np.dtype(kind):
            raise UserError(
                f"{where}: {info.filename} must be {np.dtype(kind)}, not {shown(str(header.dtype))}; objects are "
                "refused"
            )
        if header.fortran:
            raise UserError(
                f"{where}: {info.filename} is in Fortran order: save numpy.ascontiguousarray of it"
            )
        shape = header.shape
        size = math.prod(shape) * header.dtype.itemsize
        if min(shape, default=1) < 0 or header.size + size != info.file_size:
            raise UserError(
                f"{where}: {info.filename} says the shape {shown(shape)}, which is not what it holds"
            )
        array = np.empty(shape, header.dtype)
        _fill(array.reshape(-1).view(np.uint8), entry)
    return array


def _header(entry: IO[bytes], info: zipfile.ZipInfo, where: str) -> Stored:
    start = entry.read(len(_MAGIC) + 2)
    length = int.from_bytes(start[-2:], "little")
    if start[:-2] != _MAGIC or length > _MAX_HEADER:
        raise UserError(
            f"{where}: {info.filename} is no plain numpy array (format 1.0): save it with numpy.savez"
        )
    raw = io.BytesIO(start[-2:] + entry.read(length))
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(raw, max_header_size=_MAX_HEADER)
    return Stored(shape, dtype, fortran, len(start) + length)


def _fill(target: np.ndarray, entry: IO[bytes]) -> None:
    """Copy an entry of a zip to its end into ``target`` (uint8, n); ``zipfile`` compares the check sum at the end."""
    position = 0
    while chunk := entry.read(_READ):
        target[position : position + len(chunk)] = np.frombuffer(chunk, np.uint8)
        position += len(chunk)
    if position != len(target):
        raise ValueError("an array ends too early")
