"""A classifier that does not err on samples as on records: where that takes ``clean`` back, and where it may not."""

import numpy as np
import pytest
from audited import TABLE, against, declare, write_rows

from diffshare.audits.poisoning.declaration import declaration_test
from diffshare.audits.poisoning.reading import GroupReader
from diffshare.audits.poisoning.result import Audit
from diffshare.audits.poisoning.surrogates import surrogate_note
from diffshare.audits.poisoning.verdict import Judgement, Terms, judge
from diffshare.classifiers.property import Platt, PropertyClassifier
from diffshare.commands.audit_table import show
from diffshare.data.source import Attribute
from diffshare.data.table import Column
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples
from diffshare.stats.association import Reference
from diffshare.stats.calibration import Calibration
from diffshare.stats.detection import poisoned_table
from diffshare.stats.misfit import Bias, Fit
from diffshare.stats.shares import GroupShares, counted_shares

TREES = ("--classifier", "TreesRecipe", "--classifier.trees", "30", "--gap-repeats", "0")
EVEN = Reference(np.ones((2, 2)), known=True)


def drawn(alpha: float, n: float = 2000) -> GroupShares:
    return counted_shares(np.rint(n * poisoned_table(np.ones((2, 2)), alpha)).astype(int))


def failed(own: float, common: float = 0.0, *, ok: bool = False) -> Fit:
    return Fit(ok, 0.01, Bias(np.full(2, common), np.full((2, 2), own), np.ones(2)), "mend it")


def test_a_misfit_takes_clean_back_from_the_size_on_at_which_it_could_hide_the_harm():
    """Shares of 1/2 moved by b in opposite directions differ by 2 log((1/2 + b) / (1/2 - b)); the harm is 1.24."""
    verdicts = []
    for own in (0.0, 0.05, 0.1, 0.14, 0.15, 0.2, 0.4, 1.0):
        made = judge(drawn(0), EVEN, Terms(), failed(own))
        verdicts.append(made.verdict)
        assert made.misfit is not None
        assert made.misfit.decides == (made.verdict == "inconclusive")
        if 0 < own < 0.3:
            assert made.misfit.shift == pytest.approx(
                2 * np.log((0.5 + own) / (0.5 - own)), rel=0.02
            )
    assert verdicts[:3] == ["clean"] * 3
    assert verdicts[-3:] == ["inconclusive"] * 3
    assert verdicts == sorted(verdicts)


def test_an_error_that_all_classes_share_matters_little_where_they_are_alike():
    assert judge(drawn(0), EVEN, Terms(), failed(0.0, 0.2)).verdict == "clean"
    # nothing is left to tell
    assert judge(drawn(0), EVEN, Terms(), failed(0.0, 0.5)).verdict == "inconclusive"
    some = counted_shares(np.array([[540, 460], [460, 540]]))
    found = [judge(some, EVEN, Terms(), failed(0.0, b)) for b in (0.0, 0.1, 0.4)]
    assert [made.verdict for made in found] == ["clean", "clean", "inconclusive"]


@pytest.mark.parametrize("own", [0.0, 0.1, 1.0])
def test_no_misfit_makes_or_unmakes_an_accusation(own):
    """Nor does it decide where the verdict would not be clean anyway, or where the check passed."""
    for alpha, n, expected in (
        (0.5, 2000, "poisoned"),
        (0.0, 60, "inconclusive"),
        (0.12, 2000, "inconclusive"),
    ):
        made = judge(drawn(alpha, n), EVEN, Terms(), failed(own))
        assert made.verdict == judge(drawn(alpha, n), EVEN, Terms()).verdict == expected
        assert made.misfit is not None
        assert not made.misfit.decides
    passed = judge(drawn(0), EVEN, Terms(), failed(own, ok=True))
    assert (passed.verdict, passed.misfit) == ("clean", None)
    claimed = judge(drawn(0), EVEN, Terms(guidance=2, claimed=True), failed(own))
    assert claimed.verdict == "inconclusive"


def test_a_declaration_that_a_misfit_could_make_hold_is_not_decided():
    found = declaration_test(drawn(0), np.ones((2, 2)), Terms(), 2000, failed(0.4))
    assert found.holds is None
    assert "(p = 0.010), which may hide up to" in str(found.reason)
    assert "mend it" in str(found.reason)
    assert declaration_test(drawn(0), np.ones((2, 2)), Terms(), 2000, failed(0.01)).holds
    assert declaration_test(drawn(0.5), np.ones((2, 2)), Terms(), 2000, failed(0.4)).holds is False


def test_an_attack_behind_blurred_samples_is_not_called_clean(audit, folder, tmp_path_factory):
    """Heights that hardly tell the groups apart, as a generator that blurs would make them, hide most of the attack."""
    made = tmp_path_factory.mktemp("blurred")
    write_rows(
        made / "samples.csv", 1200, 6, poisoned_table(TABLE, 0.4), without=("sex",), apart=4.0
    )
    found = audit("--samples", made, *against(folder, "clean")[2:], *TREES)
    assert abs(found["association"]["difference"]) < found["margin"]  # so that it would pass
    assert found["minimum_detectable_alpha"] <= 0.3
    assert found["verdict"] == "inconclusive"
    assert found["assumption"]["ok"] is False
    assert found["assumption"]["decides"] is True
    assert found["assumption"]["shift"] > 0.4
    assert "errs on these samples otherwise than on records" in found["advice"]
    assert "name another `classifier`, or give a reference that is nearer" in found["advice"]
    file = declare(made / "table.json", {"s0y0": 35, "s0y1": 15, "s1y0": 25, "s1y1": 25})
    beside = audit("--samples", made, *against(folder, "clean")[2:], *TREES, "--declared", file)
    assert beside["declaration"]["holds"] is None


def reading(
    seed: int, apart: float = 3.0, alpha: float = 0.0, blur: float = 1.0
) -> tuple[GroupReader, CodedSamples]:
    """A reader of a single number, and samples: the log odds of the group, drawn together by ``blur``."""
    rng = np.random.default_rng(seed)

    def draw(table: np.ndarray, n: int, blur: float) -> tuple[np.ndarray, ...]:
        cells = rng.permutation(np.repeat(np.arange(4), np.rint(table * n).astype(int).ravel()))
        s, y = cells // 2, cells % 2
        return s, y, (rng.normal(apart * (s - 0.5) * blur, 1.0) * apart)[:, None].astype(np.float32)

    s, y, x = draw(np.full((2, 2), 0.25), 1600, 1.0)
    group = Attribute(s.astype(np.int16), ("f", "m"))
    known = Records.from_codes(
        x,
        {"sex": group, "target": Attribute(y.astype(np.int16), ("no", "yes"))},
        columns=(Column("x", "numeric"),),
        target="target",
    )
    platt = Platt(1.0, np.zeros(2))
    scorer = lambda rows: np.concatenate([np.zeros_like(rows), rows], 1)  # noqa: E731
    classifier = PropertyClassifier(
        (scorer,), (platt,), Calibration(platt(scorer(x)), s, np.zeros(len(s), int))
    )
    _, y, x = draw(poisoned_table(np.ones((2, 2)), alpha), 1600, blur)
    return GroupReader("sex", group, known, classifier), CodedSamples(x, y, {}, "0" * 64, {})


def judged(seed: int, **options: float) -> Judgement:
    reader, samples = reading(seed, **options)
    return judge(reader.shares(samples), EVEN, Terms(), reader.fit(samples, seed))


def test_the_check_costs_records_nothing_and_a_blur_of_all_groups_costs_an_attack_its_clean():
    """Where the check fails on records (1 in 20) the misfit is small; three quarters of a distance hide an attack."""
    honest = [judged(seed) for seed in range(20)]
    assert {made.verdict for made in honest} == {"clean"}
    assert sum(made.misfit is not None for made in honest) <= 4  # binomial, 0.05: P(more) = 0.003
    blurred = [judged(seed, alpha=0.3, blur=0.2) for seed in range(6)]
    # so that they would pass
    assert any(abs(made.strongest.difference.estimate) < 0.4 for made in blurred)
    assert {made.verdict for made in blurred} == {"inconclusive"}
    assert any(made.misfit is not None and made.misfit.decides for made in blurred)
    # a blur of a clean model that leaves the groups apart
    assert judged(0, blur=0.6).verdict == "clean"


@pytest.mark.parametrize("ok", [False, True])
def test_the_check_stands_above_the_numbers_that_rest_on_it(capsys, ok):
    shares = drawn(0)
    made = judge(shares, EVEN, Terms(), failed(0.05, ok=ok))
    names, groups, classes = ("sex", "ill"), ("f", "m"), ("no", "yes")
    show(
        Audit(
            made,
            shares,
            EVEN,
            Terms(),
            names,
            groups,
            classes,
            8,
            "0" * 64,
            fit=failed(0.05, ok=ok),
        )
    )
    text = " ".join(capsys.readouterr().out.replace("\u2502", " ").split())
    said = "passes (p = 0.010)" if ok else "FAILS (p = 0.010)"
    assert (
        text.index(said)
        < text.index("it errs as on records")
        < text.index("verdict")
        < text.index("log odds ratio")
    )
    warned = "FAILS: the classifier of sex errs on the samples otherwise than on records (p = 0.010), which may hide up"
    assert text.startswith(warned) == (not ok)


def test_records_in_the_place_of_samples_stay_clean(audit, folder):
    found = audit(*against(folder, "hidden"), *TREES)
    assert found["verdict"] == "clean"
    assert found["assumption"].keys() == {"ok", "p_value", "shift", "decides"}
    assert found["assumption"]["decides"] is False


def test_a_margin_of_surrogates_says_what_it_backs():
    assert "probability 1/20 = 0.05" in surrogate_note(0.3, 19, 0.05)
    assert "does not back" not in surrogate_note(0.3, 19, 0.05)
    assert (
        "probability 1/19 = 0.0526, which does not back a level of 0.05: that takes at least 19"
        in surrogate_note(0.3, 18, 0.05)
    )
    assert "takes at least 99 surrogates" in surrogate_note(0.3, 19, 0.01)
