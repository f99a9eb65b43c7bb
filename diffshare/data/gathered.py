"""The cells of one column of a table file, gathered while it is read: what they are is told at the end.

While a column has at most 1000 different cells it is held as their numbers, so that it may still become categories or
numbers. With more it is held as numbers if all are, and else dropped: it is names or free text.
"""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from diffshare.classes import in_order, is_number, listed
from diffshare.data.cells import Kind
from diffshare.data.coding import MAX_CLASSES
from diffshare.data.numbercolumn import Column32, numeric_column, whole_attribute
from diffshare.data.source import Attribute
from diffshare.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

# what says among numbers that one is missing, beside the empty cell
MARKS = frozenset(
    {"", "?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN", "null", "NULL", "Null", "None", "."}
)


class Gathered:
    """One column.

    Args:
        name: of the column, for messages.
        kind: what it is to be; None where its cells tell; a list declares its categories.
        missing: the one text that stands for a missing cell beside the empty one; None where ``MARKS`` do among
            numbers.
        where: file and line of a record (from 0), for messages.
    """

    def __init__(
        self,
        name: str,
        kind: Kind | list[str] | None,
        missing: str | None,
        where: Callable[[int], str],
    ) -> None:
        self.name, self.kind, self.missing, self._where = name, kind, missing, where
        self.typed = False
        self._marks = MARKS if missing is None else frozenset({"", missing})
        self._absent = frozenset({"", missing} - {None})  # in any column
        self._place: dict[Any, int] = {}  # different cells to their numbers; None is a missing one
        self._codes: list[np.ndarray] | None = []
        self._numbers: list[np.ndarray] | None = None
        self._rows = 0

    def add(self, array: "pa.Array", typed: bool = False) -> None:
        """Take in further cells.

        Raises:
            UserError: the column is to be something that they are not.
        """
        self.typed |= typed
        if self._codes is not None:
            self._add_codes(array)
        elif self._numbers is not None:
            self._add_numbers(array)
        self._rows += len(array)

    def _add_codes(self, array: "pa.Array") -> None:
        import pyarrow as pa

        coded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        dictionary, indices = _trimmed(coded.dictionary), coded.indices
        if coded is array:  # a dictionary of parquet may hold what no cell has
            used = indices.unique().drop_null()
            dictionary = dictionary.filter(_mask(used.to_numpy(), len(dictionary)))
            place = np.cumsum(_mask(used.to_numpy(), len(coded.dictionary))) - 1
        # a cell more is the missing one; blanks may have told two apart that are one
        if len(dictionary) > MAX_CLASSES and len(dictionary.unique()) > MAX_CLASSES + 2:
            self._overflow(array)
            return
        keys = [self._key(value) for value in dictionary.to_pylist()]
        others = {key for key in keys if key is not None and key not in self._place}
        if len(others) + len(self._place) - (None in self._place) > MAX_CLASSES:
            self._overflow(array)
            return
        for key in keys:
            self._place.setdefault(key, len(self._place))
        if indices.null_count:
            self._place.setdefault(None, len(self._place))
        table = np.array([self._place[key] for key in keys] + [self._place.get(None, 0)], np.int16)
        if indices.null_count:
            indices = indices.fill_null(len(coded.dictionary))
        if coded is array:
            table = table[np.append(place, len(keys))]
        assert self._codes is not None
        self._codes.append(table[indices.to_numpy(zero_copy_only=False)])

    def _key(self, value: Any) -> Any:
        return None if value is None or value != value or value in self._absent else value

    def _overflow(self, array: "pa.Array") -> None:
        """More than 1000 different cells, with these: only numbers can still be held."""
        if self.kind == "categorical":
            raise UserError(
                f"column '{self.name}' has more than {MAX_CLASSES} different cells: it cannot be read as categories"
            )
        if isinstance(self.kind, list):
            self._check_declared(self._texts(), self._row_of)
            rows = {
                _text(key): self._rows + row for row, key in self._keys(array) if key is not None
            }
            self._check_declared(list(rows), rows.__getitem__)
        keys = [key for key in self._place if key is not None]
        bad = next((key for key in keys if not self._is_number(key)), None)
        if bad is not None and self.kind == "numeric":
            raise self._no_number(bad, self._row_of(_text(bad)))
        codes, self._codes = self._codes, None
        if bad is None and codes is not None:
            table = self._table()
            self._numbers = [table[chunk] for chunk in codes]
            self._add_numbers(array)

    def _keys(self, array: "pa.Array") -> Iterator[tuple[int, Any]]:
        for row, value in enumerate(array.to_pylist()):
            yield row, self._key(value.strip() if isinstance(value, str) else value)

    def _is_number(self, key: Any) -> bool:
        """Whether a cell is a number or marks a missing one among numbers."""
        if not isinstance(key, str):
            return math.isfinite(key)
        if key in self._marks:
            return True
        return (
            is_number(key)
            and math.isfinite(float(key))
            and (self.kind == "numeric" or not _is_padded(key))
        )

    def _table(self) -> np.ndarray:
        """The number of each different cell; float64."""
        return np.array(
            [
                np.nan
                if key is None or (isinstance(key, str) and key in self._marks)
                else float(key)
                for key in self._place
            ],
            np.float64,
        )

    def _add_numbers(self, array: "pa.Array") -> None:
        numbers = self._parse(array)
        if numbers is not None:
            assert self._numbers is not None
            self._numbers.append(numbers)
            return
        if self.kind == "numeric":
            for row, key in self._keys(array):
                if key is not None and not self._is_number(key):
                    raise self._no_number(key, self._rows + row)
        self._numbers = None

    def _parse(self, array: "pa.Array") -> np.ndarray | None:
        """Cells as numbers, float64, NaN where missing; None where one is something else."""
        import pyarrow as pa
        from pyarrow import compute

        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            try:
                cast = compute.cast(array, pa.float64())
            except pa.ArrowInvalid:
                array = compute.utf8_trim_whitespace(array)
                gone = compute.is_in(array, pa.array(sorted(self._marks), array.type))
                array = compute.if_else(gone, None, array)
                try:
                    cast = compute.cast(array, pa.float64())
                except pa.ArrowInvalid:
                    return None
            if self.kind != "numeric" and _any_padded(array):
                return None
        else:
            cast = compute.cast(array, pa.float64(), safe=False)
        numbers = cast.to_numpy(zero_copy_only=False)
        if np.isinf(numbers).any():
            return None
        text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
        # Arrow reads the text nan as a number
        if text and "nan" not in self._marks and np.isnan(numbers).sum() > cast.null_count:
            return None
        return numbers.astype(np.float64, copy=False)

    def _no_number(self, key: Any, row: int) -> UserError:
        marks = "empty" if self.missing is None else f"empty or '{self.missing}'"
        return UserError(
            f"{self._where(row)}, column '{self.name}': {str(key)!r:.60} is no finite number (missing cells are "
            f"{marks})"
        )

    def _row_of(self, text: str) -> int:
        """The first record with this cell."""
        codes = [
            code for key, code in self._place.items() if key is not None and _text(key) == text
        ]
        row = 0
        for chunk in self._codes or ():
            if len(at := np.flatnonzero(np.isin(chunk, codes))):
                return row + int(at[0])
            row += len(chunk)
        return row

    def _check_declared(self, texts: list[str], row_of: Callable[[str], int]) -> None:
        assert isinstance(self.kind, list)
        declared = set(self.kind)
        if (bad := next((text for text in texts if text not in declared), None)) is not None:
            raise UserError(
                f"{self._where(row_of(bad))}, column '{self.name}': {bad!r:.60} is no declared category: "
                f"{listed(self.kind)}"
            )

    def _texts(self) -> list[str]:
        return [_text(key) for key in self._place if key is not None]

    def finish(self) -> Column32:
        """The whole column.

        Raises:
            UserError: it is to be something that it is not.
        """
        if self._codes is not None:
            return self._finish_codes()
        if self._numbers is not None:
            exact = np.concatenate(self._numbers)
            self._numbers = None
            notes = ("is text in the file, all of it numbers",) if self.typed else ()
            return numeric_column(self.name, exact, None, notes, asked=self.kind == "numeric")
        reason = f"has more than {MAX_CLASSES} different texts"
        return Column32(None, np.zeros(0, np.float32), reason=reason)

    def _finish_codes(self) -> Column32:
        assert self._codes is not None
        codes = np.concatenate(self._codes) if self._codes else np.zeros(0, np.int16)
        numbers = all(map(self._is_number, (k for k in self._place if k is not None)))
        known = [k for k in self._place if k is not None and not (numbers and k in self._marks)]
        if self.kind == "numeric" and not numbers:
            bad = next(k for k in self._place if k is not None and not self._is_number(k))
            raise self._no_number(bad, self._row_of(_text(bad)))
        if not known and self.kind is None:
            return Column32(None, np.zeros(0, np.float32), reason="has no cell that is known")
        if self.kind == "numeric" or (self.kind is None and numbers and not self.typed):
            table, self._codes = self._table(), None
            whole = whole_attribute(table)
            attribute = whole and Attribute(whole.codes[codes], whole.classes)
            return numeric_column(
                self.name, table[codes], attribute, (), asked=self.kind == "numeric"
            )
        return self._categories(codes)

    def _categories(self, codes: np.ndarray) -> Column32:
        if isinstance(self.kind, list):
            self._check_declared(self._texts(), self._row_of)
        self._codes = None
        classes = tuple(
            self.kind if isinstance(self.kind, list) else in_order(sorted(set(self._texts())))
        )
        place = {text: code for code, text in enumerate(classes)}
        table = np.array(
            [-1 if key is None else place[_text(key)] for key in self._place] or [-1], np.int16
        )
        attribute = Attribute(table[codes], classes)
        unknown = attribute.codes < 0
        missing = int(unknown.sum())
        values = attribute.codes.astype(np.float32)
        values[unknown] = len(classes)
        categories = (*classes, self.missing or "") if missing else classes
        notes = []
        if self.kind is None and (marks := sorted(MARKS.intersection(classes))):
            count = int(np.isin(attribute.codes, [place[mark] for mark in marks]).sum())
            notes.append(
                f"has {listed(marks)} in {count:,} cells, read as a category (give `missing` where it marks a missing "
                "cell)"
            )
        return Column32(
            "categorical", values, categories, attribute, missing=missing, notes=tuple(notes)
        )


def _text(key: Any) -> str:
    """A cell as the text of a category: 1.0 is written 1."""
    if isinstance(key, float) and key.is_integer():
        return str(int(key))
    return str(key)


def _trimmed(array: "pa.Array") -> "pa.Array":
    """Texts without the blanks around them; numbers as they are."""
    import pyarrow as pa
    from pyarrow import compute

    text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    return compute.utf8_trim_whitespace(array) if text else array


def _mask(places: np.ndarray, count: int) -> np.ndarray:
    mask = np.zeros(count, bool)
    mask[places] = True
    return mask


def _is_padded(text: str) -> bool:
    """Whether a number has zeros before it, as codes and keys have: ``007``."""
    bare = text.lstrip("+-")
    return len(bare) > 1 and bare[0] == "0" and bare[1].isdigit()


def _any_padded(array: "pa.Array") -> bool:
    """The same of any text of an array, by its bytes."""
    import pyarrow as pa

    offset, count = array.offset, len(array)
    _, offsets, data = array.buffers()
    if data is None or not count:
        return False
    kind = np.int64 if pa.types.is_large_string(array.type) else np.int32
    ends = np.frombuffer(offsets, kind)[offset : offset + count + 1].astype(np.int64)
    text = np.frombuffer(data, np.uint8)
    begins, lengths = ends[:-1], np.diff(ends)
    some = lengths > 1
    begins, stops = begins[some], ends[1:][some]
    first = text[begins]
    begins = begins + ((first == ord("+")) | (first == ord("-")))
    begins = begins[begins + 1 < stops]
    second = text[begins + 1]
    return bool(((text[begins] == ord("0")) & (second >= ord("0")) & (second <= ord("9"))).any())
