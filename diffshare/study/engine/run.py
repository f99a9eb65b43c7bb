"""Carries out a study in its folder and writes down what came of it."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from diffshare import terminal
from diffshare.errors import UserError
from diffshare.provenance import code_revision, versions
from diffshare.storage import atomic_file, write_json
from diffshare.study.engine.base import Row, Study
from diffshare.study.engine.folder import StudyFolder
from diffshare.study.engine.local import Failure, Runner
from diffshare.study.engine.progress import StudyProgress
from diffshare.study.engine.step import Place

WIDTH = 160  # columns of a table that goes to a file or a pipe, where rich would assume 80


def run_study(
    study: Study,
    out: Path,
    runner: Runner,
    record: Mapping[str, Any],
    *,
    resume: bool = False,
    console: Console,
) -> list[Failure]:
    """Run what is left to do of ``study`` and write results, tables and figures.

    Args:
        study: what to run.
        out: folder of the study.
        runner: how to run it.
        record: fields of ``results.json`` that say how the study was called.
        resume: go on with the study that lies in ``out``.
        console: where progress and tables go.

    Returns:
        the steps that failed; results are written of the others.

    Raises:
        UserError: the grid is empty; see :meth:`StudyFolder.opened`.
        KeyboardInterrupt: stopped by Ctrl-C.
    """
    steps = study.steps()
    if not steps:
        raise UserError("the study's grid is empty: give each of its lists at least one value")
    folder = StudyFolder(out, steps)
    with folder.opened(resume=resume):
        done = sum(map(folder.is_done, folder.steps))
        with StudyProgress(len(steps), done, console) as progress:
            failures = runner.run(folder, progress)
        write_results(study, folder, failures, record, console)
    return failures


def write_results(
    study: Study,
    folder: StudyFolder,
    failures: Sequence[Failure],
    record: Mapping[str, Any],
    console: Console,
) -> None:
    """Write ``results.json``, ``results.csv`` and the figures; print the tables."""

    def find(place: Place) -> Path | None:
        return folder.at(place) if folder.is_done(place.step) else None

    rows = study.rows(find)
    summary = study.summary(rows)
    seconds = folder.seconds()
    results = {
        "study": f"{type(study).__module__}.{type(study).__qualname__}",
        **record,
        "revision": code_revision(),
        "versions": versions(),
        "seconds": {"total": round(sum(seconds.values()), 1), "steps": seconds},
        "failed": {f.step: f.reason for f in failures},
        "missing": [name for name in folder.steps if name not in seconds],
        "summary": summary,
        "rows": rows,
    }
    write_json(folder.root / "results.json", results)
    _write_csv(folder.root / "results.csv", rows)
    wide = console if console.is_terminal else terminal.console(file=console.file, width=WIDTH)
    for table in study.tables(rows, summary) if rows else []:
        wide.print(table)
    figures = study.figures(rows, summary, folder.root / "figures") if rows else []
    console.print(f"results: {folder.root / 'results.json'}", soft_wrap=True, highlight=False)
    for path in figures:
        console.print(f"figure:  {path}", soft_wrap=True, highlight=False)


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
