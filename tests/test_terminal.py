"""What reaches a terminal: nothing that steers it, nothing endless, and all of it through one module."""

import ast
import io
import logging
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table

from diffshare.cli import _guarded, _refuse
from diffshare.errors import UserError
from diffshare.terminal import LONGEST, cell_text, console, plain_warnings, printable, say

PACKAGE = Path(__file__).parent.parent / "diffshare"
HOSTILE = "\x1b[2J\x1b]0;title\x07 \u202egnp.exe \x9b31m \r\b \udc80 \u2028"


def steers(text: str) -> list[str]:
    """Characters of a text that are no plain character, but line ends."""
    return [c for c in text if not (c.isprintable() or c == "\n")]


@settings(deadline=None)
@given(st.text(alphabet=st.characters(), max_size=80))
def test_what_is_printable_stays_and_nothing_else_does(text):
    shown = printable(text)
    assert shown.isprintable()
    if text.isprintable():
        assert shown == text


def test_a_long_text_keeps_its_beginning_and_its_end():
    text = "no column 'x" + "y" * 900_000 + "': name another"
    shown = printable(text)
    assert len(shown) < LONGEST + 100
    assert shown.startswith("no column 'xyyy")
    assert shown.endswith("yy': name another")


@pytest.mark.parametrize("error", [False, True])
def test_say_escapes(capsys, error):
    say(HOSTILE, "second", error=error)
    out = capsys.readouterr()
    text = out.err if error else out.out
    assert steers(text) == []
    assert text.count("\n") == 2
    assert r"\x1b[2J" in text


def test_say_survives_a_narrow_encoding(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    say("größe 字")
    stream.seek(0)
    assert stream.read() == "gr\\xf6\\xdfe \\u5b57\n"


@pytest.mark.parametrize("place", ["cell", "title", "caption", "line", "header"])
def test_every_string_of_a_table_is_escaped(place):
    out = io.StringIO()
    table = Table(
        title=HOSTILE if place == "title" else None, caption=HOSTILE if place == "caption" else None
    )
    table.add_column(HOSTILE if place == "header" else "a", min_width=80)
    table.add_row(HOSTILE if place == "cell" else "b")
    console(file=out, width=200).print(HOSTILE if place == "line" else table)
    assert steers(out.getvalue()) == []
    assert r"\x1b[2J" in out.getvalue()


def test_a_cell_is_no_markup():
    out = io.StringIO()
    console(file=out, width=200).print(cell_text("[red]x[/red] [/]"))
    assert out.getvalue() == "[red]x[/red] [/]\n"


def test_a_refusal_is_one_plain_line_wherever_it_is_read(capsys):
    error = UserError(f"the file names {HOSTILE}\n  and\x0bmore: mend it")
    assert str(error).isprintable()
    assert "and more: mend it" in str(error)
    assert _refuse(f"{HOSTILE}{'x' * 900_000}") == 2
    text = capsys.readouterr().err
    assert steers(text) == []
    assert len(text) < LONGEST + 100


def test_tracebacks_warnings_and_logs_are_plain(capsys):
    def fail() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            print(warnings.formatwarning(HOSTILE, UserWarning, "f", 1))
        assert logging.lastResort is not None
        print(logging.lastResort.format(logging.LogRecord("x", 30, "f", 1, "%s", (HOSTILE,), None)))
        raise RuntimeError(HOSTILE * 10_000)

    assert _guarded(fail, debug=True) == 1
    out = capsys.readouterr()
    assert steers(out.out) == steers(out.err) == []
    assert "Traceback" in out.err
    assert len(out.err) < 50_000


def test_the_warnings_are_as_they_were_afterwards():
    before = warnings.formatwarning
    with plain_warnings():
        assert warnings.formatwarning is not before
    assert warnings.formatwarning is before


def test_nothing_else_prints():
    """All that is printed goes through one module; a console of rich is made there alone."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            name = (
                called.id
                if isinstance(called, ast.Name)
                else called.attr
                if isinstance(called, ast.Attribute)
                else ""
            )
            direct = isinstance(called, ast.Name) and name == "print"
            written = isinstance(called, ast.Attribute) and ast.unparse(called.value) in (
                "sys.stdout",
                "sys.stderr",
            )
            if (
                direct
                or name in ("Console", "print_exc", "print_exception")
                or (written and name == "write")
            ):
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {name}")
            if isinstance(node, ast.ImportFrom) and node.module == "rich.markup":
                found.append(
                    f"{path.relative_to(PACKAGE)}:{node.lineno}: rich.markup, use diffshare.terminal.cell_text"
                )
    assert found == []
