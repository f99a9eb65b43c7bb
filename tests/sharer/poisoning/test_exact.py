"""The best counts, against every count; the exact policy, against greedy and against every selection."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import problem, problems

from diffshare.sharer.poisoning import allocation
from diffshare.sharer.poisoning.allocation import allocations, information_of
from diffshare.sharer.poisoning.exact import exact, exchange
from diffshare.sharer.poisoning.greedy import greedy
from diffshare.sharer.poisoning.problem import Problem
from diffshare.stats.information import donsker_varadhan, mutual_information
from diffshare.stats.running import RunningBound

RNG = np.random.default_rng


# --- counts --------------------------------------------------------------------------------------------------------


@st.composite
def budgets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Counts that are there, counts that may be added, how many to add; never an empty table."""
    shape = draw(st.sampled_from([(2, 2), (2, 3), (3, 2), (3, 3)]))
    largest = 6 if shape == (2, 2) else 3
    rng = RNG(draw(st.integers(0, 2**32)))
    available = rng.integers(0, largest + 1, shape)
    available[0, 0] = max(1, available[0, 0])
    return rng.integers(0, 5, shape), available, draw(st.integers(1, min(8, int(available.sum()))))


def every_table(available: np.ndarray, additions: int) -> np.ndarray:
    """All ways to add so many, M x S x Y."""
    ways = product(*(range(limit + 1) for limit in available.ravel().tolist()))
    return np.array([way for way in ways if sum(way) == additions]).reshape(-1, *available.shape)


@given(budgets())
def test_no_other_counts_have_more_information(case):
    base, available, additions = case
    tables, information = allocations(base, available, additions)
    everything = every_table(available, additions)
    assert information[0] == pytest.approx(
        max(mutual_information(base + t) for t in everything), abs=1e-12
    )
    known = {t.tobytes() for t in everything.astype(np.int64)}
    assert all(np.ascontiguousarray(t, np.int64).tobytes() in known for t in tables)
    assert len({t.tobytes() for t in map(np.ascontiguousarray, tables)}) == len(tables)
    assert (np.diff(information) <= 0).all()
    assert information == pytest.approx([mutual_information(base + t) for t in tables], abs=1e-12)


@given(budgets())
def test_the_ascent_for_large_problems_gives_counts_that_no_single_move_improves(case):
    base, available, additions = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(allocation, "LIMIT", 0)
        tables, information = allocations(base, available, additions)
    (table,) = tables
    assert table.sum() == additions
    assert ((table >= 0) & (table <= available)).all()
    for a, b in product(range(table.size), repeat=2):
        moved = table.copy().ravel()
        moved[a] -= 1
        moved[b] += 1
        if moved[a] >= 0 and moved[b] <= available.ravel()[b]:
            assert mutual_information(base + moved.reshape(table.shape)) <= information[0] + 1e-9


def test_information_of_many_tables_is_that_of_each():
    tables = RNG(0).multinomial(30, np.full(6, 1 / 6), 50).reshape(50, 2, 3)
    assert information_of(tables) == pytest.approx(
        [mutual_information(t) for t in tables], abs=1e-12
    )


# --- domination ----------------------------------------------------------------------------------------------------


def fresh_xy(case: Problem, added: np.ndarray) -> float:
    chosen = np.concatenate([case.base, added]).astype(int)
    return donsker_varadhan(case.critic[chosen], case.target[chosen])


@given(problems(), st.integers(0, 3))
def test_it_dominates_greedy_at_the_same_delta(case, seed):
    ours, base = exact(case, RNG(seed)), greedy(case)
    added = ours.added.tolist()
    assert len(added) == len(set(added)) == case.additions
    assert not set(added) & set(case.base.tolist())
    assert ours.information_xy == pytest.approx(fresh_xy(case, ours.added), abs=1e-12)
    if case.distance(base.information_xy) <= case.tolerance:
        assert case.distance(ours.information_xy) <= case.tolerance
        assert ours.information_sy >= base.information_sy - 1e-12
    else:
        assert case.distance(ours.information_xy) <= case.distance(base.information_xy)


@given(problems(largest=10), st.integers(0, 3))
def test_against_every_selection_of_a_small_pool(case, seed):
    free = np.flatnonzero(case.free)
    case = replace(case, additions=min(case.additions, 4, len(free)))
    best, possible = -1.0, False
    for added in combinations(free.tolist(), case.additions):
        if case.distance(fresh_xy(case, np.array(added, int))) <= case.tolerance:
            possible = True
            best = max(best, mutual_information(case.counts(np.array([*case.base, *added], int))))
    ours = exact(case, RNG(seed))
    within = case.distance(ours.information_xy) <= case.tolerance
    if not possible:
        assert not within
    if within:
        assert ours.information_sy <= best + 1e-12
    if case.tolerance >= 10:  # nothing is forbidden: the maximum of all selections
        assert ours.information_sy == pytest.approx(best, abs=1e-12)


def test_it_finds_more_than_greedy_where_single_steps_mislead():
    """The base leans one way, the pool has more to give the other way: greedy follows the base."""
    cells = np.array([0, 0, 3, 3, 1, 2] + [0] * 3 + [3] * 3 + [1] * 30 + [2] * 30)
    s, y = np.divmod(cells, 2)
    case = Problem(np.zeros((len(cells), 2)), s, y, np.arange(6), 40, 0.0, 1.0)
    base, ours = greedy(case), exact(case, RNG(0))
    assert base.violations == ours.violations == 0
    assert ours.information_sy > base.information_sy + 0.05


@pytest.mark.parametrize("seed", range(6))
def test_it_meets_a_delta_that_a_random_draw_misses(seed):
    case = problem(seed, pool=600, n=150, tolerance=1e-4)
    case = replace(case, aim=case.aim + 0.05)
    ours = exact(case, RNG(seed))
    assert case.distance(ours.information_xy) <= case.tolerance
    assert ours.violations == 0
    table = case.counts(ours.added)
    available = np.array([len(c) for c in case.candidates]).reshape(2, 2)
    assert mutual_information(case.counts(case.base) + table) == pytest.approx(
        allocations(case.counts(case.base), available, case.additions)[1][0], abs=1e-12
    )


@given(problems(), st.integers(0, 3))
def test_an_exchange_keeps_the_counts_and_comes_no_further_from_the_aim(case, seed):
    added = RNG(seed).permutation(np.flatnonzero(case.free))[: case.additions]
    found = exchange(case, added)
    assert len(set(found.tolist())) == len(added)
    assert case.counts(found).tolist() == case.counts(added).tolist()
    assert not set(found.tolist()) & set(case.base.tolist())
    assert case.distance(fresh_xy(case, found)) <= case.distance(fresh_xy(case, added)) + 1e-12


def test_a_draw_within_delta_stays_as_it_is():
    case = problem(0, tolerance=10.0)
    added = np.flatnonzero(case.free)[: case.additions]
    assert exchange(case, added).tolist() == added.tolist()


def test_the_seed_of_the_draw_fixes_the_records():
    case = problem(1, pool=300, n=60)
    draws = [exact(case, RNG(seed)).added.tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_cells_taken_whole_are_counted_as_exhausted():
    case = problem(2, pool=40, n=40, tolerance=10.0)
    assert exact(case, RNG(0)).exhausted == sum(len(c) > 0 for c in case.candidates)
    assert exact(problem(2, pool=4000, n=40, tolerance=10.0), RNG(0)).exhausted == 0


def test_the_first_order_effect_points_the_way():
    case = problem(5, pool=300, n=100, tolerance=1e-6)
    added = np.flatnonzero(case.free)[:50]
    bound = RunningBound(case.critic, case.target, np.concatenate([case.base, added]))
    now, effect = bound.bound, bound.marginal()
    same = [
        i for i in np.flatnonzero(case.free)[50:].tolist() if case.cells[i] == case.cells[added[0]]
    ]
    changes = []
    for into in same:
        bound.swap(int(added[0]), into)
        changes.append(bound.bound - now)
        bound.swap(into, int(added[0]))
    assert changes == pytest.approx((effect[same] - effect[added[0]]).tolist(), abs=2e-3)
