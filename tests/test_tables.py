"""Tables, sentences and claims of the documentation are those of docs/results, number by number."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def tables():
    """``scripts/tables.py``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        import tables as module

        yield module
        for name in (
            "tables",
            "_kept",
            "_demo",
            "_figures",
            "_measured",
            "_families",
            "_poisoning",
        ):
            sys.modules.pop(name, None)


def numbers(text: str) -> list[str]:
    return re.findall(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?", text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_says_what_its_results_say(tables: ModuleType, document: Path):
    text = document.read_text(encoding="utf-8")
    assert tables.filled(text) == text, "python scripts/tables.py"


def test_every_block_stands_in_one_document(tables: ModuleType):
    names = [
        block[1]
        for path in DOCUMENTS
        for block in tables.BLOCK.findall(path.read_text(encoding="utf-8"))
    ]
    assert sorted(names) == sorted(tables.BLOCKS)


def test_every_number_of_the_table_of_measurements_is_its_file_s(tables: ModuleType):
    """No template of a figure has a digit: what README says there, a kept result says."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = [part[0] for part in tables.BLOCK.finditer(readme) if part[2] == "measured"]
    rows = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("|")][
        2:
    ]
    assert len(rows) == len(tables._measured.CLAIMS)
    for claim, (_, figure, _) in zip(tables._measured.CLAIMS, rows, strict=True):
        assert not re.search(r"\d", re.sub(r"\{[^{}]*\}", "", claim.figure)), claim.figure
        assert numbers(figure) == numbers(claim.figure.format(**claim.values()))
        assert numbers(figure), figure


def test_another_result_makes_another_figure(tables: ModuleType, monkeypatch: pytest.MonkeyPatch):
    rows = json.loads((ROOT / "docs" / "results" / "ddp.json").read_text())
    (claim,) = [claim for claim in tables._measured.CLAIMS if "two gloo processes" in claim.what]
    before = claim.cells()
    monkeypatch.setattr(
        sys.modules["_figures"], "kept", lambda name: [row | {"ratio": 0.5} for row in rows]
    )
    assert claim.cells() == (before[0], "0.50 of its images/s", before[2])
    assert before[1] != "0.50 of its images/s"


def test_an_unknown_block_is_refused(tables: ModuleType):
    with pytest.raises(KeyError, match="nothing"):
        tables.filled("<!-- results: nothing -->\n<!-- end of nothing -->")


def test_only_blocks_are_touched(tables: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "BLOCKS", {"a": lambda: "one", "b": lambda: "two\nlines"})
    text = "first\n<!-- results: a -->\nold\n\nold\n<!-- end of a -->\nmiddle\n<!-- results: b -->\n<!-- end of b -->\n"
    new = tables.filled(text)
    assert new.splitlines() == [
        *("first", "<!-- results: a -->", "one", "<!-- end of a -->", "middle"),
        *("<!-- results: b -->", "two", "lines", "<!-- end of b -->"),
    ]
    assert tables.filled(new) == new


def test_estimates_print_themselves(tables: ModuleType):
    kept = sys.modules["_kept"]
    one = kept.estimate({"mean": 0.286, "interval": [0.141, 0.409]})
    assert f"{one:.2f}" == "0.29 (0.14 to 0.41)"
    assert f"{one.times(100):.0f %}" == "29 % (14 to 41)"
    assert f"{one.times(-100):+.1f}" == "-28.6 (-40.9 to -14.1)"
    assert f"{kept.estimate({'mean': 0.5, 'interval': None}):.1f}" == "0.5"
    assert f"{kept.Estimate(None):.2f}" == "undefined"
    assert kept.rounded(12581.1, 3) == "12,600"
    with pytest.raises(LookupError, match="2 entries"):
        kept.one([{"a": 1}, {"a": 1}], a=1)
