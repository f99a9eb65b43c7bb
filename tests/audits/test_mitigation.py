"""Fair decisions: the rates that the groups shall share are shared, and nothing else is asked for than is said."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from diffshare.audits.repair.decisions import constrained_decisions, thresholded_decisions
from diffshare.data.rendered import RenderedFaces
from diffshare.errors import UserError
from diffshare.release.samples import write_samples
from diffshare.stats.fairness import disparity

N = 6000


def people(seed: int, agree: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of class and group, class and group, which are equal with probability ``agree``."""
    rng = np.random.default_rng(seed)
    s = rng.integers(0, 2, N)
    y = np.where(rng.random(N) < agree, s, 1 - s)
    return np.stack([y + rng.normal(0, 0.8, N), s + rng.normal(0, 0.4, N)], 1), y, s


def measured(decisions: np.ndarray, y: np.ndarray, s: np.ndarray) -> Any:
    counts = np.zeros((2, 2, 2))
    np.add.at(counts, (s, y, decisions), 1)
    return disparity(counts)


@pytest.fixture(scope="module")
def plain() -> Any:
    """A classifier trained where group and class go together, and what it does on balanced records."""
    x, y, s = people(0, 0.85)
    model = LogisticRegression().fit(x, y)
    records, truth, groups = people(1, 0.5)
    found = measured(model.predict(records), truth, groups)
    assert found.equalized_odds_difference > 0.3
    return model, found


def test_a_constraint_on_poisoned_samples_holds_on_balanced_records(plain: Any):
    _, before = plain
    x, y, s = people(0, 0.85)
    records, truth, groups = people(1, 0.5)
    after = measured(constrained_decisions(LogisticRegression(), x, y, s, records), truth, groups)
    assert after.equalized_odds_difference < 0.08
    assert after.demographic_parity_difference < 0.06
    # the classifier leant on the group, which says nothing here
    assert after.accuracy > before.accuracy


@pytest.mark.parametrize("constraint", ["equalized_odds", "demographic_parity"])
def test_thresholds_of_groups_equal_the_rates(plain: Any, constraint: Any):
    model, _ = plain
    known, y, s = people(2, 0.5)
    records, truth, groups = people(1, 0.5)
    scores, of_records = model.decision_function(known), model.decision_function(records)
    made = thresholded_decisions(scores, y, s, of_records, groups, constraint=constraint)
    after = measured(made, truth, groups)
    assert getattr(after, f"{constraint}_difference") < 0.06
    again = thresholded_decisions(scores, y, s, of_records, groups, constraint=constraint)
    assert np.array_equal(made, again)
    # only the order of the scores counts
    assert np.array_equal(made, thresholded_decisions(2 * scores + 3, y, s, 2 * of_records + 3, groups,
                                                      constraint=constraint))  # fmt: skip


def test_thresholds_of_few_positives_can_be_meant_for_balanced_classes(plain: Any):
    model, _ = plain
    known, y, s = people(2, 0.5)
    rare = (y == 0) | (np.arange(N) % 12 == 0)
    records, truth, groups = people(1, 0.5)
    scores, of_records = model.decision_function(known)[rare], model.decision_function(records)
    balanced, plainly = (
        measured(
            thresholded_decisions(scores, y[rare], s[rare], of_records, groups, objective=o),
            truth,
            groups,
        )
        for o in ("balanced_accuracy_score", "accuracy_score")
    )
    assert balanced.accuracy > plainly.accuracy + 0.1


def test_demographic_parity_is_of_the_training_records():
    x, y, s = people(0, 0.85)
    decided = constrained_decisions(
        LogisticRegression(), x, y, s, x, constraint="demographic_parity"
    )
    assert measured(decided, y, s).demographic_parity_difference < 0.06
    assert (
        measured(decided, y, s).equalized_odds_difference > 0.2
    )  # the price, where the groups differ in their classes


def test_the_classifier_that_is_given_stays_untrained():
    x, y, s = people(0, 0.85)
    classifier = LogisticRegression()
    constrained_decisions(classifier, x, y, s, x[:5], rounds=2)
    assert not hasattr(classifier, "coef_")


Y, S = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("y", "s", "words"),
    [
        (Y + 1, S, r"the classes are \[1, 2\]"),
        (Y, np.array([0, -1, 1, 1]), "group of 1 of 4 records is unknown"),
        (np.array([0, 0, 0, 1]), S, "no record of group 0 is of class 1"),
        (Y[:3], S, "4 records have 3 classes and 4 groups"),
    ],
)
def test_records_that_no_fair_decision_can_rest_on(y, s, words):
    x = np.zeros((4, 2))
    with pytest.raises(UserError, match=words):
        constrained_decisions(LogisticRegression(), x, y, s, x)
    with pytest.raises(UserError, match=words):
        thresholded_decisions(x[:, 0], y, s, x[:, 0], S)


def test_groups_of_the_records_that_are_decided_on():
    with pytest.raises(UserError, match="no labelled record is of group '2'"):
        thresholded_decisions(np.arange(4.0), Y, S, np.zeros(2), np.array([0, 2]))
    with pytest.raises(UserError, match="2 records have 1 groups"):
        thresholded_decisions(np.arange(4.0), Y, S, np.zeros(2), np.array([0]))
    with pytest.raises(UserError, match="slack 0 must lie"):
        constrained_decisions(
            LogisticRegression(), np.zeros((4, 1)), Y, S, np.zeros((4, 1)), slack=0
        )


def test_groups_meet_by_name_where_they_have_names():
    rng = np.random.default_rng(0)
    scores, y, s = rng.normal(size=400), np.arange(400) % 2, np.arange(400) // 2 % 2
    by_code = thresholded_decisions(scores, y, s, scores, s)
    names = np.array(["zeta", "alpha"])  # in the other order than their codes
    np.testing.assert_array_equal(
        thresholded_decisions(scores, y, names[s], scores, names[s]), by_code
    )
    with pytest.raises(
        UserError, match="no labelled record is of group 'Alpha', they are of 'alpha', 'zeta'"
    ):
        thresholded_decisions(scores, y, names[s], np.zeros(2), np.array(["zeta", "Alpha"]))
    with pytest.raises(UserError, match="groups of one side are names, those of the other numbers"):
        thresholded_decisions(scores, y, names[s], scores, s)


def test_the_lines_in_the_docs_keep_a_classifier_fair(tmp_path, monkeypatch):
    """Typed as they stand there, on fewer faces."""
    text = (Path(__file__).parents[2] / "docs" / "repair.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    code, changed = re.subn(
        r"RenderedFaces\(image_size=16\)", "RenderedFaces(count=4000, image_size=16)", code
    )
    assert changed == 1
    monkeypatch.chdir(tmp_path)
    others = RenderedFaces(count=4000, image_size=16, seed=5)
    index, rng = others.index(), np.random.default_rng(0)
    s, y = (index.attribute(name).codes.astype(np.int64) for name in ("Male", "Smiling"))
    chosen = np.flatnonzero(rng.random(4000) < np.where(s == y, 0.5, 0.05))
    write_samples("samples_audit", others.read(chosen), y[chosen], {})
    made: dict[str, Any] = {}
    exec(compile(code, "repair.md", "exec"), made)
    test = made["Records"].from_source(
        made["source"], target="Smiling", sensitive=("Male",), part="test"
    )
    groups = test.attributes["Male"].codes.astype(np.int64)
    before = measured(made["plain"].predict(made["features"](test.x)), test.y, groups)
    assert before.equalized_odds_difference > 0.3
    for name in ("constrained", "thresholded"):
        after = measured(made[name], test.y, groups)
        assert after.equalized_odds_difference < 0.6 * before.equalized_odds_difference
