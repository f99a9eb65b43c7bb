"""The property inference study: what its grid runs and shares, what its rows say together, what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from diffshare.errors import UserError
from diffshare.stats.intervals import clopper_pearson, coverage_interval
from diffshare.storage import write_json
from diffshare.study.engine.step import Place, identities
from diffshare.study.property_inference import PropertyInference
from diffshare.study.reports.property import (
    draw_error,
    draw_truth,
    of_inference,
    of_remedy,
    outcome_table,
    summarise,
)
from diffshare.study.steps.grid import CrossFit, Estimates

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def arguments():
    return {
        "generators": {
            "ddpm": [ROOT / "configs" / "ddpm_faces.yaml"],
            "other": [ROOT / "configs" / "ddpm_faces.yaml"],
        },
        "properties": ["Eyeglasses", "Male"],
        "proportions": [0.1, 0.5],
        "estimates": Estimates(["cc", "pacc"], [100, 200]),
        "seeds": [0, 1],
        "n": 200,
        "labels": ["natural", "none"],
        "guidances": [1.0, 3.0],
        "trainings": ["plain", "degraded"],
        "auxiliary": [300, 2000],
        "surrogates": [0.0, 0.5, 1.0],
        "overrides": {"data": {"source": {"image_size": 16}}, "trainer.max_steps": 2},
    }


def by_kind(study) -> dict[str, list]:
    """Steps by the first part of their name."""
    steps: dict[str, list] = {}
    for step in study.steps():
        steps.setdefault(step.name.split("-")[0], []).append(step)
    return steps


def test_a_generator_is_trained_once_for_all_views_of_it(arguments):
    steps = by_kind(PropertyInference(**arguments))
    groups = 2 * 2 * 2  # seeds x properties x families
    generators = groups * (2 + 3)
    assert {kind: len(own) for kind, own in steps.items()} == {
        "classifier": groups * 4,
        "mix": generators,
        "fit": generators,
        "sample": generators * 3,  # natural at two guidances, none at one
        "infer": groups * 2 * 3 * 4,
        "remedy": groups * 2 * 3 * 4,
    }
    assert identities(PropertyInference(**arguments).steps())
    assert {step.arguments["count"] for step in steps["sample"]} == {200}


def test_the_sharer_and_the_receiver_read_other_parts(arguments):
    steps = by_kind(PropertyInference(**arguments))
    for step in steps["fit"]:
        assert (step.arguments.get("data.part") == "auxiliary") == ("surrogate" in step.name)
        mix = step.arguments["data.mix"]["init_args"]
        assert mix["property"] in step.name
        assert f"{mix['p']:g}-s{step.arguments['data.seed']}" in step.name
    for step in steps["classifier"]:
        init = step.arguments["data"]["init_args"]
        assert init["part"] == "auxiliary"
        assert f"{init['mix']['init_args']['n']}-s{init['seed']}" in step.name
        assert init["source"]["init_args"]["image_size"] == 16
        assert step.arguments["degraded"] == ("degraded" in step.name)


def test_a_larger_grid_keeps_what_it_had(arguments):
    before = identities(PropertyInference(**arguments | {"surrogates": []}).steps())
    grown = {
        "seeds": [0, 1, 2],
        "proportions": [0.3, 0.1, 0.5],
        "properties": ["Male", "Hat", "Eyeglasses"],
    }
    after = identities(PropertyInference(**arguments | grown).steps())
    assert before.items() <= after.items()
    assert not any(name.startswith("remedy") for name in before)


# --- what the rows say ---------------------------------------------------------------------------------------------


def estimates(folder: Path, p: float, seed: int, shift: float) -> list[dict]:
    """Rows of one generator: counting is ``shift`` off in each of two runs, the correction a tenth of that."""
    base = {"queries": 200, "assumption": 0.01 if seed else 0.6}
    rows = [
        base
        | {
            "method": method,
            "run": run,
            "estimate": p + off,
            "low": p + off - 0.02,
            "high": p + off + 0.02,
        }
        for run in (0, 1)
        for method, off in (("cc", shift), ("pacc", shift / 10))
    ]
    write_json(folder / "e.json", {"rows": rows})
    write_json(folder / "c.json", {"accuracy": 0.8})
    line = [
        {"method": "pacc", "queries": 200, "run": 0, "estimate": p, "low": p - 0.1, "high": p + 0.1}
    ]
    drifts = {"cc": [shift, -0.2, 0.0], "pacc": [0.0, 0.01, -0.03]}
    shared = {"property": "Male", "family": "ddpm", "p": p, "seed": seed}
    shared |= {"labels": "natural", "guidance": 1.0, "training": "plain", "auxiliary": 300}
    left = (shared, 0.8, {"rows": rows})
    return of_inference(*left) + of_remedy(*left, {"rows": line, "drifts": drifts}, 0.95)


@pytest.fixture
def rows(tmp_path):
    return [
        row
        for p in (0.3, 0.5)
        for seed in (0, 1)
        for row in estimates(tmp_path, p, seed, 0.1 if seed else 0.3)
    ]


def test_errors_and_coverage_of_each_method(rows):
    summary = {(e["method"], e["calibration"]): e for e in summarise(rows, 0.95)}
    counting, corrected = summary["cc", "real"], summary["pacc", "real"]
    assert counting["mean_absolute_error"]["mean"] == pytest.approx(0.2)
    assert (counting["generators"], counting["runs"]) == (4, 8)
    assert counting["coverage"] == 0
    assert corrected["coverage"] == pytest.approx(0.5)  # 0.03 off is not covered, 0.01 off is
    # of generators, not of runs
    assert corrected["coverage_interval"] == pytest.approx(clopper_pearson(2, 4)[1:])
    assert counting["coverage_interval"] == pytest.approx(clopper_pearson(0, 4)[1:])
    assert corrected["error_to_counting"] == pytest.approx(0.1)
    assert corrected["assumption_rejected"] == 0.5
    assert summary["pacc", "surrogate"]["assumption_rejected"] is None
    assert summary["pacc", "surrogate"]["mean_absolute_error"]["mean"] == pytest.approx(0)


def test_the_interval_of_a_coverage_is_clopper_and_pearsons_and_holds_the_mean():
    for shares in (
        [0.0] * 4,
        [1.0] * 4,
        [1.0, 0.0, 0.0],
        [0.5, 0.5, 1.0],
        [1 / 3, 2 / 3, 0.0, 0.0],
    ):
        expected = clopper_pearson(round(sum(shares)), len(shares))[1:]
        assert coverage_interval(shares, 0.95) == pytest.approx(expected)
    ends = [
        coverage_interval([1.0] * 6 + [share, 0.0, 0.0, 0.0], 0.95) for share in (0.0, 0.5, 1.0)
    ]
    assert [low for low, _ in ends] == sorted({low for low, _ in ends})
    assert [high for _, high in ends] == sorted({high for _, high in ends})


@pytest.mark.parametrize("together", [0.0, 0.3, 0.7, 1.0])
def test_the_interval_of_a_coverage_holds_it_as_often_as_it_says(together):
    """Exactly, for ten generators of two runs, a share of whose generators has both runs agree."""
    halves = np.arange(21)
    ends = np.array([coverage_interval([total / 20] * 10, 0.95) for total in halves])
    for p in np.linspace(0.01, 0.99, 99):
        one = together * np.array([1 - p, 0, p]) + (1 - together) * np.array(
            [(1 - p) ** 2, 2 * p * (1 - p), p**2]
        )
        chance = np.ones(1)
        for _ in range(10):
            chance = np.convolve(chance, one)
        assert chance[ends[:, 0] > p].sum() <= 0.025
        assert chance[ends[:, 1] < p].sum() <= 0.025


def test_widening_moves_no_estimate_and_covers_more(rows):
    summary = {(e["method"], e["calibration"]): e for e in summarise(rows, 0.95)}
    for method in ("cc", "pacc"):
        real, wide = summary[method, "real"], summary[method, "widened"]
        assert real["mean_absolute_error"] == wide["mean_absolute_error"]
        assert wide["coverage"] > real["coverage"]
    # the 0.95 quantile of 0, .01, .03
    assert summary["pacc", "widened"]["half_width"] == pytest.approx(0.02 + 0.028)


def test_table_and_figures(rows, tmp_path):
    summary = summarise(rows, 0.95)
    assert outcome_table(summary, "Male", 0.95).row_count == len(summary)
    for path in (
        draw_truth(rows, tmp_path / "a.png", 0.95),
        draw_error(summary, tmp_path / "b.png", 0.95),
    ):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_rows_of_a_study_that_is_half_done(arguments, tmp_path):
    study = PropertyInference(**arguments)
    estimates(tmp_path, 0.1, 0, 0.1)

    def find(place: Place) -> Path | None:
        if place.step.startswith("classifier"):
            return tmp_path / "c.json"
        wanted = place.step == "infer-Male-ddpm-p0.1-s0-natural-g1-plain300"
        return tmp_path / "e.json" if wanted else None

    rows = study.rows(find)
    assert [(r["property"], r["p"], r["calibration"]) for r in rows] == [("Male", 0.1, "real")] * 4
    assert study.summary(rows)


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"generators": {}}, "study.generators is empty"),
        ({"generators": {"a": []}}, "study.generators.a is empty"),
        ({"generators": {"a": [Path("missing.yaml")]}}, "there is no config file missing.yaml"),
        ({"generators": {"../a": [Path("x.yaml")]}}, "becomes a folder"),
        ({"properties": []}, "study.properties is empty"),
        ({"proportions": [0.5, 1.5]}, r"study.proportions has 1.5: a share lies in \[0, 1\]"),
        ({"proportions": [0.5, 0.5]}, "study.proportions has 0.5 twice"),
        ({"surrogates": [0.1, 0.9]}, "study.surrogates has 2: give 3 or more shares, or none"),
        ({"surrogates": [0.1, 0.5, -1]}, "study.surrogates has -1"),
        ({"estimates": Estimates(["guess"], [100])}, "guess"),
        (
            {"estimates": Estimates(["cc"], [1])},
            "study.estimates.queries has 1: it must be at least 2",
        ),
        ({"seeds": [-1]}, "study.seeds has -1"),
        ({"n": 0}, "study.n is 0"),
        ({"classifier": CrossFit(400, 1)}, "study.classifier.folds is 1"),
        ({"auxiliary": [0]}, "study.auxiliary has 0"),
        ({"guidances": [-1.0]}, "study.guidances has -1.0"),
        ({"level": 1.0}, "study.level is 1.0"),
    ],
)
def test_grids_that_cannot_be_run(arguments, change, words):
    with pytest.raises(UserError, match=words):
        PropertyInference(**arguments | change)
