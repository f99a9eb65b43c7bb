"""The three parts of a source: disjoint, and a record's part depends on nothing but its name and the seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffshare.data.source import PARTS, Index, check_shares, split
from diffshare.errors import UserError

SHARES = (0.6, 0.3, 0.1)


def index(names: list[str], parts: np.ndarray | None = None) -> Index:
    return Index(np.array(names), np.zeros(len(names), np.int64), {}, parts)


@given(
    st.lists(st.text(min_size=1).filter(lambda name: "\0" not in name), min_size=1, unique=True),
    st.data(),
)
def test_a_part_does_not_depend_on_other_records_or_on_their_order(names, data):
    whole = dict(zip(names, split(index(names), SHARES, 7).tolist(), strict=True))
    some = data.draw(st.permutations(names))[: data.draw(st.integers(1, len(names)))]
    assert split(index(some), SHARES, 7).tolist() == [whole[name] for name in some]
    assert set(whole.values()) <= set(range(len(PARTS)))


@pytest.mark.parametrize(
    "shares", [SHARES, (0.2, 0.2, 0.6), (0.5, 0.5, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)]
)
def test_the_shares_are_about_what_was_asked(shares):
    n = 20000
    counts = np.bincount(split(index([f"{i}.jpg" for i in range(n)]), shares, 0), minlength=3)
    # 5 deviations of a binomial count
    assert np.all(
        np.abs(counts - n * np.array(shares))
        <= 5 * np.sqrt(n * np.array(shares) * (1 - np.array(shares)))
    )


def test_a_seed_gives_the_same_parts_again_and_another_seed_others():
    names = index([str(i) for i in range(200)])
    draws = [split(names, SHARES, seed).tolist() for seed in (0, 0, 1, -1)]
    assert draws[0] == draws[1]
    assert len({str(parts) for parts in draws}) == 3


def test_two_seeds_are_independent():
    n = 20000
    names = index([str(i) for i in range(n)])
    both = np.mean(
        (split(names, (0.5, 0.5, 0.0), 0) == 0) & (split(names, (0.5, 0.5, 0.0), -1) == 0)
    )
    assert abs(both - 0.25) < 5 * np.sqrt(0.25 * 0.75 / n)


def test_an_official_partition_goes_before_shares_and_seed():
    parts = np.array([2, 0, 1], np.int8)
    assert split(index(["a", "b", "c"], parts), (1.0, 0.0, 0.0), 3).tolist() == [2, 0, 1]


def test_the_parts_are_those_that_earlier_versions_drew():
    """Two users of one source must not meet in a record, so that the parts never change from version to version."""
    assert split(index([f"{i:06d}.jpg" for i in range(12)]), (0.6, 0.2, 0.2), 0).tolist() == PINNED


PINNED = [0, 0, 0, 2, 0, 0, 2, 0, 2, 0, 2, 0]


@pytest.mark.parametrize(
    "shares", [(0.5, 0.5, 0.5), (1.5, -0.5, 0.0), (0.5, 0.5), (float("nan"), 0.5, 0.5)]
)
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(UserError, match="three numbers >= 0 that sum to 1"):
        check_shares(shares)
    with pytest.raises(UserError, match="three numbers >= 0 that sum to 1"):
        split(index(["a"]), shares, 0)


def test_all_records_of_a_group_fall_into_one_part_and_the_others_stay_where_they_were():
    names = np.array([f"{i}.png" for i in range(3000)])
    groups = np.array([f"person {i % 500}" if i % 3 else "" for i in range(3000)])
    alone = split(Index(names, np.zeros(3000), {}), SHARES, 7)
    together = split(Index(names, np.zeros(3000), {}, groups=groups), SHARES, 7)
    for group in set(groups.tolist()) - {""}:
        assert len(set(together[groups == group].tolist())) == 1
    assert np.array_equal(together[groups == ""], alone[groups == ""])
    per_group = np.array([together[groups == g][0] for g in sorted(set(groups.tolist()) - {""})])
    assert np.allclose(np.bincount(per_group, minlength=3) / len(per_group), SHARES, atol=0.08)


def test_numbers_and_groups_follow_their_records():
    index = Index(
        np.array(["a", "b", "c"]), np.zeros(3), {}, numbers={"age": np.array([1.0, 2.0, np.nan])},
        groups=np.array(["p", "", "q"]),
    )  # fmt: skip
    taken = index.take(np.array([2, 0]))
    assert np.array_equal(taken.numbers["age"], [np.nan, 1.0], equal_nan=True)
    assert taken.groups.tolist() == ["q", "p"]
