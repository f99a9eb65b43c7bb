"""The script that draws protected samples: a samples folder that the receiver's own verb reads, and its refusals."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from property_runs import yaml_source

from diffshare.data.rendered import RenderedFaces
from diffshare.release.card import Card
from diffshare.release.generator import Ledger
from diffshare.release.samples import read_samples

SIZE, HATS = 16, 0.15
QUICK = ["--classifier", "KernelRecipe", "--classifier.components", "40", "--folds", "2"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[3] / "scripts"))
        return importlib.import_module("sample_protected")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("source") / "faces.yaml"
    return yaml_source(file, "rendered.RenderedFaces", count=900, image_size=SIZE, seed=1, shares=[0.0, 1.0, 0.0])


class Faces:
    """Rendered faces in the place of a model; few of them have a hat."""

    def __init__(self) -> None:
        self.card = Card("ddpm", "image", ("not Smiling", "Smiling"), 4, image_size=SIZE)
        self.ledger = Ledger()
        source = RenderedFaces(4000, SIZE, 9, prevalence={"Hat": HATS})
        self.x = source.read(np.arange(4000))

    def sample(self, labels: Any, indices: Any, *, seed: int, steps: Any = None, guidance: float = 1.0) -> Any:
        self.ledger.record(labels, len(labels), 0.0)
        return self.x[[np.random.default_rng([seed, int(i)]).integers(4000) for i in indices]]


@pytest.fixture
def model(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "open_generator", lambda path: (Faces(), "0" * 64))


@pytest.mark.usefixtures("model")
def test_the_receiver_reads_the_chosen_share(script, run_cli, faces, tmp_path):
    base = ["--model", "release", "--reference", str(faces), "--property", "Hat", "--share", "0.5", "--count", "500"]
    assert script.main([*base, *QUICK, "--out", str(tmp_path / "s")]) == 0
    samples = read_samples(tmp_path / "s")
    assert samples.info["protections"] == ["share of 'Hat' shown as 0.5 in every class"]
    assert samples.info["queries"] > 500
    np.testing.assert_array_equal(samples.y, np.arange(500) % 2)
    read = run_cli("infer-property", "--samples", tmp_path / "s", "--auxiliary", faces, "--auxiliary.seed", 5,
                   "--property", "Hat", *QUICK, "--json", tmp_path / "read.json")  # fmt: skip
    assert read.code == 0, read.err
    assert json.loads((tmp_path / "read.json").read_text())["estimate"] == pytest.approx(0.5, abs=0.12)


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"--share": "1.0"}, "the share to show is 1.0"),
        ({"--property": "Cap"}, "unknown attribute 'Cap'"),
        ({"--value": "Cap"}, "has no class 'Cap'"),
        ({"--reference.image_size": "8"}, "the samples are 16 x 16 x 3, the reference images 8 x 8 x 3"),
        ({"--share": "much"}, "share: "),
        ({"--count": "0"}, "count is 0"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(script, faces, tmp_path, capsys, changed, words):
    given = {"--model": "release", "--reference": str(faces), "--property": "Hat", "--share": "0.5", "--count": "20"}
    flat = [text for pair in (given | changed).items() for text in pair]
    assert script.main([*flat, *QUICK, "--out", str(tmp_path / "s")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert words in said
    assert not list(tmp_path.iterdir())
