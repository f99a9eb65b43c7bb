"""What the sharer knows and no receiver does: the true share of a property among the training records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diffshare.classes import join, listed
from diffshare.data.csvfile import read_list
from diffshare.data.listed import HEADER
from diffshare.data.source import Index
from diffshare.errors import UserError
from diffshare.received import is_name
from diffshare.storage import read_json

ROLES = ("target", "sensitive", "property")


@dataclass(frozen=True)
class TrainingSet:
    """The records of a mix manifest.

    Attributes:
        codes: class of each record, int64, N, of every attribute that is known of it, by name, as the source that the
            audit attacks with numbers them; -1 where it is not known, or none of that source's classes.
        same_source: whether the manifest is of the source that the audit attacks with.
        names: of the records, as the source has them.
        roles: names of the attributes that the mix was made by: ``target``, ``sensitive``, ``property``.
        notes: which classes of the manifest were told by their position.
        manifest: the folder that they are listed in; None of what is in memory.
        index: of these records where they are of the same source, to derive further attributes.
    """

    codes: dict[str, np.ndarray]
    same_source: bool
    names: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    manifest: Path | None = None
    index: Index | None = None

    def share(self, name: str, place: int) -> float | None:
        """Share of the class ``place`` among the records that know the attribute; None where none does."""
        codes = self.codes.get(name, np.zeros(0, np.int64))
        if name not in self.codes and self.index is not None and self.index.has(name):
            codes = self.index.attribute(name).codes
        told = codes[codes >= 0]
        return float(np.mean(told == place)) if len(told) else None


def read_training(manifest: Path, index: Index) -> TrainingSet:
    """Read a manifest as the verb ``mix`` writes it.

    Where it is of the given source, every attribute of that source is known of its records; else target and sensitive
    attribute alone, by the manifest's own columns.

    Args:
        manifest: the folder.
        index: of the source that the audit attacks with.

    Raises:
        UserError: the folder is no manifest.
    """
    summary = read_json(manifest / "mix.json", limit=1 << 20)
    names, target, sensitive = _columns(manifest / "records.csv")
    if not isinstance(summary, dict) or not names:
        raise UserError(
            f"{manifest} is no manifest of a mix: give the folder that the verb mix wrote"
        )
    codes: dict[str, np.ndarray] = {}
    same = summary.get("source_sha256") == index.sha256()
    if same:
        where = {name: position for position, name in enumerate(index.names.tolist())}
        if missing := [name for name in names if name not in where]:
            raise UserError(
                f"{manifest} lists '{missing[0]:.60}', which its source has not: write it anew with mix"
            )
        rows = np.array([where[name] for name in names])
        codes = {
            name: attribute.codes[rows].astype(np.int64)
            for name, attribute in index.attributes.items()
        }
    notes = []
    for role, trained in (("target", target), ("sensitive", sensitive)):
        if isinstance(name := summary.get(role), str):
            codes[name] = trained  # as trained on: a mix may flip labels
            if not same and index.has(name):
                codes[name], note = _recoded(
                    trained, summary, role, index.attribute(name).classes, manifest
                )
                notes += [note] if note else []
    roles = {role: name for role in ROLES if isinstance(name := summary.get(role), str)}
    own = index.take(rows) if same else None
    return TrainingSet(codes, same, tuple(names), roles, tuple(notes), manifest, own)


def _recoded(
    codes: np.ndarray, summary: Mapping[str, Any], role: str, classes: Sequence[str], manifest: Path
) -> tuple[np.ndarray, str | None]:
    """Classes of another source's records as this one numbers them (-1: none), and a note where by position."""
    told = summary.get("classes")
    names = told.get(role) if isinstance(told, dict) else None
    theirs = names if isinstance(names, list) and all(map(is_name, names)) else ()
    joined = join(theirs, classes, f"{manifest}", f"'{summary[role]}' of the reference")
    if len(codes) and codes.max() >= len(joined.codes):
        raise UserError(f"{manifest} has records of class {codes.max()} of '{summary[role]}', the reference has "
                        f"{listed(classes)}: name the same attribute of both")  # fmt: skip
    return np.append(joined.codes, -1)[codes], joined.note


def _columns(path: Path) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
    """Names, classes and groups of ``records.csv``."""
    read = read_list(path, "give the folder that the verb mix wrote")
    if next(read, None) != (HEADER, 1):
        raise UserError(f"{path} is no manifest: its first line is not {','.join(HEADER)}")
    try:
        rows = [(cells[0], int(cells[1]), int(cells[2])) for cells, _ in read]
        names, target, sensitive = zip(*rows, strict=True) if rows else ((), (), ())
        return names, np.array(target, np.int64), np.array(sensitive, np.int64)
    except (ValueError, IndexError, OverflowError) as error:
        raise UserError(
            f"{path} is no table of records: write it anew with the verb mix"
        ) from error
