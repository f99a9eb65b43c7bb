"""Readers of what has types: Parquet, and data frames."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffshare.data.tablebytes import Looked, open_binary
from diffshare.data.tablereaders import BATCH_CELLS, Batch, Cells, check_width
from diffshare.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 1 << 16  # records
_NESTED = "holds lists or objects, which are no cells of a table"


class ParquetReader:
    """Parquet: numbers are numbers, texts are texts, whatever they look like.

    Dates and times are texts as ISO writes them, truth values ``True`` and ``False``, decimals the nearest float64.
    """

    strict = False

    def __init__(self, path: Path, looked: Looked) -> None:
        import pyarrow as pa

        self._path, self._looked = path, looked
        self._coded: list[str] = []
        with self._opened() as file:
            schema, self._rows = file.schema_arrow, file.metadata.num_rows
        self._plain = schema.names
        self.names = [name.strip() for name in schema.names]
        check_width(path, len(self.names))
        # a text that a hostile file repeats a million times is then held once
        self._coded = [
            field.name
            for field in schema
            if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        ]
        self.unreadable = {
            i: reason for i, field in enumerate(schema) if (reason := _unreadable(field.type))
        }

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        import pyarrow as pa
        from pyarrow import parquet

        with open_binary(self._path, self._looked, tempfile.TemporaryFile) as stream:
            try:
                yield parquet.ParquetFile(stream, read_dictionary=self._coded, buffer_size=1 << 20)
            except (pa.ArrowException, OSError) as error:
                raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> UserError:
        return UserError(f"{self._path} is a damaged parquet file ({error}): get it again")

    def where(self, row: int) -> str:
        """File and number of a record (from 1)."""
        return f"{self._path}, row {row + 1}"

    def batches(self, positions: Sequence[int] | None) -> Iterator[Batch]:
        """See :class:`Reader`."""
        everything = range(len(self.names))
        chosen = [
            i for i in (everything if positions is None else positions) if i not in self.unreadable
        ]
        if not chosen:
            yield Batch(self._rows, {})
            return
        # names choose by their paths, and a name may stand twice
        unique = len(set(self._plain)) == len(self._plain)
        names = (
            [self._plain[i] for i in chosen] if unique and len(chosen) < len(everything) else None
        )
        size = max(1, min(_BATCH, BATCH_CELLS // len(self.names)))
        with self._opened() as file:
            for batch in file.iter_batches(size, columns=names):
                places = (
                    {i: i for i in chosen}
                    if names is None
                    else {i: batch.schema.get_field_index(self._plain[i]) for i in chosen}
                )
                yield Batch(len(batch), {i: _plain(batch.column(k)) for i, k in places.items()})


class FrameReader:
    """A data frame, or a two-dimensional array."""

    strict = False

    def __init__(self, frame: Any) -> None:
        import pandas as pd

        frame = frame if isinstance(frame, pd.DataFrame) else pd.DataFrame(frame)
        if not len(frame) or not len(frame.columns):
            raise UserError("the table has no record or no column: give at least one of each")
        self.names = [str(name).strip() for name in frame.columns]
        check_width(Path("the data frame"), len(self.names))
        self._frame = frame
        self.unreadable: dict[int, str] = {}
        self._arrays: dict[int, Cells] = {}
        for i in range(len(self.names)):
            cells = _column_of(frame.iloc[:, i])
            if isinstance(cells, str):
                self.unreadable[i] = cells
            else:
                self._arrays[i] = cells

    def where(self, row: int) -> str:
        """Position of a record (from 0)."""
        return f"row {row} of the data frame"

    def batches(self, positions: Sequence[int] | None) -> Iterator[Batch]:
        """See :class:`Reader`."""
        chosen = self._arrays if positions is None else positions
        count = len(self._frame)
        for start in range(0, count, _BATCH):
            columns = {
                i: Cells(self._arrays[i].array.slice(start, _BATCH), self._arrays[i].typed)
                for i in chosen
            }
            yield Batch(min(_BATCH, count - start), columns)


def _column_of(series: Any) -> Cells | str:
    """A column of a data frame, or why it is none."""
    import pyarrow as pa

    try:
        array = pa.Array.from_pandas(series)
    except (pa.ArrowException, TypeError, OverflowError):
        # values of several types: as texts, each as it is written
        values = ["" if value is None or value != value else str(value) for value in series]
        array = pa.array(values, pa.string())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return _unreadable(array.type) or _plain(array)


def _unreadable(kind: "pa.DataType") -> str:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _unreadable(kind.value_type)
    if pa.types.is_nested(kind):
        return _NESTED
    readable = (
        pa.types.is_primitive(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_null(kind)
    )
    return "" if readable else f"holds {kind}, which are no cells of a table"


def _plain(array: "pa.Array") -> Cells:
    """Cells of a typed column as texts or numbers."""
    import pyarrow as pa
    from pyarrow import compute

    kind = array.type
    if pa.types.is_dictionary(kind):
        inner = _plain(array.dictionary)
        return Cells(pa.DictionaryArray.from_arrays(array.indices, inner.array), inner.typed)
    if pa.types.is_boolean(kind):
        texts = pa.array(["False", "True"], pa.string())
        return Cells(texts.take(compute.cast(array, pa.int8())), typed=True)
    if pa.types.is_integer(kind) or pa.types.is_float64(kind):
        return Cells(array)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Cells(compute.cast(array, pa.float64(), safe=False))
    if pa.types.is_null(kind):
        return Cells(pa.nulls(len(array), pa.string()))
    return Cells(compute.cast(array, pa.string()), typed=True)
