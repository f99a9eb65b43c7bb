import dataclasses
import hashlib

import numpy as np
import pytest

from diffshare.data import canvas, drawing
from diffshare.data.drawing import ATTRIBUTES, draw
from diffshare.data.rendered import RenderedFaces, _chunks, _exact
from diffshare.data.source import Source, split
from diffshare.errors import UserError

PLAIN = {"Smiling": 0, "Eyeglasses": 0, "Hat": 0, "Young": 1, "Male": 0}


def portraits(n=24, size=32, **values):
    codes = np.tile([(PLAIN | values)[name] for name in ATTRIBUTES], (n, 1))
    return draw(0, np.arange(n), codes, size)


def changed(**values):
    """Where a face with these values differs from the plain one: share of faces by pixel, H x W."""
    difference = np.abs(portraits(96, **values).astype(int) - portraits(96)).max(-1)
    return (difference > 20).mean(0)


def codes_of(source):
    return np.stack([source.index().attributes[name].codes for name in ATTRIBUTES], 1)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_images_have_the_asked_shape_and_use_the_range(size):
    source = RenderedFaces(count=40, image_size=size)
    images = source.read(np.arange(40))
    assert images.shape == (40, size, size, 3)
    assert images.dtype == np.uint8
    assert images.min() < 30
    assert images.max() > 225
    assert images.std((1, 2, 3)).min() > 15  # no face is a blank
    assert source.index().sizes.tolist() == [3 * size * size] * 40


def test_is_a_source_whose_parts_come_from_names():
    source = RenderedFaces(count=3000, seed=7)
    index = source.index()
    assert isinstance(source, Source)
    assert index.parts is None
    assert index.names[12] == "face-7-000012"
    assert len(set(index.names.tolist())) == 3000
    assert index.attribute("Smiling").classes == ("not Smiling", "Smiling")
    shares = np.bincount(split(index, source.shares, 0)) / 3000
    assert np.abs(shares - (0.6, 0.2, 0.2)).max() < 0.04


def test_reading_nothing_gives_nothing():
    assert RenderedFaces(count=5).read(np.array([], int)).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("size", [16, 33])
def test_a_face_is_the_same_to_the_bit_whatever_is_read_with_it(size):
    source = RenderedFaces(count=700, image_size=size)
    whole = source.read(np.arange(700))
    assert len(list(_chunks(700, size))) > 1
    order = np.random.default_rng(0).permutation(700)[:301]
    assert np.array_equal(source.read(order), whole[order])
    for position in (0, 311, 699):
        assert np.array_equal(source.read(np.array([position]))[0], whole[position])


def test_threads_do_not_change_the_faces(monkeypatch):
    source = RenderedFaces(count=600)
    images = []
    for cores in (1, 3):
        monkeypatch.setattr("diffshare.data.rendered._cores", lambda cores=cores: cores)
        images.append(source.read(np.arange(600)))
    assert np.array_equal(*images)


def test_a_face_with_the_same_values_does_not_depend_on_the_count():
    small, large = RenderedFaces(count=200), RenderedFaces(count=1000)
    same = np.flatnonzero((codes_of(small) == codes_of(large)[:200]).all(1))
    assert len(same) >= 2
    assert np.array_equal(small.read(same), large.read(same))


def test_seeds_give_other_faces_and_other_attributes():
    one, two = RenderedFaces(count=300, seed=1), RenderedFaces(count=300, seed=2)
    assert not np.array_equal(codes_of(one), codes_of(two))
    codes = np.ones((1, 5), int)
    assert not np.array_equal(draw(1, np.arange(1), codes, 32), draw(2, np.arange(1), codes, 32))
    assert np.array_equal(codes_of(one), codes_of(RenderedFaces(count=300, seed=1)))


def test_out_is_filled_and_returned():
    source = RenderedFaces(count=300, image_size=16)
    room = np.full((5, 16, 16, 3), 7, np.uint8)
    assert source.read(np.arange(1, 4), room[1:4]) is not None
    assert np.array_equal(room[1:4], source.read(np.arange(1, 4)))
    assert (room[[0, 4]] == 7).all()


@pytest.mark.parametrize("position", [-1, 5])
def test_positions_outside_are_refused(position):
    with pytest.raises(IndexError, match="must be in 0..4"):
        RenderedFaces(count=5).read(np.array([0, position]))


def test_decoding_names_what_the_pixels_depend_on():
    texts = {RenderedFaces(count=9, image_size=size).decoding() for size in (16, 32)}
    assert len(texts) == 2
    assert all(
        text.startswith("RenderedFaces") and f"drawing={drawing.VERSION}" in text for text in texts
    )


# counts


@pytest.mark.parametrize("count", [1, 7, 100, 1001])
def test_prevalences_are_exact(count):
    prevalence = {"Smiling": 0.29, "Hat": 0.0, "Young": 1.0}
    got = codes_of(RenderedFaces(count=count, prevalence=prevalence)).sum(0)
    expected = [prevalence.get(name, 0.5) * count for name in ATTRIBUTES]
    assert (np.abs(got - expected) <= 0.5 + 1e-9).all()


def test_largest_remainder_against_a_slow_reference():
    rng = np.random.default_rng(3)
    for _ in range(200):
        weights = rng.integers(0, 20, rng.integers(2, 9))
        weights[0] += 1
        count = int(rng.integers(1, 300))
        # exact integer arithmetic: quota = weight * count / total
        total = int(weights.sum())
        whole = [int(w) * count // total for w in weights]
        rest = [int(w) * count % total for w in weights]
        for k in sorted(range(len(rest)), key=lambda k: (-rest[k], k))[: count - sum(whole)]:
            whole[k] += 1
        assert _exact((weights / total).tolist(), count).tolist() == whole


def test_joint_counts_are_exact_and_leave_the_others_alone():
    joint = {
        "Smiling=1,Male=0": 0.4,
        "Male=1, Smiling=1": 0.1,
        "Smiling=0,Male=0": 0.125,
        "Smiling=0,Male=1": 0.375,
    }
    codes = codes_of(RenderedFaces(count=1000, joint=joint, prevalence={"Hat": 0.2}))
    smiling, male, hat = (codes[:, ATTRIBUTES.index(name)] for name in ("Smiling", "Male", "Hat"))
    table = np.zeros((2, 2), int)
    np.add.at(table, (smiling, male), 1)
    assert table.tolist() == [[125, 375], [400, 100]]
    assert hat.sum() == 200
    assert np.array_equal(
        codes[:, 1:4][:, [0, 2]], codes_of(RenderedFaces(count=1000))[:, 1:4][:, [0, 2]]
    )


def test_joint_of_all_five_attributes():
    cells = {
        ",".join(f"{name}={(k >> bit) & 1}" for bit, name in enumerate(ATTRIBUTES)): (k + 1) / 528
        for k in range(32)
    }
    codes = codes_of(RenderedFaces(count=528, joint=cells))
    assert np.bincount(codes @ (1 << np.arange(5))).tolist() == list(range(1, 33))


def test_attributes_are_independent_and_shuffled():
    codes = codes_of(RenderedFaces(count=20000)).astype(float)
    correlation = np.corrcoef(codes.T) - np.eye(5)
    assert np.abs(correlation).max() < 0.03  # four standard errors
    assert np.abs(codes[:5000].mean(0) - 0.5).max() < 0.03


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count 0"),
        ({"image_size": 4}, "image_size 4"),
        ({"seed": -1}, "seed of rendered faces is -1"),
        ({"shares": (0.5, 0.5, 0.5)}, "sum to 1"),
        ({"prevalence": {"Beard": 0.5}}, "unknown attribute 'Beard'.*Smiling"),
        ({"prevalence": {"Hat": 1.5}}, "prevalence 1.5 of 'Hat'"),
        ({"prevalence": {"Hat": float("nan")}}, "prevalence nan of 'Hat'"),
        ({"joint": {"Hat=0": 0.5, "Hat=1": 0.5}}, "'Hat' alone"),
        ({"joint": {"Hat=0,Male=0": 0.5, "Hat=1,Male=1": 0.5}}, "no cell 'Hat=0,Male=1'"),
        ({"joint": {"Hat=0,Mail=0": 0.5}}, "unknown attribute 'Mail'"),
        ({"joint": {"Hat=2,Male=0": 0.5}}, "must look like"),
        ({"joint": {"Hat=1,Hat=0": 0.5}}, "must look like"),
        ({"joint": {"Hat": 0.5}}, "must look like"),
        ({"joint": {"Hat=0,Male=0": 0.5, "Male=0,Hat=0": 0.5}}, "is there twice"),
        ({"joint": {"Hat=0,Male=0": -0.1}}, "-0.1 of 'Hat=0,Male=0'"),
        ({"joint": {f"Hat={a},Male={b}": 0.3 for a in (0, 1) for b in (0, 1)}}, "sum to 1.2"),
        (
            {
                "joint": {f"Hat={a},Male={b}": 0.25 for a in (0, 1) for b in (0, 1)}
                | {"Hat=0,Young=1": 0.0}
            },
            "'Hat=0,Young=1' does not name",
        ),
        (
            {
                "joint": {f"Hat={a},Male={b}": 0.25 for a in (0, 1) for b in (0, 1)},
                "prevalence": {"Hat": 0.5},
            },
            "'Hat' is in both",
        ),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        RenderedFaces(**arguments)


# pictures


def test_pictures_of_this_version_have_these_bytes():
    # a cache is found again by the version: whoever changes a picture raises drawing.VERSION and this hash
    codes = np.random.default_rng(0).integers(0, 2, (64, 5))
    assert drawing.VERSION == 1
    assert (
        hashlib.sha256(draw(0, np.arange(64), codes, 32).tobytes()).hexdigest()[:16]
        == "3b6c26902090ac34"
    )


def test_a_smile_changes_the_mouth_alone():
    where = changed(Smiling=1)
    assert where[18:29, 8:24].max() > 0.5
    where[17:31, 6:27] = 0
    assert where.max() == 0


def test_eyeglasses_change_the_eyes_alone():
    where = changed(Eyeglasses=1)
    assert where[12:22, 8:24].max() > 0.5
    where[10:26] = 0
    assert where.max() == 0


def test_a_hat_changes_the_top_alone():
    where = changed(Hat=1)
    assert where[6:11, 12:21].min() > 0.5
    assert where[20:].max() == 0


def test_age_and_sex_change_hair_and_face_but_not_the_background():
    for values in ({"Young": 0}, {"Male": 1}):
        where = changed(**values)
        assert where[4:28].max() > 0.5
        assert where[:3, :3].max() == 0


def test_nuisance_is_rich_and_does_not_follow_the_attributes():
    # the corner shows only background: its mean must not tell any attribute
    source = RenderedFaces(count=3000, image_size=16)
    corner = source.read(np.arange(3000))[:, 0, 0].astype(float)
    assert corner.std(0).min() > 25
    for values in codes_of(source).T:
        gap = corner[values == 1].mean(0) - corner[values == 0].mean(0)
        assert np.abs(gap).max() < 5 * corner.std() * np.sqrt(4 / 3000)


@pytest.mark.parametrize("size", [16, 32, 50])
def test_windows_save_time_and_change_nothing(monkeypatch, size):
    codes = np.random.default_rng(0).integers(0, 2, (400, 5))
    fast = draw(3, np.arange(400), codes, size)
    monkeypatch.setattr(canvas.Canvas, "window", lambda self, *bounds: dataclasses.replace(self))
    assert np.array_equal(draw(3, np.arange(400), codes, size), fast)


def test_the_streams_of_faces_and_layers_do_not_repeat():
    faces = np.arange(500)
    columns = np.stack([canvas.Dice(0, faces, layer)() for layer in range(6)])
    assert len(np.unique(columns)) > 2990
    assert columns.min() >= 0
    assert columns.max() < 1
    assert np.abs(np.corrcoef(columns) - np.eye(6)).max() < 0.2
    assert np.abs(columns.mean(1) - 0.5).max() < 0.06
