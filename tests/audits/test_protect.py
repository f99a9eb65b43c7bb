"""Protected samples as a function: the folder of the verb, the share that was chosen, refusals in arguments' words."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from property_runs import yaml_source
from random_release import random_ddpm

import diffshare as ds
from diffshare.classifiers.recipes import KernelRecipe, NetworkRecipe
from diffshare.data.rendered import RenderedFaces
from diffshare.data.table import CSVTable
from diffshare.receiver.box import Box
from diffshare.release.card import Card
from diffshare.release.disclosure import fit_schema
from diffshare.release.generator import Ledger
from diffshare.storage import read_json
from diffshare.study.steps import verbs

SIZE = 16
FACES = {"count": 200, "image_size": SIZE, "seed": 1, "shares": [0.0, 1.0, 0.0]}
KINDS = {"age": "numeric", "sex": ["f", "m"], "ill": ["no", "yes"]}


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of a diffusion model with random weights."""
    return random_ddpm(tmp_path_factory.mktemp("model") / "release", SIZE, steps=3)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_function_verb_and_step_write_the_same_folder(run_cli, denoiser, tmp_path):
    reference = yaml_source(tmp_path / "faces.yaml", "rendered.RenderedFaces", **FACES)
    words = ["--model", denoiser, "--reference", reference, "--property", "Hat", "--share", 0.5, "--count", 6,
             "--method", "guide", "--guide-scale", 3, "--seed", 4, "--folds", 2, "--batch-size", 4,
             "--classifier", "NetworkRecipe", "--classifier.steps", 4]  # fmt: skip
    outcome = run_cli("protect", *words, "--out", tmp_path / "verb")
    assert outcome.code == 0, outcome.err

    options: dict[str, Any] = {"share": 0.5, "count": 6, "method": "guide", "guide_scale": 3.0}
    options |= {"seed": 4, "folds": 2, "batch_size": 4}
    records = ds.Records.from_source(RenderedFaces(**FACES))
    recipe = NetworkRecipe(steps=4)
    protected = ds.protect(ds.open_model(denoiser), records, "Hat", classifier=recipe, **options)
    protected.write(tmp_path / "function")
    assert content(tmp_path / "function") == content(tmp_path / "verb")
    assert set(content(tmp_path / "verb")) >= {"samples.json", "samples.npz"}

    block = {
        "class_path": "diffshare.data.rendered.RenderedFaces",
        "init_args": FACES | {"count": 9},
    }
    options |= {"classifier": "NetworkRecipe", "classifier.steps": 4, "reference.count": 200}
    places = {"model": denoiser, "out": tmp_path / "step", "report": tmp_path / "drawn.json"}
    verbs.protect(**places, reference=block, property="Hat", **options)
    assert content(tmp_path / "step") == content(tmp_path / "verb")
    assert read_json(tmp_path / "drawn.json") == {"count": 6, "queries": protected.queries}


def table_box(folder: Path) -> tuple[Box, ds.Records]:
    """A model that makes the rows of a table, of which every fourth is of an m; records of the same people."""
    age = np.random.default_rng(0).normal(40, 10, 400).round().tolist()
    rows = [f"{a:g},{'mfff'[i % 4]},{('no', 'yes')[i % 2]}" for i, a in enumerate(age)]
    (folder / "rows.csv").write_text("\n".join([",".join(KINDS), *rows]) + "\n")
    source = CSVTable(str(folder / "rows.csv"), KINDS)
    x = source.read(np.arange(400))

    def sample(labels: Any, indices: Any, *, seed: int, **_: Any) -> np.ndarray:
        box.generator.ledger.record(labels, len(labels), 0.0)
        return x[[np.random.default_rng([seed, int(i)]).integers(len(x)) for i in indices]]

    card = Card("tabular", "table", (), 1, columns=tuple(KINDS))
    schema = fit_schema(x, source.columns, "ill", "?")
    model: Any = SimpleNamespace(card=card, ledger=Ledger(), schema=schema, sample=sample)
    box = Box(model, folder, "0" * 64)
    return box, ds.Records.from_source(source, part="all")


def test_samples_show_the_share_and_only_the_sharer_sees_the_count(tmp_path):
    box, records = table_box(tmp_path)
    protected = ds.protect(box, records, "sex", share=0.6, count=400, value="m")
    cells = protected.samples.table.cells["sex"]  # type: ignore[union-attr]
    assert np.mean(cells == "m") == pytest.approx(0.6, abs=0.08)
    assert protected.queries == box.generator.ledger.queries > 2 * 400
    assert protected.to_json()["queries"] == protected.queries
    assert not {"queries", "seconds", "network_calls"} & protected.info.keys()
    assert f"400 of {protected.queries}, sex='m' shown as 0.6" in repr(protected)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"share": 1.0}, "the share to show is 1.0"),
        ({"count": 0}, "`count` is 0"),
        ({"folds": 1}, "`folds` is 1"),
        ({"seed": -1}, "`seed` is -1"),
        ({"steps": 0}, "`steps` is 0"),
        ({"batch_size": 0}, "`batch_size` is 0"),
        ({"guidance": -1.0}, "`guidance` is -1.0"),
        ({"method": "hope"}, "unknown `method` 'hope': choose one of accept, guide"),
        ({"guide_scale": 2.0}, "`guide_scale` is for `method` guide"),
        ({"method": "guide", "guide_scale": 0.0}, "`guide_scale` is 0, which guides nothing"),
        ({"method": "guide", "guide_scale": 1e9}, "a number from 0 to 1000 is expected"),
        ({"method": "guide", "classifier": KernelRecipe()}, "`method` guide needs a classifier"),
        ({"name": "Cap"}, "unknown attribute 'Cap'"),
        ({"name": "Smiling"}, "choose its share by the `labels` of plain samples"),
        ({"value": "Cap"}, "unknown value of 'Hat' 'Cap'"),
        ({"labels": "Cap"}, "unknown labels 'Cap'"),
        ({"box": "a folder"}, "a str was given first"),
        ({"records": [1]}, "a list was given as the records"),
    ],
)
def test_a_mistake_is_told_in_words_of_arguments(denoiser, changed, words):
    records = ds.Records.from_source(RenderedFaces(**FACES | {"count": 60}))
    arguments: dict[str, Any] = {"box": ds.open_model(denoiser), "records": records, "name": "Hat"}
    arguments |= {"share": 0.5, "count": 4, "folds": 2} | changed
    with pytest.raises(ds.UserError) as refusal:
        ds.protect(**arguments)
    assert words in str(refusal.value)
    assert "--" not in str(refusal.value)
