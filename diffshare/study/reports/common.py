"""What all reports share: means with intervals, their text, and how figures look and are saved."""

from collections.abc import Iterable, Mapping, Sequence
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
    estimate: Mapping[str, Any] | None, form: str = ".3f", *, ends: bool = True, undefined: str = ""
) -> str:
    """A mean with its interval: ``0.312 [0.290, 0.334]``.

    Args:
        estimate: ``mean`` and ``interval``; nothing is written of None.
        form: of a number, as of :func:`format`.
        ends: write the interval, where there is one.
        undefined: what is written where the mean is None.
    """
    if estimate is None:
        return ""
    if estimate["mean"] is None:
        return undefined
    low_high = estimate["interval"] if ends else None
    return f"{estimate['mean']:{form}}" + (
        f" [{low_high[0]:{form}}, {low_high[1]:{form}}]" if low_high else ""
    )


def number(value: float | None, form: str = "g") -> str:
    """A number, or nothing where it is None."""
    return "" if value is None else f"{value:{form}}"


def table(
    title: str, columns: Sequence[str], left: Iterable[str] = (), caption: str | None = None
) -> Table:
    """An empty table; columns are right-aligned but those in ``left``."""
    result = Table(title=title, caption=caption)
    for name in columns:
        result.add_column(name, justify="left" if name in left else "right")
    return result


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


def line_of_means(
    axis: "Axes", height: int, estimate: Row, dots: Sequence[float], colour: str
) -> None:
    """One line of a figure that compares kinds: single values as dots, their mean with its interval."""
    axis.plot(dots, [height] * len(dots), "o", ms=3, alpha=0.4, color=colour)
    if estimate["mean"] is not None:
        errors = bars([estimate]) if estimate["interval"] else None
        axis.errorbar(
            [estimate["mean"]], [height], xerr=errors, fmt="D", ms=5, capsize=3, color=colour
        )


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


def save(figure: "Figure", path: Path) -> Path:
    """Write the figure as PNG, whole or not at all."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png")
    return path
