"""Scores of the cells: what moves the groups alike is no shift apart, what moves one of them is."""

import numpy as np
import pytest
from scipy import stats

from diffshare.audits.poisoning.shift import LEAST, cells_shift


def side(n, seed, moved=(0.0, 0.0), groups=2):
    rng = np.random.default_rng(seed)
    s, y = rng.integers(0, groups, n), rng.integers(0, 2, n)
    return rng.normal(0.4 + 0.2 * y, 0.1) + np.asarray(moved)[s], s, y


def test_each_shift_and_the_p_value_are_those_of_welch():
    samples, records = side(400, 0, (0.0, 0.03)), side(600, 1)
    result = cells_shift(samples, records, 2, 2)
    smallest = []
    for y in (0, 1):
        differences = []
        for s in (0, 1):
            a, b = (v[(g == s) & (c == y)] for v, g, c in (samples, records))
            cell = result.cells[s][y]
            assert (cell.samples, cell.records) == (len(a), len(b))
            assert cell.shift == pytest.approx(a.mean() - b.mean())
            assert cell.error == pytest.approx(np.hypot(stats.sem(a), stats.sem(b)))
            differences.append((cell.shift, cell.error))
        z = (differences[1][0] - differences[0][0]) / np.hypot(*(e for _, e in differences))
        smallest.append(2 * stats.norm.sf(abs(z)))
    assert result.p_value == pytest.approx(min(1, 2 * min(smallest)))


def test_a_drift_of_both_groups_is_no_shift_apart_and_one_of_a_single_group_is():
    records = side(4000, 1)
    alike = cells_shift(side(3000, 0, (0.1, 0.1)), records, 2, 2)
    apart = cells_shift(side(3000, 0, (0.0, -0.05)), records, 2, 2)
    assert alike.p_value > 0.01
    assert apart.p_value < 1e-6
    assert all(one[2] < 0 and one[:2] == (1, 0) for one in apart.apart)


def test_under_no_shift_the_p_value_is_valid():
    p = [cells_shift(side(300, 2 * i), side(300, 2 * i + 1), 2, 2).p_value for i in range(400)]
    assert stats.binomtest(int(np.sum(np.array(p) < 0.05)), 400, 0.05, "greater").pvalue > 1e-3


def test_samples_of_unknown_group_and_cells_of_few_records_are_left_out_and_counted():
    score, s, y = side(200, 0)
    s = np.where((s == 1) & (y == 1), -1, s)
    s[np.flatnonzero((s < 0) & (y == 1))[: LEAST - 1]] = 1
    result = cells_shift((score, s, y), side(200, 1), 2, 2)
    assert result.cells[1][1].samples == LEAST - 1
    assert result.cells[1][1].shift is None
    assert result.apart[1] is None
    assert result.json()["cells"]["s1y1"]["interval"] is None
