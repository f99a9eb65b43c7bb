"""The receiver's data drawn from a release: once, and the same as from the samples folder of the verb sample."""

import importlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from diffshare.data.rendered import RenderedFaces
from diffshare.data.source import Attribute, Index
from diffshare.data.synthetic import SyntheticDataModule
from diffshare.data.table import CSVTable
from diffshare.errors import UserError
from diffshare.receiver import drawn
from diffshare.receiver.drawn import DrawnDataModule

SCRIPTS = Path(__file__).parents[2] / "scripts"
SET = ("x", "rows", "target", "sensitive")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of two classes, 8 x 8 pixels."""
    folder = tmp_path_factory.mktemp("originals")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        importlib.import_module("hostile_originals").make_release(folder / "release")
    return folder / "release"


@pytest.fixture
def module(release, tmp_path) -> Callable[..., DrawnDataModule]:
    """A data module over 12 samples of the release with these options."""

    def make(model: Path = release, source: Any = None, **options: Any) -> DrawnDataModule:
        faces = RenderedFaces(count=100, image_size=8) if source is None else source
        settings = {
            "target": "Smiling",
            "sensitive": "Male",
            "count": 12,
            "steps": 2,
            "validation_share": 0.25,
        }
        return DrawnDataModule(
            model, faces, **{**settings, "cache_dir": tmp_path / "cache", **options}
        )

    return make


@pytest.fixture
def draws(monkeypatch) -> list[int]:
    """The number of samples of each drawing, as they happen."""
    counts: list[int] = []

    def counted(generator: Any, labels: np.ndarray, **options: Any) -> np.ndarray:
        counts.append(len(labels))
        return original(generator, labels, **options)

    original = drawn.draw_samples
    monkeypatch.setattr(drawn, "draw_samples", counted)
    return counts


def ready(data: DrawnDataModule) -> DrawnDataModule:
    data.prepare_data()
    data.setup()
    return data


def test_it_is_the_data_module_of_the_samples_that_the_verb_draws(
    module, release, run_cli, tmp_path
):
    options = ["--count", 12, "--labels", "balanced", "--seed", 5, "--steps", 2, "--guidance", 1.5]
    outcome = run_cli("sample", "--model", release, *options, "--out", tmp_path / "samples")
    assert outcome.code == 0, outcome.err
    mine = ready(module(sample_seed=5, guidance=1.5, batch_size=3))
    source = RenderedFaces(count=100, image_size=8)
    settings: dict[str, Any] = {
        "validation_share": 0.25,
        "cache_dir": tmp_path / "cache",
        "batch_size": 3,
    }
    theirs = SyntheticDataModule(tmp_path / "samples", source, "Smiling", "Male", **settings)
    theirs.setup()
    assert mine.sets.keys() == theirs.sets.keys() == {"train", "val", "test"}
    for name in mine.sets:
        for field in SET:
            np.testing.assert_array_equal(
                getattr(mine.sets[name], field), getattr(theirs.sets[name], field)
            )
    assert (mine.classes, mine.groups, mine.batch_size) == (
        theirs.classes,
        theirs.groups,
        theirs.batch_size,
    )
    facts = json.loads((mine.samples / "samples.json").read_text())
    told = json.loads((tmp_path / "samples" / "samples.json").read_text())
    for field in (
        "count",
        "labels",
        "seed",
        "steps",
        "guidance",
        "model",
        "queries",
        "classes",
        "network_calls",
    ):
        assert facts[field] == told[field], field


def test_samples_are_drawn_once_for_each_plan(module, draws, release, tmp_path):
    first = ready(module())
    # nothing that the samples depend on
    again = ready(module(batch_size=5, test_balance=True, seed=3))
    assert draws == [12]
    assert first.samples == again.samples
    moved = shutil.copytree(release, tmp_path / "renamed")
    assert ready(module(model=moved)).samples == first.samples
    assert draws == [12]
    others = [
        {"count": 13},
        {"guidance": 2.0},
        {"steps": 3},
        {"sample_seed": 1},
        {"labels": "natural"},
    ]
    folders = {ready(module(**option)).samples for option in others}
    assert draws == [12, 13, 12, 12, 12, 12]
    assert len(folders | {first.samples}) == 6


def test_natural_labels_are_those_that_the_card_declares(module):
    data = ready(module(labels="natural", count=10, validation_share=0))
    assert np.bincount(data.sets["train"].target).tolist() == [4, 6]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "Nose"}, "unknown attribute 'Nose'"),
        ({"sensitive": "Nose"}, "unknown attribute 'Nose'"),
        (
            {"source": RenderedFaces(count=100, image_size=16)},
            "has 16: set `data.test_source.image_size` 8",
        ),
        (
            {"source": RenderedFaces(count=9, image_size=8, shares=(0.5, 0.5, 0.0))},
            "the test part .* holds no records",
        ),
        ({"count": 0}, "`count` is 0: ask for at least 1 sample"),
        ({"guidance": -1.0}, "`guidance` is -1.0: it must be a number >= 0"),
        ({"model": Path("nowhere")}, "no such release: nowhere is not a folder"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_drawn(
    module, draws, tmp_path, options, said
):
    with pytest.raises(UserError, match=said):
        ready(module(**options))
    assert not (tmp_path / "cache" / "samples").exists()


# --- classes ---------------------------------------------------------------------------------------------------------


class Renamed(RenderedFaces):
    """Rendered faces whose ``Smiling`` has other names for its classes."""

    def __init__(self, *classes: str) -> None:
        super().__init__(count=100, image_size=8)
        self.classes = classes

    def index(self) -> Index:
        index = super().index()
        codes = index.attribute("Smiling").codes % len(self.classes)
        return replace(
            index, attributes={**index.attributes, "Smiling": Attribute(codes, self.classes)}
        )


def test_classes_of_a_model_are_joined_by_name(module):
    straight = ready(module(source=Renamed("a", "b"), validation_share=0))
    turned = ready(module(source=Renamed("b", "a"), validation_share=0))
    np.testing.assert_array_equal(turned.sets["train"].target, 1 - straight.sets["train"].target)
    assert straight.notes == turned.notes == ()
    unlike = ready(module(validation_share=0))
    np.testing.assert_array_equal(unlike.sets["train"].target, straight.sets["train"].target)
    assert (
        "are 'a', 'b', those of data.target 'Smiling' 'not Smiling', 'Smiling': no name fits"
        in unlike.notes[0]
    )


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("A", "b"), "'a' is not 'A', names must agree exactly"),
        (("b", "c"), "have 'a' among them, those of data.target 'Smiling' are only 'b', 'c'"),
        (("x", "y", "z"), "no name fits"),
    ],
)
def test_a_model_of_other_classes_is_refused_before_anything_is_drawn(module, draws, classes, said):
    with pytest.raises(UserError, match=said):
        ready(module(source=Renamed(*classes)))
    assert draws == []


# --- tables ----------------------------------------------------------------------------------------------------------

COLUMNS: dict[str, Any] = {"dose": "numeric", "sex": ["f", "m"], "ill": ["no", "yes"]}


@pytest.fixture
def table(tmp_path) -> CSVTable:
    rows = [f"{i},{'fm'[i % 2]},{('no', 'yes')[i // 2 % 2]}" for i in range(200)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    return CSVTable(str(tmp_path / "t.csv"), COLUMNS)


def test_rows_are_drawn_from_a_model_of_the_table(module, draws, table, run_cli, tmp_path):
    network = {
        "class_path": "diffshare.nets.tabular.TableDenoiser",
        "init_args": {"width": 16, "layers": 1},
    }
    source = {
        "class_path": "diffshare.data.table.CSVTable",
        "init_args": {"path": str(table.path), "columns": COLUMNS},
    }
    data = {"source": source, "target": "ill", "sensitive": "sex", "batch_size": 32}
    content = {
        "model": {
            "class_path": "diffshare.generators.tabular.TabularDDPM",
            "init_args": {"denoiser": network},
        },
        "data": {"class_path": "diffshare.data.module.MixDataModule", "init_args": data},
        "trainer": {"max_steps": 2, "enable_progress_bar": False, "accelerator": "cpu"},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    outcome = run_cli("fit", "--config", tmp_path / "c.yaml", "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    options = {
        "model": tmp_path / "run" / "release",
        "source": table,
        "target": "ill",
        "sensitive": "sex",
    }
    data = ready(module(**options, validation_share=0))
    train = data.sets["train"]
    assert (train.x.shape, train.x.dtype) == ((12, 3), np.float32)
    np.testing.assert_array_equal(train.x[:, 2], train.target)
    assert ready(module(**options)).samples == data.samples
    assert draws == [12]


def test_a_model_of_images_is_refused_for_a_table(module, draws, table):
    with pytest.raises(
        UserError, match="makes images, data.test_source holds rows of a table: test on what"
    ):
        ready(module(source=table, target="ill", sensitive="sex"))
    assert draws == []
