"""Quantised training sets: the same counts for every share of a bin, and what the card says of it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffshare.data.mixes import Pool, Proportion
from diffshare.data.source import Attribute, Index
from diffshare.errors import UserError
from diffshare.release.folder import open_release
from diffshare.sharer.protection.mixes import Balanced, Quantised

CONFIGS = Path(__file__).parents[3] / "configs"


def pool(with_it: int, without: int, unknown: int = 0) -> Pool:
    codes = np.repeat(np.array([1, 0, -1], np.int16), [with_it, without, unknown])
    attributes = {
        "Hat": Attribute(codes, ("not Hat", "Hat")),
        "Y": Attribute((np.arange(len(codes)) % 2).astype(np.int16), ("a", "b")),
    }
    names = np.array([str(i) for i in range(len(codes))])
    return Pool(Index(names, np.zeros(len(codes), np.int64), attributes), "Y", "Hat")


def hats(records: Pool, positions: np.ndarray) -> int:
    return int((records.s.codes[positions] == 1).sum())


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(0, 2**32))
def test_every_share_of_a_bin_has_the_same_training_counts_and_is_near_its_centre(bins, seed):
    rng = np.random.default_rng(seed)
    place = int(rng.integers(bins))
    counts = set()
    for share in rng.uniform((place + 0.01) / bins, (place + 0.99) / bins, 4):
        records = pool(round(4000 * share), 4000 - round(4000 * share))
        choice = Quantised(bins, 20).choose(records, seed % 1000)
        counts.add(hats(records, choice.positions))
        assert len(np.unique(choice.positions)) == 20
        assert abs(choice.report["p"] - choice.report["pool_share"]) <= 1 / (2 * bins) + 1e-3
    assert len(counts) == 1


def test_the_records_are_those_of_the_proportion_at_the_centre():
    records = pool(130, 370, unknown=50)
    made, plain = Quantised(4, 100).choose(records, 3), Proportion(0.375, 100).choose(records, 3)
    assert made.report["pool_share"] == 0.26  # of the known ones
    np.testing.assert_array_equal(made.positions, plain.positions)
    np.testing.assert_array_equal(made.target, plain.target)


@pytest.mark.parametrize(
    ("share", "centre"), [(0.0, 0.125), (0.25, 0.375), (0.999, 0.875), (1.0, 0.875)]
)
def test_an_edge_belongs_to_one_bin(share, centre):
    counts = round(1000 * share)
    records = pool(counts, 1000 - counts)
    if share in (0.0, 1.0):
        with pytest.raises(UserError, match="the pool has"):
            Quantised(4, 100).choose(records, 0)
    elif share == 0.999:
        with pytest.raises(UserError, match="12 without; the pool has 999 and 1"):
            Quantised(4, 100).choose(records, 0)
    else:
        assert Quantised(4, 100).choose(records, 0).report["p"] == centre


def test_balanced_is_one_bin_and_the_card_declares_both():
    records = pool(100, 300)
    made = Balanced(property="Hat").choose(records, 1)
    assert hats(records, made.positions) * 2 == len(made.positions) == 200
    assert made.report["protections"] == ["training set balanced by 'Hat'"]
    (said,) = Quantised(4, 100, property="Hat").choose(records, 1).report["protections"]
    assert said == "share of 'Hat' in the training set told in 4 bins only"


def test_what_cannot_be_quantised_is_refused():
    with pytest.raises(UserError, match="mix.bins is 0"):
        Quantised(0)
    with pytest.raises(UserError, match="unknown attribute 'Cap'"):
        Quantised(2, property="Cap").choose(pool(5, 5), 0)
    with pytest.raises(UserError, match="is known of no record"):
        Quantised(2).choose(pool(0, 0, 9), 0)
    nameless = Pool(pool(5, 5).index, "Y", None)
    with pytest.raises(
        UserError, match="the mix 'balanced' needs data.mix.property or data.sensitive"
    ):
        Balanced().choose(nameless, 0)


def test_the_card_of_a_model_trained_on_it_declares_it(run_cli, tmp_path):
    size = {
        "block_out_channels": [8] * 4,
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 4,
    }
    options = {
        "data.source.count": 200, "data.source.image_size": 8, "data.batch_size": 8, "trainer.max_steps": 1,
        "trainer.enable_progress_bar": "false", "data.mix.n": 40, "model.sampling_steps": 2, "data.sensitive": "Male",
    } | {f"model.denoiser.{key}": value for key, value in size.items()}  # fmt: skip
    arguments = [argument for key, value in options.items() for argument in (f"--{key}", value)]
    config, overlay = CONFIGS / "ddpm_faces.yaml", CONFIGS / "mix" / "quantised.yaml"
    outcome = run_cli(
        "fit", "--config", config, "--config", overlay, *arguments, "--run-dir", tmp_path / "run"
    )
    assert outcome.code == 0, outcome.err
    release = open_release(tmp_path / "run" / "release")
    assert release.card.protections == ("share of 'Male' in the training set told in 4 bins only",)
    again = run_cli(
        "release", "--ckpt", tmp_path / "run/checkpoints/last.ckpt", "--out", tmp_path / "again"
    )
    assert again.code == 0, again.err
    assert open_release(tmp_path / "again").card.protections == release.card.protections
    assert "protections: share of 'Male'" in (tmp_path / "again" / "README.md").read_text()
