"""Carries out a study in its folder and writes down what came of it."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from diffshare.errors import UserError
from diffshare.provenance import code_revision, versions
from diffshare.storage import atomic_file, write_json
from diffshare.study.engine.base import Row, Study
from diffshare.study.engine.folder import StudyFolder
from diffshare.study.engine.local import Failure, LocalRunner, Runner, Watcher
from diffshare.study.engine.step import Place


@dataclass(frozen=True, repr=False, eq=False)
class StudyResult:
    """What came of a study.

    Attributes:
        study: ``module.class``.
        folder: of the study; it holds all of this and what the steps left.
        rows: one a cell of the grid.
        summary: what they say together.
        seconds: that each finished step took, by its name.
        failures: steps that failed.
        missing: steps without a result, those that failed and those that need them.
        tables: for a terminal; none without a row.
        figures: pictures that were drawn; likewise.
        record: how the study was called, and by which code.
    """

    study: str
    folder: Path
    rows: Sequence[Row]
    summary: Sequence[Row]
    seconds: Mapping[str, float]
    failures: Sequence[Failure]
    missing: Sequence[str]
    tables: Sequence[Table]
    figures: Sequence[Path]
    record: Mapping[str, Any]

    def __repr__(self) -> str:
        left = f", {len(self.missing)} steps missing" if self.missing else ""
        return f"StudyResult({self.study}, {len(self.rows)} rows in {self.folder}{left})"

    def to_json(self) -> dict[str, Any]:
        """The fields of ``results.json``."""
        total = round(sum(self.seconds.values()), 1)
        return {
            "study": self.study,
            **self.record,
            "seconds": {"total": total, "steps": dict(self.seconds)},
            "failed": {failure.step: failure.reason for failure in self.failures},
            "missing": list(self.missing),
            "summary": list(self.summary),
            "rows": list(self.rows),
        }


def run_study(
    study: Study,
    out: Path,
    *,
    runner: Runner | None = None,
    record: Mapping[str, Any] | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
) -> StudyResult:
    """Run what is left to do of a study and write results and figures.

    Args:
        study: what to run.
        out: folder of the study.
        runner: how to run it; a process on this machine where None.
        record: fields of ``results.json`` that say how the study was called.
        resume: go on with the study that lies in ``out``.
        watcher: is told how far the study is; nobody where None.

    Returns:
        the results of the steps that did not fail, and which did.

    Raises:
        UserError: the grid is empty; see :meth:`StudyFolder.opened`.
        KeyboardInterrupt: stopped by Ctrl-C.
    """
    steps = study.steps()
    if not steps:
        raise UserError("the study's grid is empty: give each of its lists at least one value")
    folder, watcher = StudyFolder(out, steps), watcher or Watcher()
    with folder.opened(resume=resume):
        watcher.begun(len(steps), sum(map(folder.is_done, folder.steps)))
        try:
            failures = (runner or LocalRunner()).run(folder, watcher)
        finally:
            watcher.ended()
        return _results(study, folder, failures, record or {})


def _results(
    study: Study, folder: StudyFolder, failures: Sequence[Failure], record: Mapping[str, Any]
) -> StudyResult:
    """Make and write ``results.json``, ``results.csv`` and the figures."""

    def find(place: Place) -> Path | None:
        return folder.at(place) if folder.is_done(place.step) else None

    rows, seconds = study.rows(find), folder.seconds()
    summary = study.summary(rows)
    result = StudyResult(
        study=f"{type(study).__module__}.{type(study).__qualname__}",
        folder=folder.root,
        rows=rows,
        summary=summary,
        seconds=seconds,
        failures=failures,
        missing=[name for name in folder.steps if name not in seconds],
        tables=study.tables(rows, summary) if rows else [],
        figures=study.figures(rows, summary, folder.root / "figures") if rows else [],
        record={**record, "revision": code_revision(), "versions": versions()},
    )
    write_json(folder.root / "results.json", result.to_json())
    _write_csv(folder.root / "results.csv", rows)
    return result


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    flat = [dict(_flat(row)) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    with (
        atomic_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings and lists as (dotted name, value)."""
    if isinstance(value, Mapping | list) and value:
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, child in items:
            yield from _flat(child, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
