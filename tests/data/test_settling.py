"""Two tables settled together: what is certainly the same is matched, all else is named exactly."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffshare.data.memory import TableInMemory
from diffshare.data.settledrows import SettledRows, read_settled
from diffshare.data.settling import Facts, Renames, facts_of, reference_facts, settle
from diffshare.data.table import CSVTable, TableSource
from diffshare.data.tablefile import TableFile, TableFrame
from diffshare.errors import UserError

REFERENCE = pd.DataFrame(
    {
        "age": [30.0, np.nan, 50.0], "sex": ["Female", "Male", None], "code": [0, 1, 1],
        "ok": [True, False, True], "ward": ["a", "b", "c"],
    }
)  # fmt: skip


def to_csv(frame: pd.DataFrame, path: Path, **options) -> TableFile:
    frame.to_csv(path, index=False, **options)
    return TableFile(str(path))


def to_parquet(frame: pd.DataFrame, path: Path) -> TableFile:
    frame.to_parquet(path)
    return TableFile(str(path))


def described(frame: pd.DataFrame, path: Path) -> CSVTable:
    frame.to_csv(path, index=False)
    kinds = {name: "numeric" if name == "age" else "categorical" for name in frame}
    return CSVTable(str(path), kinds, missing="")


OPENED = {
    "csv": to_csv,
    "semicolons": lambda frame, path: to_csv(frame, path, sep=";"),
    "parquet": to_parquet,
    "frame": lambda frame, path: TableFrame(frame),
    "described": described,
    "in memory": lambda frame, path: TableInMemory(frame),
}


def settled(reference: TableSource, samples: TableSource, **options) -> SettledRows:
    how = settle(facts_of(reference), facts_of(samples), **options)
    return read_settled(samples, how, reference.columns, reference.index().attributes)


@pytest.mark.parametrize("theirs", OPENED)
@pytest.mark.parametrize("ours", OPENED)
def test_the_same_table_in_any_form_is_the_same(tmp_path, ours, theirs):
    reference = OPENED[ours](REFERENCE, tmp_path / "a")
    samples = OPENED[theirs](REFERENCE, tmp_path / "b")
    read = settled(reference, samples)
    expected = reference.read(np.arange(3)).copy()
    np.testing.assert_array_equal(read.x, expected)
    for name, attribute in reference.index().attributes.items():
        assert read.attributes[name].classes == attribute.classes
        assert read.attributes[name].codes.tolist() == attribute.codes.tolist()
    assert read.notes == ()


@settings(max_examples=40, deadline=None)
@given(
    order=st.permutations(list(REFERENCE)),
    rows=st.lists(st.integers(0, 2), min_size=3, max_size=6).filter(lambda r: set(r) == {0, 1, 2}),
    extra=st.booleans(),
)
def test_another_order_and_further_columns_do_not_matter(order, rows, extra):
    reference = TableFrame(REFERENCE)
    frame = REFERENCE[order].iloc[rows]
    frame = frame.assign(more="x") if extra else frame
    read = settled(reference, TableFrame(frame))
    np.testing.assert_array_equal(read.x, reference.read(np.array(rows)))
    assert [note for note in read.notes if "'more'" in note] == list(read.notes)
    assert bool(read.notes) == extra


def pair(ours: list, theirs: list, tmp_path: Path) -> tuple[TableFile, TableFile]:
    return (
        to_csv(pd.DataFrame({"a": ours, "b": "x"}), tmp_path / "ours.csv"),
        to_csv(pd.DataFrame({"a": theirs, "b": "x"}), tmp_path / "theirs.csv"),
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "codes"),
    [
        (["1", "2", "x"], ["1.0", "2.0"], [0, 1]),
        (["1", "2", "x"], [2, 1], [1, 0]),
        (["01", "02"], [2, 1], [1, 0]),
        (["True", "False"], ["true", "FALSE"], [1, 0]),
        (["0", "1"], ["1.0", "0.0"], [1, 0]),
    ],
)
def test_writings_that_are_certainly_the_same(tmp_path, ours, theirs, codes):
    reference, samples = pair(ours, theirs, tmp_path)
    read = settled(reference, samples, strict=["a"])
    assert read.attributes["a"].codes.tolist() == codes
    assert read.attributes["a"].classes == reference.index().attribute("a").classes
    if reference.columns[0].kind == "categorical":
        assert read.x[:, 0].tolist() == codes


def test_numbers_that_are_texts_on_one_side(tmp_path):
    reference = TableFrame(pd.DataFrame({"a": [1.5, 2.0, 3.0]}))
    samples = TableFrame(pd.DataFrame({"a": ["3", "1.5", None]}, dtype=object))
    np.testing.assert_array_equal(settled(reference, samples).x[:, 0], [3, 1.5, np.nan])


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (["Male", "Female"], ["male", "Female"], "samples have 'male', the reference 'Male': `rename` or"),
        (["Male", "Female"], ["Male", "Fe male"], "'Fe male' in column 'a', the reference knows 'Female', 'Male'"),
        (["x  y", "z"], ["x y", "z"], "in column 'a' .* .they differ in blanks.: `rename`"),
        (["1", "x"], ["2", "3"], "samples have '2', '3' in column 'a', the reference knows '1', 'x' alone"),
        ([1.5, 2.5], ["x", "y"], "holds numbers in the reference, the samples have 'x' in it"),
        (["x", "y"], [1.5, 2.5], "holds categories in the reference, in the samples more than 1000 different numb"),
        (["True", "x"], ["true", "x"], "samples have 'true', the reference 'True'"),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_named_exactly(tmp_path, ours, theirs, message):
    with pytest.raises(UserError, match=message):
        settled(*pair(ours, theirs, tmp_path), strict=["a"])


def test_an_unknown_category_is_said_and_unknown(tmp_path):
    read = settled(*pair(["x", "y", "y"], ["x", "z", "y"], tmp_path))
    np.testing.assert_array_equal(read.x[:, 0], [0, np.nan, 1])
    assert read.attributes["a"].codes.tolist() == [0, -1, 1]
    assert read.notes == (
        "the samples have 'z' in column 'a', the reference knows 'x', 'y' alone: taken as unknown",
    )


def test_names_of_columns():
    side = {name: Facts("categorical", ("x",)) for name in ("age", "sex", "ward")}
    for theirs, message in [
        (["Sex", "age", "ward"], "samples have the column 'Sex', the reference 'sex': `rename` or mend the file"),
        (["sex"], "samples lack the columns 'age', 'ward' of the reference"),
        (["u", "v"], "no column in common: the samples have 'u', 'v', the reference 'age', 'sex', 'ward'"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=message):
            settle(side, dict.fromkeys(theirs, Facts("categorical", ("x",))))
    how = settle(side, {"age": side["age"], "sex": side["sex"]}, may_lack=["ward"])
    assert how.absent == ("ward",)
    unread = {**side, "sex": Facts(None, reason="has more than 1000 different texts")}
    with pytest.raises(UserError, match="'sex' of the samples has more than 1000 different texts"):
        settle(side, unread)
    assert "sex" not in [match.name for match in settle(unread, side).matches]


def test_renaming(tmp_path):
    reference, _ = pair(["Male", "Female"], ["x"], tmp_path)
    samples = to_csv(pd.DataFrame({"A": ["m", "f", "Male"], "b": "x"}), tmp_path / "t.csv")
    renames = Renames.parse(["A=a", "a:m=Male", "a:f=Female"])
    read = settled(reference, samples, renames=renames, strict=["a"])
    assert read.attributes["a"].codes.tolist() == [1, 0, 1]
    for words, message in [
        (["A=c"], "the reference has no column 'c' to rename 'A' to"),
        (["C=a"], "the samples have no column 'C' to rename"),
        (["A=a", "a:m=man"], "cannot rename 'm' of column 'a' to 'man': the reference has 'Female', 'Male'"),
        (["A"], "cannot read the renaming 'A': write OLD=NEW"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=message):
            settled(reference, samples, renames=Renames.parse(words))


def test_records_whose_class_is_no_column():
    reference = TableFrame(REFERENCE.assign(y=[0, 1, 1]))
    columns = [column for column in reference.columns if column.name != "y"]
    facts = reference_facts(columns, reference.index().attributes, ["y"])
    samples = TableFrame(REFERENCE.assign(y=["1.0", "0", "1"]))
    read = read_settled(
        samples,
        settle(facts, facts_of(samples), strict=["y"]),
        columns,
        reference.index().attributes,
    )
    assert read.x.shape == (3, len(columns))
    assert read.attributes["y"].codes.tolist() == [1, 0, 1]
    with pytest.raises(UserError, match="samples have '2' in column 'y'"):
        settle(facts, facts_of(TableFrame(REFERENCE.assign(y=[0, 1, 2]))), strict=["y"])
