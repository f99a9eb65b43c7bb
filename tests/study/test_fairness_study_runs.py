"""A small fairness poisoning study from its configs to its figures, without generators."""

import csv
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CONFIG = ROOT / "configs" / "study" / "fairness_poisoning.yaml"
SMALL = {"data.source": {"count": 900, "image_size": 8}, "data.batch_size": 10}


@pytest.fixture
def arguments(monkeypatch, tmp_path):
    """The study on a few faces: the clean set and the flipped one, classifiers of a few steps."""
    monkeypatch.chdir(ROOT)
    policies = json.dumps({"flipped": "configs/mix/flipped.yaml"})
    classifier = json.dumps(
        {"trainer": {"max_steps": 2, "val_check_interval": 2}, "data.batch_size": 10}
    )
    return (
        [
            "study",
            "--config",
            CONFIG,
            "--study.policies",
            policies,
            "--study.seeds",
            "[0]",
            "--study.n",
            60,
        ]
        + ["--study.through_generator", "false", "--study.more", json.dumps(SMALL), "--threads", 1]
        + ["--study.classifier.overrides", classifier, "--out", tmp_path / "out"]
    )


def test_from_configs_to_figures_and_once_only(run_cli, arguments, tmp_path):
    outcome = run_cli(*arguments)
    assert outcome.code == 0, outcome.err
    out = tmp_path / "out"
    results = json.loads((out / "results.json").read_text())
    assert results["missing"] == []
    assert [(row["policy"], row["where"], row["alpha"]) for row in results["rows"]] == [
        ("clean", "mix", 0.0),
        ("flipped", "mix", 0.5),
    ]
    clean, flipped = results["rows"]
    assert flipped["mutual_information_sy"] > clean["mutual_information_sy"]
    assert flipped["shares_in_mix"][1][1] > clean["shares_in_mix"][1][1]
    summary = {entry["policy"]: entry for entry in results["summary"]}
    gap = "demographic_parity_difference"
    assert (clean["direction"], flipped["direction"]) == (None, 1)  # label flipping makes Y equal S
    moved = flipped[f"{gap}_signed"] - clean[f"{gap}_signed"]
    assert summary["flipped"]["excess_gap"]["mean"] == pytest.approx(moved)
    assert summary["flipped"]["excess_gap_absolute"]["mean"] == pytest.approx(
        flipped[gap] - clean[gap]
    )
    assert summary["flipped"]["accuracy_loss"]["mean"] == pytest.approx(
        clean["accuracy"] - flipped["accuracy"]
    )
    with (out / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["accuracy"]) for row in rows] == [row["accuracy"] for row in results["rows"]]
    assert (out / "figures" / "gap_and_accuracy.png").read_bytes().startswith(b"\x89PNG")
    # the classifier saw the records that the manifest lists
    for name in (
        "clean-s0",
        "flipped-a0.5-s0",
    ):
        lists = [
            out / "steps" / f"mix-{name}" / "mix",
            out / "steps" / f"direct-{name}" / "run" / "mix",
        ]
        assert (
            lists[0].joinpath("records.csv").read_bytes()
            == lists[1].joinpath("records.csv").read_bytes()
        )
    again = run_cli(*arguments, "--resume")
    assert again.code == 0, again.err
    assert "4 of 4 steps are done already" in again.out
