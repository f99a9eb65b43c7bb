"""Tables as sources: UCI's Adult as its files are, and any CSV file with a description of its columns.

What ``read`` gives is float32, n x columns. A numeric cell is its value, NaN where it is missing. A categorical cell
is the code of its category; a missing one has the category ``missing``, the last of the column, which is there only
if the column has missing cells. As an attribute of the index the same column has the same codes, but a missing cell
is -1, that is unknown.

float32 holds every whole number up to 16,777,216 and about seven digits beyond. A column of whole
numbers that it would round (a key, a time stamp) is refused, and so is one of other numbers most of
which would fall together. What a model's samples are written as is read back as it was: see
``diffshare.release.tables``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from diffshare.data.cells import Kind, parser_of
from diffshare.data.coding import MAX_CLASSES, check_official_shares, parts_beside_test
from diffshare.data.csvfile import Block, check_delimiter, no_column, read_blocks, read_header
from diffshare.data.probe import probe_array
from diffshare.data.rows import ChosenRows, csv_cells
from diffshare.data.source import Index, check_shares
from diffshare.errors import UserError, one_of
from diffshare.storage import as_path


@dataclass(frozen=True)
class Column:
    """One column of a table: what is needed to turn its float32 values back into cells.

    Attributes:
        name: its name, different from those of the other columns.
        kind: ``"numeric"`` or ``"categorical"``.
        categories: names of the codes 0..K-1 of a categorical column, a missing cell's own category among them.
        integer: all known values of a numeric column are whole numbers.
        decimals: most decimals that a cell of a numeric column has; None where they are not fixed.
    """

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()
    integer: bool = False
    decimals: int | None = None


def column_positions(columns: Sequence[Column], names: Iterable[str]) -> np.ndarray:
    """Positions of the named columns, in the order of the names: ``np.delete(x, positions, axis=1)`` drops them.

    Returns:
        int64, one position for each name.

    Raises:
        UserError: a name is no column.
    """
    known = {column.name: position for position, column in enumerate(columns)}
    try:
        return np.array([known[name] for name in names], np.int64)
    except KeyError as error:
        raise one_of("column", error.args[0], known) from None


@dataclass(frozen=True)
class Table:
    """A table in memory: schema, values (float32, N x columns) and index."""

    columns: tuple[Column, ...]
    values: np.ndarray
    index: Index


class TableSource(ChosenRows):
    """What all tables share: the file is read once, at the first use."""

    modality: Literal["image", "table"] = "table"
    on_bad_image: Literal["error", "skip"] = "error"
    shares: tuple[float, float, float]

    def _load(self) -> Table:
        raise NotImplementedError

    @cached_property
    def _table(self) -> Table:
        return self._load()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The schema: one ``Column`` for each column of ``read()``, in its order."""
        return self._table.columns

    @property
    def _index(self) -> Index:
        """Names (``file:line``), sizes (bytes of the line) and categorical columns of all records."""
        return self._table.index

    def decoding(self) -> str:
        """The schema as text."""
        return f"table {self.columns}"

    def _read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The rows at these positions, float32, n x columns (see the module for missing cells)."""
        return np.take(self._table.values, positions, axis=0, out=out)


class CSVTable(TableSource):
    """Any CSV file with a description of its columns.

    Args:
        path: the file: UTF-8, one record a line, spaces after the delimiter ignored.
        columns: column name to ``numeric``, ``categorical`` or the list of its categories in the order of their
            codes. ``categorical`` takes the categories that occur, in the order of
            :func:`diffshare.classes.in_order`. Columns of the file that are not named here are ignored.
        header: the first line holds the column names. Without it, ``columns`` must name all of the file's columns
            in their order.
        delimiter: what separates two cells, one character.
        missing: the mark of a missing cell; an empty string where missing cells are empty.
        shares: shares of the sharer's, the auxiliary and the test part.
        rows: derived attributes, the choice of records and their groups, see :class:`diffshare.data.rows.ChosenRows`.

    Raises:
        UserError: the file does not fit the description; the message names line and column.
    """

    def __init__(
        self,
        path: str,
        columns: dict[str, Kind | list[str | int]],
        header: bool = True,
        delimiter: str = ",",
        missing: str = "?",
        shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
        **rows: Any,
    ) -> None:
        super().__init__(**rows)
        self.path = as_path(path)
        self.schema = check_schema(columns, missing)
        self.header = header
        self.delimiter = check_delimiter(delimiter)
        self.missing = missing
        self.shares = check_shares(shares)

    def _cells(self, column: str) -> np.ndarray | None:
        names = None if self.header else list(self.schema)
        return csv_cells(self.path, column, names, self.delimiter, self.missing)

    def _load(self) -> Table:
        names = read_header(self.path, self.delimiter) if self.header else list(self.schema)
        place = {name: position for position, name in enumerate(names)}
        absent = [name for name in self.schema if name not in place]
        if absent:
            raise no_column(self.path, absent[0], names, self.delimiter)
        chosen = [place[name] for name in self.schema]
        blocks = read_blocks(self.path, len(names), delimiter=self.delimiter, header=self.header)
        return assemble((_select(block, chosen) for block in blocks), self.schema, self.missing)


class Adult(TableSource):
    """UCI's Adult (census income): ``adult.data`` and ``adult.test`` as they are.

    The records of ``adult.test`` are the test part; those of ``adult.data`` are split between sharer and auxiliary by
    the hash of their names. All 15 columns are read; the eight categorical ones and the label ``income`` are
    attributes. The dot behind the labels of ``adult.test`` is dropped.

    Args:
        root: folder with both files.
        shares: shares of the sharer's and the auxiliary part among ``adult.data``; the third must be 0.
        rows: derived attributes, the choice of records and their groups, see :class:`diffshare.data.rows.ChosenRows`.

    Raises:
        UserError: a file is missing or malformed; the message names line and column.
    """

    SCHEMA: Mapping[str, Kind | list[str]] = {
        "age": "numeric",
        "workclass": "categorical",
        "fnlwgt": "numeric",
        "education": "categorical",
        "education-num": "numeric",
        "marital-status": "categorical",
        "occupation": "categorical",
        "relationship": "categorical",
        "race": "categorical",
        "sex": ["Female", "Male"],
        "capital-gain": "numeric",
        "capital-loss": "numeric",
        "hours-per-week": "numeric",
        "native-country": "categorical",
        "income": ["<=50K", ">50K"],
    }

    def __init__(
        self, root: str, shares: tuple[float, float, float] = (0.5, 0.5, 0.0), **rows: Any
    ) -> None:
        super().__init__(**rows)
        self.root = as_path(root)
        self.shares = check_official_shares(shares, "adult.test")

    def _load(self) -> Table:
        for name in ("adult.data", "adult.test"):
            if not (self.root / name).is_file():
                raise UserError(
                    f"no {name} in {self.root}: give the folder of UCI's Adult data set as root"
                )
        table = assemble(self._blocks(), self.SCHEMA, "?")
        test = np.char.startswith(table.index.names, "adult.test:")
        parts = parts_beside_test(table.index, test, self.shares)
        return replace(table, index=replace(table.index, parts=parts))

    def _blocks(self) -> Iterator[Block]:
        yield from read_blocks(self.root / "adult.data", len(self.SCHEMA))
        for block in read_blocks(self.root / "adult.test", len(self.SCHEMA), comment="|"):
            labels = [cell.removesuffix(".") for cell in block.columns[-1]]
            yield replace(block, columns=[*block.columns[:-1], labels])


def check_schema(
    columns: Mapping[str, Kind | list[str | int]], missing: str
) -> Mapping[str, Kind | list[str]]:
    """A description of columns with its categories as texts.

    Raises:
        UserError: it is empty, or declares no, too many or repeated categories, or the mark of a missing cell.
    """
    if not columns:
        raise UserError("columns is empty: describe at least one column as numeric or categorical")
    schema = {
        str(name): list(map(str, kind))
        if isinstance(kind, list)
        else kind  # a category in YAML may look like a number
        for name, kind in columns.items()
    }
    for name, kind in schema.items():
        if isinstance(kind, list) and (
            len(set(kind)) < len(kind) or not 0 < len(kind) <= MAX_CLASSES
        ):
            raise UserError(
                f"column '{name}' must declare 1 to {MAX_CLASSES} different categories, not {len(kind)}"
            )
        if isinstance(kind, list) and missing in kind:
            raise UserError(
                f"column '{name}' declares '{missing}', the mark of a missing cell: leave it out"
            )
    return schema


def _select(block: Block, chosen: Sequence[int]) -> Block:
    return replace(block, columns=[block.columns[position] for position in chosen])


def assemble(
    blocks: Iterable[Block], schema: Mapping[str, Kind | list[str]], missing: str
) -> Table:
    """Parse all blocks, whose columns are those of the schema."""
    parsers = [parser_of(name, kind, missing) for name, kind in schema.items()]
    names: list[str] = []
    sizes: list[int] = []
    stamps: list[int] = []
    for block in blocks:
        for parser, cells in zip(parsers, block.columns, strict=True):
            parser.add(block, cells)
        names += map(block.where, range(len(block.lines)))
        sizes += block.sizes
        stamps += [block.stamp] * len(block.lines)
    found = {parser.name: parser.finish() for parser in parsers}
    coded = {
        name: parsed.attribute for name, parsed in found.items() if parsed.attribute is not None
    }
    values = np.stack([parsed.values for parsed in found.values()], axis=1)
    index = Index(
        np.array(names),
        np.array(sizes, np.int64),
        coded,
        stamps=np.array(stamps, np.int64),
        probe=probe_array(values),
        numbers={name: parsed.exact for name, parsed in found.items() if parsed.exact is not None},
    )
    columns = tuple(
        Column(name, parsed.kind, parsed.categories, parsed.integer, parsed.decimals)
        for name, parsed in found.items()
    )
    return Table(columns, values, index)
