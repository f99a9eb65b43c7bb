"""The steps of the protection study: choice of records, readings and distances against independent computation."""

import numpy as np
import pytest

from diffshare.classifiers.kept import read_kept, train_and_keep
from diffshare.data.cache import open_records
from diffshare.data.rendered import RenderedFaces
from diffshare.data.source import split
from diffshare.errors import UserError
from diffshare.release.samples import read_samples, write_samples
from diffshare.stats.kid import kernel_distance
from diffshare.stats.prevalence import NAMES, estimate
from diffshare.storage import read_json
from diffshare.study.steps.measures import compressed, features, of_share, read, whitening
from diffshare.study.steps.quality import keep_by_share, measure_protected


def test_records_of_a_share_are_counted_exactly_and_none_comes_twice():
    has = np.arange(50) % 5 == 0
    for share in (0.0, 0.3, 1.0):
        rows = of_share(has, 10, share, np.random.default_rng(0), "test")
        assert len(set(rows.tolist())) == 10
        assert has[rows].sum() == round(10 * share)
    again = of_share(has, 10, 0.3, np.random.default_rng(0), "test")
    np.testing.assert_array_equal(again, of_share(has, 10, 0.3, np.random.default_rng(0), "test"))
    assert has[again].argmax() != 0 or not has[again][:3].all()  # in no order of kinds


@pytest.mark.parametrize(
    ("share", "kind"), [(0.9, "takes 18 with the property"), (0.1, "takes 18 without the")]
)
def test_too_few_records_of_a_share(share, kind):
    with pytest.raises(UserError, match=f"{kind}.*the test part has 17: lower study.samples"):
        of_share(np.arange(34) % 2 == 0, 20, share, np.random.default_rng(0), "test")


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_changes_little_and_keeps_the_shape(channels):
    ramp = np.linspace(0, 255, 16).astype(np.uint8)
    x = np.broadcast_to(ramp[None, :, None, None], (2, 16, 16, channels)).copy()
    after = compressed(x)
    assert (after.shape, after.dtype) == (x.shape, np.uint8)
    difference = np.abs(after.astype(int) - x)
    assert 0 < difference.mean() < 4


SOURCE = {"count": 600, "image_size": 8}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with one classifier of Hat, for features and for readings alike."""
    root = tmp_path_factory.mktemp("kept")
    records = open_records(RenderedFaces(**SOURCE))
    rows = np.flatnonzero(split(records.index, (0.6, 0.2, 0.2), 3) == 1)
    labels = records.index.attribute("Hat").codes[rows].astype(np.int64)
    train_and_keep(root / "Hat", records.x[rows], labels, ("0", "1"), steps=10, folds=2, seed=0)
    return root


def of_records(kept, out, seed: int = 3) -> None:
    init = {"source": {"class_path": "diffshare.data.rendered.RenderedFaces", "init_args": SOURCE}}
    init |= {"target": "Smiling", "seed": seed}
    data = {"class_path": "diffshare.data.module.MixDataModule", "init_args": init}
    keep_by_share(
        data=data,
        readers=kept,
        names=["Hat"],
        attribute="Hat",
        shares=[0.25, 0.5],
        count=40,
        out=out,
    )


def test_the_reference_has_disjoint_records_of_each_share(kept, tmp_path):
    of_records(kept, tmp_path / "a")
    index = open_records(RenderedFaces(**SOURCE)).index
    parts = split(index, (0.6, 0.2, 0.2), 3)
    x = RenderedFaces(**SOURCE).read(np.arange(600))
    readers = {"Hat": read_kept(kept / "Hat")}
    mean, axes = whitening(features(readers, x[parts == 1]))
    with np.load(tmp_path / "a" / "features.npz") as arrays:
        assert set(arrays) == {"mean", "axes", "held-0.25", "held-0.5"}
        held = arrays["held-0.25"]
    test = (features(readers, x[parts == 2]) - mean) @ axes
    matches = [np.flatnonzero(np.isclose(test, row).all(1)) for row in held]
    hat = index.attribute("Hat").codes[parts == 2]
    assert all(len(match) for match in matches)  # each is a test record
    assert sum(hat[match[0]] for match in matches) == 10
    real = read_samples(tmp_path / "a" / "real-0.25")
    mine = [np.flatnonzero((x == image).all((1, 2, 3)))[0] for image in real.x]
    assert set(parts[mine]) == {0}
    assert index.attribute("Hat").codes[mine].sum() == 10
    np.testing.assert_array_equal(index.attribute("Smiling").codes[mine], real.y)
    assert set(read_json(tmp_path / "a" / "reference.json")["jpeg"]) == {"0.25", "0.5"}


def test_what_is_measured_of_samples(kept, tmp_path):
    of_records(kept, tmp_path / "reference")
    rng = np.random.default_rng(0)
    folders = {name: tmp_path / name for name in ("plain", "protected")}
    images = {name: rng.integers(0, 256, (30, 8, 8, 3), np.uint8) for name in folders}
    for name, folder in folders.items():
        write_samples(folder, images[name], np.arange(30) % 2, {})
    shared = {
        "readers": kept,
        "names": ["Hat"],
        "reference": tmp_path / "reference",
        "shares": [0.25, 0.5],
    }
    shared |= {"receivers": kept, "receiver_names": ["Hat"], "out": tmp_path / "measured.json"}
    measure_protected(samples=folders["protected"], plain=folders["plain"], **shared)
    report = read_json(shared["out"])
    one = read_kept(kept / "Hat")
    scores = one.classifier.scores(images["protected"])
    for method in NAMES:
        assert (
            report["read"]["Hat"][method] == estimate(method, one.classifier.calibration, scores)[1]
        )
    assert read(one, images["protected"]) == report["read"]["Hat"]
    with np.load(tmp_path / "reference" / "features.npz") as arrays:
        seen = {
            n: (features({"Hat": one}, x) - arrays["mean"]) @ arrays["axes"]
            for n, x in images.items()
        }
        for share in ("0.25", "0.5"):
            held = arrays[f"held-{share}"]
            near, far = (kernel_distance(seen[name], held) for name in ("protected", "plain"))
            assert report["kid"][share] == pytest.approx(near)
            assert report["kid_difference"][share]["estimate"] == pytest.approx(near - far)
    assert report["training"] is None
    measure_protected(samples=folders["plain"], **shared)
    assert "kid_difference" not in read_json(shared["out"])
