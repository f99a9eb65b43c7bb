"""Features of records: one finite row each, a function of the pool and the seed, nothing of Y in a table's X."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pools import even, pictures, pool
from scipy.spatial.distance import pdist

from diffshare.data.source import Attribute, Index
from diffshare.errors import UserError
from diffshare.sharer.poisoning.features import (
    PCA,
    ClassifierFeatures,
    ClipFeatures,
    Precomputed,
    Raw,
    checked,
)

S, Y = even(60)
PICTURES = pool(S, Y, pictures(S, Y))


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.zeros((59, 3)), "the mix's features are 59 x 3, the pool has 60 records"),
        (np.zeros(60), "the mix's features are 60, the pool has 60 records: one row for each"),
        (np.zeros((60, 3, 1)), "are 60 x 3 x 1"),
        (np.where(np.eye(60) > 0, np.nan, 0.0)[:, :7], "NaN or infinity in 7 of 60 records"),
        (np.full((60, 2), np.inf), "NaN or infinity in 60 of 60 records"),
        (np.full((60, 2), 1e300), "NaN or infinity in 60 of 60 records"),  # more than float32 holds
    ],
)
def test_features_of_another_length_or_without_a_value(features, words):
    with pytest.raises(UserError, match=words):
        checked(features, 60)


def test_good_features_become_float32():
    found = checked(np.arange(6).reshape(3, 2), 3)
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("features", [Raw(), PCA(), ClassifierFeatures(), ClipFeatures("x")])
def test_a_pool_that_cannot_be_read(features, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", _FakeTransformers)
    other = pool(S, Y, pictures(S, Y))
    with pytest.raises(UserError, match="this pool gives only their names"):
        features.compute(pool(S, Y, auxiliary=other), 0)


class _FakeTransformers:
    CLIPImageProcessor = CLIPVisionModelWithProjection = None


# --- raw values ----------------------------------------------------------------------------------------------------


def test_pictures_are_flattened():
    found = Raw().compute(PICTURES, 0)
    assert found.dtype == np.float32
    assert np.array_equal(found, pictures(S, Y).reshape(60, -1) / np.float32(255))


def table(**columns: tuple[list[float], list[int] | None]):
    """A pool over a table; of each column its values and, where it is categorical, its codes as an attribute."""
    x = np.array([values for values, _ in columns.values()], np.float32).T
    attributes = {
        name: Attribute(np.array(codes, np.int16), tuple("abcd"))
        for name, (_, codes) in columns.items()
        if codes is not None
    }
    index = Index(np.arange(len(x)).astype(str), np.zeros(len(x), np.int64), attributes)
    return replace(pool(S, Y), index=index, read=lambda positions: x[positions])


def test_of_a_table_the_target_is_no_feature_categories_are_and_numbers_have_one_unit():
    found = Raw().compute(
        table(
            Y=([0, 1, 1, 0], [0, 1, 1, 0]),
            age=([10, 20, 30, 40], None),
            # a missing cell: a code of its own, unknown as an attribute
            land=(
                [2, 0, 3, 2],
                [2, 0, -1, 2],
            ),
            S=([1, 1, 0, 0], [1, 1, 0, 0]),
            same=([7, 7, 7, 7], None),
        ),
        0,
    )
    age = np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25)
    land = [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]]
    group = [[0, 1], [0, 1], [1, 0], [1, 0]]
    assert found == pytest.approx(np.column_stack([age, land, group, np.zeros(4)]), abs=1e-6)


def test_a_missing_number_stays_missing_and_is_refused():
    features = Raw().compute(
        table(Y=([0, 1], [0, 1]), S=([0, 1], [0, 1]), age=([np.nan, 1], None)), 0
    )
    with pytest.raises(UserError, match="NaN or infinity in 1 of 2"):
        checked(features, 2)


# --- principal components ------------------------------------------------------------------------------------------


def test_all_components_keep_every_distance():
    x = pictures(S, Y, size=4)
    found = PCA(100).compute(pool(S, Y, x), 0)
    assert found.shape == (60, 16)
    assert pdist(found) == pytest.approx(pdist(x.reshape(60, -1) / 255.0), rel=1e-4)


def test_components_come_by_falling_variance_and_do_not_depend_on_labels():
    found = PCA(5).compute(PICTURES, 3)
    assert found.shape == (60, 5)
    variance = found.var(0)
    assert (np.diff(variance) <= 0).all()
    assert np.corrcoef(found.T) == pytest.approx(np.eye(5), abs=1e-3)
    assert np.array_equal(found, PCA(5).compute(pool(Y, S, pictures(S, Y)), 3))
    with pytest.raises(UserError, match="features.components is 0"):
        PCA(0)


# --- a classifier's --------------------------------------------------------------------------------------------------


def test_a_classifier_learns_on_the_auxiliary_part_alone():
    s, y = even(80)
    auxiliary = pool(s, y, pictures(s, y, seed=1), first=1000)
    features = ClassifierFeatures(steps=25, width=8, batch_size=20)
    found = features.compute(replace(PICTURES, auxiliary=auxiliary), 0)
    assert found.shape == (60, 32)
    assert np.isfinite(found).all()
    flipped = replace(pool(1 - S, 1 - Y, pictures(S, Y)), auxiliary=auxiliary)
    assert np.array_equal(features.compute(flipped, 0), found)  # labels of the pool play no part
    means = np.stack([found[k == Y].mean(0) for k in (0, 1)])
    nearest = np.linalg.norm(found[:, None] - means, axis=2).argmin(1)
    assert np.mean(nearest == Y) > 0.9  # features of the class


def test_a_classifier_needs_an_auxiliary_part_and_pictures():
    for none in (None, PICTURES_NONE):
        with pytest.raises(UserError, match="the source's auxiliary part, which is empty here"):
            ClassifierFeatures().compute(replace(PICTURES, auxiliary=none), 0)
    rows = np.zeros((60, 3), np.float32)
    tables = pool(S, Y, rows, auxiliary=pool(S, Y, rows))
    with pytest.raises(UserError, match="is for images: use .*Raw for tables"):
        ClassifierFeatures().compute(tables, 0)


PICTURES_NONE = replace(PICTURES, index=PICTURES.index.take(np.zeros(0, int)))


# --- CLIP's ----------------------------------------------------------------------------------------------------------


def test_clip_without_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"needs transformers: pip install 'diffshare\[clip\]'"):
        ClipFeatures("somewhere").compute(PICTURES, 0)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A tiny CLIP of random weights, as a folder."""
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8,
        projection_dim=12,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "clip")
    size = {"height": 16, "width": 16}
    transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=size).save_pretrained(
        tmp_path / "clip"
    )
    return tmp_path / "clip"


def test_clip_from_a_folder(clip):
    colour = np.repeat(pictures(S, Y), 3, axis=3)
    found = ClipFeatures(str(clip), batch_size=7).compute(pool(S, Y, colour), 0)
    assert found.shape == (60, 12)
    assert found == pytest.approx(ClipFeatures(str(clip)).compute(pool(S, Y, colour), 1), abs=1e-5)
    grey = ClipFeatures(str(clip)).compute(PICTURES, 0)
    assert grey == pytest.approx(found, abs=1e-4)  # a grey picture is its own three channels


def test_a_clip_that_is_not_there_is_not_fetched(tmp_path):
    pytest.importorskip("transformers")
    for path in (tmp_path / "none", "nobody/has-this-model"):
        with pytest.raises(UserError, match="no CLIP model at .*: name a folder"):
            ClipFeatures(str(path)).compute(PICTURES, 0)


# --- made elsewhere --------------------------------------------------------------------------------------------------


def test_features_of_another_tool_are_found_by_name(tmp_path):
    order = np.random.default_rng(0).permutation(100)  # of the whole source, in an order of its own
    values = np.arange(200.0).reshape(100, 2)
    np.savez(tmp_path / "f.npz", record=order.astype(str), features=values[order])
    assert np.array_equal(
        Precomputed(tmp_path / "f.npz").compute(PICTURES, 0), values[:60].astype(np.float32)
    )


NAMES = np.arange(60).astype(str)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"record": NAMES, "features": np.zeros((59, 2))},
            r"has 60 names and features of shape \(59, 2\)",
        ),
        ({"record": NAMES, "features": np.zeros(60)}, r"features of shape \(60,\)"),
        ({"record": NAMES, "features": np.zeros(())}, r"features of shape \(\)"),
        (
            {"record": NAMES[:58], "features": np.zeros((58, 2))},
            "lacks 2 of 60 records, the first is '58'",
        ),
        ({"record": np.full(60, "0"), "features": np.zeros((60, 2))}, "names '0' twice"),
        ({"features": np.zeros((60, 2))}, r"cannot be read \(KeyError\)"),
        ({"record": NAMES, "features": np.full((60, 2), "x")}, r"cannot be read \(ValueError\)"),
        ({"record": NAMES, "features": np.full((60, 2), None)}, r"cannot be read \(ValueError\)"),
    ],
)
def test_files_that_do_not_fit(tmp_path, arrays, words):
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(UserError, match=words):
        Precomputed(tmp_path / "f.npz").compute(PICTURES, 0)


def test_files_that_are_no_npz(tmp_path):
    np.save(tmp_path / "f.npy", np.zeros((60, 2)))
    np.savez(tmp_path / "whole.npz", record=NAMES, features=np.zeros((60, 2)))
    whole = (tmp_path / "whole.npz").read_bytes()
    files = {
        "none": None,
        "text": b"hello",
        "empty": b"",
        "cut": whole[:-100],
        "npy": (tmp_path / "f.npy").read_bytes(),
    }
    for name, content in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="cannot be read .*: expected an .npz with the arrays"):
            Precomputed(tmp_path / name).compute(PICTURES, 0)
