"""The steps of the property inference study on samples whose share is known."""

from typing import Any

import numpy as np
import pytest

from diffshare.classifiers.kept import read_kept
from diffshare.errors import UserError
from diffshare.release.samples import write_samples
from diffshare.storage import read_json
from diffshare.study.steps.shares import infer, remedy, train

SOURCE = {
    "class_path": "diffshare.data.rendered.RenderedFaces",
    "init_args": {"count": 1000, "image_size": 16},
}


def coloured(count: int, p: float, seed: int) -> np.ndarray:
    """Images that are bright where they have the property, some of them by mistake."""
    rng = np.random.default_rng(seed)
    have = np.arange(count) % 10 < round(10 * p)  # exactly p in every ten
    value = np.where(have, 150, 100) + rng.normal(0, 25, count)
    x = np.repeat(np.repeat(value[:, None, None, None], 16, 1), 16, 2) + rng.normal(
        0, 5, (count, 16, 16, 3)
    )
    return np.clip(x, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A classifier that is trained on rendered faces, and samples folders by their share."""
    root = tmp_path_factory.mktemp("steps")
    mix = {"class_path": "diffshare.data.mixes.Clean", "init_args": {"n": 150}}
    data = {
        "source": SOURCE,
        "target": "Eyeglasses",
        "part": "auxiliary",
        "mix": mix,
        "validation_share": 0.0,
    }
    module = {"class_path": "diffshare.data.module.MixDataModule", "init_args": data}
    one = {"data": module, "steps": 25, "folds": 2, "degraded": True, "out": root / "classifier"}
    train(classifiers=[one])
    for p in (0.0, 0.3, 0.5, 0.7, 1.0):
        write_samples(root / f"p{p:g}", coloured(200, p, round(10 * p)), np.full(200, -1), {})
    return root


def arguments(folders, methods=("cc", "pacc"), queries=(50, 100, 200)) -> dict[str, Any]:
    read = {"classifier": folders / "classifier", "samples": folders / "p0.3", "methods": methods}
    return read | {"queries": queries, "runs": 3, "out": folders / "out.json"}


def test_a_classifier_is_trained_on_auxiliary_records(folders):
    kept = read_kept(folders / "classifier")
    assert kept.classes == ("not Eyeglasses", "Eyeglasses")
    assert len(kept.networks) == 2
    assert len(kept.classifier.calibration.labels) == 150


def test_runs_are_disjoint_and_as_many_as_there_can_be(folders):
    infer(**arguments(folders, ("cc", "pcc")), resamples=20)
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
    proportions = [0.0, 0.5, 0.7, 1.0]
    surrogates = [folders / f"p{p:g}" for p in proportions]
    methods = ("cc", "acc", "pacc")
    remedy(**arguments(folders, methods, (200,)), surrogates=surrogates, proportions=proportions)
    left = read_json(folders / "out.json")
    assert set(left["drifts"]) == {"cc", "acc", "pacc"}
    assert {len(of) for of in left["drifts"].values()} == {4}
    # cc has nothing to mend
    assert {r["method"] for r in left["rows"]} | set(left["refused"]) == {
        "acc",
        "pacc",
    }
    for row in left["rows"]:
        assert row["low"] <= 0.3 <= row["high"]


def test_more_queries_than_samples(folders):
    with pytest.raises(
        UserError, match="201 queries are asked for, there are 200 samples: draw more"
    ):
        infer(**arguments(folders, ("cc",), (201,)))
