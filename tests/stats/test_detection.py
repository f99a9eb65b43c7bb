"""Verdicts, what can be detected, the attack on a table, many tests and many looks."""

from itertools import combinations

import numpy as np
import pytest

from diffshare.errors import UserError
from diffshare.stats.association import Reference, compare, log_odds_ratio
from diffshare.stats.detection import (
    Tolerance,
    decide,
    guided,
    holm,
    looks,
    poisoned_table,
    power,
    spent,
)
from diffshare.stats.information import mutual_information
from diffshare.stats.shares import counted_shares

BALANCED = np.ones((2, 2)) / 4
NATURAL = np.array([[0.29, 0.04], [0.46, 0.21]])


def drawn(rng: np.random.Generator, table: np.ndarray, n: int) -> np.ndarray:
    return rng.multinomial(n, table.ravel()).reshape(2, 2)


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.5])
def test_the_attack_on_a_balanced_table_fills_a_diagonal(alpha):
    made = poisoned_table(BALANCED, alpha)
    assert sorted(made.ravel()) == pytest.approx([(1 - alpha) / 4] * 2 + [(1 + alpha) / 4] * 2)
    assert Tolerance(0.4).harm(BALANCED, alpha) == pytest.approx(
        2 * np.log((1 + alpha) / (1 - alpha))
    )


def test_no_other_placement_of_the_poison_has_more_information():
    rng = np.random.default_rng(0)
    best = mutual_information(poisoned_table(NATURAL, 0.3))
    others = [
        0.7 * NATURAL + 0.3 * rng.dirichlet(np.full(4, 0.4)).reshape(2, 2) for _ in range(3000)
    ]
    assert max(map(mutual_information, others)) <= best + 1e-4
    assert poisoned_table(NATURAL * 700, 0.0) == pytest.approx(NATURAL)


def test_verdicts():
    reference = Reference(NATURAL, known=True)
    (clean,) = compare(counted_shares(np.rint(NATURAL * 4000)), reference)
    assert decide(clean, 0.4, 1.2, 0.05, powered=True) == "clean"
    assert decide(clean, 0.4, 1.2, 0.05, powered=False) == "inconclusive"
    (few,) = compare(counted_shares(np.rint(NATURAL * 40)), reference)
    assert decide(few, 0.4, 1.2, 0.05, powered=True) == "inconclusive"  # whatever the plan said
    (poisoned,) = compare(counted_shares(np.rint(poisoned_table(NATURAL, 0.4) * 4000)), reference)
    assert decide(poisoned, 0.4, 1.2, 0.05, powered=True) == "poisoned"
    assert decide(poisoned, 3.0, 4.0, 0.05, powered=True) == "clean"
    (between,) = compare(counted_shares(np.rint(poisoned_table(NATURAL, 0.13) * 2000)), reference)
    # more than the margin, but not surely
    assert decide(between, 0.4, 1.2, 0.05, powered=True) == "inconclusive"


def test_fewer_samples_than_the_power_needs_are_never_clean():
    rng = np.random.default_rng(1)
    reference = Reference(BALANCED, known=True)
    needed = power(
        counted_shares(np.full((2, 2), 10)), reference, Tolerance(0.4), 0.05, wanted=0.3
    ).samples
    harm = Tolerance(0.4).harm(BALANCED, 0.3)
    for size, expected in (
        (needed * 3 // 4, {"inconclusive"}),
        (needed * 4, {"clean", "inconclusive"}),
    ):
        samples = [counted_shares(drawn(rng, BALANCED, size)) for _ in range(12)]
        able = [power(s, reference, Tolerance(0.4), 0.05, wanted=0.3).alpha <= 0.3 for s in samples]
        tests = [compare(s, reference)[0] for s in samples]
        verdicts = {
            decide(t, 0.4, harm, 0.05, powered=a) for t, a in zip(tests, able, strict=True)
        } - {"poisoned"}
        assert verdicts == expected


def test_the_least_detectable_share_is_detected_as_often_as_it_says():
    rng = np.random.default_rng(2)
    reference = Reference(NATURAL * 8000)
    counts = np.rint(NATURAL * 1500)
    found = power(counted_shares(counts), reference, Tolerance(0.2), 0.05, wanted=0.3)
    poisoned = poisoned_table(NATURAL, found.alpha)
    hits = 0
    for _ in range(300):
        against = Reference(drawn(rng, NATURAL, 8000))
        (test,) = compare(counted_shares(drawn(rng, poisoned, 1500)), against)
        hits += test.difference.p_value(0.2) <= 0.05
    assert hits / 300 == pytest.approx(0.8, abs=0.08)


def test_more_samples_detect_less_and_a_plan_says_how_many():
    reference = Reference(BALANCED, known=True)
    least = [
        power(counted_shares(np.full((2, 2), n)), reference, Tolerance(0.4), 0.05, wanted=0.3)
        for n in (50, 200, 1000)
    ]
    alphas = [p.alpha for p in least]
    assert alphas == sorted(alphas, reverse=True)
    # a plan, whatever it was made from
    assert least[0].samples == pytest.approx(least[2].samples, rel=0.02)
    enough = power(
        counted_shares(np.full((2, 2), least[2].samples / 4)),
        reference,
        Tolerance(0.4),
        0.05,
        wanted=0.3,
    )
    assert enough.alpha == pytest.approx(0.3, abs=0.01)


def test_a_reference_too_small_for_any_number_of_samples_has_no_plan():
    found = power(
        counted_shares(np.full((2, 2), 500)),
        Reference(np.full((2, 2), 5)),
        Tolerance(0.4),
        0.05,
        wanted=0.1,
    )
    assert found.samples is None


def test_a_plan_reaches_from_a_handful_of_samples_to_what_is_really_needed():
    reference = Reference(np.full((2, 2), 10_000))
    plans = [
        power(
            counted_shares(np.full((2, 2), n)), reference, Tolerance(0.4), 0.05, wanted=0.12
        ).samples
        for n in (1, 500)
    ]
    assert plans[0] == pytest.approx(plans[1], rel=0.01)
    assert plans[1] > 64 * 4


def test_holm_is_the_closed_test_of_bonferroni():
    p = [0.03, 0.001, 0.2, 0.012]
    adjusted = holm(p)
    for i in range(len(p)):
        subsets = [s for size in range(1, 5) for s in combinations(range(4), size) if i in s]
        assert adjusted[i] == pytest.approx(
            min(1, max(len(s) * min(p[j] for j in s) for s in subsets))
        )
    assert holm([0.04]).tolist() == [0.04]


def test_looks_double_up_to_the_last_and_spend_the_level():
    assert looks(250, 2000) == [250, 500, 1000, 2000]
    assert looks(300, 2000) == [300, 600, 1200, 2000]
    assert looks(10, 10) == [10]
    assert sum(spent(0.05, 4) for _ in range(4)) == pytest.approx(0.05)
    with pytest.raises(UserError, match="looks first at 20 of 10"):
        looks(20, 10)


def test_looking_often_raises_no_more_false_alarms_than_the_level():
    rng = np.random.default_rng(3)
    reference = Reference(BALANCED, known=True)
    plan = looks(100, 1600)
    alarms = plain = 0
    for _ in range(150):
        s = rng.integers(0, 4, plan[-1])
        p = [compare(counted_shares(np.bincount(s[:n], minlength=4).reshape(2, 2)), reference)[0].difference.p_value(0)
             for n in plan]  # fmt: skip
        alarms += min(p) <= spent(0.05, len(plan))
        plain += min(p) <= 0.05
    assert alarms / 150 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)
    assert plain > alarms  # without spending, peeking costs


def test_the_effect_grows_with_the_share():
    found = [Tolerance(0.4).harm(NATURAL, alpha) for alpha in (0.05, 0.1, 0.3, 0.5)]
    assert found == sorted(found)
    assert log_odds_ratio(poisoned_table(NATURAL, 0.3)) > log_odds_ratio(NATURAL)


# --- guidance ---


def test_guidance_multiplies_log_odds_where_the_group_is_all_that_tells():
    r = log_odds_ratio(NATURAL)
    for w in (0.0, 1.0, 3.0):
        made = guided(NATURAL, w)
        assert log_odds_ratio(made) == pytest.approx(w * r)
        assert made.sum(0) == pytest.approx(NATURAL.sum(0))
    assert guided(NATURAL, 1.0) == pytest.approx(NATURAL)


def test_guidance_is_the_distribution_that_it_says():
    p_s, p_y_given_s, w = NATURAL.sum(1), NATURAL / NATURAL.sum(1, keepdims=True), 2.5
    slow = np.array([[p_s[s] * p_y_given_s[s, y] ** w for y in range(2)] for s in range(2)])
    assert guided(NATURAL, w) / guided(NATURAL, w).sum(0) == pytest.approx(slow / slow.sum(0))


def test_the_margin_holds_what_guidance_makes_of_a_clean_pool():
    for w in (0.0, 1.0, 2.0, 5.0):
        tolerance = Tolerance(0.4, w)
        r = log_odds_ratio(NATURAL)
        d = log_odds_ratio(guided(NATURAL, w)) - r  # of a clean model that passes everything on
        assert abs(d) + max(w, 1) * 0.4 == pytest.approx(tolerance.at(r))
    assert Tolerance(0.4, 5.0, fixed=True).at(r) == 0.4


def test_more_is_seen_in_a_balanced_pool_at_higher_guidance():
    samples, reference = counted_shares(np.full((2, 2), 100)), Reference(BALANCED, known=True)
    least = [
        power(samples, reference, Tolerance(0.4, w), 0.05, wanted=0.3).alpha for w in (1.0, 2.0)
    ]
    assert least[1] < least[0]
