"""Mutual information, contingency tables and the bound by a critic, against scikit-learn, slow counts, closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.metrics import mutual_info_score

from diffshare.stats.information import (
    contingency,
    donsker_varadhan,
    mutual_information,
    row_shares,
)

tables = arrays(
    np.int64, array_shapes(min_dims=2, max_dims=2, max_side=5), elements=st.integers(0, 40)
)


@given(tables.filter(lambda counts: counts.sum() > 0))
def test_it_is_what_scikit_learn_says(counts):
    assert mutual_information(counts) == pytest.approx(
        mutual_info_score(None, None, contingency=counts), abs=1e-12
    )


@given(tables, st.integers(2, 1000), st.randoms(use_true_random=False))
def test_it_depends_on_the_shares_alone(counts, factor, random):
    expected = pytest.approx(mutual_information(counts), abs=1e-12)
    rows, columns = list(range(counts.shape[0])), list(range(counts.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    assert mutual_information(counts.T) == expected
    assert mutual_information(counts[rows][:, columns]) == expected
    assert mutual_information(counts * factor) == expected


@given(tables)
def test_it_lies_between_0_and_the_smaller_entropy(counts):
    information = mutual_information(counts)
    total = max(1, counts.sum())
    for axis in (0, 1):
        p = counts.sum(axis=axis) / total
        assert 0 <= information <= -np.sum(p[p > 0] * np.log(p[p > 0])) + 1e-12


@given(
    arrays(np.int64, 4, elements=st.integers(0, 9)), arrays(np.int64, 3, elements=st.integers(0, 9))
)
def test_independence_has_none(s, y):
    assert mutual_information(np.outer(s, y)) == pytest.approx(0, abs=1e-12)


def test_known_values_in_nats():
    assert mutual_information(np.diag([5, 5])) == pytest.approx(np.log(2))
    assert mutual_information(np.diag([1, 1, 1])) == pytest.approx(np.log(3))
    assert mutual_information(np.zeros((2, 2))) == 0.0


@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 3))))
def test_contingency_counts_each_pair_of_known_codes(pairs):
    s, y = (
        np.array(column, np.int16) for column in (zip(*pairs, strict=True) if pairs else ((), ()))
    )
    table = contingency(s, y, 3, 4)
    assert table.dtype == np.int64
    assert table.tolist() == [[pairs.count((a, b)) for b in range(4)] for a in range(3)]


# --- the Donsker-Varadhan bound ------------------------------------------------------------------------------------

labelled = st.tuples(st.integers(2, 4), st.integers(1, 30), st.integers(0, 2**32))


def drawn(case: tuple[int, int, int], scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Values of a critic, N x K, and classes, N."""
    classes, n, seed = case
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((n, classes)), rng.integers(0, classes, n)


@given(labelled)
def test_the_product_of_marginals_is_a_mean_over_all_pairs(case):
    critic, target = drawn(case)
    # every x with every y
    pairs = [np.exp(critic[i, y]) for i in range(len(target)) for y in target]
    joint = np.mean([critic[i, y] for i, y in enumerate(target)])
    assert donsker_varadhan(critic, target) == pytest.approx(
        joint - np.log(np.mean(pairs)), abs=1e-10
    )


@given(labelled, st.floats(-600, 600))
def test_a_constant_cancels_and_nothing_overflows(case, constant):
    critic, target = drawn(case, scale=5)
    assert donsker_varadhan(critic + constant, target) == pytest.approx(
        donsker_varadhan(critic, target), abs=1e-9
    )
    assert np.isfinite(donsker_varadhan(critic * 100, target))


@given(tables.filter(lambda counts: counts.sum() > 0))
def test_no_critic_of_a_discrete_x_exceeds_its_information_and_the_log_ratio_reaches_it(counts):
    x, y = np.repeat(np.indices(counts.shape).reshape(2, -1), counts.ravel(), axis=1)
    p = counts / counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(p / (p.sum(1, keepdims=True) * p.sum(0, keepdims=True)))
    best = np.nan_to_num(ratio, nan=-50.0, neginf=-50.0)  # pairs that never occur: as low as can be
    information = mutual_information(counts)
    assert donsker_varadhan(best[x], y) == pytest.approx(information, abs=1e-9)
    other = best + np.random.default_rng(int(counts.sum())).standard_normal(counts.shape)
    assert donsker_varadhan(other[x], y) <= information + 1e-9


@given(labelled, st.sampled_from([-2000.0, 0.0, 2000.0]))
def test_a_class_that_no_record_has_plays_no_part(case, value):
    critic, target = drawn(case)
    wider = np.column_stack([critic, np.full(len(critic), value)])
    assert donsker_varadhan(wider, target) == pytest.approx(
        donsker_varadhan(critic, target), abs=1e-9
    )


def test_an_empty_set_has_none():
    assert donsker_varadhan(np.zeros((0, 2)), np.zeros(0, int)) == 0.0


@given(tables)
def test_row_shares_are_those_of_each_row(counts):
    for row, shares in zip(counts, row_shares(counts), strict=True):
        if row.sum():
            np.testing.assert_allclose(np.array(shares) * row.sum(), row)
        else:
            assert shares == [None] * len(row)
