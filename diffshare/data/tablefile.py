"""Any table file as a source: CSV, Parquet or JSON lines, recognised by looking, and a data frame by the same rules."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffshare.data.arrowreaders import FrameReader, ParquetReader
from diffshare.data.cells import Kind
from diffshare.data.dialect import header_note
from diffshare.data.jsonlines import JSONReader
from diffshare.data.recognised import Recognised
from diffshare.data.source import check_shares
from diffshare.data.tablebytes import look
from diffshare.data.tablereaders import CSVReader, Reader, modified
from diffshare.storage import as_path


class TableFile(Recognised):
    """A table file: CSV with any delimiter, Parquet or JSON lines, each also within gzip, told by its content.

    Args:
        path: the file.
        columns: column name to ``numeric``, ``categorical`` or the list of its categories in the order of their
            codes; other columns are not read. Where None, all columns are, and their cells tell what they are.
        as_category: columns that are categories, whatever they look like.
        as_number: columns that are numbers: a text among them is refused.
        missing: the one mark of a missing cell beside the empty one.
        delimiter: of CSV, one character; where None it is the one of ``, ; tab |`` by which the records fall into
            equally many cells.
        encoding: of text, where it is neither UTF-8 nor UTF-16 with its mark.
        header: the first record of CSV holds the names; else they are those of ``columns``, or ``0``, ``1``, ...
        shares: shares of the sharer's, the auxiliary and the test part.

    Records are named by their number in the file, from 1. Everything that is malformed is refused with its line.

    Raises:
        UserError: no such file, none of a table, or one that does not fit the description.
    """

    def __init__(
        self,
        path: str,
        columns: dict[str, Kind | list[str | int]] | None = None,
        *,
        as_category: Sequence[str] = (),
        as_number: Sequence[str] = (),
        missing: str | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        header: bool = True,
        shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
        **rows: Any,
    ) -> None:
        super().__init__(**rows)
        self.path = as_path(path)
        self._settings(columns, as_category, as_number, missing)
        self.delimiter, self.encoding, self.header = delimiter, encoding, header
        self.shares = check_shares(shares)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns of the file, in its order."""
        return tuple(self._reader.names)

    def of_kinds(self, kinds: Mapping[str, Any]) -> "TableFile":
        """These columns of the file, read as these kinds."""
        return TableFile(
            str(self.path),
            dict(kinds),
            missing=self._mark,
            delimiter=self.delimiter,
            encoding=self.encoding,
            header=self.header,
        )

    @property
    def file(self) -> str:
        """Name of the file, without its folder."""
        return self.path.name

    def _open(self) -> Reader:
        looked = look(self.path, self.encoding)
        if looked.format == "parquet":
            return ParquetReader(self.path, looked)
        if looked.format == "jsonl":
            return JSONReader(self.path, looked)
        names = () if self.header or self._columns is None else tuple(self._columns)
        return CSVReader(self.path, looked, self.delimiter, self.header, names)

    def _stamp(self) -> int:
        return modified(self.path)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided on columns or left out, a sentence each."""
        first = header_note(self._reader.names, self.file) if self._is_csv and self.header else ""
        return ((first,) if first else ()) + super().notes

    @property
    def _is_csv(self) -> bool:
        return isinstance(self._reader, CSVReader)


class TableFrame(Recognised):
    """A data frame of pandas, or a two-dimensional array, whose columns are told by the rules of a table file.

    Args:
        frame: N records.
        columns: see :class:`TableFile`; so are the others.
        as_category: columns that are categories.
        as_number: columns that are numbers.
        missing: the one mark of a missing cell beside the empty one.

    Raises:
        UserError: no record or column, or cells that do not fit the description.
    """

    shares = (0.0, 1.0, 0.0)
    file = "the data frame"

    def __init__(
        self,
        frame: Any,
        columns: dict[str, Kind | list[str | int]] | None = None,
        *,
        as_category: Sequence[str] = (),
        as_number: Sequence[str] = (),
        missing: str | None = None,
        **rows: Any,
    ) -> None:
        super().__init__(**rows)
        self._frame = frame
        self._settings(columns, as_category, as_number, missing)

    def _open(self) -> Reader:
        return FrameReader(self._frame)
