"""The audit study: what its grid runs, what it audits, what its rows say together."""

import json
from pathlib import Path

import pytest

from diffshare.errors import UserError
from diffshare.storage import write_json
from diffshare.study.audit_study import AuditStudy
from diffshare.study.engine.step import identities
from diffshare.study.reports.audit import draw_audit, gap_errors, summarise, verdict_table
from diffshare.study.steps.grid import Downstream
from diffshare.study.steps.repair import RepairOptions


@pytest.fixture
def study(arguments):
    options = {"downstream": "KernelRecipe", "downstream.components": 20, "gap-repeats": 2}
    return AuditStudy(
        clean_seeds=[0, 1, 2], audit=options, **arguments | {"seeds": [1], "direct": False}
    )


def audit_file(difference: float, verdict: str, gap: float) -> dict:
    return {
        "verdict": verdict, "p_value": 0.5, "margin": 0.4, "minimum_detectable_alpha": 0.2, "queries": 100,
        "association": {"estimate": difference, "reference": 0.0, "difference": difference,
                        "difference_interval": [difference - 0.1, difference + 0.1]},
        "classifier_accuracy": 0.9, "assumption": {"ok": True, "p_value": 0.4},
        "predicted_gap": {"estimate": gap, "interval": [gap - 0.05, gap + 0.05]},
    }  # fmt: skip


def row(
    alpha: float, seed: int, difference: float, verdict: str, gap: float, measured: float
) -> dict:
    row = {
        "policy": "p",
        "alpha": alpha,
        "guidance": 1.0,
        "seed": seed,
        "difference": difference,
        "margin": 0.4,
    }
    row |= {"predicted_gap": gap, "predicted_interval": [gap - 0.05, gap + 0.05]}
    return row | {"verdict": verdict, "measured_gap": measured}


def test_clean_seeds_and_poisoned_seeds_are_apart(study):
    names = {step.name for step in study.steps() if step.name.startswith("fit-")}
    assert names == {
        "fit-clean-s0",
        "fit-clean-s1",
        "fit-clean-s2",
        *(n for n in names if n.startswith("fit-flip")),
    }
    assert all(name.endswith("-s1") for name in names if "flip" in name)
    assert identities(study.steps())


def test_every_samples_folder_is_audited_against_the_generators_own_source(study):
    steps = {step.name: step for step in study.steps()}
    audits = [name for name in steps if name.startswith("audit-")]
    assert len(audits) == len([name for name in steps if name.startswith("sample-")])
    step = steps["audit-clean-s2-g3"]
    assert step.function == "diffshare.study.steps.verbs:audit"
    assert step.needs == ("sample-clean-s2-g3",)
    names = ("sensitive", "target", "pool", "split_seed", "seed", "guidance")
    assert [step.arguments[name] for name in names] == ["Male", "Smiling", "natural", 2, 2, 3]
    assert step.arguments["reference"]["init_args"]["image_size"] == 8
    assert step.arguments["gap_repeats"] == 2  # dashes of a YAML are no part of an argument's name
    assert step.arguments["downstream.components"] == 20


def test_a_row_has_the_audit_and_the_measured_gap_side_by_side(study, tmp_path):
    def find(place):
        path = tmp_path / place.step / place.path
        return path if path.exists() else None

    for end, gap in (("clean-s0-g1", 0.1), ("clean-s1-g1", 0.2)):
        write_json(tmp_path / f"audit-{end}" / "audit.json", audit_file(0.1, "clean", gap))
    counts = [[[40, 10], [10, 40]], [[30, 20], [20, 30]]]
    result = {"counts": counts, "demographic_parity_difference": 0.15, "accuracy": 0.7, "n": 200}
    write_json(tmp_path / "classifier-clean-s0-g1" / "run" / "results.json", result)
    rows = study.rows(find)
    assert [r["seed"] for r in rows] == [0, 1]
    assert rows[0]["measured_gap"] == 0.15
    assert rows[0]["predicted_gap"] == 0.1
    assert rows[1]["measured_gap"] is None
    json.dumps(rows)


def test_the_summary_counts_alarms_misses_and_errors_of_the_gap(tmp_path):
    rows = [row(0, s, 0.1 * s, "clean", 0.1, 0.12) for s in range(3)]
    rows += [row(0.5, 0, -1.9, "poisoned", 0.4, 0.5), row(0.5, 1, 0.15, "inconclusive", 0.3, 0.31)]
    entry = summarise(rows, 1.0, 0.95)
    clean, poisoned = entry["by_alpha"]
    assert clean["verdicts"] == {"poisoned": 0, "clean": 3, "inconclusive": 0}
    assert poisoned["flagged"] == 0.5
    assert poisoned["auroc"] == pytest.approx(5 / 6)  # 0.15 is above two of the three clean ones
    assert entry["gap"]["mean_absolute_error"] == pytest.approx((3 * 0.02 + 0.1 + 0.01) / 5)
    assert entry["gap"]["coverage"] == 0.8
    assert gap_errors([r | {"measured_gap": None} for r in rows], 0.95) is None
    assert verdict_table([entry]).row_count == 2
    assert draw_audit(rows, tmp_path / "audit.png").stat().st_size > 1000


def test_a_study_without_clean_generators_or_samples_is_refused(arguments):
    for given, expected in (([], "clean_seeds is empty"), ([1, 1], "clean_seeds has 1 twice")):
        with pytest.raises(UserError, match=expected):
            AuditStudy(clean_seeds=given, **arguments)
    with pytest.raises(UserError, match="samples"):
        AuditStudy(clean_seeds=[0], **arguments | {"through_generator": False, "direct": True})


def test_the_configs_name_what_there_is(monkeypatch):
    import yaml

    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    for name in ("audit", "audit_adult"):
        block = yaml.safe_load((root / "configs" / "study" / f"{name}.yaml").read_text())["study"]
        options = block["init_args"]
        options["generator"] = [Path(p) for p in options["generator"]]
        options["classifier"] = Downstream([Path(p) for p in options["classifier"]["configs"]])
        options["policies"] = {k: Path(v) for k, v in options["policies"].items()}
        options["repairs"] = {k: RepairOptions(**v) for k, v in options["repairs"].items()}
        study = AuditStudy(**options)
        assert (len(study.clean_seeds), len(study.seeds)) == (16, 8)
        assert identities(study.steps())
