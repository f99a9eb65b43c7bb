"""What an audit's file may name and set of the reference and the classifier that ``repair`` builds of it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentError

from diffshare.audits.repair.audit_file import read_audited
from diffshare.classifiers.recipes import NetworkRecipe
from diffshare.data.rendered import RenderedFaces
from diffshare.errors import UserError

FACES = {"count": 100, "image_size": 16, "seed": 1, "prevalence": {"Male": 0.5}}
NETWORK = {
    "class_path": "diffshare.nets.classifiers.SmallResNet",
    "init_args": {"width": 8, "dropout": 0.0},
}
STEPS = {"network": NETWORK, "steps": 7, "batch_size": 5}
CSV = "diffshare.data.table.CSVTable"


def built(folder: Path, name: str, class_path: str, **settings: Any) -> Any:
    blocks = {
        "reference": None,
        "classifier": None,
        name: {"class_path": class_path, "init_args": settings},
    }
    common = {
        "part": "auxiliary",
        "pool": "natural",
        "split_seed": 0,
        "folds": 2,
        "degrade": False,
        "seed": 3,
    }
    value = {
        "samples_sha256": "0" * 64,
        "sensitive": "sex",
        "target": "income",
        "settings": blocks | common,
    }
    (folder / "a.json").write_text(json.dumps(value))
    return read_audited(folder / "a.json").built(name)  # type: ignore[arg-type]


def faces(folder: Path, **changes: Any) -> Any:
    return built(folder, "reference", "diffshare.data.rendered.RenderedFaces", **FACES | changes)


def recipe(folder: Path, **changes: Any) -> Any:
    return built(
        folder, "classifier", "diffshare.classifiers.recipes.NetworkRecipe", **STEPS | changes
    )


def resnet(**settings: Any) -> dict[str, Any]:
    return NETWORK | {"init_args": settings}


def test_what_an_audit_writes_is_built(tmp_path: Path):
    assert isinstance(faces(tmp_path), RenderedFaces)
    assert isinstance(recipe(tmp_path), NetworkRecipe)
    trees = built(
        tmp_path, "classifier", "diffshare.classifiers.recipes.TreesRecipe", trees=150, rate=0.1
    )
    assert trees.trees == 150


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": 3 * 10**8}, "'count' must be from -1 to 200000"),
        ({"count": 10**30}, "'count' must be from"),
        ({"count": 150_000, "image_size": 256}, "150000 images of 256 pixels are more than 4 GiB"),
        ({"image_size": 4096}, "'image_size' must be from -1 to 512"),
        ({"seed": -1}, "'seed' must be from 0"),
        ({"prevalence": {"Male": 1e300}}, "'Male' must be a number within"),
        ({"prevalence": {"x" * 5000: 0.5}}, "'a name' must be at most 4096 printable characters"),
        ({"prevalence": {"\x1b[2J": 0.5}}, "'a name' must be at most 4096 printable characters"),
        (
            {"shares": [0.1] * 20_000},
            "'the length of a list or a mapping' must be from -1 to 10000",
        ),
        ({"count": "many"}, "count"),
        ({"count": None}, "its reference cannot be built"),
        ({"nothing": 1}, "nothing"),
    ],
)
def test_a_reference_out_of_reason_is_refused(tmp_path: Path, changes: dict[str, Any], words: str):
    with pytest.raises((UserError, ArgumentError), match=words):
        faces(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 10**12}, "'steps' must be from -1 to 20000"),
        ({"batch_size": 1 << 20}, "'batch_size' must be from -1 to 4096"),
        ({"batch_size": None}, "its classifier cannot be built"),
        ({"network": resnet(width=10**6)}, "'width' must be from -1 to 512"),
        ({"network": resnet(width=7)}, "the network of its classifier cannot be built"),
        ({"network": resnet(width=512)}, "parameters, more than 50000000"),
        ({"network": resnet(dropout=5)}, "'dropout' must be a probability below 1"),
        (
            {"network": "os.system"},
            "'os.system' for the classifier, which is no class of diffshare",
        ),
        (
            {"network": "diffshare.nets.classifiers.torch.hub.load"},
            "which is no class of diffshare",
        ),
        ({"network": {"class_path": 3}}, "which is no class of diffshare"),
        ({"steps": "seven"}, "'seven' for the classifier, which is no class"),
    ],
)
def test_a_recipe_out_of_reason_is_refused(tmp_path: Path, changes: dict[str, Any], words: str):
    with pytest.raises((UserError, ArgumentError), match=words):
        recipe(tmp_path, **changes)


@pytest.mark.parametrize(
    "class_path",
    [
        "diffshare.data.module.MixDataModule",
        "diffshare.data.source.Source",
        "diffshare.data.shadow.ShadowDataModule",
        "diffshare.data.rendered.os.system",
        "diffshare.data.leaves_a_mark.X",
        "diffshare.classifiers.recipes.TreesRecipe",
    ],
)
def test_the_list_of_sources_is_exact(tmp_path: Path, class_path: str):
    with pytest.raises(UserError, match="which is no class of diffshare that may stand there"):
        built(tmp_path, "reference", class_path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_reference_that_is_no_file_is_not_waited_for(tmp_path: Path, kind: str):
    path = tmp_path / "x.csv"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    source = built(tmp_path, "reference", CSV, path=str(path), columns={"a": "numeric"})
    with pytest.raises(UserError, match="is not a regular file"):
        source.index()
