"""What reaches a terminal: every message passes here, escaped and cut. Strings of received files may hold anything.

An escape sequence in a name could recolour, overwrite or forge lines of a terminal, a direction mark turn a text round,
and a value of a megabyte push everything else away.
"""

import functools
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

# rich is imported where something is drawn: errors, which import this module, are everywhere
if TYPE_CHECKING:
    from rich.console import Console

LONGEST = 2000  # characters of a line
_TAIL = 500  # of them from the end, where a message says how to mend it
TRACE = 20_000  # characters of a traceback


def printable(text: object, longest: int = LONGEST) -> str:
    r"""Text as one line that a terminal shows as it is.

    Control characters, direction marks, line ends and what else is not printable are escaped as Python writes them
    (``\x1b``); what is longer than ``longest`` characters keeps its beginning and its end.
    """
    whole = str(text)
    if len(whole) > longest:
        tail = min(_TAIL, longest // 4)
        gone = f" [... {len(whole) - longest} characters ...] "
        whole = whole[: longest - tail] + gone + whole[len(whole) - tail :]
    if whole.isprintable():
        return whole
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in whole
    )


def say(*lines: object, error: bool = False, flush: bool = False) -> None:
    """Print lines to stdout, or to stderr where ``error``."""
    stream = sys.stderr if error else sys.stdout
    for line in lines:
        print(_encodable(printable(line), stream), file=stream, flush=flush)


def say_traceback() -> None:
    """Print the traceback of the exception that is handled to stderr."""
    text = traceback.format_exc()
    text = text if len(text) <= TRACE else f"{text[: TRACE // 4]}\n[...]\n{text[-3 * TRACE // 4 :]}"
    say(*text.rstrip("\n").split("\n"), error=True)


def _encodable(text: str, stream: Any) -> str:
    """The text with what the stream's encoding lacks escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@functools.cache
def _console_class() -> type["Console"]:
    from rich.console import Console

    class Escaping(Console):
        """A console that escapes every string: lines, cells, titles and captions of tables."""

        def render_str(self, text: str, **options: Any) -> Any:
            lines = [_encodable(printable(line), self.file) for line in text.split("\n")]
            return super().render_str("\n".join(lines), **options)

    return Escaping


def console(*, stderr: bool = False, **options: Any) -> "Console":
    """A console of rich for tables and bars; options are its own. Received text comes through ``cell_text``."""
    return _console_class()(stderr=stderr, **options)


def cell_text(text: object, longest: int = 200) -> str:
    """Text for a cell or a title of a table: no markup of rich, escaped and cut."""
    from rich.markup import escape

    return escape(printable(text, longest))


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(record.getMessage())


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Within the block, warnings and what is logged to nobody in particular are one line each, like every message."""
    before, last = warnings.formatwarning, logging.lastResort

    def line(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> str:
        return f"{category.__name__}: {printable(message)}\n"

    warnings.formatwarning = line
    formatter = None if last is None else last.formatter
    if last is not None:
        last.setFormatter(_OneLine())
    try:
        yield
    finally:
        warnings.formatwarning = before
        if last is not None:
            last.setFormatter(formatter)
