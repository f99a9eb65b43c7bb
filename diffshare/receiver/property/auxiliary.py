"""The receiver's own labelled records: what a property classifier is trained and calibrated on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from diffshare.data.cache import open_records
from diffshare.data.csvfile import read_list
from diffshare.data.source import PARTS, Attribute, Index, Part, Source, portion, split
from diffshare.data.table import Column
from diffshare.errors import UserError, one_of
from diffshare.storage import read_json


@dataclass(frozen=True)
class Auxiliary:
    """N records with the property known.

    Attributes:
        x: uint8, N x H x W x C; of a table float32, N x D.
        labels: the property, int64 in 0..K-1, N.
        classes: names of the K classes.
        columns: the D columns of a table, neither the property nor what was withheld among them; empty for images.
        attributes: all that is known of these records, by name.
        unknown: records that were left out, since their property is not known.
        disjoint: a sentence on why, or on what condition, none of these records is among the sharer's; empty where
            the source has official parts or the user says that it is another.
        used: how many records of the source the part has, in words.
    """

    x: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    columns: tuple[Column, ...]
    attributes: Mapping[str, Attribute]
    unknown: int
    disjoint: str = ""
    used: str = ""

    @property
    def categorical(self) -> tuple[int, ...]:
        """Positions of the columns that hold codes."""
        return tuple(i for i, column in enumerate(self.columns) if column.kind == "categorical")


class TableSource(Source, Protocol):
    """A source of rows."""

    @property
    def columns(self) -> tuple[Column, ...]: ...  # noqa: D102


def open_auxiliary(
    source: Source,
    name: str,
    part: Part | Literal["all"] = "auxiliary",
    *,
    split_seed: int = 0,
    withhold: Sequence[str] = (),
    manifest: Path | None = None,
    cache_dir: Path | None = None,
) -> Auxiliary:
    """The records of a part of a source, with the property as their label.

    Args:
        source: where the records come from.
        name: the property, an attribute of the source.
        part: which part of the source; ``all`` is for a source that shares no record with the sharer's.
        split_seed: of the parts where the source has no official ones.
        withhold: columns of a table that the classifier is not to see.
        manifest: folder of a mix manifest; none of its records may be among these.
        cache_dir: of decoded records.

    Raises:
        UserError: no such property, a part without records, no column left, an overlap with the manifest.
    """
    index = source.index()
    attribute = index.attribute(name)  # refused before anything is decoded
    columns = _columns(source)
    for column in withhold:
        if column not in [c.name for c in columns]:
            raise one_of("column", column, [c.name for c in columns])
    records = open_records(source, cache_dir)
    attribute = records.index.attribute(name)
    rows = _rows(records.index, source, part, split_seed)
    used = portion(part, len(rows), len(records.index))
    known = attribute.codes[rows] >= 0
    unknown, rows = int(np.sum(~known)), rows[known]
    if not len(rows):
        raise UserError(f"the property '{name}' is known of none of the {unknown} auxiliary records: choose another")
    if manifest is not None:
        disjoint = refuse_overlap(records.index.names[rows], manifest, records.source_sha256)
    else:
        disjoint = "" if part == "all" or records.index.parts is not None else unchecked(split_seed)
    seen = [i for i, column in enumerate(columns) if column.name not in {name, *withhold}]
    x = records.x[rows][:, seen] if columns else records.x[rows]
    labels = attribute.codes[rows].astype(np.int64)
    if withhold and not seen:
        raise UserError(f"no column is left to read '{name}' from: withhold fewer of them")
    features = tuple(columns[i] for i in seen)
    attributes = records.index.take(rows).attributes
    return Auxiliary(x, labels, attribute.classes, features, attributes, unknown, disjoint, used)


def unchecked(seed: int) -> str:
    """On what condition records of a source without official parts are none of the sharer's, a sentence.

    Args:
        seed: of the parts.
    """
    return (
        "the auxiliary source has no official parts: if the sharer's records are of the same source, these are "
        f"disjoint from them only where --split-seed {seed} is the sharer's data.seed and the shares are the same "
        "(an auditor checks with --manifest)"
    )


def _columns(source: Source) -> tuple[Column, ...]:
    return getattr(source, "columns", ()) if source.modality == "table" else ()


def _rows(index: Index, source: Source, part: Part | Literal["all"], seed: int) -> np.ndarray:
    if part == "all":
        return np.arange(len(index))
    rows = np.flatnonzero(split(index, source.shares, seed) == PARTS.index(part))
    if not len(rows):
        raise UserError(
            f"the {part} part of the auxiliary source holds no records: change its shares, or name another --part"
        )
    return rows


def refuse_overlap(names: np.ndarray, manifest: Path, source_sha256: str) -> str:
    """Refuse auxiliary records that the sharer trained on.

    Records are compared by name. In one source that settles it; names of two sources may be alike by chance, or differ
    where the records do not. Whether it is one source is told by ``source_sha256`` of ``mix.json``, where there is one.

    Args:
        names: of the auxiliary records, N.
        manifest: folder with ``records.csv``, as the verb ``mix`` writes it.
        source_sha256: of the auxiliary source.

    Returns:
        which comparison was made, a sentence.

    Raises:
        UserError: the folder has no such file, or a record is in both.
    """
    theirs = _source_of(manifest)
    path = manifest / "records.csv"
    rows = read_list(path, "give the folder that 'mix' wrote")
    if next(rows, ([""], 1))[0][0] != "record":
        raise UserError(f"{path} is no manifest: its first column is not 'record'; give the folder of a mix")
    listed = {cells[0] for cells, _ in rows}
    both = [name for name in names.tolist() if name in listed]
    if both:
        raise UserError(
            f"{len(both)} of the {len(names)} auxiliary records are among the sharer's in {manifest}, the first "
            f"'{both[0]}': auxiliary data must be disjoint from the sharer's (use --part auxiliary or another source)"
        )
    count = f"none of the {len(names)} auxiliary records is in the sharer's manifest"
    if theirs == source_sha256:
        return f"{count}: compared by name, within one source (source_sha256 agrees)"
    why = "is of another source (source_sha256 differs)" if theirs else "names no source (no source_sha256)"
    return f"{count}: compared by name alone, since the manifest {why}; equal records of other names are not seen"


def _source_of(manifest: Path) -> str | None:
    """``source_sha256`` of ``mix.json``; None where there is none."""
    path = manifest / "mix.json"
    summary = read_json(path, limit=1 << 20) if path.is_file() else {}
    said = summary.get("source_sha256") if isinstance(summary, dict) else None
    return said if isinstance(said, str) and said else None
