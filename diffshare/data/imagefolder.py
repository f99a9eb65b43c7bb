"""A folder of pictures and what is known of them: from tables, from the names of folders or files, or nothing."""

import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffshare.classes import is_number
from diffshare.data.coding import MAX_CLASSES
from diffshare.data.folder import PART_WORDS, Files, walk
from diffshare.data.images import Framing, read_images
from diffshare.data.labelled import Records, join, signed
from diffshare.data.labeltable import Column, column_of, read_table
from diffshare.data.pathlabels import SPLIT, add_fields, records_of_paths, tops
from diffshare.data.pathpattern import PathPattern
from diffshare.data.probe import probe_files
from diffshare.data.rows import ChosenRows
from diffshare.data.source import PARTS, Attribute, Index, check_shares
from diffshare.errors import UserError, one_of
from diffshare.storage import as_path

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "dataset.json")
FFHQ = "ffhq-dataset-v2.json"
_NUMBERED = {"0": 0, "1": 1, "2": 2}  # training, validation, test, as CelebA and WILDS number them
_logger = logging.getLogger(__name__)


class ImageFolder(ChosenRows):
    """Pictures in a folder, with attributes from tables, from their paths, or none.

    What is known is looked for in this order: ``labels`` and ``pattern`` where they are given; a table
    ``metadata.csv``, ``.jsonl`` or ``.parquet`` or a ``dataset.json`` in the folder or in the folders of its parts;
    ``ffhq-dataset-v2.json``; folders that are called as classes, below folders of parts (``train``, ``val``, ``test``)
    or not. Where there is nothing of this kind the pictures have no attributes.

    The different cells of a column are its classes, numbers by value (``-1``, ``2``, ``10``), else in natural order; an
    empty cell is unknown. A column whose cells are all numbers is also among the index's ``numbers``.

    Args:
        root: the folder.
        image_size: side of the decoded images in pixels, 1 to 1024.
        crop: side in pixels of the centred square that is cut out and resized; null for the largest that fits.
        attributes: columns to keep as attributes; null for all that have 1 to 1000 classes.
        metadata: another name for ``labels``.
        shares: shares of the sharer's, the auxiliary and the test part where nothing else says the part of a record.
        on_bad_image: ``error`` stops at an image that is missing or cannot be decoded, ``skip`` leaves it out and
            counts it.
        labels: a table or several (.csv, .tsv, .txt separated by blanks, .jsonl, .json, .parquet), in the folder or
            anywhere. Several are joined by the files they name, or by a column that they share.
        file_column: the column that names the files; null to find it.
        pattern: how paths carry labels, for instance ``[age]_[gender]_[race]_*`` or ``[age]/[sex]/*.jpg``; together
            with ``labels``, what both say is joined.
        split_column: column or field that says the part of a record; null for ``split``, where there is one.
        splits: cell of that column to ``sharer``, ``auxiliary`` or ``test``; null for the usual words (``train``,
            ``val``, ``test``) and 0, 1, 2.
        values: column to what its cells mean: ``{gender: {"0": male, "1": female}}``.
        signed: read columns of -1 and 1 as ``not NAME`` and ``NAME``, as CelebA means them; its own tables are read so
            in any case.
        unlabelled: what becomes of pictures that no table or pattern knows: ``skip`` leaves them out and counts them,
            ``error`` refuses the folder.
        rows: derived attributes, the choice of records and their groups, see :class:`diffshare.data.rows.ChosenRows`.

    Raises:
        UserError: an option that makes no sense.
    """

    modality: Literal["image", "table"] = "image"

    def __init__(
        self,
        root: str,
        image_size: int = 64,
        crop: int | None = None,
        attributes: list[str] | None = None,
        metadata: str | None = None,
        shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
        on_bad_image: Literal["error", "skip"] = "error",
        labels: str | list[str] | None = None,
        file_column: str | None = None,
        pattern: str | None = None,
        split_column: str | None = None,
        splits: dict[str, str] | None = None,
        values: dict[str, dict[str, str]] | None = None,
        signed: bool = False,
        unlabelled: Literal["skip", "error"] = "skip",
        **rows: Any,
    ) -> None:
        super().__init__(**rows)
        self.root = as_path(root)
        self.framing = Framing(image_size, crop)
        self.attributes = attributes
        if labels is not None and metadata is not None:
            raise UserError("labels and metadata are both given: leave metadata out")
        labels = metadata if labels is None else labels
        self.labels = [labels] if isinstance(labels, str) else labels
        self.file_column, self.split_column = file_column, split_column
        self.pattern = None if pattern is None else PathPattern(pattern)
        for cell, part in (splits or {}).items():
            if part not in PARTS:
                raise UserError(f"splits: {cell!r:.60} is {part!r:.60}, none of {', '.join(PARTS)}")
        self.splits, self.values = splits, values or {}
        self.signed, self.unlabelled = signed, unlabelled
        self.shares = check_shares(shares)
        self.on_bad_image: Literal["error", "skip"] = on_bad_image
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """How the folder was read, sentences: where labels come from, what was left out."""
        chosen = super().notes
        return (*self._notes, *chosen)

    def decoding(self) -> str:
        """Crop, filter and size, as text."""
        return f"ImageFolder: {self.framing}"

    def _read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Decode the images at these positions.

        Returns:
            uint8, n x image_size x image_size x 3.

        Raises:
            BadRecord: an image is missing, truncated, no picture, or smaller than the crop.
        """
        paths = self._paths(self._index.names[positions].tolist())
        return read_images(paths, positions, self.framing, out)

    def _paths(self, names: Sequence[str]) -> list[str]:
        # some times faster than os.path.join
        root = str(self.root)
        return [f"{root}{os.sep}{name}" for name in names]

    def _cells(self, column: str) -> np.ndarray | None:
        """Texts of a column, N, empty where not known; None where there is none."""
        held = self._records.columns.get(column)
        return None if held is None else np.array(held.texts())

    @cached_property
    def _index(self) -> Index:
        records = self._records
        files = records.files
        present = np.array(records.positions, np.int64) >= 0
        rows = [position for position in records.positions if position >= 0]
        sizes, stamps = np.zeros((2, len(present)), np.int64)
        sizes[present] = [files.sizes[row] for row in rows]
        stamps[present] = [files.stamps[row] for row in rows]
        split = self._split(records)
        offered = {name: c for name, c in records.columns.items() if name != split}
        numbers = {name: c.numbers() for name, c in offered.items()}
        return Index(
            np.array(records.names),
            sizes,
            self._attributes(offered),
            None if split is None else self._parts(records, split),
            stamps,
            probe_files(self._paths(records.names)),
            {name: values for name, values in numbers.items() if values is not None},
        )

    @cached_property
    def _records(self) -> Records:
        files = walk(self.root)
        tables = [read_table(path) for path in self._tables(files)]
        if tables:
            records = join(files, tables, self.file_column)
            if self.labels is None and tables[0].path.parent != self.root:
                # the tables lie in the folders of the parts
                records.columns.setdefault(SPLIT, column_of(tops(records.names)))
            if self.pattern is not None:
                add_fields(records, self.pattern)
        else:
            records = records_of_paths(files, self.pattern)
        if self.on_bad_image != "skip":
            records.refuse_missing()
        records.refuse_twins()
        if tables or self.pattern is not None:
            self._count_unlabelled(records)
        for name, column in records.columns.items():
            records.columns[name] = self._meant(records, name, column)
        self._notes += records.notes
        return records

    def _tables(self, files: Files) -> list[Path]:
        if self.labels is not None:
            return [self._beside(label) for label in self.labels]
        if self.pattern is not None:
            return []
        for folders in ([""], _part_folders(files)):
            for name in METADATA:
                paths = [self.root / folder / name for folder in folders]
                if there := [path for path in paths if path.is_file()]:
                    return there
        return [path] if (path := self.root / FFHQ).is_file() else []

    def _beside(self, label: str) -> Path:
        """A table: in the folder where it is there, else as the path says."""
        path = as_path(label)
        return (
            self.root / label if not path.is_absolute() and (self.root / label).is_file() else path
        )

    def _count_unlabelled(self, records: Records) -> None:
        labelled = {*records.positions}
        without = records.files.images(labelled)
        if not without:
            return
        what = (
            f"{len(without):,} of {len(without) + len(records.names):,} pictures in {self.root} have no label, "
            f"the first {records.files.names[without[0]]!r:.200}"
        )
        if self.unlabelled == "error":
            raise UserError(f"{what}: label them, remove them, or set `unlabelled` to skip")
        records.notes.append(f"{what}: left out")
        _logger.info("%s: left out", what)

    def _meant(self, records: Records, name: str, column: Column) -> Column:
        """A column as ``values`` and ``signed`` say that it is meant."""
        meaning = self.values.get(name)
        if meaning is None:
            return signed(name, column) if self.signed else column
        for code, cell in enumerate(column.cells):
            if cell not in meaning:
                record = int(np.argmax(column.codes == code))
                raise UserError(
                    f"{records.names[record]!r:.200}, column '{name}': values says nothing of {cell!r:.60}: add it, "
                    'with "" where it is not known'
                )
        return column.renamed(meaning)

    def _split(self, records: Records) -> str | None:
        if self.split_column is None:
            return SPLIT if SPLIT in records.columns else None
        if self.split_column not in records.columns:
            raise one_of("split_column", self.split_column, records.columns)
        return self.split_column

    def _parts(self, records: Records, name: str) -> np.ndarray:
        column = records.columns[name]
        if self.splits is not None:
            words = {cell: PARTS.index(part) for cell, part in self.splits.items()}
        else:
            words = _NUMBERED if {*column.cells} <= _NUMBERED.keys() else PART_WORDS
        codes = [*(words.get(cell, -1) for cell in column.cells), -1]
        parts = np.array(codes, np.int8)[column.codes]
        if len(unknown := np.flatnonzero(parts < 0)):
            record = int(unknown[0])
            raise UserError(
                f"{records.where(record)}, column '{name}': {column.texts()[record]!r:.60} is none of "
                f"{', '.join(words)}; say in splits which part it is"
            )
        return parts

    def _attributes(self, offered: dict[str, Column]) -> dict[str, Attribute]:
        for name in self.attributes or []:
            if name not in offered:
                raise one_of("attribute", name, offered)
        attributes = {}
        for name in offered if self.attributes is None else self.attributes:
            column = offered[name]
            if attribute := column.attribute():
                attributes[name] = attribute
            elif self.attributes is not None:
                kind = "numbers" if all(map(is_number, column.cells)) else "cells"
                reason = (
                    f"more than {MAX_CLASSES} different {kind}"
                    if column.cells
                    else "empty cells only"
                )
                where = ", ".join(map(str, self._tables(self._records.files))) or self.root
                raise UserError(
                    f"column '{name}' of {where} has {reason}: give it classes, such as ranges"
                )
        return attributes


def _part_folders(files: Files) -> list[str]:
    tops = {name.partition("/")[0] for name in files.names if "/" in name}
    return sorted(top for top in tops if top.casefold() in PART_WORDS)
