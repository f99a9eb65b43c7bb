"""What the face does not take ends in one sentence that names the argument, never in an error from deep inside."""

from typing import Any

import numpy as np
import pytest
from random_release import random_ddpm
from test_face import rows

import diffshare as ds

NAN, INF = float("nan"), float("inf")


class Given:
    """Records, samples and an audit that fit each other; a model."""

    def __init__(self, model: Any) -> None:
        self.own = ds.Records.from_frame(rows(600, 0.0, 0), target="ill", sensitive="sex")
        self.new = ds.Samples(rows(400, 0.5, 1))
        self.done = ds.audit(self.new, self.own, gap_repeats=0)
        self.folder, self.box = model, ds.open_model(model)

    def audit(self, **options: Any) -> Any:
        return ds.audit(self.new, self.own, **{"gap_repeats": 0, **options})

    def infer(self, **options: Any) -> Any:
        return ds.infer_property(self.new, self.own, **{"name": "sex", **options})

    def repair(self, **options: Any) -> Any:
        return ds.repair(self.new, self.own, self.done, **options)

    def leak(self, **options: Any) -> Any:
        return ds.leak(self.new, self.own, **options)

    def draw(self, **options: Any) -> Any:
        return self.box.draw(**{"labels": [0, 1], **options})

    def open(self, **options: Any) -> Any:
        return ds.open_model(**{"what": self.folder, **options})


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return Given(random_ddpm(tmp_path_factory.mktemp("box") / "model", 16, steps=2))


NO_NUMBER: tuple[Any, ...] = ("x", NAN, INF, True, [1], "0.05")
NO_WHOLE: tuple[Any, ...] = ("5", 1.5, NAN, True, [1], -1, 10**40)
NO_CHOICE: tuple[Any, ...] = ("of all", 3, None)
OTHER: tuple[Any, ...] = (3.5, object(), b"x")
WRONG = {
    "audit": {
        "level": (*NO_NUMBER, None, 0, 2), "alpha": (*NO_NUMBER, None, 1), "power": (*NO_NUMBER, 0.2),
        "margin": ("a", -1, NAN, [0.4]), "guidance": ("3", -1, NAN, 21), "seed": (*NO_WHOLE, None),
        "queries": (*NO_WHOLE[:-1], 0), "sequential": (*NO_WHOLE[:-1], 0), "folds": (*NO_WHOLE[:-1], None, 1),
        "clusters": (*NO_WHOLE[:-1], 1), "gap_repeats": (*NO_WHOLE[:-1], None, 1), "degrade": ("yes", 1, None),
        "pool": NO_CHOICE, "classifier": ("trees", 3), "downstream": ("trees",), "withhold": OTHER,
        "sensitive": OTHER, "declared": (3, ["a"]), "prompts": OTHER, "clip": (3,), "margin_from": OTHER,
        "plan": ({}, "usual"),
    },
    "infer": {
        "level": (*NO_NUMBER, None, 0, 2), "seed": (*NO_WHOLE, None), "folds": (*NO_WHOLE[:-1], None, 0),
        "queries": (*NO_WHOLE[:-1], "many", 0), "width": ("a", NAN), "method": ("best", 3),
        "value": (1, ["f"]), "withhold": OTHER, "classifier": ("trees",), "degrade": ("no",), "widen": (None, 1),
        "surrogate": OTHER, "surrogate_p": ("a", NAN), "labelled": (3,), "conditioned_on": (3,),
        "name": (None, 1.5, ["sex"]), "options": ({},),
    },
    "repair": {
        "to": (*NO_CHOICE,), "weights": ("of all", 3), "most": (*NO_NUMBER, None, 1, -2), "seed": (*NO_WHOLE, None),
    },
    "leak": {
        "level": (*NO_NUMBER, None, 0, 2), "seed": (*NO_WHOLE, None), "queries": (*NO_WHOLE[:-1], 0),
        "folds": (*NO_WHOLE[:-1], None, 1), "degrade": ("no", None), "classifier": ("trees",), "target": (3,),
        "steps": (*NO_WHOLE[:-1], 0), "guidance": (*NO_NUMBER, None, -1), "batch_size": (*NO_WHOLE[:-1], 0),
        "properties": OTHER, "training": ("folder",),
    },
    "draw": {
        "seed": (*NO_WHOLE, None), "steps": (*NO_WHOLE[:-1], 0), "guidance": (*NO_NUMBER, None, -1),
        "batch_size": (*NO_WHOLE[:-1], 0), "count": ("2", 1.5, NAN, True, 3),
        "labels": (None, 1, [], [None], [0.5], [NAN], [True], [[0, 1]], np.zeros((2, 2), int), np.array(0), {0: 1}),
    },
    "open": {"what": (None, 3, ["a"]), "device": (None, 3, "abacus", "meta")},
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "name", "value"),
    [
        pytest.param(call, name, value, id=f"{call}-{name}-{str(value)[:12]}")
        for call, options in WRONG.items()
        for name, values in options.items()
        for value in values
    ],
)
def test_a_wrong_option_is_refused_by_its_name(given, call, name, value):
    with pytest.raises(ds.UserError) as refused:
        getattr(given, call)(**{name: value})
    line = str(refused.value)
    assert name in line
    assert "\n" not in line
    assert "--" not in line


@pytest.mark.parametrize(
    ("call", "name", "value", "expected"),
    [
        ("audit", "level", "x", "`level` is 'x': give a finite number"),
        ("audit", "seed", 1.5, "`seed` is 1.5: give a whole number"),
        ("audit", "folds", None, "`folds` is None: give a whole number"),
        ("audit", "margin", "a", "`margin` is 'a': give a finite number or None"),
        ("audit", "queries", -1, "`queries` is -1: it must be at least 1"),
        ("audit", "classifier", "trees", "`classifier` is 'trees': give a Recipe or None"),
        ("infer", "queries", 1.5, "`queries` is 1.5: give a whole number, auto or None"),
        ("infer", "surrogate", [3], "`surrogate` is 3: give a path"),
        ("repair", "most", NAN, "`most` is nan: give a finite number"),
        ("draw", "labels", [0.5], "`labels` is 0.5: give a whole number or a text"),
    ],
)
def test_a_refusal_says_what_was_given_and_what_is_expected(given, call, name, value, expected):
    with pytest.raises(ds.UserError) as refused:
        getattr(given, call)(**{name: value})
    assert str(refused.value) == expected


def test_what_numpy_has_for_numbers_and_texts_is_taken(given):
    options = {"level": np.float32(0.1), "seed": np.int64(3), "withhold": np.array(["age"])}
    assert given.audit(**options).terms.level == pytest.approx(0.1)
    labels = np.array(["Smiling", "not Smiling"])
    drawn = given.draw(labels=labels, seed=np.int64(1))
    np.testing.assert_array_equal(drawn.images, given.draw(labels=[1, 0], seed=1).images)


X = np.zeros((4, 2))
DATA = [
    (lambda: ds.Samples(np.zeros((2, 2, 2, 2))), r"x has the shape \(2, 2, 2, 2\)"),
    (lambda: ds.Samples(X, [0, 1]), "y has 2 labels, there are 4 records"),
    (lambda: ds.Samples(np.full((2, 8, 8, 3), 300.0)), "x "),
    (lambda: ds.Samples.from_frame({"a": [1]}, target="b"), "no column 'b'"),
    (lambda: ds.Samples.from_frame({"a": [1]}, target=1.5), "`target` is 1.5: give a text or"),
    (lambda: ds.Records(X, [NAN, 0.5, 1, 0]), "y holds 0.5"),
    (lambda: ds.Records(X, [NAN] * 4), "the class 'y' is known of none of the 4 records"),
    (lambda: ds.Records(X, [0, 1] * 2, s={"a": [0, 1]}), "a has 2 labels, there are 4 records"),
    (lambda: ds.Records.from_frame({"a": [1]}, target="a", sensitive=None), "`sensitive` is None"),
    (lambda: ds.Records.from_frame({1: [1], "1": [2]}, target=1, sensitive=1), "two columns"),
    (lambda: ds.Pool.of(X, [0, 1], [0, 1] * 2), "y has 2 labels, there are 4 records"),
    (lambda: ds.Pool.of(X + INF, [0, 1] * 2, [0, 1] * 2), "row 0, column '0': 'inf' is no finite"),
    (
        lambda: ds.audit(ds.Samples(X, [0, 1] * 2), ds.Records(X, [0, 1] * 2, s=[0, NAN, 1, 1])),
        "'s' is unknown for 1 records",
    ),
    (
        lambda: ds.audit(ds.Samples(X, [0, 1] * 2), ds.Records(X, [0, 1] * 2, s=[0, 1] * 2)),
        "the reference has an empty cell",
    ),
    (
        lambda: ds.audit(ds.Samples(X, [0, 5] * 2), ds.Records(X, [0, 1] * 2, s=[0, 0, 1, 1])),
        "has the class '1', the samples have only '0', '5'",
    ),
]


@pytest.mark.parametrize(("build", "words"), DATA)
def test_data_that_do_not_fit_are_refused(build, words):
    with pytest.raises(ds.UserError, match=words) as refused:
        build()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_mix_does_not_take_numbers_that_are_none(value):
    rng = np.random.default_rng(0)
    s, y = rng.integers(0, 2, (2, 400))
    x = rng.normal(size=(400, 3)) + y[:, None]
    x[3, 1] = value
    with pytest.raises(ds.UserError, match="NaN or infinity in 1 of 400|row 3, column '1': 'inf'"):
        ds.mixes.Exact(alpha=0.5, n=100, favour=1).choose(ds.Pool.of(x, y, s), seed=0)


def test_a_question_mark_is_a_class_like_others():
    frame = {"c": ["?", "a", None, "b"] * 5, "s": [0, 1, 1, 0] * 5, "y": ["?", "n", "?", "n"] * 5}
    own = ds.Records.from_frame(frame, target="y", sensitive="s")
    assert own.classes == ("?", "n")
    assert own.attribute("c").classes == ("?", "a", "b")
    assert own.attribute("c").codes[:4].tolist() == [0, 1, -1, 2]
    assert own.columns[0].categories == ("?", "a", "b", "<?>")
    coded = ds.Samples.from_frame(frame, target="y").coded(own)
    np.testing.assert_array_equal(coded.x, own.x)
    assert ds.Records(X, ["?", "a"] * 2).classes == ("?", "a")
    plain = ds.Records({"c": ["a", "b", None] * 4}, [0, 1, 1] * 4)
    with pytest.raises(ds.UserError, match="column 'c' holds the text '\\?', which is the ref"):
        ds.Samples({"c": ["a", "b", "?"] * 4}, [0, 1, 1] * 4).coded(plain)


def test_columns_may_be_called_by_numbers():
    frame = {0: [1.0, 2.0, 3.0, 4.0], 1: ["a", "b", "b", "a"], 2: [0, 0, 1, 1]}
    own = ds.Records.from_frame(frame, target=2, sensitive=1)
    assert (own.target, own.sensitive, own.classes) == ("2", ("1",), ("0", "1"))
    samples = ds.Samples.from_frame(frame, target=2)
    np.testing.assert_array_equal(samples.coded(own).y, own.y)


@pytest.mark.parametrize(
    "x", [np.zeros((4, 8, 8, 3), np.uint8), np.zeros((4, 2)), {"a": X[:, 0].copy()}]
)
def test_samples_are_those_that_were_given(x):
    """Whoever goes on with an array does not change samples that were made of it, or what they are known by."""
    samples, before = ds.Samples(x, [0, 1] * 2), ds.Samples(x, [0, 1] * 2).sha256
    (x["a"] if isinstance(x, dict) else x)[0] = 7
    assert samples.sha256 == before
    assert ds.Samples(x, [0, 1] * 2).sha256 != before
