"""What an audit looks at: labelled records of the receiver's own, and a samples folder, in the same codes."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffshare.classes import Joined, another_attribute, join, listed, quoted
from diffshare.data.csvfile import no_column, read_header
from diffshare.data.recoding import log_unknown, recode
from diffshare.data.source import Attribute, Part, Source
from diffshare.data.table import Column, CSVTable
from diffshare.errors import UserError
from diffshare.leftovers import restore
from diffshare.received import is_number
from diffshare.receiver.property.auxiliary import open_auxiliary
from diffshare.release.info import class_names, class_target, read_info
from diffshare.release.samples import NPZ, read_samples
from diffshare.release.tables import CSV, check_rows_file
from diffshare.stats.information import contingency
from diffshare.storage import sha256_file


@dataclass(frozen=True)
class ReferenceRecords:
    """N labelled records that the sharer has not trained on.

    Attributes:
        x: uint8, N x H x W x C; of a table float32, N x D, without the target's column.
        y: the class, int64 in 0..C-1, N.
        classes: names of the C classes.
        attributes: all that is known of these records, by name.
        columns: the D columns of a table; empty for images.
        target: name of the attribute that is the class.
        missing: the mark of a missing cell of a table.
        sensitive: attributes that are audited; samples of a table may lack their columns.
        disjoint: how it is known that the sharer has not trained on them; empty where nothing was compared.
        used: how many records of the source they are, in words.
    """

    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]
    attributes: dict[str, Attribute]
    columns: tuple[Column, ...]
    target: str
    missing: str = "?"
    sensitive: tuple[str, ...] = ()
    disjoint: str = ""
    used: str = ""

    def group(self, name: str) -> Attribute:
        """An attribute as the group S.

        Raises:
            UserError: it is not known of every record, has one class, or leaves a cell of S x Y without records.
        """
        attribute = Attribute(self.attributes[name].codes, self.attributes[name].classes)
        if unknown := int((attribute.codes < 0).sum()):
            raise UserError(f"'{name}' is unknown for {unknown} records of the reference: fill it in or drop them")
        table = self.table(attribute)
        if table.min() == 0 or len(attribute.classes) < 2:
            group, label = np.unravel_index(int(table.argmin()), table.shape)
            raise UserError(
                f"the reference has an empty cell: none of its {len(self.y)} records is '{attribute.classes[group]}' "
                f"and '{self.classes[label]}'; give more records, or other attributes as --sensitive and --target"
            )
        return attribute

    def part(self, rows: np.ndarray) -> "ReferenceRecords":
        """Those of the records that ``rows``, bool, N, names."""
        attributes = {name: Attribute(known.codes[rows], known.classes) for name, known in self.attributes.items()}
        return replace(self, x=self.x[rows], y=self.y[rows], attributes=attributes)

    def table(self, group: Attribute) -> np.ndarray:
        """Counts of each group and class, int64, K x C."""
        return contingency(group.codes, self.y, len(group.classes), len(self.classes))

    def features(self, without: tuple[str, ...] = ()) -> np.ndarray:
        """Records without these columns of a table; images as they are."""
        return np.delete(self.x, self.places(without), 1) if self.columns else self.x

    def places(self, names: tuple[str, ...]) -> list[int]:
        """Positions of those of these names that are columns."""
        return [i for i, column in enumerate(self.columns) if column.name in names]

    def categorical(self, without: tuple[str, ...] = ()) -> tuple[int, ...]:
        """Positions of the columns of ``features`` that hold codes."""
        kept = [column for column in self.columns if column.name not in without]
        return tuple(i for i, column in enumerate(kept) if column.kind == "categorical")


def open_reference(
    source: Source,
    target: str,
    sensitive: tuple[str, ...],
    part: Part | Literal["all"] = "auxiliary",
    *,
    split_seed: int = 0,
    manifest: Path | None = None,
    cache_dir: Path | None = None,
) -> ReferenceRecords:
    """The records of a part of a source whose class is known.

    Args:
        source: where they come from.
        target: attribute that the samples' classes stand for.
        sensitive: attributes that will be asked for; refused before anything is decoded.
        part: which part of the source.
        split_seed: of the parts where the source has no official ones.
        manifest: folder of a mix manifest; none of its records may be among these.
        cache_dir: of decoded records.

    Raises:
        UserError: no such attribute, a part without records, an overlap with the manifest.
    """
    index = source.index()
    for name in (target, *sensitive):
        index.attribute(name)
    if target in sensitive:
        raise UserError(f"--sensitive and --target are both '{target}': name two attributes")
    found = open_auxiliary(source, target, part, split_seed=split_seed, manifest=manifest, cache_dir=cache_dir)
    mark = getattr(source, "missing", "?")
    return ReferenceRecords(
        found.x, found.labels, found.classes, dict(found.attributes), found.columns, target, mark, sensitive,
        found.disjoint if manifest is not None else "", found.used,
    )  # fmt: skip


@dataclass(frozen=True)
class SampledRecords:
    """M samples in the codes of a reference.

    Attributes:
        x: as ``ReferenceRecords.x``; NaN where a cell has a category that the reference does not know.
        y: the class as the reference numbers it, int64, M.
        groups: codes of each attribute that is a column of the samples, by name; -1 where not known.
        sha256: of the file that they were read from.
        info: what ``samples.json`` says of them: a claim.
        absent: columns of the reference that they lack; NaN in ``x``.
        notes: what of their names was not found in the reference, or was taken by its position.
    """

    x: np.ndarray
    y: np.ndarray
    groups: dict[str, np.ndarray]
    sha256: str
    info: dict[str, Any]
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def take(self, rows: np.ndarray) -> "SampledRecords":
        """These samples alone, positions in any order."""
        groups = {name: codes[rows] for name, codes in self.groups.items()}
        return replace(self, x=self.x[rows], y=self.y[rows], groups=groups)


def samples_file(folder: Path) -> Path:
    """The file of a samples folder that holds the samples.

    Raises:
        UserError: it holds none.
    """
    restore(folder)
    for name in (NPZ, CSV):
        if (folder / name).is_file():
            return folder / name
    if (folder / "diffshare.json").is_file():
        raise UserError(f"{folder} is a release: name it with --model, --samples is for a folder of samples")
    raise UserError(f"{folder} holds neither {NPZ} nor {CSV}: give a folder that 'sample' wrote")


def samples_sha256(folder: Path) -> str:
    """Identity of a samples folder: SHA-256 of its ``samples.npz`` or ``samples.csv``."""
    return sha256_file(samples_file(folder))


def open_samples(folder: Path, reference: ReferenceRecords) -> SampledRecords:
    """Read a samples folder in the codes of a reference.

    Raises:
        UserError: samples of another kind, size or class, without a class, or with weights that differ.
    """
    path = samples_file(folder)
    if (path.name == CSV) != bool(reference.columns):
        kinds = ("images", "rows of a table")
        raise UserError(
            f"{folder} holds {kinds[path.name == CSV]}, the reference {kinds[bool(reference.columns)]}: both must be "
            "of one kind"
        )
    if path.name == CSV:
        return _rows(path, reference)
    samples = read_samples(folder)
    if samples.x.shape[1:] != reference.x.shape[1:]:
        raise UserError(
            f"the samples in {folder} are {_size(samples.x)}, the records of the reference {_size(reference.x)}: add "
            f"--reference.image_size {samples.x.shape[1]} (or name a source of as many channels)"
        )
    info, who = dict(samples.info), f"the samples in {folder}"
    joined = join_classes(class_names(info, folder), reference, who)
    y = joined.recode(samples.y)
    _check_classes(y, reference, str(folder))
    if samples.weight is not None and np.ptp(samples.weight) > 0:  # a training would honour them, no share here does
        raise UserError(
            f"{folder} carries weights, which an audit does not see: audit and repair samples as they were drawn, "
            "without the array 'weight'"
        )
    notes = (joined.note, another_attribute(class_target(info), reference.target, who))
    return SampledRecords(samples.x, y, {}, sha256_file(path), info, notes=tuple(filter(None, notes)))


def join_classes(names: Sequence[str], reference: ReferenceRecords, who: str) -> Joined:
    """The classes of samples, or of a model that makes them, as the reference numbers them.

    Args:
        names: theirs by number; empty where they have none.
        reference: the records.
        who: has them, in words.

    Raises:
        UserError: they contradict each other, or lack a class of the reference.
    """
    whose = f"'{reference.target}' of the reference"
    joined = join(names, reference.classes, who, whose, by_position=not reference.columns)
    if joined.lacking:
        raise UserError(
            f"{whose} has the class {quoted(joined.lacking[0])}, {who} have only {listed(joined.theirs)}: give a "
            "reference without those records, or name the attribute that the classes stand for with --target"
        )
    return joined


def _rows(path: Path, reference: ReferenceRecords) -> SampledRecords:
    kinds: dict[str, Any] = {column.name: column.kind for column in reference.columns}
    kinds[reference.target] = list(reference.classes)
    names = header(path)
    absent = tuple(name for name in reference.sensitive if name in kinds and name not in names)
    x, table = read_rows(path, {k: v for k, v in kinds.items() if k not in absent}, reference.missing)
    index = table.index()
    y = index.attribute(reference.target).codes.astype(np.int64)
    _check_classes(y, reference, str(path))
    groups, notes = {}, []
    for name, attribute in index.attributes.items():
        if name != reference.target:
            known, told = _column(name, attribute.classes, reference)
            groups[name] = np.append(known, -1)[attribute.codes]
            notes += [told] if told else []
    places = [i for i, column in enumerate(reference.columns) if column.name not in absent]
    made = np.full((len(x), len(reference.columns)), np.nan, np.float32)
    seen = [reference.columns[i] for i in places]
    made[:, places] = recode(x, table.columns, seen)
    log_unknown(made[:, places], seen, str(path))
    return SampledRecords(made, y, groups, sha256_file(path), read_info(path.parent), absent, tuple(notes))


def _column(name: str, texts: tuple[str, ...], reference: ReferenceRecords) -> tuple[np.ndarray, str | None]:
    """The reference's number of each text that a column of the samples holds, and a note on those that have none (-1).

    Raises:
        UserError: the column is audited, and its names differ from the reference's in their writing, or all of them.
    """
    classes = reference.attributes[name].classes
    if name not in reference.sensitive or not texts:
        place = {text: code for code, text in enumerate(classes)}
        return np.array([place.get(text, -1) for text in texts], np.int64), None
    who = f"the samples' column '{name}'"
    joined = join(texts, classes, who, f"'{name}' of the reference", kind="values", by_position=False)
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


def read_rows(path: Path, kinds: dict[str, Any], missing: str) -> tuple[np.ndarray, CSVTable]:
    """The columns of ``samples.csv`` of these kinds, and their source.

    Raises:
        UserError: it is no table, or lacks one of the columns.
    """
    names = header(path)
    there = set(names)
    if absent := [name for name in kinds if name not in there]:
        raise no_column(path, absent[0], names)
    table = CSVTable(str(path), kinds, missing=missing)
    return table.read(np.arange(len(table.index()))), table


def _check_classes(y: np.ndarray, reference: ReferenceRecords, where: str) -> None:
    """Refuse samples without a class, or of which a class of the reference is missing; ``y`` as that numbers them."""
    if (y < 0).any():
        raise UserError(
            f"{where}: {int((y < 0).sum())} samples have no class: draw them with --labels balanced or natural"
        )
    counts = np.bincount(y, minlength=len(reference.classes))
    if counts.min() == 0:
        missing = reference.classes[int(counts.argmin())]
        raise UserError(f"{where} has no sample of class '{missing}': draw them with --labels balanced or natural")


def _size(x: np.ndarray) -> str:
    return " x ".join(map(str, x.shape[1:]))
