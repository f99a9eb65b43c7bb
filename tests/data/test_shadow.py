"""Shadows as records: parts, proportions, refusals."""

import json

import numpy as np
import pytest

from diffshare.data.shadow import ShadowDataModule
from diffshare.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """Six shadows, of 10 samples of 3 features; feature 0 is the shadow's number."""
    entries = []
    for i, part in enumerate(["train", "val", "train", "test", "train", "train"]):
        x = np.random.default_rng(i).normal(size=(10, 3)).astype(np.float32)
        x[:, 0] = i
        np.save(tmp_path / f"{i}.npy", x)
        entries.append({"file": f"{i}.npy", "p": i / 10, "part": part})
    (tmp_path / "shadows.json").write_text(json.dumps({"shadows": entries}))
    return tmp_path


def change(folder, number: int, **fields) -> None:
    content = json.loads((folder / "shadows.json").read_text())
    content["shadows"][number] |= fields
    (folder / "shadows.json").write_text(json.dumps(content))


def test_a_shadow_keeps_its_samples_and_its_proportion(folder):
    data = ShadowDataModule(folder, batch_size=4)
    data.setup()
    assert {name: len(records) for name, records in data.sets.items()} == {
        "train": 4,
        "val": 1,
        "test": 1,
    }
    for records in data.sets.values():
        batch = records.__getitems__(list(range(len(records))))
        np.testing.assert_allclose(batch.x[:, 0, 0] / 10, batch.target)
        assert batch.x.shape[1:] == (10, 3)


@pytest.mark.parametrize(
    ("number", "fields", "words"),
    [
        (1, {"p": 1.5}, "the proportion 1.5: it lies in"),
        (1, {"p": "half"}, "the proportion half"),
        (2, {"part": "spare"}, "the part 'spare': expected train, val, test"),
        (3, {"file": "missing.npy"}, "cannot read .*missing.npy: make the shadows anew"),
        (0, {"part": "test"}, "has 3 shadows to train on, data.batch_size is 4"),
    ],
)
def test_an_index_that_is_none(folder, number, fields, words):
    change(folder, number, **fields)
    with pytest.raises(UserError, match=words):
        ShadowDataModule(folder, batch_size=4).setup()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((10, 4), np.float32), r"is \(10, 4\), .* is \(10, 3\)"),
        (np.zeros((10, 3)), "is no M x D of finite float32"),
        (np.full((10, 3), np.nan, np.float32), "is no M x D of finite float32"),
        (np.array([{}]), "cannot read"),  # a pickle: never loaded
    ],
)
def test_files_that_are_none(folder, array, words):
    np.save(folder / "3.npy", array)
    with pytest.raises(UserError, match=words):
        ShadowDataModule(folder, batch_size=4).setup()


@pytest.mark.parametrize("content", ["[]", "{}", '{"shadows": []}', '{"shadows": [{"p": 0.5}]}'])
def test_no_index(tmp_path, content):
    (tmp_path / "shadows.json").write_text(content)
    with pytest.raises(UserError, match=r"lists no shadows|an entry without file, p and part"):
        ShadowDataModule(tmp_path).setup()
