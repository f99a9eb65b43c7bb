"""The library speaks of arguments; the command line alone makes flags of them."""

import ast
import re
from pathlib import Path

import pytest

import diffshare
from diffshare.commands.failures import explain
from diffshare.commands.flags import in_flags
from diffshare.errors import UserError, check_number, check_seed, reason_of
from diffshare.received import shown

PACKAGE = Path(diffshare.__file__).parent
FLAG = re.compile(r"(?<![\w-])--[a-z]")
EXCEPTIONS = {
    "audits/repair/audit_file.py": "a parser builds the classes that an audit names",
    "provenance.py": "flags of git",
    "receiver/meta/data.py": "words for the parser of a generator's training",
    "receiver/meta/shadows.py": "words for the parser of a generator's training",
    "release/readme.py": "commands for whoever received the release",
    "study/steps/flags.py": "turns names into flags",
    "study/steps/verbs.py": "words for the verbs that its steps call",
}


def flags_in(code: str) -> list[int]:
    """Lines of the texts, docstrings among them, that write a flag, or put a name into one."""
    return [node.lineno for node in ast.walk(ast.parse(code)) if FLAG.search(text_of(node))]


def text_of(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "x" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_no_text_of_the_library_writes_a_flag():
    writing = {
        path.relative_to(PACKAGE).as_posix(): flags_in(path.read_text(encoding="utf-8"))
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ("commands", "cli.py")
    }
    lines = {name: flags for name, flags in writing.items() if flags}
    assert {name: lines[name] for name in lines.keys() - EXCEPTIONS.keys()} == {}
    assert lines.keys() == EXCEPTIONS.keys()  # none that is needed no more


def test_a_flag_is_seen_wherever_it_stands():
    code = '"""Of ``--seed``."""\nx = f"--{y}: add"\nz = "a--b"\n# --no text\n'
    assert flags_in(code) == [1, 2]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("only where `split_seed` 0 is", "only where --split-seed 0 is"),
        ("add `reference.image_size` 32", "add --reference.image_size 32"),
        ("`seed_everything` is -1", "--seed_everything is -1"),
        ("draw with `labels` none, `part`: `all`", "draw with --labels none, --part: --all"),
        ("a lone ` and `Two words` stay", "a lone ` and `Two words` stay"),
    ],
)
def test_the_command_line_makes_flags_of_arguments(told, shown):
    assert in_flags(told) == shown


def test_a_number_is_refused_in_the_arguments_words(run_cli, tmp_path):
    with pytest.raises(UserError, match=r"`batch_size` is 0: it must be at least 1"):
        check_number("batch_size", 0, 1)
    with pytest.raises(UserError, match=r"`split_seed` is -1: give a number from 0"):
        check_seed("split_seed", -1)
    outcome = run_cli(
        "sample", "--model", tmp_path, "--count", 1, "--seed", -1, "--out", tmp_path / "x"
    )
    assert outcome.code == 2
    assert outcome.err.startswith("diffshare: --seed is -1: give a number from 0")


def test_words_of_others_are_no_arguments():
    """Other libraries write their own names in backticks, and a received name may hold anything."""
    assert reason_of(ValueError("`max_steps` must be\n more")) == "'max_steps' must be"
    assert reason_of(KeyError()) == "KeyError"
    assert in_flags(f"no class {shown('`seed`')}") == r"no class '\x60seed\x60'"
    other = ValueError("`seed` of another library")
    assert "--seed" not in str(explain(other))
    assert explain(UserError("`seed` is 1")) == "--seed is 1"
