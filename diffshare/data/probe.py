"""A hash of a sample of stored bytes: a change that leaves names, sizes and times as they were is seen all the same."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffshare.errors import UserError
from diffshare.received import open_regular

LARGEST = 1 << 62  # bytes of a file: none is too large to look into
# at most so many files, so many bytes in all, so many bytes at a place
FILES, BYTES, BLOCK = (
    64,
    4 << 20,
    4096,
)


def probe_files(paths: Sequence[str | Path]) -> str:
    """Hash of bytes of some of these files, evenly spread: of all their bytes where these are few.

    A file that cannot be read counts as empty: it is reported where it is decoded.

    Args:
        paths: of the files, in the order of the records.
    """
    digest = hashlib.blake2b(digest_size=16)
    chosen = [paths[position] for position in _spread(len(paths), FILES)]
    for path in chosen:
        try:
            stream, size = open_regular(Path(path), LARGEST, links=True)
            with stream:
                for start, length in _pieces(size, BYTES // len(chosen)):
                    stream.seek(start)
                    digest.update(stream.read(length))
        except (OSError, UserError):
            digest.update(b"?")
    return digest.hexdigest()


def probe_array(array: np.ndarray) -> str:
    """The same of an array that is in memory."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    digest = hashlib.blake2b(digest_size=16)
    for start, length in _pieces(len(data), BYTES):
        digest.update(data[start : start + length])
    return digest.hexdigest()


def _pieces(size: int, most: int) -> list[tuple[int, int]]:
    """Start and length of what is read of ``size`` bytes: all of them, or blocks from the first to the last byte."""
    if size <= most:
        return [(0, size)]
    return [(start, BLOCK) for start in _spread(size - BLOCK + 1, max(2, most // BLOCK))]


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` positions of ``count``, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return np.linspace(0, count - 1, most).astype(np.int64).tolist()
