"""The study of the adaptive sharer: its grid, what its rows say together, what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from diffshare.data.source import Source
from diffshare.errors import UserError
from diffshare.stats.intervals import clopper_pearson
from diffshare.storage import write_json
from diffshare.study.adaptive import AdaptiveSharer
from diffshare.study.engine.configs import built
from diffshare.study.engine.step import identities
from diffshare.study.reports.adaptive import (
    alarm_rate,
    draw_adaptive,
    hidden_margin,
    of_curve,
    summarise,
    tables,
    with_excess,
)
from diffshare.study.steps.grid import Audits, Sets, Sizes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def arguments():
    return {
        "source": ROOT / "configs" / "source" / "adult.yaml", "target": "income", "sensitive": "sex",
        "classifier": "diffshare.classifiers.recipes.TreesRecipe", "overrides": {"classifier": {"trees": 7}},
        "sizes": Sizes(30, 20, 10), "seeds": [0, 1, 2, 3], "sets": Sets([0.5, 12.0]), "audit": Audits([100, 200]),
    }  # fmt: skip


def rows_of(gaps: dict[float, list[float]], flagged: dict[float, list[float]]) -> list[dict]:
    """Rows of one number of queries; a list has an entry a cut."""
    rows = []
    for margin, values in gaps.items():
        for seed, (gap, rate) in enumerate(zip(values, flagged[margin], strict=True)):
            row = {
                "seed": seed,
                "margin": margin,
                "gap": gap,
                "difference": margin,
                "accuracy": 0.8,
            }
            rows.append(row | {"flagged": {"100": rate}, "least_alpha": {"100": 0.25}})
    return with_excess(rows)


def test_a_step_a_cut(arguments):
    steps = AdaptiveSharer(**arguments, more={"source.root": "elsewhere"}).steps()
    assert [step.name for step in steps] == ["cut-s0", "cut-s1", "cut-s2", "cut-s3"]
    assert identities(steps)
    last = steps[3].arguments
    assert (last["seed"], last["target"], last["sensitive"]) == (3, "income", "sex")
    assert last["sizes"] == {"reference": 30, "test": 20, "n": 10}
    assert last["sets"] == {"margins": [0.5, 12.0], "alpha": 0.5, "trainings": 2}
    assert last["audit"] == {"queries": [100, 200], "repeats": 8, "margin": 0.4, "level": 0.05}
    assert last["classifier"] == {"class_path": arguments["classifier"], "init_args": {"trees": 7}}
    assert str(built(Source, last["source"]).root) == "elsewhere"


def test_rows_are_of_the_cuts_that_are_done(arguments, tmp_path):
    study = AdaptiveSharer(**arguments)
    row = {"gap": 0.2, "difference": 0.1, "accuracy": 0.7, "flagged": {"100": 0.0, "200": 0.0}}
    sets = [row | {"margin": 0.0}, row | {"margin": 0.5, "gap": 0.25}]
    cut = {"rows": sets, "least_alpha": {"100": None, "200": 0.3}, "reader_accuracy": None}
    write_json(tmp_path / "cut-s2" / "cut.json", cut)
    paths = {"cut-s2": tmp_path / "cut-s2" / "cut.json"}
    rows = study.rows(lambda place: paths.get(place.step))
    assert [(r["seed"], r["margin"]) for r in rows] == [(2, 0.0), (2, 0.5)]
    assert [r["excess_gap"] for r in rows] == pytest.approx([0, 0.05])
    assert rows[1]["least_alpha"]["200"] == 0.3
    summary = study.summary(rows)  # one cut alone: nothing to judge a margin on, and no error
    assert [e["gap"]["mean"] for e in summary if e["of"] == "curve"] == [None, None]
    assert [e["least_alpha_undefined"] for e in summary if e["of"] == "curve"] == [1, 0]
    assert study.summary(study.rows(lambda place: None)) == []


@pytest.mark.parametrize("sign", [1, -1])
def test_the_excess_is_in_the_direction_in_which_the_odds_moved(sign):
    """A pool that leans to group 0 and a set that was moved to group 1: the lean has to be overcome first."""
    shared = {"seed": 0, "accuracy": 0.8, "flagged": {"100": 0.0}, "least_alpha": {"100": None}}
    clean = shared | {
        "margin": 0.0,
        "difference": 0.17 * sign,
        "gap": 0.1,
        "gap_signed": -0.1 * sign,
    }
    moved = shared | {"margin": 2.0, "difference": 2.0 * sign, "gap": 0.2, "gap_signed": 0.2 * sign}
    # less than the random set happens to lean
    little = moved | {
        "margin": 0.1,
        "difference": 0.1 * sign,
    }
    rows = with_excess([clean, moved, little])
    assert [row["excess_gap"] for row in rows] == pytest.approx([0, 0.3, 0.3])
    assert [row["excess_gap_absolute"] for row in rows] == pytest.approx([0, 0.1, 0.1])
    assert all(row["directed"] for row in rows)
    unsigned = with_excess(
        [{k: v for k, v in row.items() if k != "gap_signed"} for row in (clean, moved)]
    )
    assert [(row["excess_gap"], row["directed"]) for row in unsigned] == [
        (0, False),
        (pytest.approx(0.1), False),
    ]


def test_a_margin_is_judged_on_the_cuts_that_it_was_not_chosen_on():
    # even cuts (0, 2) think that margin 1 is the better, odd ones (1, 3) that 2 is
    gaps = {0.0: [0.1] * 4, 1.0: [0.5, 0.3, 0.5, 0.3], 2.0: [0.2, 0.4, 0.2, 0.4]}
    rows = rows_of(gaps, {margin: [0.0] * 4 for margin in gaps})
    entry = of_curve(rows, "100", 0.2, 0.95)
    assert entry["margins"] == [1.0, 2.0]
    assert entry["gap"]["mean"] == pytest.approx((0.3 + 0.3 + 0.2 + 0.2) / 4)
    assert entry["excess_gap"]["mean"] == pytest.approx(0.15)
    assert entry["gap_as_chosen"] == pytest.approx(0.4)
    assert entry["cuts"] == entry["gap"]["n"] == 4
    assert entry["least_alpha"]["mean"] == 0.25


def test_a_maximum_over_equal_margins_is_too_large_and_the_judged_one_is_not():
    rng, off = np.random.default_rng(0), []
    for _ in range(200):  # twelve margins that all leave a gap of 0.3, measured with an error
        gaps = {float(m): (0.3 + 0.05 * rng.normal(size=6)).tolist() for m in range(12)}
        entry = of_curve(rows_of(gaps, {margin: [0.0] * 6 for margin in gaps}), "100", 0.2, 0.95)
        off.append((entry["gap"]["mean"] - 0.3, entry["gap_as_chosen"] - 0.3))
    judged, chosen = np.mean(off, 0)
    error = np.std(off, 0)[0] / np.sqrt(200)
    assert abs(judged) < 4 * error
    assert chosen > 0.02


def test_a_margin_that_is_flagged_too_often_is_not_hidden():
    gaps = {0.0: [0.1, 0.1], 1.0: [0.3, 0.3], 2.0: [0.6, 0.6]}
    rows = rows_of(gaps, {0.0: [0, 0.1], 1.0: [0.1, 0.3], 2.0: [0.1, 0.35]})
    assert hidden_margin(rows, "100", 0.2) == 1.0
    assert hidden_margin(rows, "100", 0.25) == 2.0
    assert hidden_margin(rows, "100", 0.01) is None
    assert hidden_margin([], "100", 0.2) is None


def test_the_interval_of_alarms_counts_cuts():
    assert alarm_rate([0.0, 1.0, 1.0, 0.0], 0.95)["interval"] == pytest.approx(
        clopper_pearson(2, 4)[1:]
    )
    part = alarm_rate([0.0, 0.5, 1.0, 0.0], 0.95)
    assert part["mean"] == 0.375
    assert part["interval"] == pytest.approx(
        [clopper_pearson(1, 4).low, clopper_pearson(2, 4).high]
    )
    assert alarm_rate([0.0] * 4, 0.95)["interval"][0] == 0
    assert alarm_rate([], 0.95) == {"mean": None, "interval": None, "n": 0}


def test_tables_and_the_figure(tmp_path):
    gaps = {0.0: [0.1] * 4, 1.0: [0.3, 0.31, 0.3, 0.32], 12.0: [0.6] * 4}
    flagged = {0.0: [0.0] * 4, 1.0: [0.1] * 4, 12.0: [1.0] * 4}
    summary = summarise(rows_of(gaps, flagged), 0.2, 0.95)
    assert [entry["of"] for entry in summary] == ["set"] * 3 + ["curve"]
    assert [table.row_count for table in tables(summary)] == [3, 1]
    assert draw_adaptive(summary, tmp_path / "curve.png").stat().st_size > 1000
    never = summarise(
        [row | {"least_alpha": {"100": None}} for row in rows_of(gaps, flagged)], 0.001, 0.95
    )
    assert never[-1]["least_alpha"]["mean"] is None
    assert tables(never)[1].row_count == 1
    assert draw_adaptive(never, tmp_path / "never.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"seeds": [0]}, "at least two seeds"),
        ({"seeds": [0, -1]}, "study.seeds has -1: it must be at least 0"),
        ({"seeds": [0, 0, 1]}, "study.seeds has 0 twice"),
        ({"sets": Sets([0.0, 1.0])}, "margins has 0.0: a margin is a finite number"),
        ({"sets": Sets([float("inf")])}, "margins has inf"),
        ({"sets": Sets([])}, "study.sets.margins is empty"),
        ({"audit": Audits([1])}, "queries has 1"),
        ({"sizes": Sizes(30, 20, 1)}, "study.sizes.n is 1: it must be at least 2"),
        ({"audit": Audits([100], 0)}, "study.audit.repeats is 0: it must be at least 1"),
        ({"risk": 1.0}, "study.risk is 1.0: it lies between 0 and 1"),
        (
            {"sets": Sets([1.0], alpha=0.0)},
            "study.sets.alpha is 0.0: the share that the sharer chooses",
        ),
        ({"audit": Audits([100], margin=-1.0)}, "`margin` is -1.0"),
        ({"classifier": "diffshare.data.table.Adult"}, "name a Recipe"),
        ({"classifier": "nowhere.Trees"}, "there is no class nowhere.Trees"),
        (
            {"source": ROOT / "configs" / "mix" / "clean.yaml"},
            "names no class_path: name a source file",
        ),
        (
            {"overrides": {"data.source.root": "x"}},
            "has data.source.root: settings here begin with",
        ),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(arguments, change, expected):
    with pytest.raises(UserError, match=expected):
        AdaptiveSharer(**arguments | change)
