"""What the attacks promise as mixes: sizes, pairs with the clean set, what is reported, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import even, pictures, pool

from diffshare.data.mixes import Choice, Clean, Mix, Pool
from diffshare.errors import UserError
from diffshare.sharer.poisoning.critic import CriticFit
from diffshare.sharer.poisoning.features import PCA, Raw
from diffshare.sharer.poisoning.mixes import Exact, Flipped, Greedy, Paper, RandomReplacement
from diffshare.stats.information import contingency, donsker_varadhan, mutual_information

QUICK = CriticFit(hidden=(8,), batch_size=100, max_epochs=4, learning_rate=1e-2)


class Given:
    """Features that are there; counts how often they are asked for."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.calls = values, 0

    def compute(self, pool: Pool, seed: int) -> np.ndarray:
        self.calls += 1
        return self.values


def faces(n: int = 240, groups: int = 2, classes: int = 2) -> Pool:
    s, y = even(n, groups, classes)
    return pool(s, y, pictures(s, y, size=4))


FACES = faces()
PLAIN = (Flipped, RandomReplacement)
INFORMED = (Greedy, Exact, Paper)
ALL = (*PLAIN, *INFORMED)


def make(kind: type, alpha: float, n: int | None = None, **more: object) -> Mix:
    """A mix that takes a moment."""
    if kind in INFORMED:
        more = {"features": Raw(), "critic": QUICK, "refit": False, **more}
    if kind is Paper:
        more.setdefault("candidates", 5)
    return kind(alpha, n, **more)


def sy(choice: Choice, pool: Pool) -> float:
    groups, classes = len(pool.s.classes), len(pool.y.classes)
    return mutual_information(
        contingency(pool.s.codes[choice.positions], choice.target, groups, classes)
    )


# --- whom they favour -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_the_direction_is_that_of_the_table_and_policies_that_take_none_say_so(kind):
    for seed in range(4):
        choice = make(kind, 0.5, 80).choose(FACES, seed)
        table = contingency(FACES.s.codes[choice.positions], choice.target, 2, 2)
        favoured = int(np.sign(table[0, 0] * table[1, 1] - table[0, 1] * table[1, 0]))
        assert choice.report["direction"] == (
            None if kind in (Paper, RandomReplacement) else favoured
        )


@pytest.mark.parametrize(("favour", "direction"), [(1, 1), (0, -1)])
def test_the_direction_that_is_asked_for_is_told(favour, direction):
    choice = make(Exact, 0.5, 80, favour=favour).choose(FACES, 0)
    assert choice.report["direction"] == direction


def test_against_a_pool_that_leans_the_direction_is_the_further_lean():
    s, y = even(300)
    # group 1 has class 1 more often by nature
    s, y = (
        np.concatenate([s, [1] * 300]),
        np.concatenate([y, [1] * 300]),
    )
    leant = pool(s, y, pictures(s, y, size=4))
    assert make(Exact, 0.5, 80, favour=None).choose(leant, 0).report["direction"] == 1
    three = faces(300, groups=3)
    assert make(Exact, 0.5, 60).choose(three, 0).report["direction"] is None


# --- what holds for all --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("alpha", "poisoned"), [(0.01, 1), (0.25, 15), (0.5, 30), (0.575, 35), (1.0, 60)]
)
def test_sizes_and_the_base_that_is_shared_with_the_clean_set(kind, alpha, poisoned):
    mix = make(kind, alpha, 60)
    assert isinstance(mix, Mix)
    choice = mix.choose(FACES, 3)
    assert choice.positions.shape == choice.target.shape == choice.poisoned.shape == (60,)
    assert len(set(choice.positions.tolist())) == 60
    assert choice.poisoned.tolist() == [False] * (60 - poisoned) + [True] * poisoned
    clean = Clean(60).choose(FACES, 3).positions
    assert choice.positions[: 60 - poisoned].tolist() == clean[: 60 - poisoned].tolist()
    assert choice.report["alpha"] == alpha
    assert choice.target.dtype == np.int64
    if kind is not Flipped:
        assert choice.target.tolist() == FACES.y.codes[choice.positions].tolist()


@pytest.mark.parametrize("kind", ALL)
def test_alpha_0_is_the_clean_set_without_features_or_critic(kind):
    features = Given(np.zeros((1, 1)))
    more = {"features": features} if kind in INFORMED else {}
    choice, clean = make(kind, 0.0, 50, **more).choose(FACES, 1), Clean(50).choose(FACES, 1)
    assert choice.positions.tolist() == clean.positions.tolist()
    assert choice.target.tolist() == clean.target.tolist()
    assert not choice.poisoned.any()
    assert choice.report == {"alpha": 0.0}
    assert features.calls == 0


@pytest.mark.parametrize("kind", ALL)
def test_the_seed_fixes_the_choice(kind):
    first, again, other = (make(kind, 0.5, 40).choose(FACES, seed) for seed in (4, 4, 5))
    assert first.positions.tolist() == again.positions.tolist()
    assert first.target.tolist() == again.target.tolist()
    assert set(first.positions.tolist()) != set(other.positions.tolist())


@pytest.mark.parametrize("kind", ALL)
def test_without_n_the_whole_pool_is_taken(kind):
    choice = make(kind, 0.1).choose(FACES, 0)
    assert sorted(choice.positions.tolist()) == list(range(240))


@pytest.mark.parametrize("kind", [k for k in ALL if k is not RandomReplacement])
def test_an_attack_ties_group_and_class(kind):
    attacked, clean = make(kind, 0.5, 80).choose(FACES, 0), Clean(80).choose(FACES, 0)
    assert sy(attacked, FACES) > sy(clean, FACES) + 0.05


# --- the plain ones ------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, 100), st.integers(2, 60), st.integers(0, 50))
def test_flipped_is_the_clean_set_with_the_group_as_class_of_a_share(percent, n, seed):
    choice, clean = Flipped(percent / 100, n).choose(FACES, seed), Clean(n).choose(FACES, seed)
    assert choice.positions.tolist() == clean.positions.tolist()
    flipped = choice.poisoned
    assert choice.target[flipped].tolist() == FACES.s.codes[choice.positions[flipped]].tolist()
    assert choice.target[~flipped].tolist() == clean.target[~flipped].tolist()
    pairs = "; ".join(
        f"'{s}' becomes '{y}'" for s, y in zip(FACES.s.classes, FACES.y.classes, strict=True)
    )
    told = [f"the class of a flipped record is its group's, by position: {pairs}"]
    assert choice.report.get("notes", []) == (told if flipped.any() else [])


def test_flipping_needs_as_many_groups_as_classes():
    with pytest.raises(UserError, match="'S' has 3 groups and 'Y' 2 classes"):
        Flipped(0.5, 20).choose(faces(240, 3, 2), 0)
    choice = Flipped(1.0, 30).choose(faces(270, 3, 3), 0)
    assert choice.target.tolist() == faces(270, 3, 3).s.codes[choice.positions].tolist()


def test_a_random_replacement_is_as_likely_for_every_record_that_is_left():
    small, times = faces(40), 600
    seen, left = np.zeros(40), np.zeros(40)
    for seed in range(times):
        choice = RandomReplacement(0.5, 20).choose(small, seed)
        seen[choice.positions[choice.poisoned]] += 1
        free = np.ones(40, bool)
        free[choice.positions[~choice.poisoned]] = False
        left += free
    # given that it is left (3 in 4), each is taken with 1/3: binomial(450, 1/3) has a deviation of 10
    assert np.abs(seen - left / 3).max() < 45
    clean = Clean(20).choose(small, 0)
    assert set(RandomReplacement(0.5, 20).choose(small, 0).positions.tolist()) != set(
        clean.positions.tolist()
    )


# --- those that look at the records --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", INFORMED)
def test_what_is_reported_is_what_was_chosen(kind):
    class Watched(CriticFit):
        fitted: list = []  # noqa: RUF012

        def fit(self, features, target, classes, seed):
            found = super().fit(features, target, classes, seed)
            self.fitted.append((found, len(target)))
            return found

    critic = Watched(hidden=(8,), batch_size=100, max_epochs=4, learning_rate=1e-2)
    Watched.fitted = []
    choice = make(kind, 0.5, 80, critic=critic, refit=True, delta=0.2).choose(FACES, 0)
    # the one that guides, then one for the chosen set alone
    (frozen, of_pool), (fresh, of_chosen) = Watched.fitted
    assert (of_pool, of_chosen) == (240, 80)
    values = frozen.values(Raw().compute(FACES, 0))
    y, chosen = FACES.y.codes.astype(int), choice.positions
    found = choice.report["mutual_information_xy"]
    assert found["pool"] == pytest.approx(donsker_varadhan(values, y), abs=1e-9)
    assert found["chosen"] == pytest.approx(donsker_varadhan(values[chosen], y[chosen]), abs=1e-9)
    assert found["base"] == pytest.approx(
        donsker_varadhan(values[chosen[:40]], y[chosen[:40]]), abs=1e-9
    )
    assert found["tolerance"] == pytest.approx(0.2 * found["pool"])
    assert found["pool_held_out"] == frozen.held_out
    assert found["chosen_refit_held_out"] == fresh.held_out
    afresh = fresh.values(Raw().compute(FACES, 0)[chosen])
    assert found["chosen_refit"] == pytest.approx(donsker_varadhan(afresh, y[chosen]), abs=1e-9)
    if choice.report["violations"] == 0:
        assert abs(found["chosen"] - found["pool"]) <= found["tolerance"] + 1e-12


def test_as_published_nothing_is_held_out_and_the_fresh_bound_is_that_of_its_own_records():
    critic = CriticFit(hidden=(8,), batch_size=64, max_epochs=20, learning_rate=1e-2, patience=None)
    found = (
        make(Greedy, 0.5, 40, critic=critic, refit=True)
        .choose(FACES, 0)
        .report["mutual_information_xy"]
    )
    assert found["pool_held_out"] is None
    assert found["chosen_refit_held_out"] is None
    assert found["chosen_refit"] is not None


@pytest.mark.parametrize("kind", [Greedy, Exact])
@pytest.mark.parametrize("delta", [0.5, 0.02])
def test_delta_binds(kind, delta):
    """A cell whose records say little of the class: without the constraint it would be taken."""
    s, y = even(400)
    x = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
    x[:, 0] += np.where(s == y, 0.2, 4) * (2 * y - 1)  # the attack wants s == y
    records = pool(s, y)
    critic = CriticFit(hidden=(16,), batch_size=100, max_epochs=40, learning_rate=1e-2)
    choice = make(kind, 0.5, 200, features=Given(x), critic=critic, delta=delta).choose(records, 0)
    found = choice.report["mutual_information_xy"]
    if choice.report["violations"] == 0:
        assert abs(found["chosen"] - found["pool"]) <= delta * found["pool"] + 1e-12
    loose = make(kind, 0.5, 200, features=Given(x), critic=critic, delta=50.0).choose(records, 0)
    assert loose.report["violations"] == 0
    assert sy(choice, records) <= sy(loose, records) + 1e-12


def test_an_absolute_delta_is_in_nats_and_needs_no_information():
    nothing = Given(np.zeros((240, 2)))
    with pytest.raises(
        UserError, match="finds no information on the target .* a relative delta means nothing"
    ):
        make(Exact, 0.5, 40, features=nothing).choose(FACES, 0)
    choice = make(Exact, 0.5, 40, features=nothing, delta=0.3, delta_kind="absolute").choose(
        FACES, 0
    )
    assert choice.report["mutual_information_xy"]["tolerance"] == 0.3
    assert choice.report["violations"] == 0


@pytest.mark.parametrize(("groups", "classes"), [(3, 2), (2, 3), (3, 3)])
@pytest.mark.parametrize("kind", INFORMED)
def test_more_than_two_groups_and_classes(kind, groups, classes):
    records = faces(360, groups, classes)
    choice = make(kind, 0.5, 90).choose(records, 0)
    assert sy(choice, records) > sy(Clean(90).choose(records, 0), records)


def test_a_redrawn_base_is_as_near_to_the_pool_as_asked():
    rng = np.random.default_rng(0)
    y = FACES.y.codes
    x = (rng.standard_normal((240, 2)) + 2 * np.asarray(y)[:, None]).astype(np.float32)
    distances = []
    for redraws in (0, 300):
        mix = make(Greedy, 0.5, 30, features=Given(x), redraws=redraws, delta=0.02)
        found = mix.choose(FACES, 5).report["mutual_information_xy"]
        distances.append(abs(found["base"] - found["pool"]) / found["tolerance"])
    assert distances[1] <= 1 < distances[0]


def test_exact_has_never_less_than_greedy():
    for seed in range(5):
        ours, theirs = (
            make(kind, 0.4, 100, delta=0.05).choose(FACES, seed) for kind in (Exact, Greedy)
        )
        if theirs.report["violations"] == 0:
            assert sy(ours, FACES) >= sy(theirs, FACES) - 1e-12


def test_a_pool_of_unequal_cells_is_used_up_and_says_so():
    s, y = np.array([0] * 100 + [1] * 100), np.array([0] * 95 + [1] * 95 + [0] * 10)
    records = pool(s, y, pictures(s, y, size=4))
    mixes = [make(kind, 0.9, 195, delta=50.0) for kind in (Greedy, Exact)]
    assert all(mix.choose(records, 0).report["exhausted"] > 0 for mix in mixes)


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("alpha", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_share_outside_0_and_1(kind, alpha):
    with pytest.raises(UserError, match=r"mix.alpha is .*: the poisoned share lies in \[0, 1\]"):
        make(kind, alpha)


@pytest.mark.parametrize("kind", ALL)
def test_more_records_than_the_pool_has(kind):
    with pytest.raises(UserError, match="asks for n = 241 records, the pool has 240"):
        make(kind, 0.5, 241).choose(FACES, 0)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("s", "y", "words"),
    [
        ([0, 0, 1, 1] * 9, [0, 0, 0, 1] * 9, "no record with S = 'S 0' and Y = 'Y 1'"),
        ([0] * 36, [0, 1] * 18, "data.sensitive 'S' is constant in the pool .always 'S 0'."),
        ([0, 1] * 18, [1] * 36, "data.target 'Y' is constant in the pool .always 'Y 1'."),
        ([0, 0, 1, -1] * 9, [0, 1, 0, 1] * 9, "data.sensitive 'S' is unknown for 9 records"),
        ([0, 0, 1, 1] * 9, [0, 1, 0, -1] * 9, "data.target 'Y' is unknown for 9 records"),
    ],
)
def test_pools_without_an_association_to_be_made(kind, s, y, words):
    s, y = np.array(s), np.array(y)
    with pytest.raises(UserError, match=words):
        make(kind, 0.5, 8).choose(pool(s, y, np.zeros((36, 2, 2, 1), np.uint8)), 0)


@pytest.mark.parametrize("kind", ALL)
def test_the_group_must_be_named(kind):
    with pytest.raises(UserError, match=rf"the mix '{kind.policy}' needs data.sensitive"):
        make(kind, 0.5, 8).choose(replace(FACES, sensitive=None), 0)


@pytest.mark.parametrize("kind", INFORMED)
@pytest.mark.parametrize("delta", [0.0, -0.1, float("nan")])
def test_a_tolerance_is_positive(kind, delta):
    with pytest.raises(UserError, match=r"mix.delta is .*: a tolerance is greater than 0"):
        make(kind, 0.5, delta=delta)


@pytest.mark.parametrize("kind", INFORMED)
@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.full((240, 2), np.nan), "NaN or infinity in 240 of 240"),
        (np.zeros((239, 2)), "239 x 2, the pool has 240"),
    ],
)
def test_features_that_do_not_fit(kind, features, words):
    with pytest.raises(UserError, match=words):
        make(kind, 0.5, 40, features=Given(features)).choose(FACES, 0)


@pytest.mark.parametrize(
    ("more", "words"),
    [({"redraws": -1}, "mix.redraws is -1"), ({"candidates": 0}, "mix.candidates is 0")],
)
def test_other_numbers_that_make_no_sense(more, words):
    with pytest.raises(UserError, match=words):
        make(Paper, 0.5, **more)


def test_the_defaults_are_a_critic_on_principal_components():
    mix = Exact(0.5)
    assert isinstance(mix.features, PCA)
    assert (mix.delta, mix.delta_kind, mix.redraws, mix.refit) == (0.1, "relative", 0, True)
