"""Which lines of ``samples.csv`` a repair keeps: those that were weighed, under the columns that they have."""

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffshare.audits.repair import choosing
from diffshare.audits.repair.choosing import resample
from diffshare.audits.repair.plan import Plan
from diffshare.audits.repair.weights import Repair
from diffshare.commands.progress import Shown
from diffshare.errors import UserError
from diffshare.progress import SILENT, shown_by
from diffshare.receiver.samples import Samples
from diffshare.storage import read_json, write_json

ROWS = [[str(i), f"w{i % 3}", ("low", "high")[i % 2]] for i in range(8)]
NAMES = ["height", "ward", "income"]
SAID = {
    "count": 8,
    "labels": "balanced",
    "seed": 5,
    "steps": 7,
    "guidance": 2.0,
    "model": {"name": "m", "sha256": "5"},
}


def samples(
    folder: Path, lines: list[list[str]], text: Callable[[str], str] = lambda whole: whole
) -> Path:
    """A samples folder whose file is changed by ``text`` before it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "samples.csv").write_text(
        text("".join(",".join(line) + "\n" for line in lines)), encoding="utf-8"
    )
    return folder


def found(folder: Path) -> list[list[str]]:
    with (folder / "samples.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def weighed(kept: set[int], y: np.ndarray) -> Repair:
    """Weights with which exactly these samples are kept."""
    weights = np.array([float(i in kept) for i in range(len(y))])
    for label in (0, 1):
        weights[y == label] /= weights[y == label].mean()
    return Repair(weights, 0.0, *(np.ones((2, 2)) / 2 for _ in range(3)))


def run(
    folder: Path,
    given: Path,
    kept: set[int],
    more: set[int] | None = None,
    count: int | None = None,
    escape: bool = False,
) -> Any:
    """Keep the rows of the samples, and of the model where ``more`` names some, at these positions."""
    y = np.arange(8) % 2
    folder.mkdir(exist_ok=True)

    def chosen(place: Path, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        y = np.array(
            [line[found(place)[0].index("income")] == "high" for line in found(place)[1:]], np.int64
        )
        return y, np.array(sorted(more or ()))

    material: Any = SimpleNamespace(y=y, info={})
    return resample(
        folder,
        given,
        material,
        weighed(kept, y),
        {},
        chosen,
        plan=Plan(count=count),
        model=None if more is None else Path("release"),
        escape=escape,
    )


@pytest.mark.parametrize(
    "text",
    [
        lambda whole: "\n" + whole,
        lambda whole: whole.replace("\n1,", "\n\n1,"),
        lambda whole: whole.replace("\n1,", "\n\r\n\n1,").replace("\n6,", "\n\n6,"),
        lambda whole: whole + "\n\n",
        lambda whole: "\ufeff" + whole,
        lambda whole: whole.replace(",", ", "),
    ],
    ids=["blank first", "blank after a row", "blanks", "blank last", "byte order mark", "spaces"],
)
def test_the_rows_that_were_weighed_are_the_ones_that_stay(
    tmp_path: Path, text: Callable[[str], str]
):
    given = samples(tmp_path / "s", [NAMES, *ROWS], text)
    table = Samples.from_path(given).rows({"height": "numeric"})
    x = table.read(np.arange(len(table.index())))
    assert x[:, 0].tolist() == list(range(8))  # how the audit and the weights number them
    run(tmp_path / "r", given, {1, 2, 6, 7})
    assert found(tmp_path / "r") == [NAMES, *(ROWS[i] for i in (1, 2, 6, 7))]
    assert (
        (tmp_path / "r" / "samples.csv").read_bytes().startswith(b"height,ward,income\n1,w1,high\n")
    )


def test_a_file_that_changed_is_refused(tmp_path: Path):
    given = samples(tmp_path / "s", [NAMES, *ROWS[:7]])
    with pytest.raises(UserError, match="has 7 rows, 8 were audited"):
        run(tmp_path / "r", given, {1, 2})
    samples(given, [NAMES, *ROWS, ROWS[0]])
    with pytest.raises(UserError, match="has 9 rows, 8 were audited"):
        run(tmp_path / "r", given, {1, 2})


def model(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    """A model whose rows have these columns, and the ward ``new``."""
    rows = [
        dict(zip(NAMES, (f"10{i}", "new", ("low", "high")[i % 2]), strict=True)) for i in range(8)
    ]

    class Fake:
        def __init__(self, *_: Any, folder: Path, **__: Any) -> None:
            self.folder = folder

        def first(self, count: int) -> None:
            samples(self.folder, [names, *([row.get(name, "x") for name in names] for row in rows)])

    monkeypatch.setattr(choosing, "Drawing", Fake)


@pytest.mark.parametrize("names", [NAMES, ["income", "height", "ward"], NAMES[::-1]])
def test_rows_of_the_model_come_under_the_columns_of_the_samples(tmp_path, monkeypatch, names):
    model(monkeypatch, names)
    given = samples(tmp_path / "s", [NAMES, *ROWS])
    run(tmp_path / "r", given, {0, 1}, {2, 3}, 4)
    new = [["102", "new", "low"], ["103", "new", "high"]]
    assert found(tmp_path / "r") == [NAMES, *ROWS[:2], *new]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["height", "income"],
            "release makes rows of other columns.*'ward' is in the samples alone, not in its rows",
        ),
        ([*NAMES, "sex"], "'sex' is in its rows alone, not in the samples; leave out `model`"),
        (["height", "area", "income"], "'area' is in its rows alone"),
    ],
)
def test_a_model_of_other_columns_is_refused(tmp_path, monkeypatch, names, words):
    model(monkeypatch, names)
    given = samples(tmp_path / "s", [NAMES, *ROWS])
    with pytest.raises(UserError, match=words):
        run(tmp_path / "r", given, {0, 1}, {2, 3}, 4)
    assert not (tmp_path / "r" / "samples.csv").exists()


def test_the_repaired_rows_go_on_to_say_how_they_were_drawn(tmp_path, monkeypatch):
    given = samples(tmp_path / "s", [NAMES, *ROWS])
    run(tmp_path / "bare", given, {1, 2})
    assert read_json(tmp_path / "bare" / "samples.json") == {"count": 2}  # nothing was said
    write_json(given / "samples.json", SAID)
    run(tmp_path / "r", given, {1, 2})
    assert read_json(tmp_path / "r" / "samples.json") == SAID | {"count": 2}
    model(monkeypatch, NAMES)
    run(tmp_path / "more", given, {0, 1}, {2, 3}, 4)
    # of the call
    assert read_json(tmp_path / "more" / "samples.json") == SAID | {
        "count": 4,
        "guidance": 1.0,
    }


@pytest.mark.parametrize("escape", [False, True])
def test_formulas_of_a_spreadsheet_are_said_or_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], escape: bool
):
    rows = [["-1", "=cmd|' /C calc'!A0", label] for *_, label in ROWS]
    given = samples(tmp_path / "s", [NAMES, *rows])
    shown_by(Shown())
    try:
        run(tmp_path / "r", given, {0, 1, 4}, escape=escape)
    finally:
        shown_by(SILENT)
    mark = "'" if escape else ""
    assert found(tmp_path / "r")[1] == ["-1", f"{mark}=cmd|' /C calc'!A0", "low"]
    assert ("would run as formulas" in capsys.readouterr().out) == (not escape)
