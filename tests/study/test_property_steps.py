"""The steps of the property inference study on samples whose share is known."""

import json

import numpy as np
import pytest

from diffshare.classifiers.kept import read_kept
from diffshare.errors import UserError
from diffshare.release.samples import write_samples
from diffshare.storage import read_json
from diffshare.study.steps.property import infer, remedy, train

SOURCE = {"class_path": "diffshare.data.rendered.RenderedFaces", "init_args": {"count": 1000, "image_size": 16}}


def coloured(count: int, p: float, seed: int) -> np.ndarray:
    """Images that are bright where they have the property, some of them by mistake."""
    rng = np.random.default_rng(seed)
    have = np.arange(count) % 10 < round(10 * p)  # exactly p in every ten
    value = np.where(have, 150, 100) + rng.normal(0, 25, count)
    x = np.repeat(np.repeat(value[:, None, None, None], 16, 1), 16, 2) + rng.normal(0, 5, (count, 16, 16, 3))
    return np.clip(x, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A classifier that is trained on rendered faces, and samples folders by their share."""
    root = tmp_path_factory.mktemp("steps")
    mix = {"class_path": "diffshare.data.mixes.Clean", "init_args": {"n": 150}}
    data = {"source": SOURCE, "target": "Eyeglasses", "part": "auxiliary", "mix": mix, "validation_share": 0.0}
    module = json.dumps({"class_path": "diffshare.data.module.MixDataModule", "init_args": data})
    words = ["--data", module, "--steps", "25", "--folds", "2", "--degraded", "true"]
    assert train([*words, "--out", str(root / "classifier")]) == 0
    for p in (0.0, 0.3, 0.5, 0.7, 1.0):
        write_samples(root / f"p{p:g}", coloured(200, p, round(10 * p)), np.full(200, -1), {})
    return root


def words(folders, methods: str = '["cc","pacc"]', queries: str = "[50,100,200]") -> list[str]:
    chosen = ["--classifier", str(folders / "classifier"), "--samples", str(folders / "p0.3"), "--methods", methods]
    return [*chosen, "--queries", queries, "--runs", "3", "--out", str(folders / "out.json")]


def test_a_classifier_is_trained_on_auxiliary_records(folders):
    kept = read_kept(folders / "classifier")
    assert kept.classes == ("not Eyeglasses", "Eyeglasses")
    assert len(kept.networks) == 2
    assert len(kept.classifier.calibration.labels) == 150


def test_runs_are_disjoint_and_as_many_as_there_can_be(folders):
    assert infer([*words(folders, '["cc","pcc"]'), "--resamples", "20"]) == 0
    rows = read_json(folders / "out.json")["rows"]
    assert [(r["queries"], r["run"]) for r in rows if r["method"] == "cc"] == [
        *((50, run) for run in range(3)), (100, 0), (100, 1), (200, 0),
    ]  # fmt: skip
    for method in ("cc", "pcc"):
        of = {(r["queries"], r["run"]): r["estimate"] for r in rows if r["method"] == method}
        assert (of[100, 0] + of[100, 1]) / 2 == pytest.approx(of[200, 0])
        assert (of[50, 0] + of[50, 1]) / 2 == pytest.approx(of[100, 0])
    for row in rows:
        assert 0 <= row["low"] <= row["estimate"] <= row["high"] <= 1
        assert 0 < row["assumption"] <= 1


def test_a_line_through_surrogates_reads_off_what_the_classifier_cannot(folders):
    surrogates = [str(folders / f"p{p:g}") for p in (0.0, 0.5, 0.7, 1.0)]
    arguments = [*words(folders, '["cc","acc","pacc"]', "[200]"), "--surrogates", *surrogates]
    assert remedy([*arguments, "--known", "[0.0,0.5,0.7,1.0]"]) == 0
    found = read_json(folders / "out.json")
    assert set(found["drifts"]) == {"cc", "acc", "pacc"}
    assert {len(of) for of in found["drifts"].values()} == {4}
    assert {r["method"] for r in found["rows"]} | set(found["refused"]) == {"acc", "pacc"}  # cc has nothing to mend
    for row in found["rows"]:
        assert row["low"] <= 0.3 <= row["high"]


def test_more_queries_than_samples(folders):
    with pytest.raises(UserError, match="201 queries are asked for, there are 200 samples: draw more"):
        infer(words(folders, '["cc"]', "[201]"))
