"""The receiver's own labelled records: what readers of a group or a property are trained and calibrated on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from diffshare.data.cache import open_records
from diffshare.data.derived import Derivation
from diffshare.data.grammar import Plain, parse
from diffshare.data.imagearrays import as_images
from diffshare.data.memory import (
    ImagesInMemory,
    Labels,
    TableInMemory,
    attribute_of,
    columns_of,
    count_of,
)
from diffshare.data.recognised import Recognised
from diffshare.data.source import PARTS, Attribute, Index, Part, Source, portion, split
from diffshare.data.table import Column, Kind
from diffshare.errors import UserError, one_of
from diffshare.receiver.choices import names_of
from diffshare.receiver.disjoint import refuse_overlap, unchecked
from diffshare.receiver.door import Reading, open_source
from diffshare.stats.information import contingency


class Labelled(NamedTuple):
    """Those of N records of which one attribute is known, with it as their label.

    Attributes:
        x: uint8, n x H x W x C; of a table float32, n x D.
        labels: int64 in 0..K-1, n.
        classes: names of the K classes.
        columns: the D columns of a table, neither the attribute nor what was withheld among them.
        unknown: records that were left out, for the attribute is not known of them.
        derivation: how the attribute is derived from columns; None where it is not.
    """

    x: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    columns: tuple[Column, ...]
    unknown: int
    derivation: Derivation | None = None

    @property
    def categorical(self) -> tuple[int, ...]:
        """Positions of the columns that hold codes."""
        return tuple(i for i, column in enumerate(self.columns) if column.kind == "categorical")


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Records:
    """N labelled records that the sharer has not trained on.

    Args:
        x: images, uint8, N x H x W x C; or rows, a data frame or an array, N x D.
        y: the class of each, N: integers or texts.
        s: the group of each, N, called ``s``; or several by their names.

    Attributes:
        x: uint8, N x H x W x C; of a table float32, N x D, without the column of the class.
        attributes: all that is known of these records, by name.
        columns: the D columns of a table; empty for images. None tells the class.
        target: name of the attribute that is the class; None where there is none.
        missing: the mark of a missing cell of a table.
        sensitive: attributes that are groups; samples of a table may lack their columns.
        disjoint: how it is known, or on what condition it holds, that the sharer has not trained on
            them, a sentence; empty where they are another's.
        compared: they were compared with what the sharer trained on.
        used: how many records of the source they are, in words; empty where all are.

    Raises:
        UserError: shapes, types or lengths that do not fit.

    Example:
        >>> import numpy as np
        >>> import diffshare as ds
        >>> own = ds.Records(np.zeros((4, 2)), ["no", "yes", "no", "yes"], s=[0, 0, 1, 1])
        >>> own.classes, own.attributes["s"].classes
        (('no', 'yes'), ('0', '1'))
    """

    x: np.ndarray
    attributes: Mapping[str, Attribute]
    columns: tuple[Column, ...]
    target: str | None
    missing: str
    sensitive: tuple[str, ...]
    disjoint: str
    compared: bool
    used: str
    _index: Index

    def __init__(
        self, x: Any, y: Labels | None = None, *, s: Labels | Mapping[str, Labels] | None = None
    ) -> None:
        groups = dict(s) if isinstance(s, Mapping) else {} if s is None else {"s": s}
        given = groups | ({} if y is None else {"y": y})
        count = count_of(x)
        attributes = {name: attribute_of(labels, name, count) for name, labels in given.items()}
        source: Source = (
            ImagesInMemory(as_images(x), attributes)
            if _is_images(x)
            else TableInMemory(x, attributes)
        )
        target = None if y is None else "y"
        self.__dict__.update(
            vars(self.from_source(source, target=target, sensitive=tuple(groups), part="all"))
        )

    @classmethod
    def from_codes(
        cls,
        x: np.ndarray,
        attributes: Mapping[str, Attribute],
        *,
        target: str | None = None,
        columns: Sequence[Column] = (),
        missing: str = "?",
        sensitive: Sequence[str] = (),
    ) -> Self:
        """Records that are coded already: the arguments are the attributes of the class."""
        names = np.arange(len(x)).astype(str)
        return cls.__new__(cls)._with(
            _index=Index(names, np.zeros(len(x), np.int64), dict(attributes)),
            x=x, attributes=dict(attributes), columns=tuple(columns), target=target, missing=missing,
            sensitive=tuple(sensitive), disjoint="", compared=False, used="",
        )  # fmt: skip

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        target: str | int,
        sensitive: str | int | Sequence[str | int],
        derive: Mapping[str, str] | None = None,
        where: str | None = None,
    ) -> Self:
        """Records of a data frame.

        Args:
            frame: with a column for the class, one for each group, and what a classifier may see. A column that
                is called by a number has this as a text for its name.
            target: column of the class, or a derived one: ``"age>=40"``.
            sensitive: column of the group, or several; derived ones too.
            derive: name to expression of attributes that are derived.
            where: condition on columns; records of which it does not hold are left out.

        Raises:
            UserError: no such column, or an expression or a condition that does not fit.
        """
        (target,), names = names_of("target", target), names_of("sensitive", sensitive)
        cells, _ = columns_of(frame)
        kinds: dict[str, Kind | list[str]] = {
            name: "categorical" for name in (target, *names) if name in cells
        }
        source = TableInMemory(frame, kinds=kinds, derive=dict(derive or {}), where=where)
        for name in (target, *names):
            if (
                name not in (derive or {})
                and isinstance(parse(name, cells), Plain)
                and name not in cells
            ):
                raise one_of("column", name, cells)
        return cls.from_source(source, target=target, sensitive=names, part="all")

    @classmethod
    def from_path(
        cls,
        what: str | Path,
        *,
        target: str | None = None,
        sensitive: str | Sequence[str] = (),
        part: Part | Literal["all"] = "all",
        reading: Reading | None = None,
        image_size: int | None = None,
    ) -> Self:
        """Records of a table file, an NPZ file, a folder of images or a samples folder, all of them.

        Args:
            what: the path.
            target: attribute that is the class.
            sensitive: attributes that are groups.
            part: which part; all records where nobody says another.
            reading: how it is read.
            image_size: side in pixels that images are read at, where ``reading`` does not say it; 64 of a folder.

        Raises:
            UserError: nothing of this kind lies there, no such attribute.
        """
        names = names_of("sensitive", sensitive)
        source = open_source(what, reading, image_size)
        return cls.from_source(source, target=target, sensitive=names, part=part)

    @classmethod
    def from_source(
        cls,
        source: Source,
        *,
        target: str | None = None,
        sensitive: Sequence[str] = (),
        part: Part | Literal["all"] = "auxiliary",
        split_seed: int = 0,
        manifest: Path | None = None,
        cache_dir: Path | None = None,
    ) -> Self:
        """The records of a part of a source, those whose class is known where there is a target.

        Args:
            source: where they come from.
            target: attribute that is the class.
            sensitive: attributes that are groups.
            part: which part of the source; ``all`` is for a source that shares no record with the
                sharer's.
            split_seed: of the parts where the source has no official ones.
            manifest: folder of a mix manifest; none of its records may be among these.
            cache_dir: of decoded records.

        Raises:
            UserError: no such attribute, a part without records, an overlap with the manifest.
        """
        index = source.index()
        for name in (*((target,) if target else ()), *sensitive):
            if isinstance(source, Recognised) and not index.has(name):
                source.require([name])  # which says why a column is not used
            index.attribute(name)  # refused before anything is decoded
        if target in sensitive:
            raise UserError(f"`sensitive` and `target` are both '{target}': name two attributes")
        decoded = open_records(source, cache_dir)
        rows = _rows(decoded.index, source, part, split_seed)
        used = "; ".join(
            (portion(part, len(rows), len(decoded.index)), *getattr(source, "notes", ()))
        )
        if target is not None:
            rows = rows[_known(decoded.index.attribute(target), rows, target)]
        if manifest is not None:
            disjoint = refuse_overlap(decoded.index.names[rows], manifest, decoded.source_sha256)
        else:
            official = part == "all" or decoded.index.parts is not None
            disjoint = "" if official else unchecked(split_seed)
        columns = _columns(source)
        told = () if target is None else decoded.index.columns_of(target)
        kept = [i for i, column in enumerate(columns) if column.name not in (target, *told)]
        index = decoded.index.take(rows)
        named = dict.fromkeys((*index.derived, *((target,) if target else ()), *sensitive))
        records = cls.from_codes(
            decoded.x[rows][:, kept] if columns else decoded.x[rows],
            {**index.attributes, **{name: index.attribute(name) for name in named}},
            target=target,
            columns=[columns[i] for i in kept],
            missing=getattr(source, "missing", "?"),
            sensitive=sensitive,
        )
        return records._with(
            disjoint=disjoint, compared=manifest is not None, used=used, _index=index
        )

    def _with(self, **changes: Any) -> Self:
        """The same but for some attributes."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__, **changes)
        return other

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        kind = (
            f"{self.x.shape[1]} columns" if self.columns else " x ".join(map(str, self.x.shape[1:]))
        )
        return f"Records({len(self)} of {kind}, target={self.target!r}, attributes={sorted(self.attributes)})"

    @property
    def y(self) -> np.ndarray:
        """The class, int64 in 0..C-1, N."""
        return self._class().codes.astype(np.int64)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the C classes."""
        return self._class().classes

    def _class(self) -> Attribute:
        if self.target is None:
            raise UserError("the records have no class: give y, or name the target")
        return self.attributes[self.target]

    def attribute(self, name: str) -> Attribute:
        """The attribute called ``name``, or the derived one that it spells out.

        Raises:
            UserError: there is none; the message lists those there are.
        """
        return self.attributes[name] if name in self.attributes else self._index.attribute(name)

    def derivation(self, name: str) -> Derivation | None:
        """How an attribute is derived; None where it is one of the records' own.

        Raises:
            UserError: there is no such attribute.
        """
        if name in self.attributes and not self._index.has(name):
            return None  # added later
        return self._index.derivation(name)

    def has(self, name: str) -> bool:
        """Whether there is an attribute of that name, or one can be derived."""
        return name in self.attributes or self._index.has(name)

    def columns_of(self, name: str) -> tuple[str, ...]:
        """Columns that tell an attribute: its own, or those that it is derived from."""
        if name in (column.name for column in self.columns):
            return (name,)
        derivation = self.derivation(name)
        return (name,) if derivation is None else derivation.reads

    def kinds_of(self, name: str) -> dict[str, Kind]:
        """Kinds of the columns that tell an attribute, by their names."""
        derivation = self.derivation(name)
        numeric = frozenset() if derivation is None else derivation.numeric
        return {
            column: "numeric" if column in numeric else "categorical"
            for column in ((name,) if derivation is None else derivation.reads)
        }

    def group(self, name: str) -> Attribute:
        """An attribute as the group S.

        Raises:
            UserError: it is not known of every record, has one class, or leaves a cell of S x Y without records.
        """
        attribute = self.attribute(name)
        if unknown := int((attribute.codes < 0).sum()):
            raise UserError(
                f"'{name}' is unknown for {unknown} records of the reference: fill it in or drop them"
            )
        if len(attribute.classes) < 2:
            raise UserError(
                f"'{name}' is the same of all {len(self)} records of the reference: a group takes two classes or more"
            )
        table = self.table(attribute)
        if table.min() == 0:
            group, label = np.unravel_index(int(table.argmin()), table.shape)
            raise UserError(
                f"the reference has an empty cell: none of its {len(self)} records is '{attribute.classes[group]}' "
                f"and '{self.classes[label]}'; give more records, or other attributes as sensitive and target"
            )
        return attribute

    def labelled(self, name: str, without: Sequence[str] = ()) -> Labelled:
        """Those records of which an attribute is known, with it as their label.

        Args:
            name: of the attribute.
            without: columns of a table that a classifier is not to see, beside the attribute's own.

        Raises:
            UserError: no such attribute or column, it is known of none, or no column is left.
        """
        attribute = self.attribute(name)
        names = [column.name for column in self.columns]
        for column in without:
            if column not in names:
                raise one_of("column", column, names)
        rows = attribute.codes >= 0
        unknown = int(np.sum(~rows))
        if not rows.any():
            raise UserError(
                f"the property '{name}' is known of none of the {unknown} auxiliary records: choose another"
            )
        hidden = {*self.columns_of(name), *without}
        columns = tuple(column for column in self.columns if column.name not in hidden)
        if without and not columns:
            raise UserError(f"no column is left to read '{name}' from: withhold fewer of them")
        labels = attribute.codes[rows].astype(np.int64)
        x = self.features(tuple(hidden))[rows]
        return Labelled(x, labels, attribute.classes, columns, unknown, self.derivation(name))

    def part(self, rows: np.ndarray) -> Self:
        """Some of the records: ``rows`` are positions in any order, or a mask, bool, N."""
        attributes = {
            name: Attribute(one.codes[rows], one.classes) for name, one in self.attributes.items()
        }
        return self._with(x=self.x[rows], attributes=attributes, _index=self._index.take(rows))

    def with_groups(self, names: Sequence[str]) -> Self:
        """The records with these attributes as the groups.

        Raises:
            UserError: no such attribute.
        """
        named = {name: self.attribute(name) for name in names}
        return self._with(sensitive=tuple(names), attributes={**self.attributes, **named})

    def with_features(self, x: np.ndarray) -> Self:
        """The records with other values in place of x, N x ...: as images are."""
        return self._with(x=x, columns=())

    def with_attribute(self, name: str, attribute: Attribute) -> Self:
        """The records with one more attribute."""
        return self._with(attributes={**self.attributes, name: attribute})

    def table(self, group: Attribute) -> np.ndarray:
        """Counts of each group and class, int64, K x C."""
        return contingency(group.codes, self.y, len(group.classes), len(self.classes))

    def features(self, without: Sequence[str] = ()) -> np.ndarray:
        """Records without these columns of a table; images as they are."""
        return np.delete(self.x, self.places(without), 1) if self.columns else self.x

    def places(self, names: Sequence[str]) -> list[int]:
        """Positions of those of these names that are columns, or of the columns that tell them."""
        if not self.columns:
            return []
        hidden = {column for name in names for column in self.columns_of(name)}
        return [i for i, column in enumerate(self.columns) if column.name in hidden]

    def categorical(self, without: Sequence[str] = ()) -> tuple[int, ...]:
        """Positions of the columns of ``features`` that hold codes."""
        hidden = self.places(without)
        kept = [column for i, column in enumerate(self.columns) if i not in hidden]
        return tuple(i for i, column in enumerate(kept) if column.kind == "categorical")


def _is_images(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.ndim in (3, 4)


def _known(attribute: Attribute, rows: np.ndarray, name: str) -> np.ndarray:
    there = attribute.codes[rows] >= 0
    if not there.any():
        raise UserError(
            f"the class '{name}' is known of none of the {len(rows)} records: choose another target"
        )
    return there


def _columns(source: Source) -> tuple[Column, ...]:
    return getattr(source, "columns", ()) if source.modality == "table" else ()


def _rows(index: Index, source: Source, part: Part | Literal["all"], seed: int) -> np.ndarray:
    if part == "all":
        return np.arange(len(index))
    rows = np.flatnonzero(split(index, source.shares, seed) == PARTS.index(part))
    if not len(rows):
        raise UserError(
            f"the {part} part of the auxiliary source holds no records: change its shares, or name another part"
        )
    return rows
