"""Information that is kept up record by record equals information that is computed afresh."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import mutual_info_score

from diffshare.stats.information import donsker_varadhan, mutual_information
from diffshare.stats.running import RunningBound, RunningCounts

shapes = st.tuples(st.integers(2, 4), st.integers(2, 4))


@st.composite
def growing(draw: st.DrawFn) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """A table of counts and the cells of the records that come to it."""
    groups, classes = draw(shapes)
    counts = draw(arrays(np.int64, (groups, classes), elements=st.integers(0, 30)))
    cells = st.tuples(st.integers(0, groups - 1), st.integers(0, classes - 1))
    return counts, draw(st.lists(cells, min_size=1, max_size=30))


@given(growing())
def test_counts_that_grow_have_the_information_of_their_table(case):
    counts, records = case
    running, counts = RunningCounts(counts), counts.copy()
    for s, y in records:
        running.add(s, y)
        counts[s, y] += 1
        expected = mutual_info_score(None, None, contingency=counts)
        assert running.information == pytest.approx(expected, abs=1e-12)
    assert running.cells == counts.tolist()


@given(growing())
def test_a_gain_is_the_difference_that_the_record_makes(case):
    counts, _ = case
    running = RunningCounts(counts)
    for (s, y), gain in np.ndenumerate(running.gains()):
        more = counts.copy()
        more[s, y] += 1
        now = mutual_info_score(None, None, contingency=counts) if counts.sum() else 0.0
        assert gain == pytest.approx(
            mutual_info_score(None, None, contingency=more) - now, abs=1e-12
        )
        assert running.after(s, y) == pytest.approx(mutual_information(more), abs=1e-12)
    assert running.cells == counts.tolist()  # asking changes nothing


def test_an_empty_table_has_no_information():
    assert RunningCounts(np.zeros((2, 3), int)).information == 0.0
    assert RunningCounts(np.zeros((2, 3), int)).gains().tolist() == [[0.0] * 3] * 2


@st.composite
def criticised(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values of a critic, classes, and a permutation of the records."""
    classes, records = draw(st.integers(2, 4)), draw(st.integers(3, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = draw(st.sampled_from([0.1, 1.0, 30.0]))
    critic = scale * rng.standard_normal((records, classes)) + draw(
        st.sampled_from([0.0, 500.0, -500.0])
    )
    return critic, rng.integers(0, classes, records), rng.permutation(records)


@given(criticised(), st.data())
def test_a_set_that_changes_has_the_bound_of_its_records(case, data):
    critic, target, order = case
    size = data.draw(st.integers(0, len(order) - 1))
    members = order[:size].tolist()
    bound = RunningBound(critic, target, np.array(members, int))
    for record in order[size:].tolist():
        rest = np.flatnonzero(target == target[record])
        after = bound.after(target[record], bound.own[rest], bound.exponentials[:, rest])
        members.append(record)
        fresh = donsker_varadhan(critic[members], target[members])
        assert after[rest.tolist().index(record)] == pytest.approx(fresh, abs=1e-9)
        bound.add(record)
        assert bound.bound == pytest.approx(fresh, abs=1e-9)


@given(criticised(), st.data())
def test_an_exchange_gives_the_bound_of_the_new_set(case, data):
    critic, target, order = case
    size = data.draw(st.integers(1, len(order) - 1))
    inside, outside = order[:size].tolist(), order[size:].tolist()
    bound = RunningBound(critic, target, np.array(inside))
    for _ in range(3):
        i, j = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, len(outside) - 1))
        bound.swap(inside[i], outside[j])
        inside[i], outside[j] = outside[j], inside[i]
        assert bound.bound == pytest.approx(
            donsker_varadhan(critic[inside], target[inside]), abs=1e-9
        )


def test_the_marginal_is_the_derivative_by_a_records_weight():
    rng = np.random.default_rng(0)
    critic, target = rng.standard_normal((40, 3)), rng.integers(0, 3, 40)
    members = np.arange(30)
    bound = RunningBound(critic, target, members)

    def weighted(record: int, weight: float) -> float:
        """The bound with one record's terms weighted, class shares and the number of records held."""
        w = np.zeros(40)
        w[members] = 1
        w[record] += weight
        shares = np.bincount(target[members], minlength=3) / 30
        own = critic[np.arange(40), target]
        return float(w @ own / 30 - np.log(w @ np.exp(critic) @ shares / 30))

    step = 1e-5
    expected = [(weighted(i, step) - weighted(i, -step)) / (2 * step) for i in range(40)]
    assert bound.marginal() == pytest.approx(expected, abs=1e-8)


def test_values_far_below_the_largest_of_the_pool_do_not_break_it():
    critic = np.array([[1e4, 0.0], [0.0, 0.0], [0.0, 1.0]])
    bound = RunningBound(critic, np.array([0, 1, 1]), np.array([1]))
    bound.add(2)
    assert np.isfinite(bound.bound)
