"""JSON lines as a table: an object a line, its keys are the columns."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from diffshare.data.csvfile import MAX_RECORD
from diffshare.data.gathered import MARKS
from diffshare.data.tablebytes import Looked, open_text
from diffshare.data.tablereaders import BATCH_CELLS, Batch, Cells, check_width
from diffshare.errors import UserError

_ROWS = 5000  # of a batch


class _Number(str):
    """A number as it is written."""


def _constant(text: str) -> _Number | None:
    return None if text == "NaN" else _Number(text)


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(items)
    if len(entries) != len(items):
        raise ValueError("a key stands twice")
    return entries


def _is_text(entries: dict[str, Any]) -> bool:
    try:
        return bool(json.dumps(entries, ensure_ascii=False).encode("utf-8"))
    except UnicodeEncodeError:
        return False


class JSONReader:
    """JSON lines: numbers are numbers, texts are texts, ``true`` and ``false`` the texts ``True`` and ``False``.

    A key that a line lacks is a missing cell, as ``null`` and ``NaN`` are. A column with lists or objects cannot be
    read.
    """

    strict = False

    def __init__(self, path: Path, looked: Looked) -> None:
        self._path, self._looked = path, looked
        self.unreadable: dict[int, str] = {}
        self._place: dict[str, int] = {}
        for entries, line in self._objects():
            self._note_names(entries, line)
        self.names = [name.strip() for name in self._place]
        if not self.names:
            raise UserError(f"{path} holds no values: expected an object with values on each line")

    def _objects(self) -> Iterator[tuple[dict[str, Any], int]]:
        with open_text(self._path, self._looked) as stream:
            line = 0
            while raw := stream.readline(MAX_RECORD + 1):
                line += 1
                if len(raw) > MAX_RECORD:
                    raise UserError(
                        f"{self._path}:{line} has more than {MAX_RECORD} bytes: write an object a line"
                    )
                if raw.strip():
                    yield self._parse(raw, line), line

    def _parse(self, raw: bytes, line: int) -> dict[str, Any]:
        try:
            entries = json.loads(
                raw.decode("utf-8"),
                parse_int=_Number,
                parse_float=_Number,
                parse_constant=_constant,
                object_pairs_hook=_pairs,
            )
        except UnicodeDecodeError as error:
            raise UserError(f"{self._path}:{line} is not UTF-8 text: save it as UTF-8") from error
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{self._path}:{line} is no JSON object ({error}): write an object a line"
            ) from error
        if not isinstance(entries, dict):
            raise UserError(f"{self._path}:{line} is no JSON object: write an object a line")
        if b"\\ud" in raw.lower() and not _is_text(entries):
            raise UserError(f"{self._path}:{line} has half a character: write the file anew")
        return entries

    def where(self, row: int) -> str:
        """File and line of a record (from 0)."""
        lines = (line for i, (_, line) in enumerate(self._objects()) if i == row)
        return f"{self._path}:{next(lines)}"

    def batches(self, positions: Sequence[int] | None) -> Iterator[Batch]:
        """See :class:`diffshare.data.tablereaders.Reader`."""
        wanted = range(len(self.names)) if positions is None else positions
        keys = list(self._place)
        chosen = {i: keys[i] for i in wanted if i not in self.unreadable}
        rows: list[dict[str, Any]] = []
        most = max(1, min(_ROWS, BATCH_CELLS // len(keys)))

        def batch() -> Batch:
            return Batch(
                len(rows), {i: _cells([row.get(k) for row in rows]) for i, k in chosen.items()}
            )

        for entries, _ in self._objects():
            rows.append(entries)
            if len(rows) == most:
                yield batch()
                rows.clear()
        if rows:
            yield batch()

    def _note_names(self, entries: dict[str, Any], line: int) -> None:
        for name, value in entries.items():
            place = self._place.setdefault(name, len(self._place))
            if isinstance(value, dict | list):
                told = f"holds lists or objects (in line {line}), which are no cells of a table"
                self.unreadable.setdefault(place, told)
        check_width(self._path, len(self._place))


def _cells(values: list[Any]) -> Cells:
    import pyarrow as pa

    texts = [str(v) if isinstance(v, str | bool) else None for v in values]
    typed = any(type(v) is bool or (type(v) is str and v.strip() not in MARKS) for v in values)
    return Cells(pa.array(texts, pa.string()), typed)
