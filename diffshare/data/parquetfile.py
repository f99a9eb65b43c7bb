"""Parquet files whose records have a picture or belong to one, read in batches by pyarrow."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffshare.data.labeltable import text_of
from diffshare.errors import UserError
from diffshare.received import shown

BATCH = 4096  # rows of plain cells
MAX_CELLS = 4 << 30  # bytes of all plain columns together
MAX_RATIO = 100  # of a column's bytes to those in the file, beyond the first 64 MiB
_FREE = 64 << 20
MAX_ROWS = 50_000_000  # a file of a few bytes may repeat one value as often as it likes


def open_parquet(path: Path) -> Any:
    """Open a file as ``pyarrow.parquet.ParquetFile``; its data are not read.

    Raises:
        UserError: no such file, or none of parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UserError(f"no file {path}: check its name")
    try:
        # without the buffer before it, what is held does not grow with the file
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20, memory_map=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> UserError:
    """That a file cannot be read as parquet."""
    reason = shown(" ".join(str(error).split()), 100)
    return UserError(f"{path} is no parquet file that can be read ({reason}): get it again")


def plain_columns(file: Any) -> list[str]:
    """Names of the columns of texts, numbers, truth values, dates; lists, structs and bytes are left out."""
    import pyarrow.types as types

    def plain(kind: Any) -> bool:
        value = kind.value_type if types.is_dictionary(kind) else kind
        binary = types.is_binary(value) or types.is_large_binary(value)
        return not (types.is_nested(value) or binary or types.is_fixed_size_binary(value))

    return [field.name for field in file.schema_arrow if plain(field.type)]


def parquet_cells(
    path: Path, names: Sequence[str] | None = None
) -> Iterator[tuple[Mapping[str, Sequence[str]], Sequence[int]]]:
    """The plain columns of a file as texts, a batch of rows at a time.

    Args:
        path: the file.
        names: the columns; None for all plain ones.

    Yields:
        Column name to its n cells, and the numbers of the rows (from 0).

    Raises:
        UserError: see ``open_parquet``; a damaged file; no plain column or no row; more than 4 GiB of them.
    """
    import pyarrow as pa

    file = open_parquet(path)
    chosen = plain_columns(file) if names is None else list(names)
    if not chosen or not file.metadata.num_rows:
        raise UserError(f"{path} holds no records: expected rows, and columns of plain values")
    _check_size(path, file, chosen)
    start = 0
    try:
        for batch in file.iter_batches(BATCH, columns=chosen):
            columns = {
                name: [text_of(value) for value in batch.column(name).to_pylist()]
                for name in chosen
            }
            lines = range(start, start + batch.num_rows)
            start += batch.num_rows
            yield columns, lines
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise damaged(path, error) from error


def _check_size(path: Path, file: Any, names: Sequence[str]) -> None:
    groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
    total = sum(
        group.column(i).total_uncompressed_size
        for group in groups
        for i in range(group.num_columns)
        if group.column(i).path_in_schema in names
    )
    if total > MAX_CELLS or file.metadata.num_rows > MAX_ROWS:
        raise UserError(
            f"{path} holds {file.metadata.num_rows} rows and {total} bytes of plain cells, more than {MAX_ROWS} or "
            f"{MAX_CELLS}: split it"
        )


def image_columns(file: Any) -> list[str]:
    """Names of the columns that hold pictures: structs with ``bytes``; where there is none, plain bytes."""
    import pyarrow.types as types

    def binary(kind: Any) -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind)

    structs, plain = [], []
    for field in file.schema_arrow:
        if types.is_struct(field.type):
            place = field.type.get_field_index("bytes")
            if place >= 0 and binary(field.type.field(place).type):
                structs.append(field.name)
        elif binary(field.type):
            plain.append(field.name)
    return structs or plain


def class_names(file: Any) -> dict[str, dict[str, str]]:
    """Names of the classes of Hugging Face's ``ClassLabel`` columns: column to number to name."""
    raw = (file.schema_arrow.metadata or {}).get(b"huggingface", b"")
    try:
        features = json.loads(raw[: 4 << 20])["info"]["features"]
        return {
            str(name): {str(i): str(label) for i, label in enumerate(feature["names"])}
            for name, feature in features.items()
            if isinstance(feature, dict) and isinstance(feature.get("names"), list)
        }
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}  # a note of another tool, without which numbers are the names


def picture_bytes(path: Path, meta: Any, column: str) -> int:
    """Bytes of a picture of a row group, on average; a column that unpacks to far more than it takes is refused."""
    chunks = [meta.column(i) for i in range(meta.num_columns)]
    chunks = [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] == column]
    stored = sum(chunk.total_compressed_size for chunk in chunks)
    size = sum(chunk.total_uncompressed_size for chunk in chunks)
    if size > max(_FREE, MAX_RATIO * stored):
        raise UserError(
            f"{path}: '{column}' would unpack from {stored} to {size} bytes: such pictures are none, get it again"
        )
    return int(size // max(meta.num_rows, 1))
