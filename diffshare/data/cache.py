"""The decoded cache: each source is decoded once and then read as a memory-mapped array.

A cache is a folder ``KEY/`` with ``x.npy`` and ``cache.json``. KEY is a hash of the source's index, of a sample of its
stored bytes and of the way it decodes, so a source that changed gets another cache and no cache is ever changed in
place. A folder can be deleted at any time. It holds private records: only its owner may read it, and nothing in it that
belongs to another user is used.
"""

import hashlib
import io
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from diffshare.data.cachefolder import (
    ARRAY,
    CARD,
    ENTRY,
    building,
    default_cache_dir,
    keep_within,
    note_use,
    opened,
    refuse_foreign,
)
from diffshare.data.memory import ImagesInMemory, TableInMemory
from diffshare.data.recognised import Recognised
from diffshare.data.source import BadRecord, Index, Source
from diffshare.errors import UserError
from diffshare.layout import json_object
from diffshare.progress import counting
from diffshare.storage import NoRoom, atomic_folder, write_json

FORMAT = 1
_CARD_BYTES = 64 << 20  # of cache.json, which names all records that are left out
_FIRST_CHUNK = 64  # records, before the bytes of one are known
_CHUNK_BYTES = 16 << 20
_DTYPES = ("uint8", "float32")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decoded:
    """A source with its decoded records.

    Attributes:
        index: the N records that could be decoded, in the source's order.
        x: row i is record i of ``index``; a read-only memory map, uint8 N x H x W x C or float32 N x columns.
        source_sha256: hash of the whole source's index, with the records that are left out.
        skipped: names of the records that could not be decoded.
    """

    index: Index
    x: np.ndarray
    source_sha256: str
    skipped: tuple[str, ...]


class _Damaged(Exception):
    """What lies in the cache cannot be used."""


def open_records(source: Source, cache_dir: str | Path | None = None) -> Decoded:
    """Open a source's decoded records; decode them first where no cache of them exists.

    Several processes may call this at once: one decodes, the others wait and then read.

    Args:
        source: what to open.
        cache_dir: folder of the caches; ``default_cache_dir()`` where None.

    Raises:
        UserError: the source cannot be indexed, none of its records can be decoded, the cache cannot be written, or
            what lies in its place is a link or another user's.
        BadRecord: a record cannot be decoded, and ``source.on_bad_image`` is ``error``.
    """
    index = source.index()
    sha256 = index.sha256()
    if isinstance(source, ImagesInMemory | TableInMemory):
        return Decoded(index, source.x, sha256, ())
    if isinstance(source, Recognised):  # read whole to be told what it holds
        return Decoded(index, source.read(np.arange(len(index))), sha256, ())
    key = _key(source, index, sha256)
    root = default_cache_dir() if cache_dir is None else Path(cache_dir)
    folder = root / key
    try:
        x, skipped = _load(folder, key, index)
    except _Damaged:
        with building(folder):
            x, skipped = _load_or_build(folder, key, source, index)
        for gone in keep_within(root, keep=folder):
            _logger.info(
                "%s (%s) left the cache, which is kept within its limit",
                gone.folder.name,
                gone.what,
            )
    note_use(folder)
    if skipped:
        bad = _left_out(index, skipped)
        if source.on_bad_image != "skip":
            raise BadRecord(
                int(np.flatnonzero(bad)[0]),
                f"cannot decode {skipped[0]} ({len(skipped)} of {len(index)} records in all): "
                "replace it or set on_bad_image: skip",
            )
        _logger.warning(
            "%d of %d records cannot be decoded and are left out", len(skipped), len(index)
        )
        index = index.take(~bad)
    return Decoded(index, x, sha256, tuple(skipped))


def _key(source: Source, index: Index, sha256: str) -> str:
    digest = hashlib.sha256(f"{FORMAT}\0{sha256}\0{source.decoding()}\0".encode())
    # The source's hash leaves the order of records out, the rows of the cache follow it.
    digest.update("\n".join(index.names.tolist()).encode())
    if index.stamps is not None:
        digest.update(index.stamps.astype("<i8").tobytes())
    digest.update(index.probe.encode())
    return digest.hexdigest()[:40]


def _left_out(index: Index, skipped: list[str]) -> np.ndarray:
    return np.isin(index.names, np.array(skipped, np.str_))


def _load(folder: Path, key: str, index: Index) -> tuple[np.ndarray, list[str]]:
    """Map the array of a cache that is whole, and list the records that are left out.

    The file's header is compared, never parsed: nothing in the cache decides what is allocated or run.
    """
    for path in (folder, folder / CARD, folder / ARRAY):
        refuse_foreign(path)
    try:
        card: dict[str, Any] | None = json_object(folder / CARD, _CARD_BYTES)
        if card is None:
            raise _Damaged("cache.json is missing or cannot be read")
        shape, dtype, skipped = tuple(card["shape"]), str(card["dtype"]), list(card["skipped"])
        if card["format"] != FORMAT or card["key"] != key or dtype not in _DTYPES:
            raise _Damaged("cache.json is of another cache")
        if shape[0] + len(skipped) != len(index) or _left_out(index, skipped).sum() != len(skipped):
            raise _Damaged("cache.json counts other records than the source")
        header = _header(shape, np.dtype(dtype))
        size = len(header) + int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
        with opened(folder / ARRAY) as stream:
            if os.fstat(stream.fileno()).st_size != size or stream.read(len(header)) != header:
                raise _Damaged("x.npy does not match cache.json")
            return np.memmap(stream, dtype, "r", len(header), shape), skipped
    except (UserError, OSError, ValueError, TypeError, LookupError) as error:
        raise _Damaged(str(error)) from error


def _load_or_build(
    folder: Path, key: str, source: Source, index: Index
) -> tuple[np.ndarray, list[str]]:
    """What stands under the lock: read what another process built in the meantime, or build."""
    try:
        return _load(folder, key, index)
    except _Damaged as damage:
        if folder.exists():
            _logger.warning("the cache %s is damaged (%s) and is built again", folder, damage)
    try:
        _build(folder, key, source, index)
    except (OSError, NoRoom) as error:
        full = isinstance(error, NoRoom)
        remedy = "free some space (diffshare cache clear)" if full else "make it writable"
        reason = error.reason if isinstance(error, NoRoom) else error.strerror
        raise UserError(
            f"cannot write the cache {folder}: {reason}; {remedy} or set DIFFSHARE_CACHE to another folder"
        ) from error
    return _load(folder, key, index)


def _build(folder: Path, key: str, source: Source, index: Index) -> None:
    with atomic_folder(folder, ENTRY, overwrite=True, private=True) as temporary:
        with (temporary / ARRAY).open("wb") as stream:
            shape, dtype, bad = _decode(source, index, stream)
        names = [str(index.names[position]) for position in bad]
        card = {"format": FORMAT, "key": key, "shape": shape, "dtype": dtype.name, "skipped": names}
        write_json(temporary / CARD, card | {"source": source.decoding()[:200]})


def _decode(
    source: Source, index: Index, stream: BinaryIO
) -> tuple[tuple[int, ...], np.dtype, list[int]]:
    """Decode all records in chunks and write them as a NPY file.

    The file is written, not mapped: a full disk is then an error that can be caught, and resident memory stays flat.

    Returns:
        Shape and type of the array, and the positions of the records that are left out.
    """
    rows, done, step, bad = 0, 0, _FIRST_CHUNK, []
    item: tuple[int, ...] = ()
    dtype = np.dtype("uint8")
    reason = ""
    with counting("decoding records", len(index)) as advance:
        while done < len(index):
            chunk = np.arange(done, min(done + step, len(index)))
            for piece in _read(source, chunk):
                if isinstance(piece, BadRecord):
                    bad.append(piece.position)
                    reason = reason or str(piece)
                    continue
                if not rows:
                    item, dtype = piece.shape[1:], piece.dtype
                    stream.write(_header((len(index), *item), dtype))
                    step = max(_FIRST_CHUNK, _CHUNK_BYTES // piece[0].nbytes)
                stream.write(np.ascontiguousarray(piece, dtype).data)
                rows += len(piece)
            done = int(chunk[-1]) + 1
            advance(len(chunk))
    if not rows:
        first = f"; the first: {reason}" if reason else ""
        raise UserError(
            f"none of the source's {len(index)} records can be decoded: give it others{first}"
        )
    stream.seek(0)
    # numpy pads headers, so that another count fits into the same bytes
    stream.write(_header((rows, *item), dtype))
    return (rows, *item), dtype, bad


def _read(source: Source, positions: np.ndarray) -> Iterator[np.ndarray | BadRecord]:
    """Decode records in order; a bad one comes as its error instead of its row, unless it is to stop the work."""
    pending = [positions]
    while pending:
        piece = pending.pop()
        if not len(piece):
            continue
        try:
            decoded = source.read(piece)
        except BadRecord as error:
            if source.on_bad_image != "skip":
                raise
            (at,) = np.flatnonzero(piece == error.position)
            # What was decoded before the bad record is decoded again: at most twice the work, no promise needed.
            pending += [piece[at + 1 :], piece[at : at + 1], piece[:at]] if at else [piece[1:]]
            if not at:
                yield error
        else:
            yield decoded


def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    stream = io.BytesIO()
    description = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()
