"""The rule by which two sides that name classes are brought together: names first, positions told, the rest refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffshare.classes import another_attribute, differing, in_order, join, listed, place_of
from diffshare.errors import UserError, one_of

NAMES = st.lists(st.text("abAB01 -", min_size=1, max_size=4), min_size=1, max_size=6, unique=True)
WHO = ("the samples", "the reference")


# --- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["-1", "0", "1"],
        ["-1", "1"],
        ["-10", "-9.5", "-1e0", "0", ".5", "2", "10", "1e3"],
        ["9007199254740992", "9007199254740993"],  # alike as floats
        ["no", "Yes"],
        ["No", "yes"],
        ["a2", "A10", "b1"],
        ["<=50K", ">50K"],
        ["1", "1.0", "one"],
        ["a 9", "a 10"],
    ],
)
def test_numbers_are_ordered_by_value_and_other_names_naturally(names):
    for turned in (names, names[::-1]):
        assert in_order(turned) == names


@given(st.lists(st.integers(-(10**20), 10**20), unique=True))
def test_whole_numbers_are_ordered_as_numbers(numbers):
    assert in_order(map(str, numbers)) == [str(number) for number in sorted(numbers)]


@given(NAMES, st.randoms())
def test_the_order_does_not_depend_on_the_order_of_the_records(names, random):
    shuffled = random.sample(names, len(names))
    assert in_order(shuffled) == in_order(names)
    assert sorted(shuffled) == sorted(in_order(names))


# --- one class that somebody names -----------------------------------------------------------------------------------


@given(NAMES)
def test_a_class_is_found_by_its_name_wherever_it_stands(names):
    for code, name in enumerate(names):
        assert place_of(name, names) == (code, None)


def test_a_number_is_a_name_first_and_a_position_where_none_fits():
    assert place_of("1", ("-1", "1")) == (1, None)
    assert place_of(1, ("1", "0")) == (0, None)
    code, note = place_of(1, ("no", "yes"), "value")
    assert code == 1
    assert note == "value '1' is no name: read as a position, it is 'yes'"


@pytest.mark.parametrize(
    ("said", "names", "words"),
    [
        (
            "2",
            ("no", "yes"),
            "unknown class '2': choose one of 'no', 'yes', or a number from 0 to 1",
        ),
        ("-1", ("no", "yes"), "unknown class '-1'"),
        (
            "Yes",
            ("no", "yes"),
            "unknown class 'Yes': write it as it is, 'yes' (names must agree exactly)",
        ),
        ("1.0", ("0", "1"), "unknown class '1.0': write it as it is, '1'"),
        ("01", ("0", "1"), "write it as it is, '1'"),
        (" yes", ("no", "yes"), "write it as it is, 'yes'"),
        ("\u0661", ("no", "yes"), "unknown class"),
        ("9" * 5000, ("no", "yes"), "unknown class"),
        (True, ("no", "yes"), "unknown class 'True'"),
    ],
)
def test_what_is_no_class_is_refused(said, names, words):
    with pytest.raises(UserError) as refused:
        place_of(said, names)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 250


# --- two sides -------------------------------------------------------------------------------------------------------


@given(NAMES, st.randoms())
def test_two_orders_of_the_same_names_are_joined_by_name(names, random):
    theirs = random.sample(names, len(names))
    joined = join(theirs, names, *WHO)
    assert joined.note is None
    assert [names[code] for code in joined.codes] == theirs
    y = np.array([-1, *range(len(names))])
    assert joined.recode(y).tolist() == [-1, *(names.index(name) for name in theirs)]
    assert joined.beyond == joined.lacking == ()


def test_a_side_may_lack_classes_of_the_other():
    fewer = join(["c", "a"], ["a", "b", "c"], *WHO)
    assert (fewer.codes.tolist(), fewer.lacking, fewer.note) == ([2, 0], ("b",), None)
    more = join(["c", "a", "d"], ["a", "c"], *WHO)
    assert (more.codes.tolist(), more.beyond) == ([1, 0, -1], ("d",))
    assert more.recode(np.array([1, 0, -1])).tolist() == [0, 1, -1]
    with pytest.raises(
        UserError, match="classes of the samples have 'd' among them, .* are only 'a', 'c'"
    ):
        more.recode(np.array([1, 2]))


def test_positions_count_where_no_name_fits_and_that_is_told():
    joined = join(["0", "1"], ["no", "yes"], *WHO)
    assert joined.codes.tolist() == [0, 1]
    assert joined.note == (
        "the classes of the samples are '0', '1', those of the reference 'no', 'yes': no name fits, they are taken for "
        "the same in this order (is it the right attribute?)"
    )
    unnamed = join([], ["no", "yes"], *WHO)
    assert unnamed.recode(np.array([1, 0, -1])).tolist() == [1, 0, -1]
    assert (
        "have no names: 0, 1, ... are taken for 'no', 'yes' of the reference, in this order"
        in unnamed.note
    )
    with pytest.raises(
        UserError, match="hold records of class 2, but the reference has the 2 classes 'no', 'yes'"
    ):
        unnamed.recode(np.array([2]))


@pytest.mark.parametrize(
    ("theirs", "ours", "words"),
    [
        (["male", "Female"], ["Female", "Male"], "'male' is not 'Male', names must agree exactly"),
        (
            ["female", "male"],
            ["Female", "Male"],
            "'female' is not 'Female' and 'male' is not 'Male'",
        ),
        (["0.0", "1.0"], ["0", "1"], "'0.0' is not '0' and '1.0' is not '1'"),
        (["no", "yes "], ["no", "yes"], "'yes ' is not 'yes'"),
        (["\u00e9te", "hiver"], ["e\u0301te", "hiver"], "is not"),
        (["a", "b", "c"], ["x", "y"], "no name fits; is it the right attribute?"),
    ],
)
def test_names_that_contradict_each_other_are_refused(theirs, ours, words):
    with pytest.raises(UserError) as refused:
        join(theirs, ours, *WHO)
    assert words in str(refused.value)
    assert listed(theirs) in str(refused.value)
    assert listed(ours) in str(refused.value)


def test_cells_of_a_table_are_never_joined_by_position():
    with pytest.raises(UserError, match="the values of the samples are '0', '1', .* no name fits"):
        join(["0", "1"], ["no", "yes"], *WHO, kind="values", by_position=False)


def test_numbers_beyond_the_names_are_refused():
    with pytest.raises(
        UserError,
        match="hold records of class 2, but name 2 classes, 'a', 'b': one of the two is wrong",
    ):
        join(["a", "b"], ["b", "a"], *WHO).recode(np.array([0, 2]))


def test_names_that_differ_in_case_alone_are_two_names_where_both_sides_have_both():
    assert differing(["no", "No"], ["No", "no"]) == []
    assert join(["no", "No"], ["No", "no"], *WHO).codes.tolist() == [1, 0]


def test_another_attribute_with_the_same_names_is_told():
    assert another_attribute(None, "Male", "the samples") is None
    assert another_attribute("Male", "Male", "the samples") is None
    told = another_attribute("Smiling", "Male", "the samples")
    assert (
        told
        == "the classes of the samples are of 'Smiling', here they are taken for those of 'Male'"
    )


def test_long_and_many_names_do_not_fill_the_screen():
    assert len(listed(["x" * 5000] * 3)) < 150
    assert listed([str(i) for i in range(20)]).endswith("'7' and 12 more")


def test_an_unknown_name_that_differs_in_case_alone_is_told_how_it_is_written():
    assert str(one_of("attribute", "male", ["Male", "Smiling"])) == (
        "unknown attribute 'male': write 'Male', names must agree exactly"
    )
    assert (
        str(one_of("attribute", "Nose", ["Male"])) == "unknown attribute 'Nose': choose one of Male"
    )
