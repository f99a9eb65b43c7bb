"""What ``repair`` keeps: classes as frequent as they were, samples of one model alone, a whole folder or none."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from audited import table_source, write_rows
from poisoned_rows import POISONED, WANTED, WITH, rows, shares

from diffshare.audits.repair import choosing
from diffshare.audits.repair import folder as folders
from diffshare.audits.repair.audit_file import read_audited
from diffshare.audits.repair.weights import Repair, accept, at_most, quotas
from diffshare.receiver.samples import samples_sha256
from diffshare.storage import read_json, write_json

SHA = "5" * 64
LOW_AND_HIGH = np.array([0.65, 0.35])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run_cli: Callable[..., Any]) -> Path:
    """A reference, poisoned samples that say what they were drawn of, and audits by attribute and by cluster."""
    made = tmp_path_factory.mktemp("choice")
    table_source(made)
    write_rows(made / "s" / "samples.csv", 2000, 2, POISONED * LOW_AND_HIGH / POISONED.sum(0))
    write_json(
        made / "s" / "samples.json",
        {"model": {"sha256": SHA}, "steps": 7, "guidance": 2.0, "scheduler": None},
    )
    common = ("audit", "--samples", made / "s", "--reference", made / "reference.yaml")
    assert run_cli(*common, *WITH, "--json", made / "a.json").code == 0
    assert run_cli(*common, *WITH[2:], "--clusters", 3, "--json", made / "c.json").code == 0
    return made


class Fake:
    """A model whose rows are sorted by class; keeps how it was asked."""

    asked: dict[str, Any]

    def __init__(self, model: Path, **options: Any) -> None:
        self.folder = options.pop("folder")
        Fake.asked = options

    def first(self, count: int) -> None:
        folder = self.folder
        write_rows(folder / "samples.csv", 2 * (count // 2), 9, POISONED / POISONED.sum(0) / 2)
        lines = (folder / "samples.csv").read_text().splitlines()
        (folder / "samples.csv").write_text(
            "\n".join([lines[0], *sorted(lines[1:], key=lambda r: r[-3:])]) + "\n"
        )


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "open_release", lambda path: SimpleNamespace(sha256=SHA))
    monkeypatch.setattr(choosing, "Drawing", Fake)


def repair(run_cli: Any, folder: Path, out: Path, *more: object, audit: str = "a.json") -> Any:
    return run_cli(
        "repair", "--samples", folder / "s", "--audit", folder / audit, "--out", out, *more
    )


def low(table: list[dict[str, str]]) -> float:
    return float(np.mean([row["income"] == "low" for row in table]))


# --- the choice itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_every_class_keeps_the_same_part_of_its_samples(seed: int):
    rng = np.random.default_rng(seed)
    y = (rng.random(500) < 0.2).astype(np.int64)
    # one class has large weights, the other equal ones
    weights = np.where(y == 1, rng.random(500) ** 6, 1.0)
    for label in (0, 1):
        weights[y == label] /= weights[y == label].mean()
    kept = accept(Repair(weights, 0.0, *(np.ones((2, 2)) / 2 for _ in range(3))), y, rng)
    assert np.array_equal(kept, np.unique(kept))
    expected = np.bincount(y) / weights.max()
    assert (abs(np.bincount(y[kept], minlength=2) - expected) < 1).all()


def test_a_sample_is_kept_in_proportion_to_its_weight():
    y = np.repeat([0, 1], 4)
    weights = np.array([0.0, 0.5, 1.5, 2.0, 1.0, 1.0, 1.0, 1.0])
    made = Repair(weights, 0.0, *(np.ones((2, 2)) / 2 for _ in range(3)))
    counts, n = np.zeros(8), 4000
    for seed in range(n):
        counts[accept(made, y, np.random.default_rng(seed))] += 1
    assert counts / n == pytest.approx(weights / 2, abs=4 * 0.5 / np.sqrt(n))
    assert counts[0] == 0
    assert counts[3] == n


def test_quotas_are_the_shares_of_the_classes_rounded():
    y = np.repeat([0, 1, 2], [10, 20, 3])
    for count in range(1, 70):
        found = quotas(y, count, 4)
        assert found.sum() == count
        assert (abs(found - count * np.array([10, 20, 3, 0]) / 33) < 1).all()
    left = at_most(np.arange(33), y, np.array([4, 50, 0, 0]), np.random.default_rng(0))
    assert np.array_equal(left, np.unique(left))
    assert np.bincount(y[left], minlength=3).tolist() == [4, 20, 0]


# --- classes stay as frequent --------------------------------------------------------------------------------------


def test_a_choice_leaves_the_classes_as_frequent_as_they_were(
    folder: Path, run_cli: Any, tmp_path: Path
):
    assert repair(run_cli, folder, tmp_path / "r").code == 0
    before, kept = rows(folder / "s" / "samples.csv"), rows(tmp_path / "r" / "samples.csv")
    assert abs(low(before) - 0.5) > 0.05
    assert low(kept) == pytest.approx(low(before), abs=2 / len(kept))


@pytest.mark.parametrize("count", [600, 3000])
def test_so_does_one_that_is_filled_up_by_the_model(folder, run_cli, tmp_path, model, count):
    outcome = repair(
        run_cli, folder, tmp_path / "r", "--model", tmp_path / "model", "--count", count
    )
    assert outcome.code == 0, outcome.err
    kept = rows(tmp_path / "r" / "samples.csv")
    assert len(kept) == count
    assert low(kept) == pytest.approx(low(rows(folder / "s" / "samples.csv")), abs=1 / count)
    assert shares(kept) == pytest.approx(WANTED, abs=0.06)
    report = read_json(tmp_path / "r" / "repair.json")
    assert (report["queries"] > 0) == (count == 3000)
    assert report["count"] == count


# --- the model -----------------------------------------------------------------------------------------------------


def test_more_is_drawn_as_the_samples_were(folder: Path, run_cli: Any, tmp_path: Path, model: None):
    outcome = repair(run_cli, folder, tmp_path / "r", "--model", tmp_path / "model", "--seed", 4)
    assert outcome.code == 0, outcome.err
    assert Fake.asked == {"seed": 1_000_007, "steps": 7, "guidance": 2.0}
    said = read_json(tmp_path / "r" / "samples.json")
    assert (said["guidance"], said["count"]) == (2.0, 2000)
    assert "is not checked" not in outcome.out


@pytest.mark.parametrize(("stated", "asked"), [(3.5, 3.5), (0, 0.0), (None, 2.0)])
def test_the_guidance_of_the_audit_outdoes_the_claim_of_the_samples(
    folder, run_cli, tmp_path, model, stated, asked
):
    write_json(tmp_path / "a.json", read_json(folder / "a.json") | {"guidance": stated})
    given = (
        "--samples",
        folder / "s",
        "--audit",
        tmp_path / "a.json",
        "--out",
        tmp_path / "r",
        "--model",
        tmp_path / "model",
    )
    outcome = run_cli("repair", *given)
    assert outcome.code == 0, outcome.err
    assert Fake.asked["guidance"] == asked
    assert read_json(tmp_path / "r" / "samples.json")["guidance"] == asked


def test_an_audit_keeps_the_guidance_that_was_stated(folder: Path, run_cli: Any, tmp_path: Path):
    common = ("audit", "--samples", folder / "s", "--reference", folder / "reference.yaml", *WITH)
    assert run_cli(*common, "--guidance", 3.5, "--json", tmp_path / "a.json").code == 0
    assert read_audited(tmp_path / "a.json").guidance == 3.5


@pytest.mark.parametrize("guidance", [-1, 1001, 1e300, "2", True, [1]])
def test_odd_guidance_is_refused(folder: Path, run_cli: Any, tmp_path: Path, guidance: Any):
    write_json(tmp_path / "a.json", read_json(folder / "a.json") | {"guidance": guidance})
    outcome = run_cli(
        "repair", "--samples", folder / "s", "--audit", tmp_path / "a.json", "--out", tmp_path / "r"
    )
    assert outcome.code == 2
    assert "'guidance' must be a number from 0 to 1000" in outcome.err


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"model": {"sha256": "6" * 64}},
            "samples of another model than .*name as --model the release",
        ),
        ({"model": {"sha256": [1]}}, "samples of another model"),
        (
            {"model": {"sha256": SHA}, "scheduler": "DDIMScheduler"},
            "was drawn with --scheduler 'DDIMScheduler'",
        ),
    ],
)
def test_samples_of_two_kinds_are_not_mixed(folder, run_cli, tmp_path, model, said, words):
    shutil.copytree(folder / "s", tmp_path / "s")
    write_json(tmp_path / "s" / "samples.json", said)
    shutil.copy(folder / "a.json", tmp_path)
    outcome = repair(run_cli, tmp_path, tmp_path / "r", "--model", tmp_path / "model")
    assert outcome.code == 2
    assert len(outcome.err.strip().splitlines()) == 1
    assert re.search(words, outcome.err), outcome.err
    assert not (tmp_path / "r").exists()


def test_samples_that_do_not_say_their_model_are_repaired_with_a_note(
    folder, run_cli, tmp_path, model
):
    shutil.copytree(folder / "s", tmp_path / "s")
    (tmp_path / "s" / "samples.json").unlink()
    shutil.copy(folder / "a.json", tmp_path)
    outcome = repair(run_cli, tmp_path, tmp_path / "r", "--model", tmp_path / "model")
    assert outcome.code == 0, outcome.err
    assert "is not checked" in outcome.out
    assert Fake.asked["steps"] is None


# --- groups that no attribute names --------------------------------------------------------------------------------


def test_a_cluster_that_the_audit_found_is_made_again(folder: Path, run_cli: Any, tmp_path: Path):
    outcome = repair(run_cli, folder, tmp_path / "r", audit="c.json")
    assert outcome.code == 0, outcome.err
    cells = read_json(tmp_path / "r" / "repair.json")["cells"]
    assert max(abs(cell["before"] - cell["wanted"]) for cell in cells.values()) > 0.05
    assert all(cell["after"] == pytest.approx(cell["wanted"]) for cell in cells.values())
    # an audit of the repaired rows finds the clusters as wanted
    shutil.copytree(tmp_path / "r", tmp_path / "s")
    again = run_cli("audit", "--samples", tmp_path / "s", "--reference", folder / "reference.yaml", *WITH[2:],
                    "--clusters", 3, "--json", tmp_path / "c.json")  # fmt: skip
    assert again.code == 0, again.err
    before, after = (
        abs(read_json(p / "c.json")["association"]["difference"]) for p in (folder, tmp_path)
    )
    assert after < 0.4 * before


def test_prompts_are_refused_with_a_remedy_that_works(folder: Path, run_cli: Any, tmp_path: Path):
    found = read_json(folder / "a.json") | {"sensitive": "prompt", "groups": ["a man", "a woman"]}
    write_json(tmp_path / "p.json", found)
    outcome = run_cli(
        "repair", "--samples", folder / "s", "--audit", tmp_path / "p.json", "--out", tmp_path / "r"
    )
    assert outcome.code == 2
    assert len(outcome.err.strip().splitlines()) == 1
    assert "found its group with --prompts" in outcome.err
    assert "--sensitive or with --clusters alone" in outcome.err


def test_samples_may_lack_the_column_of_another_candidate(
    folder: Path, run_cli: Any, tmp_path: Path
):
    write_rows(tmp_path / "s" / "samples.csv", 2000, 2, POISONED, without=("sex",))
    found = read_json(folder / "a.json") | {
        "samples_sha256": samples_sha256(tmp_path / "s"),
        "sensitive": "ward",
    }
    found |= {"groups": list("abcd")}
    write_json(
        tmp_path / "a.json", found | {"candidates": [{"sensitive": "ward"}, {"sensitive": "sex"}]}
    )
    outcome = repair(run_cli, tmp_path, tmp_path / "r")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    "candidates", [{}, [1], [{"sensitive": 1}], [{"sensitive": "x\n"}], [{}] * 1001]
)
def test_odd_candidates_are_refused(folder: Path, run_cli: Any, tmp_path: Path, candidates: Any):
    write_json(tmp_path / "a.json", read_json(folder / "a.json") | {"candidates": candidates})
    given = ("--samples", folder / "s", "--audit", tmp_path / "a.json", "--out", tmp_path / "r")
    outcome = run_cli("repair", *given)
    assert outcome.code == 2
    assert "must be" in outcome.err


# --- all or nothing ------------------------------------------------------------------------------------------------


def stop(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("module", "name"), [(folders, "write_json"), (Fake, "first"), (choosing, "read_info")]
)
def test_a_repair_that_is_stopped_leaves_what_there_was(
    folder, run_cli, tmp_path, model, monkeypatch, module, name
):
    monkeypatch.setattr(module, name, stop)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    outcome = repair(run_cli, folder, tmp_path / "r", "--model", tmp_path / "model")
    assert (outcome.code, outcome.err) == (130, "diffshare: stopped by Ctrl-C\n")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["tmp"]
    (tmp_path / "r").mkdir()
    for file, text in (
        ("samples.json", '{"count": 1}'),
        ("repair.json", '{"method": "x", "cells": {}}'),
    ):
        (tmp_path / "r" / file).write_text(text)
    assert (
        repair(run_cli, folder, tmp_path / "r", "--model", tmp_path / "model", "--overwrite").code
        == 130
    )
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        "r",
        "repair.json",
        "samples.json",
        "tmp",
    ]


def test_the_report_comes_with_the_samples(folder, run_cli, tmp_path, monkeypatch):
    there: list[bool] = []
    write = folders.write_json

    def watched(path: Path, value: Any) -> None:
        there.append((tmp_path / "r").exists())
        write(path, value)

    monkeypatch.setattr(folders, "write_json", watched)
    assert repair(run_cli, folder, tmp_path / "r").code == 0
    assert there == [False]
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == [
        "repair.json",
        "samples.csv",
        "samples.json",
    ]
    assert json.loads((tmp_path / "r" / "repair.json").read_text())["seconds"] >= 0
