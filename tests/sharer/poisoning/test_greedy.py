"""Greedy, against one that computes everything afresh and against the published algorithm."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from problems import problem, problems

from diffshare.sharer.poisoning.greedy import SAME, greedy, paper
from diffshare.sharer.poisoning.problem import Problem, Selection
from diffshare.stats.information import donsker_varadhan, mutual_information


def fresh_xy(case: Problem, chosen: list[int]) -> float:
    return donsker_varadhan(case.critic[chosen], case.target[chosen])


def gains_of(case: Problem, chosen: list[int]) -> list[float]:
    """Gain in I(S;Y) of each cell, computed afresh."""
    counts = case.counts(np.array(chosen, int))
    found = []
    for cell in range(counts.size):
        more = counts.copy()
        more.ravel()[cell] += 1
        found.append(mutual_information(more) - mutual_information(counts))
    return found


def slow(case: Problem) -> tuple[list[int], int, int, bool]:
    """The same choice without running sums: added records, violations, steps with a used-up cell, whether gains tied.

    At each step: of the cells with the highest gain, the record nearest to the aim; where it is outside delta, those
    with the next gain too, and so on; where none is inside, the nearest of all.
    """
    chosen, added = case.base.tolist(), []
    violations = exhausted = 0
    tied = False
    for _ in range(case.additions):
        gains = gains_of(case, chosen)
        left = sorted(range(len(gains)), key=lambda cell: -gains[cell])
        found: tuple[float, int, int] | None = None
        short = False
        while left and not (found and found[0] <= case.tolerance):
            tier = [cell for cell in left if gains[left[0]] - gains[cell] <= SAME]
            left = [cell for cell in left if cell not in tier]
            tied |= len(tier) > 1
            for cell in sorted(tier):
                free = [i for i in np.flatnonzero(case.cells == cell).tolist() if i not in chosen]
                short |= not free
                for i in free:
                    distance = abs(fresh_xy(case, [*chosen, i]) - case.aim)
                    if found is None or distance < found[0] - SAME:
                        found = (distance, cell, i)
        assert found is not None
        violations += found[0] > case.tolerance
        exhausted += short
        chosen.append(found[2])
        added.append(found[2])
    return added, violations, exhausted, tied


def check(case: Problem, found: Selection) -> None:
    """What holds for every policy that goes by steps."""
    added = found.added.tolist()
    assert len(added) == len(set(added)) == case.additions
    assert not set(added) & set(case.base.tolist())
    chosen = [*case.base.tolist(), *added]
    assert found.information_sy == pytest.approx(
        mutual_information(case.counts(np.array(chosen, int))), abs=1e-12
    )
    assert found.information_xy == pytest.approx(fresh_xy(case, chosen), abs=1e-12)
    steps = [fresh_xy(case, chosen[: len(case.base) + k + 1]) for k in range(case.additions)]
    assert found.trace == pytest.approx(steps, abs=1e-9)
    assert found.violations == sum(abs(step - case.aim) > case.tolerance for step in found.trace)


@given(problems())
def test_every_step_is_recorded_as_it_was(case):
    check(case, greedy(case))


@given(problems(largest=25))
def test_it_chooses_what_the_slow_one_chooses(case):
    found = greedy(case)
    added, violations, exhausted, _ = slow(case)
    assert found.added.tolist() == added
    assert (found.violations, found.exhausted) == (violations, exhausted)


@pytest.mark.parametrize("seed", range(5))
def test_where_records_abound_the_constraint_holds_at_every_step(seed):
    case = problem(seed, pool=2000, n=400, tolerance=0.01)
    case = replace(case, aim=fresh_xy(case, case.base.tolist()))  # the base meets it
    found = greedy(case)
    check(case, found)
    assert (found.violations, found.exhausted) == (0, 0)
    assert np.abs(found.trace - case.aim).max() <= case.tolerance
    assert found.information_sy > 0.1  # half of the set chosen: 0.13 from even cells


# --- against the published algorithm -------------------------------------------------------------------------------


def published(case: Problem, candidates: int = 100, seed: int = 0) -> Selection:
    return paper(
        case,
        lambda chosen: fresh_xy(case, chosen.tolist()),
        np.random.default_rng(seed),
        candidates,
    )


@given(problems(largest=30), st.integers(1, 5))
def test_the_published_one_keeps_its_books_too(case, candidates):
    check(case, published(case, candidates))


@given(problems(largest=30))
def test_they_agree_where_the_published_one_has_no_weakness(case):
    """All records looked at, no equal gains, no step that is infeasible."""
    added, violations, exhausted, tied = slow(case)
    assume(not tied and not violations)
    theirs = published(case, candidates=10**6)
    assert theirs.added.tolist() == added == greedy(case).added.tolist()
    assert theirs.exhausted == exhausted


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shape", [(2, 2), (3, 3)])
def test_the_objective_is_at_least_as_high(seed, shape):
    case = problem(seed, pool=400, n=100, tolerance=0.03, shape=shape)
    ours, theirs = greedy(case), published(case, candidates=20)
    assert ours.information_sy >= theirs.information_sy - 1e-12
    assert ours.violations <= theirs.violations


def flat(
    cells: list[int], base: list[int], additions: int, values: list[float], tolerance: float
) -> Problem:
    """A 2 x 2 problem whose critic is ``values`` for class 1 and 0 for class 0."""
    s, y = np.divmod(np.array(cells), 2)
    critic = np.stack([np.zeros(len(cells)), np.array(values)], 1)
    return Problem(critic, s, y, np.array(base), additions, 0.0, tolerance)


def test_of_the_published_weaknesses_one_is_a_step_that_takes_the_worst_cell():
    # base: one of each and a second of (0,0): the best cell is (1,1)
    cells = [
        0,
        1,
        2,
        3,
        0,
        0,
        3,
        3,
        1,
        2,
        2,
    ]
    values = [0.0] * 11
    case = flat(cells, [0, 1, 2, 3, 4], 1, values, 1e-9)
    case = replace(case, aim=1.0)  # nothing comes near it
    gains = gains_of(case, case.base.tolist())
    theirs, ours = published(case), greedy(case)
    assert (theirs.violations, ours.violations) == (1, 1)
    assert gains[case.cells[theirs.added[0]]] == pytest.approx(min(gains), abs=1e-12)
    # all are equally far from the aim: the first of the best cell
    assert ours.added.tolist() == [6]


@given(problems(largest=25))
def test_a_step_that_nothing_satisfies_takes_what_exceeds_least(case):
    case = replace(case, aim=case.aim + 50, additions=min(case.additions, 3))
    assert greedy(case).violations == case.additions
    chosen = case.base.tolist()
    for record in greedy(case).added.tolist():
        free = [i for i in range(len(case.target)) if i not in chosen]
        distances = [abs(fresh_xy(case, [*chosen, i]) - case.aim) for i in free]
        assert abs(fresh_xy(case, [*chosen, record]) - case.aim) == pytest.approx(
            min(distances), abs=1e-9
        )
        chosen.append(record)


def test_cells_of_equal_gain_are_searched_together_and_the_published_one_loses_all_but_the_last():
    # one record of each cell: (0,0) and (1,1) gain equally, as do (0,1) and (1,0); the record that fits is in (0,0)
    cells, values = [0, 1, 2, 3, 0, 3, 1, 2], [0.0, 0.0, 0.0, 0.0, 0.0, 9.0, 9.0, 9.0]
    case = flat(cells, [0, 1, 2, 3], 1, values, 1e-6)
    assert gains_of(case, [0, 1, 2, 3]) == pytest.approx(
        [gains_of(case, [0, 1, 2, 3])[0]] * 4, abs=1e-15
    )
    assert greedy(case).added.tolist() == [4]
    assert greedy(case).violations == 0
    calls = []
    theirs = paper(
        case,
        lambda chosen: calls.append(chosen[-1]) or fresh_xy(case, chosen.tolist()),
        np.random.default_rng(0),
    )
    assert len(set(case.cells[calls].tolist())) < 4
    assert theirs.information_sy <= greedy(case).information_sy + 1e-12


def test_of_records_that_are_equally_near_the_first_is_taken():
    case = flat([0, 1, 2, 3, 3, 0, 3, 0], [0, 1, 2, 3], 4, [0.0] * 8, 1.0)
    # all four gains are equal: (0,0) first; then (1,1) completes it; then equal again
    assert greedy(case).added.tolist() == [5, 4, 7, 6]


# --- cells that are used up ----------------------------------------------------------------------------------------


def test_a_used_up_cell_passes_to_the_next_best_and_is_counted():
    # base: two of (0,0) and (1,1), which gain most; one more of each is left
    cells = [
        0,
        0,
        1,
        2,
        3,
        3,
        0,
        3,
        1,
        2,
        2,
    ]
    case = flat(cells, [0, 1, 2, 3, 4, 5], 4, [0.0] * 11, 1.0)
    found = greedy(case)
    assert case.cells[found.added].tolist()[:2] == [0, 3]
    assert sorted(case.cells[found.added].tolist()[2:]) != [0, 3]
    assert found.exhausted == 2
    check(case, found)


@given(problems(largest=20))
def test_the_whole_pool_can_be_taken(case):
    rest = int(case.free.sum())
    whole = replace(case, additions=rest)
    for found in (greedy(whole), published(whole, 3)):
        assert sorted([*whole.base.tolist(), *found.added.tolist()]) == list(
            range(len(whole.target))
        )


def test_the_published_one_counts_only_cells_that_promised_more():
    # (0,0) alone is used up and, the base holding most of it, promises least
    cells = [0] * 6 + [3, 1, 2, 3, 3, 3, 3]
    case = flat(cells, [*range(6), 6, 7, 8], 2, [0.0] * 13, 1.0)
    gains = gains_of(case, case.base.tolist())
    assert gains[0] < gains[3]
    assert (published(case).exhausted, greedy(case).exhausted) == (0, 0)


def test_it_looks_at_so_many_candidates_of_a_cell_and_no_more():
    case = problem(3, pool=400, n=40, tolerance=10.0)  # the first cell always fits
    sizes: list[int] = []
    paper(case, lambda chosen: sizes.append(len(chosen)) or 0.0, np.random.default_rng(0), 7)
    assert np.bincount(sizes)[len(case.base) + 1 :].tolist() == [7] * case.additions
