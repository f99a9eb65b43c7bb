"""Mutual information and contingency tables, against scikit-learn and a slow count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.metrics import mutual_info_score

from diffshare.stats.information import contingency, mutual_information

tables = arrays(np.int64, array_shapes(min_dims=2, max_dims=2, max_side=5), elements=st.integers(0, 40))


@given(tables.filter(lambda counts: counts.sum() > 0))
def test_it_is_what_scikit_learn_says(counts):
    assert mutual_information(counts) == pytest.approx(mutual_info_score(None, None, contingency=counts), abs=1e-12)


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


@given(arrays(np.int64, 4, elements=st.integers(0, 9)), arrays(np.int64, 3, elements=st.integers(0, 9)))
def test_independence_has_none(s, y):
    assert mutual_information(np.outer(s, y)) == pytest.approx(0, abs=1e-12)


def test_known_values_in_nats():
    assert mutual_information(np.diag([5, 5])) == pytest.approx(np.log(2))
    assert mutual_information(np.diag([1, 1, 1])) == pytest.approx(np.log(3))
    assert mutual_information(np.zeros((2, 2))) == 0.0


@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 3))))
def test_contingency_counts_each_pair_of_known_codes(pairs):
    s, y = (np.array(column, np.int16) for column in (zip(*pairs, strict=True) if pairs else ((), ())))
    table = contingency(s, y, 3, 4)
    assert table.dtype == np.int64
    assert table.tolist() == [[pairs.count((a, b)) for b in range(4)] for a in range(3)]
