"""Writes what ``repair`` makes: samples with weights, or a choice of them and of further ones."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from diffshare.audits.poisoning.drawing import Drawing
from diffshare.audits.repair.plan import Plan
from diffshare.audits.repair.weights import Repair, accept, at_most, quotas
from diffshare.data.csvfile import read_blocks
from diffshare.data.tablefile import TableFile
from diffshare.errors import UserError
from diffshare.progress import tell
from diffshare.receiver.samples import CodedSamples, Samples, claimed_guidance, header, samples_file
from diffshare.release.info import INFO, read_info
from diffshare.release.samples import read_samples, write_samples
from diffshare.release.tables import CSV, escaped, formula_note, needs_quotes
from diffshare.storage import write_json

ROUNDS = 12  # of drawing more samples, each with the rate of acceptance that the last one showed


class Chosen(NamedTuple):
    """Samples of a folder that are kept.

    Attributes:
        folder: samples folder.
        rows: their positions among its samples, ascending.
        y: the class of every sample there when they were chosen, as the reference numbers it, int64.
    """

    folder: Path
    rows: np.ndarray
    y: np.ndarray


def as_samples_folder(
    received: Samples, samples: CodedSamples, named: Mapping[str, Any], place: Path
) -> Path:
    """The samples as a samples folder: theirs, or one that is written at ``place``.

    Args:
        received: as they came.
        samples: in the codes of the reference.
        named: what ``samples.json`` of images is to say of their classes.
        place: an empty folder.
    """
    if received.folder is not None and received.folder.is_dir() and not received.known:
        return received.folder
    folder = place / "given"
    if received.images is not None:
        write_samples(folder, received.images, samples.y, dict(named))
        return folder
    assert isinstance(received.table, TableFile)
    table = received.table
    names = [name for name in table.names if name and table.names.count(name) == 1]
    folder.mkdir()
    cells = [table.texts(name).tolist() for name in names]
    lines = [names, *zip(*cells, strict=True)]
    with (folder / CSV).open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(lines)
    return folder


def write_weights(
    folder: Path, samples: CodedSamples, repair: Repair, named: Mapping[str, Any]
) -> None:
    """The samples with their weights, into ``folder``; ``named`` as for :func:`resample`."""
    # the samples carry none, or the same weight each: see open_samples
    weight = repair.weights.astype(np.float32)
    info = {k: v for k, v in samples.info.items() if k != "count"} | dict(named)
    _write_images(folder, samples.x, samples.y, info, weight)


def resample(
    folder: Path,
    given: Path,
    samples: CodedSamples,
    repair: Repair,
    named: Mapping[str, Any],
    chosen: Callable[[Path, np.random.Generator], tuple[np.ndarray, np.ndarray]],
    *,
    plan: Plan,
    model: Path | None = None,
    guidance: float | None = None,
    escape: bool = False,
) -> dict[str, Any]:
    """Keep samples by chance, in proportion to their weights; ask the model for more where there is one.

    Args:
        folder: to write to.
        given: the samples folder that is repaired.
        samples: those that it holds.
        repair: their weights.
        named: what ``samples.json`` of images is to say of their classes: the reference's, which number them.
        chosen: of a folder of further samples, their classes and the positions of those that are kept.
        plan: the choices.
        model: release folder that is asked for more.
        guidance: at which the audit took the samples to be drawn; as ``samples.json`` says where None.
        escape: cells of rows that a spreadsheet would run as formulas.

    Raises:
        UserError: the model's rows have other columns than the samples.
    """
    rng = np.random.default_rng([plan.seed, 7])
    kept = accept(repair, samples.y, rng)
    if model is None:
        _write_choice(folder, [Chosen(given, kept, samples.y)], {}, named, escape=escape)
        return {"count": len(kept), "queries": 0}
    classes, drawn, y, more = len(repair.wanted), 0, samples.y[:0], kept[:0]
    quota = quotas(samples.y, plan.count or len(samples.y), classes)
    first = at_most(kept, samples.y, quota, rng)
    missing = quota - np.bincount(samples.y[first], minlength=classes)
    guidance = claimed_guidance(samples.info) if guidance is None else guidance
    with TemporaryDirectory() as temporary:
        place = Path(temporary) / "more"
        drawing = _drawing(model, plan.seed, samples.info, guidance, place)
        for _ in range(ROUNDS):
            lacking = int((missing - np.bincount(y[more], minlength=classes)).max())
            if lacking <= 0:
                break
            rate = (len(kept) + len(more)) / (len(samples.y) + drawn)
            drawn += int(np.ceil(1.05 * classes * lacking / max(rate, 0.02)))
            drawing.first(drawn)  # as many of each class
            _check_columns(place, given, model)
            y, more = chosen(place, rng)
        more = at_most(more, y, missing, rng)
        parts = [
            Chosen(given, first, samples.y),
            *([Chosen(place, more, y)] if drawn else []),
        ]
        told = {"guidance": guidance} if drawn else {}
        _write_choice(folder, parts, told, named, escape=escape)
    if len(first) + len(more) < quota.sum():
        tell(
            f"note:    {drawn} further samples were too few to keep {quota.sum()}: repair with a smaller `count`"
        )
    return {"count": len(first) + len(more), "queries": drawn}


def _drawing(
    model: Path, seed: int, info: Mapping[str, Any], guidance: float, folder: Path
) -> Drawing:
    """The model, asked as it was for the samples: at the same guidance and steps, with noise of its own."""
    said, seed = info.get("steps"), seed + 1_000_003
    steps = said if isinstance(said, int) and not isinstance(said, bool) and said > 0 else None
    seed += info.get("seed") == seed  # no sample that was seen before
    return Drawing(model, seed=seed, steps=steps, guidance=guidance, folder=folder)


def _check_columns(further: Path, given: Path, model: Path) -> None:
    """Refuse rows of a model whose columns are not those of the samples, in whatever order."""
    if samples_file(given).name != CSV:
        return
    wanted, drawn = header(given / CSV), header(further / CSV)
    if other := sorted({*wanted} ^ {*drawn}):
        where = ("the samples", "its rows") if other[0] in wanted else ("its rows", "the samples")
        raise UserError(
            f"{model} makes rows of other columns than {given}: {other[0]!r:.60} is in {where[0]} "
            f"alone, not in {where[1]}; leave out `model`, or repair samples of that model with all their columns"
        )


def _write_choice(
    folder: Path,
    parts: list[Chosen],
    told: Mapping[str, Any],
    named: Mapping[str, Any],
    *,
    escape: bool = False,
) -> None:
    """The chosen samples of some folders, as one.

    Args:
        folder: to write to.
        parts: what is kept of each; ``samples.json`` of the first goes on to say how the samples were drawn.
        told: what is known better than that file says it.
        named: likewise of the classes of images.
        escape: cells of rows that a spreadsheet would run as formulas.
    """
    info = read_info(parts[0].folder) | dict(told)
    if samples_file(parts[0].folder).name == CSV:
        _write_rows(folder, parts, info, escape)
        return
    x = np.concatenate([read_samples(part.folder).x[part.rows] for part in parts])
    y = np.concatenate([part.y[part.rows] for part in parts])
    _write_images(folder, x, y, {k: v for k, v in info.items() if k != "count"} | dict(named))


def _write_rows(folder: Path, parts: list[Chosen], info: Mapping[str, Any], escape: bool) -> None:
    """Rows under the first folder's header, whatever the order of the others' columns."""
    names = header(parts[0].folder / CSV)
    lines: list[Sequence[str]] = [cells for part in parts for cells in _rows(part, names)]
    spaced = needs_quotes(text for cells in (names, *lines) for text in cells)
    if escape:
        names, lines = escaped(names), [escaped(cells) for cells in lines]
    elif note := formula_note(cell for cells in (names, *lines) for cell in cells):
        tell(f"note:    {note}")
    with (folder / CSV).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(
            stream, lineterminator="\n", quoting=csv.QUOTE_ALL if spaced else csv.QUOTE_MINIMAL
        )
        writer.writerows([names, *lines])
    write_json(folder / INFO, {**info, "count": len(lines)})


def _rows(part: Chosen, names: list[str]) -> list[tuple[str, ...]]:
    """The chosen rows with their columns in the order of ``names``, which are all of them.

    The reader is the one that numbered the rows: another may count empty lines, and each row after one would be
    taken for its neighbour.
    """
    path = part.folder / CSV
    own = header(path)
    place = {name: position for position, name in enumerate(own)}
    order = [place[name] for name in names]
    every = [
        cells
        for block in read_blocks(path, len(own), header=True)
        for cells in zip(*(block.columns[i] for i in order), strict=True)
    ]
    if len(every) != len(part.y):
        raise UserError(
            f"{path} has {len(every)} rows, {len(part.y)} were audited: do not change it during a repair"
        )
    return [every[i] for i in part.rows.tolist()]


def _write_images(
    folder: Path,
    x: np.ndarray,
    y: np.ndarray,
    info: Mapping[str, Any],
    weight: np.ndarray | None = None,
) -> None:
    """Into a folder that has more to take: a samples folder is written as a whole, its files then move."""
    whole = folder / "whole"
    write_samples(whole, x, y, info, weight=weight)
    for file in whole.iterdir():
        file.rename(folder / file.name)
    whole.rmdir()
