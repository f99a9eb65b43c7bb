"""One cut of the adaptive sharer's study: its parts, its sets, its audits, and the step as a whole."""

import numpy as np
import pytest

from diffshare.audits.poisoning.verdict import Terms, judge
from diffshare.classifiers.recipes import KernelRecipe, TreesRecipe
from diffshare.data.source import Attribute
from diffshare.data.table import Column
from diffshare.errors import UserError
from diffshare.receiver.records import Records
from diffshare.stats.association import log_odds_ratio
from diffshare.storage import read_json
from diffshare.study.steps.cut import Auditor, cut_records, measure

TERMS = Terms()


def made_records(count: int, *, column: bool = True, seed: int = 0) -> Records:
    """Rows in which the group, the class and two noisy numbers of them depend on each other."""
    rng = np.random.default_rng(seed)
    s = rng.integers(0, 2, count)
    y = (rng.random(count) < 0.35 + 0.2 * s).astype(np.int64)
    x = np.stack([s, y, s], 1) + rng.normal(0, [0, 0.5, 0.4], (count, 3))
    x, columns = (x, (Column("s", "categorical", ("a", "b")),)) if column else (x[:, 1:], ())
    columns += tuple(Column(name, "numeric") for name in ("p", "q"))
    groups = {"s": Attribute(s.astype(np.int16), ("a", "b"))}
    return Records.from_codes(
        x.astype(np.float32),
        groups | {"y": Attribute(y.astype(np.int16), ("no", "yes"))},
        columns=columns,
        target="y",
    )


@pytest.fixture(scope="module")
def cut():
    return cut_records(made_records(3000), "s", 600, 800, 400, seed=3)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_parts_are_disjoint_and_hold_every_record(cut):
    assert (len(cut.reference), len(cut.test), len(cut.pool)) == (600, 800, 1600)
    assert sorted(np.concatenate([cut.reference, cut.test, cut.pool])) == list(range(3000))
    other = cut_records(cut.records, "s", 600, 800, 400, seed=4)
    assert set(other.reference.tolist()) != set(cut.reference.tolist())


def test_a_set_keeps_its_margin_and_uses_it(cut):
    pool = log_odds_ratio(cut.counts(cut.pool).astype(float))
    for margin in (0.2, 0.6, 1.0):
        chosen = cut.chosen(margin, 400, 0.5, rng())
        assert len(set(chosen.tolist())) == 400  # no record twice
        assert set(chosen.tolist()) <= set(cut.pool.tolist())
        difference = abs(log_odds_ratio(cut.counts(chosen).astype(float)) - pool)
        assert 0.8 * margin < difference <= margin
        assert set(cut.pool[:200].tolist()) <= set(chosen.tolist())  # the random half
    np.testing.assert_array_equal(cut.chosen(0.0, 400, 0.5, rng()), cut.pool[:400])


def test_a_margin_that_no_counts_keep():
    tight = cut_records(made_records(640), "s", 200, 200, 200, seed=0)
    with pytest.raises(
        UserError,
        match="no choice of 2 records keeps the log odds ratio within 1e-09 of the pool's",
    ):
        tight.chosen(1e-9, 200, 0.01, rng())


def test_the_gap_grows_with_the_margin(cut):
    random, moved = (
        cut.trained(cut.chosen(m, 400, 0.5, rng()), TreesRecipe(20), 2, seed=0) for m in (0.0, 12.0)
    )
    assert moved.gap > random.gap + 0.1
    assert abs(moved.gap_signed) == pytest.approx(moved.gap)  # both trainings lean to one side


def test_the_p_value_is_that_of_the_verdict(cut):
    auditor = Auditor(cut, "s", TreesRecipe(20), seed=0)
    for margin in (0.0, 1.0, 12.0):
        shares = auditor.shares(
            cut.counts(cut.chosen(margin, 400, 0.5, rng())).astype(float), 500, rng()
        )
        assert auditor.p_value(shares, TERMS) == judge(shares, auditor.reference, TERMS).p_value


@pytest.mark.parametrize("column", [True, False])
def test_audits_flag_the_attack_and_not_the_random_set(column):
    records = made_records(3000, column=column)
    cut = cut_records(records, "s", 800, 600, 400, seed=1)
    auditor = Auditor(cut, "s", KernelRecipe(2), seed=0)
    assert (auditor.accuracy is None) == column
    clean, poisoned = (
        cut.counts(cut.chosen(m, 400, 0.5, rng())).astype(float) for m in (0.0, 12.0)
    )
    for table, expected in ((clean, 0.0), (poisoned, 1.0)):
        assert auditor.flagged(table, 4000, 3, TERMS, seed=0) == expected
    few, many = (auditor.least_alpha(clean, q, TERMS, seed=0) for q in (400, 8000))
    assert 0.1 < many < few


def test_the_shares_that_are_seen_are_the_tables():
    cut = cut_records(made_records(4000, column=False), "s", 1500, 500, 400, seed=1)
    auditor = Auditor(cut, "s", KernelRecipe(2), seed=0)
    table = np.array([[30.0, 10.0], [10.0, 30.0]])
    seen = auditor.shares(table, 8000, rng())
    assert [row[1].n for row in seen.shares] == [4000, 4000]
    assert [row[1].estimate for row in seen.shares] == pytest.approx([0.25, 0.75], abs=0.06)


def test_what_cannot_be_cut_is_refused():
    records = made_records(500)
    with pytest.raises(
        UserError, match=r"has 500 records, study\.sizes has 200 \+ 200 \+ 100 = 500: lower"
    ):
        cut_records(records, "s", 200, 200, 100, seed=0)
    three = Attribute(np.arange(500, dtype=np.int16) % 3, ("a", "b", "c"))
    with pytest.raises(UserError, match="'s' has 3 groups and 'y' 2 classes"):
        cut_records(records.with_attribute("s", three), "s", 200, 100, 100, seed=0)


def test_a_part_in_any_order_keeps_its_labels():
    records = made_records(50)
    some = records.part(np.array([7, 3]))
    np.testing.assert_array_equal(some.x, records.x[[7, 3]])
    np.testing.assert_array_equal(some.attributes["s"].codes, records.attributes["s"].codes[[7, 3]])
    assert some.y.tolist() == records.y[[7, 3]].tolist()


@pytest.fixture
def step(tmp_path, monkeypatch):
    """Run the step on a CSV file; the file that it leaves, without what depends on the run."""
    monkeypatch.setenv("DIFFSHARE_CACHE", str(tmp_path / "cache"))
    records = made_records(900)
    cells = zip(records.x.tolist(), records.y.tolist(), strict=True)
    lines = [f"{'ab'[int(s)]},{p:.3f},{q:.3f},{'nj'[y]}" for (s, p, q), y in cells]
    (tmp_path / "rows.csv").write_text("\n".join(["s,p,q,y", *lines]) + "\n")
    columns = {"s": ["a", "b"], "p": "numeric", "q": "numeric", "y": ["n", "j"]}
    block = {"path": str(tmp_path / "rows.csv"), "columns": columns}
    source = {"class_path": "diffshare.data.table.CSVTable", "init_args": block}
    recipe = {"class_path": "diffshare.classifiers.recipes.TreesRecipe", "init_args": {"trees": 10}}

    def run(margins: list[float]) -> dict:
        measure(
            source=source,
            classifier=recipe,
            target="y",
            sensitive="s",
            sizes={"reference": 300, "test": 200, "n": 100},
            sets={"margins": margins, "alpha": 0.5, "trainings": 2},
            audit={"queries": [100, 400], "repeats": 4, "margin": 0.4, "level": 0.05},
            seed=5,
            out=tmp_path / "cut.json",
        )
        return read_json(tmp_path / "cut.json")

    return run


def test_a_margin_more_changes_nothing_of_the_others(step):
    short, long = step([12.0]), step([0.5, 12.0])
    assert [row["margin"] for row in short["rows"]] == [0, 12]
    assert [row["margin"] for row in long["rows"]] == [0, 0.5, 12]
    assert long["rows"][0::2] == short["rows"]
    assert long["least_alpha"] == short["least_alpha"]
    assert set(short["rows"][0]["flagged"]) == set(short["least_alpha"]) == {"100", "400"}
    assert short["reader_accuracy"] is None
