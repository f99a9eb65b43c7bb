"""Weights inside the cells: what was chosen there looks like the reference again, and the table stays as it is."""

import numpy as np
import pytest

from diffshare.audits.repair.inside import inside_weights, scaled
from diffshare.audits.repair.repair import Reading, solve
from diffshare.data.source import Attribute
from diffshare.data.table import Column
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples
from diffshare.stats.reweighing import effective_size

COLUMNS = [Column(str(i), "numeric") for i in range(3)] + [Column("s", "categorical", ("a", "b"))]


def drawn(n, rng, apart=0.0):
    s = rng.integers(0, 2, n)
    y = (rng.random(n) < 0.35 + 0.15 * s).astype(np.int64)
    x = rng.normal(size=(n, 3))
    x[:, 0] += 1.2 * y - apart * (2 * s - 1)
    return np.column_stack([x, s]).astype(np.float32), y, s


def sides(seed, apart, samples=2000, records=4000):
    rng = np.random.default_rng(seed)
    x, y, s = drawn(records, rng)
    attributes = {
        "y": Attribute(y.astype(np.int16), ("no", "yes")),
        "s": Attribute(s.astype(np.int16), ("a", "b")),
    }
    reference = Records.from_codes(x, attributes, target="y", columns=COLUMNS, sensitive=("s",))
    x, y, s = drawn(samples, rng, apart)
    return reference, CodedSamples(x, y, {"s": s.astype(np.int64)})


def moved(reference, samples, weights):
    """Mean of the first column in each cell, of weighted samples minus that of records."""
    s, ours = samples.groups["s"], reference.attributes["s"].codes
    return np.array(
        [
            np.average(samples.x[cell, 0], weights=weights[cell])
            - reference.x[(ours == g) & (reference.y == k), 0].mean()
            for g in (0, 1)
            for k in (0, 1)
            if (cell := (s == g) & (samples.y == k)).any()
        ]
    )


def test_most_of_a_shift_inside_the_cells_is_gone_and_every_cell_keeps_its_mass():
    reference, samples = sides(0, apart=0.5)
    weights = inside_weights(reference, samples, samples.groups["s"])
    before, after = (moved(reference, samples, w) for w in (np.ones(2000), weights))
    assert np.abs(before).min() > 0.35
    assert np.abs(after).mean() < 0.35 * np.abs(before).mean()
    for g in (0, 1):
        for k in (0, 1):
            cell = (samples.groups["s"] == g) & (samples.y == k)
            assert weights[cell].mean() == pytest.approx(1)


def test_samples_drawn_like_the_records_keep_weights_near_1():
    reference, samples = sides(1, apart=0.0)
    weights = inside_weights(reference, samples, samples.groups["s"])
    assert effective_size(weights) > 0.8 * len(weights)


def test_the_repair_of_this_kind_keeps_the_wanted_shares_too():
    reference, samples = sides(2, apart=0.5)
    table = reference.table(reference.group("s"))
    wanted = (table / table.sum(0)).T
    weights = solve(reference, samples, wanted, Reading("s"), weights="inside").repair.weights
    for k in (0, 1):
        of = samples.y == k
        share = np.average(samples.groups["s"][of] == 1, weights=weights[of])
        assert share == pytest.approx(wanted[k, 1], abs=1e-6)
        assert weights[of].mean() == pytest.approx(1)
    assert np.abs(moved(reference, samples, weights)).mean() < 0.2


def test_a_largest_weight_holds_before_the_last_scaling_and_unknown_groups_keep_1():
    weights = np.array([1.0] * 99 + [1000.0, 5.0])
    group, y = np.array([0] * 100 + [-1]), np.zeros(101, np.int64)
    result = scaled(weights, group, y, 10.0)
    assert result[-1] == 1
    assert result[:100].mean() == pytest.approx(1)
    assert result[99] / result[0] <= 10.0 / (1 / np.mean(weights[:100])) + 1e-9
