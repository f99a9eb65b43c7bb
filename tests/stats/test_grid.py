"""The coding of numbers by a grid: round trips, round bounds, and that bounds hardly move with the values."""

import numpy as np
import pytest
from scipy import stats

from diffshare.stats.grid import CELLS, coarse_bounds, from_cells, to_cells

BOUNDS = [
    (0.0, 100.0),
    (-5.0, 5.0),
    (1950.0, 2050.0),
    (-2e6, 1e7),
    (-3.0, -1.0),
    (0.0, 0.002),
    (0.0, 10.0),
]


@pytest.mark.parametrize("bounds", BOUNDS)
def test_values_come_back(bounds: tuple[float, float]) -> None:
    values = np.linspace(*bounds, 5001)
    cells, scores = to_cells(values, bounds, whole=False)
    assert cells.min() == 0
    assert cells.max() == CELLS - 1
    assert np.all(np.diff(cells) >= 0)
    again = from_cells(cells, scores, bounds, whole=False)
    assert np.abs(again - values).max() < 1e-4 * (bounds[1] - bounds[0])
    assert bounds[0] <= again.min() <= again.max() <= bounds[1]


@pytest.mark.parametrize("bounds", [b for b in BOUNDS if 1 <= b[1] - b[0] < 1e4])
def test_whole_numbers_come_back_exactly(bounds: tuple[float, float]) -> None:
    values = np.unique(np.round(np.linspace(*bounds, 3001)))
    count = min(CELLS, len(values))
    cells, scores = to_cells(values, bounds, count, whole=True)
    np.testing.assert_array_equal(from_cells(cells, scores, bounds, count, whole=True), values)
    if count < CELLS:  # each has a cell of its own
        assert len(np.unique(cells)) == count
        assert np.abs(scores).max() < 1e-9


def test_what_lies_beyond_counts_as_the_bound_and_any_score_decodes_within() -> None:
    for whole in (False, True):
        cells, scores = to_cells(np.array([-7.0, 150.0]), (0.0, 100.0), whole=whole)
        assert from_cells(cells, scores, (0.0, 100.0), whole=whole) == pytest.approx(
            [0, 100], abs=0.01
        )
        wild = from_cells(
            np.repeat(np.arange(CELLS), 2), np.tile([-40.0, 40.0], CELLS), (0.0, 100.0), whole=whole
        )
        assert ((wild >= 0) & (wild <= 100)).all()
        assert np.all(np.diff(wild) >= 0)


def test_an_even_spread_in_a_cell_is_standard_normal() -> None:
    _, scores = to_cells(
        np.random.default_rng(0).uniform(1900, 2000, 50_000), (1900.0, 2000.0), whole=False
    )
    assert stats.kstest(scores, "norm").pvalue > 0.01


def test_long_tails_are_spread_over_many_cells() -> None:
    values = np.random.default_rng(0).lognormal(0, 2, 20_000)
    cells, _ = to_cells(values, coarse_bounds(values, 10, (0.5, 0, 0)), whole=False)
    assert np.bincount(cells, minlength=CELLS).max() < 0.5 * len(values)


PLAIN = (0.0, 0.0, 0.0)  # no dither


@pytest.mark.parametrize(
    ("values", "whole", "dither", "expected"),
    [
        (np.arange(17, 91), True, PLAIN, (0, 100)),
        (np.arange(17, 91), True, (0.5, 0.5, 0.5), (0, 1000)),
        (np.arange(17, 91), True, (0.0, 0.5, 0.5), (0, 200)),
        (np.arange(1950, 2025), True, PLAIN, (1900, 2100)),
        (np.arange(1950, 2025), True, (0.0, 0.7, 0.9), (1800, 2200)),
        (np.repeat([0, 1], 50), True, PLAIN, (0, 1)),
        (np.linspace(-3.1, 2.9, 400), False, PLAIN, (-10, 10)),
        (np.linspace(-3.1, 2.9, 400), False, (0.9, 0.98, 0.2), (-200, 100)),
        (np.full(60, 37.5), False, PLAIN, (0, 100)),
        (np.full(60, -3), True, PLAIN, (-10, 0)),
        (np.zeros(60), True, PLAIN, (0, 1)),
        (np.linspace(-0.0031, -0.0012, 300), False, PLAIN, (-0.01, 0)),
    ],
)
def test_bounds_are_round_and_hold_the_values(
    values: np.ndarray,
    whole: bool,
    dither: tuple[float, float, float],
    expected: tuple[float, float],
) -> None:
    bounds = coarse_bounds(np.repeat(values, 5).astype(np.float32), 5, dither, whole=whole)
    assert bounds == pytest.approx(expected)


def test_fewer_values_than_it_takes_move_no_bound() -> None:
    values = np.random.default_rng(0).normal(50, 10, 2000)
    plain = coarse_bounds(values, 10, PLAIN)
    assert coarse_bounds(np.concatenate([values, np.full(9, 1e6)]), 10, PLAIN) == plain
    assert coarse_bounds(np.concatenate([values, np.full(10, 1e6)]), 10, PLAIN) != plain


def test_an_end_that_moves_makes_other_bounds_as_rarely_as_it_moves_little() -> None:
    """Between 90 and 110 lies a round number, which a reader who does not know the dither does not see."""
    rng = np.random.default_rng(0)
    pairs = [
        [coarse_bounds(np.repeat([0.0, end], 9), 5, dither) for end in (90.0, 110.0)]
        for dither in [tuple(rng.random(3).tolist()) for _ in range(2000)]
    ]
    assert np.mean([a != b for a, b in pairs]) == pytest.approx(np.log10(110 / 90), abs=0.06)
    for _, (low, high) in pairs:
        assert low == 0
        assert 110 <= high <= 110 * 200
