"""The mix that a manifest lists: training on exactly the records and labels that an earlier choice wrote down."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from diffshare.data.csvfile import read_list
from diffshare.data.mixes import Choice, Pool
from diffshare.errors import UserError
from diffshare.leftovers import restore
from diffshare.storage import read_json

HEADER = ["record", "target", "sensitive", "origin"]
ORIGINS = ("base", "poison")
_SUMMARY_BYTES = 1 << 20


class Listed:
    """The records of a manifest (``records.csv`` and ``mix.json``, what the verb ``mix`` writes), in its order.

    Targets are taken as the manifest has them, flipped ones included, so that a training on the list equals one on the
    mix that wrote it. A manifest that does not fit the source is refused: it would train on something else than it
    says. What it says of itself (``alpha``, ``violations``, ``exhausted``, ``mutual_information_xy``) is passed on
    where it makes sense; counts and flips are counted again.

    Args:
        manifest: the folder.
        n: number of records; must be that of the manifest where given.
    """

    policy = "listed"

    def __init__(self, manifest: Path, n: int | None = None) -> None:
        self.manifest, self.n = Path(manifest), n

    def choose(self, pool: Pool, seed: int) -> Choice:
        """Find the listed records in the pool.

        Raises:
            UserError: the folder is no manifest, or its source, attributes, records or groups are not those of the
                pool.
        """
        summary = self._summary(pool)
        rows = list(self._rows(pool))
        if self.n not in (None, len(rows)):
            raise UserError(
                f"mix.n is {self.n}, {self.manifest} lists {len(rows)} records: leave data.mix.n out"
            )
        if not rows:
            self._refuse("records.csv lists no records")
        names, targets, groups, origins = (list(column) for column in zip(*rows, strict=True))
        positions = self._positions(pool, names, summary, seed)
        target, sensitive = np.array(targets, np.int64), np.array(groups, np.int64)
        moved = np.flatnonzero(sensitive != pool.s.codes[positions])
        if len(moved):
            self._refuse(
                f"record '{names[moved[0]]}' has group {sensitive[moved[0]]}, the source says "
                f"{pool.s.codes[positions[moved[0]]]}"
            )
        poisoned = np.array([origin == "poison" for origin in origins])
        return Choice(positions, target, poisoned, self._report(summary, poisoned))

    def _refuse(self, reason: str) -> NoReturn:
        raise UserError(
            f"the manifest {self.manifest} does not fit: {reason}; write it anew with the verb mix"
        )

    def _summary(self, pool: Pool) -> dict[str, Any]:
        restore(self.manifest)
        summary = read_json(self.manifest / "mix.json", limit=_SUMMARY_BYTES)
        if not isinstance(summary, dict):
            self._refuse("mix.json holds no table of fields")
        for role, name in (("target", pool.target), ("sensitive", pool.sensitive)):
            if summary.get(role, "") != name:
                self._refuse(
                    f"its {role} attribute is {_shown(summary.get(role))}, data.{role} is {_shown(name)}"
                )
        if summary.get("source_sha256") != pool.source_sha256:
            self._refuse(
                f"the source has changed since (source_sha256 was {_shown(summary.get('source_sha256'))}, is now "
                f"'{pool.source_sha256[:12]}...')"
            )
        told = summary.get("classes")
        for role, attribute in (("target", pool.y), ("sensitive", pool.s)):
            names = told.get(role) if isinstance(told, dict) else None
            # what is derived is no part of the source's hash
            if names and summary.get(role) and names != list(attribute.classes):
                self._refuse(
                    f"the classes of its {role} are {_shown(names)}, now {list(attribute.classes)}"
                )
        return summary

    def _rows(self, pool: Pool) -> Iterator[tuple[str, int, int, str]]:
        """The lines of ``records.csv``, each checked; reads no more than a list of the whole pool can hold."""
        path = self.manifest / "records.csv"
        bound = 64 * (len(pool) + 2) + 8 * int(np.char.str_len(pool.index.names).sum())
        if not path.is_file():
            self._refuse("it has no file records.csv")
        if path.stat().st_size > bound:
            self._refuse(
                f"records.csv is larger than a list of all {len(pool)} records of the pool can be"
            )
        rows = read_list(path, "make it readable")
        if next(rows, None) != (HEADER, 1):
            self._refuse(f"the first line of records.csv is not {','.join(HEADER)}")
        for cells, line in rows:
            yield self._row(cells, line, len(pool.y.classes))

    def _row(self, cells: list[str], line: int, classes: int) -> tuple[str, int, int, str]:
        if len(cells) != len(HEADER):
            self._refuse(
                f"line {line} of records.csv has {len(cells)} cells, expected {len(HEADER)}"
            )
        name, target, sensitive, origin = cells
        codes = []
        for role, cell in (("target", target), ("sensitive", sensitive)):
            # an unknown group is -1
            digits = cell.removeprefix("-") if role == "sensitive" else cell
            if not (digits.isascii() and digits.isdecimal() and len(digits) <= 5):
                self._refuse(f"line {line} of records.csv: {role} {_shown(cell)} is no code")
            codes.append(int(cell))
        if codes[0] >= classes:
            self._refuse(
                f"line {line} of records.csv: target {codes[0]} is none of the {classes} classes"
            )
        if origin not in ORIGINS:
            self._refuse(
                f"line {line} of records.csv: origin {_shown(origin)} is neither {' nor '.join(ORIGINS)}"
            )
        return name, codes[0], codes[1], origin

    def _positions(
        self, pool: Pool, names: list[str], summary: dict[str, Any], seed: int
    ) -> np.ndarray:
        """The pool's position of each name, int64."""
        where = {name: position for position, name in enumerate(pool.index.names.tolist())}
        if missing := [name for name in names if name not in where]:
            made_with = ", ".join(
                f"{key} {_shown(summary[key])}"
                for key in ("part", "shares", "seed")
                if summary.get(key) is not None
            )
            self._refuse(
                f"{len(missing)} of its {len(names)} records are not in the pool, the first {_shown(missing[0])} "
                f"(it was made with {made_with or 'another split'}; data.seed is now {seed}, and data.pool and "
                "data.validation_share count too)"
            )
        positions = np.array([where[name] for name in names], np.int64)
        if len(np.unique(positions)) < len(positions):
            first, counts = np.unique(positions, return_counts=True)
            self._refuse(
                f"record '{pool.index.names[first[np.argmax(counts > 1)]]}' is listed twice"
            )
        return positions

    def _report(self, summary: dict[str, Any], poisoned: np.ndarray) -> dict[str, Any]:
        """What of the manifest's own fields can be passed on; anything of another type is left out."""
        report: dict[str, Any] = {"alpha": float(poisoned.mean())}
        for key in ("violations", "exhausted"):
            if isinstance(summary.get(key), int) and summary[key] >= 0:
                report[key] = int(summary[key])
        if _is_number(summary.get("alpha")) and 0 <= summary["alpha"] <= 1:
            report["alpha"] = summary["alpha"]
        shares = summary.get("mutual_information_xy")
        fields = ("pool", "chosen", "tolerance")
        if isinstance(shares, dict) and all(
            shares.get(f) is None or _is_number(shares[f]) for f in fields
        ):
            report["mutual_information_xy"] = {field: shares.get(field) for field in fields}
        digest = hashlib.sha256((self.manifest / "records.csv").read_bytes()).hexdigest()
        report["manifest"] = {"policy": str(summary.get("policy"))[:40], "records_sha256": digest}
        return report


def _is_number(value: object) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < float("inf")
    )


def _shown(value: object) -> str:
    """A value of the manifest in a message: one line, not long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...'"


def listed_names(manifest: Path, source_sha256: str) -> set[str]:
    """Names of the records that a manifest lists, to see whether others are among them.

    Args:
        manifest: the folder.
        source_sha256: of the source that the others come from.

    Raises:
        UserError: the folder is no manifest, or one of another source, whose names say nothing.
    """
    if not (manifest / "mix.json").is_file():
        raise UserError(
            f"{manifest} is no manifest, it has no mix.json: give a folder that the verb mix wrote"
        )
    summary = read_json(manifest / "mix.json", limit=_SUMMARY_BYTES)
    if not isinstance(summary, dict) or summary.get("source_sha256") != source_sha256:
        raise UserError(
            f"the manifest {manifest} is of another source, or the source has changed since: name the manifest and "
            "the source of one training"
        )
    rows = read_list(manifest / "records.csv", "make it readable")
    if next(rows, None) != (HEADER, 1):
        raise UserError(
            f"the first line of {manifest / 'records.csv'} is not {','.join(HEADER)}: write it anew"
        )
    return {cells[0] for cells, _ in rows}
