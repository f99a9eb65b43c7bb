"""Cross-fitting: who scores whom, what is refused, and that estimates on fresh records keep their intervals."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.svm import SVC

from diffshare.classifiers.degrade import degrade
from diffshare.classifiers.gradients import gradient_histograms
from diffshare.classifiers.property import (
    check_enough,
    cross_fit,
    fit_platt,
    single_fit,
    stratified_folds,
)
from diffshare.classifiers.recipes import (
    KernelRecipe,
    NetworkRecipe,
    Recipe,
    Scorer,
    TableNetworkRecipe,
    TreesRecipe,
)
from diffshare.data.rendered import RenderedFaces
from diffshare.errors import UserError
from diffshare.nets.classifiers import SmallResNet
from diffshare.stats.bootstrap import bootstrap

NAMES = ("no", "yes")


class Memory(Recipe):
    """Remembers what it was trained on; its logits say 1 for those records and 0 for others."""

    def __init__(self) -> None:
        self.seen: list[set[int]] = []

    def train(
        self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Sequence[int]
    ) -> Scorer:
        known = set(x[:, 0].astype(int).tolist())
        self.seen.append(known)
        return lambda records: np.array([[0.0, float(int(r) in known)] for r in records[:, 0]])


class Rote(Recipe):
    """Knows the class of what it was trained on, and guesses that of other records, as sure of itself as ever."""

    def train(
        self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int, categorical: Sequence[int]
    ) -> Scorer:
        known = dict(zip(x[:, 0].astype(int).tolist(), labels.tolist(), strict=True))
        guess = np.random.default_rng(seed).integers(0, classes, 1000)

        def scorer(records: np.ndarray) -> np.ndarray:
            numbers = records[:, 0].astype(int).tolist()
            return 8.0 * np.eye(classes)[[known.get(n, guess[n]) for n in numbers]]

        return scorer


class TestWhoScoresWhom:
    x = np.arange(400, dtype=np.float32)[:, None]
    labels = np.arange(400) % 2

    def test_no_record_is_scored_by_a_model_that_has_seen_it(self) -> None:
        memory = Memory()
        made = cross_fit(self.x, self.labels, NAMES, memory, folds=4)
        groups = made.calibration.groups
        assert groups is not None
        for fold, known in enumerate(memory.seen):
            inside = set(np.flatnonzero(groups == fold).tolist())
            assert len(inside) == 100
            assert not known & inside
            # one in ten is kept for the scaling
            assert len(known) == pytest.approx(300 * 9 / 10, abs=2)

    def test_queries_are_scored_by_each_fold_as_its_own_held_out_records_are(self) -> None:
        made = cross_fit(self.x, self.labels, NAMES, KernelRecipe(), folds=4)
        scores = made.scores(self.x)
        assert scores.shape == (4, 400, 2)
        groups = made.calibration.groups
        np.testing.assert_allclose(
            scores[groups, np.arange(400)], made.calibration.scores, atol=1e-12
        )

    def test_the_scaling_is_learnt_from_records_that_the_model_has_not_seen(self) -> None:
        # sure of what it has learnt by heart, at chance elsewhere: calibrated, it is sure of nothing
        made = cross_fit(self.x, self.labels, NAMES, Rote(), folds=4)
        assert np.abs(made.calibration.scores - 0.5).mean() < 0.2

    def test_an_augmentation_changes_no_record_that_is_scored(self) -> None:
        memory = Memory()
        cross_fit(self.x, self.labels, NAMES, memory, folds=4, augment=lambda x, rng: x + 1000)
        assert all(len(known) == pytest.approx(2 * 300 * 9 / 10, abs=4) for known in memory.seen)
        assert all(k - 1000 in known for known in memory.seen for k in known if k >= 1000)

    def test_a_seed_repeats_and_another_differs(self) -> None:
        rng = np.random.default_rng(0)
        x = (rng.normal(size=(400, 3)) + self.labels[:, None]).astype(np.float32)
        first, again, other = (
            cross_fit(x, self.labels, NAMES, TreesRecipe(5), seed=seed) for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first.calibration.scores, again.calibration.scores)
        assert not np.array_equal(first.calibration.scores, other.calibration.scores)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_are_as_even_as_can_be(folds: int) -> None:
    labels = np.repeat([0, 1, 2], [31, 7, 16])
    groups = stratified_folds(labels, folds, np.random.default_rng(0))
    counts = np.array([np.bincount(groups[labels == k], minlength=folds) for k in range(3)])
    assert (counts.max(1) - counts.min(1) <= 1).all()


class TestPlatt:
    def test_a_scaling_is_undone(self) -> None:
        rng = np.random.default_rng(0)
        true = rng.normal(size=(20000, 3)) * 2
        labels = (softmax(true, axis=1).cumsum(1) < rng.random((20000, 1))).sum(1)
        found = fit_platt((true - [0, 0.5, -1]) / 3, labels)
        assert found.scale == pytest.approx(3, rel=0.05)
        assert found.shift == pytest.approx([0, 0.5, -1], abs=0.1)

    def test_it_never_raises_the_loss(self) -> None:
        rng = np.random.default_rng(1)
        logits, labels = rng.normal(size=(100, 2)), rng.integers(0, 2, 100)

        def loss(values: np.ndarray) -> float:
            return float(-log_softmax(values, axis=1)[np.arange(100), labels].mean())

        found = fit_platt(logits, labels)
        assert loss(found.scale * logits + found.shift) <= loss(logits)

    def test_a_separable_set_stays_finite(self) -> None:
        logits = np.array([[0.0, -3], [0, -2], [0, 2], [0, 3]])
        found = fit_platt(logits, np.array([0, 0, 1, 1]))
        assert np.isfinite(found(logits)).all()
        assert found.scale < 200


class TestSingle:
    """One model that only counts: the paper's."""

    x = np.arange(200, dtype=np.float64)[:, None]
    labels = np.arange(200) % 2

    def test_it_scores_the_fifth_that_it_has_not_seen(self) -> None:
        memory = Memory()
        made = single_fit(self.x, self.labels, NAMES, memory)
        (seen,) = memory.seen
        assert (len(seen), len(made.calibration.labels), made.calibration.folds) == (160, 40, 1)
        assert np.bincount(made.calibration.labels).tolist() == [20, 20]
        assert made.scores(self.x[:3]).shape == (1, 3, 2)

    def test_its_decisions_are_the_model_s_own(self) -> None:
        """No scaling moves the threshold of a model whose logits lean to one side."""

        class Leaning(Recipe):
            def train(self, *args: object) -> Scorer:
                return lambda records: np.stack([np.zeros(len(records)), records[:, 0] - 20], 1)

        made = single_fit(self.x, self.labels, NAMES, Leaning())
        assert (made.scores(self.x)[0].argmax(1) == (self.x[:, 0] > 20)).all()

    def test_too_few(self) -> None:
        with pytest.raises(UserError, match="at least 50 of each class are needed"):
            single_fit(self.x[:80], self.labels[:80], NAMES, KernelRecipe())


class TestRefusals:
    def test_one_class(self) -> None:
        with pytest.raises(
            UserError, match=r"all 80 auxiliary records are 'yes'.*at least 50 of each"
        ):
            check_enough(np.ones(80, np.int64), NAMES, 5)

    def test_too_few(self) -> None:
        with pytest.raises(
            UserError, match=r"hold 19 of 'no', too few to calibrate.*at least 20 of each.*2 folds"
        ):
            check_enough(np.repeat([0, 1], [19, 400]), NAMES, 2)

    def test_one_fold(self) -> None:
        with pytest.raises(UserError, match="use at least 2"):
            cross_fit(np.zeros((40, 1)), np.arange(40) % 2, NAMES, KernelRecipe(), folds=1)

    def test_scores_that_are_no_numbers(self) -> None:
        class Broken(Memory):
            def train(self, *args: object) -> Scorer:
                return lambda records: np.full((len(records), 2), np.nan)

        with pytest.raises(UserError, match="NaN: expected probabilities"):
            cross_fit(np.zeros((200, 1), np.float32), np.arange(200) % 2, NAMES, Broken())

    @pytest.mark.parametrize(
        ("recipe", "shape", "words"),
        [
            (NetworkRecipe(), (4, 3), "for images: choose .*TreesRecipe"),
            (TreesRecipe(), (4, 8, 8, 3), "for tables"),
            (TableNetworkRecipe(), (4, 8, 8, 3), "for tables"),
        ],
    )
    def test_a_recipe_of_the_other_kind(
        self, recipe: Recipe, shape: tuple[int, ...], words: str
    ) -> None:
        with pytest.raises(UserError, match=words):
            recipe.train(np.zeros(shape, np.float32), np.array([0, 1, 0, 1]), 2, 0, ())


def test_a_network_learns_hats_and_counts_them_among_fresh_faces() -> None:
    faces = RenderedFaces(count=1100, image_size=16, prevalence={"Hat": 0.4})
    x, hat = faces.read(np.arange(1100)), faces.index().attributes["Hat"].codes.astype(np.int64)
    recipe = NetworkRecipe(
        lambda classes, channels: SmallResNet(classes, channels, width=8), steps=40
    )
    made = cross_fit(x[:500], hat[:500], NAMES, recipe, folds=2)
    assert made.accuracy > 0.85
    queries = made.scores(x[500:])
    found = bootstrap("pacc", made.calibration, queries, np.random.default_rng(0))
    assert found.low[1] <= hat[500:].mean() <= found.high[1]


@pytest.mark.parametrize(
    "recipe", [TreesRecipe(trees=3), TableNetworkRecipe(steps=150)], ids=["trees", "network"]
)
def test_tables_have_categories_and_missing_cells(recipe: Recipe) -> None:
    rng = np.random.default_rng(0)
    code, number = rng.integers(0, 6, 1000), rng.normal(size=1000)
    number[::7] = np.nan
    labels = np.isin(code, [1, 4]).astype(np.int64)  # no threshold on the code tells
    x = np.stack([code, number], 1).astype(np.float32)
    scorer = recipe.train(x, labels, 2, 0, [0])
    assert (scorer(x).argmax(1) == labels).all()
    np.testing.assert_array_equal(scorer(x), recipe.train(x, labels, 2, 0, [0])(x))
    unknown = np.array([[np.nan, 0], [17, 0]], np.float32)  # a category that no record had
    assert np.isfinite(scorer(unknown)).all()


class TestDegrade:
    x = RenderedFaces(count=20, image_size=16).read(np.arange(20))

    def test_an_even_image_keeps_its_grey_but_for_noise(self) -> None:
        even = np.full((50, 8, 8, 3), 100, np.uint8)
        made = degrade(even, np.random.default_rng(0))
        assert made.dtype == np.uint8
        assert made.mean() == pytest.approx(100, abs=1)
        assert 0 < made.std() < 8

    def test_edges_become_softer(self) -> None:
        def roughness(x: np.ndarray) -> float:
            return float(np.abs(np.diff(x.astype(float), axis=1)).sum())

        stripes = np.zeros((20, 16, 16, 1), np.uint8)
        stripes[:, ::2] = 200
        assert roughness(degrade(stripes, np.random.default_rng(0))) < 0.9 * roughness(stripes)

    def test_a_seed_repeats(self) -> None:
        one, two = (degrade(self.x, np.random.default_rng(3)) for _ in range(2))
        np.testing.assert_array_equal(one, two)


class TestGradients:
    faces = RenderedFaces(count=30, image_size=16).read(np.arange(30))

    def test_light_and_negative_change_little(self) -> None:
        x = 64 + self.faces // 2
        for other in (x + 40, 255 - x):
            np.testing.assert_allclose(
                gradient_histograms(other), gradient_histograms(x), atol=1e-3
            )  # the root makes 1e-7 3e-4

    def test_a_record_is_described_alone(self) -> None:
        many = np.tile(self.faces, (20, 1, 1, 1))
        np.testing.assert_array_equal(
            gradient_histograms(many)[-30:], gradient_histograms(self.faces)
        )

    def test_stripes_vote_for_their_orientation(self) -> None:
        x = np.zeros((2, 16, 16, 1), np.uint8)
        x[0, ::4], x[1, :, ::4] = 200, 200
        flat, upright = gradient_histograms(x).reshape(2, -1, 8).sum(1)
        assert flat.argmax() == 4  # the gradient of horizontal stripes points down: 90 degrees
        assert upright.argmax() == 0

    def test_a_kernel_machine_learns_hats(self) -> None:
        faces = RenderedFaces(count=900, image_size=16)
        x, hat = faces.read(np.arange(900)), faces.index().attributes["Hat"].codes.astype(np.int64)
        scorer = KernelRecipe().train(x[:600], hat[:600], 2, 0, ())
        assert (scorer(x[600:]).argmax(1) == hat[600:]).mean() > 0.9


@pytest.mark.parametrize("classes", [2, 3])
def test_a_kernel_machine_decides_as_the_library_does(classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(300) % classes
    x = rng.normal(size=(300, 6)) + 2 * np.eye(classes, 6)[labels]
    x = (x - x.mean(0)).astype(np.float32)
    found = KernelRecipe().train(x, labels, classes, 0, ())(x)
    assert found.shape == (300, classes)
    # six components of six: a rotation, which the kernel ignores
    expected = SVC().fit(x, labels).decision_function(x)
    np.testing.assert_allclose(found if classes > 2 else found[:, 1], expected, atol=1e-3)
    assert classes > 2 or not found[:, 0].any()
