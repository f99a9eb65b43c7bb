"""Repairs in the audit study: steps that are added and none changed, the effect over seeds, a run on small tables."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from diffshare.errors import UserError
from diffshare.stats.ratio import share_gone
from diffshare.stats.summary import t_interval
from diffshare.study.audit_study import AuditStudy
from diffshare.study.engine.step import Place, identities, identity
from diffshare.study.reports.repair import draw_repairs, repair_table, summarise_repairs
from diffshare.study.steps.repair import RepairOptions

ROOT = Path(__file__).parent.parent.parent
REPAIRS = {
    "weights": RepairOptions("reweigh"),
    "more": RepairOptions("resample", "equal", "mass", True),
}


@pytest.fixture
def options(arguments):
    return {
        "clean_seeds": [0, 1],
        **arguments | {"seeds": [1], "alphas": [0.25, 0.5], "direct": False},
    }


# --- steps ---------------------------------------------------------------------------------------------------------


def test_repairs_add_steps_and_change_none(options):
    plain, more = (AuditStudy(**options, repairs=r).steps() for r in (None, REPAIRS))
    before, after = (
        {k: identity(v) for k, v in identities(steps).items()} for steps in (plain, more)
    )
    assert {name: after[name] for name in before} == before
    assert [step.name for step in more][: len(plain)] == [step.name for step in plain]
    ends = [f"flip-a{alpha}-s1-g{g}" for alpha in (0.25, 0.5) for g in (1, 3)]
    added = [
        f"{verb}-{name}-{end}"
        for end in ends
        for name in REPAIRS
        for verb in ("repair", "repaired")
    ]
    assert [step.name for step in more][len(plain) :] == added


def test_a_repair_is_of_the_audited_samples_and_its_classifier_is_the_same_on_others(options):
    steps = {step.name: step for step in AuditStudy(**options, repairs=REPAIRS).steps()}
    end = "flip-a0.5-s1-g3"
    repair = steps[f"repair-more-{end}"]
    assert set(repair.needs) == {f"sample-{end}", f"audit-{end}", "fit-flip-a0.5-s1"}
    assert repair.arguments["model"] == Place("fit-flip-a0.5-s1", "run/release")
    names = ("method", "to", "weights", "seed")
    assert [repair.arguments[name] for name in names] == ["resample", "equal", "mass", 1]
    assert "model" not in steps[f"repair-weights-{end}"].arguments
    plain, again = steps[f"classifier-{end}"], steps[f"repaired-more-{end}"]
    moved = {
        "data.samples": Place(f"repair-more-{end}", "samples"),
        "runs": [[Place(f"repaired-more-{end}", "run"), 1]],
    }
    assert again.arguments == {**plain.arguments, **moved}
    assert plain.arguments["data.samples"] == Place(f"sample-{end}", "samples")
    assert (again.function, again.after) == (plain.function, plain.after)


def test_repairs_that_could_not_be_run_or_told_are_refused(options):
    with pytest.raises(UserError, match="add 5 to study.clean_seeds"):
        AuditStudy(**options | {"seeds": [1, 5]}, repairs=REPAIRS)
    with pytest.raises(UserError, match="becomes a folder"):
        AuditStudy(**options, repairs={"a/b": RepairOptions("reweigh")})
    with pytest.raises(UserError, match="asks a model for nothing"):
        AuditStudy(**options, repairs={"a": RepairOptions("reweigh", ask_model=True)})


# --- the effect ----------------------------------------------------------------------------------------------------


def test_the_share_that_is_gone_is_a_ratio_of_means():
    rng = np.random.default_rng(0)
    clean, excess = rng.normal(0.1, 0.02, 8), rng.normal(0.3, 0.05, 8)
    poisoned = clean + excess
    for part in (0.0, 0.4, 1.0, 1.2):
        gone = share_gone(clean, poisoned, poisoned - part * excess)
        assert gone == pytest.approx((part, part, part), abs=1e-6)
    repaired = poisoned - rng.normal(0.2, 0.05, 8)
    gone = share_gone(clean, poisoned, repaired)
    assert gone.share == pytest.approx((poisoned - repaired).mean() / (poisoned - clean).mean())
    assert gone.low < gone.share < gone.high
    # another unit, sign and origin
    moved = share_gone(-3 * clean + 1, -3 * poisoned + 1, -3 * repaired + 1)
    assert moved == pytest.approx(gone)
    # the ratios at which Student's interval of u - r v begins or ends at 0
    for end in (
        gone.low,
        gone.high,
    ):
        rest = t_interval(list((poisoned - repaired) - end * (poisoned - clean)))
        assert min(abs(rest.low), abs(rest.high)) < 1e-9


def test_its_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        v = rng.normal(0.3, 0.1, 6)
        u = 0.7 * v + rng.normal(0, 0.05, 6)
        gone = share_gone(np.zeros(6), v, v - u, 0.9)
        held += gone.low is None or gone.low <= 0.7 <= gone.high
    assert held / 2000 == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / 2000))


def test_an_excess_that_could_be_none_bounds_no_share():
    gone = share_gone([0.0] * 4, [0.1, -0.08, 0.05, -0.02], [0.0] * 4)
    assert (gone.low, gone.high) == (None, None)
    assert share_gone([0.1], [0.3], [0.2]) == pytest.approx((0.5, None, None), nan_ok=True)
    assert share_gone([], [], []).share is None
    assert share_gone([0.1, 0.1], [0.1, 0.1], [0.1, 0.1]).json() == {
        "share": None,
        "interval": None,
    }


def row(
    seed: int, alpha: float, poisoned: float, repaired: float | None, clean: float | None = 0.1
) -> dict[str, Any]:
    row = {
        "policy": "p",
        "alpha": alpha,
        "guidance": 1.0,
        "seed": seed,
        "measured_gap": abs(poisoned),
    }
    row |= {
        "measured_gap_signed": poisoned,
        "accuracy": 0.8,
        "clean_gap": clean,
        "clean_gap_signed": clean,
    }
    one = {
        "gap": None if repaired is None else abs(repaired),
        "gap_signed": repaired,
        "accuracy": 0.79 + 0.01 * seed,
    }
    one |= {"samples": 1500, "effective_size": 1400.0, "weights_cut": 0.0, "queries": 0}
    row["direction"] = 1
    return row | {"clean_accuracy": 0.82, "repairs": {"w": one if repaired is not None else None}}


def test_the_summary_pairs_seeds(tmp_path):
    rows = [
        row(0, 0.5, 0.5, 0.2),
        row(1, 0.5, 0.3, -0.1),
        row(2, 0.5, 0.4, None),
        row(3, 0.5, 0.4, 0.2, None),
    ]
    rows += [
        row(0, 0.1, 0.2, 0.15),
        {k: v for k, v in row(0, 0, 0.1, 0.1).items() if k != "repairs"},
    ]
    low, high = sorted(summarise_repairs(rows, 0.95), key=lambda e: e["alpha"])
    assert (high["alpha"], high["seeds"], high["directed"]) == (0.5, [0, 1], True)
    assert high["excess_gone"]["share"] == pytest.approx((0.3 + 0.4) / (0.4 + 0.2))
    assert high["gap"]["repaired"]["mean"] == pytest.approx(0.05)  # signed: one is below 0
    assert high["excess"]["repaired"]["mean"] == pytest.approx(-0.05)
    assert high["accuracy_change"]["poisoned"]["mean"] == pytest.approx(-0.005)
    assert high["accuracy_change"]["clean"]["mean"] == pytest.approx(-0.025)
    assert (low["seeds"], low["excess_gone"]["interval"]) == ([0], None)
    assert low["excess_gone"]["share"] == pytest.approx(0.5)
    json.dumps([low, high])
    entry = {"guidance": 1.0, "repairs": [low, high]}
    assert repair_table([entry, {"guidance": 3.0, "repairs": []}]).row_count == 2
    assert draw_repairs([entry], tmp_path / "r.png").stat().st_size > 1000
    for field in ("measured_gap_signed", "direction"):
        unsigned = [r | {field: None} for r in rows[:2]]
        assert summarise_repairs(unsigned, 0.95)[0]["gap"]["repaired"]["mean"] == pytest.approx(
            0.15
        )
    assert summarise_repairs([rows[2], rows[3]], 0.95) == []


def test_gaps_of_seeds_that_are_poisoned_in_opposite_directions_do_not_cancel():
    rows = [row(0, 0.5, 0.5, 0.2), row(1, 0.5, 0.3, 0.15)]
    other = rows[1] | {"direction": -1, "measured_gap_signed": -0.3, "clean_gap_signed": -0.1}
    other["repairs"] = {"w": other["repairs"]["w"] | {"gap_signed": -0.15}}
    assert summarise_repairs([rows[0], other], 0.95) == summarise_repairs(rows, 0.95)


# --- a small run -----------------------------------------------------------------------------------------------------


def table_configs(folder: Path) -> tuple[Path, Path]:
    """Configs of a model of small rows and of a classifier of them; sex and income depend little on each other."""
    rng = np.random.default_rng(0)
    with (folder / "rows.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["hours", "sex", "income"])
        for i in range(2400):
            s, y = i % 2, int(rng.random() < 0.5)
            writer.writerow(
                [f"{rng.normal(35 + 8 * y + 2 * s, 5):.0f}", "fm"[s], ("low", "high")[y]]
            )
    columns = {"hours": "numeric", "sex": ["f", "m"], "income": ["low", "high"]}
    source = {"class_path": "diffshare.data.table.CSVTable"}
    source["init_args"] = {"path": str(folder / "rows.csv"), "columns": columns}
    paths = []
    for name, key in (("tabular_adult", "source"), ("classifier_adult", "test_source")):
        config = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
        config["data"]["init_args"][key] = source
        config["model"]["init_args"].pop("bounds", None)  # of Adult's columns
        paths.append(folder / f"{name}.yaml")
        paths[-1].write_text(yaml.safe_dump(config))
    return paths[0], paths[1]


@pytest.mark.slow
def test_rows_are_repaired_with_and_without_the_model(run_cli, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    generator, classifier = table_configs(tmp_path)
    more = {"trainer": {"max_steps": 30, "val_check_interval": 30}, "data.batch_size": 64}
    more |= {"model.denoiser.width": 32, "model.denoiser.layers": 2}
    steps = {"trainer": {"max_steps": 20, "val_check_interval": 20}, "data.batch_size": 32}
    plain = (
        ["study", "--config", ROOT / "configs" / "study" / "audit_adult.yaml"]
        + [
            "--study.generator",
            json.dumps([str(generator)]),
            "--study.classifier.configs",
            json.dumps([str(classifier)]),
        ]
        + [
            "--study.clean_seeds",
            "[0]",
            "--study.seeds",
            "[0]",
            "--study.alphas",
            "[0.5]",
            "--study.n",
            300,
        ]
        + [
            "--study.samples",
            300,
            "--study.sampling_steps",
            4,
            "--study.audit",
            '{"gap-repeats": 0}',
        ]
        + ["--study.overrides", json.dumps(more), "--study.classifier.overrides", json.dumps(steps)]
        + ["--workers", 1, "--threads", 1, "--out", tmp_path / "out"]
    )
    outcome = run_cli(*plain, "--study.repairs", "null")
    assert outcome.code == 0, outcome.err
    out = tmp_path / "out"
    first = json.loads((out / "results.json").read_text())
    assert "repairs" not in first["summary"][0]
    repairs = {
        "resample": {"method": "resample"},
        "more": {"method": "resample", "ask_model": True},
    }
    # only adds to what is there
    outcome = run_cli(*plain, "--study.repairs", json.dumps(repairs), "--resume")
    assert outcome.code == 0, outcome.err
    results = json.loads((out / "results.json").read_text())
    assert (results["missing"], results["failed"]) == ([], {})
    assert {k: results["seconds"]["steps"][k] for k in first["seconds"]["steps"]} == first[
        "seconds"
    ]["steps"]
    clean, poisoned = results["rows"]
    assert clean == first["rows"][0]
    assert poisoned["clean_gap"] == clean["measured_gap"]
    assert (
        poisoned["repairs"]["more"]["samples"]
        == 300
        > poisoned["repairs"]["resample"]["samples"]
        > 0
    )
    assert poisoned["repairs"]["more"]["queries"] > 0 == poisoned["repairs"]["resample"]["queries"]
    one = {e["repair"]: e for e in results["summary"][0]["repairs"]}["resample"]
    classified = json.loads(
        (out / "steps/repaired-resample-poisoned-a0.5-s0-g1/run/results.json").read_text()
    )
    assert poisoned["direction"] in (1, -1)
    signed = classified["demographic_parity_difference_signed"]
    assert one["gap"]["repaired"]["mean"] == poisoned["direction"] * signed
    assert one["accuracy"]["repaired"]["mean"] == classified["accuracy"]
    assert (out / "figures" / "repairs.png").read_bytes().startswith(b"\x89PNG")
    assert "excess gone" in outcome.out


def test_rows_look_for_steps_that_there_are(options):
    study = AuditStudy(**options, repairs=REPAIRS)
    asked: list[Place] = []
    study._repaired(lambda place: asked.append(place), "flip-a0.5-s1-g3")  # type: ignore[func-returns-value]
    names = {step.name for step in study.steps()}
    assert {place.step for place in asked} <= names
    assert len(asked) == 4
