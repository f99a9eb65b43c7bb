"""What trains on a table takes at most 20,000 rows, drawn, and says so."""

import numpy as np
import pytest

import diffshare as ds
from diffshare.receiver import training_rows as module
from diffshare.receiver.training_rows import MOST_ROWS, training_note, training_rows


def test_all_rows_or_so_many_by_chance():
    assert training_rows(500, 0).tolist() == list(range(500))
    drawn = training_rows(50_000, 3)
    assert len(np.unique(drawn)) == MOST_ROWS
    assert (np.diff(drawn) > 0).all()
    assert np.array_equal(drawn, training_rows(50_000, 3))
    assert not np.array_equal(drawn, training_rows(50_000, 4))
    assert abs(drawn.mean() - 25_000) < 5 * 50_000 / np.sqrt(12 * MOST_ROWS)
    assert training_note(MOST_ROWS, "x") == ""


def rows(count, seed):
    rng = np.random.default_rng(seed)
    s, y = rng.integers(0, 2, (2, count))
    return {"a": rng.normal(size=count) + s, "s": s, "y": y}


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 300)
    return 300


def test_a_reader_learns_from_so_many_and_the_notes_say_it(few, monkeypatch):
    own = ds.Records.from_frame(rows(1000, 0), target="y", sensitive="s")
    seen: list[int] = []

    class Counted(ds_recipe()):
        def train(self, x, labels, classes, seed, categorical):
            seen.append(len(x))
            return super().train(x, labels, classes, seed, categorical)

    samples = ds.Samples(rows(800, 1))
    share = ds.infer_property(samples, own, "s", withhold="s", classifier=Counted())
    assert max(seen) <= few
    assert any("300 of the 1,000 rows of the reference" in note for note in share.notes)
    audit = ds.audit(samples, own, gap_repeats=2, downstream=Counted())
    assert max(seen) <= few
    assert any("300 of the 800 rows of the samples" in note for note in audit.notes)


def ds_recipe():
    from diffshare.classifiers.recipes import KernelRecipe

    return KernelRecipe
