"""Derived attributes of records and samples: the same as columns made by hand, and nothing that tells them is seen."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import diffshare as ds
from diffshare.audits.poisoning.table import counted_table
from diffshare.classifiers.attribute import AttributeClassifier
from diffshare.classifiers.recipes import TreesRecipe
from diffshare.data.listed import Listed
from diffshare.data.mixes import Clean, Pool
from diffshare.data.module import MixDataModule
from diffshare.data.synthetic import SyntheticDataModule
from diffshare.data.table import CSVTable
from diffshare.nets.classifiers import TableMLP
from diffshare.receiver.meta.data import TrainedShadowDataModule
from diffshare.sharer.poisoning.features import Raw

TARGETS = ("age>=40", "age:bins(30,50)", "sex x race", "race{A|B=ab,C=c}", "old")


def frame(count: int = 600, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, count),
            "sex": rng.choice(["F", "M"], count),
            "race": rng.choice(["A", "B", "C"], count),
            "noise": rng.normal(size=count).round(3),
            "y": rng.choice(["no", "yes"], count),
        }
    )


def records(table: pd.DataFrame | None = None, **options) -> ds.Records:
    options = {"target": "y", "sensitive": "age>=40"} | options
    return ds.Records.from_frame(frame() if table is None else table, **options)


def source(path: Path, **options) -> CSVTable:
    frame().to_csv(path, index=False)
    columns = {"age": "numeric", "noise": "numeric"}
    columns |= dict.fromkeys(("sex", "race", "y"), "categorical")
    return CSVTable(str(path), columns, **options)


def told(name: str) -> set[str]:
    return {"old": {"age"}, "sex x race": {"sex", "race"}, "race{A|B=ab,C=c}": {"race"}}.get(
        name, {"age"}
    )


def test_a_derived_group_is_the_same_as_a_column_made_by_hand():
    table = frame()
    hand = table.assign(group=np.where(table.age >= 40, "age>=40", "age<40"))
    mine, theirs = records(table), records(hand, sensitive="group")
    assert mine.group("age>=40").classes == theirs.group("group").classes
    assert np.array_equal(mine.group("age>=40").codes, theirs.group("group").codes)
    others = frame(400, 1)
    by_hand = others.assign(group=np.where(others.age >= 40, "age>=40", "age<40"))
    one, two = ds.Samples(others).coded(mine), ds.Samples(by_hand).coded(theirs)
    assert np.array_equal(one.groups["age>=40"], two.groups["group"])
    options = {"gap_repeats": 0, "seed": 1}
    first = ds.audit(ds.Samples(others), mine, **options)
    second = ds.audit(ds.Samples(by_hand), theirs, **options)
    assert (first.verdict, first.p_value) == (second.verdict, second.p_value)
    assert first.to_json()["sensitive"] == "age>=40"


@pytest.mark.parametrize("name", TARGETS)
def test_no_reader_sees_what_its_attribute_was_derived_from(name, tmp_path):
    everything = {"age", "sex", "race", "noise"}
    options = {"derive": {"old": "age>=60"}}
    own = records(sensitive=name, **options)
    seen = own.labelled(name)
    assert {column.name for column in seen.columns} == everything - told(name)
    assert seen.x.shape[1] == own.features((name,)).shape[1] == len(seen.columns)
    assert len(own.places((name,))) == len(told(name))
    assert own.categorical((name,)) == seen.categorical
    aimed = records(target=name, sensitive="y", **options)
    assert {column.name for column in aimed.columns} == (everything | {"y"}) - told(name)
    assert aimed.x.shape[1] == len(aimed.columns)
    made = MixDataModule(source(tmp_path / "t.csv", **options), name, cache_dir=tmp_path / "c")
    assert set(made.target_columns) == told(name)


def test_a_reader_of_noise_reads_nothing():
    known = records().labelled("age>=40", ["sex", "race"])
    scorer = TreesRecipe().train(known.x[:400], known.labels[:400], 2, 0, known.categorical)
    right = np.mean(scorer(known.x[400:]).argmax(1) == known.labels[400:])
    assert right < 0.85  # it is 1 where the age is seen


def test_a_classifier_of_a_table_does_not_see_what_its_class_was_derived_from(tmp_path):
    data = MixDataModule(source(tmp_path / "t.csv"), "age>=40", cache_dir=tmp_path / "cache")
    data.setup()
    network = TableMLP(classes=2)
    model = AttributeClassifier(network)
    model._fit_rows(data)
    names = [column.name for column in data.columns]
    assert names[0] == "age"
    assert names.index("age") not in network.columns
    assert len(network.columns) == len(names) - 1


def test_features_of_a_pool_hold_no_column_that_tells_the_class(tmp_path):
    table = source(tmp_path / "t.csv")
    widths = {
        name: Raw().compute(Pool(table.index(), name, "sex", table.read), 0).shape[1]
        for name in ("y", "age>=40", "sex x race")
    }
    assert widths["age>=40"] == widths["y"] + 2 - 1
    assert widths["sex x race"] == widths["y"] + 2 - 2 - 3


@pytest.mark.parametrize("name", TARGETS)
def test_samples_are_coded_by_the_edges_of_the_reference(name):
    own = records(target=name, sensitive="y", derive={"old": "age>=60"})
    others = frame(300, 5)
    coded = ds.Samples(others).coded(own)
    whole = records(others, target=name, sensitive="y", derive={"old": "age>=60"})
    assert np.array_equal(coded.y, whole.y)
    assert coded.x.shape == (300, len(own.columns))
    quantiles = records(sensitive="age:quantiles(3)")
    young = ds.Samples(others.assign(age=others.age - 10)).coded(quantiles)
    edges = np.quantile(frame().age, [1 / 3, 2 / 3], method="higher")
    expected = np.searchsorted(edges, others.age - 10, side="right")
    assert np.array_equal(young.groups["age:quantiles(3)"], expected)


def test_samples_without_the_column_are_as_those_of_any_absent_group():
    own = records()
    coded = ds.Samples(frame(300, 5).drop(columns="age")).coded(own)
    assert coded.absent == ("age",)
    assert "age>=40" not in coded.groups
    assert np.isnan(coded.x[:, [c.name for c in own.columns].index("age")]).all()


def test_a_column_of_the_samples_that_has_the_very_name_goes_first():
    others = frame(300, 5).assign(**{"age>=40": "age>=40"})
    assert (ds.Samples(others).coded(records()).groups["age>=40"] == 1).all()


def test_a_class_in_another_writing_is_refused_behind_a_derived_group_too():
    others = frame(300, 5)
    others["sex"] = others.sex.str.lower()
    with pytest.raises(ds.UserError, match="'f' is not 'F'"):
        ds.Samples(others).coded(records(sensitive="sex x age>=40"))


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("age>=40", lambda t: np.mean(t.age >= 40)),
        ("noise>=0.7", lambda t: np.mean(t.noise >= 0.7)),
        ("race=B", lambda t: np.mean(t.race == "B")),
        ("old", lambda t: np.mean(t.age >= 60)),
    ],
)
def test_a_derived_property_is_counted_where_the_samples_have_its_columns(name, share):
    others = frame(500, 7)
    others.loc[:50, "noise"] = 0.7  # which float32 does not hold
    own = records(derive={"old": "age>=60"})
    result = ds.infer_property(ds.Samples(others), own, name)
    assert result.method == "column"
    assert result.estimate == pytest.approx(share(others))


def test_and_is_read_by_a_classifier_where_they_are_withheld():
    options = {"withhold": ["age"], "folds": 2}
    with pytest.raises(ds.UserError, match="too near chance"):  # nothing else tells it
        ds.infer_property(ds.Samples(frame(200, 7)), records(frame(300)), "age>=40", **options)


def test_samples_with_a_derived_class_train_a_classifier(tmp_path):
    (tmp_path / "samples").mkdir()
    others = frame(200, 3)
    others.to_csv(tmp_path / "samples" / "samples.csv", index=False)
    table = source(tmp_path / "t.csv", derive={"band": "age:quantiles(2)"})
    data = SyntheticDataModule(
        tmp_path / "samples", table, "band", validation_share=0, cache_dir=tmp_path / "cache"
    )
    data.setup()
    edge = np.quantile(frame().age, 0.5, method="higher")
    assert data.sets["train"].target.tolist() == (others.age >= edge).astype(int).tolist()
    assert data.target_columns == ("age",)


def test_shadows_are_read_without_what_the_property_was_derived_from(tmp_path):
    (tmp_path / "g.yaml").write_text("{}")
    data = TrainedShadowDataModule(
        tmp_path, [tmp_path / "g.yaml"], source(tmp_path / "t.csv"), "age>=40"
    )
    assert 0 not in data._seen()
    assert data.columns[0].name == "age"


def test_rows_of_a_frame_are_chosen_and_counted():
    own = records(where="age >= 30 and race in ['A', 'B']", sensitive="sex")
    table = frame()
    assert len(own) == int(((table.age >= 30) & table.race.isin(["A", "B"])).sum())
    assert f"{len(own)} of 600 records are left" in own.used


def test_an_unknown_name_is_refused_with_the_columns():
    with pytest.raises(ds.UserError, match="unknown column 'sexx': choose one of age, noise"):
        records(sensitive="sexx")
    with pytest.raises(ds.UserError, match="unknown attribute 'agee'"):
        records(sensitive="agee>=40")


def test_images_take_derived_groups_of_their_attributes():
    rng = np.random.default_rng(0)
    own = ds.Records(
        rng.integers(0, 255, (80, 8, 8, 3), np.uint8),
        rng.integers(0, 2, 80),
        s={"age": rng.integers(10, 60, 80), "sex": rng.choice(["F", "M"], 80)},
    )
    crossed = own.with_groups(["sex x age>=30"])
    assert crossed.group("sex x age>=30").classes[0] == "F x age<30"
    half = crossed.part(np.arange(40))
    assert np.array_equal(
        half.attribute("age:quantiles(2)").codes, own.attribute("age:quantiles(2)").codes[:40]
    )


def test_a_leak_is_counted_where_the_samples_have_the_columns():
    others = frame(400, 7)
    found = ds.leak(ds.Samples(others), records(), properties=["age>=40", "age:quantiles(2)"])
    assert [one.usual for one in found.leaks] == ["column"] * 2
    assert found.leaks[0].readings[0].estimate == pytest.approx(np.mean(others.age >= 40))


def test_derived_columns_are_counted_without_records():
    others = frame(200, 7)
    counted = counted_table(ds.Samples(others), "sex x age>=40", "race{A|B=ab,C=c}")
    assert counted.groups == ("F x age<40", "F x age>=40", "M x age<40", "M x age>=40")
    old = (others.age >= 40) & (others.sex == "M") & (others.race == "C")
    assert counted.counts[3].tolist()[1] == int(old.sum())


def test_a_manifest_of_another_derivation_of_the_same_name_is_refused(tmp_path):
    def module(expression: str, **options) -> MixDataModule:
        (tmp_path / "t.csv").exists() or source(tmp_path / "t.csv")
        table = CSVTable(
            str(tmp_path / "t.csv"),
            {"age": "numeric", "sex": "categorical"},
            derive={"old": expression},
        )
        return MixDataModule(table, "old", "sex", cache_dir=tmp_path / "cache", **options)

    module("age>=40", mix=Clean(50)).chosen_mix().write(tmp_path / "mix")
    again = module("age>=40", mix=Listed(tmp_path / "mix")).chosen_mix()
    assert len(again.choice.positions) == 50
    with pytest.raises(ds.UserError, match="the classes of its target are .*age>=40.*, now"):
        module("age>=50", mix=Listed(tmp_path / "mix")).setup()
