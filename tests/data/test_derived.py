"""Derived attributes: a name is one thing only, and what it derives is what pandas computes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from diffshare.data.attribute import Attribute
from diffshare.data.derived import resolve
from diffshare.data.grammar import (
    Bins,
    Crossed,
    Is,
    Merged,
    Plain,
    Quantiles,
    Threshold,
    parse,
)
from diffshare.data.source import Index
from diffshare.errors import UserError

names = st.text(min_size=1, max_size=8)
finite = st.floats(-1e9, 1e9).map(lambda number: number + 0.0)
columns = st.lists(
    st.one_of(st.integers(-20, 20).map(float), finite, st.just(float("nan"))),
    min_size=1,
    max_size=40,
)
singles = st.one_of(
    st.builds(Plain, names),
    st.builds(Threshold, names, st.sampled_from([">", "<", ">=", "<=", "==", "!="]), finite),
    st.builds(Quantiles, names, st.integers(2, 99)),
    st.builds(
        Bins,
        names,
        st.lists(finite, min_size=1, max_size=5, unique=True).map(lambda x: tuple(sorted(x))),
    ),
    st.builds(Is, names, names),
    st.builds(
        lambda name, labels, values, rest: Merged(
            name, tuple(zip(labels, ([v] for v in values), strict=False)), rest
        ),
        names,
        st.lists(names, min_size=2, max_size=3, unique=True),
        st.lists(names, min_size=2, max_size=3, unique=True),
        st.none() | names,
    ).map(lambda m: Merged(m.name, tuple((label, tuple(v)) for label, v in m.groups), m.rest)),
)
expressions = singles | st.builds(
    lambda parts: Crossed(tuple(parts)), st.lists(singles, min_size=2, max_size=4)
)


def index(
    numbers: dict[str, list[float]] | None = None,
    attributes: dict[str, Attribute] | None = None,
    **options,
) -> Index:
    numbers = {name: np.array(values, np.float64) for name, values in (numbers or {}).items()}
    some = next(iter(numbers.values()), None)
    count = len(some) if some is not None else len(next(iter((attributes or {}).values())).codes)
    return Index(
        np.arange(count).astype(str), np.zeros(count), attributes or {}, numbers=numbers, **options
    )


def coded(codes: list[int], *classes: str) -> Attribute:
    return Attribute(np.array(codes, np.int16), classes)


@given(expressions)
def test_what_is_written_is_read_again(expression):
    assert parse(str(expression)) == expression


@given(columns, st.sampled_from([">", "<", ">=", "<=", "==", "!="]), st.integers(-20, 20))
def test_a_threshold_is_what_pandas_says_and_the_unknown_stays_unknown(values, sign, number):
    attribute = index({"a": values}).attribute(f"a{sign}{number}")
    frame = pd.DataFrame({"a": values})
    expected = np.where(frame.a.isna(), -1, frame.eval(f"a {sign} {number}").astype(int))
    assert attribute.codes.tolist() == expected.tolist()
    assert attribute.classes[1] == f"a{sign}{number}"


@given(columns, st.lists(st.integers(-20, 20), min_size=1, max_size=4, unique=True).map(sorted))
def test_bins_are_those_of_pandas(values, edges):
    attribute = index({"a": values}).attribute(f"a:bins({','.join(map(str, edges))})")
    cut = pd.cut(pd.Series(values), [-np.inf, *edges, np.inf], right=False, labels=False)
    assert attribute.codes.tolist() == cut.fillna(-1).astype(int).tolist()
    assert len(attribute.classes) == len(edges) + 1


@given(st.lists(finite, min_size=12, max_size=60, unique=True), st.integers(2, 5))
def test_quantiles_hold_about_equally_many(values, count):
    codes = index({"a": values}).attribute(f"a:quantiles({count})").codes
    sizes = np.bincount(codes, minlength=count)
    assert sizes.max() - sizes.min() <= 2
    assert np.all(np.diff(codes[np.argsort(values)]) >= 0)


@given(st.lists(st.tuples(st.integers(-1, 1), st.integers(-1, 2)), min_size=1, max_size=30))
def test_a_crossing_has_a_class_of_each_pair_and_knows_what_both_know(pairs):
    a, b = (coded(list(side), *names) for side, names in zip(
        zip(*pairs, strict=True), (("F", "M"), ("W", "B", "O")), strict=True))  # fmt: skip
    crossed = index(attributes={"sex": a, "race": b}).attribute("sex x race")
    told = ["?" if code < 0 else crossed.classes[code] for code in crossed.codes.tolist()]
    expected = [f"{a.classes[s]} x {b.classes[r]}" if min(s, r) >= 0 else "?" for s, r in pairs]
    assert told == expected


def test_values_are_merged_and_those_not_named_are_unknown_or_other():
    source = index(attributes={"code": coded([0, 1, 2, 3, -1], "A91", "A92", "A93", "A94")})
    merged = source.attribute("code{A91|A93=male,A92=female}")
    assert merged.classes == ("male", "female")
    assert merged.codes.tolist() == [0, 1, 0, -1, -1]
    other = source.attribute("code{A91|A93=male,*=other}")
    assert other.classes == ("male", "other")
    assert other.codes.tolist() == [0, 1, 0, 1, -1]


def test_a_value_is_had_or_not_of_categories_and_of_numbers():
    source = index({"n": [1, 2, np.nan]}, {"income": coded([0, 1, -1], "<=50K", ">50K")})
    assert source.attribute("income=>50K").codes.tolist() == [0, 1, -1]
    assert source.attribute("income=<=50K").classes == ("income!=<=50K", "income=<=50K")
    assert source.attribute("n=2").codes.tolist() == [0, 1, -1]


def test_an_attribute_of_exactly_this_name_goes_before_the_grammar():
    own = coded([1, 0], "no", "yes")
    names = ("age>=40", "a x b", "code{A=b}", "sex=M", "age:quantiles(4)")
    source = index({"age": [50, 20]}, {**dict.fromkeys(names, own), "c": coded([0, 1], "u", "v")})
    for name in names:
        assert source.attribute(name) is own
        assert source.columns_of(name) == (name,)
    # inside a crossing too, where the longest name counts
    assert source.attribute("a x b x c").classes == ("no x u", "no x v", "yes x u", "yes x v")
    assert source.attribute("age>=40 x c").classes[0] == "no x u"
    assert source.attribute("age>=41").codes.tolist() == [1, 0]


def test_numbers_that_are_categories_make_ranges_as_well():
    source = index(attributes={"age": coded([0, 1, 2, -1], "9", "40", "71")})
    assert source.attribute("age>=40").codes.tolist() == [0, 1, 1, -1]
    assert source.attribute("age").classes == ("9", "40", "71")


def test_edges_and_classes_are_those_of_the_whole_and_hold_for_others():
    whole = index({"a": [1, 2, 3, 4]}, {"sex": coded([0, 1, 0, 1], "F", "M")})
    part = whole.take(np.array([2, 3]))
    assert part.attribute("a:quantiles(2)").codes.tolist() == [1, 1]
    settled = whole.derivation("a:quantiles(2) x sex")
    other = index({"a": [0, 9, 2]}, {"sex": coded([0, 1, 2], "M", "F", "X")})
    codes = settled.apply(other.attributes, other.numbers).codes
    assert [settled.classes[c] if c >= 0 else "" for c in codes] == ["a<3 x M", "a>=3 x F", ""]
    assert settled.reads == ("a", "sex")


def test_declared_names_may_use_those_before_them():
    source = index(
        {"age": [20, 50]},
        {"sex": coded([0, 1], "F", "M")},
        derived={"old": "age>=40", "who": "sex x old"},
    )
    assert source.attribute("who").classes[3] == "M x age>=40"
    assert source.columns_of("who") == ("sex", "age")
    with pytest.raises(UserError, match="unknown attribute 'b'"):
        index({"age": [1.0]}, derived={"a": "b x age>=1", "b": "age>=2"}).attribute("a")


def test_what_is_derived_is_no_part_of_the_hash():
    assert index({"a": [1.0]}, derived={"b": "a>=1"}).sha256() == index({"a": [1.0]}).sha256()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("age>=", "no number behind its sign"),
        ("age>=old", "no number behind its sign"),
        ("age>=1e999", "no number behind its sign"),
        ("age>=nan", "no number behind its sign"),
        ("age:bins(30,18)", "each greater than the one before"),
        ("age:bins()", "are no numbers"),
        ("age:quantiles(1)", "no whole number from 2 to 999"),
        ("sex{F}", "is not VALUE|VALUE=NAME"),
        ("sex{F=a,F=b}", "stands there twice"),
        ("sex{F=a", "is no name"),
        ("sex{Q=a}", "has no value 'Q'"),
        ("sex=Q", "has no value 'Q'"),
        ("sex>=3", "holds no numbers"),
        ("age x sex", "is a column of numbers"),
        ("height>=3", "unknown attribute 'height': choose one of age, none, same, sex"),
        ("Sex", "write 'sex'"),
        ("age:quantiles(4)", "cannot be told apart"),
        ("same:quantiles(2)", "cannot be told apart"),
        ("none:quantiles(2)", "no number of 'none' is known"),
        (" x ".join(["sex"] * 7), "at most 6"),
        ("a" * 2001, "at most 2000"),
        ("__import__('os').system('true')", "unknown attribute"),
    ],
)
def test_what_cannot_be_derived_is_refused_in_one_line(text, words):
    source = index(
        {"age": [1, 1, 1, 2], "same": [3] * 4, "none": [np.nan] * 4},
        {"sex": coded([0, 1, 0, 1], "F", "M")},
    )
    with pytest.raises(UserError, match=words.replace("|", r"\|").replace("(", r"\(")) as refused:
        source.attribute(text)
    assert "\n" not in str(refused.value)


def test_too_many_classes_are_refused():
    many = coded(list(range(40)), *(f"c{i}" for i in range(40)))
    with pytest.raises(UserError, match="more than 1000 classes"):
        index(attributes={"a": many, "b": many}).attribute("a x b")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    source = index({"a": [1.0, 2.0]}, {"b": coded([0, 1], "u", "v")})
    try:
        attribute = source.attribute(text)
    except UserError:
        return
    assume(text not in source.attributes)
    assert len(attribute.codes) == 2
    assert attribute.codes.max() < len(attribute.classes)


def test_a_column_that_is_lacking_is_named():
    settled = resolve("a>=1", {}, {"a": np.array([1.0])})
    with pytest.raises(UserError, match="unknown column 'a'"):
        settled.apply({}, {"b": np.array([1.0])})
