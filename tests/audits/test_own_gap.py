"""The reference's own gap, and that nobody is told to train on samples whose predicted gap is well above it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from audited import WITH, table_source, write_rows

from diffshare.audits.poisoning.candidates import overall
from diffshare.audits.poisoning.gap import PredictedGap, predict_gap
from diffshare.audits.poisoning.own_gap import OwnGap, excess, own_gap
from diffshare.audits.poisoning.result import Audit, advice
from diffshare.audits.poisoning.verdict import Terms, judge
from diffshare.classifiers.recipes import Recipe
from diffshare.data.source import Attribute
from diffshare.data.table import Column
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples
from diffshare.stats.association import Reference
from diffshare.stats.shares import counted_shares

TABLE = np.array([[600, 400], [400, 600]])


class Line(Recipe):
    """Least squares on columns of which the first shows the group, the second the class."""

    def train(
        self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Any
    ) -> Any:
        def wide(rows: np.ndarray) -> np.ndarray:
            return np.column_stack([rows, np.ones(len(rows))])

        a = wide(x)
        solution = np.linalg.solve(a.T @ a + 1e-3 * np.eye(a.shape[1]), a.T @ (labels - 0.5))
        return lambda rows: np.stack([-wide(rows) @ solution, wide(rows) @ solution], 1)


def population(
    rng: np.random.Generator, n: int, tilt: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, classes, groups; P(y = s) = 1/2 + tilt."""
    s = rng.integers(0, 2, n)
    y = np.where(rng.random(n) < 0.5 + tilt, s, 1 - s)
    x = np.column_stack([s + rng.normal(0, 0.4, n), y + rng.normal(0, 0.8, n)]).astype(np.float32)
    return x, y, s


def reference(n: int, tilt: float, seed: int = 0) -> Records:
    x, y, s = population(np.random.default_rng(seed), n, tilt)
    groups = {"group": Attribute(s.astype(np.int16), ("a", "b"))}
    columns = (Column("u", "numeric"), Column("v", "numeric"))
    return Records.from_codes(
        x,
        groups | {"class": Attribute(y.astype(np.int16), ("no", "yes"))},
        target="class",
        columns=columns,
    )


def samples(n: int, tilt: float, seed: int = 1) -> CodedSamples:
    x, y, s = population(np.random.default_rng(seed), n, tilt)
    return CodedSamples(x, y, {"group": s}, "", {})


@pytest.mark.parametrize("tilt", [0.0, 0.2, -0.2])
def test_honest_samples_are_predicted_the_references_own_gap(tilt: float) -> None:
    records, drawn = reference(3000, tilt), samples(1500, tilt)
    predicted, own = (
        predict_gap(drawn, records, "group", Line(), repeats=2),
        own_gap(drawn, records, "group", Line()),
    )
    assert own is not None
    assert own.signed == pytest.approx(predicted.signed, abs=0.06)
    assert np.sign(own.signed or 0) == np.sign(tilt) or tilt == 0
    assert own.interval[0] <= own.estimate <= own.interval[1]
    assert own.accuracy == pytest.approx(predicted.accuracy, abs=0.04)
    assert abs(excess(predicted, own)) < 0.06


def test_the_reference_is_drawn_to_the_samples_classes_and_to_equal_groups_where_the_pool_was_balanced() -> (
    None
):
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    class Watched(Line):
        def train(
            self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Any
        ) -> Any:
            seen.append((x, labels))
            return super().train(x, labels, classes, seed, categorical)

    records, drawn = reference(2000, 0.3), samples(900, 0.0)
    rare = drawn.take(np.flatnonzero((drawn.y == 0) | (np.arange(900) < 200)))
    share = float((rare.y == 1).mean())
    for pool in ("natural", "balanced"):
        seen.clear()
        own = own_gap(rare, records, "group", Watched(), pool=pool, repeats=6)  # type: ignore[arg-type]
        assert own is not None
        assert (own.trainings, len(seen)) == (6, 6)
        for x, labels in seen:
            assert len(labels) <= min(len(rare.y), 1000)
            assert labels.mean() == pytest.approx(share, abs=0.01)
            match = np.mean((x[:, 0] > 0.5) == (labels == 1))  # the group shows in the first column
            assert match == pytest.approx(0.5, abs=0.06) if pool == "balanced" else match > 0.65


def test_a_reference_without_records_of_a_cell_in_each_half_has_no_own_gap() -> None:
    drawn = samples(200, 0.0)
    # one record of each cell
    groups = {"group": Attribute(np.array([0, 1, 0, 1], np.int16), ("a", "b"))}
    columns = (Column("u", "numeric"), Column("v", "numeric"))
    y = np.array([0, 0, 1, 1])
    few = Records.from_codes(
        np.zeros((4, 2), np.float32),
        groups | {"class": Attribute(y.astype(np.int16), ("no", "yes"))},
        target="class",
        columns=columns,
    )
    assert own_gap(drawn, few, "group", Line(), pool="balanced") is None


def gap(signed: float) -> PredictedGap:
    return PredictedGap(abs(signed), (0.0, 1.0), signed, 0.8, "Line()", 0.0, 0.0)


def own(signed: float) -> OwnGap:
    return OwnGap(abs(signed), (0.0, 1.0), signed, 0.8, 500, 4)


@pytest.mark.parametrize(
    ("predicted", "mine", "expected"),
    [
        (0.34, 0.29, 0.05),
        (-0.34, -0.18, 0.16),
        (0.2, -0.1, 0.3),
        (0.05, 0.29, -0.24),
        (-0.3, 0.0, 0.3),
    ],
)
def test_the_excess_is_in_the_direction_of_the_predicted_gap(
    predicted: float, mine: float, expected: float
) -> None:
    assert excess(gap(predicted), own(mine)) == pytest.approx(expected)


def clean(**more: Any) -> Audit:
    """An audit of samples whose table is exactly the reference's."""
    against = Reference(np.asarray(TABLE))
    judgement = judge(counted_shares(TABLE), against, Terms())
    assert judgement.verdict == "clean"
    names: dict[str, Any] = {
        "names": ("group", "class"),
        "groups": ("a", "b"),
        "classes": ("no", "yes"),
    }
    common: dict[str, Any] = names | {"queries": 2000, "samples_sha256": ""}
    return Audit(judgement, counted_shares(TABLE), against, Terms(), **common, **more)


def test_training_is_advised_only_where_the_gap_is_not_above_the_references_own() -> None:
    assert advice(clean(gap=gap(0.31), own=own(0.29))).startswith(
        "Train on them (predicted parity gap 0.31, the "
    )
    # records chosen inside the cells: the table is as it was
    bad = advice(clean(gap=gap(0.34), own=own(0.18)))
    assert bad.startswith("Do not train on these samples as they are (predicted parity gap 0.34")
    assert "the reference's own 0.18" in bad
    assert "inside the cells" in bad
    for unmeasured in ({}, {"gap": gap(0.3)}):
        said = advice(clean(**unmeasured))
        assert said.startswith("Do not train on these samples for this alone")
        assert "was not measured" in said


def test_one_candidate_whose_gap_is_too_large_decides_the_advice_of_all() -> None:
    first = clean(gap=gap(0.1), own=own(0.1))
    first = replace(first, judgement=replace(first.judgement, p_value=0.2))
    second = clean(gap=gap(0.4), own=own(0.1))
    assert overall([first, second]) is second
    assert overall([first, clean()]).excess is None


def test_records_chosen_inside_the_cells_leave_the_table_as_it_is_and_are_not_advised() -> None:
    """Of group a those that look negative, of group b those that look positive: only the gap shows it."""
    records = reference(3000, 0.0)
    x, y, s = population(np.random.default_rng(2), 8000, 0.0)
    chosen = []
    for group in (0, 1):
        for label in (0, 1):
            cell = np.flatnonzero((s == group) & (y == label))
            order = cell[np.argsort(x[cell, 1])]
            chosen.append(order[:400] if group == 0 else order[-400:])
    rows = np.concatenate(chosen)
    drawn = CodedSamples(x[rows], y[rows], {"group": s[rows]}, "", {})
    table = np.bincount(s[rows] * 2 + y[rows]).reshape(2, 2)
    assert (table == 400).all()
    shares, against = counted_shares(table), Reference(records.table(records.group("group")))
    verdict = judge(shares, against, Terms())
    assert verdict.verdict == "clean"  # until the audit looks inside the cells
    gaps = {
        "gap": predict_gap(drawn, records, "group", Line(), repeats=2),
        "own": own_gap(drawn, records, "group", Line()),
    }
    more: dict[str, Any] = {
        "names": ("group", "class"),
        "groups": ("a", "b"),
        "classes": ("no", "yes"),
    } | gaps
    audit = Audit(verdict, shares, against, Terms(), queries=1600, samples_sha256="", **more)
    assert audit.excess is not None
    assert audit.excess > 0.2
    assert advice(audit).startswith("Do not train on these samples as they are")


def test_what_was_not_measured_says_what_it_takes(run_cli, tmp_path):
    """Where there are records, more of them are not what is missing."""
    table_source(tmp_path)
    (tmp_path / "s").mkdir()
    write_rows(tmp_path / "s" / "samples.csv", 2000, 1)
    arguments = [
        "audit",
        "--samples",
        tmp_path / "s",
        "--reference",
        tmp_path / "reference.yaml",
        *WITH,
    ]
    outcome = run_cli(*arguments, "--gap-repeats", 0)
    assert outcome.code == 0, outcome.err
    assert "that was not measured: set --gap-repeats to 2 or more." in outcome.out
    assert "of your own as the reference" not in outcome.out
