"""Pictures joined with the tables that speak of them: which column names the files, which rows are of one record."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from diffshare.classes import listed
from diffshare.data.folder import Files, Naming, beyond_links, check_inside, naming_of
from diffshare.data.labeltable import FILE, Column, Table, column_of
from diffshare.errors import UserError, one_of

# names of the column of the files, as data sets have them, without case and marks
_NAMES = {
    *("filename", "imageid", "imgfilename", "imagefilename", "filepath", "imagepath", "imgpath"),
    *("imagefile", "file", "image", "img", "path", "imagename", "imgname", "picture", "photo"),
    *("imageindex", "imagefilepath", "name", "id"),
}
_JOINED = 0.9  # share of the keys that must be there where a table is joined by a column

USUAL = "file_name"  # the column that is not worth a word


@dataclass
class Records:
    """Records that tables list, N of them, in the order in which they are listed first.

    Attributes:
        files: those of the folder.
        positions: position of each record's file; -1 where it is missing.
        names: its path inside the folder, or what the table says where it is missing.
        rows: table and row that list it first.
        columns: what the tables say of the records, but for the names of their files.
        notes: how the tables were read, sentences.
    """

    files: Files
    positions: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    rows: list[tuple[Table, int]] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def where(self, record: int) -> str:
        """Where a record is listed, for instance ``metadata.csv:17``."""
        table, row = self.rows[record]
        return table.where(row)

    def add(self, table: Table, column: str, positions: Sequence[int]) -> None:
        """Take in a table whose rows are of these files.

        Raises:
            UserError: it lists a file twice, names one that lies outside the folder, or contradicts another table.
        """
        place = {name: record for record, name in enumerate(self.names)}
        first: dict[int, int] = {}
        names = self.files.names
        cells = table.columns[column].texts()
        for row, (cell, position) in enumerate(zip(cells, positions, strict=True)):
            if position < 0:
                _refuse_odd(table, row, cell)
            name = names[position] if position >= 0 else cell
            record = place.setdefault(name, len(place))
            if record in first:
                raise UserError(
                    f"{table.where(row)} lists {cell!r:.200} again (first in line {table.lines[first[record]]}): "
                    "keep one"
                )
            first[record] = row
            if record == len(self.names):
                self.names.append(name)
                self.positions.append(position)
                self.rows.append((table, row))
        rows = np.full(len(self.names), -1, np.int64)
        rows[list(first)] = list(first.values())
        self.merge(table, rows, without=column)
        if column != USUAL or not table.path.name.startswith("metadata."):
            self.notes.append(f"{table.path.name}: {len(table):,} rows, '{column}' names the files")

    def merge(self, table: Table, rows: np.ndarray, without: str) -> None:
        """Take in what the rows of a table say of the records.

        Args:
            table: the table.
            rows: its row for each record, -1 for none, int64, N.
            without: the column that has been used.

        Raises:
            UserError: it says something else than another table.
        """
        missing = len(rows)
        for name, column in self.columns.items():
            gap = np.full(missing - len(column.codes), -1, np.int32)
            self.columns[name] = Column(np.concatenate([column.codes, gap]), column.cells)
        for name, column in table.columns.items():
            if name == without:
                continue
            taken = column.take(rows)
            if table.signed or table.path.stem == "list_attr_celeba":
                taken = signed(name, taken)
            if name in self.columns:
                taken = self._agreed(table, rows, name, taken)
            self.columns[name] = taken

    def _agreed(self, table: Table, rows: np.ndarray, name: str, new: Column) -> Column:
        old = self.columns[name]
        texts, others = old.texts(), new.texts()
        both = np.flatnonzero((old.codes >= 0) & (new.codes >= 0))
        for record in both.tolist():
            if texts[record] != others[record]:
                raise UserError(
                    f"{table.where(rows[record])}, column '{name}': {others[record]!r:.60} of "
                    f"{self.names[record]!r:.200}, but {self.where(record)} has {texts[record]!r:.60}: the tables "
                    "must agree, mend one or leave it out"
                )
        return column_of([a or b for a, b in zip(texts, others, strict=True)])

    def refuse_missing(self) -> None:
        """Refuse records whose file is missing: how many, and the first."""
        missing = [record for record, position in enumerate(self.positions) if position < 0]
        if missing:
            others = f" ({len(missing)} missing in all)" if len(missing) > 1 else ""
            raise UserError(
                f"{self.where(missing[0])} lists {self.names[missing[0]]!r:.200}, which is not in {self.files.root}"
                f"{others}: put it there or set on_bad_image: skip"
            )

    def refuse_twins(self) -> None:
        """Refuse links that lead out of the folder, and two names of one file: a record could stand in two parts."""
        files = self.files
        nodes = {files.nodes[position] for position in self.positions if position >= 0}
        if not files.links and -1 not in self.positions and len(nodes) == len(self.positions):
            return
        first: dict[int, int] = {}
        for record, position in enumerate(self.positions):
            if position < 0:
                continue
            if position in files.links:
                check_inside(files.root, os.path.join(files.root, files.names[position]))
            twin = first.setdefault(files.nodes[position], record)
            if twin != record:
                (table, row), (other, line) = self.rows[record], self.rows[twin]
                listing = table.path != files.root
                raise UserError(
                    f"{f'{table.where(row)}: ' if listing else ''}{self.names[record]!r:.200} is the same file as "
                    f"{self.names[twin]!r:.200}{f' (line {other.lines[line]})' if listing else ''}, a link: the parts "
                    "would overlap; keep one"
                )


def _refuse_odd(table: Table, row: int, cell: str) -> None:
    if "\\" in cell or "\0" in cell or not {"", ".", ".."}.isdisjoint(cell.split("/")):
        raise UserError(
            f"{table.where(row)}: {cell!r:.200} is no plain path inside the folder; write some/name.jpg"
        )


def signed(name: str, column: Column) -> Column:
    """A column of -1 and 1 as CelebA means it: ``not NAME`` and ``NAME``; any other as it is."""
    return (
        column.renamed({"-1": f"not {name}", "1": name})
        if {*column.cells} <= {"-1", "1"}
        else column
    )


def join(files: Files, tables: Sequence[Table], file_column: str | None) -> Records:
    """The records that these tables list.

    A table that names no file of the folder is joined by a column whose cells are those of a column of another table.

    Args:
        files: those of the folder.
        tables: at least one.
        file_column: the column that names the files; None to find it.

    Raises:
        UserError: no table names the files, or one does in two columns; a table belongs to no other; see
            ``Records.add``.
    """
    records = Records(files)
    rest = []
    for table in tables:
        column, naming = _file_column(files, table, file_column, len(tables) == 1)
        if column is None:
            rest.append(table)
            continue
        cells = table.columns[column].texts()
        positions = naming.find(files, cells)
        if naming == Naming() and -1 in positions:
            positions = [
                _linked(files, cell) if hit < 0 else hit
                for hit, cell in zip(positions, cells, strict=True)
            ]
        records.add(table, column, positions)
    for table in rest:
        _join_by_key(records, table, file_column)
    return records


def _linked(files: Files, cell: str) -> int:
    odd = "\0" in cell or not {"", ".", ".."}.isdisjoint(cell.split("/"))
    position = None if odd else beyond_links(files, cell)
    return -1 if position is None else position


def _file_column(
    files: Files, table: Table, given: str | None, alone: bool
) -> tuple[str | None, Naming]:
    """The column that names the files, and how; None where none does.

    Raises:
        UserError: two do, and name different files.
    """
    columns = table.columns
    within = _within(files, table)
    fixed = given if given in columns else FILE if FILE in columns else None
    if fixed is not None:
        naming, share = naming_of(files, columns[fixed].texts(), within)
        if share > 0 or alone:
            return fixed, naming
    called = [name for name in columns if _bare(name) in _NAMES]
    # a number that several rows have is no name, though a file may be called so
    others = [n for n in columns if n not in called and len(columns[n].cells) == len(table)]
    for names in (called, others):
        fits = {name: naming_of(files, columns[name].texts(), within) for name in names}
        most = max((share for _, share in fits.values()), default=0.0)
        if most == 0:
            continue
        best = [name for name, (_, share) in fits.items() if share > most / 2]
        hits = {tuple(fits[name][0].find(files, columns[name].texts())) for name in best}
        if len(hits) > 1:
            raise UserError(
                f"{table.path} names files of {files.root} in more than one column, {listed(best)}: say which in "
                "file_column"
            )
        return best[0], fits[best[0]][0]
    return None, Naming()


def _within(files: Files, table: Table) -> str:
    """The folder of a table inside the folder of the pictures, with its last ``/``; empty for that itself."""
    if table.path.parent == files.root or not table.path.is_relative_to(files.root):
        return ""
    return table.path.parent.relative_to(files.root).as_posix() + "/"


def _bare(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _join_by_key(records: Records, table: Table, file_column: str | None) -> None:
    best: tuple[float, str, str] = (0.0, "", "")
    for ours, column in records.columns.items():
        keys = {*column.cells}
        for theirs, other in table.columns.items():
            unique = len(other.cells) == len(table)
            share = len(keys & {*other.cells}) / max(len(keys), 1) if unique else 0.0
            best = max(best, (share, ours, theirs))
    share, ours, theirs = best
    if share < _JOINED:
        raise no_file_column(records.files, table, file_column)
    row = {cell: place for place, cell in enumerate(table.columns[theirs].texts())}
    rows = np.array([row.get(cell, -1) for cell in records.columns[ours].texts()], np.int64)
    records.merge(table, rows, without=theirs)
    records.notes.append(f"{table.path.name}: {len(table):,} rows, '{theirs}' is '{ours}'")


def no_file_column(files: Files, table: Table, file_column: str | None) -> UserError:
    """That no column of a table names files of the folder."""
    if file_column is not None and file_column not in table.columns:
        return one_of("file_column", file_column, table.columns)
    example = next(iter(sorted(files.names)), None)
    there = f" (it holds {example!r:.100}, for instance)" if example else ", which is empty"
    return UserError(
        f"{table.path} has no column that names files of {files.root}{there}: its columns are "
        f"{listed(list(table.columns))}; name one in file_column"
    )
