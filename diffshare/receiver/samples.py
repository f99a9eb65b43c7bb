"""What was received of a generator: samples in memory or in a folder, also in the codes of labelled records."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from diffshare.classes import Joined, another_attribute, join, listed, quoted
from diffshare.data.csvfile import no_column, read_header
from diffshare.data.derived import Derivation
from diffshare.data.imagearrays import as_images
from diffshare.data.images import resize
from diffshare.data.memory import (
    MISSING,
    ImagesInMemory,
    Labels,
    TableInMemory,
    attribute_of,
    columns_of,
    count_of,
)
from diffshare.data.recoding import log_unknown, recode
from diffshare.data.settledrows import read_settled
from diffshare.data.settling import Renames, facts_of, reference_facts, settle
from diffshare.data.source import Attribute
from diffshare.data.table import CSVTable, TableSource
from diffshare.data.tablefile import TableFile
from diffshare.errors import UserError
from diffshare.leftovers import restore
from diffshare.received import is_number
from diffshare.receiver.choices import names_of
from diffshare.receiver.door import Reading, identity, look_at, open_source
from diffshare.receiver.records import Records
from diffshare.release.info import class_names, class_target, read_info
from diffshare.release.samples import NPZ, read_samples
from diffshare.release.tables import CSV, check_rows_file
from diffshare.storage import sha256_file

LABELS = (
    "label",
    "class",
    "y",
)  # what the only label of images is called where it has no name of its own


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Samples:
    """M samples of a generator.

    What is given is copied: who changes an array or a data frame afterwards does not change the samples.

    Args:
        x: images, best uint8, M x H x W x C (see :func:`diffshare.data.imagearrays.as_images` for what else is
            understood); or rows, a data frame or an array, M x D.
        y: the class that each was asked for, M: integers or texts; where None, rows may have it as a column.

    Attributes:
        images: uint8, M x H x W x C; None of rows.
        table: rows, a data frame or a file; None of images.
        y: the class of each, and the names of the classes, which may have none; None where not told.
        weighted: they carry weights that differ.
        info: what ``samples.json`` says of them: a claim.
        folder: folder or file that they were read from; None of what is in memory.
        known: attributes of images that their labels tell, by name.
        renames: what their table calls otherwise than the records.

    Raises:
        UserError: shapes, types or lengths that do not fit.

    Example:
        >>> import diffshare as ds
        >>> ds.Samples([[0.5, 1.0], [0.25, 2.0]], ["no", "yes"])
        Samples(2 rows in memory)
    """

    images: np.ndarray | None
    table: TableInMemory | TableFile | Path | None
    y: Attribute | None
    weighted: bool
    info: Mapping[str, Any]
    folder: Path | None
    known: Mapping[str, Attribute]
    renames: Renames

    def __init__(self, x: Any, y: Labels | None = None) -> None:
        images = None
        if isinstance(x, np.ndarray) and x.ndim in (3, 4):
            images = ImagesInMemory(as_images(x)).x.copy()
        labels = None if y is None else attribute_of(y, "y", count_of(x))
        table = TableInMemory(x) if images is None else None
        self._set(images=images, table=table, y=labels, folder=None)

    @classmethod
    def from_frame(cls, frame: Any, *, target: str | int | None = None) -> Self:
        """Rows of a data frame.

        Args:
            frame: with the columns that the receiver's records have.
            target: column of the class; where None, the column that the records call so.

        Raises:
            UserError: no such column.
        """
        if target is None:
            return cls(frame)
        (target,) = names_of("target", target)
        cells, _ = columns_of(frame)
        if target not in cells:
            raise no_column(Path("the data frame"), target, list(cells))
        return cls(frame, cells[target])

    @classmethod
    def from_path(
        cls,
        what: str | Path,
        reading: Reading | None = None,
        *,
        image_size: int | None = None,
        rename: Sequence[str] = (),
    ) -> Self:
        """A samples folder, a table file, an NPZ file or a folder of images.

        Args:
            what: the path.
            reading: how it is read, where it is no samples folder.
            image_size: side in pixels that a folder of images is read at, where ``reading`` does not say it.
            rename: what a table calls otherwise than the records: ``OLD=NEW`` for a column, ``COLUMN:OLD=NEW`` for a
                category.

        Raises:
            UserError: it holds no samples, or is a release.
        """
        folder, samples = Path(what), cls.__new__(cls)
        renames = Renames.parse(rename)
        if not folder.is_dir() or (folder.exists() and look_at(folder) in ("images", "parquet")):
            return samples._opened(folder, reading or Reading(), image_size)._set(renames=renames)
        path = samples_file(folder)
        if path.name == CSV:
            info = read_info(folder)
            return samples._set(images=None, table=path, y=None, info=info, folder=folder)
        read = read_samples(folder)
        labels = Attribute(read.y, class_names(read.info, folder))
        weighted = read.weight is not None and bool(np.ptp(read.weight) > 0)
        info = dict(read.info)
        return samples._set(
            images=read.x, table=None, y=labels, weighted=weighted, info=info, folder=folder
        )

    @classmethod
    def drawn(
        cls, x: Any, y: np.ndarray | None, info: Mapping[str, Any], classes: Sequence[str] = ()
    ) -> Self:
        """Samples that were asked for: codes of classes, -1 for none, and what ``samples.json`` would say."""
        samples = cls(x)
        labels = None if y is None else Attribute(y, tuple(classes))
        return samples._set(y=labels, info=dict(info))

    def _opened(self, path: Path, reading: Reading, image_size: int | None) -> Self:
        """Samples of what is no samples folder; conditions on rows are for the reference alone."""
        own = replace(reading, where=None, derive=(), group_column=None, labels=())
        source = open_source(path, own, image_size)
        if isinstance(source, TableFile):
            return self._set(images=None, table=source, y=None, folder=path)
        index = source.index()
        if reading.labels and not index.attributes:  # which may be of the reference alone
            try:
                labelled = open_source(path, replace(own, labels=reading.labels), image_size)
                source, index = labelled, labelled.index()
            except UserError:
                pass
        images = source.read(np.arange(len(index)))
        return self._set(images=images, table=None, y=None, folder=path, known=index.attributes)

    def _set(self, **values: Any) -> Self:
        usual = {"weighted": False, "info": {}, "known": {}, "renames": Renames()}
        self.__dict__.update({**usual, **self.__dict__, **values})
        return self

    def resized(self, size: int) -> Self:
        """Images of another side, in pixels."""
        assert self.images is not None
        other = type(self).__new__(type(self))
        sha256 = {"sha256": self.sha256}  # of what was received
        return other._set(**{**self.__dict__, "images": resize(self.images, size), **sha256})

    def __repr__(self) -> str:
        what = "rows" if self.images is None else f"{len(self.images)} images"
        if isinstance(self.table, TableInMemory):
            what = f"{count_of(self.table.cells)} rows"
        return f"Samples({what} in {self.folder or 'memory'})"

    def _rows(self) -> TableInMemory:
        assert isinstance(self.table, TableInMemory)
        return self.table

    @property
    def who(self) -> str:
        """The samples in words."""
        return "the samples" if self.folder is None else f"the samples in {self.folder}"

    @property
    def where(self) -> str:
        """Where they lie, at the beginning of a message."""
        return "the samples" if self.folder is None else str(self.folder)

    @cached_property
    def sha256(self) -> str:
        """Identity: of the file that they are in, or of what is in memory."""
        if self.folder is not None and (known := identity(self.folder)) is not None:
            return known
        digest = hashlib.sha256()
        if self.images is not None:
            digest.update(np.ascontiguousarray(self.images).tobytes())
        else:
            for name, cells in self._rows().cells.items():
                digest.update("\0".join((name, *map(str, cells.tolist()), "")).encode())
        if self.y is not None:
            digest.update(
                np.ascontiguousarray(self.y.codes).tobytes() + "\0".join(self.y.classes).encode()
            )
        return digest.hexdigest()

    @property
    def header(self) -> tuple[str, ...]:
        """Names of the columns of rows."""
        if isinstance(self.table, Path):
            return tuple(header(self.table))
        if isinstance(self.table, TableFile):
            return self.table.names
        return tuple(self._rows().cells)

    def rows(self, kinds: Mapping[str, Any], missing: str | None = None) -> TableSource:
        """The columns of these kinds as a source.

        Args:
            kinds: column name to its kind, or the list of its categories.
            missing: the mark of a missing cell that the result has, and a file; their own where None.

        Raises:
            UserError: they are no table, or lack one of the columns.
        """
        if absent := [name for name in kinds if name not in set(self.header)]:
            where = self.table if isinstance(self.table, Path) else Path("the table of samples")
            raise no_column(where, absent[0], list(self.header))
        if isinstance(self.table, Path):
            return CSVTable(
                str(self.table), dict(kinds), missing=MISSING if missing is None else missing
            )
        if isinstance(self.table, TableFile):
            return self.table.of_kinds(kinds)
        own = self._rows()
        return own.of_kinds(kinds, own.missing if missing is None else missing)

    def coded(self, records: Records) -> "CodedSamples":
        """The samples in the codes of labelled records.

        Raises:
            UserError: samples of another kind, size or class, without a class, or with weights that differ.
        """
        if (self.images is None) != bool(records.columns):
            kinds = ("images", "rows of a table")
            raise UserError(
                f"{self.where} {'holds' if self.folder else 'are'} {kinds[self.images is None]}, the reference "
                f"{'holds ' if not self.folder else ''}{kinds[bool(records.columns)]}: both must be of one kind"
            )
        if self.images is None:
            return (
                self._settled_rows(records)
                if isinstance(self.table, TableFile)
                else self._coded_rows(records)
            )
        if self.images.shape[1:] != records.x.shape[1:]:
            raise UserError(
                f"{self.who} are {_size(self.images)}, the records of the reference {_size(records.x)}: add "
                f"`reference.image_size` {self.images.shape[1]} (or name a source of as many channels)"
            )
        labels = self._classes(records)
        joined = join_classes(labels.classes, records, self.who)
        y = joined.recode(labels.codes.astype(np.int64))
        _check_classes(y, records, self.where)
        if self.weighted:  # a training would honour them, no share here does
            raise UserError(
                f"{self.where} carries weights, which an audit does not see: audit and repair samples as they were "
                "drawn, without the array 'weight'"
            )
        notes = (
            joined.note,
            another_attribute(class_target(self.info), str(records.target), self.who),
        )
        return CodedSamples(
            self.images, y, {}, self.sha256, dict(self.info), notes=tuple(filter(None, notes))
        )

    def _classes(self, records: Records) -> Attribute:
        """The class of each image: as it was asked for, or as its labels tell."""
        if self.y is not None:
            return self.y
        names = [str(records.target), *(LABELS if len(self.known) == 1 else ())]
        for name in names:
            if name in self.known:
                return self.known[name]
        told = f"; their labels tell {listed(list(self.known))}" if self.known else ""
        raise UserError(
            f"{self.who} have no class '{records.target}'{told}: give y, labels that name them, or a folder a class"
        )

    def _settled_rows(self, records: Records) -> "CodedSamples":
        """Rows of a file whose columns were recognised, read as the columns of the records."""
        assert isinstance(self.table, TableFile)
        table, target = self.table, str(records.target)
        wanted: list[str] = []
        derived: dict[str, Derivation] = {}
        for name in (target, *records.sensitive):
            derivation = records.derivation(name)
            if derivation is not None and name not in table.names:
                derived[name] = derivation
            else:
                wanted.append(name)
        groups_of = [column for name in records.sensitive for column in records.columns_of(name)]
        settled = settle(
            reference_facts(records.columns, records.attributes, wanted),
            facts_of(table),
            strict=[target],
            may_lack=[name for name in groups_of if name != target],
            renames=self.renames,
        )
        own = {name: records.attributes[name] for name in records.attributes if name not in derived}
        rows = read_settled(table, settled, records.columns, own)
        groups = {name: one.codes.astype(np.int64) for name, one in rows.attributes.items()}
        index = table.index()
        for name, of in derived.items():
            if not set(of.reads) & set(settled.absent):
                groups[name] = of.apply(index.attributes, index.numbers).codes.astype(np.int64)
        y = groups.pop(target)
        _check_classes(y, records, str(self.folder))
        return CodedSamples(
            rows.x, y, groups, self.sha256, dict(self.info), settled.absent, rows.notes
        )

    def _coded_rows(self, records: Records) -> "CodedSamples":
        own = None if self.y is None else join_classes(self.y.classes, records, self.who)
        kinds, derived = self._kinds(records, own is None)
        told = {column for name in records.sensitive for column in records.columns_of(name)}
        absent = tuple(name for name in kinds if name in told and name not in self.header)
        table = self.rows({k: v for k, v in kinds.items() if k not in absent}, records.missing)
        index = table.index()
        x = table.read(np.arange(len(index)))
        if own is None:
            of = derived.get(str(records.target))
            y = (
                index.attributes[str(records.target)]
                if of is None
                else of.apply(index.attributes, index.numbers)
            ).codes.astype(np.int64)
        else:
            assert self.y is not None
            y = own.recode(self.y.codes.astype(np.int64))
        _check_classes(y, records, str(self.table) if self.folder else self.where)
        groups, notes = {}, [own.note] if own is not None and own.note else []
        for name, attribute in index.attributes.items():
            if name != records.target:
                places, note = _column(name, attribute.classes, records, audited=name in told)
                groups[name] = np.append(places, -1)[attribute.codes]
                notes += [note] if note else []
        for name, of in derived.items():
            if not set(of.reads) & set(absent):
                groups[name] = of.apply(index.attributes, index.numbers).codes.astype(np.int64)
        groups.pop(str(records.target), None)
        shown = [i for i, column in enumerate(records.columns) if column.name not in absent]
        rows = np.full((len(x), len(records.columns)), np.nan, np.float32)
        seen = [records.columns[i] for i in shown]
        rows[:, shown] = recode(x, table.columns, seen)
        log_unknown(rows[:, shown], seen, str(self.table) if self.folder else self.where)
        return CodedSamples(rows, y, groups, self.sha256, dict(self.info), absent, tuple(notes))

    def _kinds(
        self, records: Records, target: bool
    ) -> tuple[dict[str, Any], dict[str, Derivation]]:
        """Kinds of the columns to read, and how what is no column of the samples is derived from them."""
        kinds: dict[str, Any] = {column.name: column.kind for column in records.columns}
        derived: dict[str, Derivation] = {}
        there = set(self.header)
        for name in (*records.sensitive, *((str(records.target),) if target else ())):
            derivation = records.derivation(name)
            if derivation is not None and name not in there:
                derived[name] = derivation
                kinds = {**records.kinds_of(name), **kinds}
            elif name == records.target:
                kinds[name] = list(records.classes)
            elif derivation is not None:
                kinds.setdefault(name, "categorical")
        return kinds, derived


@dataclass(frozen=True)
class CodedSamples:
    """M samples in the codes of labelled records.

    Attributes:
        x: as ``Records.x``; NaN where a cell has a category that the records do not have.
        y: the class as the records number it, int64, M.
        groups: codes of each attribute that is a column of the samples, by name; -1 where not told.
        sha256: identity of the samples.
        info: what ``samples.json`` says of them: a claim.
        absent: columns of the records that they lack; NaN in ``x``.
        notes: what of their names the records do not have, or was taken by its position.
    """

    x: np.ndarray
    y: np.ndarray
    groups: dict[str, np.ndarray] = field(default_factory=dict)
    sha256: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def take(self, rows: np.ndarray) -> "CodedSamples":
        """These samples alone, positions in any order."""
        groups = {name: codes[rows] for name, codes in self.groups.items()}
        return replace(self, x=self.x[rows], y=self.y[rows], groups=groups)


def same_size(samples: Samples, records: Records) -> tuple[Samples, Records, str]:
    """Images of both sides at the smaller of their sizes.

    Returns:
        both, and what was resized, a sentence; empty where nothing was.
    """
    images = samples.images
    if images is None or records.columns or images.shape[1:3] == records.x.shape[1:3]:
        return samples, records, ""
    sides = [min(x.shape[1:3]) for x in (images, records.x)]
    size = min(sides)
    note = f"{_size(images)} samples and {_size(records.x)} records are compared at {size} x {size} pixels"
    return samples.resized(size), records.with_features(resize(records.x, size)), note


def samples_file(folder: Path) -> Path:
    """The file of a samples folder that holds the samples.

    Raises:
        UserError: it holds none.
    """
    restore(folder)
    if not folder.is_dir():
        raise UserError(
            f"no such samples: {folder} is not a folder; give the folder that holds {NPZ} or {CSV}"
        )
    for name in (NPZ, CSV):
        if (folder / name).is_file():
            return folder / name
    if (folder / "diffshare.json").is_file():
        raise UserError(f"{folder} is a release: open it as a model, or give a folder of samples")
    raise UserError(f"{folder} holds neither {NPZ} nor {CSV}: give a folder that 'sample' wrote")


def samples_sha256(folder: Path) -> str:
    """Identity of a samples folder: SHA-256 of its ``samples.npz`` or ``samples.csv``."""
    return sha256_file(samples_file(folder))


def join_classes(names: Sequence[str], records: Records, who: str) -> Joined:
    """The classes of samples, or of a model that makes them, as the reference numbers them.

    Args:
        names: theirs by number; empty where they have none.
        records: the records.
        who: has them, in words.

    Raises:
        UserError: they contradict each other, or lack a class of the records.
    """
    whose = f"'{records.target}' of the reference"
    joined = join(names, records.classes, who, whose, by_position=not records.columns)
    if joined.lacking:
        raise UserError(
            f"{whose} has the class {quoted(joined.lacking[0])}, {who} have only {listed(joined.theirs)}: give a "
            "reference without those records, or name the attribute that the classes stand for with `target`"
        )
    return joined


def _column(
    name: str, texts: tuple[str, ...], records: Records, *, audited: bool
) -> tuple[np.ndarray, str | None]:
    """The reference's number of each text that a column of the samples holds, and a note on those that have none (-1).

    Raises:
        UserError: the column is audited, and its names differ from the reference's in their writing, or all of them.
    """
    classes = records.attributes[name].classes
    if not audited or not texts:
        place = {text: code for code, text in enumerate(classes)}
        return np.array([place.get(text, -1) for text in texts], np.int64), None
    who = f"the samples' column '{name}'"
    joined = join(
        texts, classes, who, f"'{name}' of the reference", kind="values", by_position=False
    )
    told = f"{who} holds {listed(joined.beyond)}, the reference knows {listed(classes)} alone"
    return joined.codes, told if joined.beyond else None


def claimed_guidance(info: Mapping[str, Any]) -> float:
    """The guidance scale that ``samples.json`` says its samples were drawn at; 1 where it says none that can be."""
    said = info.get("guidance")
    return float(said) if is_number(said) and 0 <= said < 1000 else 1.0


def header(path: Path) -> list[str]:
    """The column names of ``samples.csv``.

    Raises:
        UserError: it is no CSV file, or one that is too large.
    """
    check_rows_file(path)
    try:
        return read_header(path, ",")
    except csv.Error as error:
        raise UserError(f"{path} is no CSV file: draw the samples anew") from error


def _check_classes(y: np.ndarray, records: Records, where: str) -> None:
    """Refuse samples without a class, or of which a class of the reference is missing; ``y`` as that numbers them."""
    if (y < 0).any():
        raise UserError(
            f"{where}: {int((y < 0).sum())} samples have no class: draw them with `labels` balanced or natural"
        )
    counts = np.bincount(y, minlength=len(records.classes))
    if counts.min() == 0:
        missing = records.classes[int(counts.argmin())]
        raise UserError(
            f"{where} has no sample of class '{missing}': draw them with `labels` balanced or natural"
        )


def _size(x: np.ndarray) -> str:
    return " x ".join(map(str, x.shape[1:]))
