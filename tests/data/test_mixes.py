"""What a mix promises: exact counts, no record twice, the same records for the same seed."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffshare.data.mixes import Choice, Clean, Mix, Pool, Proportion, balanced
from diffshare.data.source import Attribute, Index
from diffshare.errors import UserError

NAMES = ("Male", "Smiling", "Age")
CLASSES = {
    "Male": ("not Male", "Male"),
    "Smiling": ("not Smiling", "Smiling"),
    "Age": ("young", "middle", "old"),
}


def index(codes: np.ndarray) -> Index:
    """An index of as many records as ``codes`` has rows; its columns are ``NAMES``."""
    n = len(codes)
    columns = {
        name: Attribute(codes[:, k].astype(np.int16), CLASSES[name]) for k, name in enumerate(NAMES)
    }
    return Index(np.array([f"r{i}" for i in range(n)]), np.zeros(n, np.int64), columns)


def pool(codes: np.ndarray, sensitive: str | None = "Male") -> Pool:
    return Pool(index(codes), "Smiling", sensitive)


def sorted_pool(male: int, others: int) -> Pool:
    """``male`` records of S = 1 after ``others`` of S = 0; Y alternates, Age comes in turn."""
    n = male + others
    return pool(np.stack([np.arange(n) >= others, np.arange(n) % 2, np.arange(n) % 3], axis=1))


@st.composite
def pools(draw: st.DrawFn, least: int = 1) -> Pool:
    n = draw(st.integers(least, 60))
    columns = [
        draw(st.lists(st.integers(0, len(CLASSES[k]) - 1), min_size=n, max_size=n)) for k in NAMES
    ]
    return pool(np.array(columns).T)


def check(choice: Choice, pool: Pool, n: int) -> None:
    """What holds for every plain mix."""
    assert choice.positions.shape == choice.target.shape == choice.poisoned.shape == (n,)
    assert len(set(choice.positions.tolist())) == n
    assert all(0 <= p < len(pool) for p in choice.positions.tolist())
    assert choice.target.dtype == np.int64
    assert choice.target.tolist() == pool.y.codes[choice.positions].tolist()
    assert not choice.poisoned.any()


# --- a random draw ---------------------------------------------------------------------------------------------------


@given(pools(), st.data())
def test_clean_draws_n_different_records_with_their_own_classes(pool, data):
    n = data.draw(st.none() | st.integers(1, len(pool)))
    mix = Clean(n)
    assert isinstance(mix, Mix)
    check(mix.choose(pool, 3), pool, len(pool) if n is None else n)


def test_clean_takes_every_record_equally_often():
    records, n, times = sorted_pool(20, 20), 10, 400
    seen = np.bincount(
        np.concatenate([Clean(n).choose(records, seed).positions for seed in range(times)])
    )
    # each count is binomial(400, 1/4): 100 with a deviation of 8.7, so that 5.5 deviations leave one error in 10^6
    assert len(seen) == 40
    assert np.abs(seen - times * n / 40).max() < 48


@pytest.mark.parametrize("mix", [Clean(25), Proportion(0.4, 25)])
def test_the_seed_fixes_the_records_and_another_seed_gives_others(mix):
    records = sorted_pool(60, 60)
    first, again = mix.choose(records, 5), mix.choose(records, 5)
    assert first.positions.tolist() == again.positions.tolist()
    draws = [frozenset(mix.choose(records, seed).positions.tolist()) for seed in range(6)]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("n", [0, -3])
def test_a_size_below_one_is_refused(n):
    for mix in (Clean(n), Proportion(0.5, n)):
        with pytest.raises(UserError, match=rf"mix\.n is {n}: ask for at least 1"):
            mix.choose(sorted_pool(5, 5), 0)


def test_too_large_a_size_is_refused_and_the_message_says_how_many_there_are():
    for mix in (Clean(11), Proportion(0.5, 11)):
        with pytest.raises(UserError, match=r"n = 11 records, the pool has 10: lower data\.mix\.n"):
            mix.choose(sorted_pool(5, 5), 0)


# --- an exact share --------------------------------------------------------------------------------------------------


def half_up(p: float, n: int) -> int:
    """``p * n`` rounded to the nearest whole number, a half upwards, in exact arithmetic."""
    return int(Fraction(str(p)) * n + Fraction(1, 2))


@given(pools(), st.integers(0, 100), st.data())
def test_proportion_has_the_exact_share_wherever_the_pool_allows_it(pool, percent, data):
    p, n = percent / 100, data.draw(st.integers(1, len(pool)))
    have = int(np.sum(pool.s.codes == 1))
    wanted = half_up(p, n)
    mix = Proportion(p, n)
    assert isinstance(mix, Mix)
    if wanted <= have and n - wanted <= len(pool) - have:
        choice = mix.choose(pool, 1)
        check(choice, pool, n)
        assert np.sum(pool.s.codes[choice.positions] == 1) == wanted
        assert choice.report["share"] == wanted / n
    else:
        with pytest.raises(UserError, match=rf"the pool has {have} and {len(pool) - have}"):
            mix.choose(pool, 1)


@pytest.mark.parametrize("p", [0.0, 0.01, 0.1, 0.29, 0.3, 1 / 3, 0.5, 0.57, 0.7, 0.95, 1.0])
def test_without_n_the_share_takes_the_most_records_that_are_possible(p):
    for have, lack in itertools.product((0, 1, 2, 7, 10), (0, 1, 3, 8, 30)):
        if have + lack == 0 or (p > 0 and have == 0) or (p < 1 and lack == 0):
            continue
        possible = [
            n
            for n in range(1, have + lack + 1)
            if half_up(p, n) <= have and n - half_up(p, n) <= lack
        ]
        # for instance p = 0.5 of one record rounds up to it alone, and there is none
        if not possible:
            continue
        records = sorted_pool(have, lack)
        choice = Proportion(p).choose(records, 0)
        check(choice, records, max(possible))
        assert np.sum(records.s.codes[choice.positions] == 1) == half_up(p, max(possible))


@pytest.mark.parametrize(
    ("p", "have", "lack", "empty"),
    [
        (0.3, 0, 20, "no record with it"),
        (1.0, 0, 20, "no record with it"),
        (0.9, 20, 0, "no record without it"),
    ],
)
def test_an_empty_cell_is_refused_instead_of_a_tiny_set(p, have, lack, empty):
    with pytest.raises(UserError, match=rf"share p = {p:g} of 'Male'.*{empty}"):
        Proportion(p).choose(sorted_pool(have, lack), 0)


def test_a_share_of_none_or_all_needs_only_one_kind():
    assert len(Proportion(0.0).choose(sorted_pool(0, 4), 0).positions) == 4
    assert len(Proportion(1.0).choose(sorted_pool(4, 0), 0).positions) == 4
    with pytest.raises(UserError, match="no record without it"):
        Proportion(0.0).choose(sorted_pool(4, 0), 0)


def test_a_tiny_share_is_a_share():
    assert len(Proportion(1e-300).choose(sorted_pool(3, 5), 0).positions) == 5


def test_records_with_and_without_the_property_come_mixed():
    records = sorted_pool(50, 50)
    order = records.s.codes[Proportion(0.5).choose(records, 0).positions]
    assert 0 < order[:50].sum() < 50


@pytest.mark.parametrize("p", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_share_outside_0_and_1_is_refused(p):
    with pytest.raises(UserError, match=r"mix\.p is .*lies in \[0, 1\]"):
        Proportion(p)


@pytest.mark.parametrize("value", [2, "2", "old"])
def test_the_value_is_a_name_or_a_position_which_is_told(value):
    records = sorted_pool(15, 15)
    choice = Proportion(0.5, 12, property="Age", value=value).choose(records, 0)
    assert np.sum(records.index.attribute("Age").codes[choice.positions] == 2) == 6
    told = (
        {"notes": ["value of 'Age' '2' is no name: read as a position, it is 'old'"]}
        if value != "old"
        else {}
    )
    assert choice.report == {"property": "Age", "value": "old", "p": 0.5, "share": 0.5} | told


@pytest.mark.parametrize("value", [3, -1, "ancient", "3"])
def test_a_value_that_the_attribute_does_not_have_is_refused_with_those_it_has(value):
    with pytest.raises(
        UserError,
        match=rf"unknown value of 'Age' '{value}': choose one of 'young', 'middle', 'old'",
    ):
        Proportion(0.5, property="Age", value=value).choose(sorted_pool(5, 5), 0)


def test_the_property_is_the_sensitive_attribute_unless_another_is_named():
    records = pool(
        np.stack([np.arange(20) < 10, np.arange(20) % 2, np.arange(20) % 3], axis=1), sensitive=None
    )
    with pytest.raises(UserError, match=r"data\.mix\.property or data\.sensitive"):
        Proportion(0.5).choose(records, 0)
    with pytest.raises(
        UserError, match="unknown attribute 'Beard': choose one of Age, Male, Smiling"
    ):
        Proportion(0.5, property="Beard").choose(records, 0)
    choice = Proportion(0.2, 10, property="Male").choose(records, 0)
    assert np.sum(records.index.attribute("Male").codes[choice.positions]) == 2


def test_records_of_which_the_property_is_unknown_do_not_count_as_lacking_it():
    codes = np.stack(
        [np.repeat([1, 0, -1], [10, 10, 80]), np.arange(100) % 2, np.arange(100) % 3], axis=1
    )
    records = pool(codes)
    choice = Proportion(0.5).choose(records, 0)
    assert np.bincount(records.s.codes[choice.positions] + 1, minlength=3).tolist() == [0, 10, 10]


# --- equal cells -----------------------------------------------------------------------------------------------------


@given(
    pools(least=4),
    st.sampled_from([["Male"], ["Male", "Smiling"], ["Smiling", "Age"], list(NAMES)]),
)
def test_balanced_keeps_the_rarest_cells_count_of_each(pool, names):
    codes = np.stack([pool.index.attribute(name).codes for name in names], axis=1)
    cells = list(itertools.product(*(range(len(CLASSES[name])) for name in names)))
    rarest = min(sum(tuple(row) == cell for row in codes.tolist()) for cell in cells)
    if rarest == 0:
        with pytest.raises(UserError, match="an empty cell of .* cannot be balanced"):
            balanced(pool.index, names, 0)
        return
    kept = balanced(pool.index, names, 0)
    assert kept.tolist() == sorted(set(kept.tolist()))
    found = [tuple(row) for row in codes[kept].tolist()]
    assert [found.count(cell) for cell in cells] == [rarest] * len(cells)


def test_balanced_is_a_function_of_the_seed():
    records = sorted_pool(10, 90).index
    draws = [tuple(balanced(records, ["Male", "Smiling"], seed).tolist()) for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_an_empty_cell_is_named_with_the_counts_of_all():
    codes = np.array([[0, 0, 0], [0, 1, 0], [0, 1, 1], [1, 1, 0]])
    with pytest.raises(
        UserError,
        match=r"Male x Smiling.*not Male, Smiling: 2; Male, not Smiling: 0; Male, Smiling: 1",
    ):
        balanced(index(codes), ["Male", "Smiling"], 0)
