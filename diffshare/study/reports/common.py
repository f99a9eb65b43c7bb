"""What all reports share: means with intervals, their text, and how figures look and are saved."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from diffshare.stats.summary import t_interval
from diffshare.storage import atomic_file
from diffshare.study.engine.base import Row

if TYPE_CHECKING:  # imported where something is drawn: a study that is refused does not wait for it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 130
GREY = "#555555"  # of what is no policy, repair or method


# --- means ------------------------------------------------------------------------------------------------------------


def grouped(rows: Iterable[Row], keys: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    """Rows that agree in some fields, by the values of these, in the order in which they come first."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def interval(values: Sequence[float | None], level: float) -> Row:
    """``mean``, ``interval`` (Student's, or null) and ``n``; undefined where a value is."""
    return t_interval(values, level).json()


def means(rows: Sequence[Row], fields: Iterable[str], level: float) -> Row:
    """The mean of each field over the rows, with its interval; undefined where a row does not have it."""
    return {field: interval([row.get(field) for row in rows], level) for field in fields}


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean; None without values, or where one is None."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined and len(defined) == len(values) else None


# --- text -------------------------------------------------------------------------------------------------------------


def text(
    mean: Mapping[str, Any] | None, form: str = ".3f", *, ends: bool = True, undefined: str = ""
) -> str:
    """A mean with its interval: ``0.312 [0.290, 0.334]``.

    Args:
        mean: ``mean`` and ``interval``; nothing is written of None.
        form: of a number, as of :func:`format`.
        ends: write the interval, where there is one.
        undefined: what is written where the mean is None.
    """
    if mean is None:
        return ""
    if mean["mean"] is None:
        return undefined
    low_high = mean["interval"] if ends else None
    return f"{mean['mean']:{form}}" + (
        f" [{low_high[0]:{form}}, {low_high[1]:{form}}]" if low_high else ""
    )


def number(value: Any, form: str = "g") -> str:
    """A number or another value in some form, or nothing where it is None."""
    return "" if value is None else f"{value:{form}}"


def table(
    title: str,
    entries: Iterable[Row],
    columns: Mapping[str, Callable[[Row], str]],
    left: Iterable[str] = (),
    caption: str | None = None,
) -> Table:
    """A table with a line an entry.

    Args:
        title: of the table.
        entries: the lines.
        columns: the text of an entry's cell, by the heading.
        left: columns that are left-aligned; the others are right-aligned.
        caption: below the table.
    """
    result = Table(title=title, caption=caption)
    for name in columns:
        result.add_column(name, justify="left" if name in left else "right")
    for entry in entries:
        result.add_row(*(cell(entry) for cell in columns.values()))
    return result


def field(name: str, form: str = "") -> Callable[[Row], str]:
    """A column's cell: a field as it is, or a number in some form; nothing where it is None."""
    return lambda entry: number(entry[name], form)


def inner(*names: str, form: str = "") -> Callable[[Row], str]:
    """A column's cell: a number in mappings within the entry, by the names that lead to it."""
    return lambda entry: number(reduce(getitem, names, entry), form)


def estimate(name: str, form: str = ".3f", **options: Any) -> Callable[[Row], str]:
    """A column's cell: a mean with its interval, see :func:`text`."""
    return lambda entry: text(entry.get(name), form, **options)


# --- figures ----------------------------------------------------------------------------------------------------------


def figure_of(width: float, height: float) -> "Figure":
    """An empty figure, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def colour_of(number: int) -> str:
    """A colour that every eye tells from the others; the seventh is the first again."""
    from diffshare.audits.figures import COLOURS

    return COLOURS[number % len(COLOURS)]


def plain(axis: "Axes", title: str | None = None, grid: str = "both") -> None:
    """A light grid, two spines, a title of medium size."""
    if title is not None:
        axis.set_title(title, fontsize="medium")
    axis.grid(axis=grid, alpha=0.25)  # type: ignore[arg-type]
    axis.spines[["top", "right"]].set_visible(False)


def bars(estimates: Sequence[Row]) -> np.ndarray:
    """Lengths of error bars, 2 x N: from each mean down to its interval's lower end and up to its upper one."""
    ends = [one["interval"] or [one["mean"]] * 2 for one in estimates]
    return np.array(
        [
            [one["mean"] - low, high - one["mean"]]
            for one, (low, high) in zip(estimates, ends, strict=True)
        ]
    ).T


def curve(
    axis: "Axes",
    points: Sequence[tuple[float, Row]],
    colour: str,
    label: str | None,
    shift: float = 0.0,
) -> None:
    """Means with their intervals against x, joined by a line; what is undefined is left out.

    Args:
        axis: to draw on.
        points: x, and an estimate with ``mean`` and ``interval``.
        colour: of line and bars.
        label: in the legend.
        shift: added to x, so that the bars of several curves stand side by side.
    """
    defined = [(x, one) for x, one in points if one["mean"] is not None]
    x, y = [x + shift for x, _ in defined], [one["mean"] for _, one in defined]
    errors = bars([one for _, one in defined]) if defined else None
    axis.errorbar(x, y, errors, color=colour, marker="o", ms=4, lw=1.5, capsize=3, label=label)


def dots(
    axis: "Axes",
    pairs: Iterable[tuple[float, float]],
    colour: str,
    label: str | None = None,
    **look: Any,
) -> None:
    """Single values as dots.

    Args:
        axis: to draw on.
        pairs: x and y of each.
        colour: of the dots.
        label: in the legend.
        look: further arguments of ``plot``.
    """
    places = np.array(list(pairs), float).reshape(-1, 2)
    usual: dict[str, Any] = {"ls": "", "marker": "o", "ms": 4, "alpha": 0.7}
    axis.plot(*places.T, color=colour, label=label, **usual | look)


def draw_kinds(
    rows: Sequence[Row],
    entries: Sequence[Row],
    panels: Mapping[str, tuple[str, float | None]],
    *,
    keys: Sequence[str],
    label: Callable[[Row], str],
    colour: Callable[[Row], str],
    size: tuple[float, float],
    panel: float,
) -> "Sequence[Axes]":
    """A line a kind, a panel a measure: its mean with interval, single values as dots.

    Args:
        rows: with the single values.
        entries: of the summary, one a kind.
        panels: by the field that is drawn, the title and the place of a dashed line, if any.
        keys: fields in which a row agrees with the entry of its kind.
        label: of a kind.
        colour: of a kind.
        size: of the figure without panels and lines, in inches.
        panel: width of one.
    """
    figure = figure_of(size[0] + panel * len(panels), size[1])
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (name, (title, line)) in zip(axes, panels.items(), strict=True):
        for height, entry in enumerate(entries):
            mine = [row for row in rows if all(row[key] == entry[key] for key in keys)]
            values = [row[name] for row in mine if row.get(name) is not None]
            dots(axis, ((value, height) for value in values), colour(entry), ms=3, alpha=0.4)
            if (mean := entry[name])["mean"] is not None:
                look: dict[str, Any] = {"fmt": "D", "ms": 5, "capsize": 3, "color": colour(entry)}
                errors = bars([mean]) if mean["interval"] else None
                axis.errorbar([mean["mean"]], [height], xerr=errors, **look)
        if line is not None:
            axis.axvline(line, color="grey", lw=1, ls="--")
        plain(axis, title, grid="x")
        axis.set(yticks=range(len(entries)), yticklabels=[label(entry) for entry in entries])
    axes[0].invert_yaxis()
    return list(axes)


def draw_gap_and_accuracy(
    titles: Sequence[str],
    fill: Callable[[int, "Axes", str], None],
    *,
    gap: str,
    width: float,
) -> np.ndarray:
    """Gap (upper row) and accuracy (lower) against alpha.

    Args:
        titles: of the columns.
        fill: draws into a column's panel of ``gap`` or ``accuracy``.
        gap: what the gap is, after its name.
        width: of a column, in inches.

    Returns:
        the panels, 2 x columns.
    """
    figure = figure_of(2.2 + width * len(titles), 5.6)
    axes = figure.subplots(2, len(titles), sharex=True, sharey="row", squeeze=False)
    for column, (pair, title) in enumerate(zip(axes.T, titles, strict=True)):
        pair[0].set_title(title)
        pair[1].set_xlabel("poisoned share alpha")
        for axis, name in zip(pair, ("gap", "accuracy"), strict=True):
            fill(column, axis, name)
            plain(axis)
    axes[0, 0].set_ylabel(f"demographic parity difference{gap}")
    axes[1, 0].set_ylabel("accuracy on real test records")
    return axes


def seeds_text(count: int, level: float, dots: str = "") -> str:
    """What bars and dots are, for the figure's title.

    Args:
        count: of seeds; one seed has no interval.
        level: of the intervals.
        dots: what the dots are.
    """
    parts = [
        f"bars: {level:.0%} t interval" if count > 1 else "no interval",
        *([f"dots: {dots}"] if dots else []),
    ]
    return f"Mean over {count} seed{'s' if count > 1 else ''} ({'; '.join(parts)})"


def save(drawn: "Figure | Axes", path: Path, title: str | None = None) -> Path:
    """Write a figure, or the one that a panel is in, as PNG, whole or not at all, with a title above it."""
    figure = drawn.get_figure(root=True)
    assert figure is not None
    if title is not None:
        figure.suptitle(title, fontsize="medium")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png")
    return path
